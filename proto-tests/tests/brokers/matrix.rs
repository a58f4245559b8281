//! Cases x versions: written by the version's own producer (and by librdkafka), read by its own consumer and by forebay.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use forebay::kafka::Isolation::{ReadCommitted, ReadUncommitted};
use forebay_proto_tests::java;
use forebay_proto_tests::kafka::Version;
use forebay_proto_tests::process::{command, run};

use crate::dump::{Question, answer, connect};
use crate::logins;

const LIMIT: Duration = Duration::from_secs(300);
/// The row of logins.
const LOGINS: &str = "logins";
/// How many versions are up at a time.
const AT_ONCE: usize = 2;

/// The rows of the table: a name, whether a version has it, and what is asked.
struct Case {
    name: &'static str,
    is_known: fn(Version) -> bool,
    questions: Vec<Question>,
    /// Pieces that the judge's answers must hold, lest a case be empty without anybody seeing.
    holds: &'static [&'static str],
}

fn always(_: Version) -> bool {
    true
}

fn cases() -> Vec<Case> {
    use Question::{Range, Read, Time};
    let codec = |name, topic, is_known| Case {
        name,
        is_known,
        // From the start, and from within the first and the second batch.
        questions: vec![
            Read(topic, 0, ReadUncommitted),
            Read(topic, 7, ReadUncommitted),
            Read(topic, 15, ReadCommitted),
            Range(topic, ReadUncommitted),
        ],
        holds: &["record 0 CreateTime", "record 7 CreateTime", "record 29 CreateTime", " - ", " [] ", "end 30"],
    };
    const TIME: i64 = 1_600_000_000_000;
    vec![
        codec("no codec", "codec-none", always),
        codec("gzip", "codec-gzip", always),
        codec("snappy", "codec-snappy", always),
        codec("lz4", "codec-lz4", always),
        codec("zstd", "codec-zstd", Version::has_zstd),
        Case {
            name: "headers",
            is_known: always,
            questions: vec![Read("headers", 0, ReadUncommitted), Read("headers", 17, ReadUncommitted)],
            holds: &["[782d746167]=[31] [782d746167]=[32] [6f]=[33] [782d746167]=[31]", "[6e756c6c]=-", "[]=[]"],
        },
        Case {
            name: "append time",
            is_known: always,
            questions: vec![Read("append-time", 0, ReadUncommitted), Read("append-time", 3, ReadCommitted)],
            holds: &["record 19 LogAppendTime"],
        },
        Case {
            name: "v0, v1, v2 sets",
            is_known: Version::has_message_format,
            questions: vec![
                Read("formats", 0, ReadUncommitted),
                Read("formats", 4, ReadUncommitted),
                Read("formats", 11, ReadCommitted),
                Range("formats", ReadCommitted),
            ],
            holds: &["record 24 NoTimestampType -1", "CreateTime", "[6e]=[35]"],
        },
        Case {
            name: "compacted",
            is_known: always,
            questions: [ReadUncommitted, ReadCommitted]
                .into_iter()
                .flat_map(|isolation| [0, 100, 150, 195, 205, 217].map(|from| Read("compacted", from, isolation)))
                .chain([Range("compacted", ReadCommitted)])
                .collect(),
            holds: &["end 219"],
        },
        Case {
            name: "transactions",
            is_known: always,
            questions: [ReadUncommitted, ReadCommitted]
                .into_iter()
                .flat_map(|isolation| {
                    let reads = [0, 3, 8, 13, 20, 30].map(|from| Read("transactions", from, isolation));
                    reads.into_iter().chain([Range("transactions", isolation)])
                })
                .collect(),
            holds: &["[6f6e652061626f72746564]", "[6f70656e]", "[6f6e6520636f6d6d6974746564]"],
        },
        Case {
            name: "offsets by time",
            is_known: always,
            questions: [0, TIME - 1, TIME, TIME + 5, TIME + 1000, TIME + 1050, TIME + 2090, TIME + 5000, TIME * 2]
                .into_iter()
                .flat_map(|ms| ["codec-none", "codec-gzip", "compacted", "transactions"].map(|topic| Time(topic, ms)))
                .collect(),
            holds: &["found 0 ", "none"],
        },
        Case {
            name: "by librdkafka",
            is_known: always,
            questions: vec![Read("librdkafka", 0, ReadUncommitted), Read("librdkafka", 5, ReadCommitted)],
            holds: &["[68]=[31] [68]=[32]", "record 11 CreateTime"],
        },
        // Not a question to the judge: `logins::complaint`.
        Case { name: LOGINS, is_known: always, questions: Vec::new(), holds: &[] },
    ]
}

/// What one version made of each case: an empty text where all is well.
type Column = BTreeMap<&'static str, Option<String>>;

fn column(version: Version) -> Column {
    let settings = [
        // The cleaner looks often; old records are no reason to delete.
        ("log.cleaner.backoff.ms", "300"),
        ("log.retention.ms", "-1"),
        ("transaction.max.timeout.ms", "900000"),
    ];
    let (cluster, login_port) = logins::start(version, &settings);
    let mut write = java::program(version.jars(), "BrokerRecords");
    write.arg(cluster.server()).args([if version.has_zstd() { "zstd" } else { "-" }]);
    if version.has_message_format() {
        write.args(["0.9.0", "0.10.2", "0.11.0"]);
    }
    let _output = run(write, b"", LIMIT).expect_success();
    write_with_librdkafka(&cluster.server(), version);

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let client = runtime.block_on(connect(&cluster.server()));
    let cases = cases();
    let known = || cases.iter().filter(|case| (case.is_known)(version));
    let input: String = known().flat_map(|case| &case.questions).map(Question::line).collect();
    let mut judge = java::program(version.jars(), "BrokerDump");
    judge.arg(cluster.server());
    let said = run(judge, input.as_bytes(), LIMIT).expect_success().stdout_text();
    let mut judged: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for line in said.lines() {
        let (number, line) = line.split_once(' ').unwrap();
        judged.entry(number.parse().unwrap()).or_default().push(line);
    }

    let mut column: Column = cases.iter().map(|case| (case.name, None)).collect();
    let mut number = 0;
    for case in known() {
        let mut complaint = String::new();
        let mut all = String::new();
        for question in &case.questions {
            let expected = judged.remove(&number).unwrap_or_default();
            number += 1;
            all.extend(expected.iter().flat_map(|line| [line, "\n"]));
            let answer = runtime.block_on(async { tokio::time::timeout(LIMIT, answer(&client, question)).await });
            complaint += &match answer {
                Err(_) => format!("{question:?}: no answer within {LIMIT:?}\n"),
                Ok(Err(error)) => format!("{question:?}: {error}\n"),
                Ok(Ok(lines)) => {
                    difference(&expected, &lines).map_or_else(String::new, |d| format!("{question:?}: {d}\n"))
                }
            };
        }
        for piece in case.holds.iter().filter(|piece| !all.contains(**piece)) {
            writeln!(complaint, "the judge's answers lack {piece:?}").unwrap();
        }
        column.insert(case.name, Some(complaint));
    }
    column.insert(LOGINS, Some(runtime.block_on(logins::complaint(login_port, "headers"))));
    column
}

fn difference(expected: &[&str], lines: &[String]) -> Option<String> {
    if expected == lines {
        return None;
    }
    let at = expected.iter().zip(lines).position(|(one, other)| one != other);
    let at = at.unwrap_or_else(|| expected.len().min(lines.len()));
    let (java, ours) = (expected.get(at), lines.get(at));
    Some(format!("line {at} of {} and {}:\n  Java:    {java:?}\n  forebay: {ours:?}", expected.len(), lines.len()))
}

/// kcat is librdkafka's command line: one batch for each codec, with a header that repeats.
fn write_with_librdkafka(server: &str, version: Version) {
    for codec in ["none", "gzip", "snappy", "lz4"].into_iter().chain(version.has_zstd().then_some("zstd")) {
        let mut kcat = command("kcat");
        kcat.args([
            "-P",
            "-b",
            server,
            "-t",
            "librdkafka",
            "-p",
            "0",
            "-z",
            codec,
            "-K",
            "|",
            "-H",
            "h=1",
            "-H",
            "h=2",
        ]);
        kcat.args(["-X", "queue.buffering.max.ms=200"]);
        let lines: String = (0..3).map(|n| format!("k{n}|{codec} {n} {}\n", "again and ".repeat(20))).collect();
        let _output = run(kcat, lines.as_bytes(), LIMIT).expect_success();
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "`./proto-tests/run brokers` shows the table")]
fn every_version_is_read_as_its_own_consumer_reads_it() {
    let versions = Version::wanted();
    let queue = Mutex::new(versions.iter().copied());
    let columns: Mutex<BTreeMap<Version, Column>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(version) = queue.lock().unwrap().next() else { return };
                    // One version that cannot even start must not hide what the others do.
                    let column = std::panic::catch_unwind(|| column(version)).unwrap_or_else(|panic| {
                        let why = panic.downcast_ref::<String>().map_or("it panicked", |text| text.as_str());
                        cases().into_iter().map(|case| (case.name, Some(why.to_owned()))).collect()
                    });
                    columns.lock().unwrap().insert(version, column);
                }
            });
        }
    });
    let columns = columns.into_inner().unwrap();
    let (table, complaints) = table(&columns);
    println!("{table}");
    assert!(complaints.is_empty(), "\n{table}\n{complaints}");
    assert_eq!(columns.len(), versions.len());
}

/// The table of cases and versions, and every complaint.
fn table(columns: &BTreeMap<Version, Column>) -> (String, String) {
    let (mut table, mut complaints) = (format!("{:16}", ""), String::new());
    for version in columns.keys() {
        write!(table, " {version:>8}").unwrap();
    }
    for case in cases() {
        write!(table, "\n{:16}", case.name).unwrap();
        for (version, column) in columns {
            let outcome = column.get(case.name).and_then(Option::as_deref);
            let cell = match outcome {
                None => "-",
                Some("") if case.name == LOGINS => "ok",
                Some("") => "same",
                Some(_) => "DIFFERS",
            };
            write!(table, " {cell:>8}").unwrap();
            if let Some(complaint) = outcome.filter(|complaint| !complaint.is_empty()) {
                writeln!(complaints, "{version}, {}:\n{complaint}", case.name).unwrap();
            }
        }
    }
    (table + "\n", complaints)
}
