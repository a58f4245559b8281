//! Jobs without an end on real brokers: several agents share a topic, are killed with SIGKILL at any moment, and MaxCompute loses
//! answers and refuses blocks meanwhile. The judge is Kafka's ConsoleConsumer: what it prints must be in the table, each record
//! once, as PyODPS reads it.
//!
//! `FOREBAY_AGENT_ROUNDS` makes it longer (`./proto-tests/run exactly-once`).

use std::time::Duration;

use forebay::sandbox::maxcompute::{Action, Fault};
use forebay_proto_tests::cli::{forebay, run_forebay};
use forebay_proto_tests::kafka::{KafkaCluster, Version};
use forebay_proto_tests::maxcompute::LocalMaxCompute;
use forebay_proto_tests::process::Server;
use forebay_proto_tests::scratch::Scratch;
use forebay_proto_tests::table::{Row, difference, read_partition_with_pyodps, read_with_pyodps};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(180);
/// Records written in one round.
const ROUND: usize = 300;

/// Columns by which a row can be told to be of a record.
const EVIDENCE: [(&str, &str); 2] = [("p", "record.partition"), ("o", "record.offset")];

struct World {
    cluster: std::sync::Arc<KafkaCluster>,
    service: LocalMaxCompute,
    scratch: Scratch,
    topic: &'static str,
    agents: usize,
}

impl World {
    fn new(version: Version, topic: &'static str, replication_factor: u16, ddl: &str, target: &str) -> Self {
        Self::with_columns(version, topic, replication_factor, ddl, target, &EVIDENCE)
    }

    fn with_columns(
        version: Version,
        topic: &'static str,
        replication_factor: u16,
        ddl: &str,
        target: &str,
        columns: &[(&str, &str)],
    ) -> Self {
        let cluster = KafkaCluster::shared(version);
        let service = LocalMaxCompute::start();
        let scratch = Scratch::new("agent");
        cluster.create_topic(topic, 4, replication_factor);
        let _sources = scratch.write("sources.toml", service.account().datasources());
        let _ddl = run_forebay(&scratch, &["sql", "--datasources", "sources.toml", "-e", ddl]).expect_success();
        let brokers = cluster.servers().split(',').map(|server| format!("\"{server}\"")).collect::<Vec<_>>().join(", ");
        let columns: String = std::iter::once(&("value", "value"))
            .chain(columns)
            .map(|(to, from)| format!("[[columns]]\nto = \"{to}\"\nfrom = \"{from}\"\n"))
            .collect();
        let _job = scratch.write(
            "job.toml",
            format!(
                r#"
[source]
brokers = [{brokers}]
topic = "{topic}"
group = "group-{topic}"
start = "earliest"
config = {{ "session.timeout.ms" = "6000", "heartbeat.interval.ms" = "500", "request.timeout.ms" = "5000" }}
[target]
datasource = "odps_first"
table = "{topic}"
{target}
{columns}[limits]
commit_every = {{ time = "300ms" }}
"#
            ),
        );
        Self { cluster, service, scratch, topic, agents: 0 }
    }

    fn start_agent(&mut self) -> Server {
        self.agents += 1;
        let mut command = forebay(&self.scratch);
        command.args(["agent", "job.toml", "--datasources", "sources.toml", "--drain", "20s"]);
        Server::start("agent", command, &self.scratch.path().join(format!("agent-{}.log", self.agents)))
    }

    fn produce(&self, round: usize) {
        let lines: String = (0..ROUND).map(|n| format!("r{round}-{n}|{{\"day\":\"{}\",\"n\":{n}}}\n", n % 3)).collect();
        self.cluster.produce(self.topic, &lines, &["--property", "parse.key=true", "--property", "key.separator=|"]);
    }

    /// The sum of the group's committed offsets.
    fn committed(&self) -> i64 {
        let group = format!("group-{}", self.topic);
        self.cluster.group(&group).iter().filter(|row| row.topic == self.topic).filter_map(|row| row.committed).sum()
    }

    /// Waits until the group stands at the end of all that was written.
    fn wait_for(&self, records: usize, agent: &mut Server) {
        let wanted = i64::try_from(records).expect("few records");
        agent.wait_until("the group at the end of the topic", LIMIT, |_| self.committed() >= wanted);
    }

    fn expected(&self) -> Vec<Row> {
        let text = |text: String| Some(text.into_bytes());
        let told = self.cluster.consume(self.topic);
        told.into_iter()
            .map(|record| {
                vec![record.value.clone(), text(record.partition.to_string()), text(record.offset.to_string())]
            })
            .collect()
    }
}

fn rounds(default: usize) -> usize {
    std::env::var("FOREBAY_AGENT_ROUNDS")
        .map_or(default, |text| text.parse().expect("FOREBAY_AGENT_ROUNDS is a number"))
}

/// Two agents, one of which is killed in every round and comes back, while the service loses what it has answered.
fn killed_again_and_again(version: Version, topic: &'static str, replication_factor: u16) {
    let ddl = format!("create table {topic} (value string, p string, o string)");
    let mut world = World::new(version, topic, replication_factor, &ddl, "");
    let mut agents = vec![world.start_agent(), world.start_agent()];
    // Old brokers take longer: each takeover reads the offsets twice.
    let rounds = rounds(if version == Version::V1_0_1 { 2 } else { 3 });
    for round in 0..rounds {
        world.produce(round);
        let faults = world.service.service().faults();
        faults.push(Fault::after("upload_commit", Action::Drop).skip(u32::try_from(round % 3).expect("small")));
        faults.push(Fault::before("upload_block", Action::CutRequest { after_bytes: 200 }).skip(1));
        // Somewhere between reading and advancing: each round it is another place.
        let seen = world.service.requests("upload_create");
        let steps = 1 + round % 3;
        agents[round % 2]
            .wait_until("some work", LIMIT, |_| world.service.requests("upload_create") >= seen + steps.min(1));
        agents[round % 2].kill();
        agents[round % 2] = world.start_agent();
    }
    world.wait_for(rounds * ROUND, &mut agents[0]);
    for agent in &mut agents {
        agent.signal(Signal::TERM);
        let status = agent.wait(LIMIT);
        assert!(status.success(), "{status}\n{}", agent.log_tail());
    }
    let table = read_with_pyodps(world.service.account(), topic);
    if let Some(difference) = difference(&world.expected(), &table.rows) {
        panic!("what PyODPS reads is not what ConsoleConsumer printed: {difference}");
    }
    assert_eq!(table.rows.len(), rounds * ROUND);
}

#[test]
fn agents_that_are_killed_write_every_record_once_on_4_4_0() {
    killed_again_and_again(Version::V4_4_0, "agentnew", 1);
}

#[test]
fn agents_that_are_killed_write_every_record_once_on_1_0_1() {
    killed_again_and_again(Version::V1_0_1, "agentold", 3);
}

#[test]
fn routed_rows_go_to_their_partitions_once() {
    let topic = "agentrouted";
    let ddl = format!("create table {topic} (value string, p string, o string) partitioned by (d string)");
    let mut world = World::new(Version::V4_4_0, topic, 1, &ddl, "partition = \"d={value.day}\"");
    world.produce(0);
    let mut agent = world.start_agent();
    world.wait_for(ROUND, &mut agent);
    agent.kill();
    world.produce(1);
    let mut agent = world.start_agent();
    world.wait_for(2 * ROUND, &mut agent);
    agent.signal(Signal::TERM);
    let status = agent.wait(LIMIT);
    assert!(status.success(), "{status}\n{}", agent.log_tail());
    let rows: Vec<Row> = ["0", "1", "2"]
        .into_iter()
        .flat_map(|day| {
            let partition = format!("d={day}");
            let table = read_partition_with_pyodps(world.service.account(), topic, Some(&partition));
            let wanted = format!("{{\"day\":\"{day}\"");
            for row in &table.rows {
                let value = row[0].as_deref().expect("no value is null");
                assert!(value.starts_with(wanted.as_bytes()), "{} in {partition}", value.escape_ascii());
            }
            table.rows.into_iter().map(|row| row[..3].to_vec())
        })
        .collect();
    if let Some(difference) = difference(&world.expected(), &rows) {
        panic!("what PyODPS reads is not what ConsoleConsumer printed: {difference}");
    }
}

impl World {
    /// Kills an agent between the seal of a batch and the end of its doubt, then lets MaxCompute forget the session, as it does
    /// with one of a day before.
    fn forget_a_sealed_batch(&mut self, committed: bool) {
        let faults = self.service.service().faults();
        faults.push(if committed {
            Fault::after("upload_commit", Action::Drop)
        } else {
            Fault::before("upload_commit", Action::Drop).times(u32::MAX)
        });
        let (commits, asked) = (self.service.requests("upload_commit"), self.service.requests("upload_status"));
        // The blocks are listed before the seal, and the session is asked once more before the commit; then nothing is said.
        let silence = Action::Status { status: 503, code: String::new(), message: String::new(), retry_after_s: None };
        faults.push(Fault::before("upload_status", silence).skip(2).times(u32::MAX));
        self.produce(0);
        let mut agent = self.start_agent();
        agent.wait_until("a commit, and doubt", LIMIT, |_| {
            self.service.requests("upload_commit") > commits
                && (!committed || self.service.requests("upload_status") > asked + 2)
        });
        agent.kill();
        self.service.service().faults().clear();
        for id in self.service.service().upload_sessions() {
            assert!(self.service.service().forget_upload(&id), "{id}");
        }
    }

    fn is_whole(&self) {
        let table = read_with_pyodps(self.service.account(), self.topic);
        if let Some(difference) = difference(&self.expected(), &table.rows) {
            panic!("what PyODPS reads is not what ConsoleConsumer printed: {difference}");
        }
    }
}

/// Both histories of a forgotten session, told apart by the rows themselves.
#[test]
fn the_table_settles_what_the_service_has_forgotten() {
    for (topic, committed) in [("evidencein", true), ("evidenceout", false)] {
        let ddl = format!("create table {topic} (value string, p bigint, o bigint)");
        let mut world = World::new(Version::V4_4_0, topic, 1, &ddl, "");
        world.forget_a_sealed_batch(committed);
        let mut agent = world.start_agent();
        world.wait_for(ROUND, &mut agent);
        let said = if committed { "so it was committed" } else { "so they are written again" };
        assert!(agent.log_text().contains(said), "{}", agent.log_tail());
        agent.signal(Signal::TERM);
        assert!(agent.wait(LIMIT).success(), "{}", agent.log_tail());
        world.is_whole();
    }
}

/// Without such columns a person decides, and the partitions stand still until then.
#[test]
fn a_person_settles_what_nobody_else_can() {
    // Each takes half a minute; a plain run takes the one in which more can go wrong.
    let worlds = [("resolveout", false), ("resolvein", true)];
    for (topic, committed) in worlds.into_iter().take(rounds(1)) {
        let ddl = format!("create table {topic} (value string)");
        let mut world = World::with_columns(Version::V4_4_0, topic, 1, &ddl, "", &[]);
        world.forget_a_sealed_batch(committed);
        let mut agent = world.start_agent();
        agent.wait_until("the alarm", LIMIT, |agent| {
            agent.log_text().contains("stands still until a person has looked")
        });
        let resolve = |more: &[&str]| {
            let arguments = [&["resolve", "job.toml", "--datasources", "sources.toml"][..], more].concat();
            run_forebay(&world.scratch, &arguments)
        };
        let verdict = if committed { "--committed" } else { "--not-committed" };
        let early = resolve(&[verdict]);
        assert!(early.code != 0 && early.stderr_text().contains("stop every agent"), "{}", early.describe());
        agent.signal(Signal::TERM);
        assert!(agent.wait(LIMIT).success(), "{}", agent.log_tail());
        let shown = resolve(&[]);
        assert_eq!(shown.code, 76, "{}", shown.describe());
        assert!(shown.stdout_text().contains("MaxCompute no longer knows it: decide"), "{}", shown.describe());
        let _decided = resolve(&[verdict]).expect_success();
        assert!(!resolve(&[]).expect_success().stdout_text().contains("decide"));
        let mut agent = world.start_agent();
        world.wait_for(ROUND, &mut agent);
        agent.signal(Signal::TERM);
        assert!(agent.wait(LIMIT).success(), "{}", agent.log_tail());
        let values = |rows: Vec<Row>| {
            let mut values: Vec<_> = rows.into_iter().map(|row| row[0].clone()).collect();
            values.sort();
            values
        };
        assert_eq!(values(read_with_pyodps(world.service.account(), topic).rows), values(world.expected()));
    }
}

/// A job whose two ends are not up yet.
fn patient_job(table: &str) -> String {
    format!(
        "[source]\nbrokers = [\"127.0.0.1:1\"]\ntopic = \"t\"\nstart = \"earliest\"\n[target]\nproject = \"p\"\nendpoint = \
         \"http://127.0.0.1:1/api\"\ntable = \"{table}\"\n[[columns]]\nto = \"a\"\nfrom = \"value\"\n"
    )
}

/// What systemd would hear, line by line.
struct Listener(std::os::unix::net::UnixDatagram);

impl Listener {
    fn wait_for(&self, line: &str) {
        let mut heard = String::new();
        let mut bytes = [0; 1024];
        while !heard.lines().any(|heard| heard == line) {
            let length = self.0.recv(&mut bytes).unwrap_or_else(|error| panic!("{line}: {error}; heard:\n{heard}"));
            heard.push_str(&String::from_utf8_lossy(&bytes[..length]));
            heard.push('\n');
        }
    }
}

/// A folder of jobs, read again by SIGHUP all or nothing, under a service manager that is kept informed.
#[test]
fn a_folder_of_jobs_is_read_again_and_systemd_is_told() {
    let scratch = Scratch::new("agent-folder");
    let folder = scratch.path().join("jobs");
    std::fs::create_dir(&folder).expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("a file");
    write("one.toml", &patient_job("a"));
    write("two.toml", &patient_job("b"));
    write("README.md", "not a job");
    let socket = scratch.path().join("notify");
    let listener = Listener(std::os::unix::net::UnixDatagram::bind(&socket).expect("a socket"));
    listener.0.set_read_timeout(Some(LIMIT)).expect("a limit");
    let mut command = forebay(&scratch);
    command
        .args(["agent", "jobs"])
        .env("ALIBABA_CLOUD_ACCESS_KEY_ID", "id")
        .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "key")
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "400000");
    let mut agent = Server::start("agent", command, &scratch.path().join("agent.log"));
    listener.wait_for("READY=1");
    listener.wait_for("WATCHDOG=1");
    let reload = |said: &str| {
        agent.signal(Signal::HUP);
        listener.wait_for("RELOADING=1");
        listener.wait_for("READY=1");
        assert!(agent.log_text().contains(said), "{said}\n{}", agent.log_tail());
    };
    reload("nothing has changed");
    write("one.toml", "[source]\nbrokers = 1\n");
    reload("the jobs go on as they were");
    write("one.toml", &patient_job("c"));
    write("three.toml", &patient_job("d"));
    std::fs::remove_file(folder.join("two.toml")).expect("it is there");
    reload("started [\"three\"], changed [\"one\"], stopped [\"two\"]");
    agent.wait_until("the end of the second job", LIMIT, |agent| agent.log_text().contains("job two: stopped"));
    agent.signal(Signal::TERM);
    listener.wait_for("STOPPING=1");
    let status = agent.wait(LIMIT);
    assert!(status.success(), "{status}\n{}", agent.log_tail());
}

#[test]
fn what_an_agent_cannot_do_is_said() {
    let scratch = Scratch::new("agent-refused");
    let _job = scratch.write(
        "job.toml",
        "[source]\nbrokers = [\"127.0.0.1:1\"]\ntopic = \"t\"\nstart = \"earliest\"\n[target]\nproject = \"p\"\nendpoint = \
         \"http://127.0.0.1:1/api\"\ntable = \"t\"\ntruncate = true\n[[columns]]\nto = \"a\"\nfrom = \"value\"\n",
    );
    let mut command = forebay(&scratch);
    command
        .args(["agent", "job.toml"])
        .env("ALIBABA_CLOUD_ACCESS_KEY_ID", "id")
        .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "key");
    let output = forebay_proto_tests::process::run(command, b"", LIMIT);
    assert_eq!(output.code, 78, "{}", output.describe());
    assert!(output.stderr_text().contains("truncate is true"), "{}", output.describe());
    assert!(output.stderr_text().contains("forebay run replaces a table"), "{}", output.describe());
}
