//! `forebay kafka offsets`: what kafka-get-offsets.sh (GetOffsetShell) does.

use std::collections::BTreeSet;
use std::process::ExitCode;

use regex_lite::Regex;
use serde_json::json;

use super::compat::Release;
use super::{ClusterArgs, failure, print_json, topic_pattern};
use crate::cli::failure::code;
use crate::cli::{Failure, out};
use crate::kafka::{ErrorKind, Isolation, OffsetAt};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forebay kafka offsets --bootstrap-server h:9092 --topic t
  forebay kafka offsets --bootstrap-server h:9092 --topic t --time earliest --partitions 0,3
  forebay kafka offsets --bootstrap-server h:9092 --topic-partitions 'orders.*:0-3,logs' --time 1700000000000")]
pub(super) struct OffsetsArgs {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// The topic, or a pattern; all without it
    #[arg(long, value_name = "NAME", conflicts_with = "topic_partitions")]
    topic: Option<String>,
    /// These partitions only
    #[arg(long, value_name = "N,...", value_delimiter = ',', conflicts_with = "topic_partitions")]
    partitions: Vec<i32>,
    /// Patterns of topics, each with a partition or a range of them: t1:1,t2:0-3,t3,t4:5-,t5:-3
    #[arg(long, value_name = "PATTERNS")]
    topic_partitions: Option<String>,
    /// latest (-1), earliest (-2), max-timestamp (-3), earliest-local (-4), latest-tiered (-5), or milliseconds since 1970
    #[arg(long, value_name = "TIME", default_value = "latest", allow_negative_numbers = true, value_parser = parse_time)]
    time: OffsetAt,
    /// Without the cluster's own topics
    #[arg(long)]
    exclude_internal_topics: bool,
    /// How many offsets of each partition before the time; only 1 is possible
    #[arg(long, value_name = "N", hide = true, value_parser = clap::value_parser!(u32).range(1..=1))]
    offsets: Option<u32>,
    /// No effect
    #[arg(long, value_name = "MS", hide = true)]
    max_wait_ms: Option<u64>,
}

fn parse_time(text: &str) -> Result<OffsetAt, String> {
    Ok(match text {
        "latest" | "-1" => OffsetAt::Latest,
        "earliest" | "-2" => OffsetAt::Earliest,
        "max-timestamp" | "-3" => OffsetAt::MaxTimestamp,
        "earliest-local" | "-4" => OffsetAt::EarliestLocal,
        "latest-tiered" | "-5" => OffsetAt::LatestTiered,
        number => match number.parse::<i64>() {
            Ok(ms) if ms >= 0 => OffsetAt::Time(ms),
            _ => {
                return Err("latest, earliest, max-timestamp, earliest-local, latest-tiered or milliseconds".to_owned());
            }
        },
    })
}

/// Which partitions of which topics.
struct Rule {
    topics: Regex,
    name: String,
    /// First, and the one after the last.
    range: (i32, i32),
}

impl Rule {
    fn parse(text: &str) -> Result<Self, Failure> {
        let (name, range) = text.split_once(':').map_or((text, ""), |(name, range)| (name, range));
        let wrong = || {
            Failure::new(
                code::USAGE,
                format!("--topic-partitions: {text:?} is not TOPIC:N, TOPIC:N-M, TOPIC:N- or TOPIC:-M"),
            )
        };
        let number = |text: &str, default: i32| match text {
            "" => Ok(default),
            text => text.parse::<i32>().ok().filter(|number| *number >= 0).ok_or_else(wrong),
        };
        let range = match range.split_once('-') {
            Some((from, to)) => (number(from, 0)?, number(to, i32::MAX)?),
            None if range.is_empty() => (0, i32::MAX),
            None => {
                let one = number(range, 0)?;
                (one, one.saturating_add(1))
            }
        };
        let pattern = if name.is_empty() { ".*" } else { name };
        Ok(Self { topics: topic_pattern(pattern)?, name: name.to_owned(), range })
    }

    fn admits(&self, topic: &str, partition: i32) -> bool {
        (self.topics.is_match(topic) || self.name == topic) && (self.range.0..self.range.1).contains(&partition)
    }
}

impl OffsetsArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let cluster = self.cluster.connect().await?;
        let rules = match (&self.topic_partitions, &self.topic) {
            (Some(list), _) => list.split(',').map(Rule::parse).collect::<Result<Vec<_>, _>>()?,
            (None, topic) => {
                let name = topic.clone().unwrap_or_default();
                let pattern = if name.is_empty() { ".*" } else { name.as_str() };
                vec![Rule { topics: topic_pattern(pattern)?, name: name.clone(), range: (0, i32::MAX) }]
            }
        };
        let topics = cluster.client.topics().await.map_err(|error| failure(&error))?;
        let listed: BTreeSet<i32> = self.partitions.iter().copied().collect();
        let (mut rows, mut any) = (Vec::new(), false);
        for topic in topics.iter().filter(|topic| !(self.exclude_internal_topics && topic.internal)) {
            let admitted = |partition: &i32| {
                rules.iter().any(|rule| rule.admits(&topic.name, *partition))
                    && (listed.is_empty() || listed.contains(partition))
            };
            let partitions = topic.partitions.iter().map(|partition| partition.partition).filter(admitted);
            let wanted: Vec<(i32, OffsetAt)> = partitions.map(|partition| (partition, self.time)).collect();
            if wanted.is_empty() {
                continue;
            }
            any = true;
            let found = cluster.client.list_offsets(&topic.name, &wanted, Isolation::ReadUncommitted).await;
            let found = match found {
                Ok(found) => found,
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    return Err(failure(&error).advise("--time latest, earliest or milliseconds work everywhere"));
                }
                Err(error) => return Err(failure(&error)),
            };
            rows.extend(found.into_iter().map(|(partition, found)| (topic.name.clone(), partition, found)));
        }
        if !any {
            cluster.may_see(self.topic.as_deref()).await?;
            let why = match &self.topic {
                Some(topic) => format!("no topic or partition meets {topic:?}"),
                None => "Could not match any topic-partitions with the specified filters".to_owned(),
            };
            return Err(Failure::new(code::FAILED, why).advise("'forebay kafka topics --list' shows the topics"));
        }
        // The tool sorts by the text `topic-partition` from 3.0 on.
        if cluster.release >= Release::V3_0 {
            rows.sort_by_cached_key(|(topic, partition, _)| format!("{topic}-{partition}"));
        }
        if cluster.json {
            let rows: Vec<_> = (rows.iter())
                .map(|(topic, partition, found)| {
                    let timestamp = (found.timestamp >= 0).then_some(found.timestamp);
                    json!({
                        "topic": &**topic, "partition": partition, "offset": found.offset, "timestamp": timestamp,
                        "leaderEpoch": found.leader_epoch,
                    })
                })
                .collect();
            print_json(&json!(rows));
            return Ok(ExitCode::SUCCESS);
        }
        let mut text = String::new();
        for (topic, partition, found) in rows {
            match found.offset {
                Some(offset) => text += &format!("{topic}:{partition}:{offset}\n"),
                // The old tool prints the partition with an empty list, the new one leaves it out.
                None if cluster.release < Release::V3_0 => text += &format!("{topic}:{partition}:\n"),
                None => {}
            }
        }
        out::data(&text);
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn patterns_of_partitions_are_java_s() {
        for (rule, topic, wanted) in [
            ("t", "t", vec![0, 1, 2, 3]),
            ("t:1", "t", vec![1]),
            ("t:1-3", "t", vec![1, 2]),
            ("t:2-", "t", vec![2, 3]),
            ("t:-2", "t", vec![0, 1]),
            (":1", "other", vec![1]),
            ("o.*", "other", vec![0, 1, 2, 3]),
            ("t", "tt", vec![]),
        ] {
            let rule = Rule::parse(rule).unwrap();
            assert_eq!((0..4).filter(|partition| rule.admits(topic, *partition)).collect::<Vec<_>>(), wanted);
        }
        assert!(Rule::parse("t:x").is_err());
        assert_eq!(parse_time("-2"), Ok(OffsetAt::Earliest));
        assert!(parse_time("-9").is_err());
    }
}
