//! A failing input made smaller: parts are left out as long as it still fails.

use std::time::{Duration, Instant};

/// Long enough for most; whoever wants it smaller replays the case.
const TIME: Duration = Duration::from_secs(10);

/// The smallest input found that still fails.
pub(super) fn smallest(mut input: Vec<u8>, fails: &dyn Fn(&[u8]) -> bool) -> Vec<u8> {
    let begin = Instant::now();
    let mut part = input.len().next_power_of_two();
    while part > 0 {
        let mut at = 0;
        while at < input.len() && begin.elapsed() < TIME {
            let end = (at + part).min(input.len());
            let without = [&input[..at], &input[end..]].concat();
            if fails(&without) {
                input = without;
            } else {
                at += part;
            }
        }
        part /= 2;
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_is_left_out() {
        let fails = |input: &[u8]| input.contains(&b'x') && input.contains(&b'y');
        let long = [
            vec![b'a'; 100],
            b"x".to_vec(),
            vec![b'b'; 77],
            b"y!".to_vec(),
        ]
        .concat();
        assert_eq!(smallest(long, &fails), b"xy");
    }
}
