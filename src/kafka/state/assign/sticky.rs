//! Balanced, and as much as possible as it was.
//!
//! Balance comes first: no chain of moves can take a partition from a member to one that has two fewer. Then as many
//! partitions as possible stay where they were. Members that all want the same topics are served by quotas, which is exact in
//! both; otherwise partitions move along shortest chains, which is exact in balance.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::kafka::msg::SubscriptionData;

use super::{
    GroupMember, Plan, Previous, TopicShape, TopicShapes, empty_plan, give, java_order, number, rack_of, racks_matter,
};

/// How often partitions are looked at for a way back; one that gains nothing ends it.
const RETURN_ROUNDS_MAX: usize = 4;

/// Assigns, with `previous` telling what a member had.
pub(super) fn assign(
    topics: &TopicShapes,
    members: &[GroupMember],
    previous: fn(&SubscriptionData) -> Previous,
) -> Plan {
    let mut plan = empty_plan(members);
    let mut order: Vec<&GroupMember> = members.iter().collect();
    crate::sorting::by(&mut order, |a, b| java_order(&a.member_id, &b.member_id));
    let mut board = Board::new(topics, &order, previous);
    if board.is_uniform() {
        board.keep_by_quota();
        board.deal();
    } else {
        board.keep_all();
        board.place_open();
        board.balance();
        // One return can make room for another.
        for _ in 0..RETURN_ROUNDS_MAX {
            if !board.return_home() {
                break;
            }
        }
    }
    for (partition, owner) in board.partitions.iter().zip(&board.owner) {
        if let Some(member) = owner.and_then(|owner| order.get(owner)) {
            give(&mut plan, &member.member_id, partition.topic, number(partition.index));
        }
    }
    plan
}

struct Partition<'a> {
    topic: &'a Arc<str>,
    topic_index: usize,
    index: usize,
    shape: &'a TopicShape,
    /// The member that had it last and wants it still.
    home: Option<usize>,
}

struct Board<'a> {
    members: Vec<&'a GroupMember>,
    /// Who wants each topic.
    readers: Vec<Vec<usize>>,
    partitions: Vec<Partition<'a>>,
    /// Who has each partition.
    owner: Vec<Option<usize>>,
    /// What each member has.
    held: Vec<BTreeSet<usize>>,
    racks_matter: bool,
}

impl<'a> Board<'a> {
    fn new(topics: &'a TopicShapes, members: &[&'a GroupMember], previous: fn(&SubscriptionData) -> Previous) -> Self {
        let mut readers = Vec::new();
        let mut partitions = Vec::new();
        let homes = homes(members, previous);
        for (topic, shape) in topics {
            let wants = |index: &usize| members.get(*index).is_some_and(|m| m.subscription.topics.contains(topic));
            let who: Vec<usize> = (0..members.len()).filter(wants).collect();
            if who.is_empty() {
                continue;
            }
            for index in 0..shape.racks.len() {
                let home = homes.get(&(&**topic, number(index))).copied().filter(|home| who.contains(home));
                partitions.push(Partition { topic, topic_index: readers.len(), index, shape, home });
            }
            readers.push(who);
        }
        let racks: BTreeSet<&Arc<str>> = members.iter().filter_map(|member| rack_of(member)).collect();
        let matter = {
            let all: Vec<&BTreeSet<Arc<str>>> =
                partitions.iter().filter_map(|p: &Partition<'_>| p.shape.racks.get(p.index)).collect();
            racks_matter(&racks, all.into_iter())
        };
        Self {
            members: members.to_vec(),
            readers,
            owner: vec![None; partitions.len()],
            held: vec![BTreeSet::new(); members.len()],
            partitions,
            racks_matter: matter,
        }
    }

    fn is_uniform(&self) -> bool {
        self.readers.iter().all(|readers| readers.len() == self.members.len())
    }

    fn load(&self, member: usize) -> usize {
        self.held.get(member).map_or(0, BTreeSet::len)
    }

    fn home(&self, partition: usize) -> Option<usize> {
        self.partitions.get(partition).and_then(|p| p.home)
    }

    fn readers_of(&self, partition: usize) -> &[usize] {
        let topic = self.partitions.get(partition).map(|p| p.topic_index);
        topic.and_then(|topic| self.readers.get(topic)).map_or(&[], Vec::as_slice)
    }

    /// Whether a member reads the partition from its own rack, as far as that matters.
    fn is_near(&self, member: usize, partition: usize) -> bool {
        if !self.racks_matter {
            return true;
        }
        let rack = self.members.get(member).and_then(|member| rack_of(member));
        let racks = self.partitions.get(partition).and_then(|p| p.shape.racks.get(p.index));
        rack.is_none_or(|rack| racks.is_some_and(|racks| racks.contains(rack)))
    }

    fn set(&mut self, partition: usize, member: usize) {
        let Some(slot) = self.owner.get_mut(partition) else { return };
        let before = slot.replace(member);
        if let Some(held) = before.and_then(|before| self.held.get_mut(before)) {
            held.remove(&partition);
        }
        if let Some(held) = self.held.get_mut(member) {
            held.insert(partition);
        }
    }

    fn open(&self) -> Vec<usize> {
        self.owner.iter().enumerate().filter(|(_, owner)| owner.is_none()).map(|(index, _)| index).collect()
    }

    /// Leaves each member what it had, up to its quota. Where racks matter, only what is near: a partition far away is worth
    /// moving, as in Java.
    fn keep_by_quota(&mut self) {
        let of = self.members.len().max(1);
        let (quota, mut extra) =
            (self.partitions.len().checked_div(of).unwrap_or(0), self.partitions.len().checked_rem(of).unwrap_or(0));
        for member in 0..self.members.len() {
            let mine: Vec<usize> = (0..self.partitions.len())
                .filter(|p| self.home(*p) == Some(member) && self.is_near(member, *p))
                .collect();
            let above = mine.len() > quota && extra > 0;
            extra = extra.saturating_sub(usize::from(above));
            for partition in mine.into_iter().take(quota.saturating_add(usize::from(above))) {
                self.set(partition, member);
            }
        }
    }

    /// Deals what is open to the members that have fewest, those near the partition first.
    fn deal(&mut self) {
        let of = self.members.len().max(1);
        let (quota, extra) =
            (self.partitions.len().checked_div(of).unwrap_or(0), self.partitions.len().checked_rem(of).unwrap_or(0));
        let above = |board: &Self| (0..of).filter(|member| board.load(*member) > quota).count();
        for round in [true, false] {
            if round && !self.racks_matter {
                continue;
            }
            for partition in self.open() {
                let max = quota.saturating_add(usize::from(above(self) < extra));
                let fits = |member: &usize| self.load(*member) < max && (!round || self.is_near(*member, partition));
                let least = (0..self.members.len()).filter(fits).min_by_key(|member| self.load(*member));
                if let Some(member) = least {
                    self.set(partition, member);
                }
            }
        }
    }

    fn keep_all(&mut self) {
        for partition in 0..self.partitions.len() {
            if let Some(home) = self.home(partition).filter(|home| self.is_near(*home, partition)) {
                self.set(partition, home);
            }
        }
    }

    /// Gives what is open to the member with fewest; partitions that few want go first.
    fn place_open(&mut self) {
        let mut open = self.open();
        crate::sorting::by_key(&mut open, |partition| self.readers_of(*partition).len());
        for partition in open {
            let key = |member: &usize| (self.load(*member), !self.is_near(*member, partition));
            let least = self.readers_of(partition).iter().copied().min_by_key(key);
            if let Some(member) = least {
                self.set(partition, member);
            }
        }
    }

    /// Moves partitions along chains from the fullest members until no chain ends at one that has two fewer. Each chain
    /// lowers the sum of squares, so this ends.
    fn balance(&mut self) {
        let mut settled = BTreeSet::new();
        loop {
            let fullest = (0..self.members.len())
                .filter(|member| !settled.contains(member))
                .max_by_key(|member| (self.load(*member), std::cmp::Reverse(*member)));
            let Some(from) = fullest else { return };
            match self.chain(from) {
                Some(moves) => {
                    for (partition, to) in moves {
                        self.set(partition, to);
                    }
                    settled.clear();
                }
                None => {
                    settled.insert(from);
                }
            }
        }
    }

    /// The shortest chain of moves from `from` to a member with at least two fewer: (partition, new owner), last move first.
    fn chain(&self, from: usize) -> Option<Vec<(usize, usize)>> {
        let limit = self.load(from).checked_sub(2)?;
        // How each member was reached: which partition it would take, and from whom.
        let mut reached: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(giver) = queue.pop_front() {
            // One partition a topic is enough to try: its readers are the same. One that is not at home goes first.
            let mut offers: BTreeMap<usize, usize> = BTreeMap::new();
            for partition in self.held.get(giver).into_iter().flatten().copied() {
                let topic = self.partitions.get(partition).map_or(0, |p| p.topic_index);
                let offer = offers.entry(topic).or_insert(partition);
                if self.home(*offer) == Some(giver) && self.home(partition) != Some(giver) {
                    *offer = partition;
                }
            }
            let mut steps: Vec<(usize, usize)> = Vec::new();
            for partition in offers.values() {
                steps.extend(self.readers_of(*partition).iter().map(|taker| (*partition, *taker)));
            }
            // Of the members one move away the emptiest counts, and moves that disturb nobody come first.
            crate::sorting::by_key(&mut steps, |(partition, taker)| {
                (self.load(*taker), self.home(*partition) == Some(giver))
            });
            for (partition, taker) in steps {
                if taker == from || reached.contains_key(&taker) {
                    continue;
                }
                reached.insert(taker, (partition, giver));
                if self.load(taker) <= limit {
                    return Some(way_back(&reached, from, taker));
                }
                queue.push_back(taker);
            }
        }
        None
    }

    /// Takes partitions back to where they were when that leaves the balance as it is: by a move to a member that has one
    /// fewer, or by exchanging them for others that are not at home where they are.
    fn return_home(&mut self) -> bool {
        let mut moved = false;
        for partition in 0..self.partitions.len() {
            let (Some(home), Some(owner)) = (self.home(partition), self.owner.get(partition).copied().flatten()) else {
                continue;
            };
            if home == owner || !self.is_near(home, partition) {
                continue;
            }
            if self.load(home) < self.load(owner) {
                self.set(partition, home);
                moved = true;
                continue;
            }
            if let Some(moves) = self.exchange(home, owner) {
                for (other, to) in moves {
                    self.set(other, to);
                }
                self.set(partition, home);
                moved = true;
            }
        }
        moved
    }

    /// A short chain of moves that takes one partition off `from` and makes up for one taken off `to`, of partitions that are not at home
    /// where they are.
    fn exchange(&self, from: usize, to: usize) -> Option<Vec<(usize, usize)>> {
        let mut reached: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(giver) = queue.pop_front() {
            for partition in self.held.get(giver).into_iter().flatten().copied() {
                if self.home(partition) == Some(giver) {
                    continue;
                }
                for taker in self.readers_of(partition) {
                    if *taker == from || reached.contains_key(taker) {
                        continue;
                    }
                    reached.insert(*taker, (partition, giver));
                    queue.push_back(*taker);
                }
            }
            // Whoever has fewer than `to` may take its place: the loads stay the same but for whose they are.
            let end = reached.keys().find(|member| **member == to || self.load(**member) < self.load(to));
            if let Some(end) = end {
                return Some(way_back(&reached, from, *end));
            }
        }
        None
    }
}

/// The moves that lead from `from` to `to`, last one first, by how each member was reached.
fn way_back(reached: &BTreeMap<usize, (usize, usize)>, from: usize, to: usize) -> Vec<(usize, usize)> {
    let mut moves = Vec::new();
    let mut at = to;
    while let Some((partition, giver)) = reached.get(&at).filter(|_| at != from) {
        moves.push((*partition, at));
        at = *giver;
    }
    moves
}

/// Who had each partition: of several that claim it the one of the newest generation, and nobody when two of the same
/// generation do.
fn homes<'a>(
    members: &[&'a GroupMember],
    previous: fn(&SubscriptionData) -> Previous,
) -> BTreeMap<(&'a str, i32), usize> {
    let mut claims: BTreeMap<(Arc<str>, i32), (i32, Option<usize>)> = BTreeMap::new();
    for (index, member) in members.iter().enumerate() {
        let (topics, generation) = previous(&member.subscription);
        let generation = generation.unwrap_or(-1);
        for (topic, partitions) in topics {
            for partition in partitions {
                claims
                    .entry((topic.clone(), partition))
                    .and_modify(|(best, owner)| match generation.cmp(best) {
                        std::cmp::Ordering::Greater => (*best, *owner) = (generation, Some(index)),
                        std::cmp::Ordering::Equal => *owner = owner.filter(|owner| *owner == index),
                        std::cmp::Ordering::Less => {}
                    })
                    .or_insert((generation, Some(index)));
            }
        }
    }
    let mut homes = BTreeMap::new();
    for ((topic, partition), (_, owner)) in claims {
        // Only topics that a member wants matter, and those names live as long as the members.
        let Some(index) = owner else { continue };
        let wanted = members.get(index).and_then(|m| m.subscription.topics.iter().find(|name| **name == topic));
        if let Some(name) = wanted {
            homes.insert((&**name, partition), index);
        }
    }
    homes
}
