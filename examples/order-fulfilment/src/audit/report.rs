//! What the audit finds: order by order, then the sums.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::audit::{Books, Ending, Traces};
use crate::order::Order;

/// What the audit found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// Orders whose saga completed.
    pub completed: usize,
    /// Orders whose saga compensated.
    pub compensated: usize,
    /// Orders whose saga waits for a person, or was given up by one: their effects are not judged.
    pub unsettled: usize,
    /// Orders whose saga has no ending.
    pub sagas_lost: usize,
    /// Effects that are there more often than they should be.
    pub effects_doubled: usize,
    /// Effects that are there and should not be.
    pub effects_left_behind: usize,
    /// Effects that should be there and are not.
    pub effects_missing: usize,
    /// Sums that do not add up.
    pub sums_broken: usize,
    /// Stock, article by article.
    pub stock: Vec<StockLine>,
    /// Money in all.
    pub money: MoneyLine,
    /// Each finding in words.
    pub findings: Vec<String>,
}

/// Stock of one article, in pieces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StockLine {
    /// The article.
    pub sku: String,
    /// On hand before.
    pub before: i64,
    /// On hand after.
    pub on_hand: i64,
    /// Reserved after.
    pub reserved: i64,
    /// What completed orders bought since.
    pub sold: i64,
}

/// All money, in minor units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MoneyLine {
    /// On the customers' accounts before.
    pub balances_before: i64,
    /// On the customers' accounts after.
    pub balances: i64,
    /// Held by authorizations after; before, that is part of what changed.
    pub held: i64,
    /// Captured since.
    pub captured: i64,
    /// What completed orders cost.
    pub sold: i64,
}

impl AuditReport {
    /// Whether nothing was found.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.findings.is_empty()
    }
}

impl fmt::Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<24}{:>10}{:>10}{:>10}{:>10}",
            "stock", "before", "on hand", "reserved", "sold"
        )?;
        for line in &self.stock {
            writeln!(
                f,
                "{:<24}{:>10}{:>10}{:>10}{:>10}",
                line.sku, line.before, line.on_hand, line.reserved, line.sold
            )?;
        }
        let money = &self.money;
        writeln!(f, "money, in minor units")?;
        writeln!(f, "  balances before {:>12}", money.balances_before)?;
        writeln!(f, "  balances after  {:>12}", money.balances)?;
        writeln!(f, "  held            {:>12}", money.held)?;
        writeln!(
            f,
            "  captured        {:>12}   for completed orders of {}",
            money.captured, money.sold
        )?;
        writeln!(f, "sagas lost {}", self.sagas_lost)?;
        writeln!(f, "effects doubled {}", self.effects_doubled)?;
        writeln!(f, "effects left behind {}", self.effects_left_behind)?;
        writeln!(f, "effects missing {}", self.effects_missing)?;
        write!(f, "sums that do not add up {}", self.sums_broken)?;
        for finding in &self.findings {
            write!(f, "\n  {finding}")?;
        }
        Ok(())
    }
}

pub(super) fn reconcile(
    before: &Books,
    after: &Books,
    orders: &[Order],
    endings: &BTreeMap<String, Ending>,
) -> AuditReport {
    let mut report = AuditReport::default();
    let nothing = Traces::default();
    for order in orders {
        let traces = after.orders.get(&order.order_id).unwrap_or(&nothing);
        match endings.get(&order.order_id) {
            Some(Ending::Completed) => {
                report.completed += 1;
                report.completed_order(order, traces);
            }
            Some(Ending::Compensated) => {
                report.compensated += 1;
                report.undone_order(&order.order_id, traces);
            }
            Some(Ending::Parked | Ending::Terminated) => report.unsettled += 1,
            None => {
                report.sagas_lost += 1;
                report.found(&order.order_id, "its saga is lost");
            }
        }
    }
    // What nobody ordered, and was not there before, is an effect without a saga.
    let ordered: BTreeSet<&str> = orders.iter().map(|order| order.order_id.as_str()).collect();
    for (order_id, traces) in &after.orders {
        if !ordered.contains(order_id.as_str()) && before.orders.get(order_id) != Some(traces) {
            report.undone_order(order_id, traces);
        }
    }
    report.sum_stock(before, after, orders, endings);
    report.sum_money(before, after, orders, endings);
    report
}

impl AuditReport {
    fn completed_order(&mut self, order: &Order, traces: &Traces) {
        let id = &order.order_id;
        let pieces = order
            .items
            .iter()
            .map(|item| (item.sku.clone(), item.quantity));
        self.exactly(
            id,
            "reservation",
            &sorted(pieces.collect()),
            &sorted(traces.held.clone()),
        );
        self.exactly(
            id,
            "settled authorization",
            &[order.total_minor],
            &traces.settled_minor,
        );
        self.exactly(id, "capture", &[order.total_minor], &traces.captured_minor);
        self.count(id, "shipment", 1, traces.shipments.len());
        let mails: Vec<String> = order.email.iter().cloned().collect();
        self.exactly(id, "mail", &mails, &traces.mails);
        // A completed order undid nothing, and has nothing half done.
        self.exactly(id, "released reservation", &[], &traces.released);
        self.exactly(id, "held authorization", &[], &traces.authorized_minor);
        self.exactly(id, "voided authorization", &[], &traces.voided_minor);
    }

    fn undone_order(&mut self, id: &str, traces: &Traces) {
        self.exactly(id, "reservation", &[], &traces.held);
        self.exactly(id, "held authorization", &[], &traces.authorized_minor);
        self.exactly(id, "settled authorization", &[], &traces.settled_minor);
        self.exactly(id, "capture", &[], &traces.captured_minor);
        self.count(id, "shipment", 0, traces.shipments.len());
        self.exactly(id, "mail", &[], &traces.mails);
        // What was done and undone twice is net zero, and yet was done twice.
        let released: BTreeSet<_> = traces.released.iter().map(|(sku, _)| sku).collect();
        let again = traces.released.len() - released.len();
        let again = again + traces.voided_minor.len().saturating_sub(1);
        self.effects_doubled += again;
        if again > 0 {
            self.found(id, "it was done and undone more than once");
        }
    }

    /// Each expected entry is there once, and nothing else is.
    fn exactly<T: Ord + fmt::Debug>(&mut self, id: &str, what: &str, expected: &[T], found: &[T]) {
        let mut doubled = 0;
        let mut missing = 0;
        for entry in expected {
            match found.iter().filter(|other| *other == entry).count() {
                0 => missing += 1,
                times => doubled += times - 1,
            }
        }
        let surplus = found
            .iter()
            .filter(|entry| !expected.contains(entry))
            .count();
        self.effects_doubled += doubled;
        self.effects_missing += missing;
        self.effects_left_behind += surplus;
        if doubled + missing + surplus > 0 {
            self.found(
                id,
                &format!("{what}: expected {expected:?}, found {found:?}"),
            );
        }
    }

    fn count(&mut self, id: &str, what: &str, expected: usize, found: usize) {
        if found < expected {
            self.effects_missing += expected - found;
        } else if expected == 0 {
            self.effects_left_behind += found;
        } else {
            self.effects_doubled += found - expected;
        }
        if found != expected {
            self.found(id, &format!("{what}: expected {expected}, found {found}"));
        }
    }

    fn sum_stock(
        &mut self,
        before: &Books,
        after: &Books,
        orders: &[Order],
        endings: &BTreeMap<String, Ending>,
    ) {
        let mut sold: BTreeMap<&str, i64> = BTreeMap::new();
        for order in completed(orders, endings) {
            for item in &order.items {
                *sold.entry(&item.sku).or_default() += item.quantity;
            }
        }
        for (sku, was) in &before.stock {
            let is = after.stock.get(sku).copied().unwrap_or_default();
            let sold = sold.get(sku.as_str()).copied().unwrap_or(0);
            self.stock.push(StockLine {
                sku: sku.clone(),
                before: was.on_hand,
                on_hand: is.on_hand,
                reserved: is.reserved,
                sold,
            });
            let conserved = was.on_hand + was.reserved == is.on_hand + is.reserved;
            // An order that waits for a person may keep its pieces.
            let explained = is.reserved - was.reserved == sold || self.unsettled > 0;
            if !conserved || !explained {
                self.sums_broken += 1;
                self.found(
                    sku,
                    &format!("stock was {was:?} and is {is:?}, and {sold} were sold"),
                );
            }
        }
    }

    fn sum_money(
        &mut self,
        before: &Books,
        after: &Books,
        orders: &[Order],
        endings: &BTreeMap<String, Ending>,
    ) {
        let held = |books: &Books| sum(books, |traces| &traces.authorized_minor);
        let captured = |books: &Books| sum(books, |traces| &traces.captured_minor);
        self.money = MoneyLine {
            balances_before: before.balances_minor.values().sum(),
            balances: after.balances_minor.values().sum(),
            held: held(after),
            captured: captured(after) - captured(before),
            sold: completed(orders, endings)
                .map(|order| order.total_minor)
                .sum(),
        };
        let money = &self.money;
        let conserved =
            money.balances_before + held(before) == money.balances + money.held + money.captured;
        let explained = money.captured == money.sold || self.unsettled > 0;
        if !conserved || !explained {
            self.sums_broken += 1;
            let money = money.clone();
            self.found("money", &format!("{money:?}"));
        }
    }

    fn found(&mut self, about: &str, what: &str) {
        self.findings.push(format!("{about}: {what}"));
    }
}

fn completed<'a>(
    orders: &'a [Order],
    endings: &'a BTreeMap<String, Ending>,
) -> impl Iterator<Item = &'a Order> {
    orders
        .iter()
        .filter(|order| endings.get(&order.order_id) == Some(&Ending::Completed))
}

fn sum(books: &Books, amounts: impl Fn(&Traces) -> &Vec<i64>) -> i64 {
    books
        .orders
        .values()
        .flat_map(|traces| amounts(traces).iter())
        .sum()
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Stock;
    use crate::order::Item;

    fn order(id: &str) -> Order {
        Order {
            order_id: id.to_owned(),
            customer: "greta".to_owned(),
            email: Some("greta@example.org".to_owned()),
            address: "1 Mill Lane".to_owned(),
            items: vec![Item {
                sku: "tea".to_owned(),
                quantity: 2,
                unit_price_minor: 50,
            }],
            total_minor: 100,
        }
    }

    fn before() -> Books {
        Books {
            stock: BTreeMap::from([(
                "tea".to_owned(),
                Stock {
                    on_hand: 10,
                    reserved: 0,
                },
            )]),
            balances_minor: BTreeMap::from([("greta".to_owned(), 1_000)]),
            orders: BTreeMap::new(),
        }
    }

    /// One order done, one undone.
    fn after() -> Books {
        let done = Traces {
            held: vec![("tea".to_owned(), 2)],
            settled_minor: vec![100],
            captured_minor: vec![100],
            shipments: vec!["TRK".to_owned()],
            mails: vec!["greta@example.org".to_owned()],
            ..Traces::default()
        };
        let undone = Traces {
            released: vec![("tea".to_owned(), 2)],
            voided_minor: vec![100],
            ..Traces::default()
        };
        Books {
            stock: BTreeMap::from([(
                "tea".to_owned(),
                Stock {
                    on_hand: 8,
                    reserved: 2,
                },
            )]),
            balances_minor: BTreeMap::from([("greta".to_owned(), 900)]),
            orders: BTreeMap::from([("done".to_owned(), done), ("undone".to_owned(), undone)]),
        }
    }

    fn audit(after: &Books) -> AuditReport {
        let endings = BTreeMap::from([
            ("done".to_owned(), Ending::Completed),
            ("undone".to_owned(), Ending::Compensated),
        ]);
        reconcile(
            &before(),
            after,
            &[order("done"), order("undone")],
            &endings,
        )
    }

    fn changed(change: impl FnOnce(&mut Books)) -> AuditReport {
        let mut after = after();
        change(&mut after);
        audit(&after)
    }

    #[test]
    fn books_in_order_pass() {
        let report = audit(&after());
        assert!(report.holds(), "{report}");
        assert_eq!((report.completed, report.compensated), (1, 1));
        assert_eq!(report.stock[0].sold, 2);
        assert_eq!(report.money.captured, 100);
    }

    #[test]
    fn a_lost_saga_is_found() {
        let report = reconcile(&before(), &before(), &[order("lost")], &BTreeMap::new());
        assert_eq!(report.sagas_lost, 1);
        assert!(!report.holds());
    }

    #[test]
    fn every_effect_that_is_doubled_is_found() {
        let doubles: [fn(&mut Traces); 4] = [
            |t| t.held.push(t.held[0].clone()),
            |t| t.captured_minor.push(100),
            |t| t.shipments.push("TRK".to_owned()),
            |t| t.mails.push(t.mails[0].clone()),
        ];
        for double in doubles {
            let report = changed(|books| double(books.orders.get_mut("done").unwrap()));
            assert_eq!(report.effects_doubled, 1, "{report}");
        }
        let undone_twice = changed(|books| {
            let traces = books.orders.get_mut("undone").unwrap();
            traces.voided_minor.push(100);
        });
        assert_eq!(undone_twice.effects_doubled, 1, "{undone_twice}");
    }

    #[test]
    fn every_effect_that_is_left_behind_is_found() {
        let leaks: [fn(&mut Traces); 5] = [
            |t| t.held.push(("tea".to_owned(), 2)),
            |t| t.authorized_minor.push(100),
            |t| t.captured_minor.push(100),
            |t| t.shipments.push("TRK".to_owned()),
            |t| t.mails.push("greta@example.org".to_owned()),
        ];
        for leak in leaks {
            let report = changed(|books| leak(books.orders.get_mut("undone").unwrap()));
            assert_eq!(report.effects_left_behind, 1, "{report}");
        }
        let unordered = changed(|books| {
            let traces = books.orders.entry("unordered".to_owned()).or_default();
            traces.shipments.push("TRK".to_owned());
        });
        assert_eq!(unordered.effects_left_behind, 1, "{unordered}");
    }

    #[test]
    fn every_effect_that_is_missing_is_found() {
        let losses: [fn(&mut Traces); 5] = [
            |t| t.held.clear(),
            |t| t.settled_minor.clear(),
            |t| t.captured_minor.clear(),
            |t| t.shipments.clear(),
            |t| t.mails.clear(),
        ];
        for lose in losses {
            let report = changed(|books| lose(books.orders.get_mut("done").unwrap()));
            assert_eq!(report.effects_missing, 1, "{report}");
        }
    }

    #[test]
    fn sums_that_do_not_add_up_are_found() {
        let stock = changed(|books| books.stock.get_mut("tea").unwrap().on_hand += 1);
        assert_eq!(stock.sums_broken, 1, "{stock}");
        let money = changed(|books| *books.balances_minor.get_mut("greta").unwrap() -= 1);
        assert_eq!(money.sums_broken, 1, "{money}");
    }

    #[test]
    fn a_parked_saga_is_not_judged_but_its_sums_are() {
        let endings = BTreeMap::from([
            ("done".to_owned(), Ending::Completed),
            ("undone".to_owned(), Ending::Parked),
        ]);
        let orders = [order("done"), order("undone")];
        let mut half = after();
        let parked = half.orders.get_mut("undone").unwrap();
        parked.voided_minor.clear();
        parked.authorized_minor.push(100);
        let leaky = reconcile(&before(), &half, &orders, &endings);
        assert_eq!((leaky.unsettled, leaky.sums_broken), (1, 1), "{leaky}");
        *half.balances_minor.get_mut("greta").unwrap() -= 100;
        let report = reconcile(&before(), &half, &orders, &endings);
        assert!(report.holds(), "{report}");
    }
}
