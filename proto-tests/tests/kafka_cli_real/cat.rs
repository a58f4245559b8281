//! `forebay cat` as a member of a group and as a producer, next to the real kcat on real clusters.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Instant;

use forebay_proto_tests::cli::forebay;
use forebay_proto_tests::kafka::{KafkaCluster, Version};
use forebay_proto_tests::process::{Output, Server, command, run};
use forebay_proto_tests::scratch::Scratch;
use rustix::process::Signal;

use crate::LIMIT;

/// Either program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Kcat,
    Ours,
}

struct Bench {
    cluster: std::sync::Arc<KafkaCluster>,
    scratch: Scratch,
}

impl Bench {
    fn new(version: Version) -> Self {
        Self { cluster: KafkaCluster::shared(version), scratch: Scratch::new("cat") }
    }

    fn command(&self, whose: Whose, words: &[&str]) -> Command {
        let mut program = match whose {
            Whose::Kcat => command("kcat"),
            Whose::Ours => {
                let mut forebay = forebay(&self.scratch);
                forebay.arg("cat");
                forebay
            }
        };
        program.current_dir(self.scratch.path()).args(["-b", &self.cluster.servers()]).args(words);
        program
    }

    fn run(&self, whose: Whose, input: &str, words: &[&str]) -> Output {
        run(self.command(whose, words), input.as_bytes(), LIMIT)
    }
}

/// A member's id is its own.
fn masked(text: &str) -> String {
    let mut parts = text.split("memberid ");
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        masked += "memberid M";
        masked += part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '-');
    }
    masked
}

/// Both programs with the same words, each in a group of its own: the same records, the same talk, the same offsets kept.
fn alone(version: Version) {
    let bench = Bench::new(version);
    bench.cluster.create_topic("cat-alone", 1, 1);
    let _written = bench.run(Whose::Kcat, "a\nb\nc\nd\n", &["-P", "-t", "cat-alone"]).expect_success();
    let earliest = ["-X", "auto.offset.reset=earliest"];
    for (group, words) in [
        ("all", &[&["-e", "cat-alone"][..], &earliest].concat()[..]),
        ("some", &[&["-c", "2", "cat-alone"][..], &earliest].concat()),
        ("some", &["-e", "cat-alone"]),
        ("some", &["-e", "-o", "beginning", "-q", "cat-alone"]),
        ("tail", &["-e", "-o", "-1", "cat-alone"]),
        ("latest", &["-e", "cat-alone"]),
        ("pattern", &[&["-e", "^cat-alo"][..], &earliest].concat()),
        ("round", &[&["-e", "-X", "partition.assignment.strategy=roundrobin", "cat-alone"][..], &earliest].concat()),
        ("kept", &[&["-e", "-X", "enable.auto.commit=false", "cat-alone"][..], &earliest].concat()),
        ("nothing", &[]),
    ] {
        let told = |whose: Whose| {
            let group = format!("{group}-{whose:?}");
            let output = bench.run(whose, "", &[&["-G", &group][..], words].concat());
            let talk = masked(&output.stderr_text()).replace(&group, "GROUP");
            // Of an error only the beginning is the same: ours says what to do.
            // What librdkafka itself has to say begins with `%` and a number.
            let is_kcats = |line: &&str| line.starts_with("% ");
            let talk = talk.lines().filter(is_kcats).map(|line| match line.starts_with("% ERROR: ") {
                true => line.split(": ").take(2).collect::<Vec<_>>().join(": "),
                false => line.to_owned(),
            });
            let talk: Vec<String> = talk.collect();
            (output.stdout_text(), talk, output.code)
        };
        assert_eq!(told(Whose::Ours), told(Whose::Kcat), "{version:?} {group} {words:?}");
    }
    // kcat commits at its end whatever `enable.auto.commit` says. Here the setting counts: all of it comes again.
    let kept = ["-G", "kept-Ours", "-e", "-X", "enable.auto.commit=false", "cat-alone", earliest[0], earliest[1]];
    assert_eq!(bench.run(Whose::Ours, "", &kept).expect_success().stdout_text(), "a\nb\nc\nd\n", "{version:?}");
    for group in ["all", "some"] {
        let offsets = |whose: Whose| bench.cluster.group(&format!("{group}-{whose:?}"));
        let (ours, theirs) = (offsets(Whose::Ours), offsets(Whose::Kcat));
        assert_eq!(ours, theirs, "{version:?} {group}");
        assert_eq!(ours.first().and_then(|row| row.committed), Some(4), "{version:?} {group}: {ours:?}");
    }
}

/// One member of the two programs' common group; both outputs go to its log.
fn member(bench: &Bench, whose: Whose, name: &str) -> Server {
    let words = [
        "-u",
        "-G",
        "cat-shared",
        "-X",
        "session.timeout.ms=6000",
        "-X",
        "heartbeat.interval.ms=300",
        "-X",
        "auto.commit.interval.ms=200",
        "-X",
        "auto.offset.reset=earliest",
        "cat-shared",
    ];
    Server::start(name, bench.command(whose, &words), &bench.scratch.path().join(name))
}

/// How many partitions a member has, by what it said last.
fn share(member: &Server) -> usize {
    let text = member.log_text();
    let last = text.lines().rfind(|line| line.contains(" rebalanced (memberid "));
    last.filter(|line| line.contains("assigned: ")).map_or(0, |line| line.matches(" [").count())
}

fn shared(version: Version) {
    let bench = Bench::new(version);
    bench.cluster.create_topic("cat-shared", 6, 1);
    let mut written = 0;
    let mut write = |count: usize| {
        let input: String = (written..written + count).map(|number| format!("message {number}\n")).collect();
        written += count;
        // Half of them each way.
        let whose = if written % 2 == 0 { Whose::Kcat } else { Whose::Ours };
        let _written = bench.run(whose, &input, &["-P", "-t", "cat-shared"]).expect_success();
        written
    };
    let mut members: Vec<Server> = Vec::new();
    let wait = |members: &mut [Server], what: &str, is_so: &dyn Fn(&[Server]) -> bool| {
        let deadline = Instant::now() + LIMIT;
        while !is_so(members) {
            let logs: Vec<String> = members.iter().map(Server::log_tail).collect();
            assert!(Instant::now() < deadline, "{version:?}: no {what}\n{}", logs.join("\n"));
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    };
    let read = |members: &[Server]| -> Vec<usize> {
        let texts: Vec<String> = members.iter().map(Server::log_text).collect();
        let numbers = texts.iter().flat_map(|text| text.lines()).filter_map(|line| line.strip_prefix("message "));
        numbers.map(|number| number.parse().expect("a whole line")).collect()
    };
    members.push(member(&bench, Whose::Kcat, "kcat-1"));
    wait(&mut members, "first assignment", &|members| share(&members[0]) == 6);
    members.push(member(&bench, Whose::Ours, "ours-1"));
    wait(&mut members, "fair shares", &|members| (share(&members[0]), share(&members[1])) == (3, 3));
    let total = write(3_000);
    wait(&mut members, "records", &|members| read(members).len() >= total);
    let by_each: Vec<usize> = members.iter().map(|member| read(std::slice::from_ref(member)).len()).collect();
    assert!(by_each.iter().all(|count| *count > 0), "{by_each:?}");
    let committed = || bench.cluster.group("cat-shared").iter().filter_map(|row| row.committed).sum::<i64>();
    assert_eq!(bench.cluster.group("cat-shared").len(), 6);
    let deadline = Instant::now() + LIMIT;
    while committed() != 3_000 {
        assert!(Instant::now() < deadline, "{} are committed", committed());
    }
    // kcat leaves, ours leads; then the other way round.
    let leave = |member: &mut Server| {
        member.signal(Signal::TERM);
        assert!(member.wait(LIMIT).success(), "{}", member.log_tail());
    };
    leave(&mut members[0]);
    wait(&mut members, "ours alone", &|members| share(&members[1]) == 6);
    let total = write(1_001);
    wait(&mut members, "records", &|members| read(members).len() >= total);
    members.push(member(&bench, Whose::Kcat, "kcat-2"));
    wait(&mut members, "fair shares", &|members| (share(&members[1]), share(&members[2])) == (3, 3));
    leave(&mut members[1]);
    wait(&mut members, "kcat alone", &|members| share(&members[2]) == 6);
    let total = write(1_000);
    wait(&mut members, "records", &|members| read(members).len() >= total);
    leave(&mut members[2]);
    let all = read(&members);
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (total, total), "{version:?}: each once");
    assert_eq!(committed(), 5_001);
    let said = members[1].log_text();
    assert!(!said.contains("Commit failed"), "{said}");
}

/// What both programs write with the same words; kcat reads it.
fn written(version: Version) {
    let bench = Bench::new(version);
    for whose in [Whose::Kcat, Whose::Ours] {
        bench.cluster.create_topic(&format!("cat-written-{whose:?}"), 3, 1);
    }
    bench.scratch.write("one", "first\nfile\n");
    bench.scratch.write("two", "second:file\n");
    let keyed: String = (0..40).map(|number| format!("key-{number}:value {number}\n")).collect();
    let mut cases: Vec<(&str, Vec<&str>)> = vec![
        (&keyed, vec!["-K", ":", "-z", "lz4", "-X", "acks=1"]),
        (&keyed, vec!["-K", ":", "-X", "enable.idempotence=true", "-X", "topic.partitioner=murmur2_random"]),
        (&keyed, vec!["-K", ":", "-X", "partitioner=fnv1a_random", "-z", "gzip", "-X", "linger.ms=50"]),
        (&keyed, vec!["-K", ":", "-X", "acks=0", "-X", "batch.size=100", "-X", "partitioner=consistent"]),
        (":null key\nnull value:\nno key\n", vec!["-K", ":", "-Z", "-p", "1", "-H", "a=1", "-H", "b", "-H", "a=2"]),
        (":empty key\nempty value:\n", vec!["-K", ":", "-p", "1"]),
        ("a;;b;;;;c", vec!["-k", "fixed", "-D", ";;"]),
        ("k:v\nv\n", vec!["-k", "fixed", "-K", ":", "-p", "0"]),
        ("", vec!["-l", "two", "-K", ":"]),
        ("", vec!["-p", "2", "one", "two"]),
        ("", vec!["-p", "2", "one", "nowhere"]),
        ("", vec!["nowhere"]),
        ("1\n2\n3\n", vec!["-p", "2", "-c", "2"]),
        ("t1\nt2\n", vec!["-p", "0", "-X", "transactional.id=TOPIC"]),
        ("tee\n", vec!["-p", "0", "-T"]),
    ];
    if version.has_zstd() {
        cases.push((&keyed, vec!["-K", ":", "-z", "zstd"]));
    }
    for (input, words) in &cases {
        let told = |whose: Whose| {
            let topic = format!("cat-written-{whose:?}");
            let words: Vec<String> = words.iter().map(|word| word.replace("TOPIC", &topic)).collect();
            let words: Vec<&str> =
                [&["-P", "-t", &topic][..], &words.iter().map(String::as_str).collect::<Vec<_>>()].concat();
            let output = bench.run(whose, input, &words);
            (output.stdout_text(), output.stderr_text(), output.code)
        };
        assert_eq!(told(Whose::Ours), told(Whose::Kcat), "{version:?} {words:?}");
    }
    // Where a record is, and everything in it but its time.
    let read = |whose: Whose| {
        let topic = format!("cat-written-{whose:?}");
        let format = "%p %K/%k %S/%s %h\n";
        let read = bench.run(Whose::Kcat, "", &["-C", "-t", &topic, "-q", "-e", "-f", format]).expect_success();
        let mut lines: Vec<String> = read.stdout_text().lines().map(str::to_owned).collect();
        // The order within a partition is that of the commands; between partitions there is none.
        lines.sort_by_key(|line| line.split(' ').next().map(str::to_owned));
        lines
    };
    assert_eq!(read(Whose::Ours), read(Whose::Kcat), "{version:?}");
    // What cannot be written is an error of either.
    let large = "x".repeat(5_000);
    for words in [&["-p", "9"][..], &["-X", "message.max.bytes=2000"]] {
        let code = |whose: Whose| {
            let output = bench.run(whose, &large, &[&["-P", "-t", "cat-written-Ours"][..], words].concat());
            (output.code, output.stdout_text(), output.stderr_text().starts_with("% "))
        };
        assert_eq!(code(Whose::Ours), code(Whose::Kcat), "{version:?} {words:?}");
    }
}

#[test]
fn cat_next_to_kcat_on_1_0_1() {
    alone(Version::V1_0_1);
    shared(Version::V1_0_1);
    written(Version::V1_0_1);
}

#[test]
fn cat_next_to_kcat_on_4_4_0() {
    alone(Version::V4_4_0);
    shared(Version::V4_4_0);
    written(Version::V4_4_0);
}
