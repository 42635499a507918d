//! What a campaign had to show to each assertion of the checker; and the invariants that are not asserted at this level, each
//! with the reason, so that nobody has to look for them.

use std::collections::BTreeSet;

use crate::checker::Asked;

/// The number, and why it is not here.
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

const THEMES: [(&str, &str); 9] = [
    ("backward.rs", include_str!("backward.rs")),
    ("family.rs", include_str!("family.rs")),
    ("forward.rs", include_str!("forward.rs")),
    ("lifecycle.rs", include_str!("lifecycle.rs")),
    ("messages.rs", include_str!("messages.rs")),
    ("ownership.rs", include_str!("ownership.rs")),
    ("participants.rs", include_str!("participants.rs")),
    ("retention.rs", include_str!("retention.rs")),
    ("times.rs", include_str!("times.rs")),
];

/// Which assertions a campaign never came to, and which invariants are neither asserted by it nor named here.
pub fn never_asked(asked: &Asked) -> Vec<String> {
    let mut missing = Vec::new();
    for (file, source) in THEMES {
        for (nth, line) in source.lines().enumerate() {
            let nth = u32::try_from(nth + 1).expect("short");
            let was_asked = asked
                .keys()
                .any(|site| site.line == nth && site.file.ends_with(file));
            if line.contains("found.expect(") && !was_asked {
                missing.push(format!("{file}:{nth}"));
            }
        }
    }
    let numbers: BTreeSet<&str> = asked.keys().map(|site| site.number).collect();
    for number in 1..=50 {
        let name = format!("I{number}");
        let asserted = numbers.contains(name.as_str());
        let named = ELSEWHERE.iter().any(|(elsewhere, _)| *elsewhere == name);
        if asserted == named {
            missing.push(format!("{name}: asserted {asserted}, named {named}"));
        }
    }
    missing
}
