//! forebay's assignors next to Kafka's own, on the same random memberships.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forebay::kafka::Assignor;
use forebay::kafka::msg::{AssignmentData, NamedPartitions, SubscriptionData};
use forebay::kafka::state::assign::{GroupMember, Plan, TopicShape, TopicShapes};
use forebay_proto_tests::java::{self, KAFKA_4_4_0};
use forebay_proto_tests::process::run;

const MEMBERSHIPS: &str = "300";

struct Case {
    assignor: Assignor,
    topics: TopicShapes,
    members: Vec<GroupMember>,
    java: Plan,
    line: String,
}

fn unhex(text: &str) -> Bytes {
    let digit = |c: &u8| char::from(*c).to_digit(16).and_then(|d| u8::try_from(d).ok()).expect("a hex digit");
    text.as_bytes().chunks(2).map(|pair| digit(&pair[0]) * 16 + digit(&pair[1])).collect::<Vec<u8>>().into()
}

fn case(line: &str) -> Case {
    let fields: Vec<&str> = line.split('\t').collect();
    let [name, topics, members, assignments] = fields[..] else { panic!("not four fields: {line}") };
    let topic = |text: &str| {
        let (name, partitions) = text.split_once('=').expect("name=partitions");
        let racks = |part: &str| part.split('+').filter(|rack| !rack.is_empty()).map(Arc::from).collect();
        (Arc::from(name), TopicShape { racks: partitions.split('/').map(racks).collect() })
    };
    let mut found = Vec::new();
    for text in members.split(';') {
        let parts: Vec<&str> = text.split('|').collect();
        let bytes = unhex(parts[2]);
        let subscription = SubscriptionData::decode(&bytes).expect("Java wrote it");
        assert_eq!(
            subscription.encode().expect("it fits"),
            bytes,
            "the same subscription in our bytes: {subscription:?}"
        );
        found.push(GroupMember {
            member_id: parts[0].into(),
            group_instance_id: Some(parts[1]).filter(|id| !id.is_empty()).map(Arc::from),
            subscription,
        });
    }
    let mut java = Plan::new();
    for text in assignments.split(';') {
        let (id, hex) = text.split_once('|').expect("id|assignment");
        let bytes = unhex(hex);
        let mut data = AssignmentData::decode(&bytes).expect("Java wrote it");
        data.partitions.values_mut().for_each(|partitions| partitions.sort_unstable());
        let ours = data.encode().expect("it fits");
        // Java lists topics and partitions in the order in which they were given.
        assert_eq!((ours.len(), &ours[..2]), (bytes.len(), &bytes[..2]), "the same assignment in our bytes: {data:?}");
        if data.partitions.len() <= 1 && data.partitions.values().all(|partitions| partitions.len() <= 1) {
            assert_eq!(ours, bytes);
        }
        java.insert(id.into(), data.partitions);
    }
    Case {
        assignor: Assignor::named(name).expect("an assignor"),
        topics: topics.split(';').map(topic).collect(),
        members: found,
        java,
        line: line.to_owned(),
    }
}

fn size(topics: &NamedPartitions) -> usize {
    topics.values().map(Vec::len).sum()
}

/// Java's balance score: the sum of differences between all pairs of members.
fn imbalance(plan: &Plan) -> usize {
    let sizes: Vec<usize> = plan.values().map(size).collect();
    let pairs = sizes.iter().enumerate().flat_map(|(at, a)| sizes[at + 1..].iter().map(move |b| a.abs_diff(*b)));
    pairs.sum()
}

fn pairs(topics: &NamedPartitions) -> BTreeSet<(Arc<str>, i32)> {
    topics.iter().flat_map(|(topic, partitions)| partitions.iter().map(move |p| (topic.clone(), *p))).collect()
}

/// How many partitions stay with the member that had them.
fn kept(plan: &Plan, before: &BTreeMap<Arc<str>, BTreeSet<(Arc<str>, i32)>>) -> usize {
    plan.iter().map(|(id, topics)| before.get(id).map_or(0, |had| pairs(topics).intersection(had).count())).sum()
}

#[test]
fn assignments_are_those_of_javas_assignors() {
    let mut program = java::program(KAFKA_4_4_0, "Assignors");
    program.arg(MEMBERSHIPS);
    let output = run(program, b"", Duration::from_secs(120)).expect_success();
    let cases: Vec<Case> = output.stdout_text().lines().map(case).collect();
    assert_eq!(cases.len(), 300 * 4 * 3);
    let (mut equal, mut kept_ours, mut kept_java) = (0, 0, 0);
    for case in &cases {
        let mut plan = case.assignor.assign(&case.topics, &case.members);
        for topics in plan.values_mut() {
            topics.values_mut().for_each(|partitions| partitions.sort_unstable());
        }
        match case.assignor {
            Assignor::Range | Assignor::RoundRobin => assert_eq!(plan, case.java, "{}", case.line),
            Assignor::Sticky | Assignor::CooperativeSticky => {
                equal += usize::from(plan == case.java);
                let has_racks = case.topics.values().any(|shape| shape.racks.iter().any(|racks| !racks.is_empty()));
                let uniform = case.members.iter().all(|m| m.subscription.topics.len() == case.topics.len());
                let before: BTreeMap<Arc<str>, BTreeSet<(Arc<str>, i32)>> = case
                    .members
                    .iter()
                    .map(|member| {
                        let data = &member.subscription.user_data;
                        let had = match (case.assignor, data) {
                            (Assignor::Sticky, Some(data)) if !data.is_empty() => {
                                forebay::kafka::msg::decode_sticky_data(data).expect("Java wrote it").0
                            }
                            (Assignor::Sticky, _) => NamedPartitions::new(),
                            _ => member.subscription.owned.clone(),
                        };
                        (member.member_id.clone(), pairs(&had))
                    })
                    .collect();
                if case.assignor == Assignor::Sticky {
                    assert!(
                        imbalance(&plan) <= imbalance(&case.java),
                        "ours {} {plan:?}, Java's {}\n{}",
                        imbalance(&plan),
                        imbalance(&case.java),
                        case.line
                    );
                }
                let (ours, theirs) = (kept(&plan, &before), kept(&case.java, &before));
                if !has_racks && uniform {
                    assert!(ours >= theirs, "we keep {ours}, Java keeps {theirs}: {plan:?}\n{}", case.line);
                }
                if !has_racks && (uniform || imbalance(&plan) == imbalance(&case.java)) {
                    kept_ours += ours;
                    kept_java += theirs;
                }
            }
        }
    }
    // With different subscriptions neither search is exhaustive; they may differ by a partition in a thousand.
    assert!(kept_ours * 1000 >= kept_java * 999, "over all we keep {kept_ours}, Java keeps {kept_java}");
    assert!(equal > 0, "some sticky assignments are even equal");
}
