//! What a run would do, as far as both ends say it beforehand: ranges and where they come from, columns with their types,
//! shares of memory.

use std::collections::BTreeMap;

use super::budget::Budget;
use super::connect::{budget, client_config, config, kafka_failure, tunnel_failure};
use super::error::RunError;
use super::intent::Intent;
use super::plan::{BeginReason, PartitionFacts, PartitionRange};
use super::prepare::{TargetSide, facts, group_of, is_continuous, partitions, plan_of, target_name, target_side};
use crate::job::{JobSpec, WriterColumns};
use crate::kafka::Client;

/// A run before it happens.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// The group whose offsets are read or committed.
    pub group: Option<String>,
    /// Whether the job goes on by one commit after the other, which is the agent's business.
    pub continuous: bool,
    /// One entry a partition that is read.
    pub partitions: Vec<PartitionOutlook>,
    /// `project.table`, and where in it.
    pub target: String,
    /// Where Tunnel is.
    pub tunnel_endpoint: String,
    /// Whether each row has a partition of its own.
    pub routed: bool,
    /// The columns that are written.
    pub columns: Vec<ColumnOutlook>,
    /// Columns of the table that nothing feeds: they are NULL.
    pub unfed: Vec<String>,
    /// The shares of memory.
    pub budget: Budget,
}

/// One partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionOutlook {
    /// The node that leads it; none during an election.
    pub leader: Option<i32>,
    /// What would be read.
    pub range: PartitionRange,
    /// Why it begins there.
    pub reason: BeginReason,
    /// The first offset that still exists.
    pub log_start: i64,
    /// The end of a batch that an agent has sealed there: it is settled before anything else is read.
    pub sealed_to: Option<i64>,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnOutlook {
    /// The table's column.
    pub to: String,
    /// Its type.
    pub type_: String,
    /// What feeds it, as the job writes it.
    pub from: String,
}

/// The ends of the batches that stand sealed in the group's metadata; of a job with an end there are none.
async fn sealed(spec: &JobSpec, client: &Client, partitions: &[i32]) -> Result<BTreeMap<i32, i64>, RunError> {
    let Some(group) = group_of(spec).filter(|_| is_continuous(spec)) else { return Ok(BTreeMap::new()) };
    let wanted = [(spec.reader.topic.clone(), partitions.to_vec())];
    let offsets = client.committed_offsets(&group, &wanted).await.map_err(|error| kafka_failure(&error))?;
    let mut sealed = BTreeMap::new();
    for offset in offsets {
        let intent = Intent::parse(offset.metadata.as_deref().unwrap_or_default())
            .map_err(|error| config(format!("group {group}, partition {}: {error}", offset.partition)))?;
        if let Some(intent) = intent {
            sealed.insert(offset.partition, intent.end);
        }
    }
    Ok(sealed)
}

/// Asks both ends. Writes nothing.
///
/// # Errors
/// [`RunError`], as a run would end before its first row.
pub async fn outlook(spec: &JobSpec) -> Result<Outlook, RunError> {
    let reader = &spec.reader;
    let TargetSide { maxcompute, table, partition, routed } = target_side(spec).await?;
    let tunnel_endpoint = maxcompute.tunnel_endpoint().await.map_err(|error| tunnel_failure(&error))?;
    let client = Client::connect(client_config(spec)?).await.map_err(|error| kafka_failure(&error))?;
    let topic = client.topic(&reader.topic).await.map_err(|error| kafka_failure(&error))?;
    let wanted = partitions(spec, &topic)?;
    let facts: BTreeMap<i32, PartitionFacts> = facts(spec, &client, &wanted).await?;
    let plan = plan_of(spec, &facts)?;
    let sealed = sealed(spec, &client, &wanted).await?;
    let one = |(range, reason): (&PartitionRange, &BeginReason)| PartitionOutlook {
        leader: topic.partitions.iter().find(|of| of.partition == range.partition).and_then(|of| of.leader),
        range: *range,
        reason: *reason,
        log_start: facts.get(&range.partition).map_or(0, |facts| facts.log_start),
        sealed_to: sealed.get(&range.partition).copied(),
    };
    let (all, keys) = (&table.schema.columns, &table.schema.partition_keys);
    let names: Vec<String> = match &spec.writer.columns {
        WriterColumns::All => all.iter().map(|column| column.name.clone()).collect(),
        WriterColumns::Named(names) => names.clone(),
    };
    let columns: Vec<ColumnOutlook> = (names.iter().zip(&reader.columns))
        .map(|(name, from)| {
            let found = all.iter().chain(keys).find(|column| column.name.eq_ignore_ascii_case(name));
            ColumnOutlook {
                to: found.map_or_else(|| name.clone(), |column| column.name.clone()),
                type_: found.map_or_else(String::new, |column| column.type_.to_string()),
                from: from.to_string(),
            }
        })
        .collect();
    let is_fed = |name: &str| columns.iter().any(|column| column.to == name);
    Ok(Outlook {
        group: group_of(spec),
        continuous: is_continuous(spec),
        partitions: plan.ranges.iter().zip(&plan.reasons).map(one).collect(),
        target: target_name(spec, partition.as_ref(), routed),
        tunnel_endpoint,
        routed,
        unfed: all.iter().map(|column| column.name.clone()).filter(|name| !is_fed(name)).collect(),
        columns,
        budget: budget(spec, plan.ranges.len()),
    })
}
