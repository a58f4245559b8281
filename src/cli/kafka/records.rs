//! `forebay kafka delete-records`: what kafka-delete-records.sh does.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::{ClusterArgs, failure, print_json};
use crate::cli::connection::read;
use crate::cli::failure::code;
use crate::cli::{Failure, out};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  forebay kafka delete-records --bootstrap-server h:9092 --offset-json-file offsets.json
with offsets.json being
  {\"partitions\": [{\"topic\": \"t\", \"partition\": 0, \"offset\": 100}], \"version\": 1}")]
pub(super) struct DeleteRecordsArgs {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// Topics, partitions and the first offset that is to stay; -1 deletes all
    #[arg(long, value_name = "FILE")]
    offset_json_file: PathBuf,
}

impl DeleteRecordsArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let name = self.offset_json_file.display().to_string();
        let wrong = |why: &str| {
            Failure::new(code::CONFIG, format!("{name}: {why}"))
                .advise("{\"partitions\": [{\"topic\": \"t\", \"partition\": 0, \"offset\": 100}], \"version\": 1}")
        };
        let file: Value =
            serde_json::from_str(&read(&self.offset_json_file)?).map_err(|error| wrong(&error.to_string()))?;
        if file.get("version").is_some_and(|version| version != 1) {
            return Err(wrong("only version 1 is known"));
        }
        let list = file.get("partitions").and_then(Value::as_array).ok_or_else(|| wrong("no list of partitions"))?;
        let mut topics: BTreeMap<String, Vec<(i32, i64)>> = BTreeMap::new();
        for one in list {
            let number = |key: &str| one.get(key).and_then(Value::as_i64);
            let topic = one.get("topic").and_then(Value::as_str);
            let partition = number("partition").and_then(|number| i32::try_from(number).ok());
            match (topic, partition, number("offset")) {
                (Some(topic), Some(partition), Some(offset)) => {
                    let partitions = topics.entry(topic.to_owned()).or_default();
                    if partitions.iter().any(|(known, _)| *known == partition) {
                        return Err(wrong(&format!("{topic}-{partition} stands twice")));
                    }
                    partitions.push((partition, offset));
                }
                _ => return Err(wrong(&format!("{one} lacks topic, partition or offset"))),
            }
        }
        let cluster = self.cluster.connect().await?;
        if !cluster.json {
            out::data("Executing records delete operation\n");
        }
        let mut rows = Vec::new();
        for (topic, below) in &topics {
            let deleted = cluster.client.delete_records(topic, below).await.map_err(|error| failure(&error))?;
            rows.extend(deleted.into_iter().map(|(partition, low)| (topic, partition, low)));
        }
        if cluster.json {
            let rows: Vec<Value> = (rows.iter())
                .map(|(topic, partition, low)| json!({"topic": topic, "partition": partition, "lowWatermark": low}))
                .collect();
            print_json(&json!(rows));
        } else {
            let mut text = "Records delete operation completed:\n".to_owned();
            for (topic, partition, low) in rows {
                text += &format!("partition: {topic}-{partition}\tlow_watermark: {low}\n");
            }
            out::data(&text);
        }
        Ok(ExitCode::SUCCESS)
    }
}
