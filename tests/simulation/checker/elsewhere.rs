//! Invariants that the checker does not assert at this level, each with the reason, so that nobody has to look for them.

/// The number, and why it is not here.
#[cfg(test)]
const ELSEWHERE: [(&str, &str); 6] = [
    ("I27", "there are no save-points in the language"),
    (
        "I41",
        "the outbox is a reader of committed rows: it has no part in these machines",
    ),
    (
        "I44",
        "reads are answered by the store, not by the machines: the end-to-end tests read",
    ),
    (
        "I46",
        "admission is decided before a start reaches a lane: the orchestrator's tests",
    ),
    (
        "I48",
        "two runs of one seed, compared by a test of their own (`campaign`)",
    ),
    ("I49", "the campaign's marks (`marks`, `campaign`)"),
];

#[test]
fn every_invariant_is_asserted_or_named_here() {
    let themes = [
        include_str!("backward.rs"),
        include_str!("family.rs"),
        include_str!("forward.rs"),
        include_str!("lifecycle.rs"),
        include_str!("messages.rs"),
        include_str!("ownership.rs"),
        include_str!("participants.rs"),
    ];
    for number in 1..=49 {
        let name = format!("I{number}");
        let asserted = themes
            .iter()
            .any(|theme| theme.contains(&format!("\"{name}\"")));
        let named = ELSEWHERE.iter().any(|(elsewhere, _)| *elsewhere == name);
        assert!(
            asserted != named,
            "{name}: asserted {asserted}, named {named}"
        );
    }
}
