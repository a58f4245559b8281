//! Groups with members of three clients: forebay, Java's consumer, librdkafka. Real brokers, Kafka's own tools.
//!
//! Every member prints what it reads and commits; the judge is the ledger of all these lines, and ConsumerGroupCommand.
//! A plain run is quick. `./proto-tests/run groups` takes 1,000,000 records (`FOREBAY_GROUP_RECORDS`) and every assignor.

mod assignors;
mod ledger;
mod member;
mod semantics;

use std::time::{Duration, Instant};

use forebay_proto_tests::java;
use forebay_proto_tests::kafka::{GroupRow, KafkaCluster, Version};
use forebay_proto_tests::process::run;
use forebay_proto_tests::scratch::Scratch;

use self::ledger::Ledger;
use self::member::{Kind, Member};

/// How the partitions are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Division {
    /// A classic group with this `partition.assignment.strategy`.
    Assignor(&'static str),
    /// KIP-848.
    Broker,
}

impl Division {
    /// By which `FOREBAY_GROUP_ASSIGNORS` names it.
    const fn name(self) -> &'static str {
        match self {
            Self::Assignor(name) => name,
            Self::Broker => "broker",
        }
    }
}

/// One crowd of members over one topic.
struct Crowd {
    cluster: &'static str,
    version: Version,
    division: Division,
    records: usize,
    /// The first to come, who leads as long as it stays.
    first: Kind,
}

/// How many records; more than a plain run has is the word `groups`.
fn records() -> Option<usize> {
    let text = std::env::var("FOREBAY_GROUP_RECORDS").ok()?;
    Some(text.parse().expect("FOREBAY_GROUP_RECORDS is a number"))
}

const PARTITIONS: u16 = 12;
/// How long a crowd may take for its records on a busy machine.
const CROWD_LIMIT: Duration = Duration::from_secs(600);

impl Crowd {
    /// Whose consumer Java's members are: that of the broker's version, unless librdkafka is beside it and a cooperative assignor of
    /// before 3.2 may lead. That one takes partitions away from members that do not tell their generation, as librdkafka does not,
    /// and gives them to others at once, without the round in between in which the owner gives them up: with three partitions of
    /// librdkafka's and a newcomer, 2.8.2's own `CooperativeStickyAssignor.assign` gives two of them to the newcomer, 4.4.0's none.
    fn java(&self) -> &'static str {
        let is_unfair = self.division == Division::Assignor("cooperative-sticky") && self.version < Version::V3_3_2;
        if is_unfair && self.first != Kind::Java { java::KAFKA_4_4_0 } else { self.version.jars() }
    }

    /// Whether the client of this broker's version, and librdkafka, know the assignor, and deal fairly with each other.
    fn has(&self, kind: Kind) -> bool {
        match (kind, self.division) {
            (Kind::Librdkafka, Division::Assignor("cooperative-sticky")) => {
                self.version >= Version::V3_3_2 || self.java() != self.version.jars()
            }
            (Kind::Librdkafka, Division::Assignor(names)) => !names.split(',').any(|name| name == "sticky"),
            (Kind::Java, Division::Assignor("cooperative-sticky")) => self.version >= Version::V2_4_1,
            _ => true,
        }
    }

    /// Two members of forebay, two of Java, one of librdkafka; one more of forebay in the place of one that is killed. The
    /// first one leaves in the middle, so that another one leads.
    fn run(&self) {
        let cluster = KafkaCluster::shared(self.version);
        let scratch = Scratch::new("groups");
        let java = if self.java() == self.version.jars() { "" } else { " (Java's client of 4.4.0)" };
        let title = format!("{:?} on {}, {:?} first{java}", self.division, self.cluster, self.first);
        let name = format!("{:?}-{:?}", self.division, self.first).to_lowercase();
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let (topic, group) = (format!("topic-{name}"), format!("group-{name}"));
        cluster.create_topic(&topic, PARTITIONS, 1);
        // Small bites, so that members come and go in the middle of the work.
        let (bite, pause) = if self.records > 100_000 { ("65536", "100") } else { ("4096", "150") };
        let mut properties = vec![("max.partition.fetch.bytes", bite), ("pause.ms", pause)];
        match self.division {
            Division::Assignor(names) => {
                properties.extend([
                    ("partition.assignment.strategy", names),
                    ("session.timeout.ms", "6000"),
                    ("heartbeat.interval.ms", "500"),
                ]);
            }
            Division::Broker => properties.push(("group.protocol", "consumer")),
        }
        let jars = self.java();
        let start =
            |name: &str, kind| Member::start(name, (kind, jars), &cluster, scratch.path(), &group, &topic, &properties);
        let others = [(Kind::Forebay, "forebay-b"), (Kind::Java, "java-b"), (Kind::Librdkafka, "librdkafka-b")];
        let mut members = vec![start("first", self.first)];
        members[0].wait_assigned();
        let crowd = [(Kind::Forebay, "forebay-a"), (Kind::Java, "java-a")];
        for (kind, name) in crowd.into_iter().filter(|(kind, _)| *kind != self.first).chain(others) {
            if self.has(kind) {
                members.push(start(name, kind));
            }
        }
        for member in &mut members {
            member.wait_assigned();
        }
        if self.first == Kind::Forebay && self.division != Division::Broker {
            assert!(members[0].leads(), "{title}: the first member leads\n{}", members[0].text());
        }
        // Nothing is there before all are.
        let mut produce = java::program(cluster.version().jars(), "ProduceMany");
        produce.args([&cluster.servers(), &topic, &PARTITIONS.to_string(), &self.records.to_string()]);
        let _output = run(produce, b"", CROWD_LIMIT).expect_success();
        let ends = cluster.offsets(&topic, -1);
        let total: i64 = ends.iter().map(|(_, end)| end).sum();
        assert_eq!(usize::try_from(total), Ok(self.records), "{title}");

        let progress = |members: &[Member]| {
            let mut ledger = Ledger::default();
            for member in members {
                ledger.add(&member.name, &member.text());
            }
            ledger
        };
        let deadline = Instant::now() + CROWD_LIMIT;
        let wait = |members: &[Member], what: &str, enough: &dyn Fn(&Ledger) -> bool| {
            while !enough(&progress(members)) {
                assert!(Instant::now() < deadline, "{title}: no {what}: {}", told(members));
                std::thread::sleep(Duration::from_millis(200));
            }
        };
        // One of forebay's is killed with work in its hands.
        wait(&members, "tenth of the records", &|ledger| ledger.read() > total / 10);
        let victim = members.iter().position(|member| member.name == "forebay-b").expect("it is in the crowd");
        members[victim].kill();
        members.push(start("forebay-c", Kind::Forebay));
        wait(&members, "third of the records", &|ledger| ledger.read() > total / 3);
        // The leader leaves.
        members[0].leave();
        wait(&members, "commit of everything", &|ledger| {
            let committed = ledger.committed(&topic);
            let told = ends.iter().all(|(partition, end)| committed.get(partition).is_some_and(|offset| offset >= end));
            // Who is killed between a commit and its line has committed all the same, as only the broker can tell.
            let is_whole = |rows: Vec<GroupRow>| !rows.is_empty() && rows.iter().all(|row| row.committed == row.end);
            told || ledger.read() >= total && is_whole(cluster.group(&group))
        });
        for member in &mut members {
            member.leave();
        }

        let ledger = progress(&members);
        let mut faults = ledger.faults(&topic, &ends);
        faults.extend(members.iter().flat_map(Member::complaints));
        assert!(faults.is_empty(), "{title}:\n{}\n{}", faults.join("\n"), told(&members));
        for row in cluster.group(&group) {
            assert_eq!(row.committed, row.end, "{title}: {row:?}, as Kafka's tool says");
        }
        for kind in [Kind::Forebay, Kind::Java, Kind::Librdkafka] {
            let mut own = Ledger::default();
            for member in members.iter().filter(|member| member.kind == kind) {
                own.add(&member.name, &member.text());
            }
            assert!(own.read() > 0 || !self.has(kind), "{title}: {kind:?} read nothing\n{}", told(&members));
        }
        say(&format!("{title}: {total} records, {} read twice from uncommitted work", ledger.read() - total));
    }
}

/// The last lines of every member but for what it reads.
fn told(members: &[Member]) -> String {
    let part = |member: &Member| {
        let text = member.text();
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains(" read ")).collect();
        let from = lines.len().saturating_sub(25);
        format!("--- {}\n{}", member.name, lines[from..].join("\n"))
    };
    members.iter().map(part).collect::<Vec<_>>().join("\n")
}

#[expect(clippy::print_stdout, reason = "the figures of `./proto-tests/run groups`")]
fn say(line: &str) {
    println!("{line}");
}

fn crowds(version: Version, quick: &[(Division, Kind)]) {
    let full: Vec<(Division, Kind)> = {
        let mut all = vec![
            (Division::Assignor("range"), Kind::Forebay),
            (Division::Assignor("range"), Kind::Java),
            (Division::Assignor("roundrobin"), Kind::Forebay),
            (Division::Assignor("roundrobin"), Kind::Librdkafka),
            (Division::Assignor("sticky"), Kind::Forebay),
            (Division::Assignor("sticky"), Kind::Java),
        ];
        if version >= Version::V2_4_1 {
            all.extend([
                (Division::Assignor("cooperative-sticky"), Kind::Forebay),
                (Division::Assignor("cooperative-sticky"), Kind::Java),
                (Division::Assignor("cooperative-sticky"), Kind::Librdkafka),
            ]);
        }
        if version >= Version::V4_0_2 {
            all.push((Division::Broker, Kind::Forebay));
        }
        all
    };
    let only = std::env::var("FOREBAY_GROUP_ASSIGNORS").ok();
    let is_wanted = |division: Division| {
        only.as_ref().is_none_or(|only| only.split_whitespace().any(|name| name == division.name()))
    };
    let (wanted, records) = match records() {
        Some(records) => (full.as_slice(), records),
        None => (quick, 12_000),
    };
    let wanted: Vec<_> = wanted.iter().filter(|(division, _)| is_wanted(*division)).collect();
    if wanted.is_empty() {
        return;
    }
    let _held = KafkaCluster::shared(version);
    for (division, first) in wanted {
        let cluster = version.name();
        Crowd { cluster, version, division: *division, records, first: *first }.run();
    }
}

#[test]
fn a_mixed_group_on_1_0_1_loses_nothing_and_repeats_only_uncommitted_work() {
    crowds(Version::V1_0_1, &[(Division::Assignor("roundrobin"), Kind::Java)]);
}

#[test]
fn a_mixed_group_on_2_8_2_loses_nothing_and_repeats_only_uncommitted_work() {
    crowds(Version::V2_8_2, &[(Division::Assignor("cooperative-sticky"), Kind::Forebay)]);
}

#[test]
fn a_mixed_group_on_4_4_0_loses_nothing_and_repeats_only_uncommitted_work() {
    crowds(Version::V4_4_0, &[(Division::Broker, Kind::Forebay)]);
}
