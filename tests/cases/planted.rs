//! The runner itself, tested: a case that expects something else than what happens has to fail, and say at what.

use crate::case::{Behaviour, Case, Crashes, Run, definition};
use crate::{cases, every_step, play};

fn case(name: &str) -> Case {
    let found = cases().into_iter().find(|case| case.name == name);
    found.unwrap_or_else(|| panic!("there is no case {name}"))
}

/// What the runner finds in a case's first run after a change.
fn found(name: &str, change: impl Fn(&mut Run)) -> String {
    let case = case(name);
    let mut run = case.runs[0].clone();
    assert_eq!(play::judge(&case, &run), Ok(()), "it holds as it stands");
    change(&mut run);
    play::judge(&case, &run).expect_err("it expects what does not happen")
}

#[test]
fn calls_in_another_order_are_found() {
    let said = found("workflow-core/multistep-compensation", |run| {
        let last = run.calls.len() - 1;
        run.calls.swap(last, last - 1);
    });
    assert!(said.contains("the calls differ from line 7 on"), "{said}");
}

#[test]
fn a_call_less_and_a_call_more_are_found() {
    let less = found("dtm/saga-rollback", |run| drop(run.calls.pop()));
    assert!(less.contains("the calls differ from line 3 on"), "{less}");
    let more = found("dtm/saga-rollback", |run| {
        run.calls.push("dtm.trans_in_revert".into())
    });
    assert!(more.contains("the calls differ from line 4 on"), "{more}");
}

#[test]
fn a_history_in_another_order_is_found() {
    let said = found("servicecomb/last-aborted", |run| run.history.swap(9, 11));
    assert!(
        said.contains("the history differ from line 10 on"),
        "{said}"
    );
}

#[test]
fn another_end_another_sum_and_another_incident_are_found() {
    let end = found("dtm/saga-rollback", |run| run.end = "completed".into());
    assert!(end.contains("it ends compensated, not completed"), "{end}");
    let sum = found("dtm/saga-rollback", |run| run.ledger = -30);
    assert!(sum.contains("the ledger's sum is 0, not -30"), "{sum}");
    let calm = found("servicecomb/timeout-that-parks", |run| run.incident = None);
    assert!(
        calm.contains(r#"its incidents are ["DEADLINE_EXCEEDED"]"#),
        "{calm}"
    );
}

#[test]
fn a_crash_that_changes_the_calls_is_found() {
    let said = found("seata/loop-with-compensation", |run| {
        run.crashes = Crashes::Same
    });
    assert!(said.contains("with a crash at row"), "{said}");
}

#[test]
#[should_panic(expected = "was answered")]
fn another_answer_than_the_script_s_is_found() {
    found("dtm/saga-abnormal", |run| {
        run.script[2] = run.script[2].replace("existing", "created");
    });
}

#[test]
fn an_order_that_does_not_follow_from_the_graph_is_found() {
    let case = case("paper/sequence-of-5");
    let run = Run {
        participants: vec![Behaviour::read("do.t3: rejects NO")],
        end: "compensated".to_owned(),
        deliveries: 1,
        ..Run::default()
    };
    let stage = play::play(&case, &run, None);
    let follows = |needs: fn(u32) -> String| {
        let step = |n: u32| {
            let needs = needs(n);
            format!(
                "  - {{id: t{n}, needs: [{needs}], call: do.t{n}, compensate: {{call: undo.t{n}}}}}\n"
            )
        };
        let steps: String = (1..=5).map(step).collect();
        let yaml = format!("apiVersion: amends/v1\nname: sequence\nsteps:\n{steps}");
        every_step::follows(&definition("sequence", &yaml), "t3", &run, &stage)
    };
    let before = |n| {
        if n == 1 {
            String::new()
        } else {
            format!("t{}", n - 1)
        }
    };
    assert_eq!(follows(before), Ok(()), "it holds as it stands");
    // Of 2 before 1, and 3 before both, 1 had to be undone first.
    let crossed = |n| match n {
        1 => "t2".to_owned(),
        3 => "t1".to_owned(),
        4 | 5 => "t3".to_owned(),
        _ => String::new(),
    };
    let said = follows(crossed).expect_err("it ran in another order");
    assert!(said.contains("t2 was undone before t1"), "{said}");
}

#[test]
#[should_panic(expected = "the origin's `asserts` is missing")]
fn a_case_without_its_source_is_no_case() {
    Case::read("nowhere", "=== origin\nproject: p\ntest: t\nfile: f\n");
}
