//! `forebay demo`: the reference walkthrough, end to end, on an embedded Kafka cluster and a local MaxCompute.
//!
//! Each step prints a command as a user would type it and then runs exactly that, as a process of its own: what is shown
//! is what works. The job file and the table's DDL are the examples of the repository, unchanged.

mod command;
mod folder;
mod table;

use std::process::ExitCode;

use super::Failure;
use super::failure::code;
use super::out;
use super::sandbox::{Account, Tables, start_kafka, until_stopped};
use crate::sandbox::broker::{Broker, BrokerConfig, KafkaVersion};
use command::Command;
use folder::Folder;
use table::Row;

const JOB: &str = include_str!("../../../deploy/examples/testkafka/job.json");
const TABLE: &str = include_str!("../../../deploy/examples/testkafka/table.sql");

/// The project of the walkthrough.
const PROJECT: &str = "bigdata_doc";
const TOPIC: &str = "testkafka";
/// The group that the job file names.
const GROUP: &str = "console-consumer-83505";
/// Where the job ends in each partition; exclusive.
const END_OFFSET: usize = 3;
const PARTITIONS: usize = 10;

/// One line for each of the first partitions, since values without a key go to the partitions in turn.
const LINES: &[&str] = &[
    "123",
    "abc",
    r#"{"event_id":"e1","tag":{"desc":"first"}}"#,
    r#"{"event_id":"e2","tag":{"desc":"second"},"more":[1,2]}"#,
    r#"{"event_id":3,"tag":null}"#,
    "",
];
/// More than the job takes, all to one partition.
const LATE_PARTITION: usize = 7;
const LATE_LINES: &[&str] = &[
    r#"{"event_id":"p0","tag":{"desc":"offset 0"}}"#,
    r#"{"event_id":"p1","tag":{"desc":"offset 1"}}"#,
    r#"{"event_id":"p2","tag":{"desc":"offset 2"}}"#,
    r#"{"event_id":"p3","tag":{"desc":"offset 3, beyond the job's end"}}"#,
];

#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// Keep everything running after the last step, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

impl DemoArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let kafka = start_kafka(BrokerConfig {
            brokers: 3,
            // The walkthrough's own release.
            version: KafkaVersion::V1_0_1,
            ..BrokerConfig::default()
        })
        .await?;
        let account = Account {
            project: PROJECT.to_owned(),
            access_id: "demo".to_owned(),
            access_key: uuid::Uuid::new_v4().simple().to_string(),
        };
        let tables = Tables::start(BrokerConfig::default().listen, account, None).await?;
        let folder = Folder::new(&[
            ("job.json", JOB),
            ("table.sql", TABLE),
            ("datasources.toml", &tables.datasources_toml("odps_first")),
        ])?;
        let outcome = tokio::select! {
            // A walk that is only kept running ends well when it is stopped: it is asked first.
            biased;
            outcome = self.walk(&kafka, &tables, &folder) => outcome,
            stopped = until_stopped() => stopped.map(|()| ExitCode::from(code::INTERRUPTED)),
        };
        kafka.shutdown().await;
        tables.local.shutdown().await;
        let removed = folder.remove();
        let code = outcome?;
        removed.map(|()| code)
    }

    async fn walk(&self, kafka: &Broker, tables: &Tables, folder: &Folder) -> Result<ExitCode, Failure> {
        out::data(&format!(
            "The reference walkthrough, on this machine and with nothing else installed.\n\n\
             Kafka       {} (three embedded brokers that look like {})\n\
             MaxCompute  {}, project {PROJECT} (local)\n\
             Files       {} (job.json, table.sql, datasources.toml)\n",
            kafka.address(),
            KafkaVersion::V1_0_1,
            tables.local.endpoint(),
            folder.path().display(),
        ));
        let mut shown = String::new();
        for step in steps(&kafka.address()) {
            out::data(&format!("\n== {}\n", step.title));
            for command in &step.commands {
                out::data(&format!("{command}\n"));
                shown = command.run(folder.path()).await?;
            }
        }
        check(&shown)?;
        out::data("\nEach step succeeded, and the table holds what was written.\n");
        if self.keep {
            out::data("\nAll of it keeps running; Ctrl-C stops it.\n");
            until_stopped().await?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A step of the walkthrough.
struct Step {
    title: &'static str,
    commands: Vec<Command>,
}

fn steps(server: &str) -> Vec<Step> {
    let step = |title, commands| Step { title, commands };
    let kafka = |tool: &str, rest: &[&str]| {
        Command::new(["kafka", tool, "--bootstrap-server", server].iter().chain(rest).copied())
    };
    let sql = |rest: &[&str]| Command::new(["sql", "--datasources", "datasources.toml"].iter().chain(rest).copied());
    let all = (LINES.len() + LATE_LINES.len()).to_string();
    let partitions = PARTITIONS.to_string();
    let late = LATE_PARTITION.to_string();
    vec![
        step(
            "Step 1: create the topic, with 10 partitions and 3 replicas",
            vec![
                kafka(
                    "topics",
                    &["--create", "--topic", TOPIC, "--partitions", &partitions, "--replication-factor", "3"],
                ),
                kafka("topics", &["--list"]),
            ],
        ),
        step(
            "Step 2: write test data, one record a line; an empty line is an empty value",
            vec![
                kafka("produce", &["--topic", TOPIC]).with_input(LINES),
                kafka("produce", &["--topic", TOPIC, "--partition", &late]).with_input(LATE_LINES),
            ],
        ),
        step(
            "Step 3: read the data back, as a group that commits its offsets",
            vec![kafka(
                "consume",
                &[
                    "--topic",
                    TOPIC,
                    "--from-beginning",
                    "--max-messages",
                    &all,
                    "--timeout-ms",
                    "20000",
                    "--group",
                    GROUP,
                ],
            )],
        ),
        step("Step 4: create the MaxCompute table", vec![sql(&["-f", "table.sql"])]),
        step(
            "Step 6: find the group and the offsets",
            vec![kafka("groups", &["--list"]), kafka("groups", &["--describe", "--group", GROUP])],
        ),
        step(
            "Steps 7 and 8: run the job as it stands, but for the broker's address; it takes offsets 0 to 2 of each partition",
            vec![Command::new([
                "run",
                "job.json",
                "--set",
                &format!("Reader.server={server}"),
                "--datasources",
                "datasources.toml",
            ])],
        ),
        step(
            "Step 9: verify",
            vec![kafka("groups", &["--describe", "--group", GROUP]), sql(&["-e", "select * from testkafka"])],
        ),
    ]
}

/// Compares the table that was shown last with the records that were written.
///
/// # Errors
/// What is missing and what should not be there.
fn check(shown: &str) -> Result<(), Failure> {
    let mut found = table::rows(shown).map_err(|why| Failure::new(code::FAILED, format!("the last table: {why}")))?;
    found.sort();
    let expected = expected();
    if found == expected {
        return Ok(());
    }
    let missing = expected.iter().filter(|row| !found.contains(row)).map(|row| format!("\n  missing     {row:?}"));
    let surplus = found.iter().filter(|row| !expected.contains(row)).map(|row| format!("\n  unexpected  {row:?}"));
    let differences = missing.chain(surplus).collect::<String>();
    let why = format!("the table has {} rows, {} were expected{differences}", found.len(), expected.len());
    Err(Failure::new(code::FAILED, why))
}

/// The rows the job is to write, in their own order.
fn expected() -> Vec<Row> {
    let spread = LINES.iter().enumerate().map(|(partition, value)| (partition, 0, *value));
    let late = LATE_LINES.iter().enumerate().map(|(offset, value)| (LATE_PARTITION, offset, *value));
    let within = spread.chain(late).filter(|(_, offset, _)| *offset < END_OFFSET);
    let mut rows = within.map(|(partition, offset, value)| Row::expected(partition, offset, value)).collect::<Vec<_>>();
    rows.sort();
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_with_one_cell_wrong_is_refused() {
        let good = table::tests::shown(&expected());
        assert_eq!(check(&good), Ok(()));
        for (right, wrong) in [("| abc |", "| abd |"), ("| e1 |", "| NULL |"), ("| 7 |", "| 8 |"), ("| 123 |", "|  |")]
        {
            assert!(good.contains(right), "{right}");
            assert!(check(&good.replacen(right, wrong, 1)).is_err(), "{wrong}");
        }
        let fewer = good.lines().filter(|line| !line.contains("abc")).collect::<Vec<_>>().join("\n");
        assert!(check(&fewer).is_err());
        assert!(check("").is_err());
    }

    #[test]
    fn the_record_at_the_end_offset_stays_out() {
        let rows = expected();
        assert_eq!(rows.len(), LINES.len() + END_OFFSET);
        assert!(rows.iter().all(|row| !format!("{row:?}").contains("p3")));
    }

    #[test]
    fn the_examples_are_the_walkthroughs() {
        assert!(JOB.contains(&format!("\"group.id\": \"{GROUP}\"")));
        assert!(JOB.contains(&format!("\"endOffset\": \"{END_OFFSET}\"")));
        assert!(TABLE.contains("CREATE TABLE testkafka"));
    }
}
