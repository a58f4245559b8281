//! One membership in a consumer group: what to ask of whom, and which partitions are ours.
//!
//! Two protocols with one surface: the classic one, where a member leads and divides (`classic`), and the new one, where the
//! broker does (KIP-848, `consumer`). Requests come out as [`Order`]s, changes of what we own as [`Change`]s, strictly in
//! order; the caller says when it has dealt with each. Time is an argument.

mod classic;
mod consumer;
mod ownership;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::kafka::msg::{
    ApiKey, ConsumerHeartbeatAnswer, ConsumerHeartbeatCall, ErrorCode, HeartbeatAnswer, HeartbeatCall, JoinGroupAnswer,
    JoinGroupCall, LeaveGroupAnswer, LeaveGroupCall, SyncGroupAnswer, SyncGroupCall, TopicId,
};

use super::assign::{Assignor, TopicShapes};
use super::fetch::{Fault, TopicPartition};

pub use self::classic::Classic;
pub use self::consumer::Consumer;

/// How to be a member.
#[derive(Clone, Debug)]
pub struct MemberOptions {
    /// The group.
    pub group: Arc<str>,
    /// A name that survives restarts (KIP-345): the member comes back to its partitions without a rebalance.
    pub group_instance_id: Option<Arc<str>>,
    /// The member's rack (KIP-881).
    pub rack: Option<Arc<str>>,
    /// Which protocol, and how partitions are divided.
    pub protocol: GroupProtocol,
    /// Classic: after how long without a heartbeat the coordinator drops the member.
    pub session_timeout: Duration,
    /// Classic: how often to send one.
    pub heartbeat_interval: Duration,
    /// How long the caller may be busy between two calls before the member leaves, and how long a rebalance waits for it.
    pub poll_interval_max: Duration,
    /// How often to look whether subscribed topics have changed.
    pub metadata_age_max: Duration,
    /// The pause after a first failure.
    pub retry_backoff: Duration,
    /// The longest pause.
    pub retry_backoff_max: Duration,
    /// The id for the new protocol (KIP-1082): unique for the process's lifetime.
    pub member_id: Arc<str>,
    /// For the jitter of pauses.
    pub seed: u64,
}

/// Who divides the partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupProtocol {
    /// A member that leads, with the first of these assignors that all members offer.
    Classic {
        /// In the order of preference.
        assignors: Vec<Assignor>,
    },
    /// The broker (KIP-848; Kafka 4.0, or 3.7 where it is switched on).
    Consumer {
        /// Its assignor, such as `uniform` or `range`; none: the broker's default.
        server_assignor: Option<Arc<str>>,
    },
}

/// What a member wants to read.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Topics by name.
    pub names: BTreeSet<Arc<str>>,
    /// Topics by a pattern.
    pub pattern: Option<Pattern>,
}

/// A pattern for names of topics.
#[derive(Clone)]
pub struct Pattern {
    /// As written, for brokers that evaluate it themselves.
    pub text: Arc<str>,
    /// Whether a name matches; for the classic protocol.
    pub matches: Arc<dyn Fn(&str) -> bool + Send + Sync>,
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

/// As whom, and until when, a member may commit: the pair that the coordinator compares (fencing).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// The member's id.
    pub member_id: Arc<str>,
    /// The generation, or in the new protocol the member's epoch.
    pub number: i32,
}

/// A change of what is ours. Each names only the partitions that change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// These are ours from now on; comes at the end of every rebalance, also without partitions.
    Assigned {
        /// In which generation.
        generation: Generation,
        /// In order.
        partitions: Vec<TopicPartition>,
    },
    /// These are to be given up, and are ours until the caller has dealt with this change: now is the time to commit.
    Revoked {
        /// As whom to commit.
        generation: Generation,
        /// In order.
        partitions: Vec<TopicPartition>,
    },
    /// These are no longer ours and may have another owner already: commits for them are refused.
    Lost {
        /// In order.
        partitions: Vec<TopicPartition>,
    },
}

/// A request to make. The caller hands the outcome back as the [`Answer`] of the same name.
#[derive(Clone, Debug)]
pub enum Order {
    /// Find the coordinator, not trusting what is known.
    Coordinator,
    /// Look at topics: these, or all of them.
    Topics(Option<Vec<Arc<str>>>),
    /// To the coordinator.
    Join(JoinGroupCall),
    /// To the coordinator.
    Sync(SyncGroupCall),
    /// To the coordinator.
    Heartbeat(HeartbeatCall),
    /// To the coordinator.
    Leave(LeaveGroupCall),
    /// To the coordinator.
    ConsumerHeartbeat(ConsumerHeartbeatCall),
}

/// What an [`Order`] came to.
#[derive(Debug)]
pub enum Answer<E> {
    /// The coordinator's node.
    Coordinator(Result<i32, Fault<E>>),
    /// Topics that exist.
    Topics(Result<TopicsSeen, Fault<E>>),
    /// Of JoinGroup.
    Join(Result<JoinGroupAnswer, Fault<E>>),
    /// Of SyncGroup.
    Sync(Result<SyncGroupAnswer, Fault<E>>),
    /// Of Heartbeat.
    Heartbeat(Result<HeartbeatAnswer, Fault<E>>),
    /// Of LeaveGroup.
    Leave(Result<LeaveGroupAnswer, Fault<E>>),
    /// Of ConsumerGroupHeartbeat.
    ConsumerHeartbeat(Result<ConsumerHeartbeatAnswer, Fault<E>>),
}

/// Topics as metadata describes them. Internal ones are left out when all were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicsSeen {
    /// Their partitions.
    pub shapes: TopicShapes,
    /// Their names by id.
    pub names: BTreeMap<TopicId, Arc<str>>,
}

/// Why a membership has ended for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended<E> {
    /// In which request.
    pub api: ApiKey,
    /// Why.
    pub cause: EndCause<E>,
}

/// The cause of an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndCause<E> {
    /// The coordinator's code, with what it says about it.
    Code(ErrorCode, Option<String>),
    /// The request itself, in the shell's words.
    Fault(E),
    /// An answer that makes no sense.
    Text(String),
}

/// Where a membership stands, for logs and displays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not a member, and not on the way.
    Out,
    /// On the way, or in a rebalance.
    Joining,
    /// A member with an assignment, which may be empty.
    Stable,
    /// Has left.
    Left,
    /// Ended by an error.
    Failed,
}

/// One membership.
///
/// Inputs: `subscribe`, `handle`, `acknowledge`, `set_busy`, `set_waiting`, `refused`, `leave`.
/// Outputs: `poll_order`, `poll_change`, `poll_timeout`, `generation`, `owned`, `ended`, `standing`.
/// Invariants: a partition that was assigned is revoked or lost before it can be assigned again; the member does not join
/// again while a change waits for the caller; after a change that loses the membership no order carries the old generation.
#[derive(Debug)]
pub enum Member<E> {
    /// The classic protocol.
    Classic(Classic<E>),
    /// KIP-848.
    Consumer(Consumer<E>),
}

macro_rules! both {
    ($self:expr, $member:ident => $call:expr) => {
        match $self {
            Self::Classic($member) => $call,
            Self::Consumer($member) => $call,
        }
    };
}

impl<E: Clone> Member<E> {
    /// Not a member yet. Begins with the first [`Member::subscribe`].
    pub fn new(now: Instant, options: MemberOptions) -> Self {
        match options.protocol.clone() {
            GroupProtocol::Classic { assignors } => Self::Classic(Classic::new(now, options, assignors)),
            GroupProtocol::Consumer { server_assignor } => Self::Consumer(Consumer::new(now, options, server_assignor)),
        }
    }

    /// Says what to read from now on, in place of what was said before.
    pub fn subscribe(&mut self, now: Instant, wanted: Wanted) {
        both!(self, member => member.subscribe(now, wanted));
    }

    /// The next request to make; none while nothing is due. Moves time on.
    pub fn poll_order(&mut self, now: Instant) -> Option<Order> {
        both!(self, member => member.poll_order(now))
    }

    /// Takes what an order came to.
    pub fn handle(&mut self, now: Instant, answer: Answer<E>) {
        both!(self, member => member.handle(now, answer));
    }

    /// The next change for the caller, once it has dealt with the one before.
    pub fn poll_change(&mut self) -> Option<Change> {
        both!(self, member => member.owned.poll_change())
    }

    /// The caller has dealt with the last change.
    pub fn acknowledge(&mut self) {
        both!(self, member => member.owned.acknowledge());
    }

    /// The caller has got something and works on it: from now on the longest poll interval counts.
    pub const fn set_busy(&mut self, now: Instant) {
        both!(self, member => member.busy_since = Some(now));
    }

    /// The caller is back and waits. A member that had left because the caller was away joins again.
    pub const fn set_waiting(&mut self) {
        both!(self, member => member.busy_since = None);
    }

    /// A commit as `generation` was refused with a code that says how things stand.
    pub fn refused(&mut self, now: Instant, generation: &Generation, code: ErrorCode) {
        both!(self, member => member.refused(now, generation, code));
    }

    /// Leaves; what is owned then is nobody's business any more. Static members stay (KIP-345): they only fall silent.
    pub fn leave(&mut self) {
        both!(self, member => member.leave());
    }

    /// When to poll again unless something happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        both!(self, member => member.poll_timeout())
    }

    /// As whom to commit at present; none while not a member.
    pub fn generation(&self) -> Option<Generation> {
        both!(self, member => member.generation())
    }

    /// What is ours as far as the caller has been told, and has not given up.
    pub fn owned(&self) -> Vec<TopicPartition> {
        both!(self, member => member.owned.told().iter().cloned().collect())
    }

    /// Why it has ended for good.
    pub const fn ended(&self) -> Option<&Ended<E>> {
        both!(self, member => member.ended.as_ref())
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing {
        both!(self, member => member.standing())
    }

    /// The assignor in force, of a classic group that is stable.
    pub const fn assignor(&self) -> Option<Assignor> {
        match self {
            Self::Classic(member) => member.assignor(),
            Self::Consumer(_) => None,
        }
    }

    /// Whether this member divides the partitions.
    pub const fn is_leader(&self) -> bool {
        match self {
            Self::Classic(member) => member.is_leader(),
            Self::Consumer(_) => false,
        }
    }
}

/// What is known of the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coordinator {
    Unknown,
    Known,
}
