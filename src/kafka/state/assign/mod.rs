//! Who reads what: the assignors that the leader of a classic group runs, with the names and the bytes of Java's.
//!
//! Range and round-robin give exactly what Java's give (`RangeAssignor` and `RoundRobinAssignor` of kafka-clients 4.4, racks
//! included: KIP-881). The sticky ones are balanced at least as well and keep as much (where members want
//! different topics: all but a partition in a thousand); of several assignments that are equally good Java may choose another.
//!
//! Pure functions of the members' subscriptions and the topics' partitions. Order in, order out.

mod range;
mod round_robin;
mod sticky;

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::kafka::msg::{
    EncodeError, NamedPartitions, SubscriptionData, decode_cooperative_data, decode_sticky_data,
    encode_cooperative_data, encode_sticky_data,
};

/// A way to divide partitions among members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Assignor {
    /// Topic by topic, consecutive partitions to members in order; topics with equal partitions end up side by side.
    Range,
    /// All partitions in turn to all members in turn.
    RoundRobin,
    /// Balanced, and as much as possible as it was; members give everything up before they join.
    Sticky,
    /// As [`Assignor::Sticky`], but members keep what they have while they join (KIP-429).
    CooperativeSticky,
}

/// How a member joins again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RebalanceProtocol {
    /// It gives everything up first.
    Eager,
    /// It keeps everything and gives up only what it is told to (KIP-429).
    Cooperative,
}

/// One member, as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its static id.
    pub group_instance_id: Option<Arc<str>>,
    /// What it wants and has.
    pub subscription: SubscriptionData,
}

/// The partitions of one topic: for each, 0 and on, the racks that hold it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicShape {
    /// One entry a partition.
    pub racks: Vec<BTreeSet<Arc<str>>>,
}

impl TopicShape {
    /// So many partitions, in no rack.
    pub fn without_racks(partitions: usize) -> Self {
        Self { racks: vec![BTreeSet::new(); partitions] }
    }
}

/// Topics that exist, with their partitions.
pub type TopicShapes = BTreeMap<Arc<str>, TopicShape>;

/// What each member is given; every member is in it.
pub type Plan = BTreeMap<Arc<str>, NamedPartitions>;

impl Assignor {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Range, Self::RoundRobin, Self::Sticky, Self::CooperativeSticky];

    /// Its name in the protocol.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::Sticky => "sticky",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// The one with this name, or with the name of Java's class for it.
    pub fn named(name: &str) -> Option<Self> {
        let class = name.strip_prefix("org.apache.kafka.clients.consumer.");
        Self::ALL.into_iter().find(|assignor| {
            let java = match assignor {
                Self::Range => "RangeAssignor",
                Self::RoundRobin => "RoundRobinAssignor",
                Self::Sticky => "StickyAssignor",
                Self::CooperativeSticky => "CooperativeStickyAssignor",
            };
            assignor.name() == name || class == Some(java)
        })
    }

    /// How a member that offers these assignors joins: cooperatively only if all of them can (KIP-429). A group changes
    /// over in two rounds: first every member offers both kinds, then only the cooperative one.
    pub fn rebalance_protocol(offered: &[Self]) -> RebalanceProtocol {
        match !offered.is_empty() && offered.iter().all(|assignor| *assignor == Self::CooperativeSticky) {
            true => RebalanceProtocol::Cooperative,
            false => RebalanceProtocol::Eager,
        }
    }

    /// What a member adds to its subscription for this assignor: what it had last and in which generation.
    ///
    /// # Errors
    /// [`EncodeError`] for a topic name that does not fit.
    pub fn user_data(self, previous: Option<&NamedPartitions>, generation: i32) -> Result<Option<Bytes>, EncodeError> {
        match self {
            Self::Range | Self::RoundRobin => Ok(None),
            // Java sends nothing before the first assignment.
            Self::Sticky => previous.map(|previous| encode_sticky_data(previous, generation)).transpose(),
            Self::CooperativeSticky => Ok(Some(encode_cooperative_data(generation))),
        }
    }

    /// Divides the partitions of `topics` among `members`. A topic that is not in `topics` does not exist, and gives nothing.
    pub fn assign(self, topics: &TopicShapes, members: &[GroupMember]) -> Plan {
        match self {
            Self::Range => range::assign(topics, members),
            Self::RoundRobin => round_robin::assign(topics, members),
            Self::Sticky => sticky::assign(topics, members, previous_in_user_data),
            Self::CooperativeSticky => {
                let mut plan = sticky::assign(topics, members, previous_in_subscription);
                hold_back(&mut plan, members);
                plan
            }
        }
    }
}

impl fmt::Display for Assignor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a member had, and in which generation; none when it does not say.
type Previous = (NamedPartitions, Option<i32>);

fn previous_in_user_data(subscription: &SubscriptionData) -> Previous {
    let data = subscription.user_data.as_ref().filter(|data| !data.is_empty());
    // Another client's bytes that make no sense are as good as none: Java does the same.
    data.and_then(|data| decode_sticky_data(data).ok()).unwrap_or_default()
}

fn previous_in_subscription(subscription: &SubscriptionData) -> Previous {
    let in_data = || decode_cooperative_data(subscription.user_data.as_ref()?).ok();
    (subscription.owned.clone(), subscription.generation.or_else(in_data))
}

/// Takes what somebody else still owns out of the plan: its owner gives it up in this round and it is handed out in the next
/// (KIP-429). Nobody ever reads a partition that another member has not let go of.
fn hold_back(plan: &mut Plan, members: &[GroupMember]) {
    let mut owners: BTreeMap<(&str, i32), Vec<&str>> = BTreeMap::new();
    for member in members {
        for (topic, partitions) in &member.subscription.owned {
            for partition in partitions {
                owners.entry((topic, *partition)).or_default().push(&member.member_id);
            }
        }
    }
    for (member_id, topics) in plan.iter_mut() {
        for (topic, partitions) in topics.iter_mut() {
            partitions.retain(|partition| {
                let owners = owners.get(&(&**topic, *partition));
                owners.is_none_or(|owners| owners.contains(&&**member_id))
            });
        }
        topics.retain(|_, partitions| !partitions.is_empty());
    }
}

/// The order in which range and round-robin serve members: static ones by their static id, then the others by member id.
fn in_order(a: &GroupMember, b: &GroupMember) -> Ordering {
    match (&a.group_instance_id, &b.group_instance_id) {
        (Some(a), Some(b)) => java_order(a, b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => java_order(&a.member_id, &b.member_id),
    }
}

/// Java compares strings by UTF-16 units.
fn java_order(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

/// Whether racks matter for these members and partitions (KIP-881): some member and some partition share a rack, and not
/// every partition is in every rack.
fn racks_matter<'a>(
    member_racks: &BTreeSet<&Arc<str>>,
    partitions: impl Iterator<Item = &'a BTreeSet<Arc<str>>> + Clone,
) -> bool {
    let all: BTreeSet<&Arc<str>> = partitions.clone().flatten().collect();
    !member_racks.is_disjoint(&all) && !partitions.clone().all(|racks| racks.len() == all.len())
}

/// A member's rack; an empty name is none.
fn rack_of(member: &GroupMember) -> Option<&Arc<str>> {
    member.subscription.rack.as_ref().filter(|rack| !rack.is_empty())
}

fn empty_plan(members: &[GroupMember]) -> Plan {
    members.iter().map(|member| (member.member_id.clone(), NamedPartitions::new())).collect()
}

fn give(plan: &mut Plan, member_id: &Arc<str>, topic: &Arc<str>, partition: i32) {
    plan.entry(member_id.clone()).or_default().entry(topic.clone()).or_default().push(partition);
}

/// A partition's number from its place in a list.
fn number(index: usize) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}
