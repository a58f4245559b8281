//! The consumer group and the brokers, as the job sees them.

use std::collections::BTreeSet;

use serde::Serialize;

use super::UnixMillis;

/// The group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GroupView {
    /// As the coordinator names it, such as `Stable`; empty before it was asked.
    pub state: String,
    /// How its partitions are divided.
    pub assignor: String,
    /// The node that coordinates it.
    pub coordinator: Option<i32>,
    /// This member's generation.
    pub generation: Option<i32>,
    /// Whether this member divides the partitions.
    pub is_leader: bool,
    /// Its members.
    pub members: Vec<MemberView>,
    /// Rebalances that this member has been through.
    pub rebalances: u64,
    /// The last one.
    pub last_rebalance: Option<RebalanceView>,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberView {
    /// The id that the coordinator gave it.
    pub id: String,
    /// What it calls itself.
    pub client_id: String,
    /// Its address as the coordinator sees it.
    pub host: String,
    /// How many partitions it has.
    pub partitions: usize,
}

/// A rebalance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RebalanceView {
    /// When it ended.
    pub at_ms: UnixMillis,
    /// Why it was.
    pub cause: String,
    /// The generation that began.
    pub generation: i32,
    /// Whether this member divided the partitions.
    pub is_leader: bool,
    /// The partitions that this member has since.
    pub partitions: Vec<i32>,
}

/// A broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BrokerView {
    /// Its node id.
    pub node: i32,
    /// Where it says it listens.
    pub address: Option<String>,
    /// Its rack.
    pub rack: Option<String>,
    /// Whether it is the controller.
    pub is_controller: bool,
    /// The release that its versions are of, as nearly as they tell.
    pub release: Option<String>,
    /// How long it took to answer, in microseconds.
    pub round_trip_us: Option<u64>,
    /// Since when the job is connected to it.
    pub connected_ms: Option<UnixMillis>,
    /// Why it did not answer.
    pub error: Option<String>,
}

impl GroupView {
    pub(super) fn rebalanced(&mut self, rebalance: RebalanceView) {
        self.rebalances = self.rebalances.saturating_add(1);
        self.generation = Some(rebalance.generation);
        self.is_leader = rebalance.is_leader;
        self.last_rebalance = Some(rebalance);
    }

    /// Who has come and who has gone says why the last rebalance was.
    pub(super) fn described(&mut self, state: &str, assignor: &str, coordinator: i32, members: Vec<MemberView>) {
        let ids = |members: &[MemberView]| members.iter().map(|member| member.id.clone()).collect::<BTreeSet<_>>();
        let (before, after) = (ids(&self.members), ids(&members));
        if let Some(rebalance) = &mut self.last_rebalance
            && !before.is_empty()
            && before != after
        {
            let (came, went) = (after.difference(&before).count(), before.difference(&after).count());
            let said = |count: usize, what: &str| match count {
                0 => None,
                1 => Some(format!("a member {what}")),
                many => Some(format!("{many} members {what}")),
            };
            let told: Vec<String> = [said(came, "joined"), said(went, "left")].into_iter().flatten().collect();
            rebalance.cause = format!("{} ({} now)", told.join(", "), after.len());
        }
        state.clone_into(&mut self.state);
        assignor.clone_into(&mut self.assignor);
        self.coordinator = (coordinator >= 0).then_some(coordinator);
        self.members = members;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str) -> MemberView {
        MemberView { id: id.to_owned(), client_id: String::new(), host: String::new(), partitions: 1 }
    }

    #[test]
    fn who_came_and_went_is_the_cause() {
        let mut group = GroupView::default();
        let rebalance = |cause: &str| RebalanceView {
            at_ms: 1,
            cause: cause.to_owned(),
            generation: 3,
            is_leader: true,
            partitions: vec![0],
        };
        let cause =
            |group: &GroupView| group.last_rebalance.as_ref().map(|last| last.cause.clone()).unwrap_or_default();
        group.rebalanced(rebalance("joined the group"));
        group.described("Stable", "range", 1, vec![member("a")]);
        assert_eq!(cause(&group), "joined the group", "there is nothing to compare with");
        group.rebalanced(rebalance("the group rebalanced"));
        group.described("Stable", "range", 1, vec![member("a"), member("b"), member("c")]);
        assert_eq!(cause(&group), "2 members joined (3 now)");
        group.described("Stable", "range", 1, vec![member("a"), member("b"), member("c")]);
        assert_eq!(cause(&group), "2 members joined (3 now)", "the same members change nothing");
        group.rebalanced(rebalance("the group rebalanced"));
        group.described("Stable", "range", -1, vec![member("a"), member("d")]);
        assert_eq!(cause(&group), "a member joined, 2 members left (2 now)");
        assert_eq!((group.rebalances, group.coordinator, group.generation), (3, None, Some(3)));
    }
}
