//! The page in headless Chromium, of an agent on a real Kafka, against what the API says; and the metrics of that agent by promtool.
//!
//! Only with `FOREBAY_PAGE` set: `./proto-tests/run page` installs what it needs. Screenshots go to the folder that
//! `FOREBAY_PAGE` names.

use std::path::PathBuf;
use std::time::Duration;

use forebay::sandbox::maxcompute::{Action, Fault};
use forebay_proto_tests::cli::{forebay, run_forebay};
use forebay_proto_tests::kafka::{KafkaCluster, Version};
use forebay_proto_tests::maxcompute::LocalMaxCompute;
use forebay_proto_tests::port;
use forebay_proto_tests::process::{Server, command, run};
use forebay_proto_tests::scratch::{Scratch, cached, package_folder};

use super::agent::{get, validate};
use super::ganglia::RealGmond;
use super::metrics::{matches_guide, parsed};

const LIMIT: Duration = Duration::from_secs(300);
const TOPIC: &str = "orders";
const JOB: &str = "orders-to-maxcompute";

/// Where screenshots go.
fn screenshots() -> PathBuf {
    std::env::var_os("FOREBAY_PAGE")
        .expect("a browser: ./proto-tests/run page installs it and sets FOREBAY_PAGE")
        .into()
}

struct World {
    cluster: std::sync::Arc<KafkaCluster>,
    service: LocalMaxCompute,
    agent: Server,
    gmond: RealGmond,
    port: u16,
    _scratch: Scratch,
}

impl World {
    fn new(version: Version) -> Self {
        let cluster = KafkaCluster::shared(version);
        let service = LocalMaxCompute::start();
        let scratch = Scratch::new("page");
        cluster.create_topic(TOPIC, 6, 1);
        let _sources = scratch.write("sources.toml", service.account().datasources());
        let ddl = format!("create table {TOPIC} (value string, n bigint, p bigint, o bigint)");
        let _ddl =
            run_forebay(&scratch, &["sql", "--datasources", "sources.toml", "-e", ddl.as_str()]).expect_success();
        let brokers = cluster.servers().split(',').map(|server| format!("\"{server}\"")).collect::<Vec<_>>().join(", ");
        let _job = scratch.write(
            &format!("{JOB}.toml"),
            format!(
                r#"
[source]
brokers = [{brokers}]
topic = "{TOPIC}"
group = "page-{TOPIC}"
start = "earliest"
config = {{ "client.id" = "<img src=x onerror=alert(1)>", "heartbeat.interval.ms" = "500" }}
[target]
datasource = "odps_first"
table = "{TOPIC}"
[[columns]]
to = "value"
from = "value"
[[columns]]
to = "n"
from = "value.n"
[[columns]]
to = "p"
from = "record.partition"
[[columns]]
to = "o"
from = "record.offset"
[limits]
memory_max = "16MiB"
commit_every = {{ time = "500ms" }}
"#
            ),
        );
        let port = port::free();
        let gmond = RealGmond::start();
        let mut command = forebay(&scratch);
        command.args([
            "agent",
            &format!("{JOB}.toml"),
            "--datasources",
            "sources.toml",
            "--stalled-after",
            "3s",
            "--http",
        ]);
        command.arg(format!("127.0.0.1:{port}")).args(["--gmond", &gmond.address]);
        let mut agent = Server::start("agent", command, &scratch.path().join("agent.log"));
        agent.wait_until("readiness", LIMIT, |agent| {
            agent.log_text().contains("status page at") && get(port, "/readyz").status == 200
        });
        Self { cluster, service, agent, gmond, port, _scratch: scratch }
    }

    fn produce(&self, records: usize, dirty: usize) {
        let clean = (0..records).map(|n| format!("k{n}|{{\"n\":{n}}}\n"));
        let dirty = (0..dirty).map(|n| format!("d{n}|{{\"n\":\"no number\"}}\n"));
        let lines: String = clean.chain(dirty).collect();
        self.cluster.produce(TOPIC, &lines, &["--property", "parse.key=true", "--property", "key.separator=|"]);
    }

    /// Looks at the page. What is not as it should be is in the program's own words.
    fn look(&self, stage: &str, folder: &std::path::Path) -> String {
        let mut python = command(cached("venv").join("bin/python"));
        python.arg(package_folder().join("python/look_at_page.py"));
        python.args([stage, &format!("http://127.0.0.1:{}", self.port)]).arg(folder).arg(JOB);
        run(python, b"", LIMIT).expect_success().stdout_text()
    }

    fn job(&self) -> serde_json::Value {
        get(self.port, &format!("/api/v1/jobs/{JOB}")).json()
    }

    fn wait_for_rows(&mut self, rows: u64) {
        let port = self.port;
        self.agent.wait_until("the rows in the table", LIMIT, |_| {
            get(port, &format!("/api/v1/jobs/{JOB}")).json()["totals"]["rows_committed"] == rows
        });
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "what was seen is the suite's account")]
fn the_page_shows_what_the_api_says() {
    let folder = screenshots();
    std::fs::create_dir_all(&folder).expect("a folder for screenshots");
    let mut world = World::new(Version::V4_4_0);
    world.produce(3_000, 2);
    world.wait_for_rows(3_000);
    let job = world.job();
    assert_eq!((&job["totals"]["records_read"], &job["dirty"]["records"]), (&3_002.into(), &2.into()), "{job}");
    assert_eq!(job["dirty"]["reasons"][0]["reason"], "n bigint", "{job}");
    println!("calm: {}", world.look("calm", &folder));
    validate(world.port, &[JOB]);
    metrics(&world, 3_000);
    // It is told every 15 s.
    let deadline = std::time::Instant::now() + LIMIT;
    let heard =
        || ["rows_committed", "lag_records", "ready"].map(|name| world.gmond.value(&format!("forebay_{JOB}_{name}")));
    while heard() != [Some("3000".to_owned()), Some("0".to_owned()), Some("1".to_owned())] {
        assert!(
            std::time::Instant::now() < deadline,
            "gmond has heard {:?}\n{}",
            heard(),
            world.gmond.server.log_tail()
        );
        std::thread::sleep(Duration::from_millis(500));
    }
    // The service takes blocks and never answers.
    let hold = Action::Hold { hold_ms: 600_000 };
    world.service.service().faults().push(Fault::before("upload_block", hold).times(u32::MAX));
    world.produce(2_000, 0);
    println!("stalled: {}", world.look("stalled", &folder));
    assert_eq!(get(world.port, "/livez").status, 200);
    // What was held is sent again once the agent is stopped, and nothing is lost or doubled: that is the agent's own suite.
}

/// Prometheus' own program has nothing to say against them, and they say what was done.
fn metrics(world: &World, rows: u64) {
    let text = get(world.port, "/metrics").text();
    let mut promtool = command("promtool");
    promtool.args(["check", "metrics"]);
    let output = run(promtool, text.as_bytes(), LIMIT);
    assert!(output.code == 0 && output.stdout.is_empty(), "{}\n{text}", output.describe());
    let mut promtool = command("promtool");
    promtool.args(["check", "rules"]);
    promtool.arg(package_folder().join("../deploy/monitoring/alerts.yml"));
    let _rules = run(promtool, b"", LIMIT).expect_success();
    matches_guide(&text);
    let families = parsed(&text);
    let sum = |family: &str, ending: &str| -> f64 {
        let (_, _, samples) = &families[family];
        let of = samples.iter().filter(|sample| sample["name"] == format!("{family}{ending}"));
        of.map(|sample| sample["value"].as_str().expect("a value").parse::<f64>().expect("a number")).sum()
    };
    let rows = f64::from(u32::try_from(rows).expect("few rows"));
    let told = [
        sum("forebay_rows_committed", "_total"),
        sum("forebay_records_received", "_total") - sum("forebay_dirty_records", "_total"),
        sum("forebay_lag_records", ""),
        sum("forebay_up_to_date", ""),
    ];
    assert!(
        told.iter().zip([rows, rows, 0.0, 1.0]).all(|(told, wanted)| (told - wanted).abs() < 0.5),
        "{told:?}\n{text}"
    );
    assert!(sum("forebay_request_duration_seconds", "_count") > 20.0, "{text}");
}
