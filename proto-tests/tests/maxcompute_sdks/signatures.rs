//! What forebay signs is what the official clients' own signers make of the same requests, and the local MaxCompute takes
//! their signatures of either version.

use std::process::Command;
use std::time::Duration;

use forebay::sandbox::maxcompute::LoggedRequest;
use forebay::tunnel::sign::{self, Target};
use forebay::tunnel::{
    Credentials, MaxCompute, MaxComputeConfig, PartitionSpec, ReadOptions, RowEncoder, StreamOptions, UploadOptions,
    Value,
};
use forebay_proto_tests::java::{self, ODPS_SDK};
use forebay_proto_tests::maxcompute::{Account, LocalMaxCompute};
use forebay_proto_tests::process::{command, run};
use forebay_proto_tests::scratch::{cached, package_folder};
use serde_json::{Value as Json, json};

use super::{LIMIT, Sdk};

const REGION: &str = "cn-hangzhou";

/// A request, and who can be asked about it.
struct Case {
    method: String,
    /// The endpoint's own path, which is not signed.
    endpoint_path: &'static str,
    target: String,
    headers: Vec<(String, String)>,
    /// PyODPS decodes what it signs twice, so percent and plus signs within values mean something else to it.
    java_only: bool,
}

/// Everything that forebay asks a service for, once: a statement, a table, sessions of each kind.
async fn use_everything(account: &Account, region: Option<&str>) {
    let credentials = Credentials::new(&account.access_id, &account.access_key);
    let mut config = MaxComputeConfig::new(&account.endpoint, &account.project, credentials);
    config.region = region.map(str::to_owned);
    config.quota = Some("a quota".to_owned());
    let client = MaxCompute::new(config).expect("a client");
    let table = if region.is_some() { "signed_4" } else { "signed_2" };
    let ddl = format!("create table {table} (n bigint, s string) partitioned by (pt string, x string)");
    let _ = client.sql(&ddl, &[]).await.expect("a table");
    let _ = client.table(table).await.expect("the table");
    let partition = PartitionSpec::parse("pt=名 前/x=a.b~c!(1)*").expect("a partition");
    let options = UploadOptions { create_partition: true, overwrite: true, ..UploadOptions::default() };
    let upload = client.create_upload(table, Some(&partition), options).await.expect("a session");
    let rows = || {
        let mut rows = RowEncoder::new();
        rows.bigint(0, 7);
        rows.end_row();
        rows
    };
    upload.put_block_bytes(0, rows().finish()).await.expect("a block");
    upload.commit(&[0]).await.expect("a commit");
    let mut options = StreamOptions::default();
    options.partition = Some(partition.clone());
    let stream = client.create_stream(table, options).await.expect("a stream session");
    let mut pack = stream.pack(None);
    pack.row().bigint(0, 8);
    pack.row().end_row();
    let _ = stream.send(pack).await.expect("a pack");
    let download = client.create_download(table, Some(&partition)).await.expect("a download");
    let mut some = ReadOptions::default();
    some.columns = Some(vec!["s".to_owned(), "n".to_owned()]);
    let mut reader = download.read(&some).expect("a reader");
    while let Some(row) = reader.next_row().await.expect("a row") {
        assert_eq!(row.first(), Some(&Value::Null));
    }
    download.close().await.expect("closed");
    let rows = client.sql(&format!("select n from {table} order by n"), &[]).await.expect("rows").rows;
    assert_eq!(rows, [[Some("7".to_owned())], [Some("8".to_owned())]]);
}

fn case_of(request: &LoggedRequest) -> Case {
    let endpoint_path = if request.target.starts_with("/api/") { "/api" } else { "" };
    Case {
        method: request.method.clone(),
        endpoint_path,
        target: request.target[endpoint_path.len()..].to_owned(),
        headers: request.headers.clone(),
        java_only: false,
    }
}

/// Targets that no ordinary request has.
fn odd_cases() -> Vec<Case> {
    let date = ("date".to_owned(), "Tue, 02 Jan 2024 03:04:05 GMT".to_owned());
    let case = |method: &str, target: &str, headers: &[(&str, &str)], java_only| Case {
        method: method.to_owned(),
        endpoint_path: "/api",
        target: target.to_owned(),
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .chain([date.clone()])
            .collect(),
        java_only,
    };
    vec![
        case("GET", "/projects/p", &[], false),
        case(
            "POST",
            "/projects/p/tables/t?uploads&b=2&B=1&a=&a_=3&aa=4",
            &[("content-type", "application/xml")],
            false,
        ),
        case(
            "PUT",
            "/projects/p/tables/%E8%A1%A8?partition=pt%3D%E5%90%8D%2Cx%3D%20y&blockid=0",
            &[
                ("x-odps-zz", "last"),
                ("x-odps-aa", "first"),
                ("odps-tunnel-slot-num", "3"),
                ("content-encoding", "deflate"),
            ],
            false,
        ),
        case(
            "POST",
            "/projects/p/instances?curr_project=p",
            &[("content-md5", "5d41402abc4b2a76b9719d911017c592"), ("x-odps-user-agent", "a tool/1.0 (é)")],
            false,
        ),
        case("GET", "/projects/p/tables/t?rowrange=%280%2C10%29&data&x-odps-q=v&columns=a%2Cb", &[], false),
        case("GET", "/projects/p/tables/t?partition=pt%3D100%25%2Cx%3Da%2Bb%26c", &[], true),
    ]
}

/// The signatures that an official client's signer makes, in order.
fn signed_by(mut signer: Command, cases: &[&Case], region: Option<&str>, account: &Account) -> Vec<String> {
    let lines: String = cases
        .iter()
        .map(|case| {
            let headers: serde_json::Map<String, Json> =
                case.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            let asked = json!({
                "method": case.method, "endpoint": format!("http://127.0.0.1{}", case.endpoint_path),
                "target": case.target, "headers": headers, "access_id": account.access_id,
                "access_key": account.access_key, "region": region,
            });
            format!("{asked}\n")
        })
        .collect();
    signer.env("TZ", "UTC");
    let output = run(signer, lines.as_bytes(), LIMIT).expect_success();
    let signature = |line: &str| -> String {
        let answer: Json = serde_json::from_str(line).expect("a JSON line");
        answer["authorization"].as_str().expect("a signature").to_owned()
    };
    let signatures: Vec<String> = output.stdout_text().lines().map(signature).collect();
    assert_eq!(signatures.len(), cases.len(), "{}", output.describe());
    signatures
}

#[test]
fn the_signatures_are_those_of_the_official_signers() {
    let local = LocalMaxCompute::start();
    let account = local.account();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for region in [None, Some(REGION)] {
        let before = local.service().requests().len();
        runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(60), use_everything(account, region)).await.expect("in time");
        });
        let requests = local.service().requests().split_off(before);
        assert!(requests.len() >= 15, "{requests:?}");
        // The service took each of them, so what forebay sent is what the rules below make of it.
        let version = if region.is_some() { "v4" } else { "legacy" };
        for request in &requests {
            assert!((200..300).contains(&request.status), "{request:?}");
        }
        assert!(requests.iter().any(|request| request.signature == version), "{version}: {requests:?}");
        let mut cases: Vec<Case> = requests.iter().map(case_of).collect();
        cases.extend(odd_cases());
        let all: Vec<&Case> = cases.iter().collect();
        let plain: Vec<&Case> = cases.iter().filter(|case| !case.java_only).collect();
        let mut python = command(cached("venv").join("bin/python"));
        python.arg(package_folder().join("python/sign_requests.py"));
        let signers = [("PyODPS", python, plain), ("odps-sdk-java", java::program(ODPS_SDK, "SignRequests"), all)];
        for (name, signer, cases) in signers {
            let signatures = signed_by(signer, &cases, region, account);
            for (case, theirs) in cases.iter().zip(&signatures) {
                let headers = case.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                let canonical = Target::parse(&case.target, "").canonical_string(&case.method, headers);
                let (id, key) = (&account.access_id, &account.access_key);
                let ours = match region {
                    None => sign::authorize_legacy(id, key, &canonical),
                    // The signers sign for today, whenever that is.
                    Some(region) => {
                        let date = theirs.split('/').nth(1).expect("a date in the credential");
                        sign::authorize_v4(id, key, date, region, &canonical)
                    }
                };
                assert_eq!(&ours, theirs, "{name}, {} {}", case.method, case.target);
            }
        }
    }
}

#[test]
fn the_clients_sign_in_both_versions() {
    let local = LocalMaxCompute::start();
    let account = local.account();
    let _ = Sdk::Python.sql(account, "create table regional (n bigint);").expect_success();
    for (number, sdk) in [Sdk::Python, Sdk::Java].into_iter().enumerate() {
        let before = local.service().requests().len();
        let mut load = sdk.program(account, "load");
        load.args(["--table", "regional", "--region", REGION]);
        let _ = run(load, b"[1]\n[2]\n", LIMIT).expect_success();
        let mut dump = sdk.program(account, "dump");
        dump.args(["--sql", "select count(*) from regional;", "--region", REGION]);
        let counted = run(dump, b"", LIMIT).expect_success().stdout_text();
        let wanted = format!("[{}]", 2 * (number + 1));
        assert_eq!(counted.lines().last(), Some(wanted.as_str()), "{sdk:?}");
        let requests = local.service().requests().split_off(before);
        let signed = |version: &str| requests.iter().filter(|request| request.signature == version).count();
        assert!(signed("v4") > 0, "{sdk:?}: {requests:?}");
        assert_eq!(signed("none"), 0, "{sdk:?}: {requests:?}");
        // PyODPS knows no region where it talks to the tunnel.
        if matches!(sdk, Sdk::Python) {
            assert!(signed("legacy") > 0, "{requests:?}");
        }
    }
}
