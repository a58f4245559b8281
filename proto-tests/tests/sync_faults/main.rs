//! A bounded job against a Tunnel that misbehaves: blocks cut half-way, answers lost after the effect, refusals.
//!
//! The judge is the table: every record once, in whichever block it came. The broker is the sandbox's, which certifies nothing
//! about Kafka here; real brokers are in `acceptance`.

#![allow(clippy::unwrap_used)]

mod pace;

use std::collections::BTreeMap;
use std::time::Duration;

use forebay::job::{self, Datasources, JobSpec, LoadOptions};
use forebay::kafka::record::{BatchBuilder, BatchOptions};
use forebay::kafka::{Acks, Client, ClientConfig};
use forebay::sandbox::broker::{self, Broker, BrokerConfig};
use forebay::sandbox::maxcompute::{self, Action, Fault, LocalMaxCompute, MaxComputeSandboxConfig};
use forebay::sync::run::{RunOptions, run};
use forebay::sync::{RunError, RunErrorKind, StopCause, Summary, TargetState};
use forebay::tunnel::{Credentials, MaxCompute, MaxComputeConfig};
use tokio::sync::watch;

const PARTITIONS: i32 = 4;
const RECORDS: i64 = 100_000;
const GROUP: &str = "g";

struct World {
    broker: Broker,
    service: LocalMaxCompute,
    client: Client,
    sql: MaxCompute,
}

impl World {
    /// A topic with [`RECORDS`] records of some 250 bytes, and an empty table.
    async fn new() -> Self {
        let topics = vec![("t".to_owned(), PARTITIONS)];
        let broker = broker::start(BrokerConfig { topics, ..BrokerConfig::default() }).await.unwrap();
        let service = maxcompute::start(MaxComputeSandboxConfig::default()).await.unwrap();
        let client = Client::connect(ClientConfig::new([broker.address().to_string()])).await.unwrap();
        let mut config = MaxComputeConfig::new(service.endpoint(), service.project(), Credentials::new("id", "key"));
        config.retry.pause_first = Duration::from_millis(10);
        let sql = MaxCompute::new(config).unwrap();
        let world = Self { broker, service, client, sql };
        let filler = "x".repeat(200);
        let per_batch = 1_000;
        for first in (0..RECORDS).step_by(per_batch) {
            let mut batch = BatchBuilder::new(BatchOptions::default());
            for n in first..(first + i64::try_from(per_batch).unwrap()).min(RECORDS) {
                let value = format!("{{\"n\":{n},\"filler\":\"{filler}\"}}");
                batch.push(1_700_000_000_000 + n, None, Some(value.as_bytes()), &[]);
            }
            let partition = i32::try_from(first / i64::try_from(per_batch).unwrap()).unwrap() % PARTITIONS;
            let batch = batch.finish(0).unwrap();
            world.client.produce("t", partition, batch.into(), Acks::All).await.unwrap();
        }
        world.ask("create table t (p bigint, o bigint, n bigint, v string)").await;
        world
    }

    async fn ask(&self, query: &str) -> Vec<Vec<Option<String>>> {
        self.sql.sql(query, &[]).await.unwrap().rows
    }

    /// A job that writes the table `t`, unless `writer` names another.
    fn spec(&self, writer: &str) -> JobSpec {
        let (text, sources) = self.texts(writer, 2);
        let mut options = LoadOptions::new(jiff::Timestamp::now());
        options.sources.datasources = Datasources::parse("sources.toml", &sources).unwrap();
        job::load("faults.json", &text, &options).unwrap()
    }

    /// The same as files: the job and its data sources.
    fn texts(&self, writer: &str, concurrent: u32) -> (String, String) {
        let table = if writer.contains("\"table\"") { "" } else { r#""table": "t", "partition": "", "# };
        let writer = format!("{table}{writer}");
        let text = format!(
            r#"{{"type": "job", "version": "2.0", "steps": [
              {{"stepType": "kafka", "category": "reader", "name": "Reader", "parameter": {{
                "server": "{}", "topic": "t", "kafkaConfig": {{"group.id": "{GROUP}"}}, "valueType": "ByteArray", "keyType": "ByteArray",
                "column": ["__partition__", "__offset__", "n", "__value__"], "beginOffset": "0", "endOffset": "1000000"}}}},
              {{"stepType": "odps", "category": "writer", "name": "Writer", "parameter": {{
                "datasource": "odps_first", "column": ["p", "o", "n", "v"], {writer}}}}}],
              "setting": {{"speed": {{"concurrent": {concurrent}}}, "errorLimit": {{"record": "0"}}}}}}"#,
            self.broker.address()
        );
        let sources = format!(
            "[odps_first]\ntype = \"odps\"\nendpoint = \"{}\"\nproject = \"{}\"\naccess_id = \"id\"\naccess_key = \"key\"\n",
            self.service.endpoint(),
            self.service.project()
        );
        (text, sources)
    }

    async fn run(&self, spec: &JobSpec) -> Result<Summary, RunError> {
        let (_stop, stopped) = watch::channel(None);
        run(spec, &RunOptions::default(), stopped).await
    }

    /// Every record once, each with its own partition and offset.
    async fn assert_complete(&self) {
        let rows = self.ask("select count(*), count(distinct n), sum(n), min(n), max(n) from t").await;
        let number = |n: i64| Some(n.to_string());
        let sum = RECORDS * (RECORDS - 1) / 2;
        assert_eq!(rows, [vec![number(RECORDS), number(RECORDS), number(sum), number(0), number(RECORDS - 1)]]);
        let per_partition = self.ask("select p, count(*), max(o) from t group by p order by p").await;
        let share = RECORDS / i64::from(PARTITIONS);
        let expected: Vec<_> =
            (0..i64::from(PARTITIONS)).map(|p| vec![number(p), number(share), number(share - 1)]).collect();
        assert_eq!(per_partition, expected);
    }

    async fn committed(&self) -> BTreeMap<i32, Option<i64>> {
        let wanted = [("t".to_owned(), (0..PARTITIONS).collect())];
        let offsets = self.client.committed_offsets(GROUP, &wanted).await.unwrap();
        offsets.into_iter().map(|offset| (offset.partition, offset.offset)).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_blocks_are_read_from_kafka_again() {
    let world = World::new().await;
    let faults = world.service.faults();
    faults.push(Fault::before("upload_block", Action::CutRequest { after_bytes: 3_000_000 }).times(2));
    faults.push(Fault::after("upload_block", Action::Drop).skip(1));
    let busy =
        Action::Status { status: 429, code: "FlowExceeded".into(), message: "slow down".into(), retry_after_s: None };
    faults.push(Fault::before("upload_block", busy));
    let summary = world.run(&world.spec(r#""truncate": true, "blockSizeInMB": 8"#)).await.unwrap();
    world.assert_complete().await;
    assert_eq!(world.service.faults().waiting(), [], "every fault was met");
    assert!(summary.stats.blocks_resent >= 4, "{summary:?}");
    assert!(summary.blocks >= 3, "blocks of 8 MiB hold some 25 MB: {summary:?}");
    let records = u64::try_from(RECORDS).unwrap();
    assert_eq!((summary.rows, summary.stats.records_read), (records, records), "repeats are not counted twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_to_the_commit_is_settled_by_asking() {
    let world = World::new().await;
    world.service.faults().push(Fault::after("upload_commit", Action::Drop));
    let summary = world.run(&world.spec(r#""truncate": false"#)).await.unwrap();
    assert_eq!(summary.rows, u64::try_from(RECORDS).unwrap());
    world.assert_complete().await;
    assert!(world.committed().await.values().all(|offset| *offset == Some(RECORDS / i64::from(PARTITIONS))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_block_leaves_table_and_offsets_as_they_were() {
    let world = World::new().await;
    world.ask("insert into t values (9, 9, 9, 'old')").await;
    let refused =
        Action::Status { status: 403, code: "NoPermission".into(), message: "not allowed".into(), retry_after_s: None };
    world.service.faults().push(Fault::before("upload_block", refused).skip(1));
    let error = world.run(&world.spec(r#""truncate": true, "blockSizeInMB": 8"#)).await.unwrap_err();
    assert_eq!((error.kind, &error.target), (RunErrorKind::Auth, &TargetState::Unchanged), "{error:?}");
    assert!(error.message.contains("NoPermission") && error.message.contains("block"), "{error:?}");
    let rows = world.ask("select v from t").await;
    assert_eq!(rows, [vec![Some("old".to_owned())]]);
    assert!(world.committed().await.values().all(Option::is_none));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_refused_commits_no_offset() {
    let world = World::new().await;
    let refused =
        Action::Status { status: 400, code: "InvalidArgument".into(), message: "no".into(), retry_after_s: None };
    world.service.faults().push(Fault::before("upload_commit", refused).times(50));
    let error = world.run(&world.spec(r#""truncate": true"#)).await.unwrap_err();
    assert_eq!(error.target, TargetState::Unchanged, "{error:?}");
    assert_eq!(world.ask("select count(*) from t").await, [vec![Some("0".to_owned())]]);
    assert!(world.committed().await.values().all(Option::is_none));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_range_with_truncate_empties_the_table() {
    let world = World::new().await;
    world.ask("insert into t values (9, 9, 9, 'old')").await;
    let mut spec = world.spec(r#""truncate": true"#);
    spec.reader.end = job::End::Offset(0);
    let summary = world.run(&spec).await.unwrap();
    assert_eq!((summary.rows, summary.blocks), (0, 0));
    assert_eq!(world.ask("select count(*) from t").await, [vec![Some("0".to_owned())]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dirty_limit_stops_before_anything_is_committed() {
    let world = World::new().await;
    let mut spec = world.spec(r#""truncate": true"#);
    // "n" into a bigint is clean, the whole value is not.
    spec.reader.columns.swap(2, 3);
    let error = world.run(&spec).await.unwrap_err();
    assert_eq!((error.kind, error.target), (RunErrorKind::DirtyLimit, TargetState::Unchanged));
    assert!(error.message.contains("限制是[0]条，但实际上捕获了[1]条"), "{}", error.message);
    assert_eq!(world.ask("select count(*) from t").await, [vec![Some("0".to_owned())]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_is_in_the_partition_of_its_record_although_blocks_fail() {
    let world = World::new().await;
    world.ask("create table r (p bigint, o bigint, n bigint, v string) partitioned by (mi string, src string)").await;
    world.ask("alter table r add partition (mi='202311142213', src='p0')").await;
    world.ask("insert into r partition (mi='202311142213', src='p0') values (9, 9, 9, 'old')").await;
    world.ask("alter table r add partition (mi='1999', src='p0')").await;
    world.ask("insert into r partition (mi='1999', src='p0') values (9, 9, 9, 'kept')").await;
    let faults = world.service.faults();
    for _ in 0..3 {
        faults.push(Fault::before("upload_block", Action::CutRequest { after_bytes: 200_000 }).skip(2));
        faults.push(Fault::after("upload_block", Action::Drop).skip(1));
    }
    let busy =
        Action::Status { status: 429, code: "SlotExceeded".into(), message: "slots".into(), retry_after_s: None };
    faults.push(Fault::before("upload_block", busy));
    let mut spec = world.spec(
        r#""truncate": true, "blockSizeInMB": 8, "table": "r", "partition": "mi={__timestamp__:yyyyMMddHHmm}/src=p{__partition__}""#,
    );
    spec.settings.time_zone = jiff::tz::TimeZone::UTC;
    let summary = world.run(&spec).await.unwrap();
    assert_eq!(summary.rows, u64::try_from(RECORDS).unwrap());
    assert!(summary.stats.blocks_resent >= 5, "{summary:?}");
    // 100,000 records, a millisecond apart, from 22:13:20 on: two minutes, four sources.
    assert_eq!(summary.targets.len(), 8, "{summary:?}");
    assert_eq!(summary.targets.iter().map(|target| target.rows).sum::<u64>(), summary.rows);
    let found = world
        .ask("select mi, src, p, count(*), min(n), max(n), sum(n) from r where v <> 'kept' group by mi, src, p order by mi, src, p")
        .await;
    // What the generator has put there: batches of a thousand go round the partitions.
    let mut expected: BTreeMap<(String, i64), (i64, i64, i64, i64)> = BTreeMap::new();
    for n in 0..RECORDS {
        let minute = (20_000 + n) / 60_000 + 13;
        let partition = n / 1_000 % i64::from(PARTITIONS);
        let row = expected.entry((format!("2023111422{minute}"), partition)).or_insert((0, n, n, 0));
        *row = (row.0 + 1, row.1, n, row.3 + n);
    }
    let expected: Vec<Vec<Option<String>>> = expected
        .into_iter()
        .map(|((mi, p), (count, min, max, sum))| {
            let numbers = [p, count, min, max, sum].map(|number| Some(number.to_string()));
            [Some(mi), Some(format!("p{p}"))].into_iter().chain(numbers).collect()
        })
        .collect();
    assert_eq!(found, expected);
    let kept = world.ask("select count(*) from r where mi = '1999'").await;
    assert_eq!(kept, [vec![Some("1".to_owned())]], "partitions without a row of the run are not touched");
    assert!(world.committed().await.values().all(|offset| *offset == Some(RECORDS / i64::from(PARTITIONS))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_partitions_than_allowed_change_nothing() {
    let world = World::new().await;
    world.ask("create table r (p bigint, o bigint, n bigint, v string) partitioned by (src string)").await;
    let spec =
        world.spec(r#""truncate": true, "table": "r", "partition": "src={__partition__}", "dynamicPartitionsMax": 3"#);
    let error = world.run(&spec).await.unwrap_err();
    assert_eq!(error.target, TargetState::Unchanged, "{error:?}");
    assert!(error.message.contains("more than 3 partitions of table r"), "{error:?}");
    assert_eq!(world.ask("select count(*) from r").await, [vec![Some("0".to_owned())]]);
    assert!(world.committed().await.values().all(Option::is_none));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_cannot_be_committed_is_told_apart_from_those_that_were() {
    let world = World::new().await;
    world.ask("create table r (p bigint, o bigint, n bigint, v string) partitioned by (src string)").await;
    let refused =
        Action::Status { status: 400, code: "InvalidArgument".into(), message: "no".into(), retry_after_s: None };
    world.service.faults().push(Fault::before("upload_commit", refused).skip(2));
    let spec = world.spec(r#""truncate": true, "table": "r", "partition": "src={__partition__}""#);
    let error = world.run(&spec).await.unwrap_err();
    let committed = vec!["src=0".to_owned(), "src=1".to_owned()];
    assert_eq!(error.target, TargetState::Partly { committed, of: 4, unknown: None }, "{error:?}");
    assert!(world.committed().await.values().all(Option::is_none), "no offset before all partitions are there");
    // The same job again replaces what is there.
    let summary = world.run(&spec).await.unwrap();
    assert_eq!((summary.rows, summary.targets.len()), (u64::try_from(RECORDS).unwrap(), 4));
    let rows = world.ask("select count(*), count(distinct n) from r").await;
    assert_eq!(rows, [vec![Some(RECORDS.to_string()), Some(RECORDS.to_string())]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttling_outlasts_the_attempts_and_is_told() {
    let world = World::new().await;
    let busy =
        Action::Status { status: 503, code: "SlotExceeded".into(), message: "no slot".into(), retry_after_s: Some(0) };
    world.service.faults().push(Fault::before("upload_block", busy).times(6));
    let summary = world.run(&world.spec(r#""truncate": true, "maxRetryTime": 1"#)).await.unwrap();
    assert!(summary.stats.blocks_resent >= 6, "{summary:?}");
    world.assert_complete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_life_is_over_fails_the_job_and_says_so() {
    let world = World::new().await;
    let expired =
        Action::Status { status: 404, code: "NoSuchUpload".into(), message: "expired".into(), retry_after_s: None };
    world.service.faults().push(Fault::before("upload_block", expired).skip(1));
    let error = world.run(&world.spec(r#""truncate": true, "blockSizeInMB": 8"#)).await.unwrap_err();
    assert_eq!(error.target, TargetState::Unchanged, "{error:?}");
    assert!(error.advice.as_deref().is_some_and(|advice| advice.contains("lives for 24 hours")), "{error:?}");
    assert_eq!(world.ask("select count(*) from t").await, [vec![Some("0".to_owned())]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_job_brings_every_row_and_commits_what_was_acknowledged() {
    let world = World::new().await;
    let busy =
        Action::Status { status: 429, code: "SlotExceeded".into(), message: "slots".into(), retry_after_s: Some(0) };
    world.service.faults().push(Fault::before("stream_write", busy).skip(2));
    let summary = world.run(&world.spec(r#""truncate": false, "mode": "stream""#)).await.unwrap();
    assert_eq!((summary.rows, summary.targets.len()), (u64::try_from(RECORDS).unwrap(), 0));
    assert!(summary.blocks >= 4, "packs are sent as they fill: {summary:?}");
    world.assert_complete().await;
    assert!(world.committed().await.values().all(|offset| *offset == Some(RECORDS / i64::from(PARTITIONS))));
}

/// A stream job without an end: rows and offsets come while it runs, and a signal ends it in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_job_without_an_end_goes_on_until_it_is_stopped() {
    let world = World::new().await;
    world.ask("create table r (p bigint, o bigint, n bigint, v string) partitioned by (src string)").await;
    let mut spec =
        world.spec(r#""truncate": false, "mode": "stream", "table": "r", "partition": "src={__partition__}""#);
    spec.unbounded = true;
    let (stop, stopped) = watch::channel(None);
    let options = RunOptions::default();
    let running = run(&spec, &options, stopped);
    let watching = async {
        let all = [vec![Some(RECORDS.to_string()), Some(RECORDS.to_string())]];
        while world.ask("select count(*), count(distinct n) from r").await != all {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        // Seconds later, not at the end: there is none.
        while world.committed().await.values().any(|offset| *offset != Some(RECORDS / i64::from(PARTITIONS))) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let mut batch = BatchBuilder::new(BatchOptions::default());
        batch.push(1_700_000_000_000, None, Some(b"{\"n\":-1}"), &[]);
        world.client.produce("t", 0, batch.finish(0).unwrap().into(), Acks::All).await.unwrap();
        while world.ask("select count(*) from r where n = -1").await != [vec![Some("1".to_owned())]] {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        stop.send_replace(Some(StopCause::Terminate));
    };
    let both = async { tokio::join!(running, watching) };
    let (summary, ()) = tokio::time::timeout(Duration::from_secs(240), both).await.expect("it ends when it is stopped");
    assert_eq!(summary.unwrap().rows, u64::try_from(RECORDS).unwrap() + 1);
    assert_eq!(world.committed().await.get(&0).copied().flatten(), Some(RECORDS / i64::from(PARTITIONS) + 1));
}
