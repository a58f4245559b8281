//! Looks at the cluster from time to time, for the job's status alone: nothing that the delivery does depends on it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::{Job, cluster};
use crate::kafka::{self, ClusterMetadata, ListedOffset, OffsetAt};
use crate::sync::connect::isolation;
use crate::sync::lane::wall_clock;
use crate::sync::status::{BrokerView, ClusterView, MemberView, Placed};

/// How often the ends of the log are asked for, so that lag is known while a batch stands still.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Leaders, brokers and members are asked for each time this has passed.
const LOOK_AROUND_EVERY: Duration = Duration::from_secs(10);
/// How often it is seen whether a look is due.
const TURN_EVERY: Duration = Duration::from_secs(1);
/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The task that looks. Dropped, it is over.
#[derive(Debug)]
pub(super) struct Observer(JoinHandle<()>);

impl Drop for Observer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Observer {
    pub(super) fn start(job: &Arc<Job>) -> Self {
        Self(tokio::spawn(observe(Arc::clone(job))))
    }
}

async fn observe(job: Arc<Job>) {
    let (mut around, mut ends): (Option<Instant>, Option<Instant>) = (None, None);
    loop {
        if job.status.is_cluster_due(wall_clock()) {
            within_patience(&job, Look::Cluster).await;
        }
        if around.is_none_or(|at| at.elapsed() >= LOOK_AROUND_EVERY) {
            around = Some(Instant::now());
            for look in [Look::Topic, Look::Brokers, Look::Group] {
                within_patience(&job, look).await;
            }
        }
        if ends.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            ends = Some(Instant::now());
            within_patience(&job, Look::Ends).await;
        }
        tokio::time::sleep(TURN_EVERY).await;
    }
}

#[derive(Clone, Copy, Debug)]
enum Look {
    Topic,
    Brokers,
    Group,
    Ends,
    Cluster,
}

/// One look. What fails is seen in what the delivery itself meets, so it is not told as a failure of the job.
async fn within_patience(job: &Job, look: Look) {
    let looked = async {
        match look {
            Look::Topic => topic(job).await,
            Look::Brokers => brokers(job).await,
            Look::Group => group(job).await,
            Look::Ends => ends(job).await,
            Look::Cluster => {
                let looked = tokio::time::timeout(PATIENCE / 2, cluster::look(job)).await;
                job.status.cluster(looked.unwrap_or_else(|_| ClusterView {
                    at_ms: wall_clock(),
                    error: Some(format!("no answer for {} s", (PATIENCE / 2).as_secs())),
                    ..ClusterView::default()
                }));
                Ok(())
            }
        }
    };
    match tokio::time::timeout(PATIENCE, looked).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => log::debug!("job {}: looking at {look:?}: {error}", job.spec.name),
        Err(_) => log::debug!("job {}: looking at {look:?}: no answer", job.spec.name),
    }
}

async fn topic(job: &Job) -> Result<(), kafka::Error> {
    let topic = job.client.topic(&job.spec.reader.topic).await?;
    let placed = topic.partitions.into_iter().map(|partition| {
        let error = (!partition.error.is_ok()).then(|| partition.error.to_string());
        let (leader, replicas, in_sync) = (partition.leader, partition.replicas, partition.in_sync);
        (partition.partition, Placed { leader, replicas, in_sync, error })
    });
    job.status.placed(placed, wall_clock());
    Ok(())
}

async fn ends(job: &Job) -> Result<(), kafka::Error> {
    let owned = job.status.owned();
    if owned.is_empty() {
        return Ok(());
    }
    let list = async |at: OffsetAt| {
        let wanted: Vec<_> = owned.iter().map(|partition| (*partition, at)).collect();
        job.client.list_offsets(&job.spec.reader.topic, &wanted, isolation(&job.spec)).await
    };
    let (starts, ends) = (list(OffsetAt::Earliest).await?, list(OffsetAt::Latest).await?);
    job.status.ends(owned.iter().map(|partition| {
        let offset = |listed: &BTreeMap<i32, ListedOffset>| listed.get(partition).and_then(|listed| listed.offset);
        (*partition, offset(&starts), offset(&ends))
    }));
    Ok(())
}

async fn group(job: &Job) -> Result<(), kafka::Error> {
    let described = job.client.describe_groups(std::slice::from_ref(&job.group)).await?;
    let Some(group) = described.into_iter().next() else { return Ok(()) };
    let topic = &job.spec.reader.topic;
    let members = group.members.into_iter().map(|member| MemberView {
        partitions: member.assignment.get(topic).map_or(0, Vec::len),
        id: member.member_id,
        client_id: member.client_id,
        host: member.host.trim_start_matches('/').to_owned(),
    });
    job.status.group(&group.state, &group.assignor, group.coordinator, members.collect());
    Ok(())
}

async fn brokers(job: &Job) -> Result<(), kafka::Error> {
    let ClusterMetadata { controller, brokers, .. } = job.client.cluster().await?;
    let mut views = Vec::with_capacity(brokers.len());
    for broker in brokers {
        let begin = Instant::now();
        // The first question opens the connection; what it takes is not the way there and back.
        let mut answer = job.client.broker_api_versions(broker.node).await;
        let mut took = begin.elapsed();
        if answer.is_ok() {
            let begin = Instant::now();
            answer = job.client.broker_api_versions(broker.node).await;
            took = begin.elapsed();
        }
        views.push(BrokerView {
            node: broker.node,
            address: broker.address.map(|address| address.to_string()),
            rack: broker.rack,
            is_controller: controller == Some(broker.node),
            release: answer.as_ref().ok().and_then(kafka::VersionTable::release).map(str::to_owned),
            round_trip_us: answer.is_ok().then(|| u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
            connected_ms: job.client.connected_ms(broker.node),
            error: answer.err().map(|error| error.to_string()),
        });
    }
    job.status.brokers(views);
    Ok(())
}
