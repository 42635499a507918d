//! Orders as a shop would get them: several items, customers who come back, some of whom cannot pay, some with an
//! email.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::chance::Dice;

/// One order: the saga's input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Unique; the saga's business key.
    pub order_id: String,
    /// Whose account pays.
    pub customer: String,
    /// Where the confirmation goes, if anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Where the parcel goes.
    pub address: String,
    /// What is bought, each article once.
    pub items: Vec<Item>,
    /// The sum, in minor units such as cents.
    pub total_minor: i64,
}

/// So many pieces of one article.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The article.
    pub sku: String,
    /// Pieces.
    pub quantity: i64,
    /// The price of one, in minor units.
    pub unit_price_minor: i64,
}

/// What the shop and its customers have before the first order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opening {
    /// Pieces on hand, by article.
    pub stock: BTreeMap<String, i64>,
    /// What each customer can spend, in minor units.
    pub balances_minor: BTreeMap<String, i64>,
}

/// So many orders. The same seed and count make the same orders.
#[must_use]
pub fn generate_orders(seed: u64, count: usize) -> Vec<Order> {
    let mut dice = Dice::of(seed, &["orders"]);
    // A customer orders about three times.
    let customers = customers(count);
    (1..=count)
        .map(|number| {
            let customer = dice.pick(&customers).clone();
            let items = items(&mut dice);
            let total_minor = items
                .iter()
                .map(|item| item.quantity * item.unit_price_minor);
            let email = dice.percent(70).then(|| format!("{customer}@example.org"));
            Order {
                order_id: format!("order-{seed}-{number:05}"),
                email,
                address: format!(
                    "{} {}, {}",
                    dice.roll(180) + 1,
                    dice.pick(&STREETS),
                    dice.pick(&TOWNS)
                ),
                customer,
                total_minor: total_minor.sum(),
                items,
            }
        })
        .collect()
}

/// Stock and balances for these orders: most of them can be served, but some articles run out and some customers run
/// dry.
#[must_use]
pub fn opening_for(seed: u64, count: usize) -> Opening {
    let mut dice = Dice::of(seed, &["opening"]);
    let mut demand: BTreeMap<String, i64> = CATALOGUE
        .iter()
        .map(|(sku, _)| ((*sku).to_owned(), 0))
        .collect();
    let mut spending: BTreeMap<String, i64> =
        customers(count).into_iter().map(|name| (name, 0)).collect();
    for order in generate_orders(seed, count) {
        for item in &order.items {
            *demand.entry(item.sku.clone()).or_default() += item.quantity;
        }
        *spending.entry(order.customer).or_default() += order.total_minor;
    }
    // Orders that fail for another reason give their pieces back, so less than the demand is enough to sell most.
    let mut stock = |(sku, pieces): (String, i64)| {
        let percent = if dice.percent(20) { 80 } else { 110 };
        (sku, pieces * percent / 100 + TOUR_PIECES)
    };
    let stock = demand.into_iter().map(&mut stock).collect();
    let mut balance = |(customer, sum): (String, i64)| {
        let percent = if dice.percent(15) { 40 } else { 120 };
        (customer, sum * percent / 100)
    };
    let mut balances_minor: BTreeMap<_, _> = spending.into_iter().map(&mut balance).collect();
    balances_minor.insert(TOUR_CUSTOMER.to_owned(), TOUR_BALANCE_MINOR);
    Opening {
        stock,
        balances_minor,
    }
}

fn customers(orders: usize) -> Vec<String> {
    (0..=orders / 3)
        .map(|n| {
            let (first, last) = (
                FIRST_NAMES[n % FIRST_NAMES.len()],
                LAST_NAMES[n / FIRST_NAMES.len() % LAST_NAMES.len()],
            );
            match n / (FIRST_NAMES.len() * LAST_NAMES.len()) {
                0 => format!("{first}.{last}"),
                more => format!("{first}.{last}.{more}"),
            }
        })
        .collect()
}

fn items(dice: &mut Dice) -> Vec<Item> {
    let mut items: BTreeMap<&str, Item> = BTreeMap::new();
    for _ in 0..=dice.roll(4) {
        let (sku, unit_price_minor) = *dice.pick(&CATALOGUE);
        let quantity = 1 + i64::try_from(dice.roll(3)).unwrap_or(0);
        let item = items.entry(sku).or_insert(Item {
            sku: sku.to_owned(),
            quantity: 0,
            unit_price_minor,
        });
        item.quantity += quantity;
    }
    items.into_values().collect()
}

/// A customer for orders placed by hand, whatever the seed.
const TOUR_CUSTOMER: &str = "newcomer";
const TOUR_BALANCE_MINOR: i64 = 100_000;
/// Pieces of each article beside what the generated orders want.
const TOUR_PIECES: i64 = 2;

/// Articles and their prices in minor units.
const CATALOGUE: [(&str, i64); 16] = [
    ("cup-porcelain-white", 1_290),
    ("cup-stoneware-blue", 1_490),
    ("filter-paper-100", 390),
    ("honey-acacia-500g", 990),
    ("kettle-gooseneck", 8_900),
    ("kettle-travel", 3_450),
    ("scale-kitchen", 2_750),
    ("sieve-steel", 690),
    ("tea-assam-250g", 890),
    ("tea-darjeeling-100g", 1_650),
    ("tea-gyokuro-50g", 2_490),
    ("tea-rooibos-250g", 650),
    ("tea-sencha-100g", 1_190),
    ("teapot-cast-iron", 5_900),
    ("teapot-glass", 3_990),
    ("tin-tea-round", 850),
];
const FIRST_NAMES: [&str; 16] = [
    "aiko", "amara", "bela", "chidi", "dara", "elif", "farid", "greta", "hugo", "ines", "jonas",
    "kavya", "liam", "mei", "noor", "oscar",
];
const LAST_NAMES: [&str; 12] = [
    "abara", "berg", "costa", "demir", "evans", "fischer", "garcia", "haddad", "ito", "jensen",
    "kumar", "larsen",
];
const STREETS: [&str; 8] = [
    "Harbour Street",
    "Mill Lane",
    "Station Road",
    "Market Square",
    "Linden Avenue",
    "Church Row",
    "Canal Side",
    "Orchard Way",
];
const TOWNS: [&str; 8] = [
    "20457 Hamburg",
    "8001 Zürich",
    "1012 Amsterdam",
    "75003 Paris",
    "1050 Brussels",
    "28004 Madrid",
    "20121 Milano",
    "0150 Oslo",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_the_same_for_the_same_seed_and_add_up() {
        let orders = generate_orders(7, 200);
        assert_eq!(orders, generate_orders(7, 200));
        assert_ne!(orders, generate_orders(8, 200));
        for order in &orders {
            let sum: i64 = order
                .items
                .iter()
                .map(|i| i.quantity * i.unit_price_minor)
                .sum();
            assert_eq!(order.total_minor, sum);
            assert!(!order.items.is_empty());
        }
        let with_email = orders.iter().filter(|order| order.email.is_some()).count();
        assert!((100..180).contains(&with_email), "{with_email}");
    }

    #[test]
    fn an_opening_covers_most_of_the_orders_but_not_all() {
        for seed in 1..=5 {
            let opening = opening_for(seed, 300);
            let mut wanted: BTreeMap<String, i64> = BTreeMap::new();
            let mut spent: BTreeMap<String, i64> = BTreeMap::new();
            for order in generate_orders(seed, 300) {
                order
                    .items
                    .iter()
                    .for_each(|i| *wanted.entry(i.sku.clone()).or_default() += i.quantity);
                *spent.entry(order.customer).or_default() += order.total_minor;
            }
            let short = wanted
                .iter()
                .filter(|(sku, pieces)| opening.stock[*sku] < **pieces)
                .count();
            let poor = spent
                .iter()
                .filter(|(who, sum)| opening.balances_minor[*who] < **sum)
                .count();
            assert!(short > 0 && short < wanted.len() / 2, "{short}");
            assert!(poor > 0 && poor < spent.len() / 2, "{poor}");
        }
    }

    #[test]
    fn the_order_of_the_tour_can_be_served_by_any_opening() {
        let order: Order = serde_json::from_str(include_str!("../order.json")).unwrap();
        let sum: i64 = order
            .items
            .iter()
            .map(|i| i.quantity * i.unit_price_minor)
            .sum();
        assert_eq!(order.total_minor, sum);
        let opening = opening_for(1, 0);
        assert!(opening.balances_minor[&order.customer] >= order.total_minor);
        for item in &order.items {
            assert!(opening.stock[&item.sku] >= item.quantity);
            assert!(CATALOGUE.contains(&(item.sku.as_str(), item.unit_price_minor)));
        }
    }
}
