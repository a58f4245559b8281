//! Java's `RoundRobinAssignor`.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{GroupMember, Plan, TopicShapes, empty_plan, give, in_order, java_order, number};

/// All partitions in order, each to the next member in turn that wants its topic.
pub(super) fn assign(topics: &TopicShapes, members: &[GroupMember]) -> Plan {
    let mut plan = empty_plan(members);
    let mut order: Vec<&GroupMember> = members.iter().collect();
    crate::sorting::by(&mut order, |a, b| in_order(a, b));
    let wanted: BTreeSet<&Arc<str>> = members.iter().flat_map(|member| &member.subscription.topics).collect();
    let mut wanted: Vec<&Arc<str>> = wanted.into_iter().collect();
    crate::sorting::by(&mut wanted, |a, b| java_order(a, b));
    let mut turn = 0_usize;
    for topic in wanted {
        let Some(shape) = topics.get(topic) else { continue };
        for partition in 0..shape.racks.len() {
            // Some member wants the topic, so this ends within one turn.
            for _ in 0..order.len() {
                let member = turn.checked_rem(order.len()).and_then(|at| order.get(at));
                turn = turn.wrapping_add(1);
                let Some(member) = member.filter(|member| member.subscription.topics.contains(topic)) else { continue };
                give(&mut plan, &member.member_id, topic, number(partition));
                break;
            }
        }
    }
    plan
}
