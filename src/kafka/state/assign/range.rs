//! Java's `RangeAssignor`, with racks (KIP-881).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{GroupMember, Plan, TopicShape, TopicShapes, empty_plan, give, in_order, number, rack_of, racks_matter};

/// Topic by topic, consecutive partitions to the members in order, the first ones getting one more where the division does not
/// come out even. With racks, each member first gets partitions of its own rack, within the same quotas; topics that the same
/// members read and that have as many partitions keep equal numbers together.
pub(super) fn assign(topics: &TopicShapes, members: &[GroupMember]) -> Plan {
    let mut plan = empty_plan(members);
    let mut order: Vec<&GroupMember> = members.iter().collect();
    crate::sorting::by(&mut order, |a, b| in_order(a, b));
    let mut states: Vec<Topic<'_>> = Vec::new();
    for (name, shape) in topics {
        let readers: Vec<&GroupMember> =
            order.iter().copied().filter(|member| member.subscription.topics.contains(name)).collect();
        if !shape.racks.is_empty() && !readers.is_empty() {
            states.push(Topic::new(name, shape, readers));
        }
    }
    if states.iter().any(|topic| topic.racks_matter) {
        match_racks(&mut states, &mut plan);
    }
    for topic in &mut states {
        topic.fill(|_, _| true, &mut plan);
    }
    for topics in plan.values_mut() {
        for partitions in topics.values_mut() {
            crate::sorting::sort(partitions);
        }
    }
    plan
}

struct Topic<'a> {
    name: &'a Arc<str>,
    shape: &'a TopicShape,
    readers: Vec<&'a GroupMember>,
    racks_matter: bool,
    /// Partitions that nobody has yet.
    open: BTreeSet<usize>,
    /// How many each reader has.
    held: Vec<usize>,
    quota: usize,
    /// Readers that may still get one above the quota.
    extra: usize,
}

impl<'a> Topic<'a> {
    fn new(name: &'a Arc<str>, shape: &'a TopicShape, readers: Vec<&'a GroupMember>) -> Self {
        let (count, of) = (shape.racks.len(), readers.len().max(1));
        let racks: BTreeSet<&Arc<str>> = readers.iter().filter_map(|member| rack_of(member)).collect();
        Self {
            name,
            shape,
            racks_matter: racks_matter(&racks, shape.racks.iter()),
            open: (0..count).collect(),
            held: vec![0; readers.len()],
            quota: count.checked_div(of).unwrap_or(0),
            extra: count.checked_rem(of).unwrap_or(0),
            readers,
        }
    }

    fn is_near(&self, reader: usize, partition: usize) -> bool {
        let rack = self.readers.get(reader).and_then(|member| rack_of(member));
        rack.is_none_or(|rack| self.shape.racks.get(partition).is_some_and(|racks| racks.contains(rack)))
    }

    fn room(&self, reader: usize) -> usize {
        let max = self.quota.saturating_add(usize::from(self.extra > 0));
        max.saturating_sub(self.held.get(reader).copied().unwrap_or(max))
    }

    fn take(&mut self, reader: usize, partitions: &[usize], plan: &mut Plan) {
        let (Some(member), Some(held)) = (self.readers.get(reader), self.held.get_mut(reader)) else { return };
        *held = held.saturating_add(partitions.len());
        if *held > self.quota {
            self.extra = self.extra.saturating_sub(1);
        }
        for partition in partitions {
            self.open.remove(partition);
            give(plan, &member.member_id, self.name, number(*partition));
        }
    }

    /// Gives each reader in order as many open partitions as it has room for.
    fn fill(&mut self, may: impl Fn(&Self, (usize, usize)) -> bool, plan: &mut Plan) {
        for reader in 0..self.readers.len() {
            let room = self.room(reader);
            let fits = self.open.iter().copied().filter(|partition| may(self, (reader, *partition)));
            let chosen: Vec<usize> = fits.take(room).collect();
            if !chosen.is_empty() {
                self.take(reader, &chosen, plan);
            }
        }
    }
}

/// Topics with the same readers and as many partitions belong together.
fn match_racks(states: &mut [Topic<'_>], plan: &mut Plan) {
    let mut together: BTreeMap<(Vec<&Arc<str>>, usize), Vec<usize>> = BTreeMap::new();
    for (index, topic) in states.iter().enumerate() {
        let readers = topic.readers.iter().map(|member| &member.member_id).collect();
        together.entry((readers, topic.shape.racks.len())).or_default().push(index);
    }
    let together: Vec<(usize, Vec<usize>)> =
        together.into_iter().map(|((_, partitions), topics)| (partitions, topics)).collect();
    for (partitions, topics) in together {
        match topics.as_slice() {
            [only] => {
                if let Some(topic) = states.get_mut(*only).filter(|topic| topic.racks_matter) {
                    topic.fill(|topic, (reader, partition)| topic.is_near(reader, partition), plan);
                }
            }
            several => match_racks_together(partitions, several, states, plan),
        }
    }
}

fn match_racks_together(partitions: usize, topics: &[usize], states: &mut [Topic<'_>], plan: &mut Plan) {
    let readers = topics.first().and_then(|first| states.get(*first)).map_or(0, |topic| topic.readers.len());
    let mut left: Vec<usize> = (0..readers).collect();
    for partition in 0..partitions {
        let of_all = |test: &dyn Fn(&Topic<'_>) -> bool| topics.iter().filter_map(|t| states.get(*t)).all(test);
        let fitting = left
            .iter()
            .copied()
            .find(|reader| of_all(&|topic| topic.is_near(*reader, partition) && topic.room(*reader) > 0));
        let Some(reader) = fitting else { continue };
        for topic in topics {
            if let Some(topic) = states.get_mut(*topic) {
                topic.take(reader, &[partition], plan);
            }
        }
        let full = topics.iter().filter_map(|t| states.get(*t)).all(|topic| topic.room(reader) == 0);
        if full {
            left.retain(|other| *other != reader);
        }
    }
}
