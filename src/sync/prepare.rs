//! Both ends of a job as they are before anything is written: the topic with its offsets, the table with its columns.

use std::collections::BTreeMap;

use super::connect::{client_config, config, isolation, kafka_failure, maxcompute_config, tunnel_failure};
use super::convert::Converter;
use super::error::{RunError, RunErrorKind};
use super::plan::{self, PartitionFacts, Plan, RangeRules, Target};
use crate::job::{self, Begin, End, JobSpec, Mode, Reset};
use crate::kafka::{Client, OffsetAt, TopicMetadata};
use crate::limits::FIELD_BYTES_MAX;
use crate::tunnel::{MaxCompute, PartitionSpec, Table};

/// What is known before anything is written.
pub(super) struct Prepared {
    pub(super) client: Client,
    pub(super) maxcompute: MaxCompute,
    pub(super) table: Table,
    pub(super) partition: Option<PartitionSpec>,
    /// Rows go to partitions by what each record holds.
    pub(super) routed: bool,
    pub(super) plan: Plan,
    pub(super) target_name: String,
}

pub(super) async fn prepare(spec: &JobSpec) -> Result<Prepared, RunError> {
    let (reader, writer) = (&spec.reader, &spec.writer);
    let connection = &writer.connection;
    log::info!("source: topic {} at {}", reader.topic, reader.servers.join(","));
    log::info!("target: {}.{} ({})", connection.project, writer.table, connection.source);
    let TargetSide { maxcompute, table, partition, routed } = target_side(spec).await?;
    // Named columns are counted when the job is read; those of "*" are known only now.
    if writer.columns == job::WriterColumns::All && reader.columns.len() < table.schema.columns.len() {
        log::warn!("the table has more columns than the reader: the remaining ones are NULL");
    }
    let client = Client::connect(client_config(spec)?).await.map_err(|error| kafka_failure(&error))?;
    let topic = client.topic(&reader.topic).await.map_err(|error| kafka_failure(&error))?;
    let facts = facts(spec, &client, &partitions(spec, &topic)?).await?;
    let plan = plan_of(spec, &facts)?;
    for note in &plan.notes {
        log::info!("{note}");
    }
    for range in &plan.ranges {
        let end = match range.target {
            Target::Offset(offset) => offset.to_string(),
            Target::Time(time) => format!("time {time}"),
        };
        log::info!(
            "partition {}: from offset {} up to {end}, the log ends at {}",
            range.partition,
            range.begin,
            range.log_end
        );
    }
    if routed {
        log::info!(
            "rows go to partitions of {} by what each record holds, at most {} of them; each is committed by itself",
            writer.table,
            writer.routing.partitions_max
        );
    }
    let target_name = target_name(spec, partition.as_ref(), routed);
    Ok(Prepared { client, maxcompute, table, partition, routed, plan, target_name })
}

/// Whether a job goes on for ever by one commit after the other, as `forebay agent` runs it.
pub(super) fn is_continuous(spec: &JobSpec) -> bool {
    spec.unbounded && spec.writer.mode == Mode::Batch
}

/// The group of a job: the one it names, else, for a job without an end, one of its own.
pub(super) fn group_of(spec: &JobSpec) -> Option<String> {
    spec.reader.group.clone().or_else(|| is_continuous(spec).then(|| format!("forebay-{}", spec.name)))
}

/// `project.table`, and where in it.
pub(super) fn target_name(spec: &JobSpec, partition: Option<&PartitionSpec>, routed: bool) -> String {
    let name = format!("{}.{}", spec.writer.connection.project, spec.writer.table);
    match partition {
        Some(partition) => format!("{name} partition {partition}"),
        None if routed => format!("{name}, routed partitions"),
        None => name,
    }
}

/// The ranges that follow from the facts; those of a job without an end never end.
pub(super) fn plan_of(spec: &JobSpec, facts: &BTreeMap<i32, PartitionFacts>) -> Result<Plan, RunError> {
    let reader = &spec.reader;
    let group = group_of(spec);
    let rules = RangeRules {
        topic: &reader.topic,
        group: group.as_deref(),
        begin: reader.begin,
        end: reader.end,
        reset: reader.auto_offset_reset.unwrap_or(Reset::None),
        old_form: reader.old_form,
        group_first: is_continuous(spec),
    };
    let mut plan = plan::plan(&rules, facts).map_err(|error| {
        let advice = if rules.group_first {
            "records were deleted before they were read: decide where to go on, and set the group's offset there with: forebay kafka \
             groups --reset-offsets"
        } else {
            "set beginOffset to an existing offset or to seekToBeginning, or autoOffsetReset to earliest or latest"
        };
        RunError::new(RunErrorKind::SafetyStop, error.to_string()).advise(advice)
    })?;
    if spec.unbounded {
        for range in &mut plan.ranges {
            range.target = Target::Offset(i64::MAX);
        }
    }
    Ok(plan)
}

/// The MaxCompute side of a job, as it is before anything is written.
pub(super) struct TargetSide {
    pub(super) maxcompute: MaxCompute,
    pub(super) table: Table,
    /// None where rows are routed, and for an unpartitioned table.
    pub(super) partition: Option<PartitionSpec>,
    /// Rows go to partitions by what each record holds.
    pub(super) routed: bool,
}

/// The service as the job names it.
pub(super) fn maxcompute(spec: &JobSpec, retries_max: u32) -> Result<MaxCompute, RunError> {
    let mut config = maxcompute_config(&spec.writer.connection);
    config.retry.retries_max = retries_max;
    MaxCompute::new(config).map_err(|error| tunnel_failure(&error))
}

/// Looks at the table, and whether the job's columns fit it.
pub(super) async fn target_side(spec: &JobSpec) -> Result<TargetSide, RunError> {
    let (reader, writer) = (&spec.reader, &spec.writer);
    let maxcompute = maxcompute(spec, writer.retries_max)?;
    let table = maxcompute.table(&writer.table).await.map_err(|error| tunnel_failure(&error))?;
    if table.is_view {
        return Err(config(format!("{} is a view; only tables can be written", writer.table)));
    }
    // The columns are checked before anything is created; the session may still lower the field limit.
    let converter = Converter::new(reader, writer, &spec.settings.time_zone, &table.schema, FIELD_BYTES_MAX)
        .map_err(|error| config(format!("table {}: {error}", writer.table)))?;
    let routed = converter.is_routed();
    let partition = if routed { None } else { target_partition(spec, &table)? };
    Ok(TargetSide { maxcompute, table, partition, routed })
}

/// The partition that is written, in the table's order; none for an unpartitioned table.
pub(super) fn target_partition(spec: &JobSpec, table: &Table) -> Result<Option<PartitionSpec>, RunError> {
    let (name, text) = (&spec.writer.table, spec.writer.partition.as_str());
    match (table.schema.is_partitioned(), text.is_empty()) {
        (false, true) => Ok(None),
        (false, false) => {
            Err(config(format!("table {name} is not partitioned, but the job names partition \"{text}\""))
                .advise("set partition to \"\""))
        }
        (true, true) => {
            let keys: Vec<&str> = table.schema.partition_keys.iter().map(|key| key.name.as_str()).collect();
            Err(config(format!("table {name} is partitioned by {}, but the job names no partition", keys.join(", ")))
                .advise("set partition, for example \"pt=20240101\""))
        }
        (true, false) => {
            let spec = PartitionSpec::parse(text).and_then(|spec| spec.order_by(&table.schema));
            spec.map(Some).map_err(|error| config(format!("partition \"{text}\" of table {name}: {error}")))
        }
    }
}

/// The partitions the job reads.
pub(super) fn partitions(spec: &JobSpec, topic: &TopicMetadata) -> Result<Vec<i32>, RunError> {
    let known: Vec<i32> = topic.partitions.iter().map(|partition| partition.partition).collect();
    let Some(wanted) = &spec.reader.partitions else { return Ok(known) };
    match wanted.iter().find(|partition| !known.contains(partition)) {
        None => Ok(wanted.clone()),
        Some(missing) => Err(config(format!(
            "topic \"{}\" has no partition {missing}; it has {} partitions",
            spec.reader.topic,
            known.len()
        ))),
    }
}

/// Asks the brokers for everything the ranges depend on.
pub(super) async fn facts(
    spec: &JobSpec,
    client: &Client,
    partitions: &[i32],
) -> Result<BTreeMap<i32, PartitionFacts>, RunError> {
    let reader = &spec.reader;
    let isolation = isolation(spec);
    let list = async |at: OffsetAt| {
        let wanted: Vec<(i32, OffsetAt)> = partitions.iter().map(|partition| (*partition, at)).collect();
        client.list_offsets(&reader.topic, &wanted, isolation).await.map_err(|error| kafka_failure(&error))
    };
    let mut facts: BTreeMap<i32, PartitionFacts> =
        partitions.iter().map(|partition| (*partition, PartitionFacts::default())).collect();
    let earliest = list(OffsetAt::Earliest).await?;
    let latest = list(OffsetAt::Latest).await?;
    let begin = match reader.begin {
        Begin::Time(time) => Some(list(OffsetAt::Time(time)).await?),
        _ => None,
    };
    let now = jiff::Timestamp::now().as_millisecond();
    let end = match reader.end {
        End::Time(time) if time <= now => Some(list(OffsetAt::Time(time)).await?),
        _ => None,
    };
    let committed = match group_of(spec) {
        Some(group) if reader.begin == Begin::Group || is_continuous(spec) => {
            let wanted = [(reader.topic.clone(), partitions.to_vec())];
            client.committed_offsets(&group, &wanted).await.map_err(|error| kafka_failure(&error))?
        }
        _ => Vec::new(),
    };
    for (partition, fact) in &mut facts {
        let missing = || {
            let message = format!("topic \"{}\" partition {partition}: the brokers gave no offset", reader.topic);
            RunError::new(RunErrorKind::Unavailable, message)
        };
        fact.log_start = earliest.get(partition).and_then(|listed| listed.offset).ok_or_else(missing)?;
        fact.log_end = latest.get(partition).and_then(|listed| listed.offset).ok_or_else(missing)?;
        fact.begin_time_offset = begin.as_ref().and_then(|begin| begin.get(partition)).and_then(|listed| listed.offset);
        // An end time that has passed and has no record at or after it means the end of the log.
        fact.end_time_offset =
            end.as_ref().map(|end| end.get(partition).and_then(|listed| listed.offset).unwrap_or(fact.log_end));
        fact.committed =
            committed.iter().find(|offset| offset.partition == *partition).and_then(|offset| offset.offset);
    }
    Ok(facts)
}
