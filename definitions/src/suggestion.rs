//! "Did you mean": the known word nearest to an unknown one.

/// The nearest of the known words, if one is near.
pub(crate) fn nearest<'k>(
    unknown: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    // A long word is nobody's slip of the pen, and comparing it would cost.
    if unknown.len() > 64 {
        return None;
    }
    let simplified = |word: &str| {
        let word = word.chars().filter(|char| char.is_alphanumeric());
        word.flat_map(char::to_lowercase).collect::<Vec<char>>()
    };
    let unknown = simplified(unknown);
    known
        .into_iter()
        .map(|word| (distance(&unknown, &simplified(word)), word))
        .filter(|(distance, word)| *distance <= (word.len().max(unknown.len()) / 2).min(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// The number of letters to insert, remove, replace, or swap with their neighbour.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, char_a) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, char_b) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(char_a != char_b);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *char_a == b[j - 1] && a[i - 1] == *char_b {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_finds_its_word() {
        let known = ["retry", "timeout", "compensate", "maxAttempts"];
        assert_eq!(nearest("retires", known), Some("retry"));
        assert_eq!(nearest("retrys", known), Some("retry"));
        assert_eq!(nearest("tiemout", known), Some("timeout"));
        assert_eq!(nearest("compensation", known), Some("compensate"));
        assert_eq!(nearest("max_attempts", known), Some("maxAttempts"));
        assert_eq!(nearest("zzz", known), None);
    }
}
