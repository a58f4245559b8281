#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic)]

use super::*;
use crate::kafka::msg::{AssignmentData, IdPartitions, JoinedMember, NamedPartitions, SubscriptionData};
use crate::kafka::state::assign::TopicShape;

/// A member with a clock; `E` is a text.
struct Bench {
    member: Member<&'static str>,
    now: Instant,
}

fn options(protocol: GroupProtocol) -> MemberOptions {
    MemberOptions {
        group: "g".into(),
        group_instance_id: None,
        rack: None,
        protocol,
        session_timeout: Duration::from_secs(45),
        heartbeat_interval: Duration::from_secs(3),
        poll_interval_max: Duration::from_secs(300),
        metadata_age_max: Duration::from_secs(60),
        retry_backoff: Duration::from_millis(100),
        retry_backoff_max: Duration::from_secs(1),
        member_id: "own".into(),
        seed: 1,
    }
}

fn classic(assignors: &[Assignor]) -> GroupProtocol {
    GroupProtocol::Classic { assignors: assignors.to_vec() }
}

fn partitions(names: &str) -> Vec<TopicPartition> {
    let one = |name: &str| {
        let (topic, partition) = name.split_at(1);
        TopicPartition { topic: topic.into(), partition: partition.parse().unwrap() }
    };
    names.split_whitespace().map(one).collect()
}

fn assignment(names: &str) -> bytes::Bytes {
    let mut topics = NamedPartitions::new();
    for p in partitions(names) {
        topics.entry(p.topic).or_default().push(p.partition);
    }
    AssignmentData { partitions: topics, user_data: None }.encode().unwrap()
}

/// `assigned 1: t0 t1`.
fn shown(change: Option<Change>) -> String {
    let list = |partitions: &[TopicPartition]| {
        partitions.iter().map(|p| format!("{}{}", p.topic, p.partition)).collect::<Vec<_>>().join(" ")
    };
    match change {
        Some(Change::Assigned { generation, partitions }) => {
            format!("assigned {}: {}", generation.number, list(&partitions))
        }
        Some(Change::Revoked { generation, partitions }) => {
            format!("revoked {}: {}", generation.number, list(&partitions))
        }
        Some(Change::Lost { partitions }) => format!("lost: {}", list(&partitions)),
        None => "nothing".to_owned(),
    }
}

impl Bench {
    fn new(options: MemberOptions, topics: &[&str]) -> Self {
        let now = Instant::now();
        let mut bench = Self { member: Member::new(now, options), now };
        bench.subscribe(topics);
        bench
    }

    fn subscribe(&mut self, topics: &[&str]) {
        let names = topics.iter().map(|topic| Arc::from(*topic)).collect();
        self.member.subscribe(self.now, Wanted { names, pattern: None });
    }

    fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    fn order(&mut self) -> Option<Order> {
        self.member.poll_order(self.now)
    }

    fn answer(&mut self, answer: Answer<&'static str>) {
        self.member.handle(self.now, answer);
    }

    /// Takes the next change and deals with it.
    fn change(&mut self) -> String {
        let change = self.member.poll_change();
        self.member.acknowledge();
        shown(change)
    }

    fn find_coordinator(&mut self) {
        let order = self.order();
        assert!(matches!(order, Some(Order::Coordinator)), "{order:?}");
        self.answer(Answer::Coordinator(Ok(1)));
    }

    fn join_call(&mut self) -> JoinGroupCall {
        match self.order() {
            Some(Order::Join(call)) => call,
            other => panic!("a join is due, not {other:?}; {:?}", self.member),
        }
    }

    fn joined(&mut self, error: ErrorCode, generation: i32, leads: bool) {
        let member_id = "m1".to_owned();
        let leader = if leads { "m1" } else { "m2" }.to_owned();
        let metadata = SubscriptionData { topics: vec!["t".into()], ..SubscriptionData::default() }.encode().unwrap();
        let members = [("m1", leads), ("m2", leads)].into_iter().filter(|(_, told)| *told);
        let member = |(id, _): (&str, bool)| JoinedMember {
            member_id: id.to_owned(),
            group_instance_id: None,
            metadata: metadata.clone(),
        };
        self.answer(Answer::Join(Ok(JoinGroupAnswer {
            throttle_ms: 0,
            error,
            generation,
            protocol: match &self.member {
                Member::Classic(_) => "cooperative-sticky".to_owned(),
                Member::Consumer(_) => String::new(),
            },
            leader,
            skip_assignment: false,
            member_id,
            members: members.map(member).collect(),
        })));
    }

    fn joined_as(&mut self, protocol: &str, generation: i32) {
        self.answer(Answer::Join(Ok(JoinGroupAnswer {
            throttle_ms: 0,
            error: ErrorCode::NONE,
            generation,
            protocol: protocol.to_owned(),
            leader: "m2".to_owned(),
            skip_assignment: false,
            member_id: "m1".to_owned(),
            members: Vec::new(),
        })));
    }

    fn sync(&mut self, error: ErrorCode, names: &str) {
        let order = self.order();
        assert!(matches!(order, Some(Order::Sync(_))), "{order:?}");
        let assignment = if names == "-" { bytes::Bytes::new() } else { assignment(names) };
        self.answer(Answer::Sync(Ok(SyncGroupAnswer { throttle_ms: 0, error, assignment })));
    }

    fn beat(&mut self, error: ErrorCode) {
        self.wait(3000);
        let order = self.order();
        assert!(matches!(order, Some(Order::Heartbeat(_))), "{order:?}");
        self.answer(Answer::Heartbeat(Ok(HeartbeatAnswer { throttle_ms: 0, error })));
    }
}

/// A member of generation 1 that has `names`.
fn member_with(protocol: GroupProtocol, name: &str, names: &str) -> Bench {
    let mut bench = Bench::new(options(protocol), &["t"]);
    bench.find_coordinator();
    bench.join_call();
    bench.joined_as(name, 1);
    bench.sync(ErrorCode::NONE, names);
    bench.change();
    bench
}

fn eager() -> Bench {
    member_with(classic(&[Assignor::Range]), "range", "t0 t1")
}

fn cooperative() -> Bench {
    member_with(classic(&[Assignor::CooperativeSticky]), "cooperative-sticky", "t0 t1")
}

#[test]
fn a_member_id_that_is_required_comes_with_a_second_join() {
    let mut bench = Bench::new(options(classic(&[Assignor::Range])), &["t"]);
    bench.find_coordinator();
    assert_eq!(&*bench.join_call().member_id, "");
    bench.joined(ErrorCode::MEMBER_ID_REQUIRED, -1, false);
    assert_eq!(&*bench.join_call().member_id, "m1");
}

#[test]
fn an_eager_member_gives_everything_up_before_it_joins_again() {
    let mut bench = eager();
    assert_eq!(bench.member.owned(), partitions("t0 t1"));
    bench.beat(ErrorCode::NONE);
    bench.beat(ErrorCode::REBALANCE_IN_PROGRESS);
    assert!(bench.order().is_none(), "the caller first");
    let change = bench.member.poll_change();
    assert_eq!(shown(change), "revoked 1: t0 t1");
    // While the caller commits, the member stays alive, and the partitions are still its own.
    bench.beat(ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(bench.member.owned(), partitions("t0 t1"));
    assert!(bench.order().is_none());
    bench.member.acknowledge();
    let call = bench.join_call();
    assert_eq!(&*call.member_id, "m1");
    let sent = SubscriptionData::decode(&call.protocols[0].1).unwrap();
    assert!(sent.owned.is_empty() && bench.member.owned().is_empty());
    bench.joined_as("range", 2);
    bench.sync(ErrorCode::NONE, "t1");
    assert_eq!(bench.change(), "assigned 2: t1");
}

#[test]
fn a_cooperative_member_keeps_what_it_has_and_gives_up_only_what_it_is_told_to() {
    let mut bench = cooperative();
    bench.beat(ErrorCode::REBALANCE_IN_PROGRESS);
    let call = bench.join_call();
    let sent = SubscriptionData::decode(&call.protocols[0].1).unwrap();
    assert_eq!(sent.owned, NamedPartitions::from([("t".into(), vec![0, 1])]));
    assert_eq!(sent.generation, Some(1));
    bench.joined_as("cooperative-sticky", 2);
    bench.sync(ErrorCode::NONE, "t1 t2");
    assert_eq!(shown(bench.member.poll_change()), "revoked 2: t0");
    assert!(bench.order().is_none() && bench.member.poll_change().is_none(), "the caller first");
    bench.member.acknowledge();
    assert_eq!(bench.change(), "assigned 2: t2");
    // Whoever waits for t0 gets it in the next round.
    let call = bench.join_call();
    let sent = SubscriptionData::decode(&call.protocols[0].1).unwrap();
    assert_eq!(sent.owned, NamedPartitions::from([("t".into(), vec![1, 2])]));
    bench.joined_as("cooperative-sticky", 3);
    bench.sync(ErrorCode::NONE, "t1 t2");
    assert_eq!(bench.change(), "assigned 3: ");
    assert!(bench.order().is_none());
    assert_eq!(bench.member.standing(), Standing::Stable);
}

#[test]
fn a_member_that_offers_both_kinds_joins_eagerly() {
    let both = classic(&[Assignor::CooperativeSticky, Assignor::Range]);
    let mut bench = member_with(both, "cooperative-sticky", "t0");
    bench.beat(ErrorCode::REBALANCE_IN_PROGRESS);
    assert!(bench.order().is_none());
    assert_eq!(bench.change(), "revoked 1: t0");
    let call = bench.join_call();
    let names: Vec<&str> = call.protocols.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["cooperative-sticky", "range"]);
}

#[test]
fn empty_assignments_of_both_kinds_are_valid_and_heartbeats_go_on() {
    for names in ["-", ""] {
        let mut bench = member_with(classic(&[Assignor::Range]), "range", names);
        assert_eq!(bench.member.standing(), Standing::Stable);
        bench.beat(ErrorCode::NONE);
        bench.beat(ErrorCode::NONE);
        assert!(bench.member.owned().is_empty() && bench.change() == "nothing");
    }
}

#[test]
fn what_each_code_of_a_heartbeat_means() {
    // Code, what the caller hears, the member id of the next join.
    let table = [
        (ErrorCode::UNKNOWN_MEMBER_ID, "lost: t0 t1", Some("")),
        (ErrorCode::ILLEGAL_GENERATION, "lost: t0 t1", Some("m1")),
        (ErrorCode::FENCED_INSTANCE_ID, "lost: t0 t1", None),
        (ErrorCode::GROUP_AUTHORIZATION_FAILED, "lost: t0 t1", None),
    ];
    for (code, heard, id) in table {
        for mut bench in [eager(), cooperative()] {
            bench.beat(code);
            assert!(bench.order().is_none(), "{code}: the caller first");
            assert!(bench.member.generation().is_none(), "{code}: nothing may be committed any more");
            assert_eq!(bench.change(), heard, "{code}");
            match id {
                Some(id) => {
                    let call = bench.join_call();
                    assert_eq!(&*call.member_id, id, "{code}");
                    let sent = SubscriptionData::decode(&call.protocols[0].1).unwrap();
                    assert_eq!((sent.owned.len(), sent.generation), (0, None), "{code}");
                }
                None => {
                    assert_eq!(bench.member.ended().unwrap().cause, EndCause::Code(code, None));
                    assert!(bench.order().is_none() && bench.member.poll_timeout().is_none());
                }
            }
        }
    }
    for code in [ErrorCode::NOT_COORDINATOR, ErrorCode::COORDINATOR_NOT_AVAILABLE] {
        let mut bench = eager();
        bench.beat(code);
        assert!(bench.order().is_none(), "a pause");
        bench.now = bench.member.poll_timeout().unwrap();
        bench.find_coordinator();
        assert!(matches!(bench.order(), Some(Order::Heartbeat(call)) if call.generation == 1), "{code}");
        assert_eq!(bench.member.owned().len(), 2, "{code}: nothing is lost");
    }
    let mut bench = eager();
    bench.beat(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    assert!(bench.order().is_none());
    bench.beat(ErrorCode::NONE);
}

#[test]
fn what_each_code_of_a_join_and_a_sync_means() {
    let fatal = [
        ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        ErrorCode::INVALID_SESSION_TIMEOUT,
        ErrorCode::FENCED_INSTANCE_ID,
        ErrorCode::GROUP_MAX_SIZE_REACHED,
        ErrorCode::GROUP_AUTHORIZATION_FAILED,
    ];
    for code in fatal {
        let mut bench = Bench::new(options(classic(&[Assignor::Range])), &["t"]);
        bench.find_coordinator();
        bench.join_call();
        bench.joined(code, -1, false);
        assert_eq!(bench.member.ended().unwrap().cause, EndCause::Code(code, None));
        assert_eq!(bench.member.standing(), Standing::Failed);
    }
    let again = [
        (ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, false),
        (ErrorCode::REBALANCE_IN_PROGRESS, false),
        (ErrorCode::UNKNOWN_MEMBER_ID, false),
        (ErrorCode::NOT_COORDINATOR, true),
    ];
    for (code, finds) in again {
        let mut bench = Bench::new(options(classic(&[Assignor::Range])), &["t"]);
        bench.find_coordinator();
        bench.join_call();
        bench.joined(code, -1, false);
        assert!(bench.order().is_none(), "{code}: a pause");
        bench.now = bench.member.poll_timeout().unwrap();
        if finds {
            bench.find_coordinator();
        }
        bench.join_call();
    }
    for code in [ErrorCode::REBALANCE_IN_PROGRESS, ErrorCode::UNKNOWN_MEMBER_ID, ErrorCode::ILLEGAL_GENERATION] {
        let mut bench = Bench::new(options(classic(&[Assignor::Range])), &["t"]);
        bench.find_coordinator();
        bench.join_call();
        bench.joined_as("range", 3);
        bench.sync(code, "-");
        bench.wait(200);
        let id = bench.join_call().member_id;
        assert_eq!(&*id, if code == ErrorCode::UNKNOWN_MEMBER_ID { "" } else { "m1" }, "{code}");
    }
}

#[test]
fn the_leader_divides_and_looks_at_its_topics_again_from_time_to_time() {
    let mut bench = Bench::new(options(classic(&[Assignor::CooperativeSticky])), &["t"]);
    bench.find_coordinator();
    bench.join_call();
    bench.joined(ErrorCode::NONE, 1, true);
    let topics = |count| TopicsSeen {
        shapes: TopicShapes::from([("t".into(), TopicShape::without_racks(count))]),
        ..TopicsSeen::default()
    };
    assert!(matches!(bench.order(), Some(Order::Topics(Some(names))) if names == ["t".into()]));
    bench.answer(Answer::Topics(Ok(topics(2))));
    let Some(Order::Sync(call)) = bench.order() else { panic!("a sync is due") };
    let given: Vec<(&str, NamedPartitions)> = call
        .assignments
        .iter()
        .map(|(id, bytes)| (id.as_str(), AssignmentData::decode(bytes).unwrap().partitions))
        .collect();
    let part = |partition| NamedPartitions::from([("t".into(), vec![partition])]);
    assert_eq!(given, [("m1", part(0)), ("m2", part(1))]);
    let synced = SyncGroupAnswer { throttle_ms: 0, error: ErrorCode::NONE, assignment: assignment("t0") };
    bench.answer(Answer::Sync(Ok(synced)));
    assert_eq!(bench.change(), "assigned 1: t0");
    assert!(bench.member.is_leader());
    // Nothing new at the first look; at the second one the topic has grown.
    for count in [2, 3] {
        (0..19).for_each(|_| bench.beat(ErrorCode::NONE));
        bench.wait(3_500);
        assert!(matches!(bench.order(), Some(Order::Topics(Some(_)))));
        bench.answer(Answer::Topics(Ok(topics(count))));
    }
    let reason = bench.join_call().reason;
    assert_eq!(reason.as_deref(), Some("the subscribed topics have changed"));
}

#[test]
fn a_pattern_is_matched_before_the_first_join_and_again_later() {
    let now = Instant::now();
    let mut bench = Bench { member: Member::new(now, options(classic(&[Assignor::Range]))), now };
    let pattern = Pattern { text: "t.*".into(), matches: Arc::new(|name: &str| name.starts_with('t')) };
    bench.member.subscribe(bench.now, Wanted { names: BTreeSet::new(), pattern: Some(pattern) });
    let seen = |names: &[&str]| TopicsSeen {
        shapes: names.iter().map(|name| (Arc::from(*name), TopicShape::without_racks(1))).collect(),
        ..TopicsSeen::default()
    };
    assert!(matches!(bench.order(), Some(Order::Topics(None))));
    bench.answer(Answer::Topics(Ok(seen(&["t1", "u"]))));
    bench.find_coordinator();
    let call = bench.join_call();
    assert_eq!(SubscriptionData::decode(&call.protocols[0].1).unwrap().topics, ["t1".into()]);
    bench.joined_as("range", 1);
    bench.sync(ErrorCode::NONE, "-");
    bench.change();
    (0..19).for_each(|_| bench.beat(ErrorCode::NONE));
    bench.wait(3_500);
    assert!(matches!(bench.order(), Some(Order::Topics(None))));
    bench.answer(Answer::Topics(Ok(seen(&["t1", "t2", "u"]))));
    let call = bench.join_call();
    assert_eq!(SubscriptionData::decode(&call.protocols[0].1).unwrap().topics, ["t1".into(), "t2".into()]);
}

#[test]
fn a_coordinator_that_is_silent_for_a_session_has_given_us_up() {
    let mut bench = eager();
    bench.wait(3000);
    assert!(matches!(bench.order(), Some(Order::Heartbeat(_))));
    bench.answer(Answer::Heartbeat(Err(Fault { error: "no route", is_final: false })));
    bench.wait(43_000);
    bench.order();
    assert_eq!(bench.change(), "lost: t0 t1");
    assert!(bench.member.generation().is_none());
}

#[test]
fn a_caller_that_is_away_for_too_long_loses_its_partitions_and_joins_again_when_it_is_back() {
    let mut bench = eager();
    bench.member.set_busy(bench.now);
    for _ in 0..99 {
        bench.beat(ErrorCode::NONE);
    }
    bench.wait(3001);
    let order = bench.order();
    assert!(matches!(&order, Some(Order::Leave(call)) if &*call.member_id == "m1"), "{order:?}");
    bench.answer(Answer::Leave(Ok(LeaveGroupAnswer { throttle_ms: 0, error: ErrorCode::NONE })));
    assert!(bench.order().is_none() && bench.member.generation().is_none());
    bench.member.set_waiting();
    assert_eq!(bench.change(), "lost: t0 t1");
    assert_eq!(&*bench.join_call().member_id, "");
}

#[test]
fn members_leave_and_static_ones_only_fall_silent() {
    let mut bench = eager();
    bench.member.leave();
    assert!(matches!(bench.order(), Some(Order::Leave(call)) if &*call.member_id == "m1"));
    bench.answer(Answer::Leave(Ok(LeaveGroupAnswer { throttle_ms: 0, error: ErrorCode::NONE })));
    assert_eq!(bench.member.standing(), Standing::Left);

    let fixed = MemberOptions { group_instance_id: Some("i".into()), ..options(classic(&[Assignor::Range])) };
    let mut bench = Bench::new(fixed, &["t"]);
    bench.find_coordinator();
    assert_eq!(bench.join_call().group_instance_id.as_deref(), Some("i"));
    bench.joined_as("range", 1);
    bench.sync(ErrorCode::NONE, "t0");
    bench.change();
    bench.member.leave();
    assert!(bench.order().is_none());
    assert_eq!(bench.member.standing(), Standing::Left);
}

#[test]
fn a_refused_commit_tells_how_things_stand() {
    let mut bench = eager();
    let generation = bench.member.generation().unwrap();
    bench.member.refused(bench.now, &generation, ErrorCode::REBALANCE_IN_PROGRESS);
    bench.order();
    assert_eq!(bench.change(), "revoked 1: t0 t1");
    let mut bench = eager();
    let old = Generation { number: 0, ..generation.clone() };
    bench.member.refused(bench.now, &old, ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(bench.change(), "nothing", "an old generation says nothing of this one");
    bench.member.refused(bench.now, &generation, ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(bench.change(), "lost: t0 t1");
}

#[test]
fn a_loss_in_the_middle_of_giving_up_names_only_the_rest() {
    let mut bench = cooperative();
    bench.beat(ErrorCode::REBALANCE_IN_PROGRESS);
    bench.join_call();
    bench.joined_as("cooperative-sticky", 2);
    bench.sync(ErrorCode::NONE, "t1 t2");
    assert_eq!(shown(bench.member.poll_change()), "revoked 2: t0");
    bench.beat(ErrorCode::UNKNOWN_MEMBER_ID);
    bench.member.acknowledge();
    // t2 was never told of.
    assert_eq!(bench.change(), "lost: t1");
}

#[test]
fn topics_that_are_wanted_anew_while_a_join_is_out_are_joined_for_afterwards() {
    let mut bench = Bench::new(options(classic(&[Assignor::CooperativeSticky])), &["t"]);
    bench.find_coordinator();
    bench.join_call();
    bench.subscribe(&["t", "u"]);
    bench.joined_as("cooperative-sticky", 1);
    bench.sync(ErrorCode::NONE, "t0");
    assert_eq!(bench.change(), "assigned 1: t0");
    let call = bench.join_call();
    assert_eq!(SubscriptionData::decode(&call.protocols[0].1).unwrap().topics.len(), 2);
    assert_eq!(call.reason.as_deref(), Some("the subscription has changed"));
}

// --- KIP-848 ---

const BROKER: GroupProtocol = GroupProtocol::Consumer { server_assignor: None };

fn id(n: u8) -> TopicId {
    TopicId::new([n; 16]).unwrap()
}

impl Bench {
    fn consumer_beat(&mut self) -> ConsumerHeartbeatCall {
        match self.order() {
            Some(Order::ConsumerHeartbeat(call)) => call,
            other => panic!("a heartbeat is due, not {other:?}; {:?}", self.member),
        }
    }

    fn told(&mut self, error: ErrorCode, epoch: i32, assignment: Option<IdPartitions>) {
        self.answer(Answer::ConsumerHeartbeat(Ok(ConsumerHeartbeatAnswer {
            throttle_ms: 0,
            error,
            error_message: None,
            member_id: Some("own".to_owned()),
            member_epoch: epoch,
            heartbeat_interval_ms: 5000,
            assignment,
        })));
    }

    fn name_topic(&mut self) {
        assert!(matches!(self.order(), Some(Order::Topics(Some(_)))));
        let names = BTreeMap::from([(id(1), Arc::from("t"))]);
        self.answer(Answer::Topics(Ok(TopicsSeen { names, ..TopicsSeen::default() })));
    }
}

fn of_topic(partitions: &[i32]) -> Option<IdPartitions> {
    Some(IdPartitions::from([(id(1), partitions.to_vec())]))
}

/// A member at epoch 1 that has t0 and t1 and has said so.
fn consumer() -> Bench {
    let mut bench = Bench::new(options(BROKER), &["t"]);
    bench.find_coordinator();
    let call = bench.consumer_beat();
    assert_eq!((call.member_epoch, &*call.member_id, call.rebalance_timeout_ms), (0, "own", 300_000));
    assert_eq!((call.topic_names.map(|names| names.len()), call.owned), (Some(1), Some(IdPartitions::new())));
    bench.told(ErrorCode::NONE, 1, of_topic(&[0, 1]));
    bench.name_topic();
    assert_eq!(bench.change(), "assigned 1: t0 t1");
    let call = bench.consumer_beat();
    assert_eq!((call.member_epoch, call.owned, call.topic_names), (1, of_topic(&[0, 1]), None));
    bench.told(ErrorCode::NONE, 1, None);
    bench
}

#[test]
fn the_broker_is_told_what_was_given_up_only_when_it_was() {
    let mut bench = consumer();
    assert!(bench.order().is_none());
    bench.wait(5000);
    let call = bench.consumer_beat();
    assert!(call.owned.is_none() && call.topic_names.is_none(), "nothing has changed");
    bench.told(ErrorCode::NONE, 2, of_topic(&[1, 2]));
    assert_eq!(shown(bench.member.poll_change()), "revoked 2: t0");
    bench.wait(5000);
    assert_eq!(bench.consumer_beat().owned, None, "alive, and nothing to say yet");
    bench.told(ErrorCode::NONE, 2, None);
    bench.member.acknowledge();
    bench.order();
    assert_eq!(bench.change(), "assigned 2: t2");
    let call = bench.consumer_beat();
    assert_eq!(call.owned, of_topic(&[1, 2]));
}

#[test]
fn a_fenced_epoch_loses_everything_and_joins_with_the_same_id() {
    for code in [ErrorCode::FENCED_MEMBER_EPOCH, ErrorCode::UNKNOWN_MEMBER_ID] {
        let mut bench = consumer();
        bench.wait(5000);
        bench.consumer_beat();
        bench.told(code, 0, None);
        bench.wait(1000);
        assert!(bench.order().is_none(), "the caller first");
        assert_eq!(bench.change(), "lost: t0 t1");
        let call = bench.consumer_beat();
        assert_eq!((call.member_epoch, &*call.member_id, call.owned), (0, "own", Some(IdPartitions::new())));
    }
}

#[test]
fn codes_of_the_new_protocol_that_end_a_membership() {
    for code in [
        ErrorCode::UNRELEASED_INSTANCE_ID,
        ErrorCode::FENCED_INSTANCE_ID,
        ErrorCode::UNSUPPORTED_ASSIGNOR,
        ErrorCode::INVALID_REGULAR_EXPRESSION,
        ErrorCode::UNSUPPORTED_VERSION,
    ] {
        let mut bench = Bench::new(options(BROKER), &["t"]);
        bench.find_coordinator();
        bench.consumer_beat();
        bench.told(code, 0, None);
        assert_eq!(bench.member.ended().unwrap().cause, EndCause::Code(code, None));
    }
}

#[test]
fn a_stale_epoch_asks_the_broker_at_once_and_a_lost_answer_says_everything_again() {
    let mut bench = consumer();
    let generation = bench.member.generation().unwrap();
    bench.member.refused(bench.now, &generation, ErrorCode::STALE_MEMBER_EPOCH);
    bench.consumer_beat();
    bench.answer(Answer::ConsumerHeartbeat(Err(Fault { error: "reset", is_final: false })));
    bench.wait(1000);
    bench.find_coordinator();
    let call = bench.consumer_beat();
    assert_eq!((call.member_epoch, call.owned), (1, of_topic(&[0, 1])));
    assert!(call.topic_names.is_some() && call.rebalance_timeout_ms > 0);
}

#[test]
fn members_of_the_new_protocol_leave_with_an_epoch_of_their_own() {
    for (instance, epoch) in [(None, -1), (Some("i"), -2)] {
        let fixed = MemberOptions { group_instance_id: instance.map(Arc::from), ..options(BROKER) };
        let mut bench = Bench::new(fixed, &["t"]);
        bench.find_coordinator();
        bench.consumer_beat();
        bench.told(ErrorCode::NONE, 1, None);
        bench.member.leave();
        assert_eq!(bench.consumer_beat().member_epoch, epoch);
        bench.told(ErrorCode::NONE, epoch, None);
        assert_eq!(bench.member.standing(), Standing::Left);
    }
}
