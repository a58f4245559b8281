//! The MaxCompute client against a service that misbehaves on purpose.

#![allow(clippy::unwrap_used)]

mod cli;
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use forebay::limits::ANSWER_BYTES_MAX;
use forebay::tunnel::encode::{Compression, Inflater};
use forebay::tunnel::{
    BodyError, Credentials, ErrorKind, MaxCompute, MaxComputeConfig, PartitionSpec, ReadOptions, RowDecoder,
    RowEncoder, Upload, UploadOptions, Value,
};
use forebay_proto_tests::process::{command, run as run_program};
use forebay_proto_tests::scratch::Scratch;
use futures_util::{Stream, StreamExt as _, stream};
use server::{ACCESS_ID, ACCESS_KEY, Asked, Reply, Service};

const CREATE: &str = "POST /projects/p/tables/t?uploads";
const SESSION: &str = "/projects/p/tables/t?uploadid";
const DISCOVERY: &str = "GET /api/projects/p/tunnel?service";

/// A configuration whose pauses are as short as a test's patience.
fn config(service: &Service) -> MaxComputeConfig {
    let credentials = Credentials::new(ACCESS_ID, ACCESS_KEY);
    let mut config = MaxComputeConfig::new(format!("http://{}/api", service.address), "p", credentials);
    config.tunnel_endpoint = Some(format!("http://{}", service.address));
    config.retry.pause_first = Duration::from_millis(5);
    config.retry.pause_max = Duration::from_millis(20);
    config.retry.retries_max = 3;
    config
}

fn client(service: &Service) -> MaxCompute {
    MaxCompute::new(config(service)).unwrap()
}

fn session(status: &str, blocks: &str) -> String {
    format!(
        r#"{{"UploadID":"U1","Status":"{status}","MaxFieldSize":1000,"UploadedBlockList":[{blocks}],"Schema":{{"columns":
           [{{"name":"id","type":"bigint","nullable":true}},{{"name":"v","type":"string"}}],"partitionKeys":[]}}}}"#
    )
}

/// Block 0 with two rows, as the service lists it.
const BLOCK: &str = r#"{"BlockID":0,"RecordCount":2,"Date":"x","FileName":"f","Version":1}"#;

/// A service whose session holds block 0; `script` may answer first.
fn upload_service(script: impl Fn(&Asked, usize) -> Option<Reply> + Send + Sync + 'static) -> Service {
    Service::start(move |asked, nth| {
        script(asked, nth).unwrap_or_else(|| match asked.line() {
            line if line == CREATE => Reply::ok(session("NORMAL", "")),
            line if line.starts_with("GET ") => Reply::ok(session("NORMAL", BLOCK)),
            line if line.starts_with("POST ") => Reply::ok(session("CLOSED", BLOCK)),
            _ => Reply::ok(""),
        })
    })
}

async fn upload(service: &Service) -> Upload {
    client(service).create_upload("t", None, UploadOptions::default()).await.unwrap()
}

fn block() -> Bytes {
    let mut rows = RowEncoder::new();
    for (id, v) in [(1, "one"), (2, "two")] {
        rows.bigint(0, id);
        rows.string(1, v.as_bytes());
        rows.end_row();
    }
    rows.finish()
}

/// A body in pieces of `size` bytes.
fn pieces(body: &Bytes, size: usize) -> impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static {
    let pieces: Vec<_> = body.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces)
}

#[tokio::test]
async fn a_session_from_discovery_to_commit() {
    let service = upload_service(|asked, _| {
        (asked.line() == DISCOVERY).then(|| Reply::ok(format!("{}\n", asked.header("host"))))
    });
    let mut config = config(&service);
    config.tunnel_endpoint = None;
    config.quota = Some("q 1".into());
    let client = MaxCompute::new(config).unwrap();
    let partition = PartitionSpec::parse("pt='2024 01' / region=cn").unwrap();
    let options = UploadOptions { overwrite: true, create_partition: true, ..UploadOptions::default() };
    let upload = client.create_upload("t", Some(&partition), options).await.unwrap();
    assert_eq!((upload.id(), upload.field_bytes_max(), upload.schema().columns.len()), ("U1", 1000, 2));
    upload.put_block(0, pieces(&block(), 7)).await.unwrap();
    assert_eq!(upload.blocks().await.unwrap().first().unwrap().records, Some(2));
    upload.commit_counted(&[(0, 2)]).await.unwrap();

    let asked = service.asked();
    let lines: Vec<String> = asked.iter().map(Asked::line).collect();
    let (get, put, post) = (format!("GET {SESSION}"), format!("PUT {SESSION}"), format!("POST {SESSION}"));
    assert_eq!(lines, [DISCOVERY, CREATE, &put, &get, &get, &post]);
    for asked in &asked {
        assert_eq!(asked.query("quotaName").as_deref(), Some("q 1"));
    }
    for asked in asked.iter().skip(1) {
        assert_eq!(asked.query("partition").as_deref(), Some("pt=2024 01,region=cn"), "{}", asked.target);
        assert!(asked.target.contains("partition=pt%3D2024%2001%2Cregion%3Dcn"), "{}", asked.target);
        assert_eq!(asked.header("x-odps-tunnel-version"), "6");
        assert_eq!(asked.header("odps-tunnel-retry-index"), "0");
        assert_eq!(asked.header("odps-tunnel-retry-trace-id").len(), 36);
    }
    assert_eq!(asked[1].query("overwrite").as_deref(), Some("true"));
    assert_eq!(asked[1].query("create_partition").as_deref(), Some("true"));
    assert_eq!(asked[1].header("content-length"), "0");
    let put = &asked[2];
    assert_eq!(put.query("blockid").as_deref(), Some("0"));
    assert_eq!(put.header("transfer-encoding"), "chunked");
    assert_eq!(put.header("content-type"), "application/octet-stream");
    assert_eq!(put.body, block());
}

#[tokio::test]
async fn a_lost_commit_answer_is_settled_by_the_session() {
    let commits = Arc::new(AtomicUsize::new(0));
    let done = Arc::clone(&commits);
    let service = upload_service(move |asked, _| {
        if asked.line() == format!("POST {SESSION}") {
            done.fetch_add(1, Ordering::SeqCst);
            return Some(Reply::Cut);
        }
        let committed = asked.line() == format!("GET {SESSION}") && done.load(Ordering::SeqCst) > 0;
        committed.then(|| Reply::ok(session("CLOSED", BLOCK)))
    });
    upload(&service).await.commit(&[0]).await.unwrap();
    assert_eq!(commits.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_status_conflict_is_settled_by_the_session() {
    let posted = AtomicUsize::new(0);
    let service = upload_service(move |asked, _| match asked.line() {
        line if line == format!("POST {SESSION}") => {
            posted.fetch_add(1, Ordering::SeqCst);
            Some(Reply::error(409, "StatusConflict"))
        }
        line if line == format!("GET {SESSION}") && posted.load(Ordering::SeqCst) > 0 => {
            Some(Reply::ok(session("CLOSED", "")))
        }
        _ => None,
    });
    upload(&service).await.commit(&[0]).await.unwrap();
    assert_eq!(service.count(&format!("POST {SESSION}")), 1);
}

#[tokio::test]
async fn other_blocks_than_sent_are_not_committed() {
    let service = upload_service(|_, _| None);
    let upload = upload(&service).await;
    for (blocks, words) in [(&[0, 1][..], "it lacks block 1"), (&[], "it also holds block 0")] {
        let error = upload.commit(blocks).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BlockMismatch);
        assert!(error.to_string().contains(words), "{error}");
    }
    let error = upload.commit_counted(&[(0, 3)]).await.unwrap_err();
    assert!(error.to_string().contains("block 0 has 2 rows instead of 3"), "{error}");
    assert_eq!(service.count(&format!("POST {SESSION}")), 0);
}

#[tokio::test]
async fn a_commit_that_nobody_answers_for_is_unknown() {
    let service = upload_service(|asked, nth| {
        let after_post =
            asked.line() == format!("POST {SESSION}") || (asked.line() == format!("GET {SESSION}") && nth > 0);
        after_post.then_some(Reply::Cut)
    });
    let error = upload(&service).await.commit(&[0]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownOutcome);
    assert!(error.to_string().contains("U1"), "{error}");
}

#[tokio::test]
async fn throttling_is_waited_out_and_its_pause_kept() {
    let service = upload_service(|asked, nth| {
        (asked.line() == CREATE && nth < 12).then(|| match nth {
            0 => Reply::error(429, "FlowExceeded").with("Retry-After", "1"),
            1 => Reply::status(308, ""),
            _ => Reply::error(400, "SlotExceeded"),
        })
    });
    let start = Instant::now();
    upload(&service).await;
    assert!(start.elapsed() >= Duration::from_secs(1));
    let creates: Vec<Asked> = service.asked().into_iter().filter(|asked| asked.line() == CREATE).collect();
    assert_eq!(creates.len(), 13);
    // One logical request: one trace id, an index that counts up.
    for (index, asked) in creates.iter().enumerate() {
        assert_eq!(asked.header("odps-tunnel-retry-trace-id"), creates[0].header("odps-tunnel-retry-trace-id"));
        assert_eq!(asked.header("odps-tunnel-retry-index"), index.to_string());
    }
}

#[tokio::test]
async fn server_errors_are_repeated_a_bounded_number_of_times() {
    let service = Service::start(|_, _| Reply::status(503, "<html><h1>Maintenance</h1></html>"));
    let error = client(&service).create_upload("t", None, UploadOptions::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Unavailable, Some(503)));
    let text = error.to_string();
    assert!(text.contains("table \"p.t\"") && text.contains("Maintenance") && text.contains("4 attempts"), "{text}");
    assert_eq!(service.count(CREATE), 4);
}

#[tokio::test]
async fn refusals_are_final_and_keep_the_request_id() {
    for (status, code, kind) in [
        (401, "Unauthorized", ErrorKind::Auth),
        (403, "NoPermission", ErrorKind::Forbidden),
        (404, "NoSuchTable", ErrorKind::NoSuchTable),
        (404, "NoSuchPartition", ErrorKind::NoSuchPartition),
        (400, "OverwriteModeNotAllowed", ErrorKind::OverwriteNotAllowed),
        (302, "", ErrorKind::Refused),
    ] {
        let service = Service::start(move |_, _| {
            Reply::error(status, code).with("x-odps-request-id", "R7").with("Location", "/x")
        });
        let error = client(&service).create_upload("t", None, UploadOptions::default()).await.unwrap_err();
        assert_eq!((error.kind(), error.request_id()), (kind, Some("R7")), "{code}");
        assert_eq!(service.lines(), [CREATE], "{code}");
        assert!(!format!("{error} {error:?} {:?}", client(&service)).contains(ACCESS_KEY));
    }
}

#[tokio::test]
async fn a_missing_partition_is_created_by_sql_where_the_session_option_is_unknown() {
    let service = upload_service(|asked, nth| match asked.line() {
        line if line == CREATE && nth == 0 => Some(Reply::error(404, "NoSuchPartition")),
        line => sql_reply(&line, &["Terminated"], "Success", "<Result Format=\"text\"/>"),
    });
    let partition = PartitionSpec::parse("pt=1").unwrap();
    let options = UploadOptions { create_partition: true, ..UploadOptions::default() };
    client(&service).create_upload("t", Some(&partition), options).await.unwrap();
    let submitted = service.asked().into_iter().find(|asked| asked.line() == SUBMIT).unwrap();
    let body = String::from_utf8(submitted.body).unwrap();
    assert!(body.contains("ALTER TABLE `p`.`t` ADD IF NOT EXISTS PARTITION (`pt`='1');"), "{body}");
}

#[tokio::test]
async fn a_block_that_breaks_can_be_sent_again_under_one_trace() {
    let service = upload_service(|asked, nth| {
        (asked.method == "PUT").then(|| match nth {
            0 => Reply::CutInBody(10),
            1 => Reply::error(500, "InternalServerError"),
            2 => Reply::Cut,
            3 => Reply::error(400, "CorruptedDataStream"),
            4 => Reply::error(429, "FlowExceeded").with("Retry-After", "9"),
            _ => Reply::ok(""),
        })
    });
    let upload = upload(&service).await;
    for (attempt, kind) in [
        ErrorKind::Unavailable,
        ErrorKind::Unavailable,
        ErrorKind::Unavailable,
        ErrorKind::DamagedBlock,
        ErrorKind::Throttled,
    ]
    .into_iter()
    .enumerate()
    {
        let error = upload.put_block(7, pieces(&block(), 5)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{attempt}: {error}");
        assert!(error.is_retriable() && error.to_string().contains("block 7"), "{error}");
        assert_eq!(error.retry_after(), (attempt == 4).then_some(Duration::from_secs(9)));
    }
    upload.put_block(7, pieces(&block(), 5)).await.unwrap();
    upload.put_block(7, pieces(&block(), 5)).await.unwrap();
    let puts: Vec<Asked> = service.asked().into_iter().filter(|asked| asked.method == "PUT").collect();
    let trace = |asked: &Asked| {
        (asked.header("odps-tunnel-retry-trace-id").to_owned(), asked.header("odps-tunnel-retry-index").to_owned())
    };
    let first = trace(&puts[0]).0;
    for (index, put) in puts.iter().take(6).enumerate() {
        assert_eq!(trace(put), (first.clone(), index.to_string()));
    }
    // After the success a block of the same id is another request.
    assert_ne!(trace(&puts[6]).0, first);
    assert_eq!(trace(&puts[6]).1, "0");
}

#[tokio::test]
async fn a_source_that_fails_is_told_from_a_network_that_fails() {
    let service = upload_service(|_, _| None);
    let upload = upload(&service).await;
    let broken = pieces(&block(), 5).take(2).chain(stream::iter([Err(BodyError::from("the topic is gone"))]));
    let error = upload.put_block(0, broken).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retriable()), (ErrorKind::Body, false));
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "the topic is gone");
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_block_counts() {
    let service = upload_service(|asked, _| {
        let early = Reply::Early(400, r#"{"Code":"TableModified","Message":"altered"}"#.to_owned());
        (asked.method == "PUT").then_some(early)
    });
    let upload = upload(&service).await;
    // The service answers after the first piece; the second comes a moment later.
    let slow = stream::iter([1, 2, 3]).then(|_| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(Bytes::from_static(b"xx"))
    });
    let error = upload.put_block(0, slow).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaChanged, "{error}");
}

#[tokio::test]
async fn silence_ends_by_time_and_a_slow_source_does_not_count() {
    let service = upload_service(|asked, _| (asked.query("blockid").as_deref() == Some("1")).then_some(Reply::Silence));
    let mut config = config(&service);
    config.tunnel_answer_timeout = Duration::from_millis(300);
    let upload = MaxCompute::new(config).unwrap().create_upload("t", None, UploadOptions::default()).await.unwrap();
    let body = block();
    let slow = pieces(&body, body.len() / 2).then(|piece| async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        piece
    });
    upload.put_block(0, slow).await.unwrap();
    let start = Instant::now();
    let error = upload.put_block(1, pieces(&body, 9)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("no answer"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn blocks_can_be_packed_while_they_are_sent() {
    let service = upload_service(|_, _| None);
    let options = UploadOptions { compression: Compression::Deflate, ..UploadOptions::default() };
    let upload = client(&service).create_upload("t", None, options).await.unwrap();
    upload.put_block(0, pieces(&block(), 3)).await.unwrap();
    let put = service.asked().pop().unwrap();
    assert_eq!(put.header("content-encoding"), "deflate");
    let mut decoder = RowDecoder::new(upload.schema());
    decoder.push(&Inflater::new(&put.body[..], 1000).read_all().unwrap());
    assert_eq!(decoder.next_row().unwrap(), Some(vec![Value::BigInt(1), Value::text("one")]));
    assert_eq!(decoder.finish().unwrap(), 2);
}

#[tokio::test]
async fn ids_beyond_the_session_are_refused_here() {
    let service = upload_service(|_, _| None);
    let error = upload(&service).await.put_block(20_000, pieces(&block(), 9)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(service.lines(), [CREATE]);
}

#[tokio::test]
async fn answers_are_bounded_and_must_be_whole() {
    let service = Service::start(|_, _| Reply::Endless);
    let error = client(&service).table("t").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.to_string().contains(&ANSWER_BYTES_MAX.to_string()), "{error}");

    let service = Service::start(|_, nth| {
        let table = r#"<Table><Name>t</Name><Schema format="Json"><![CDATA[{"columns":[]}]]></Schema></Table>"#;
        if nth == 0 { Reply::Short(table.to_owned()) } else { Reply::ok(table) }
    });
    assert_eq!(client(&service).table("t").await.unwrap().name, "t");
    assert_eq!(service.asked().len(), 2);
}

#[tokio::test]
async fn sessions_that_cannot_be_understood_are_refused() {
    for (body, words) in [
        ("", "not a session"),
        ("{}", "UploadID"),
        (r#"{"UploadID":"U1"}"#, "no Schema"),
        (r#"{"UploadID":"U1","Schema":{"columns":[{"name":"x","type":"blob"}]}}"#, "\"x\""),
    ] {
        let service = Service::start(move |_, _| Reply::ok(body));
        let error = client(&service).create_upload("t", None, UploadOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
        assert!(error.to_string().contains(words), "{error}");
    }
    let service = Service::start(|_, _| Reply::ok(session("NORMAL", "")).with("odps-tunnel-date-transform", "true"));
    let error = client(&service).create_upload("t", None, UploadOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("DATETIME"), "{error}");
}

#[tokio::test]
async fn rows_without_their_trailer_are_not_all_there_are() {
    // However cleanly the answer ends, and whatever length it announced.
    let service = Service::start(|asked, _| match asked.line() {
        line if line.starts_with("POST ") => Reply::ok(
            r#"{"DownloadID":"D1","Status":"NORMAL","RecordCount":2,"Schema":{"columns":[{"name":"id","type":"bigint"}]}}"#,
        ),
        _ => Reply::ok("").with("x-odps-request-id", "R7"),
    });
    let download = client(&service).create_download("t", None).await.unwrap();
    let mut reader = download.read(&ReadOptions::default()).unwrap();
    let error = reader.next_row().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("before its trailer"), "{error}");
    assert_eq!(service.count("GET /projects/p/tables/t?data"), 4);
}

#[tokio::test]
async fn a_gateway_that_leads_nowhere_is_looked_up_again() {
    let service = upload_service(|asked, nth| match asked.line() {
        line if line == DISCOVERY => Some(Reply::ok(asked.header("host"))),
        line if line == CREATE && nth == 0 => Some(Reply::status(502, "Bad Gateway")),
        _ => None,
    });
    let mut config = config(&service);
    config.tunnel_endpoint = None;
    let client = MaxCompute::new(config).unwrap();
    client.create_upload("t", None, UploadOptions::default()).await.unwrap();
    client.create_upload("t", None, UploadOptions::default()).await.unwrap();
    assert_eq!(service.lines(), [DISCOVERY, CREATE, DISCOVERY, CREATE, CREATE]);
}

#[tokio::test]
async fn discovery_answers_must_be_a_host() {
    for answer in ["", "<html>", "a host", "http://"] {
        let service = Service::start(move |_, _| Reply::ok(answer));
        let mut config = config(&service);
        config.tunnel_endpoint = None;
        let error = MaxCompute::new(config).unwrap().tunnel_endpoint().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode, "{answer}");
    }
}

#[tokio::test]
async fn v4_signatures_fall_back_where_the_service_refuses_them() {
    let service = Service::start(|asked, _| {
        let v4 = asked.header("authorization").contains("/cn-hangzhou/odps/aliyun_v4_request:");
        let table = r#"<Table><Name>t</Name><Schema format="Json"><![CDATA[{"columns":[]}]]></Schema></Table>"#;
        let refusal = r#"<Error><Code>AuthorizationRequired</Code><Message>Authorization is invalid or missing</Message></Error>"#;
        if v4 { Reply::status(401, refusal) } else { Reply::ok(table) }
    });
    let mut config = config(&service);
    config.region = Some("cn-hangzhou".into());
    let client = MaxCompute::new(config).unwrap();
    client.table("t").await.unwrap();
    client.table("t").await.unwrap();
    // Asked once with V4, then never again.
    assert_eq!(service.asked().len(), 3);
}

#[tokio::test]
async fn a_security_token_goes_along_unsigned() {
    let service = upload_service(|_, _| None);
    let mut config = config(&service);
    config.credentials = Credentials::new(ACCESS_ID, ACCESS_KEY).with_security_token("DUMMY_TOKEN");
    MaxCompute::new(config).unwrap().create_upload("t", None, UploadOptions::default()).await.unwrap();
    assert_eq!(service.asked()[0].header("authorization-sts-token"), "DUMMY_TOKEN");
}

const SUBMIT: &str = "POST /api/projects/p/instances?curr_project";
const INSTANCE: &str = "/api/projects/p/instances/I1";

/// The service's part of an SQL instance `I1`.
fn sql_reply(line: &str, statuses: &[&str], task: &str, result: &str) -> Option<Reply> {
    let instance = |inner: &str| Reply::ok(format!("<?xml version=\"1.0\"?><Instance>{inner}</Instance>"));
    let status = statuses.first().copied().unwrap_or("Terminated");
    if line == SUBMIT {
        Some(Reply::status(201, "").with("Location", "http://h/api/projects/p/instances/I1?x=y"))
    } else if line == format!("GET {INSTANCE}?curr_project") {
        Some(instance(&format!("<Status>{status}</Status>")))
    } else if line == format!("GET {INSTANCE}?taskstatus") {
        let task = format!("<Tasks><Task Type=\"SQL\"><Name>n</Name><Status>{task}</Status></Task></Tasks>");
        Some(instance(&format!("<Status>Terminated</Status>{task}")))
    } else if line == format!("GET {INSTANCE}?result") {
        Some(instance(&format!("<Tasks><Task Type=\"SQL\"><Name>n</Name>{result}</Task></Tasks>")))
    } else if line == format!("PUT {INSTANCE}?curr_project") {
        Some(Reply::ok(""))
    } else {
        None
    }
}

#[tokio::test]
async fn a_select_comes_back_as_rows() {
    // "a,b\n1,\N\n"
    let service = Service::start(|asked, nth| {
        let status = if nth < 3 { "Running" } else { "Terminated" };
        let result = "<Result Transform=\"Base64\" Format=\"csv\"><![CDATA[YSxiCjEsXE4K]]></Result>";
        sql_reply(&asked.line(), &[status], "Success", result).unwrap()
    });
    let output = client(&service).sql("select * from t", &[("k", "v")]).await.unwrap();
    assert_eq!((output.instance_id.as_str(), output.columns), ("I1", vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(output.rows, [[Some("1".to_owned()), None]]);
    assert_eq!(service.count(&format!("GET {INSTANCE}?curr_project")), 4);
    let body = String::from_utf8(service.asked()[0].body.clone()).unwrap();
    assert!(body.contains("select * from t;") && body.contains("{\"k\":\"v\"}"), "{body}");
    assert_eq!(service.asked()[0].header("content-type"), "application/xml");
}

#[tokio::test]
async fn a_failed_statement_speaks_in_the_services_words() {
    for (words, kind) in [
        ("ODPS-0130131:[1,15] Table not found - table p.nope", ErrorKind::NoSuchTable),
        ("ODPS-0130161:[1,8] Parse exception", ErrorKind::Sql),
        ("something else", ErrorKind::Sql),
    ] {
        let service = Service::start(move |asked, _| {
            let result = format!("<Result Format=\"text\"><![CDATA[{words}]]></Result>");
            sql_reply(&asked.line(), &[], "Failed", &result).unwrap()
        });
        let error = client(&service).sql("select 1", &[]).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains(words) && error.to_string().contains("I1"), "{error}");
    }
}

#[tokio::test]
async fn a_statement_that_may_have_been_taken_is_not_sent_twice() {
    let script = |asked: &Asked, nth: usize| match asked.line() {
        line if line == SUBMIT && nth == 0 => Reply::Cut,
        line => sql_reply(&line, &[], "Success", "<Result Format=\"text\"/>").unwrap(),
    };
    let service = Service::start(script);
    let error = client(&service).sql("insert into t values (1)", &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownOutcome);
    assert_eq!(service.lines(), [SUBMIT]);

    let service = Service::start(script);
    client(&service).sql("select 1", &[]).await.unwrap();
    assert_eq!(service.count(SUBMIT), 2);

    // Throttled requests have no effect, whatever the statement.
    let service = Service::start(|asked, nth| match asked.line() {
        line if line == SUBMIT && nth == 0 => Reply::error(429, "RequestQuotaExceeded"),
        line => sql_reply(&line, &[], "Success", "<Result Format=\"text\"/>").unwrap(),
    });
    client(&service).sql("insert into t values (1)", &[]).await.unwrap();
    assert_eq!(service.count(SUBMIT), 2);
}

#[tokio::test]
async fn a_statement_can_be_cancelled() {
    let service = Service::start(|asked, _| sql_reply(&asked.line(), &["Running"], "Cancelled", "").unwrap());
    let instance = client(&service).submit_sql("select 1", &[]).await.unwrap();
    instance.cancel().await.unwrap();
    let put = service.asked().pop().unwrap();
    assert!(String::from_utf8(put.body).unwrap().contains("<Status>Terminated</Status>"));
}

#[tokio::test]
async fn nobody_there_is_unavailable_and_names_the_host() {
    let service = Service::start(|_, _| Reply::ok(""));
    let mut config = config(&service);
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    config.endpoint = format!("http://{free}/api");
    let error = MaxCompute::new(config).unwrap().table("t").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = error.to_string();
    assert!(text.contains(&free.to_string()) && text.contains("refused") && text.contains("4 attempts"), "{text}");
}

/// A CA, `ca.pem`, and a certificate it signed for 127.0.0.1: `server.pem` with `server.key`.
fn certificates() -> Scratch {
    let files = Scratch::new("tunnel-certificates");
    files.write("server.ext", "basicConstraints=CA:FALSE\nsubjectAltName=IP:127.0.0.1,DNS:localhost\n");
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for words in [
        format!("req -x509 {key} -keyout ca.key -out ca.pem -days 30 -subj /CN=ca"),
        format!("req {key} -keyout server.key -out server.csr -subj /CN=server"),
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 30 -extfile server.ext"
            .to_owned(),
    ] {
        let mut openssl = command("openssl");
        openssl.current_dir(files.path()).args(words.split(' '));
        let _made = run_program(openssl, b"", Duration::from_secs(60)).expect_success();
    }
    files
}

/// A service over TLS with these certificates.
fn tls_service(files: &Scratch) -> Service {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = vec![CertificateDer::from_pem_file(files.path().join("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(files.path().join("server.key")).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls_graviola::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let tls = Arc::new(tls);
    Service::start_over(
        Arc::new(move |stream| {
            let session = rustls::ServerConnection::new(Arc::clone(&tls)).unwrap();
            Box::new(rustls::StreamOwned::new(session, stream))
        }),
        Arc::new(|_: &Asked, _| {
            Reply::ok(r#"<Table><Name>t</Name><Schema format="Json"><![CDATA[{"columns":[]}]]></Schema></Table>"#)
        }),
    )
}

#[tokio::test]
async fn https_trusts_the_named_certificates_and_no_others() {
    let files = certificates();
    let service = tls_service(&files);
    let mut config = config(&service);
    config.endpoint = format!("https://{}/api", service.address);
    config.ca_file = Some(files.path().join("ca.pem"));
    assert_eq!(MaxCompute::new(config.clone()).unwrap().table("t").await.unwrap().name, "t");

    // A certificate that signed nothing here.
    config.ca_file = Some(files.path().join("server.pem"));
    let error = MaxCompute::new(config).unwrap().table("t").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
    assert!(!error.to_string().contains("attempts"), "distrust is not repeated: {error}");
}
