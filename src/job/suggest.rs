//! "Did you mean": the nearest known name.

/// The name nearest to `typed`, if one is near enough to be meant: equal but for case and separators, one the beginning of
/// the other, or a few slips of the finger away.
pub(crate) fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let typed = plain(typed);
    let scored = known.map(|name| (score(&typed, &plain(name)), name));
    scored.filter_map(|(score, name)| score.map(|score| (score, name))).min().map(|(_, name)| name)
}

/// Slips between two plain names; `None` when they are too far apart.
fn score(typed: &[char], name: &[char]) -> Option<usize> {
    let slips = distance(typed, name);
    let allowed = (typed.len().max(name.len()) / 4).clamp(1, 3);
    if slips <= allowed {
        return Some(slips);
    }
    let (short, long) = if typed.len() < name.len() { (typed, name) } else { (name, typed) };
    (short.len() >= PREFIX_MIN && long.starts_with(short)).then_some(allowed + 1)
}

/// Lower case, letters and digits only, cut to a length no real key has.
fn plain(name: &str) -> Vec<char> {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).take(NAME_CHARS_MAX).collect()
}

/// Optimal string alignment distance: insertions, deletions, replacements and swaps of neighbours.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = last.get(j).copied().unwrap_or(usize::MAX) + usize::from(x != y);
            let deleted = last.get(j + 1).copied().unwrap_or(usize::MAX) + 1;
            let inserted = row.get(j).copied().unwrap_or(usize::MAX) + 1;
            let mut best = replaced.min(deleted).min(inserted);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if let Some(two_back) = before_last.get(j.wrapping_sub(1)).filter(|_| swapped) {
                best = best.min(two_back + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(a.len())
}

const PREFIX_MIN: usize = 3;
const NAME_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant_and_nothing_else() {
        let known = ["topic", "waitTime", "beginOffset", "endOffset", "group.id", "fetch.min.bytes"];
        for (typed, wanted) in [
            ("Topic", Some("topic")),
            ("tpoic", Some("topic")),
            ("wait_time", Some("waitTime")),
            ("beginOfset", Some("beginOffset")),
            ("groupid", Some("group.id")),
            ("fetch.min.byte", Some("fetch.min.bytes")),
            ("compression", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(typed, known.into_iter()), wanted, "{typed}");
        }
    }

    #[test]
    fn counts_slips() {
        let count = |a: &str, b: &str| distance(&plain(a), &plain(b));
        assert_eq!(count("abc", "abc"), 0);
        assert_eq!(count("abc", "acb"), 1);
        assert_eq!(count("abc", ""), 3);
        assert_eq!(count("kitten", "sitting"), 3);
    }
}
