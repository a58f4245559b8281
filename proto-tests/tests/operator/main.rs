//! What an operator sees before and during a run: `check`, `plan`, `preview`, `convert`, `new`, progress, and the documentation.
//!
//! The ends are the sandbox's: what is told about real brokers is in `acceptance`. The judge of `plan` and `preview` is the run
//! that follows them, read back by `forebay tunnel` and `forebay sql`.

mod before;
mod conversion;
mod documentation;
mod during;
mod watching;

use std::time::Duration;

use forebay::sandbox::broker::{self, Broker, BrokerConfig, KafkaVersion};
use forebay_proto_tests::cli::{forebay, run_forebay};
use forebay_proto_tests::maxcompute::LocalMaxCompute;
use forebay_proto_tests::process::{Output, run};
use forebay_proto_tests::scratch::{Scratch, repository_folder};
use tokio::runtime::{Builder, Runtime};

const LIMIT: Duration = Duration::from_secs(120);

/// Two embedded brokers that look like Kafka 1.0.1, a local MaxCompute, and a folder with the reference job.
struct World {
    broker: Broker,
    service: LocalMaxCompute,
    scratch: Scratch,
    // After the broker, which stops on it.
    _runtime: Runtime,
}

impl World {
    /// A job without an end that copies values, with `rest` behind its columns.
    fn endless_job(&self, rest: &str) -> String {
        format!(
            "[source]\nbrokers = [\"{}\"]\ntopic = \"testkafka\"\nstart = \"earliest\"\n[target]\ndatasource = \"odps_first\"\n\
             table = \"testkafka\"\n[[columns]]\nto = \"value\"\nfrom = \"value\"\n{rest}",
            self.broker.address()
        )
    }

    fn start() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let config = BrokerConfig {
            brokers: 2,
            topics: vec![("testkafka".to_owned(), 3), ("orders".to_owned(), 1)],
            auto_create: false,
            version: KafkaVersion::V1_0_1,
            ..BrokerConfig::default()
        };
        let broker = runtime.block_on(broker::start(config)).expect("the brokers start");
        let service = LocalMaxCompute::start();
        let scratch = Scratch::new("operator");
        scratch.write("sources.toml", service.account().datasources());
        scratch.write("job.json", seed().replace("47.xxx.xxx.xxx:9092", &broker.address()));
        let world = Self { broker, service, scratch, _runtime: runtime };
        let table = std::fs::read_to_string(repository_folder().join("deploy/examples/testkafka/table.sql"));
        world.sql(&table.expect("in the tree"));
        world
    }

    /// Runs a command that takes a job, with the data source of this world.
    fn forebay(&self, arguments: &[&str]) -> Output {
        let sources = ["--datasources", "sources.toml"];
        run_forebay(&self.scratch, &[arguments, &sources].concat())
    }

    fn sql(&self, statement: &str) -> String {
        self.forebay(&["sql", "-o", "csv", "-e", statement]).expect_success().stdout_text()
    }

    /// One record a line, all in one partition.
    fn produce(&self, partition: &str, lines: &str) {
        let mut forebay = forebay(&self.scratch);
        let server = self.broker.address();
        forebay.args([
            "kafka",
            "produce",
            "--bootstrap-server",
            &server,
            "--topic",
            "testkafka",
            "--partition",
            partition,
        ]);
        // One batch, however slowly the lines come: what a run reads at a time is not left to chance.
        forebay.args(["--producer-property", "linger.ms=5000", "--producer-property", "batch.size=1000000"]);
        run(forebay, lines.as_bytes(), LIMIT).expect_success();
    }
}

fn seed() -> String {
    std::fs::read_to_string(repository_folder().join("proto-tests/vectors/jobs/seed.json")).expect("in the tree")
}
