//! The reference job, end to end: Kafka's own tools create the topic and write the records, `forebay run` moves them, and
//! PyODPS and odps-sdk-java read the table back. Kafka's ConsoleConsumer says what the rows must be.

mod every_type;
mod writer_keys;

use std::time::{Duration, Instant};

use forebay_proto_tests::cli::run_forebay;
use forebay_proto_tests::kafka::{KafkaCluster, Told, Version};
use forebay_proto_tests::maxcompute::{Account, LocalMaxCompute};
use forebay_proto_tests::scratch::{Scratch, repository_folder};
use forebay_proto_tests::table::{
    Row, difference, read_partition_with_java, read_partition_with_pyodps, read_with_java, read_with_pyodps,
};

/// The group, the end and the columns that the reference job names.
const GROUP: &str = "console-consumer-83505";
const END: i64 = 3;
const COLUMNS: [&str; 8] = ["key", "value", "partition1", "timestamp1", "offset", "t123", "event_id", "tag"];

/// A value typed into the console producer, and what the job's columns `event_id` and `tag.desc` make of it.
struct Typed {
    value: &'static str,
    event_id: Option<&'static str>,
    tag: Option<&'static str>,
}

const fn typed(value: &'static str, event_id: Option<&'static str>, tag: Option<&'static str>) -> Typed {
    Typed { value, event_id, tag }
}

/// The rules are those of the job's description: not JSON or no such member is NULL, a string is its text, a number keeps
/// its digits, an object is compact JSON, and a literal member name comes before a path.
const UNKEYED: &[Typed] = &[
    typed("123", None, None),
    typed("abc", None, None),
    typed("", None, None),
    typed(r#"{"event_id":"e1","tag":{"desc":"d"}}"#, Some("e1"), Some("d")),
    typed(r#"{"event_id":1.10,"tag":{"desc":null}}"#, Some("1.10"), None),
    typed(r#"{"tag.desc":"literal","tag":{"desc":"path"}}"#, None, Some("literal")),
    typed(r#"{"event_id":{"b":1, "a":[1,2]},"tag":{"desc":true}}"#, Some(r#"{"b":1,"a":[1,2]}"#), Some("true")),
    typed(r#"{"event_id":"消息 é \u00fc \" \\","tag":{"desc":""}}"#, Some("消息 é ü \" \\"), Some("")),
    typed("{broken", None, None),
];

/// Written under one key each, so that some partition holds more records than the job's end admits.
const KEYED: &[(&str, Typed)] = &[
    ("k1", typed(r#"{"event_id":"a0","tag":{"desc":"a"}}"#, Some("a0"), Some("a"))),
    ("k1", typed(r#"{"event_id":"a1","tag":{"desc":"a"}}"#, Some("a1"), Some("a"))),
    ("k1", typed(r#"{"event_id":"a2","tag":{"desc":"a"}}"#, Some("a2"), Some("a"))),
    ("k1", typed(r#"{"event_id":"a3","tag":{"desc":"a"}}"#, Some("a3"), Some("a"))),
    ("k1", typed(r#"{"event_id":"a4","tag":{"desc":"a"}}"#, Some("a4"), Some("a"))),
    ("键", typed(r#"{"event_id":"b0","tag":{"desc":"b"}}"#, Some("b0"), Some("b"))),
];

fn write_records(cluster: &KafkaCluster, topic: &str) {
    let lines: String = UNKEYED.iter().map(|typed| format!("{}\n", typed.value)).collect();
    cluster.produce(topic, &lines, &[]);
    let lines: String = KEYED.iter().map(|(key, typed)| format!("{key}|{}\n", typed.value)).collect();
    cluster.produce(topic, &lines, &["--property", "parse.key=true", "--property", "key.separator=|"]);
}

/// The rows that the reference job owes for these records: those below its end, in the order of its columns.
fn expected_rows(told: &[Told]) -> Vec<Row> {
    let all: Vec<&Typed> = UNKEYED.iter().chain(KEYED.iter().map(|(_, typed)| typed)).collect();
    let row = |record: &Told| {
        let value = record.value.as_deref().expect("the console producer writes no null values");
        let typed = all.iter().find(|typed| typed.value.as_bytes() == value);
        let typed = typed.unwrap_or_else(|| panic!("nobody typed {}", value.escape_ascii()));
        let text = |text: &str| Some(text.as_bytes().to_vec());
        vec![
            record.key.clone(),
            record.value.clone(),
            text(&record.partition.to_string()),
            text(&record.timestamp.to_string()),
            text(&record.offset.to_string()),
            text("123"),
            typed.event_id.and_then(text),
            typed.tag.and_then(text),
        ]
    };
    told.iter().filter(|record| record.offset < END).map(row).collect()
}

/// Both SDKs find exactly `expected`.
fn assert_table(account: &Account, expected: &[Row]) {
    for (reader, table) in
        [("PyODPS", read_with_pyodps(account, "testkafka")), ("odps-sdk-java", read_with_java(account, "testkafka"))]
    {
        assert_eq!(table.columns, COLUMNS, "{reader}");
        if let Some(difference) = difference(expected, &table.rows) {
            panic!("what {reader} reads is not what ConsoleConsumer printed: {difference}");
        }
    }
}

/// The committed offsets of a group are the ends of the ranges read; nothing is said of a partition without records.
fn assert_committed(cluster: &KafkaCluster, topic: &str, told: &[Told]) {
    let rows = cluster.group(GROUP);
    for (partition, end) in cluster.offsets(topic, -1) {
        let committed = rows.iter().find(|row| row.topic == topic && row.partition == partition);
        let committed = committed.and_then(|row| row.committed);
        let has_records = told.iter().any(|record| record.partition == partition);
        if has_records {
            assert_eq!(committed, Some(end.min(END)), "partition {partition} in {rows:?}");
        } else {
            assert!(committed.is_none_or(|offset| offset == 0), "partition {partition} in {rows:?}");
        }
    }
}

/// The rows of `forebay sql -o json`: an array of objects, their members in the order of the columns.
fn rows_of_json(text: &str) -> Vec<Row> {
    let objects: Vec<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_str(text).expect("an array of objects");
    let row = |object: serde_json::Map<String, serde_json::Value>| {
        let cell = |name: &&str| object.get(*name).expect("every column").as_str().map(|text| text.as_bytes().to_vec());
        COLUMNS.iter().map(cell).collect()
    };
    objects.into_iter().map(row).collect()
}

fn reference_job(version: Version, replication_factor: u16) {
    let cluster = KafkaCluster::shared(version);
    let service = LocalMaxCompute::start();
    let scratch = Scratch::new("acceptance");
    let topic = "testkafka";
    cluster.create_topic(topic, 10, replication_factor);
    write_records(&cluster, topic);
    let told = cluster.consume(topic);
    assert_eq!(told.len(), UNKEYED.len() + KEYED.len());
    assert!(told.iter().any(|record| record.offset >= END), "no record lies past the end: {told:?}");

    let sources = scratch.write("sources.toml", service.account().datasources());
    let sources = sources.to_str().expect("a readable path");
    let job = repository_folder().join("deploy/examples/testkafka/job.json");
    let job = job.to_str().expect("a readable path");
    let ddl = std::fs::read_to_string(repository_folder().join("deploy/examples/testkafka/table.sql"))
        .expect("the DDL is in the tree");
    let _created = run_forebay(&scratch, &["sql", "--datasources", sources, "-e", &ddl]).expect_success();
    assert_table(service.account(), &[]);

    let server = format!("Reader.server={}", cluster.server());
    let run_job = || {
        let begin = Instant::now();
        let output = run_forebay(&scratch, &["run", job, "--set", &server, "--datasources", sources]).expect_success();
        // It ends by itself although most partitions hold fewer records than its end says: within its waiting time of ten
        // seconds and what a busy machine adds.
        assert!(begin.elapsed() < Duration::from_secs(60), "{:?}\n{}", begin.elapsed(), output.describe());
        output
    };
    let check = |set: &str| {
        let arguments = ["check", job, "--set", &server, "--set", set, "--datasources", sources, "--deny-warnings"];
        run_forebay(&scratch, &arguments)
    };
    let looked = check("reader.beginOffset=0").expect_success().stdout_text();
    assert_eq!(looked.matches("speaks as Kafka ").count(), usize::from(replication_factor), "{looked}");
    let in_range = format!("kafka: {} offsets in range", told.iter().filter(|record| record.offset < END).count());
    assert!(looked.contains(&in_range), "no {in_range:?} in {looked}");

    let _log = run_job();
    let expected = expected_rows(&told);
    assert_table(service.account(), &expected);
    assert_committed(&cluster, topic, &told);

    // A job that goes on at the group's offset depends on how long the brokers keep it: a day before Kafka 2.0.
    let looked = check("reader.beginOffset=seekToLast");
    if version == Version::V1_0_1 {
        let warning = format!(
            "warning: kafka: the brokers forget the offsets of group {GROUP} after 24 hours (offsets.retention.minutes = 1440)"
        );
        assert!(looked.stderr_text().contains(&warning), "{}", looked.describe());
    } else {
        assert_eq!(looked.code, 0, "{}", looked.describe());
    }

    // The user's own check, the last step of the walkthrough.
    let select = ["sql", "--datasources", sources, "-o", "json", "-e", "select * from testkafka"];
    let shown = run_forebay(&scratch, &select).expect_success();
    if let Some(difference) = difference(&expected, &rows_of_json(&shown.stdout_text())) {
        panic!("what `forebay sql` prints is not what ConsoleConsumer printed: {difference}\n{}", shown.describe());
    }

    // A second run replaces the rows by the same rows.
    let _log = run_job();
    assert_table(service.account(), &expected);
    assert_committed(&cluster, topic, &told);
}

#[test]
fn the_reference_job_against_three_brokers_of_1_0_1() {
    reference_job(Version::V1_0_1, 3);
}

#[test]
fn the_reference_job_against_4_4_0() {
    reference_job(Version::V4_4_0, 1);
}

/// A job that routes by what each record holds; the writer's keys beside table, column and compression are given.
fn routing_job(server: &str, columns: [&str; 2], writer: &str, compression: &str) -> String {
    let [from, to] = columns;
    format!(
        r#"{{"type": "job", "version": "2.0", "steps": [
          {{"stepType": "kafka", "category": "reader", "name": "Reader", "parameter": {{
            "server": "{server}", "topic": "routed", "column": [{from}], "beginOffset": "seekToBeginning",
            "endType": "latest", "kafkaConfig": {{"group.id": "routed"}}}}}},
          {{"stepType": "odps", "category": "writer", "name": "Writer", "parameter": {{
            "datasource": "odps_first", "table": "routed", "column": [{to}], "truncate": true,
            "uploadCompression": "{compression}", {writer}}}}}],
          "setting": {{"errorLimit": {{"record": "1"}}}}}}"#
    )
}

/// Rows go to partitions by a column's value and by time, packed in every way there is; both SDKs find them there.
#[test]
fn rows_are_in_the_partition_of_their_record() {
    let cluster = KafkaCluster::shared(Version::V4_4_0);
    let service = LocalMaxCompute::start();
    let scratch = Scratch::new("routed");
    cluster.create_topic("routed", 3, 1);
    let mut lines = String::new();
    for n in 0..300 {
        let (day, region) = (28 + n % 2, ["cn", "eu", "us"][n % 3]);
        lines.push_str(&format!("{{\"n\":{n},\"at\":\"2024-02-{day} 23:30:00\",\"region\":\"{region}\"}}\n"));
    }
    // No region, so no partition.
    lines.push_str("{\"n\":300,\"at\":\"2024-02-28 00:00:00\"}\n");
    cluster.produce("routed", &lines, &[]);
    let told = cluster.consume("routed");
    assert_eq!(told.len(), 301);
    let sources = scratch.write("sources.toml", service.account().datasources()).display().to_string();
    let ddl = "create table routed (n bigint, p bigint, o bigint) partitioned by (ds string, region string)";
    let _created = run_forebay(&scratch, &["sql", "--datasources", &sources, "-e", ddl]).expect_success();

    let columns = [r#""n", "__partition__", "__offset__""#, r#""n", "p", "o""#];
    let with_keys = [r#""n", "at", "__partition__", "region", "__offset__""#, r#""n", "ds", "p", "region", "o""#];
    let mapping = r#""partitionColumnMapping": [{"name": "ds", "dateFormat": "yyyyMMdd"}]"#;
    let pattern = r#""partition": "ds={at:yyyyMMdd}/region={region}""#;
    let by_time = r#""partition": "ds={__timestamp__:yyyyMMddHH}/region={region}""#;
    let by_member = |value: &serde_json::Value, _: i64| {
        value.get("at").and_then(serde_json::Value::as_str).unwrap_or_default()[..10].replace('-', "")
    };
    // The job's zone is GMT+8.
    let by_timestamp = |_: &serde_json::Value, millis: i64| {
        let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(8));
        let moment = jiff::Timestamp::from_millisecond(millis).expect("a time").to_zoned(zone);
        moment.strftime("%Y%m%d%H").to_string()
    };
    type Day<'a> = &'a dyn Fn(&serde_json::Value, i64) -> String;
    let runs: [(&str, [&str; 2], &str, Day<'_>); 5] = [
        ("none", columns, pattern, &by_member),
        ("deflate", with_keys, mapping, &by_member),
        ("snappy", columns, by_time, &by_timestamp),
        ("lz4", columns, pattern, &by_member),
        ("zstd", with_keys, mapping, &by_member),
    ];
    for (compression, columns, writer, day) in runs {
        let job = scratch.write("job.json", routing_job(&cluster.server(), columns, writer, compression));
        let job = job.display().to_string();
        let output = run_forebay(&scratch, &["run", &job, "--datasources", &sources, "-o", "json"]).expect_success();
        let summary: serde_json::Value = serde_json::from_str(&output.stdout_text()).expect("a summary");
        assert_eq!(summary.get("errorRecords"), Some(&serde_json::json!(1)), "{summary}");
        assert!(output.stderr_text().contains("NULL cannot be a partition"), "{}", output.describe());

        let mut expected: std::collections::BTreeMap<String, Vec<Row>> = std::collections::BTreeMap::new();
        for record in &told {
            let value: serde_json::Value =
                serde_json::from_slice(record.value.as_deref().expect("a value")).expect("JSON");
            let Some(region) = value.get("region").and_then(serde_json::Value::as_str) else { continue };
            let partition = format!("ds={},region={region}", day(&value, record.timestamp));
            let cells = [value["n"].to_string(), record.partition.to_string(), record.offset.to_string()];
            let row = cells.into_iter().map(|cell| Some(cell.into_bytes())).collect();
            expected.entry(partition).or_default().push(row);
        }
        let written = summary.get("routed_partitions").and_then(serde_json::Value::as_array).expect("partitions");
        assert_eq!(written.len(), expected.len(), "{summary}");
        for (number, (partition, rows)) in expected.iter().enumerate() {
            // Foreign programs take their time to start: all partitions once, then some of each run.
            if number < 2 || compression == "none" {
                let found = read_partition_with_pyodps(service.account(), "routed", Some(partition));
                assert_eq!(difference(rows, &found.rows), None, "{compression}: PyODPS reads {partition}");
            }
            if number == 0 {
                let found = read_partition_with_java(service.account(), "routed", Some(partition));
                assert_eq!(difference(rows, &found.rows), None, "{compression}: odps-sdk-java reads {partition}");
            }
        }
    }
}
