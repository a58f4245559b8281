//! What members say they did, and whether a group may do that.

use std::collections::BTreeMap;

/// One line of a member.
#[derive(Clone, Debug)]
struct Line {
    millis: u64,
    member: String,
    did: Did,
}

#[derive(Clone, Debug)]
enum Did {
    Read { topic: String, partition: i32, first: i64, next: i64 },
    Committed { topic: String, partition: i32, offset: i64 },
}

/// The lines of all members together.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    lines: Vec<Line>,
}

impl Ledger {
    /// Adds what one member has printed so far. A last line that is cut off by a kill does not count.
    pub(crate) fn add(&mut self, member: &str, text: &str) {
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for line in whole.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words.get(at).and_then(|word| word.parse::<i64>().ok());
            let (Some(millis), Some(kind)) = (words.first().and_then(|w| w.parse().ok()), words.get(1)) else {
                continue;
            };
            let place = || Some(((*words.get(2)?).to_owned(), i32::try_from(number(3)?).ok()?));
            let did =
                match *kind {
                    "read" => place()
                        .zip(number(4).zip(number(5)))
                        .map(|((topic, partition), (first, next))| Did::Read { topic, partition, first, next }),
                    "committed" => place().zip(number(4)).map(|((topic, partition), offset)| Did::Committed {
                        topic,
                        partition,
                        offset,
                    }),
                    _ => None,
                };
            if let Some(did) = did {
                self.lines.push(Line { millis, member: member.to_owned(), did });
            }
        }
    }

    /// How many records have been read, those read twice counted twice.
    pub(crate) fn read(&self) -> i64 {
        let count = |line: &Line| match line.did {
            Did::Read { first, next, .. } => next - first,
            Did::Committed { .. } => 0,
        };
        self.lines.iter().map(count).sum()
    }

    /// The highest commit of each partition of a topic.
    pub(crate) fn committed(&self, topic: &str) -> BTreeMap<i32, i64> {
        let mut highest = BTreeMap::new();
        for line in &self.lines {
            if let Did::Committed { topic: of, partition, offset } = &line.did
                && of == topic
            {
                let known = highest.entry(*partition).or_insert(*offset);
                *known = (*known).max(*offset);
            }
        }
        highest
    }

    /// What is wrong: a record that nobody read, one that was read after somebody had committed it, a commit that went back.
    /// `ends` are the ends of the topic's partitions, all of which begin at 0 without gaps.
    pub(crate) fn faults(&self, topic: &str, ends: &[(i32, i64)]) -> Vec<String> {
        let mut faults = Vec::new();
        for (partition, end) in ends {
            let mut ranges: Vec<(i64, i64)> = Vec::new();
            let mut lines: Vec<&Line> = self.lines.iter().collect();
            lines.sort_by_key(|line| line.millis);
            let mut committed = (0_i64, "");
            for line in lines {
                match &line.did {
                    Did::Read { topic: of, partition: at, first, next } if of == topic && at == partition => {
                        ranges.push((*first, *next));
                        if *first < committed.0 {
                            faults.push(format!(
                                "{} read {topic}-{partition} from {first} on after {} had committed {}",
                                line.member, committed.1, committed.0
                            ));
                        }
                    }
                    Did::Committed { topic: of, partition: at, offset } if of == topic && at == partition => {
                        if *offset < committed.0 {
                            faults.push(format!(
                                "{} committed {offset} for {topic}-{partition} after {} had committed {}",
                                line.member, committed.1, committed.0
                            ));
                        }
                        committed = (*offset, &line.member);
                    }
                    _ => {}
                }
            }
            ranges.sort_unstable();
            let mut covered = 0;
            for (first, next) in ranges {
                if first > covered {
                    faults.push(format!("nobody read {topic}-{partition} from {covered} to {first}"));
                }
                covered = covered.max(next);
            }
            if covered != *end {
                faults.push(format!("{topic}-{partition} was read up to {covered}, it ends at {end}"));
            }
        }
        faults
    }
}

#[test]
fn the_judge_sees_losses_late_duplicates_and_commits_that_go_back() {
    let judge = |text: &str| {
        let mut ledger = Ledger::default();
        ledger.add("m", text);
        ledger.faults("t", &[(0, 10)]).len()
    };
    assert_eq!(judge("1 read t 0 0 10 10\n2 committed t 0 10\n"), 0);
    assert_eq!(judge("1 read t 0 0 6 6\n2 committed t 0 4\n3 read t 0 4 10 6\n"), 0, "uncommitted work is read again");
    assert_eq!(judge("1 read t 0 0 4 4\n2 read t 0 5 10 5\n"), 1, "a gap");
    assert_eq!(judge("1 read t 0 0 9 9\n"), 1, "the end");
    assert_eq!(judge("1 read t 0 0 10 10\n2 committed t 0 10\n3 read t 0 9 10 1\n"), 1, "committed work is read again");
    assert_eq!(judge("1 read t 0 0 10 10\n2 committed t 0 10\n3 committed t 0 9\n"), 1, "a commit goes back");
    assert_eq!(judge("1 read t 0 0 10 10\n2 read t 0 0 1"), 0, "a line that was cut off");
}
