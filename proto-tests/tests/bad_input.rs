//! What a user or a peer can get wrong. Each case: a clear message (what, where, the next step), the documented exit code,
//! the table as it was, and no committed offset.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use forebay_proto_tests::cli::{self, forebay, run_forebay};
use forebay_proto_tests::kafka::{KafkaCluster, Version};
use forebay_proto_tests::maxcompute::{Account, LocalMaxCompute};
use forebay_proto_tests::port;
use forebay_proto_tests::process::{self, Output, Server};
use forebay_proto_tests::scratch::{Scratch, repository_folder};
use forebay_proto_tests::table::{Row, difference, read_with_pyodps};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A job that took this long has hung: nothing here has to wait for more than the client's own deadlines.
const LIMIT: Duration = Duration::from_secs(170);

/// A real broker, and a table that holds the rows of an earlier good run.
struct Before {
    cluster: Arc<KafkaCluster>,
    service: LocalMaxCompute,
    scratch: Scratch,
    sources: PathBuf,
    rows: Vec<Row>,
}

impl Before {
    fn new() -> Self {
        let cluster = KafkaCluster::shared(Version::V4_4_0);
        let service = LocalMaxCompute::start();
        let scratch = Scratch::new("bad-input");
        let sources = scratch.write("sources.toml", service.account().datasources());
        cluster.create_topic("earlier", 2, 1);
        cluster.produce("earlier", "one\ntwo\n", &[]);
        let mut before = Self { cluster, service, scratch, sources, rows: Vec::new() };
        let ddl = std::fs::read_to_string(repository_folder().join("deploy/examples/testkafka/table.sql"))
            .expect("the DDL is in the tree");
        let sources = before.sources.display().to_string();
        let _created = run_forebay(&before.scratch, &["sql", "--datasources", &sources, "-e", &ddl]).expect_success();
        let job = before.job("earlier", "earlier-group");
        let _log = before.run(&job).expect_success();
        before.rows = before.read();
        assert_eq!(before.rows.len(), 2);
        before
    }

    /// One for the tests that leave it as it was.
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Before>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let before = Arc::new(Self::new());
            *shared = Arc::downgrade(&before);
            before
        })
    }

    /// The reference job over another topic and group of the cluster.
    fn job(&self, topic: &str, group: &str) -> Value {
        let text = std::fs::read_to_string(repository_folder().join("deploy/examples/testkafka/job.json"))
            .expect("the job is in the tree");
        let mut job: Value = serde_json::from_str(&text).expect("the job is JSON");
        let reader = &mut job["steps"][0]["parameter"];
        reader["server"] = json!(self.cluster.server());
        reader["topic"] = json!(topic);
        reader["kafkaConfig"]["group.id"] = json!(group);
        reader["waitTime"] = json!("3");
        job
    }

    /// `forebay run` of a job given as text.
    fn command(&self, name: &str, job: &str) -> Command {
        let file = self.scratch.write(name, job);
        let mut command = forebay(&self.scratch);
        command.arg("run").arg(file).arg("--datasources").arg(&self.sources);
        command
    }

    /// The file is named after the group, so that tests side by side do not share one.
    fn run(&self, job: &Value) -> Output {
        self.run_text(&format!("{}.json", group_of(job)), &pretty(job))
    }

    fn run_text(&self, name: &str, job: &str) -> Output {
        process::run(self.command(name, job), b"", LIMIT)
    }

    fn read(&self) -> Vec<Row> {
        read_with_pyodps(self.service.account(), "testkafka").rows
    }

    #[track_caller]
    fn assert_unchanged(&self, group: &str) {
        if let Some(difference) = difference(&self.rows, &self.read()) {
            panic!("the table has changed: {difference}");
        }
        let committed: Vec<_> = self.cluster.group(group).into_iter().filter(|row| row.committed.is_some()).collect();
        assert_eq!(committed, [], "offsets of {group} were committed");
    }

    /// The run of `job` fails with this code, says all of `words` on standard error, and leaves everything as it was.
    #[track_caller]
    fn assert_refused(&self, job: &Value, code: i32, words: &[&str]) {
        assert_failure(&self.run(job), code, words);
        self.assert_unchanged(group_of(job));
    }
}

fn group_of(job: &Value) -> &str {
    job["steps"][0]["parameter"]["kafkaConfig"]["group.id"].as_str().expect("every job here names its group")
}

fn pretty(job: &Value) -> String {
    serde_json::to_string_pretty(job).expect("JSON can be printed")
}

/// Exit code and message; a message that is nothing but a debug print of some error type is not clear.
#[track_caller]
fn assert_failure(output: &Output, code: i32, words: &[&str]) {
    assert_eq!(output.code, code, "{}", output.describe());
    let message = output.stderr_text();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in the message\n{}", output.describe());
    }
    assert!(!message.contains("panicked"), "{}", output.describe());
}

// --- the job -----------------------------------------------------------------------------------------------------------

#[test]
fn invalid_json() {
    let before = Before::shared();
    let text = "{\n  \"type\": \"job\",\n  \"steps\": [\n    { \"stepType\": \"kafka\",, }\n  ]\n}\n";
    assert_failure(&before.run_text("invalid.json", text), 78, &["invalid.json:4:27"]);
    before.assert_unchanged("nobody");
}

#[test]
fn an_unknown_step_type() {
    let before = Before::shared();
    let mut job = before.job("earlier", "unknown-step");
    job["steps"][0]["stepType"] = json!("kafak");
    before.assert_refused(&job, 78, &["unknown-step.json:", "stepType", "kafak", "kafka"]);
}

#[test]
fn a_column_that_the_table_lacks() {
    let before = Before::shared();
    let mut job = before.job("earlier", "missing-column");
    job["steps"][1]["parameter"]["column"][7] = json!("tags");
    before.assert_refused(&job, 78, &["tags", "testkafka"]);
}

#[test]
fn no_column_at_all() {
    let before = Before::shared();
    let mut job = before.job("earlier", "no-column");
    job["steps"][0]["parameter"].as_object_mut().expect("an object").remove("column");
    before.assert_refused(&job, 78, &["no-column.json:", "column"]);
}

#[test]
fn more_reader_columns_than_writer_columns() {
    let before = Before::shared();
    let mut job = before.job("earlier", "more-columns");
    job["steps"][0]["parameter"]["column"].as_array_mut().expect("a list").push(json!("extra"));
    before.assert_refused(&job, 78, &["more-columns.json:", "9", "8"]);
}

// --- Kafka -------------------------------------------------------------------------------------------------------------

#[test]
fn no_broker_reachable() {
    let before = Before::shared();
    let mut job = before.job("earlier", "no-broker");
    let nobody = [format!("127.0.0.1:{}", port::free()), format!("127.0.0.1:{}", port::free())];
    job["steps"][0]["parameter"]["server"] = json!(nobody.join(","));
    before.assert_refused(&job, 69, &[&nobody[0], &nobody[1], "refused"]);
}

/// A broker that answers each request with the beginning of a frame and hangs up.
fn broker_that_hangs_up() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("some port is free");
    let address = listener.local_addr().expect("it is bound").to_string();
    let answer = |mut stream: TcpStream| -> std::io::Result<()> {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut request = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap_or(0).min(1 << 20)];
        stream.read_exact(&mut request)?;
        // A hundred bytes are announced; the correlation id and two more come.
        stream.write_all(&100_u32.to_be_bytes())?;
        stream.write_all(request.get(4..8).unwrap_or_default())?;
        stream.write_all(&[0, 0])
    };
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // What the peer does with it is what is tested.
            drop(answer(stream));
        }
    });
    address
}

#[test]
fn a_broker_that_closes_in_the_middle_of_a_frame() {
    let before = Before::shared();
    let mut job = before.job("earlier", "mid-frame");
    let address = broker_that_hangs_up();
    job["steps"][0]["parameter"]["server"] = json!(address);
    before.assert_refused(&job, 69, &[&address, "closed"]);
}

#[test]
fn an_unknown_topic() {
    let before = Before::shared();
    let job = before.job("no-such-topic", "unknown-topic");
    before.assert_refused(&job, 78, &["topic \"no-such-topic\"", "no such topic", "list the topics"]);
}

#[test]
fn a_begin_offset_after_the_end_offset() {
    let before = Before::shared();
    let mut job = before.job("earlier", "begin-after-end");
    job["steps"][0]["parameter"]["beginOffset"] = json!("5");
    before.assert_refused(&job, 78, &["begin-after-end.json:", "beginOffset", "offset 5", "offset 3"]);
}

#[test]
fn a_begin_offset_whose_records_are_deleted() {
    let before = Before::shared();
    before.cluster.create_topic("trimmed", 1, 1);
    before.cluster.produce("trimmed", "a\nb\nc\nd\ne\n", &[]);
    before.cluster.delete_records("trimmed", 0, 2);
    let mut job = before.job("trimmed", "trimmed-group");
    job["steps"][0]["parameter"]["beginOffset"] = json!("1");
    job["steps"][0]["parameter"]["endOffset"] = json!("5");
    before.assert_refused(&job, 76, &["trimmed", "partition 0", "1", "2"]);
}

/// 20,000 records of a kibibyte in one partition, which a job throttled to 1 MB/s reads for about 20 seconds.
fn write_much(cluster: &KafkaCluster, topic: &str) {
    cluster.create_topic(topic, 1, 1);
    let filler = "x".repeat(1000);
    let lines: String = (0..20_000).map(|number| format!("{number:08}{filler}\n")).collect();
    cluster.produce(topic, &lines, &[]);
}

/// A run over such a topic, started and seen at work.
fn slow_run(before: &Before, topic: &str, group: &str) -> Server {
    let mut job = before.job(topic, group);
    job["steps"][0]["parameter"]["endOffset"] = json!("20000");
    job["steps"][0]["parameter"]["kafkaConfig"]["max.partition.fetch.bytes"] = json!("262144");
    job["setting"]["speed"] = json!({"throttle": true, "mbps": 1, "concurrent": 1});
    let log = before.scratch.path().join(format!("{topic}.log"));
    let mut run = Server::start("forebay run", before.command(&format!("{group}.json"), &pretty(&job)), &log);
    let blocks = before.service.requests("upload_block");
    run.wait_until("a block on its way", LIMIT, |_| before.service.requests("upload_block") > blocks);
    run
}

#[test]
fn a_topic_deleted_while_it_is_read() {
    let before = Before::shared();
    write_much(&before.cluster, "vanishing");
    let mut run = slow_run(&before, "vanishing", "vanishing-group");
    before.cluster.delete_topic("vanishing");
    let status = run.wait(LIMIT);
    assert_eq!(status.code(), Some(76), "{}", run.log_tail());
    assert!(run.log_text().contains("\"vanishing\""), "{}", run.log_tail());
    before.assert_unchanged("vanishing-group");
}

/// A signal in the middle of a run: nothing half-written is visible, and the run does not linger.
fn stopped_in_the_middle(signal: Signal, code: i32, topic: &str) {
    let before = Before::shared();
    write_much(&before.cluster, topic);
    let group = format!("{topic}-group");
    let mut run = slow_run(&before, topic, &group);
    let begin = Instant::now();
    run.signal(signal);
    let status = run.wait(LIMIT);
    assert_eq!(status.code(), Some(code), "{}", run.log_tail());
    assert!(begin.elapsed() < Duration::from_secs(10), "it took {:?} to stop", begin.elapsed());
    assert!(run.log_text().contains("table and group are unchanged"), "{}", run.log_tail());
    before.assert_unchanged(&group);
}

#[test]
fn ctrl_c_in_the_middle_of_a_run() {
    stopped_in_the_middle(Signal::INT, 130, "interrupted");
}

#[test]
fn sigterm_in_the_middle_of_a_run() {
    stopped_in_the_middle(Signal::TERM, 143, "terminated");
}

// --- MaxCompute --------------------------------------------------------------------------------------------------------

#[test]
fn a_table_that_does_not_exist() {
    let before = Before::shared();
    let mut job = before.job("earlier", "no-table");
    job["steps"][1]["parameter"]["table"] = json!("testkafak");
    before.assert_refused(&job, 78, &["bigdata_doc.testkafak", "Table not found", "create the table"]);
}

#[test]
fn a_wrong_access_key() {
    let before = Before::shared();
    let good = before.service.account().datasources();
    let key = &before.service.account().access_key;
    let sources = before.scratch.write("wrong-key.toml", good.replace(key, "not-the-key"));
    let job = before.job("earlier", "wrong-key").to_string();
    let file = before.scratch.write("wrong-key.json", job);
    let words = [file.display().to_string(), sources.display().to_string()];
    let output = run_forebay(&before.scratch, &["run", &words[0], "--datasources", &words[1]]);
    assert_failure(&output, 77, &["bigdata_doc.testkafka", "signature", "check access_id and access_key"]);
    assert!(!output.stderr_text().contains("not-the-key") && !output.stdout_text().contains("not-the-key"));
    before.assert_unchanged("wrong-key");
}

#[test]
fn a_value_over_the_field_limit() {
    let before = Before::shared();
    let limits = ["--config", "max.message.bytes=20000000"];
    before.cluster.create_topic_with("huge", 1, 1, &limits);
    // One byte more than the 8 MiB that a cell may hold.
    let value = "y".repeat(8 * 1024 * 1024 + 1);
    let sizes = ["--producer-property", "max.request.size=20000000", "--producer-property", "buffer.memory=67108864"];
    before.cluster.produce("huge", &format!("{value}\n"), &sizes);
    let mut job = before.job("huge", "huge-group");
    job["setting"]["errorLimit"]["record"] = json!("0");
    before.assert_refused(&job, 65, &["huge", "partition 0 offset 0", "__value__", "8388608"]);
}

/// `forebay sandbox up --maxcompute --data DIR` where DIR is a disk of 8 MiB of its own: a file system in memory, mounted in
/// a namespace that only this process sees.
fn sandbox_on_a_small_disk(scratch: &Scratch) -> (Server, Account) {
    let port = port::free();
    let folder = scratch.folder("disk");
    let script = "mount -t tmpfs -o size=8m tmpfs \"$1\" && shift && exec \"$@\"";
    let mut command = process::command("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(&folder);
    command.arg(cli::program()).args(["sandbox", "up", "--maxcompute", "--maxcompute-port", &port.to_string()]);
    command.arg("--data").arg(&folder);
    let mut sandbox = Server::start("forebay sandbox up", command, &scratch.path().join("sandbox.log"));
    sandbox.wait_until("readiness", LIMIT, |sandbox| sandbox.log_text().contains("Ctrl-C stops it"));
    let told = sandbox.log_text();
    // As printed for its user: two words at a line's start, then the value.
    let value = |name: &str| {
        let line = told.lines().find_map(|line| line.trim().strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {told}")).trim().to_owned()
    };
    let account = Account {
        endpoint: value("endpoint "),
        tunnel_endpoint: value("tunnel endpoint "),
        project: value("project "),
        access_id: value("access id "),
        access_key: value("access key "),
    };
    (sandbox, account)
}

#[test]
fn a_full_disk_under_the_local_maxcompute() {
    let before = Before::shared();
    write_much(&before.cluster, "too-much");
    let scratch = Scratch::new("full-disk");
    let (sandbox, account) = sandbox_on_a_small_disk(&scratch);
    let sources = scratch.write("sources.toml", account.datasources()).display().to_string();
    let run = |job: &Value| {
        let file = scratch.write("job.json", job.to_string()).display().to_string();
        run_forebay(&scratch, &["run", &file, "--datasources", &sources])
    };
    let ddl = std::fs::read_to_string(repository_folder().join("deploy/examples/testkafka/table.sql"));
    let ddl = ddl.expect("the DDL is in the tree");
    let _created = run_forebay(&scratch, &["sql", "--datasources", &sources, "-e", &ddl]).expect_success();
    let _log = run(&before.job("earlier", "small-disk")).expect_success();
    let rows = read_with_pyodps(&account, "testkafka").rows;
    assert_eq!(rows.len(), 2);

    // 20 MB go to a disk of 8 MiB.
    let mut job = before.job("too-much", "full-disk");
    job["steps"][0]["parameter"]["endOffset"] = json!("20000");
    // A disk does not grow by waiting ten times.
    job["steps"][1]["parameter"]["maxRetryTime"] = json!("1");
    assert_failure(&run(&job), 69, &["No space left on device", "unchanged"]);

    if let Some(difference) = difference(&rows, &read_with_pyodps(&account, "testkafka").rows) {
        panic!("the table has changed: {difference}\n{}", sandbox.log_tail());
    }
    assert_eq!(before.cluster.group("full-disk"), []);
    // What is there can still be used: the same service takes a job that fits.
    let _log = run(&before.job("earlier", "small-disk")).expect_success();
}
