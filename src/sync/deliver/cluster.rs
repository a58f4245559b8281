//! A look at the whole cluster, for whoever watches the job.

use std::collections::BTreeMap;

use super::Job;
use crate::kafka::{self, Isolation, OffsetAt, TopicMetadata};
use crate::sync::lane::wall_clock;
use crate::sync::status::{ClusterView, GroupLagView, TopicLagView, TopicView};

/// Topics shown.
const TOPICS_MAX: usize = 1_000;
/// Groups shown; each costs some requests.
const GROUPS_MAX: usize = 100;

/// Looks at topics and groups. What cannot be had is left out and named.
pub(super) async fn look(job: &Job) -> ClusterView {
    let mut view = ClusterView { at_ms: wall_clock(), ..ClusterView::default() };
    let error = match topics(job, &mut view).await {
        Ok(()) => groups(job, &mut view).await.err(),
        Err(error) => Some(error),
    };
    view.error = error.map(|error| error.to_string());
    view
}

async fn topics(job: &Job, view: &mut ClusterView) -> Result<(), kafka::Error> {
    let cluster = job.client.cluster().await?;
    view.cluster_id = cluster.cluster_id;
    view.controller = cluster.controller;
    let topics = job.client.topics().await?;
    view.topics_left_off = topics.len().saturating_sub(TOPICS_MAX);
    view.topics = topics.iter().take(TOPICS_MAX).map(topic_view).collect();
    Ok(())
}

fn topic_view(topic: &TopicMetadata) -> TopicView {
    let partitions = &topic.partitions;
    let mut brokers: Vec<i32> = partitions.iter().flat_map(|partition| partition.replicas.iter().copied()).collect();
    crate::sorting::sort(&mut brokers);
    brokers.dedup();
    TopicView {
        name: topic.name.to_string(),
        internal: topic.internal,
        partitions: partitions.len(),
        replicas: partitions.iter().map(|partition| partition.replicas.len()).max().unwrap_or(0),
        replicas_all: partitions.iter().map(|partition| partition.replicas.len()).sum(),
        replicas_in_sync: partitions.iter().map(|partition| partition.in_sync.len()).sum(),
        under_replicated: partitions.iter().filter(|p| p.in_sync.len() < p.replicas.len()).count(),
        leaderless: partitions.iter().filter(|partition| partition.leader.is_none()).count(),
        led_by_preferred: (partitions.iter())
            .filter(|partition| partition.leader.is_some() && partition.leader == partition.replicas.first().copied())
            .count(),
        brokers: brokers.len(),
    }
}

async fn groups(job: &Job, view: &mut ClusterView) -> Result<(), kafka::Error> {
    let listed = job.client.list_groups().await?;
    view.groups_left_off = listed.len().saturating_sub(GROUPS_MAX);
    let mut ends: BTreeMap<String, Option<BTreeMap<i32, i64>>> = BTreeMap::new();
    for group in listed.into_iter().take(GROUPS_MAX) {
        let described = job.client.describe_groups(std::slice::from_ref(&group.group)).await?.into_iter().next();
        let committed = job.client.all_committed_offsets(&group.group).await?;
        let mut topics: BTreeMap<&str, TopicLagView> = BTreeMap::new();
        for stored in &committed {
            let Some(offset) = stored.offset else { continue };
            let name = &*stored.topic;
            if !ends.contains_key(name) {
                ends.insert(name.to_owned(), topic_ends(job, name).await);
            }
            let end = ends.get(name).and_then(|ends| ends.as_ref()?.get(&stored.partition).copied());
            let topic = topics.entry(name).or_insert_with(|| TopicLagView {
                topic: name.to_owned(),
                partitions: 0,
                lag: Some(0),
            });
            topic.partitions = topic.partitions.saturating_add(1);
            let lag = end.map(|end| u64::try_from(end.saturating_sub(offset)).unwrap_or(0));
            topic.lag = topic.lag.zip(lag).map(|(sum, lag)| sum.saturating_add(lag));
        }
        view.groups.push(GroupLagView {
            state: described.as_ref().map(|group| group.state.clone()).unwrap_or_default(),
            members: described.map_or(0, |group| group.members.len()),
            group: group.group,
            topics: topics.into_values().collect(),
        });
    }
    Ok(())
}

/// The ends of all partitions of a topic; none where they cannot be had, as of one that was deleted.
async fn topic_ends(job: &Job, topic: &str) -> Option<BTreeMap<i32, i64>> {
    let metadata = job.client.topic(topic).await.ok()?;
    let wanted: Vec<_> = metadata.partitions.iter().map(|p| (p.partition, OffsetAt::Latest)).collect();
    let listed = job.client.list_offsets(topic, &wanted, Isolation::ReadUncommitted).await.ok()?;
    Some(listed.iter().filter_map(|(partition, listed)| Some((*partition, listed.offset?))).collect())
}
