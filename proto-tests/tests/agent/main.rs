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

struct World {
    cluster: std::sync::Arc<KafkaCluster>,
    service: LocalMaxCompute,
    scratch: Scratch,
    topic: &'static str,
    agents: usize,
}

impl World {
    fn new(version: Version, topic: &'static str, replication_factor: u16, ddl: &str, target: &str) -> Self {
        let cluster = KafkaCluster::shared(version);
        let service = LocalMaxCompute::start();
        let scratch = Scratch::new("agent");
        cluster.create_topic(topic, 4, replication_factor);
        let _sources = scratch.write("sources.toml", service.account().datasources());
        let _ddl = run_forebay(&scratch, &["sql", "--datasources", "sources.toml", "-e", ddl]).expect_success();
        let brokers = cluster.servers().split(',').map(|server| format!("\"{server}\"")).collect::<Vec<_>>().join(", ");
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
[[columns]]
to = "value"
from = "value"
[[columns]]
to = "p"
from = "record.partition"
[[columns]]
to = "o"
from = "record.offset"
[limits]
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
