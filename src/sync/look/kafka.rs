//! The Kafka end: brokers at their own addresses, the topic, its offsets, the group.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::Findings;
use crate::job::{self, Begin, JobSpec};
use crate::kafka::{self, Client, ConfigResource, Consumer, ConsumerConfig, TopicMetadata, VersionTable};
use crate::sync::connect::{budget, client_config, config, consumer_config, kafka_failure};
use crate::sync::error::{RunError, RunErrorKind};
use crate::sync::intent::Intent;
use crate::sync::plan::Plan;
use crate::sync::prepare::{facts, group_of, is_continuous, partitions, plan_of};

/// Who looks does not want to wait as a run may.
const CONNECT_MAX: Duration = Duration::from_secs(5);
const RETRIES_MAX: Duration = Duration::from_secs(15);
/// How long a first record may take to arrive before the look goes on without it.
const RECORD_MAX: Duration = Duration::from_secs(2);
/// The number of the request whose versions tell a broker's age best.
const FETCH: i16 = 1;
/// Brokers before 2.0 forget a group's offsets after a day, later ones after a week.
const RETENTION_OF_A_DAY_MINUTES: u64 = 24 * 60;

pub(super) async fn look(spec: &JobSpec) -> Vec<super::Finding> {
    let mut findings = Findings::of("kafka");
    if let Err(error) = ask(spec, &mut findings).await {
        findings.error(error);
    }
    findings.found
}

/// Asks one question after the other. What comes out as an error makes the following ones pointless.
async fn ask(spec: &JobSpec, findings: &mut Findings) -> Result<(), RunError> {
    let reader = &spec.reader;
    let mut config = client_config(spec)?;
    config.connect_timeout = config.connect_timeout.min(CONNECT_MAX);
    config.retries_deadline = config.retries_deadline.min(RETRIES_MAX);
    let client = Client::connect(config).await.map_err(|error| kafka_failure(&error))?;
    let versions = brokers(&client, findings).await?;
    let topic = match client.topic(&reader.topic).await {
        Ok(topic) => topic,
        Err(error) if error.kind() == kafka::ErrorKind::UnknownTopic => {
            return Err(unknown_topic(&client, &reader.topic, kafka_failure(&error)).await);
        }
        Err(error) => return Err(kafka_failure(&error)),
    };
    let wanted = partitions(spec, &topic)?;
    topic_health(&topic, findings);
    if let Some(group) = group_of(spec) {
        self::group(spec, &client, &group, &wanted, &versions, findings).await;
    }
    let facts = facts(spec, &client, &wanted).await?;
    let plan = plan_of(spec, &facts)?;
    ranges(spec, &plan, findings);
    read_one(spec, &client, &plan, findings).await;
    Ok(())
}

/// Every broker at the address that it advertises: a client must reach all of them, whichever address it was given.
async fn brokers(client: &Client, findings: &mut Findings) -> Result<BTreeMap<i32, VersionTable>, RunError> {
    let cluster = client.cluster().await.map_err(|error| kafka_failure(&error))?;
    let mut asked = JoinSet::new();
    for broker in &cluster.brokers {
        let (client, node) = (client.clone(), broker.node);
        asked.spawn(async move {
            // The first question makes the connection, the second one is timed.
            let first = client.broker_api_versions(node).await;
            let begin = Instant::now();
            let answer = match first {
                Ok(_) => client.broker_api_versions(node).await.map(|table| (table, begin.elapsed())),
                Err(error) => Err(error),
            };
            (node, answer)
        });
    }
    let mut answers = BTreeMap::new();
    while let Some(Ok((node, answer))) = asked.join_next().await {
        answers.insert(node, answer);
    }
    let mut versions = BTreeMap::new();
    for broker in cluster.brokers {
        let node = broker.node;
        let name =
            broker.address.map_or_else(|| format!("broker {node}"), |address| format!("broker {node} at {address}"));
        match answers.remove(&node) {
            Some(Ok((table, took))) => {
                findings.good(format!("{name}: speaks as Kafka {}, answers in {} ms", release(&table), took.as_millis()));
                versions.insert(node, table);
            }
            Some(Err(error)) => findings.error(
                RunError::new(kafka_failure(&error).kind, format!("{name} cannot be used: {error}")).advise(
                    "this is the address that the broker itself advertises (advertised.listeners); it must be reachable from here: \
                     add the host name to DNS or /etc/hosts, or open the port",
                ),
            ),
            None => findings.error(RunError::new(RunErrorKind::Failed, format!("{name} was not asked"))),
        }
    }
    Ok(versions)
}

/// The release that first spoke this version of `Fetch`: brokers do not say theirs.
fn release(table: &VersionTable) -> &'static str {
    match table.range_of(FETCH).map_or(0, |range| range.max) {
        ..=5 => "0.11",
        6 => "1.0",
        7 => "1.1",
        8 | 9 => "2.0",
        10 => "2.1",
        11 => "2.3",
        12 => "2.7",
        13 | 14 => "3.1",
        15 => "3.5",
        16 => "3.7",
        17 => "3.9",
        _ => "4.1 or later",
    }
}

/// The failure, with the topic that may have been meant.
async fn unknown_topic(client: &Client, wanted: &str, failure: RunError) -> RunError {
    let topics = client.topics().await.unwrap_or_default();
    let names: Vec<&str> = topics.iter().filter(|topic| !topic.internal).map(|topic| &*topic.name).collect();
    match job::nearest(wanted, names.iter().copied()) {
        Some(near) => failure.advise(format!("did you mean {near}?")),
        None if names.is_empty() => failure.advise("the cluster has no topic, or shows none to this user"),
        None => {
            let shown: Vec<&str> = names.iter().copied().take(10).collect();
            let more = if names.len() > shown.len() {
                format!(" and {} more", names.len().saturating_sub(10))
            } else {
                String::new()
            };
            failure.advise(format!("the cluster has {}{more}", shown.join(", ")))
        }
    }
}

fn topic_health(topic: &TopicMetadata, findings: &mut Findings) {
    let list = |of: &dyn Fn(&kafka::PartitionMetadata) -> bool| {
        let found = topic.partitions.iter().filter(|partition| of(partition));
        found.map(|partition| partition.partition.to_string()).collect::<Vec<_>>()
    };
    let (name, count) = (&topic.name, topic.partitions.len());
    let leaderless = list(&|partition| partition.leader.is_none());
    let behind = list(&|partition| partition.in_sync.len() < partition.replicas.len());
    if leaderless.is_empty() {
        findings.good(format!("topic {name}: {count} partitions, each with a leader"));
    } else {
        let text = format!("topic {name}: no leader for partitions {}", leaderless.join(", "));
        let error = RunError::new(RunErrorKind::Unavailable, text);
        findings.error(error.advise("bring a broker back that holds them; a run waits for it only for a minute"));
    }
    if !behind.is_empty() {
        findings.warn(
            format!("topic {name}: not all replicas are in sync for partitions {}", behind.join(", ")),
            "a run works; the cluster's operators want to know",
        );
    }
}

async fn group(
    spec: &JobSpec,
    client: &Client,
    group: &str,
    partitions: &[i32],
    versions: &BTreeMap<i32, VersionTable>,
    findings: &mut Findings,
) {
    let continuous = is_continuous(spec);
    let coordinator = match client.describe_groups(&[group.to_owned()]).await {
        Ok(described) => {
            let state = described.into_iter().next();
            let members = state.as_ref().map_or(0, |state| state.members.len());
            if members > 0 && !continuous && spec.reader.commit_offsets {
                findings.warn(
                    format!("group {group} has {members} members: the brokers refuse a run's offsets while it has any"),
                    "stop the other consumers first, or give the job a group of its own",
                );
            }
            state.map(|state| state.coordinator)
        }
        Err(error) => {
            findings.error(kafka_failure(&error));
            return;
        }
    };
    let wanted = [(spec.reader.topic.clone(), partitions.to_vec())];
    match client.committed_offsets(group, &wanted).await {
        Ok(offsets) => {
            let with: Vec<_> = offsets.iter().filter(|offset| offset.offset.is_some()).collect();
            findings.good(format!(
                "group {group}: offsets of {} of {} partitions are committed",
                with.len(),
                partitions.len()
            ));
            for offset in with.iter().filter(|_| continuous) {
                metadata(group, offset.partition, offset.metadata.as_deref().unwrap_or_default(), findings);
            }
        }
        Err(error) => findings.error(kafka_failure(&error)),
    }
    if continuous || spec.reader.begin == Begin::Group {
        retention(client, group, coordinator, versions, findings).await;
    }
}

/// What stands beside an offset: nothing, or what an agent has under way.
fn metadata(group: &str, partition: i32, text: &str, findings: &mut Findings) {
    match Intent::parse(text) {
        Ok(None) => {}
        Ok(Some(intent)) => findings.good(format!(
            "group {group}, partition {partition}: a batch up to offset {} is sealed; the next agent settles it first",
            intent.end
        )),
        Err(error) => findings.error(
            config(format!("group {group}, partition {partition}: {error}"))
                .advise("give the job a group of its own, or delete the group's offsets"),
        ),
    }
}

/// A job that goes on where the group stands loses its place when the brokers forget the group.
async fn retention(
    client: &Client,
    group: &str,
    coordinator: Option<i32>,
    versions: &BTreeMap<i32, VersionTable>,
    findings: &mut Findings,
) {
    let Some(node) = coordinator.filter(|node| *node >= 0) else { return };
    let key = "offsets.retention.minutes";
    let entries = client.describe_configs(&ConfigResource::Broker(node), Some(&[key.to_owned()])).await;
    let told = entries.ok().and_then(|entries| {
        let entry = entries.into_iter().find(|entry| entry.name == key)?;
        entry.value?.parse::<u64>().ok()
    });
    // Who may not read the brokers' settings is told what their version does by default.
    let is_old = versions.values().any(|table| table.range_of(FETCH).is_some_and(|range| range.max < 8));
    let advice = "a job that runs less often loses its place and stops with code 76: raise offsets.retention.minutes on the brokers \
                  (10080 is a week), or say what then with autoOffsetReset (offset_lost in TOML)";
    match told {
        Some(minutes) if minutes <= RETENTION_OF_A_DAY_MINUTES => {
            let hours = minutes.div_ceil(60);
            findings.warn(format!("the brokers forget the offsets of group {group} after {hours} hours ({key} = {minutes})"), advice);
        }
        Some(_) => {}
        None if is_old => findings.warn(
            format!("brokers before 2.0 forget the offsets of group {group} after 24 hours, unless they are set up otherwise"),
            advice,
        ),
        None => {}
    }
}

fn ranges(spec: &JobSpec, plan: &Plan, findings: &mut Findings) {
    let count: Option<u64> =
        plan.ranges.iter().map(|range| range.offsets()).try_fold(0_u64, |sum, n| Some(sum.saturating_add(n?)));
    let waiting: u64 =
        plan.ranges.iter().map(|range| u64::try_from(range.log_end.saturating_sub(range.begin)).unwrap_or(0)).sum();
    findings.good(match count {
        Some(count) if !spec.unbounded => format!("{count} offsets in range"),
        _ => format!("{waiting} offsets are waiting to be read"),
    });
    for note in &plan.notes {
        findings.warn(note.clone(), "look at the begin of the job");
    }
}

/// Reads the first records of one partition: the right to read is proved by nothing else.
async fn read_one(spec: &JobSpec, client: &Client, plan: &Plan, findings: &mut Findings) {
    let Some(range) = plan.ranges.iter().find(|range| range.begin < range.log_end).or_else(|| plan.ranges.first())
    else {
        return;
    };
    let settings = ConsumerConfig { wait_ms_max: 100, ..consumer_config(spec, &budget(spec, 1)) };
    let topic = &spec.reader.topic;
    let mut consumer = Consumer::of_topic(client, settings, topic, &[(range.partition, range.begin)]);
    match tokio::time::timeout(RECORD_MAX, consumer.next()).await {
        Ok(Ok(_)) => findings.good(format!("topic {topic}: this user may read it")),
        Ok(Err(error)) => findings.error(kafka_failure(&error)),
        Err(_) if range.begin < range.log_end => findings.warn(
            format!("topic {topic}, partition {}: no record came within {} s", range.partition, RECORD_MAX.as_secs()),
            "a run waits longer; is the network slow?",
        ),
        Err(_) => {}
    }
}
