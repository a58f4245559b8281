#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic)]

use super::*;

fn member(id: &str, topics: &[&str]) -> GroupMember {
    let topics = topics.iter().map(|topic| Arc::from(*topic)).collect();
    let subscription = SubscriptionData { topics, ..SubscriptionData::default() };
    GroupMember { member_id: id.into(), group_instance_id: None, subscription }
}

fn shapes(topics: &[(&str, usize)]) -> TopicShapes {
    topics.iter().map(|(name, count)| (Arc::from(*name), TopicShape::without_racks(*count))).collect()
}

/// `a: t0 t1; b: t2`.
fn shown(plan: &Plan) -> String {
    let member = |(id, topics): (&Arc<str>, &NamedPartitions)| {
        let partitions = topics.iter().flat_map(|(t, ps)| ps.iter().map(move |p| format!("{t}{p}")));
        format!("{id}: {}", partitions.collect::<Vec<_>>().join(" "))
    };
    plan.iter().map(member).collect::<Vec<_>>().join("; ")
}

#[test]
fn range_gives_the_first_members_one_more_of_each_topic() {
    let members = [member("b", &["t", "u"]), member("a", &["t", "u"])];
    let plan = Assignor::Range.assign(&shapes(&[("t", 3), ("u", 3)]), &members);
    assert_eq!(shown(&plan), "a: t0 t1 u0 u1; b: t2 u2");
    let alone = [member("a", &["t"]), member("b", &["u"])];
    assert_eq!(shown(&Assignor::Range.assign(&shapes(&[("t", 2), ("u", 1)]), &alone)), "a: t0 t1; b: u0");
    assert_eq!(shown(&Assignor::Range.assign(&shapes(&[]), &alone)), "a: ; b: ");
}

#[test]
fn round_robin_goes_on_over_topics_and_passes_over_members_that_do_not_want_one() {
    let members = [member("a", &["t", "u"]), member("b", &["t", "u"])];
    let plan = Assignor::RoundRobin.assign(&shapes(&[("t", 3), ("u", 3)]), &members);
    assert_eq!(shown(&plan), "a: t0 t2 u1; b: t1 u0 u2");
    let members = [member("a", &["t"]), member("b", &["t", "u"]), member("c", &["u"])];
    let plan = Assignor::RoundRobin.assign(&shapes(&[("t", 2), ("u", 2)]), &members);
    assert_eq!(shown(&plan), "a: t0; b: t1 u1; c: u0");
}

#[test]
fn static_members_come_first_in_the_order_of_their_own_ids() {
    let mut members = [member("z", &["t"]), member("a", &["t"]), member("m", &["t"])];
    members[0].group_instance_id = Some("1".into());
    members[2].group_instance_id = Some("0".into());
    let plan = Assignor::Range.assign(&shapes(&[("t", 3)]), &members);
    assert_eq!(shown(&plan), "a: t2; m: t0; z: t1");
}

#[test]
fn range_prefers_the_own_rack_within_the_quotas() {
    let racks = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect::<BTreeSet<Arc<str>>>();
    let shape = TopicShape { racks: vec![racks(&["y"]), racks(&["y"]), racks(&["x"]), racks(&["x"])] };
    let topics = TopicShapes::from([("t".into(), shape)]);
    let mut members = [member("a", &["t"]), member("b", &["t"])];
    members[0].subscription.rack = Some("x".into());
    members[1].subscription.rack = Some("y".into());
    assert_eq!(shown(&Assignor::Range.assign(&topics, &members)), "a: t2 t3; b: t0 t1");
    for sticky in [Assignor::Sticky, Assignor::CooperativeSticky] {
        assert_eq!(shown(&sticky.assign(&topics, &members)), "a: t2 t3; b: t0 t1");
    }
}

fn owns(member: &mut GroupMember, generation: i32, owned: &[(&str, &[i32])]) {
    let owned: NamedPartitions = owned.iter().map(|(t, ps)| (Arc::from(*t), ps.to_vec())).collect();
    member.subscription.user_data = Assignor::Sticky.user_data(Some(&owned), generation).unwrap();
    member.subscription.owned = owned;
    member.subscription.generation = Some(generation);
}

#[test]
fn sticky_keeps_what_the_quota_allows_and_moves_the_rest() {
    let mut members = [member("a", &["t"]), member("b", &["t"]), member("c", &["t"])];
    owns(&mut members[0], 4, &[("t", &[0, 1, 2])]);
    owns(&mut members[1], 4, &[("t", &[3, 4, 5])]);
    let plan = Assignor::Sticky.assign(&shapes(&[("t", 6)]), &members);
    assert_eq!(shown(&plan), "a: t0 t1; b: t3 t4; c: t2 t5");
    // Cooperatively, c has to wait for what a and b have not let go of yet.
    let plan = Assignor::CooperativeSticky.assign(&shapes(&[("t", 6)]), &members);
    assert_eq!(shown(&plan), "a: t0 t1; b: t3 t4; c: ");
}

#[test]
fn of_two_that_claim_a_partition_the_newer_generation_counts_and_equal_ones_cancel_out() {
    let mut members = [member("a", &["t"]), member("b", &["t"])];
    owns(&mut members[0], 3, &[("t", &[1])]);
    owns(&mut members[1], 4, &[("t", &[1])]);
    assert_eq!(shown(&Assignor::Sticky.assign(&shapes(&[("t", 2)]), &members)), "a: t0; b: t1");
    owns(&mut members[0], 4, &[("t", &[1])]);
    let plan = Assignor::Sticky.assign(&shapes(&[("t", 2)]), &members);
    assert_eq!(shown(&plan), "a: t0; b: t1", "dealt in order");
    // Cooperatively, only those who claim it may have it.
    let plan = Assignor::CooperativeSticky.assign(&shapes(&[("t", 2)]), &members);
    assert_eq!(shown(&plan), "a: t0; b: t1");
}

#[test]
fn sticky_balances_over_chains_when_members_want_different_topics() {
    // a can only unload t on b, and b only u on c.
    let mut members = [member("a", &["t"]), member("b", &["t", "u"]), member("c", &["u"])];
    owns(&mut members[0], 1, &[("t", &[0, 1, 2])]);
    owns(&mut members[1], 1, &[("u", &[0, 1])]);
    let plan = Assignor::Sticky.assign(&shapes(&[("t", 3), ("u", 2)]), &members);
    let counts: Vec<usize> = plan.values().map(|topics| topics.values().map(Vec::len).sum()).collect();
    let mut sorted = counts.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [1, 2, 2], "{}", shown(&plan));
}

/// A small generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n.max(1)
    }
}

#[test]
fn whatever_the_members_every_partition_has_one_owner_that_wants_it() {
    for seed in 0..400 {
        let mut random = Random(seed);
        let topics: Vec<String> = (0..1 + random.below(4)).map(|n| format!("t{n}-")).collect();
        let shapes: TopicShapes =
            topics.iter().map(|name| (Arc::from(name.as_str()), TopicShape::without_racks(random.below(8)))).collect();
        let mut members = Vec::new();
        for n in 0..1 + random.below(5) {
            let wanted: Vec<&str> = topics.iter().filter(|_| random.below(3) > 0).map(String::as_str).collect();
            members.push(member(&format!("m{n}"), &wanted));
        }
        for assignor in Assignor::ALL {
            // Round after round: everybody comes back with what it got.
            for generation in 0..3 {
                let plan = assignor.assign(&shapes, &members);
                let mut seen = BTreeSet::new();
                for (id, topics) in &plan {
                    let member = members.iter().find(|m| m.member_id == *id).unwrap();
                    for (topic, partitions) in topics {
                        assert!(member.subscription.topics.contains(topic), "seed {seed} {assignor}: {}", shown(&plan));
                        for partition in partitions {
                            assert!(
                                seen.insert((topic.clone(), *partition)),
                                "seed {seed} {assignor}: {}",
                                shown(&plan)
                            );
                        }
                    }
                }
                for (topic, shape) in &shapes {
                    let wanted = members.iter().any(|m| m.subscription.topics.contains(topic));
                    for partition in 0..shape.racks.len() {
                        let given = seen.contains(&(topic.clone(), number(partition)));
                        assert_eq!(given, wanted, "seed {seed} {assignor} {topic}{partition}: {}", shown(&plan));
                    }
                }
                for member in &mut members {
                    let owned: Vec<(&str, &[i32])> =
                        plan[&member.member_id].iter().map(|(t, ps)| (&**t, ps.as_slice())).collect();
                    owns(member, generation, &owned);
                }
                if generation > 0 && matches!(assignor, Assignor::Sticky | Assignor::CooperativeSticky) {
                    let again = assignor.assign(&shapes, &members);
                    assert_eq!(shown(&again), shown(&plan), "seed {seed}: nothing has changed");
                }
            }
            for member in &mut members {
                owns(member, 0, &[]);
            }
        }
    }
}

#[test]
fn a_member_is_cooperative_only_if_all_its_assignors_are() {
    use RebalanceProtocol::{Cooperative, Eager};
    assert_eq!(Assignor::rebalance_protocol(&[Assignor::CooperativeSticky]), Cooperative);
    assert_eq!(Assignor::rebalance_protocol(&[Assignor::CooperativeSticky, Assignor::Range]), Eager);
    assert_eq!(Assignor::rebalance_protocol(&[Assignor::Sticky]), Eager);
    assert_eq!(
        Assignor::named("org.apache.kafka.clients.consumer.CooperativeStickyAssignor"),
        Some(Assignor::CooperativeSticky)
    );
    assert_eq!(Assignor::named("roundrobin"), Some(Assignor::RoundRobin));
    assert_eq!(Assignor::named("uniform"), None);
}
