//! The whole cluster, looked at while somebody wants to see it.

use serde::Serialize;

use super::{JobStatus, UnixMillis};

/// A cluster is looked at for so long after somebody has asked for it, in milliseconds.
const WANTED_MS: i64 = 30_000;
/// Time between two looks, in milliseconds.
const LOOK_MS: i64 = 15_000;

/// A cluster as it was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClusterView {
    /// When.
    pub at_ms: UnixMillis,
    /// Its id; none before Kafka 0.10.1.
    pub cluster_id: Option<String>,
    /// The node that takes controller requests.
    pub controller: Option<i32>,
    /// Its topics, by name.
    pub topics: Vec<TopicView>,
    /// Topics that are not shown, since there are too many.
    pub topics_left_off: usize,
    /// Its groups, by name.
    pub groups: Vec<GroupLagView>,
    /// Groups that are not shown.
    pub groups_left_off: usize,
    /// What could not be looked at.
    pub error: Option<String>,
}

/// A topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TopicView {
    /// Its name.
    pub name: String,
    /// Whether the cluster keeps it for itself.
    pub internal: bool,
    /// Its partitions.
    pub partitions: usize,
    /// Replicas of a partition, at most.
    pub replicas: usize,
    /// Replicas that should be, of all partitions.
    pub replicas_all: usize,
    /// Those of them that are in sync.
    pub replicas_in_sync: usize,
    /// Partitions with fewer replicas in sync than they should have.
    pub under_replicated: usize,
    /// Partitions without a leader.
    pub leaderless: usize,
    /// Partitions that are led by the first of their replicas.
    pub led_by_preferred: usize,
    /// Nodes that hold a replica.
    pub brokers: usize,
}

/// A group and what it lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GroupLagView {
    /// Its id.
    pub group: String,
    /// As its coordinator names it.
    pub state: String,
    /// Its members.
    pub members: usize,
    /// The topics that it has offsets of.
    pub topics: Vec<TopicLagView>,
}

/// What a group lacks of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TopicLagView {
    /// The topic.
    pub topic: String,
    /// Partitions that it has offsets of.
    pub partitions: usize,
    /// Records between its offsets and the ends of the log; none where the ends could not be had.
    pub lag: Option<u64>,
}

/// The cluster in a job's status.
#[derive(Clone, Debug, Default)]
pub(super) struct Cluster {
    wanted: Option<UnixMillis>,
    looked: Option<UnixMillis>,
    view: Option<ClusterView>,
}

impl JobStatus {
    /// Somebody wants to see the job's cluster: it is looked at soon, and again while the wish is not old. Gives the last look.
    pub fn want_cluster(&self, now: UnixMillis) -> Option<ClusterView> {
        let mut state = self.state();
        state.cluster.wanted = Some(now);
        state.cluster.view.clone()
    }

    /// Whether the cluster is to be looked at now.
    pub fn is_cluster_due(&self, now: UnixMillis) -> bool {
        let mut state = self.state();
        let within = |at: Option<UnixMillis>, ms: i64| at.is_some_and(|at| (0..ms).contains(&now.saturating_sub(at)));
        let due = within(state.cluster.wanted, WANTED_MS) && !within(state.cluster.looked, LOOK_MS);
        if due {
            state.cluster.looked = Some(now);
        }
        due
    }

    /// What the look has found.
    pub fn cluster(&self, view: ClusterView) {
        self.state().cluster.view = Some(view);
    }
}
