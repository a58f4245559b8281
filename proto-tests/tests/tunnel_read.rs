//! Reading back: download sessions and the instance tunnel against the local MaxCompute, with answers that break, and the
//! `forebay tunnel` commands as a user calls them.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use forebay::sandbox::maxcompute::{self, Action, Fault, MaxComputeSandboxConfig, Switches};
use forebay::tunnel::encode::Compression;
use forebay::tunnel::{
    Credentials, Download, ErrorKind, MaxCompute, MaxComputeConfig, ReadOptions, RowEncoder, UploadOptions, Value,
};
use forebay_proto_tests::cli::forebay;
use forebay_proto_tests::maxcompute::LocalMaxCompute;
use forebay_proto_tests::process::{Output, run};
use forebay_proto_tests::scratch::Scratch;

const ROWS: i64 = 5_000;

async fn service() -> (maxcompute::LocalMaxCompute, MaxCompute) {
    let mut config = MaxComputeSandboxConfig::default();
    config.access_key = Some("DUMMY_ACCESS_SECRET".into());
    let service = maxcompute::start(config).await.unwrap();
    let credentials = Credentials::new("sandbox", "DUMMY_ACCESS_SECRET");
    let mut config = MaxComputeConfig::new(service.endpoint(), service.project(), credentials);
    config.retry.pause_first = Duration::from_millis(2);
    config.retry.pause_max = Duration::from_millis(10);
    let client = MaxCompute::new(config).unwrap();
    (service, client)
}

fn row(n: i64) -> Vec<Value> {
    let list = (n % 7 > 0).then(|| Value::Array(vec![Value::BigInt(n), Value::Null]));
    vec![Value::BigInt(n), Value::text(format!("value {n}")), list.unwrap_or(Value::Null)]
}

async fn fill(client: &MaxCompute) -> Download {
    client.sql("create table t (n bigint, v string, l array<bigint>)", &[]).await.unwrap();
    let upload = client.create_upload("t", None, UploadOptions::default()).await.unwrap();
    for block in 0..5 {
        let mut encoder = RowEncoder::new();
        for n in block * ROWS / 5..(block + 1) * ROWS / 5 {
            for (place, (column, value)) in upload.schema().columns.iter().zip(row(n)).enumerate() {
                encoder.value(place, &column.type_, &value).unwrap();
            }
            encoder.end_row();
        }
        upload.put_block_bytes(block.try_into().unwrap(), encoder.finish()).await.unwrap();
    }
    upload.commit(&[0, 1, 2, 3, 4]).await.unwrap();
    client.create_download("t", None).await.unwrap()
}

fn some(start: u64, count: u64, columns: &[&str], compression: Compression) -> ReadOptions {
    let mut options = ReadOptions::default();
    (options.start, options.count, options.compression) = (start, count, compression);
    options.columns = (!columns.is_empty()).then(|| columns.iter().map(|name| (*name).to_owned()).collect());
    options
}

async fn read(download: &Download, options: &ReadOptions) -> Vec<Vec<Value>> {
    let mut reader = download.read(options).unwrap();
    let mut rows = Vec::new();
    while let Some(row) = reader.next_row().await.unwrap() {
        rows.push(row);
    }
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_columns_and_packed_bodies() {
    let (service, client) = service().await;
    service.set_switches(Switches { initiating_polls: 2, ..Switches::default() });
    let download = fill(&client).await;
    assert_eq!((download.rows(), download.schema().columns.len()), (5_000, 3));
    let all: Vec<Vec<Value>> = (0..ROWS).map(row).collect();
    for compression in [Compression::None, Compression::Deflate] {
        assert!(read(&download, &some(0, u64::MAX, &[], compression)).await == all);
    }
    let logged = service.requests();
    let accepts = |log: &maxcompute::LoggedRequest| {
        let header = log.headers.iter().find(|(name, _)| name == "accept-encoding");
        (log.operation == "download_data").then(|| header.unwrap().1.clone())
    };
    assert_eq!(logged.iter().filter_map(accepts).collect::<Vec<_>>(), ["identity", "deflate"]);

    let wanted: Vec<Vec<Value>> = (998..1003).map(|n| vec![row(n)[2].clone(), row(n)[0].clone()]).collect();
    assert_eq!(read(&download, &some(998, 5, &["L", "n"], Compression::None)).await, wanted);
    let tail = read(&download, &some(4_999, 10, &["v"], Compression::Deflate)).await;
    assert_eq!(tail, [[Value::text("value 4999")]]);
    assert!(read(&download, &some(5_000, 10, &[], Compression::None)).await.is_empty());
    assert!(read(&download, &some(u64::MAX, 10, &[], Compression::None)).await.is_empty());
    assert_eq!(download.read(&some(0, 1, &["x"], Compression::None)).unwrap_err().kind(), ErrorKind::Config);

    // A snapshot: what is committed later does not show, and another handle sees the same.
    client.truncate_table("t", None).await.unwrap();
    let again = client.attach_download("t", None, download.id()).await.unwrap();
    assert!(read(&again, &some(0, u64::MAX, &[], Compression::None)).await == all);
    download.close().await.unwrap();
    assert_eq!(client.create_download("nope", None).await.unwrap_err().kind(), ErrorKind::NoSuchTable);
    assert_eq!(client.attach_download("t", None, "nope").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_breaks_costs_no_row_and_repeats_none() {
    let (service, client) = service().await;
    let download = fill(&client).await;
    let all: Vec<Vec<Value>> = (0..ROWS).map(row).collect();
    let status =
        |status, code: &str| Action::Status { status, code: code.into(), message: String::new(), retry_after_s: None };
    for compression in [Compression::None, Compression::Deflate] {
        service.faults().clear();
        // More breaks than the policy has repetitions: rows in between start the count anew.
        for after_bytes in [20_000, 1, 7_000, 12_345, 5_001, 3, 9_000, 9_999, 10_000, 10_001, 14_000, 2] {
            service.faults().push(Fault::before("download_data", Action::CutAnswer { after_bytes }));
        }
        service.faults().push(Fault::before("download_data", status(429, "FlowExceeded")));
        service.faults().push(Fault::before("download_data", status(502, "")));
        service.faults().push(Fault::before("download_data", Action::Drop));
        assert!(read(&download, &some(0, u64::MAX, &[], compression)).await == all, "{compression:?}");
    }
    // A page in the place of rows is no end of rows.
    service.faults().clear();
    service.faults().push(Fault::before("download_data", status(200, "")));
    let mut reader = download.read(&ReadOptions::default()).unwrap();
    assert_eq!(reader.next_row().await.unwrap_err().kind(), ErrorKind::Decode);
    // An end of the session is final.
    service.clock().advance(Duration::from_secs(25 * 60 * 60));
    let mut reader = download.read(&ReadOptions::default()).unwrap();
    let error = reader.next_row().await.unwrap_err();
    assert!(!error.is_retriable(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_querys_rows_come_through_the_instance_tunnel() {
    let (_service, client) = service().await;
    fill(&client).await;
    let instance = client.submit_sql("select v, n from t where n < 3 order by n", &[]).await.unwrap();
    let output = instance.wait().await.unwrap();
    let (download, is_capped) = instance.download().await.unwrap();
    assert_eq!((download.rows(), is_capped, output.rows.len()), (3, false, 3));
    let wanted: Vec<Vec<Value>> = (0..3).map(|n| vec![row(n)[1].clone(), row(n)[0].clone()]).collect();
    assert_eq!(read(&download, &ReadOptions::default()).await, wanted);
    download.close().await.unwrap();
    let instance = client.submit_sql("create table other (a bigint)", &[]).await.unwrap();
    instance.wait().await.unwrap();
    assert_eq!(instance.download().await.unwrap_err().kind(), ErrorKind::Refused);
}

/// `forebay` with the service as its data source; `input` is what it reads.
fn call(service: &LocalMaxCompute, scratch: &Scratch, arguments: &[&str], input: &[u8]) -> Output {
    let sources = scratch.write("sources.toml", service.account().datasources()).display().to_string();
    let mut command = forebay(scratch);
    command.args(arguments).args(["--datasources", &sources]);
    let output = run(command, input, Duration::from_secs(120));
    assert!(!output.describe().contains(&service.account().access_key), "{}", output.describe());
    output
}

#[test]
fn files_go_up_and_come_down_as_they_were() {
    let (service, scratch) = (LocalMaxCompute::start(), Scratch::new("tunnel"));
    let good = |arguments: &[&str], input: &str| call(&service, &scratch, arguments, input.as_bytes()).expect_success();
    good(
        &[
            "sql",
            "-e",
            "create table p (id bigint, v string, d decimal(10,2), m timestamp, l map<string,bigint>) partitioned by (pt string)",
        ],
        "",
    );
    let csv = "id,v,d,m,l\n1,\"a,\"\"b\"\"\n\",1.50,1969-12-31 23:59:59.000000001,\"{\"\"k\"\":1}\"\n2,\"\",-0.01,\\N,{}\n\\N,\"\\N\",\\N,\\N,\\N\n";
    scratch.write("rows.csv", csv);
    let up = good(&["tunnel", "upload", "rows.csv", "p/pt=1", "-acp", "--block-size", "1"], "");
    assert!(up.stderr_text().contains("committed 3 rows in 1 block\n"), "{}", up.describe());
    assert_eq!(good(&["tunnel", "download", "p/pt=1"], "").stdout_text(), csv);

    // By way of JSON into another partition, and back to the same CSV.
    let json = good(&["tunnel", "download", "p/pt='1'", "-o", "json"], "").stdout_text();
    assert!(json.starts_with("{\"id\":1,\"v\":\"a,\\\"b\\\"\\n\",\"d\":\"1.50\","), "{json}");
    good(&["tunnel", "upload", "-", "p/pt=2", "--create-partition", "-o", "json", "--compression", "zstd"], &json);
    assert_eq!(good(&["tunnel", "download", "p/pt=2", "--compress"], "").stdout_text(), csv);
    let part = good(&["tunnel", "download", "p/pt=2", "--columns", "d,id", "--limit", "1", "--skip", "1"], "");
    assert_eq!(part.stdout_text(), "d,id\n-0.01,2\n");

    // Overwriting, and what was there before a mistake stays.
    good(&["tunnel", "upload", "-", "p/pt=2", "-o", "csv", "--overwrite"], "id\n7\n");
    let bad = call(&service, &scratch, &["tunnel", "upload", "-", "p/pt=2", "-o", "csv"], b"id,d\n8,1\n9,1.234\n");
    assert_eq!(bad.code, 1, "{}", bad.describe());
    let words =
        "-: line 3, column \"d\" (decimal(10,2)): \"1.234\": more than 8 digits before the point, or than 2 after it";
    assert!(bad.stderr_text().contains(words), "{}", bad.describe());
    assert!(bad.stderr_text().contains("nothing was committed"), "{}", bad.describe());
    assert_eq!(good(&["tunnel", "download", "p/pt=2", "--columns", "id"], "").stdout_text(), "id\n7\n");

    for (arguments, code, words) in [
        (&["tunnel", "download", "p"][..], 2, "name it: p/pt=…"),
        (&["tunnel", "download", "p/x=1"], 2, "no partition key \"x\""),
        (&["tunnel", "download", "p/pt=9"], 1, "NoSuchPartition"),
        (&["tunnel", "upload", "rows.csv", "p/pt=9"], 1, "--create-partition creates it"),
        (&["tunnel", "upload", "rows", "p/pt=9"], 2, "-o csv or -o json"),
        (&["tunnel", "upload", "none.csv", "p/pt=9"], 78, "none.csv"),
        (&["tunnel", "show", "p/pt=1", "nope"], 1, "NoSuchDownload"),
    ] {
        let output = call(&service, &scratch, arguments, b"");
        assert_eq!(output.code, code, "{arguments:?} {}", output.describe());
        assert!(output.stderr_text().contains(words), "{arguments:?} {}", output.describe());
    }
    let session = up.stderr_text().lines().find_map(|line| line.strip_prefix("upload session ").map(str::to_owned));
    let shown = good(&["tunnel", "show", "p/pt=1", &session.unwrap()], "");
    assert!(shown.stdout_text().contains("| upload | closed | 1      | 3    |"), "{}", shown.describe());
}

#[test]
fn a_large_result_of_sql_is_printed_whole() {
    let (service, scratch) = (LocalMaxCompute::start(), Scratch::new("large"));
    let good = |arguments: &[&str], input: &str| call(&service, &scratch, arguments, input.as_bytes()).expect_success();
    good(&["sql", "-e", "create table t (id bigint, m datetime)"], "");
    let mut rows = String::from("id,m\n");
    for n in 0..12_345 {
        rows.push_str(&format!("{n},2024-01-02 03:04:05\n"));
    }
    good(&["tunnel", "upload", "-", "t", "-o", "csv"], &rows);
    let csv = good(&["sql", "-o", "csv", "-e", "select * from t order by id limit 20000"], "");
    assert!(csv.stdout_text() == rows, "{}", csv.stderr_text());
    assert!(!csv.stderr_text().contains("warning"), "{}", csv.stderr_text());
    let zoned = "set odps.sql.timezone=Asia/Shanghai; select * from t order by id limit 20000";
    let json = good(&["sql", "-o", "json", "-e", zoned], "");
    assert!(json.stdout_text().contains("\n{\"id\":\"12344\",\"m\":\"2024-01-02 11:04:05\"}\n]\n"));
    assert_eq!(json.stdout_text().lines().count(), 12_347);
    // Exactly as many rows as a result holds: nothing was left out.
    let exact = good(&["sql", "-o", "csv", "-e", "select id from t order by id limit 10000"], "");
    assert_eq!(exact.stdout_text().lines().count(), 10_001);
}

/// What breaks half-way is read on from there; where it cannot be, the command fails and says so, behind the good rows.
#[test]
fn a_download_that_breaks_is_whole_or_an_error() {
    let (service, scratch) = (LocalMaxCompute::start(), Scratch::new("broken"));
    let good = |arguments: &[&str], input: &str| call(&service, &scratch, arguments, input.as_bytes()).expect_success();
    good(&["sql", "-e", "create table t (id bigint, v string)"], "");
    let rows: String = (0..20_000).fold(String::from("id,v\n"), |rows, n| rows + &format!("{n},value {n}\n"));
    good(&["tunnel", "upload", "-", "t", "-o", "csv"], &rows);
    let faults = service.service().faults();
    for after_bytes in [1, 100_000, 70_001, 50_002] {
        faults.push(Fault::before("download_data", Action::CutAnswer { after_bytes }));
    }
    let down = good(&["tunnel", "download", "t"], "");
    assert!(down.stdout_text() == rows, "{}", down.stderr_text());
    assert!(faults.waiting().is_empty(), "{:?}", faults.waiting());

    faults.push(Fault::before("download_data", Action::CutAnswer { after_bytes: 100_000 }));
    let refused =
        Action::Status { status: 403, code: "NoPermission".into(), message: "no more".into(), retry_after_s: None };
    faults.push(Fault::before("download_data", refused));
    let output = call(&service, &scratch, &["tunnel", "download", "t"], b"");
    assert_eq!(output.code, 77, "{}", output.describe());
    assert!(output.stderr_text().contains("NoPermission"), "{}", output.stderr_text());
    let told = output.stdout_text();
    assert!(rows.starts_with(&told) && told.lines().count() > 1_000 && told.ends_with('\n'), "{}", told.len());
}
