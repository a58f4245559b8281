//! `/metrics`: Prometheus' text format 0.0.4. Names and labels are those of the operator's guide; none has a label whose values
//! grow without end.

use std::fmt::Write as _;

use crate::sync::status::{JobView, PartitionView};
use crate::timings::{self, BUCKETS_MS};

/// What the metrics are made from.
pub(super) struct Sources<'a> {
    pub(super) version: &'a str,
    pub(super) commit: &'a str,
    pub(super) target: &'a str,
    pub(super) generation: u64,
    pub(super) reloads_ok: u64,
    pub(super) reloads_failed: u64,
    pub(super) last_reload: Option<(bool, i64)>,
    pub(super) started_ms: i64,
    pub(super) now_ms: i64,
    pub(super) process: super::process::ProcessView,
    pub(super) jobs: &'a [(JobView, Vec<PartitionView>)],
}

/// A job counts as up to date while it lacks no more records than it reads in so many seconds, and at least so many.
const UP_TO_DATE_RECORDS: u64 = 1_000;

/// Metrics under construction. Each family is written whole, with its help and type before it.
#[derive(Debug, Default)]
struct Text(String);

type Labels<'a> = &'a [(&'a str, &'a str)];

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (at, (label, value)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"", if at == 0 { '{' } else { ',' });
            for c in value.chars() {
                match c {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    other => self.0.push(other),
                }
            }
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }
}

/// Milliseconds as seconds, exactly.
fn seconds(ms: u64) -> String {
    let (whole, rest) = (ms / 1000, ms % 1000);
    if rest == 0 { whole.to_string() } else { format!("{whole}.{rest:03}") }
}

fn seconds_since(now_ms: i64, then_ms: i64) -> String {
    seconds(u64::try_from(now_ms.saturating_sub(then_ms)).unwrap_or(0))
}

/// All of them.
pub(super) fn render(of: &Sources<'_>) -> String {
    let mut text = Text::default();
    text.family("forebay_build_info", "gauge", "The build that runs; always 1.");
    text.sample("forebay_build_info", &[("version", of.version), ("commit", of.commit), ("target", of.target)], 1);
    records(&mut text, of);
    rows(&mut text, of);
    faults(&mut text, of);
    lag(&mut text, of);
    offsets(&mut text, of);
    stages(&mut text, of);
    requests(&mut text);
    memory(&mut text, of);
    sessions(&mut text, of);
    reloads(&mut text, of);
    process(&mut text, of);
    text.0
}

/// What dashboards and autoscalers made for danielqsj/kafka_exporter look for, of the partitions that these jobs read.
pub(super) fn as_kafka_exporter(jobs: &[(JobView, Vec<PartitionView>)]) -> String {
    type Family = (&'static str, &'static str, bool, OfPartition);
    let families: [Family; 4] = [
        ("kafka_topic_partition_current_offset", "Current Offset of a Broker at Topic/Partition", false, |p| {
            unsigned(p.end)
        }),
        ("kafka_topic_partition_oldest_offset", "Oldest Offset of a Broker at Topic/Partition", false, |p| {
            unsigned(p.log_start)
        }),
        ("kafka_consumergroup_current_offset", "Current Offset of a ConsumerGroup at Topic/Partition", true, |p| {
            unsigned(p.committed)
        }),
        ("kafka_consumergroup_lag", "Current Approximate Lag of a ConsumerGroup at Topic/Partition", true, |p| p.lag),
    ];
    let mut text = Text::default();
    for (name, help, is_of_group, value) in families {
        text.family(name, "gauge", help);
        // Two jobs may read one topic; a sample is there once.
        let mut told = std::collections::BTreeSet::new();
        for (job, partition) in jobs.iter().flat_map(|(job, partitions)| partitions.iter().map(move |p| (job, p))) {
            let group = if is_of_group { job.group_id.as_str() } else { "" };
            let Some(value) = value(partition).filter(|_| told.insert((group, &job.topic, partition.partition))) else {
                continue;
            };
            let number = partition.partition.to_string();
            let labels = [("consumergroup", group), ("partition", &number), ("topic", &job.topic)];
            text.sample(name, labels.get(usize::from(!is_of_group)..).unwrap_or_default(), value);
        }
    }
    text.0
}

fn unsigned(offset: Option<i64>) -> Option<u64> {
    offset.and_then(|offset| u64::try_from(offset).ok())
}

/// A number of a partition.
type OfPartition = fn(&PartitionView) -> Option<u64>;

fn of_partitions(text: &mut Text, of: &Sources<'_>, name: &str, value: OfPartition) {
    for (job, partitions) in of.jobs {
        for partition in partitions {
            if let Some(value) = value(partition) {
                let number = partition.partition.to_string();
                text.sample(name, &[("job", &job.name), ("topic", &job.topic), ("partition", &number)], value);
            }
        }
    }
}

fn records(text: &mut Text, of: &Sources<'_>) {
    let name = "forebay_records_received_total";
    text.family(name, "counter", "Records read from Kafka, those read again included.");
    of_partitions(text, of, name, |partition| Some(partition.records));
    let name = "forebay_received_bytes_total";
    text.family(name, "counter", "Bytes of the keys and values of these records.");
    of_partitions(text, of, name, |partition| Some(partition.bytes));
}

/// A number of a job, with its name and help.
type OfJob = (&'static str, &'static str, fn(&JobView) -> u64);

fn rows(text: &mut Text, of: &Sources<'_>) {
    let families: [OfJob; 3] = [
        ("forebay_rows_sent_total", "Rows sent to MaxCompute, those sent again included.", |job| job.totals.rows_sent),
        ("forebay_sent_bytes_total", "Bytes of blocks sent to MaxCompute.", |job| job.totals.bytes_sent),
        ("forebay_rows_committed_total", "Rows that are in the table.", |job| job.totals.rows_committed),
    ];
    for (name, help, value) in families {
        text.family(name, "counter", help);
        for (job, _) in of.jobs {
            text.sample(name, &[("job", &job.name), ("table", &table(job))], value(job));
        }
    }
}

fn table(job: &JobView) -> String {
    format!("{}.{}", job.project, job.table)
}

fn faults(text: &mut Text, of: &Sources<'_>) {
    let name = "forebay_dirty_records_total";
    text.family(name, "counter", "Records that could not become rows, by the column that they do not fit.");
    for (job, _) in of.jobs {
        for reason in &job.dirty.reasons {
            text.sample(name, &[("job", &job.name), ("reason", &reason.reason)], reason.count);
        }
    }
    for (name, kind, help) in [
        ("forebay_errors_total", "error", "Failures that the job went on after."),
        ("forebay_retries_total", "retry", "Repetitions."),
    ] {
        text.family(name, "counter", help);
        for (job, _) in of.jobs {
            for fault in job.faults.iter().filter(|fault| fault.kind == kind) {
                let labels = [("job", job.name.as_str()), ("stage", fault.stage), ("code", &fault.code)];
                text.sample(name, &labels, fault.count);
            }
        }
    }
}

fn lag(text: &mut Text, of: &Sources<'_>) {
    let name = "forebay_lag_records";
    text.family(name, "gauge", "Records between the group's offset and the end that can be read.");
    of_partitions(text, of, name, |partition| partition.lag);
    let name = "forebay_delay_seconds";
    text.family(name, "gauge", "Age of the newest record in the table; 0 where none is missing.");
    for (job, partitions) in of.jobs {
        for partition in partitions {
            let delay = match (partition.lag, partition.newest_committed_ms) {
                (Some(0), _) => "0".to_owned(),
                (_, Some(newest)) => seconds_since(of.now_ms, newest),
                (_, None) => continue,
            };
            let number = partition.partition.to_string();
            text.sample(name, &[("job", &job.name), ("topic", &job.topic), ("partition", &number)], delay);
        }
    }
    let name = "forebay_up_to_date";
    text.family(name, "gauge", "1 while the lag is not above 1,000 records or ten seconds of reading.");
    for (job, _) in of.jobs {
        let pace = job.rates.minute.records * 10.0;
        let threshold = UP_TO_DATE_RECORDS.max(pace as u64);
        let is_up = job.lag.records.is_some_and(|lag| lag <= threshold);
        text.sample(name, &[("job", &job.name)], u8::from(is_up));
    }
}

fn offsets(text: &mut Text, of: &Sources<'_>) {
    let name = "forebay_offset";
    text.family(name, "gauge", "Offsets of each partition.");
    for (job, partitions) in of.jobs {
        for partition in partitions {
            let number = partition.partition.to_string();
            for (kind, offset) in [
                ("log_start", partition.log_start),
                ("position", partition.position),
                ("sealed", partition.sealed),
                ("committed", partition.committed),
                ("high_watermark", partition.high_watermark),
            ] {
                if let Some(offset) = offset {
                    let labels =
                        [("job", job.name.as_str()), ("topic", &job.topic), ("partition", &number), ("kind", kind)];
                    text.sample(name, &labels, offset);
                }
            }
        }
    }
}

fn stages(text: &mut Text, of: &Sources<'_>) {
    for (name, is_work, help) in [
        ("forebay_stage_busy_seconds_total", true, "Time in stages that are work of this process, over all lanes."),
        ("forebay_stage_wait_seconds_total", false, "Time in stages that wait for somebody, over all lanes."),
    ] {
        text.family(name, "counter", help);
        for (job, _) in of.jobs {
            for stage in job.stages.iter().filter(|stage| stage.is_work == is_work) {
                text.sample(name, &[("job", &job.name), ("stage", stage.stage)], seconds(stage.ms));
            }
        }
    }
}

fn requests(text: &mut Text) {
    let name = "forebay_request_duration_seconds";
    text.family(name, "histogram", "Time from a request to its answer, or to giving it up.");
    let (bucket, sum, count) = (format!("{name}_bucket"), format!("{name}_sum"), format!("{name}_count"));
    for ((peer, api), histogram) in timings::all() {
        let mut below = 0_u64;
        for (end, requests) in BUCKETS_MS.iter().zip(histogram.buckets) {
            below = below.saturating_add(requests);
            text.sample(&bucket, &[("peer", peer), ("api", api), ("le", &seconds(*end))], below);
        }
        text.sample(&bucket, &[("peer", peer), ("api", api), ("le", "+Inf")], histogram.count);
        text.sample(&sum, &[("peer", peer), ("api", api)], histogram.sum.as_secs_f64());
        text.sample(&count, &[("peer", peer), ("api", api)], histogram.count);
    }
}

fn memory(text: &mut Text, of: &Sources<'_>) {
    let all = |bytes: fn(&JobView) -> u64| of.jobs.iter().map(|(job, _)| bytes(job)).sum::<u64>();
    let name = "forebay_buffer_bytes";
    text.family(
        name,
        "gauge",
        "Bytes held: answers of brokers and what is decompressed from them, and rows on their way.",
    );
    text.sample(name, &[("stage", "source")], all(|job| job.memory.fetch_bytes));
    text.sample(name, &[("stage", "upload")], all(|job| job.memory.rows_bytes));
    let name = "forebay_memory_limit_bytes";
    text.family(name, "gauge", "Bytes that all jobs may hold.");
    text.sample(name, &[("stage", "all")], all(|job| job.memory.limit_bytes));
}

fn sessions(text: &mut Text, of: &Sources<'_>) {
    let open = |job: &JobView| job.sessions.iter().filter(|session| session.state != "committed").count();
    let sealed = |job: &JobView| job.sessions.iter().filter(|session| session.sealed).count();
    let age = |job: &JobView, sealed: bool| {
        let of_kind = job.sessions.iter().filter(|session| !sealed || session.sealed);
        let oldest = of_kind.filter_map(|session| session.opened_ms).min();
        oldest.map_or_else(|| "0".to_owned(), |oldest| seconds_since(of.now_ms, oldest))
    };
    let mut family = |name: &str, help: &str, value: &dyn Fn(&JobView) -> String| {
        text.family(name, "gauge", help);
        for (job, _) in of.jobs {
            text.sample(name, &[("job", &job.name)], value(job));
        }
    };
    family("forebay_sessions_open", "Upload sessions that are not committed.", &|job| open(job).to_string());
    family("forebay_session_age_seconds", "Age of the oldest upload session.", &|job| age(job, false));
    family("forebay_intents_open", "Upload sessions that the group holds an intent to commit.", &|job| {
        sealed(job).to_string()
    });
    family("forebay_intent_age_seconds", "Age of the oldest upload session with an intent.", &|job| age(job, true));
    family("forebay_halted_partitions", "Partitions that stand still until a person has looked.", &|job| {
        job.halted.to_string()
    });
    let name = "forebay_rebalances_total";
    text.family(name, "counter", "Rebalances of the job's group that this member was in.");
    for (job, _) in of.jobs {
        text.sample(name, &[("job", &job.name)], job.group.rebalances);
    }
}

fn reloads(text: &mut Text, of: &Sources<'_>) {
    let name = "forebay_reloads_total";
    text.family(name, "counter", "Times that the jobs were read again.");
    text.sample(name, &[("result", "ok")], of.reloads_ok);
    text.sample(name, &[("result", "failed")], of.reloads_failed);
    let (ok, at) = of.last_reload.unwrap_or((true, of.started_ms));
    let name = "forebay_config_reload_success";
    text.family(name, "gauge", "Whether the jobs that were read last are those that run.");
    text.sample(name, &[], u8::from(ok));
    let name = "forebay_config_reload_timestamp_seconds";
    text.family(name, "gauge", "When the jobs were read last.");
    text.sample(name, &[], seconds(u64::try_from(at).unwrap_or(0)));
    let name = "forebay_config_generation";
    text.family(name, "gauge", "Sets of jobs that were taken.");
    text.sample(name, &[], of.generation);
}

fn process(text: &mut Text, of: &Sources<'_>) {
    let process = of.process;
    let mut family = |name: &str, kind: &str, help: &str, value: Option<String>| {
        if let Some(value) = value {
            text.family(name, kind, help);
            text.sample(name, &[], value);
        }
    };
    let number = |value: Option<u64>| value.map(|value| value.to_string());
    let started = Some(seconds(u64::try_from(of.started_ms).unwrap_or(0)));
    family("process_cpu_seconds_total", "counter", "Processor time, of user and system.", process.cpu_ms.map(seconds));
    family("process_resident_memory_bytes", "gauge", "Memory in RAM.", number(process.rss_bytes));
    family("process_virtual_memory_bytes", "gauge", "Address space.", number(process.virtual_bytes));
    family("process_open_fds", "gauge", "Open files.", number(process.open_files));
    family("process_max_fds", "gauge", "Files that may be open.", number(process.open_files_max));
    family("process_threads", "gauge", "Threads.", number(process.threads));
    family("process_start_time_seconds", "gauge", "When the agent started.", started);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_seconds_are_exact() {
        let mut text = Text::default();
        text.sample("a", &[("x", "a\"b\\c\nd"), ("y", "")], 3);
        text.sample("b", &[], "0.5");
        assert_eq!(text.0, "a{x=\"a\\\"b\\\\c\\nd\",y=\"\"} 3\nb 0.5\n");
        assert_eq!([seconds(0), seconds(1), seconds(1_000), seconds(61_005)], ["0", "0.001", "1", "61.005"]);
        assert_eq!(seconds_since(5, 9), "0");
    }
}
