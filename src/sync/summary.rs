//! What a finished run did: for people, and as one JSON object.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Zoned;
use serde_json::{Value, json};

use super::end::Ended;
use super::plan::PartitionRange;
use super::report;
use super::stats::Snapshot;

/// A run that succeeded.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The job's name.
    pub job: String,
    /// The topic.
    pub topic: String,
    /// `project.table`, and the partition if there is one.
    pub target: String,
    /// When the run began, in the job's zone.
    pub started: Zoned,
    /// When it ended.
    pub finished: Zoned,
    /// The part of it in which records moved.
    pub transfer: Duration,
    /// The rule that ended it; `None` for a dry run.
    pub ended: Option<Ended>,
    /// Per partition the range and the position reached.
    pub partitions: Vec<PartitionSummary>,
    /// The counters.
    pub stats: Snapshot,
    /// The upload session; `None` for a dry run, and where rows are routed to partitions.
    pub session: Option<String>,
    /// Blocks that were committed.
    pub blocks: u32,
    /// Rows that were committed.
    pub rows: u64,
    /// The partitions that rows were routed to, each with its own session and commit; empty for a job with one target.
    pub targets: Vec<TargetSummary>,
    /// The group and what happened to its offsets.
    pub offsets: OffsetsOutcome,
}

/// One partition of a finished run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionSummary {
    /// The range as planned.
    pub range: PartitionRange,
    /// The next offset to read.
    pub position: i64,
}

/// One table partition that rows were routed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetSummary {
    /// The partition, as `pt=1,hh=2`.
    pub partition: String,
    /// Its upload session.
    pub session: String,
    /// Blocks that were committed.
    pub blocks: u32,
    /// Rows that were committed.
    pub rows: u64,
}

/// What became of the group's offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OffsetsOutcome {
    /// Committed, one position a partition, as in [`Summary::partitions`].
    Committed {
        /// The group.
        group: String,
    },
    /// Not committed, and that does no harm; the reason.
    NotCommitted(String),
}

impl Summary {
    /// The report that DataX prints.
    pub fn datax(&self) -> String {
        let text = |time: &Zoned| time.strftime("%Y-%m-%d %H:%M:%S").to_string();
        report::summary(&text(&self.started), &text(&self.finished), self.elapsed(), self.transfer, &self.stats)
    }

    /// What DataX does not say.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let stats = &self.stats;
        let mut line = |name: &str, value: &str| {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{name:<22}: {value}");
        };
        line("job", &format!("{}: topic {} into {}", self.job, self.topic, self.target));
        match &self.ended {
            Some(ended) => line("ended by", &ended.to_string()),
            None => line("ended by", "dry run, nothing was read or written"),
        }
        line("records read", &stats.records_read.to_string());
        line("rows written", &self.rows.to_string());
        line("dirty records", &stats.dirty_records.to_string());
        line("non-JSON values", &stats.non_json_values.to_string());
        line("malformed text values", &stats.malformed_text_values.to_string());
        if stats.over_length_values > 0 {
            line("over-length values", &stats.over_length_values.to_string());
        }
        if let Some(session) = &self.session {
            line("upload session", &format!("{session}, {} blocks, {} sent again", self.blocks, stats.blocks_resent));
        }
        if !self.targets.is_empty() {
            let count = self.targets.len();
            line(
                "routed to",
                &format!("{count} partitions, {} blocks, {} sent again", self.blocks, stats.blocks_resent),
            );
        }
        match &self.offsets {
            OffsetsOutcome::Committed { group } => line("offsets committed", &format!("group {group}")),
            OffsetsOutcome::NotCommitted(why) => line("offsets committed", &format!("none: {why}")),
        }
        line("partitions", &format!("{:>9} {:>15} {:>15} {:>15}", "PARTITION", "BEGIN", "END", "POSITION"));
        for partition in &self.partitions {
            let end = target_text(&partition.range);
            let row = format!(
                "{:>9} {:>15} {:>15} {:>15}",
                partition.range.partition, partition.range.begin, end, partition.position
            );
            let _ = writeln!(out, "{:<22}  {row}", "");
        }
        for target in &self.targets {
            let TargetSummary { partition, session, blocks, rows } = target;
            let row = format!("{partition}: {rows} rows, {blocks} blocks, session {session}");
            let _ = writeln!(out, "{:<22}: {row}", "committed");
        }
        out
    }

    /// The same as one JSON object; keys as in DataX's progress object where they mean the same.
    pub fn json(&self) -> Value {
        let partitions: Vec<Value> = self
            .partitions
            .iter()
            .map(|p| {
                json!({"partition": p.range.partition, "begin": p.range.begin, "end": target_text(&p.range), "position": p.position})
            })
            .collect();
        let targets: Vec<Value> = self
            .targets
            .iter()
            .map(|t| json!({"partition": t.partition, "session": t.session, "blocks": t.blocks, "rows": t.rows}))
            .collect();
        let (group, why) = match &self.offsets {
            OffsetsOutcome::Committed { group } => (Some(group), None),
            OffsetsOutcome::NotCommitted(why) => (None, Some(why)),
        };
        json!({
            "job": self.job,
            "topic": self.topic,
            "target": self.target,
            "started": self.started.timestamp().to_string(),
            "finished": self.finished.timestamp().to_string(),
            "seconds": self.elapsed().as_secs_f64(),
            "rule_ended": self.ended.map(|ended| ended.to_string()),
            "totalRecords": self.stats.records_read,
            "totalBytes": self.stats.bytes_read,
            "errorRecords": self.stats.dirty_records,
            "errorBytes": self.stats.dirty_bytes,
            "rows_written": self.rows,
            "non_json_values": self.stats.non_json_values,
            "malformed_text_values": self.stats.malformed_text_values,
            "over_length_values": self.stats.over_length_values,
            "waitReaderTime": self.stats.reader_wait.as_secs_f64(),
            "waitWriterTime": self.stats.writer_wait.as_secs_f64(),
            "sent_bytes": self.stats.bytes_sent,
            "session": self.session,
            "routed_partitions": targets,
            "blocks": self.blocks,
            "blocks_resent": self.stats.blocks_resent,
            "offsets": partitions,
            "offsets_committed_to": group,
            "offsets_not_committed": why,
        })
    }

    fn elapsed(&self) -> Duration {
        let elapsed = self.started.timestamp().duration_until(self.finished.timestamp());
        Duration::try_from(elapsed).unwrap_or_default()
    }
}

fn target_text(range: &PartitionRange) -> String {
    match range.target {
        super::plan::Target::Offset(offset) => offset.to_string(),
        super::plan::Target::Time(time) => format!("time {time}"),
    }
}
