//! The MaxCompute client against the local MaxCompute with signatures checked: every type, partitions, overwrite, and
//! commits whose answers are lost.
//!
//! The two share the row codec, so the codec's truth is held elsewhere: `tunnel_vectors.rs`, and the official SDKs that read
//! what forebay wrote. Here it is sessions, requests and outcomes.

#![allow(clippy::unwrap_used)]

mod commits;
mod stream;

use std::time::Duration;

use bytes::Bytes;
use forebay::sandbox::maxcompute::{self, Action, Fault, LocalMaxCompute, MaxComputeSandboxConfig, Switches};
use forebay::tunnel::encode::Compression;
use forebay::tunnel::session::UploadStatus;
use forebay::tunnel::{
    BodyError, ColumnType, Credentials, ErrorKind, MaxCompute, MaxComputeConfig, PartitionSpec, RowEncoder,
    TableSchema, UploadOptions, Value,
};
use futures_util::stream as streams;

const KEY: &str = "DUMMY_ACCESS_SECRET";

async fn service() -> LocalMaxCompute {
    let mut config = MaxComputeSandboxConfig::default();
    config.access_id = "DUMMY_ACCESS_ID".into();
    config.access_key = Some(KEY.into());
    maxcompute::start(config).await.unwrap()
}

fn client_with_key(service: &LocalMaxCompute, key: &str) -> MaxCompute {
    let credentials = Credentials::new("DUMMY_ACCESS_ID", key);
    let mut config = MaxComputeConfig::new(service.endpoint(), service.project(), credentials);
    config.retry.pause_first = Duration::from_millis(2);
    config.retry.pause_max = Duration::from_millis(10);
    MaxCompute::new(config).unwrap()
}

fn client(service: &LocalMaxCompute) -> MaxCompute {
    client_with_key(service, KEY)
}

fn body(
    schema: &TableSchema,
    rows: &[Vec<Value>],
) -> impl futures_util::Stream<Item = Result<Bytes, BodyError>> + use<> {
    let mut encoder = RowEncoder::new();
    let mut pieces = Vec::new();
    for row in rows {
        for (i, (column, value)) in schema.columns.iter().zip(row).enumerate() {
            encoder.value(i, &column.type_, value).unwrap();
        }
        encoder.end_row();
        pieces.push(Ok(encoder.take()));
    }
    pieces.push(Ok(encoder.finish()));
    streams::iter(pieces)
}

fn numbers(range: std::ops::Range<i64>) -> Vec<Vec<Value>> {
    range.map(|n| vec![Value::BigInt(n), Value::text(format!("v{n}"))]).collect()
}

async fn ask(client: &MaxCompute, query: &str) -> Vec<Vec<Option<String>>> {
    client.sql(query, &[]).await.unwrap().rows
}

fn row(values: &[&str]) -> Vec<Option<String>> {
    values.iter().map(|value| Some((*value).to_owned())).collect()
}

#[tokio::test]
async fn every_type_can_be_declared_and_written() {
    let service = service().await;
    let client = client(&service);
    let types = "a tinyint, b smallint, c int, d bigint, e float, f double, g boolean, h string, i binary, j char(3), \
                 k varchar(5), l decimal(10,2), m date, n datetime, o timestamp, p timestamp_ntz, q json, r array<bigint>, \
                 s map<string,bigint>, t struct<x:bigint,y:string>";
    client.sql(&format!("create table t ({types})"), &[("odps.sql.type.system.odps2", "true")]).await.unwrap();
    let table = client.table("T").await.unwrap();
    assert!(!table.is_view && !table.is_external && !table.schema.is_partitioned());
    let text = |column: &forebay::tunnel::Column| format!("{} {}", column.name, column.type_);
    assert_eq!(table.schema.columns.iter().map(text).collect::<Vec<_>>().join(", "), types);

    let full = vec![
        Value::BigInt(-128),
        Value::BigInt(32_767),
        Value::BigInt(i64::from(i32::MIN)),
        Value::BigInt(i64::MAX),
        Value::Float(1.5),
        Value::Double(-0.25),
        Value::Boolean(true),
        Value::text("名 ,\"\n"),
        Value::Bytes(vec![0, 255]),
        Value::text("abc"),
        Value::text("vc"),
        Value::Decimal("12.30".into()),
        Value::Date(-1),
        Value::Datetime(1_704_164_645_678),
        Value::Timestamp { seconds: -1, nanos: 500_000_000 },
        Value::Timestamp { seconds: 0, nanos: 1 },
        Value::text("{\"a\": 1}"),
        Value::Array(vec![Value::BigInt(1), Value::Null]),
        Value::Map(vec![(Value::text("k"), Value::BigInt(2))]),
        Value::Struct(vec![Value::BigInt(3), Value::Null]),
    ];
    let rows = [full, vec![Value::Null; 20]];
    use Compression::{Deflate, Lz4, None as Plain, Snappy, Zstd};
    for compression in [Plain, Deflate, Snappy, Lz4, Zstd] {
        let options = UploadOptions { overwrite: true, compression, ..UploadOptions::default() };
        let upload = client.create_upload("t", None, options).await.unwrap();
        assert_eq!(upload.schema(), &table.schema);
        upload.put_block(3, body(upload.schema(), &rows)).await.unwrap();
        upload.commit_counted(&[(3, 2)]).await.unwrap();
        assert_eq!(upload.status().await.unwrap(), UploadStatus::Closed);
        let plain = ask(&client, "select a, b, c, d, g, h, j, k, l from t where a is not null").await;
        let wanted = ["-128", "32767", "-2147483648", "9223372036854775807", "true", "名 ,\"\n", "abc", "vc", "12.30"];
        assert_eq!(plain, [row(&wanted)]);
        assert_eq!(ask(&client, "select count(*), count(h), count(t) from t").await, [row(&["2", "1", "1"])]);
    }
}

#[tokio::test]
async fn overwrite_replaces_at_the_commit_and_not_before() {
    let service = service().await;
    let client = client(&service);
    ask(&client, "create table t (n bigint, v string)").await;
    let upload = client.create_upload("t", None, UploadOptions::default()).await.unwrap();
    upload.put_block(0, body(upload.schema(), &numbers(0..5))).await.unwrap();
    upload.put_block(1, body(upload.schema(), &numbers(5..7))).await.unwrap();
    // A block that is sent again replaces itself.
    upload.put_block(1, body(upload.schema(), &numbers(5..10))).await.unwrap();
    assert_eq!(ask(&client, "select count(*) from t").await, [row(&["0"])]);
    upload.commit(&[0, 1]).await.unwrap();
    assert_eq!(ask(&client, "select count(*), sum(n) from t").await, [row(&["10", "45"])]);

    let options = UploadOptions { overwrite: true, ..UploadOptions::default() };
    let upload = client.create_upload("t", None, options).await.unwrap();
    upload.put_block(0, body(upload.schema(), &numbers(100..101))).await.unwrap();
    assert_eq!(ask(&client, "select count(*) from t").await, [row(&["10"])]);
    upload.commit(&[0]).await.unwrap();
    assert_eq!(ask(&client, "select n from t").await, [row(&["100"])]);

    let upload = client.create_upload("t", None, options).await.unwrap();
    upload.commit(&[]).await.unwrap();
    assert_eq!(ask(&client, "select count(*) from t").await, [row(&["0"])]);
}

#[tokio::test]
async fn partitions_are_created_on_request() {
    let service = service().await;
    let client = client(&service);
    ask(&client, "create table t (n bigint, v string) partitioned by (pt string, hh string)").await;
    let schema = client.table("t").await.unwrap().schema;
    let partition = PartitionSpec::parse("hh='07' / pt=20240102").unwrap().order_by(&schema).unwrap();
    let error = client.create_upload("t", Some(&partition), UploadOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSuchPartition, "{error}");
    let options = UploadOptions { create_partition: true, ..UploadOptions::default() };
    let upload = client.create_upload("t", Some(&partition), options).await.unwrap();
    upload.put_block(0, body(upload.schema(), &numbers(0..2))).await.unwrap();
    upload.commit(&[0]).await.unwrap();
    let wanted = [row(&["0", "20240102", "07"]), row(&["1", "20240102", "07"])];
    assert_eq!(ask(&client, "select n, pt, hh from t order by n").await, wanted);
    client.add_partition("t", &PartitionSpec::parse("pt=20240103,hh=00").unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_commit_answers_lose_and_repeat_nothing() {
    let service = service().await;
    let client = client(&service);
    ask(&client, "create table t (n bigint, v string)").await;
    let answers = [
        Action::Drop,
        Action::Status { status: 500, code: "InternalServerError".into(), message: String::new(), retry_after_s: None },
        Action::Status { status: 502, code: String::new(), message: String::new(), retry_after_s: None },
        Action::CutAnswer { after_bytes: 10 },
    ];
    for n in 0..100_i64 {
        let upload = client.create_upload("t", None, UploadOptions::default()).await.unwrap();
        upload.put_block(0, body(upload.schema(), &numbers(n..n + 1))).await.unwrap();
        let answer = answers[usize::try_from(n).unwrap() % answers.len()].clone();
        // Lost after the effect, or before it, so that the commit must be sent again.
        let fault =
            if n % 3 == 0 { Fault::before("upload_commit", answer) } else { Fault::after("upload_commit", answer) };
        service.faults().push(fault);
        if n % 10 == 7 {
            service.faults().push(Fault::before("upload_status", Action::Drop).skip(1));
        }
        let closing_polls = u32::from(n % 7 == 0);
        service.set_switches(Switches { closing_polls, ..service.switches() });
        upload.commit_counted(&[(0, 1)]).await.unwrap();
        service.faults().clear();
    }
    let found = ask(&client, "select count(*), count(distinct n), sum(n) from t").await;
    assert_eq!(found, [row(&["100", "100", "4950"])]);
}

#[tokio::test]
async fn bad_keys_and_absent_things_have_their_kinds() {
    let service = service().await;
    let error = client_with_key(&service, "wrong").table("t").await.unwrap_err();
    assert!(error.is_auth() && error.request_id().is_some(), "{error}");
    let client = client(&service);
    assert_eq!(client.table("nope").await.unwrap_err().kind(), ErrorKind::NoSuchTable);
    let error = client.create_upload("nope", None, UploadOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSuchTable, "{error}");
    let error = client.sql("select * from nope", &[]).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoSuchTable | ErrorKind::Sql), "{error}");
    assert!(error.code().is_some_and(|code| code.starts_with("ODPS-")), "{error}");

    ask(&client, "create table t (n bigint, v string)").await;
    let upload = client.create_upload("t", None, UploadOptions::default()).await.unwrap();
    // A row stream that is cut short, in a request that is whole.
    let whole = {
        let mut rows = RowEncoder::new();
        rows.value(0, &ColumnType::BigInt, &Value::BigInt(1)).unwrap();
        rows.end_row();
        rows.finish()
    };
    let cut = whole.slice(..whole.len() - 1);
    let error = upload.put_block(0, streams::iter([Ok(cut)])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DamagedBlock, "{error}");
    assert_eq!(upload.blocks().await.unwrap(), []);
    let error = client.attach_upload("t", None, "nowhere", Compression::None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionDead, "{error}");
    // A new handle on the same session.
    let again = client.attach_upload("t", None, upload.id(), Compression::None).await.unwrap();
    again.commit(&[]).await.unwrap();
    let error = upload.put_block(1, streams::iter([Ok(whole)])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StatusConflict, "{error}");
    upload.commit(&[]).await.unwrap();
}
