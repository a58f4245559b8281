//! `forebay kafka produce`.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;

use super::{ClusterArgs, failure, lines};
use crate::cli::Failure;
use crate::cli::failure::code;
use crate::kafka::record::{BatchBuilder, BatchOptions, Codec};
use crate::kafka::{Acks, Client};

/// Values are gathered for at most so long before they are sent.
const LINGER: Duration = Duration::from_millis(20);
/// Values gathered at most, in bytes and in number, for all partitions together.
const GATHERED_BYTES_MAX: usize = 512 * 1024;
const GATHERED_RECORDS_MAX: usize = 10_000;

#[derive(Debug, clap::Args)]
pub(super) struct ProduceArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// The topic
    #[arg(long, value_name = "NAME")]
    topic: String,
    /// Write to this partition only; without it, to all in turn
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Compression: none, gzip, snappy, lz4 or zstd
    #[arg(long, value_name = "CODEC", default_value = "none", value_parser = parse_codec)]
    compression_codec: Codec,
}

fn parse_codec(name: &str) -> Result<Codec, String> {
    match name {
        "none" => Ok(Codec::None),
        "gzip" => Ok(Codec::Gzip),
        "snappy" => Ok(Codec::Snappy),
        "lz4" => Ok(Codec::Lz4),
        "zstd" => Ok(Codec::Zstd),
        _ => Err("one of none, gzip, snappy, lz4, zstd".to_owned()),
    }
}

impl ProduceArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let client = self.cluster.connect().await?.client;
        let topic = client.topic(&self.topic).await.map_err(|error| failure(&error))?;
        let mut turn = match self.partition {
            Some(one) if topic.partitions.iter().any(|partition| partition.partition == one) => Turn::only(one),
            Some(one) => {
                let why =
                    format!("topic {:?} has no partition {one}, but 0 to {}", self.topic, topic.partitions.len() - 1);
                return Err(Failure::new(code::USAGE, why));
            }
            None => Turn::over(topic.partitions.iter().map(|partition| partition.partition).collect()),
        };
        let mut input = lines::read(std::io::BufReader::new(std::io::stdin()));
        while let Some(values) = gather(&mut input).await? {
            self.send(&client, turn.deal(values)).await?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Writes one batch to each partition, all at once, and waits for every answer: so the order within a partition is
    /// that of the input.
    async fn send(&self, client: &Client, dealt: Vec<(i32, Vec<Vec<u8>>)>) -> Result<(), Failure> {
        let now_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
        let mut sending = JoinSet::new();
        for (partition, values) in dealt {
            let mut batch =
                BatchBuilder::new(BatchOptions { codec: self.compression_codec, ..BatchOptions::default() });
            for value in &values {
                batch.push(now_ms, None, Some(value), &[]);
            }
            let batch = batch.finish(0).map_err(|error| Failure::new(code::FAILED, error.to_string()))?;
            let (client, topic) = (client.clone(), self.topic.clone());
            sending.spawn(async move { client.produce(&topic, partition, Bytes::from(batch), Acks::All).await });
        }
        while let Some(sent) = sending.join_next().await {
            let sent = sent.map_err(|error| Failure::new(code::BUG, error.to_string()))?;
            sent.map_err(|error| failure(&error))?;
        }
        Ok(())
    }
}

/// The next values: everything that comes within a short while of the first, up to a bound. `None` at the end.
async fn gather(input: &mut Receiver<Result<Vec<u8>, String>>) -> Result<Option<Vec<Vec<u8>>>, Failure> {
    let failed = |why: String| Failure::new(code::FAILED, why);
    let Some(first) = input.recv().await else { return Ok(None) };
    let mut values = vec![first.map_err(failed)?];
    let mut bytes = values.iter().map(Vec::len).sum::<usize>();
    let until = tokio::time::Instant::now() + LINGER;
    while bytes < GATHERED_BYTES_MAX && values.len() < GATHERED_RECORDS_MAX {
        match tokio::time::timeout_at(until, input.recv()).await {
            Ok(Some(value)) => {
                let value = value.map_err(failed)?;
                bytes += value.len();
                values.push(value);
            }
            Ok(None) | Err(_) => break,
        }
    }
    Ok(Some(values))
}

/// Whose turn it is: values without a key go to the partitions one after the other.
#[derive(Debug)]
struct Turn {
    partitions: Vec<i32>,
    next: usize,
}

impl Turn {
    const fn over(partitions: Vec<i32>) -> Self {
        Self { partitions, next: 0 }
    }

    fn only(partition: i32) -> Self {
        Self::over(vec![partition])
    }

    /// Shares `values` out; each partition keeps their order.
    fn deal(&mut self, values: Vec<Vec<u8>>) -> Vec<(i32, Vec<Vec<u8>>)> {
        let mut dealt = std::collections::BTreeMap::<i32, Vec<Vec<u8>>>::new();
        for value in values {
            let index = self.next.checked_rem(self.partitions.len()).unwrap_or(0);
            self.next = index + 1;
            if let Some(partition) = self.partitions.get(index) {
                dealt.entry(*partition).or_default().push(value);
            }
        }
        dealt.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_take_turns_over_several_rounds() {
        let mut turn = Turn::over(vec![0, 1, 2]);
        let values = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
        assert_eq!(turn.deal(values(&["a", "b"])), [(0, values(&["a"])), (1, values(&["b"]))]);
        let expected = [(0, values(&["d"])), (1, values(&["e"])), (2, values(&["c", "f"]))];
        assert_eq!(turn.deal(values(&["c", "d", "e", "f"])), expected);
        assert_eq!(Turn::only(7).deal(values(&["a", "b"])), [(7, values(&["a", "b"]))]);
    }
}
