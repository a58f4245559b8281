//! `forebay kafka log-dirs`: what kafka-log-dirs.sh does (brokers are named by `--brokers`).

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{ClusterArgs, failure, print_json};
use crate::cli::{Failure, out};
use crate::kafka::ErrorCode;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  forebay kafka log-dirs --bootstrap-server h:9092 --describe --topic-list t")]
pub(super) struct LogDirsArgs {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// Describe the folders (there is nothing else to do)
    #[arg(long)]
    describe: bool,
    /// These brokers only
    #[arg(long, value_name = "ID,...", value_delimiter = ',')]
    brokers: Vec<i32>,
    /// These topics only
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    topic_list: Vec<String>,
}

impl LogDirsArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let cluster = self.cluster.connect().await?;
        let found = cluster.client.log_dirs(&self.brokers).await.map_err(|error| failure(&error))?;
        let mut brokers = Vec::new();
        for (node, dirs) in &found {
            let mut folders = Vec::new();
            for dir in dirs {
                let mut partitions = Vec::new();
                for (topic, replicas) in &dir.replicas {
                    if !self.topic_list.is_empty() && !self.topic_list.contains(topic) {
                        continue;
                    }
                    partitions.extend(replicas.iter().map(|replica| {
                        json!({
                            "partition": format!("{topic}-{}", replica.partition), "size": replica.size,
                            "offsetLag": replica.offset_lag, "isFuture": replica.is_future,
                        })
                    }));
                }
                let error = (dir.error != ErrorCode::NONE).then(|| dir.error.to_string());
                folders.push(json!({"error": error, "logDir": dir.path, "partitions": partitions}));
            }
            brokers.push(json!({"broker": node, "logDirs": folders}));
        }
        let nodes: Vec<String> = found.keys().map(ToString::to_string).collect();
        let report: Value = json!({"version": 1, "brokers": brokers});
        if !cluster.json {
            out::data(&format!(
                "Querying brokers for log directories information\nReceived log directory information from brokers {}\n",
                nodes.join(",")
            ));
        }
        print_json(&report);
        Ok(ExitCode::SUCCESS)
    }
}
