//! `--reset-offsets`: the plan first, and with `--execute` the commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SpanRelativeTo, Timestamp};

use super::GroupsArgs;
use super::describe::{self, GroupRows};
use crate::cli::connection::read;
use crate::cli::failure::code;
use crate::cli::kafka::failure;
use crate::cli::{Failure, out};
use crate::kafka::{Client, Isolation, OffsetAt, OffsetToCommit};

/// Where the offsets are to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Earliest,
    Latest,
    Current,
    Offset(i64),
    Shift(i64),
    Time(i64),
    /// Group (none: every one), topic, partition, offset.
    File(Vec<(Option<String>, Arc<str>, i32, i64)>),
}

/// Partition and new offset.
pub(super) type Plan = BTreeMap<(Arc<str>, i32), i64>;

impl GroupsArgs {
    /// What the command line asks for.
    pub(super) fn target(&self) -> Result<Target, Failure> {
        let usage = |why: String| Failure::new(code::USAGE, why);
        Ok(if self.to_earliest {
            Target::Earliest
        } else if self.to_latest {
            Target::Latest
        } else if let Some(offset) = self.to_offset {
            Target::Offset(offset)
        } else if let Some(by) = self.shift_by {
            Target::Shift(by)
        } else if let Some(text) = &self.to_datetime {
            Target::Time(datetime(text).map_err(|why| usage(format!("--to-datetime {text}: {why}")))?)
        } else if let Some(text) = &self.by_duration {
            let ms = duration_ms(text).map_err(|why| usage(format!("--by-duration {text}: {why}")))?;
            Target::Time(Timestamp::now().as_millisecond().saturating_sub(ms))
        } else if let Some(file) = &self.from_file {
            let text = read(file)?;
            Target::File(plan_file(&text).map_err(|why| {
                Failure::new(code::CONFIG, format!("{}: {why}", file.display()))
                    .advise("lines are topic,partition,offset or group,topic,partition,offset, as --export writes them")
            })?)
        } else if self.to_current {
            Target::Current
        } else {
            return Err(usage("--reset-offsets: where to?".to_owned()).advise(
                "one of --to-earliest, --to-latest, --to-current, --to-offset, --shift-by, --to-datetime, --by-duration, \
                 --from-file",
            ));
        })
    }
}

/// The new offsets of a group. `topics` are `t` or `t:0,1`; empty means all that the group has committed.
pub(super) async fn plan(
    client: &Client,
    group: &str,
    committed: &GroupRows,
    topics: &[String],
    target: &Target,
) -> Result<Plan, Failure> {
    let known: BTreeMap<(Arc<str>, i32), Option<i64>> = (committed.rows.iter())
        .filter_map(|row| Some(((row.topic.as_deref()?.into(), row.partition?), row.current)))
        .collect();
    if let Target::File(lines) = target {
        let wanted = lines.iter().filter(|(of, ..)| of.as_deref().is_none_or(|of| of == group));
        let wanted: Plan = wanted.map(|(_, topic, partition, offset)| ((topic.clone(), *partition), *offset)).collect();
        return within_range(client, wanted).await;
    }
    let partitions =
        if topics.is_empty() { describe::partitions(committed) } else { named_partitions(client, topics).await? };
    let wanted: BTreeSet<(Arc<str>, i32)> = partitions.into_iter().collect();
    match target {
        Target::Earliest => listed(client, &wanted, OffsetAt::Earliest).await,
        Target::Latest => listed(client, &wanted, OffsetAt::Latest).await,
        Target::Time(ms) => {
            let mut found = listed(client, &wanted, OffsetAt::Time(*ms)).await?;
            let missing: BTreeSet<_> = wanted.iter().filter(|key| !found.contains_key(*key)).cloned().collect();
            for (topic, partition) in &missing {
                out::talk(&format!(
                    "Warn: Partition {partition} from topic {topic} has no record from then on. Falling back to latest known offset."
                ));
            }
            found.extend(listed(client, &missing, OffsetAt::Latest).await?);
            Ok(found)
        }
        Target::Offset(offset) => within_range(client, wanted.into_iter().map(|key| (key, *offset)).collect()).await,
        Target::Shift(by) => {
            let mut shifted = Plan::new();
            for key in wanted {
                let Some(current) = known.get(&key).copied().flatten() else {
                    let why = format!("--shift-by: the group has committed nothing for {}-{}", key.0, key.1);
                    return Err(Failure::new(code::FAILED, why));
                };
                shifted.insert(key, current.saturating_add(*by));
            }
            within_range(client, shifted).await
        }
        Target::Current => {
            let (with, without): (BTreeSet<_>, BTreeSet<_>) =
                wanted.into_iter().partition(|key| known.get(key).copied().flatten().is_some());
            let mut plan: Plan =
                with.into_iter().filter_map(|key| known.get(&key).copied().flatten().map(|at| (key, at))).collect();
            plan.extend(listed(client, &without, OffsetAt::Latest).await?);
            Ok(plan)
        }
        Target::File(_) => Ok(Plan::new()),
    }
}

/// The partitions of `t` or `t:0,1`.
pub(super) async fn named_partitions(client: &Client, topics: &[String]) -> Result<Vec<(Arc<str>, i32)>, Failure> {
    let mut partitions = Vec::new();
    for text in topics {
        let (name, numbers) = text.split_once(':').map_or((text.as_str(), None), |(name, rest)| (name, Some(rest)));
        let topic: Arc<str> = name.into();
        match numbers {
            Some(numbers) => {
                for number in numbers.split(',') {
                    let partition = number.trim().parse::<i32>().ok().filter(|number| *number >= 0);
                    let wrong = || Failure::new(code::USAGE, format!("--topic {text}: {number:?} is no partition"));
                    partitions.push((topic.clone(), partition.ok_or_else(wrong)?));
                }
            }
            None => {
                let found = client.topic(name).await.map_err(|error| failure(&error))?;
                partitions.extend(found.partitions.iter().map(|partition| (topic.clone(), partition.partition)));
            }
        }
    }
    Ok(partitions)
}

async fn listed(client: &Client, wanted: &BTreeSet<(Arc<str>, i32)>, at: OffsetAt) -> Result<Plan, Failure> {
    let mut topics: BTreeMap<&Arc<str>, Vec<(i32, OffsetAt)>> = BTreeMap::new();
    for (topic, partition) in wanted {
        topics.entry(topic).or_default().push((*partition, at));
    }
    let mut found = Plan::new();
    for (topic, partitions) in topics {
        let listed = client.list_offsets(topic, &partitions, Isolation::ReadUncommitted).await;
        let listed = listed.map_err(|error| failure(&error))?;
        found.extend(listed.into_iter().filter_map(|(partition, at)| Some(((topic.clone(), partition), at.offset?))));
    }
    Ok(found)
}

/// Offsets that do not exist become the nearest that does.
async fn within_range(client: &Client, wanted: Plan) -> Result<Plan, Failure> {
    let keys: BTreeSet<_> = wanted.keys().cloned().collect();
    let (starts, ends) =
        (listed(client, &keys, OffsetAt::Earliest).await?, listed(client, &keys, OffsetAt::Latest).await?);
    let bounded = wanted.into_iter().map(|(key, offset)| {
        let (start, end) = (starts.get(&key).copied().unwrap_or(0), ends.get(&key).copied().unwrap_or(i64::MAX));
        let (topic, partition) = &key;
        let about = format!("for topic partition {topic}-{partition}. Value will be set to");
        if offset > end {
            out::talk(&format!("WARN New offset ({offset}) is higher than latest offset {about} {end}."));
        } else if offset < start {
            out::talk(&format!("WARN New offset ({offset}) is lower than earliest offset {about} {start}."));
        }
        let bounded = offset.min(end).max(start);
        (key, bounded)
    });
    Ok(bounded.collect())
}

pub(super) async fn execute(client: &Client, group: &str, plan: &Plan) -> Result<(), Failure> {
    let offsets: Vec<OffsetToCommit> = (plan.iter())
        .map(|((topic, partition), offset)| OffsetToCommit {
            topic: topic.clone(),
            partition: *partition,
            offset: *offset,
            leader_epoch: None,
            metadata: String::new(),
        })
        .collect();
    client.commit_offsets(group, &offsets).await.map_err(|error| failure(&error))
}

/// Milliseconds since 1970 of `YYYY-MM-DDTHH:mm:SS.sss`, in UTC unless it says another offset.
pub(super) fn datetime(text: &str) -> Result<i64, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at.as_millisecond());
    }
    let local: DateTime = text.parse().map_err(|_| "YYYY-MM-DDTHH:mm:SS.sss expected".to_owned())?;
    let at = local.to_zoned(TimeZone::UTC).map_err(|error| error.to_string())?;
    Ok(at.timestamp().as_millisecond())
}

/// Milliseconds of `PnDTnHnMnS`; a day has 24 hours.
pub(super) fn duration_ms(text: &str) -> Result<i64, String> {
    let wrong = || "PnDTnHnMnS expected, such as P1DT2H".to_owned();
    // The parser knows friendlier forms, which the original does not.
    let is_iso = text.trim_start_matches(['-', '+']).starts_with(['P', 'p']);
    let span: jiff::Span = text.parse().ok().filter(|_| is_iso).ok_or_else(wrong)?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|error| error.to_string())?;
    i64::try_from(duration.as_millis()).map_err(|_| "too long".to_owned())
}

#[expect(clippy::type_complexity, reason = "one line of the file")]
fn plan_file(text: &str) -> Result<Vec<(Option<String>, Arc<str>, i32, i64)>, String> {
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split(',').map(|cell| cell.trim().trim_matches('"')).collect();
        let (group, rest) = match cells.as_slice() {
            [topic, partition, offset] => (None, [*topic, *partition, *offset]),
            [group, topic, partition, offset] => (Some((*group).to_owned()), [*topic, *partition, *offset]),
            _ => return Err(format!("line {}: {} cells", at.saturating_add(1), cells.len())),
        };
        let [topic, partition, offset] = rest;
        match (partition.parse::<i32>(), offset.parse::<i64>()) {
            (Ok(partition), Ok(offset)) => lines.push((group, topic.into(), partition, offset)),
            _ => return Err(format!("line {}: partition and offset are numbers", at.saturating_add(1))),
        }
    }
    Ok(lines)
}

/// The plan as the tools print it.
pub(super) fn table(plans: &[(String, Plan)], release: super::super::compat::Release) -> String {
    use super::super::compat::Release;
    let rows = plans.iter().flat_map(|(group, plan)| plan.iter().map(move |(key, offset)| (group, key, offset)));
    let mut text = String::new();
    if release < Release::V2_3 {
        text += &format!("\n{:<30} {:<10} {:<15}\n", "TOPIC", "PARTITION", "NEW-OFFSET");
        for (_, (topic, partition), offset) in rows {
            text += &format!("{topic:<30} {partition:<10} {offset:<15}\n");
        }
        return text;
    }
    if release < Release::V4_0 {
        text += &format!("\n{:<30} {:<30} {:<10} {:<15}\n", "GROUP", "TOPIC", "PARTITION", "NEW-OFFSET");
        for (group, (topic, partition), offset) in rows {
            text += &format!("{group:<30} {topic:<30} {partition:<10} {offset:<15}\n");
        }
        return text;
    }
    let longest = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0).max(15);
    let group_width = longest(&mut plans.iter().map(|(group, _)| group.chars().count()));
    let topic_width =
        longest(&mut plans.iter().flat_map(|(_, plan)| plan.keys()).map(|(topic, _)| topic.chars().count()));
    text += &format!("\n{:<group_width$} {:<topic_width$} {:<10} {}", "GROUP", "TOPIC", "PARTITION", "NEW-OFFSET");
    for (group, (topic, partition), offset) in rows {
        text += &format!("\n{group:<group_width$} {topic:<topic_width$} {partition:<10} {offset}");
    }
    text + "\n"
}

/// The plan as `--export` writes it.
pub(super) fn export(plans: &[(String, Plan)], with_group: bool) -> String {
    let mut text = String::new();
    for (group, plan) in plans {
        for ((topic, partition), offset) in plan {
            if with_group {
                text += &format!("{group},");
            }
            text += &format!("{topic},{partition},{offset}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_and_durations_are_java_s() {
        assert_eq!(datetime("1970-01-02T00:00:00.500"), Ok(86_400_500));
        assert_eq!(datetime("1970-01-01T08:00:00.000+08:00"), Ok(0));
        assert_eq!(datetime("1970-01-01T00:00:01Z"), Ok(1000));
        assert!(datetime("yesterday").is_err());
        assert_eq!(duration_ms("P1DT2H3M4S"), Ok(((26 * 60 + 3) * 60 + 4) * 1000));
        assert!(duration_ms("1 day").is_err());
    }

    #[test]
    fn both_forms_of_a_plan_file_are_read() {
        let lines = plan_file("t,0,5\ng,\"u\",1,7\n\n").unwrap();
        assert_eq!(lines, [(None, "t".into(), 0, 5), (Some("g".to_owned()), "u".into(), 1, 7)]);
        assert!(plan_file("t,0").unwrap_err().contains("line 1"));
        assert!(plan_file("t,0,1\nt,x,2").unwrap_err().contains("line 2"));
    }
}
