//! Every API the client reads with x 15 error codes, from an independent broker (kfake of franz-go, `go/kfake`): two errors are
//! got over or told clearly, an error that stays ends in time, and no record is lost or repeated.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::time::Duration;

use forebay::kafka::record::Decompressor;
use forebay::kafka::{Client, ClientConfig, Consumer, ConsumerConfig, Error, Isolation, OffsetAt, OffsetToCommit};
use forebay_proto_tests::process::command;
use forebay_proto_tests::scratch::cached;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// As in `go/kfake/main.go`.
const TOPIC: &str = "t";
const PARTITIONS: i32 = 2;
const RECORDS: i64 = 12;

/// What must come of an error that is said twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// It passes: Kafka's list of errors calls it retriable, or it is about a session or a leader that is found anew.
    Passes,
    /// The client stops and names it.
    Stops,
    /// Either: nobody should send this here, and clients differ.
    Ends,
}
use Wanted::{Ends, Passes, Stops};

type Codes = [(i16, Wanted); 15];

/// API, and what each code means there by Kafka's protocol guide and Java's client.
const MATRIX: [(i16, &str, Codes); 6] = [
    (
        3,
        "Metadata",
        [
            (3, Passes),
            (5, Passes),
            (6, Passes),
            (7, Passes),
            (9, Passes),
            (13, Passes),
            (14, Passes),
            (56, Passes),
            (-1, Ends),
            (100, Ends),
            (17, Stops),
            (29, Stops),
            (31, Stops),
            (42, Stops),
            (999, Stops),
        ],
    ),
    (
        2,
        "ListOffsets",
        [
            (3, Passes),
            (5, Passes),
            (6, Passes),
            (7, Passes),
            (9, Passes),
            (56, Passes),
            (74, Passes),
            (75, Passes),
            (78, Passes),
            (-1, Ends),
            (29, Stops),
            (35, Stops),
            (42, Stops),
            (43, Stops),
            (999, Stops),
        ],
    ),
    (
        1,
        "Fetch",
        [
            (3, Passes),
            (5, Passes),
            (6, Passes),
            (9, Passes),
            (56, Passes),
            (70, Passes),
            (71, Passes),
            (74, Passes),
            (75, Passes),
            (78, Passes),
            (1, Ends),
            (2, Ends),
            (-1, Ends),
            (29, Stops),
            (999, Stops),
        ],
    ),
    (
        10,
        "FindCoordinator",
        [
            (7, Passes),
            (13, Passes),
            (14, Passes),
            (15, Passes),
            (-1, Ends),
            (5, Ends),
            (16, Ends),
            (41, Ends),
            (24, Stops),
            (30, Stops),
            (31, Stops),
            (35, Stops),
            (42, Stops),
            (53, Stops),
            (999, Stops),
        ],
    ),
    (
        9,
        "OffsetFetch",
        [
            (7, Passes),
            (14, Passes),
            (15, Passes),
            (16, Passes),
            (88, Passes),
            (-1, Ends),
            (3, Ends),
            (22, Ends),
            (25, Ends),
            (24, Stops),
            (30, Stops),
            (31, Stops),
            (35, Stops),
            (42, Stops),
            (999, Stops),
        ],
    ),
    (
        8,
        "OffsetCommit",
        [
            (7, Passes),
            (14, Passes),
            (15, Passes),
            (16, Passes),
            (3, Ends),
            (27, Ends),
            (12, Stops),
            (22, Stops),
            (24, Stops),
            (25, Stops),
            (28, Stops),
            (29, Stops),
            (30, Stops),
            (82, Stops),
            (999, Stops),
        ],
    ),
];

/// One error for ever must have come to an end by then: ten times what the client is told to wait.
const DEADLINE: Duration = Duration::from_secs(40);
/// Cells under way at a time.
const AT_ONCE: usize = 24;

struct Kfake {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Kfake {
    fn start() -> Self {
        let mut command = command(cached("kfake/kfake"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        assert!(answer.ends_with('\n'), "kfake ended at {line:?}");
        answer.trim().to_owned()
    }
}

impl Drop for Kfake {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What came of everything that a reading client does.
struct Outcome {
    /// Offsets of the records handed out, by partition.
    records: BTreeMap<i32, Vec<i64>>,
    end: Result<(), Error>,
}

async fn everything(address: String) -> Outcome {
    let mut records = BTreeMap::new();
    let end = walk(&address, &mut records).await;
    Outcome { records, end }
}

/// Looks at the topic, reads it, commits, and asks for what is committed.
async fn walk(address: &str, records: &mut BTreeMap<i32, Vec<i64>>) -> Result<(), Error> {
    let mut config = ClientConfig::new([address]);
    config.retry_backoff = Duration::from_millis(5);
    config.retry_backoff_max = Duration::from_millis(100);
    config.retries_deadline = Duration::from_secs(4);
    config.bootstrap_deadline = Duration::from_secs(20);
    config.unknown_topic_deadline = Duration::from_secs(4);
    let client = Client::connect(config).await?;
    client.topic(TOPIC).await?;
    let wanted: Vec<_> = (0..PARTITIONS).map(|partition| (partition, OffsetAt::Latest)).collect();
    let ends = client.list_offsets(TOPIC, &wanted, Isolation::ReadUncommitted).await?;
    let mut left: BTreeMap<i32, i64> =
        ends.into_iter().map(|(partition, end)| (partition, end.offset.unwrap())).collect();
    let start: Vec<(i32, i64)> = left.keys().map(|partition| (*partition, 0)).collect();
    let mut consumer = Consumer::of_topic(&client, ConsumerConfig::default(), TOPIC, &start);
    let mut decompressor = Decompressor::new(1 << 20);
    let mut offsets = Vec::new();
    while !left.is_empty() {
        let mut fetched = consumer.next().await?;
        while let Some(batch) = fetched.next_records(&mut decompressor)? {
            let seen = records.entry(fetched.partition).or_default();
            seen.extend(batch.iter().map(|record| record.unwrap().offset));
        }
        let (partition, position) = (fetched.partition, fetched.position());
        if left.get(&partition).is_some_and(|end| position >= *end) {
            left.remove(&partition);
            offsets.push(OffsetToCommit {
                topic: TOPIC.into(),
                partition,
                offset: position,
                leader_epoch: None,
                metadata: String::new(),
            });
        }
    }
    client.commit_offsets("g", &offsets).await?;
    let partitions: Vec<i32> = (0..PARTITIONS).collect();
    let mut committed = client.committed_offsets("g", &[(TOPIC.to_owned(), partitions)]).await?;
    committed.sort_by_key(|committed| committed.partition);
    let committed: Vec<_> = committed.iter().map(|committed| committed.offset).collect();
    assert_eq!(committed, [Some(RECORDS / 2); 2], "what was committed is there");
    Ok(())
}

/// What is wrong with an outcome; nothing when all is well. A code of `times` 2 or for ever.
fn complaint(api: &str, code: i16, wanted: Wanted, for_ever: bool, outcome: &Outcome, count: u32) -> Option<String> {
    let Outcome { records, end } = outcome;
    let all: Vec<i64> = (0..RECORDS / 2).collect();
    if records.values().any(|offsets| !all.starts_with(offsets)) {
        return Some(format!("records lost or repeated: {records:?}"));
    }
    if count == 0 {
        return Some(format!("{api} was never asked"));
    }
    let said = match end {
        Ok(()) if records.len() != 2 || records.values().any(|offsets| *offsets != all) => {
            return Some(format!("records lost: {records:?}"));
        }
        Ok(()) if for_ever || wanted == Stops => return Some("no error".to_owned()),
        Ok(()) => return None,
        Err(error) => error.to_string(),
    };
    let names_it = said.contains(&format!("({code})")) || said.contains(&format!("error code {code}"));
    // A topic that stays unknown, and an offset that is not there, are told in words.
    let in_words = said.contains("no such topic")
        || said.contains("no such partition")
        || said.contains("out of range")
        || said.contains("deleted")
        || said.contains("has no leader");
    match wanted {
        Passes if !for_ever => Some(format!("does not pass: {said}")),
        _ if names_it || in_words => None,
        _ => Some(format!("not named: {said}")),
    }
}

#[test]
fn every_error_code_passes_or_is_told_and_no_record_is_lost_or_repeated() {
    let mut kfake = Kfake::start();
    let mut cells = Vec::new();
    for (api, name, codes) in MATRIX {
        for (code, wanted) in codes {
            for for_ever in [false, true] {
                let address = kfake.ask(&format!("{api} {code} {}", if for_ever { -1 } else { 2 }));
                cells.push((name, code, wanted, for_ever, address));
            }
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let outcomes = runtime.block_on(async {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        let mut tasks = JoinSet::new();
        for cell in cells {
            let slots = slots.clone();
            tasks.spawn(async move {
                let _slot = slots.acquire_owned().await.unwrap();
                let outcome = tokio::time::timeout(DEADLINE, everything(cell.4.clone())).await;
                (cell, outcome)
            });
        }
        tasks.join_all().await
    });
    let mut complaints = Vec::new();
    for ((name, code, wanted, for_ever, address), outcome) in &outcomes {
        let count: u32 = kfake.ask(&format!("count {address}")).parse().unwrap();
        let complaint = match outcome {
            Err(_) => Some(format!("no end within {DEADLINE:?}")),
            Ok(outcome) => complaint(name, *code, *wanted, *for_ever, outcome, count),
        };
        let how = if *for_ever { "for ever" } else { "twice" };
        complaints.extend(complaint.map(|complaint| format!("{name} {code} {how} ({wanted:?}): {complaint}")));
    }
    complaints.sort();
    assert_eq!(outcomes.len(), 6 * 15 * 2);
    assert!(complaints.is_empty(), "{} of {}:\n{}", complaints.len(), outcomes.len(), complaints.join("\n"));
}
