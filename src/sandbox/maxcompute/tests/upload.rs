//! Upload sessions: what is visible when, and what is refused.

use serde_json::json;

use super::{Local, send, texts};
use crate::sandbox::maxcompute::{RepeatedCommit, Switches};

#[tokio::test]
async fn rows_are_visible_from_the_commit_on() {
    let local = Local::new().await;
    local.ok("create table t (s string)").await;
    let id = local.upload("t", "&curr_project=sandbox").await;
    assert_eq!(local.block("t", &id, 3, &texts(&["c"])).await.status, 200);
    assert_eq!(local.block("t", &id, 0, &texts(&["a", "b"])).await.status, 200);
    let status = local.status("t", &id).await;
    let blocks: Vec<_> = status["UploadedBlockList"]
        .as_array()
        .unwrap()
        .iter()
        .map(|block| (block["BlockID"].as_u64().unwrap(), block["RecordCount"].as_u64().unwrap()))
        .collect();
    assert_eq!(blocks, [(0, 2), (3, 1)]);
    assert!(local.rows("select * from t").await.is_empty());
    let committed = local.commit("t", &id).await;
    assert_eq!((committed.status, committed.json()["Status"].as_str()), (200, Some("closed")));
    assert_eq!(local.rows("select * from t").await, ["\"a\"", "\"b\"", "\"c\""]);
    let without = local.get(&format!("/projects/sandbox/tables/t?uploadid={id}&getblockid=false")).await.json();
    assert_eq!((without["UploadedBlockList"].clone(), without["Status"].as_str()), (json!([]), Some("closed")));
}

#[tokio::test]
async fn overwrite_replaces_at_the_commit_and_not_before() {
    let local = Local::new().await;
    local.ok("create table t (s string); insert into t values ('old')").await;
    let id = local.upload("t", "=1&reload=False&overwrite=true").await;
    local.block("t", &id, 0, &texts(&["new"])).await;
    assert_eq!(local.rows("select s from t").await, ["\"old\""]);
    local.commit("t", &id).await;
    assert_eq!(local.rows("select s from t").await, ["\"new\""]);
    // Without blocks it empties the table.
    let id = local.upload("t", "&overwrite=true").await;
    assert_eq!(local.commit("t", &id).await.status, 200);
    assert!(local.rows("select s from t").await.is_empty());
}

#[tokio::test]
async fn a_block_sent_again_replaces_the_first() {
    let local = Local::new().await;
    local.ok("create table t (s string)").await;
    let id = local.upload("t", "").await;
    local.block("t", &id, 7, &texts(&["first", "try"])).await;
    local.block("t", &id, 7, &texts(&["second"])).await;
    local.commit("t", &id).await;
    assert_eq!(local.rows("select s from t").await, ["\"second\""]);
}

#[tokio::test]
async fn a_bad_block_leaves_no_trace() {
    let local = Local::new().await;
    local.ok("create table t (s string)").await;
    let id = local.upload("t", "").await;
    let good = texts(&["one", "two"]);
    local.block("t", &id, 1, &good).await;
    for end in 0..good.len() {
        let reply = local.block("t", &id, 0, &good[..end]).await;
        assert_eq!(reply.refusal(), (400, "MalformedDataStream".to_owned()), "cut at {end}");
    }
    let mut refused = 0;
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            let reply = local.block("t", &id, 0, &bad).await;
            let (status, code) = reply.refusal();
            if status == 200 {
                // Only a bit beyond the 32 of a checksum's varint may pass, and the rows are the same.
                continue;
            }
            assert!(matches!(code.as_str(), "MalformedDataStream" | "CorruptedDataStream"), "{at}.{bit}: {code}");
            refused += 1;
        }
    }
    assert!(refused > good.len() * 8 - 12, "{refused}");
    let mut trailing = good.clone();
    trailing.push(0);
    assert_eq!(local.block("t", &id, 2, &trailing).await.refusal().1, "MalformedDataStream");
    let ids: Vec<_> = local.status("t", &id).await["UploadedBlockList"]
        .as_array()
        .unwrap()
        .iter()
        .map(|block| block["BlockID"].as_u64().unwrap())
        .filter(|block| *block != 0)
        .collect();
    assert_eq!(ids, [1]);
}

#[tokio::test]
async fn a_body_that_ends_early_leaves_no_trace() {
    let local = Local::new().await;
    local.ok("create table t (s string)").await;
    let id = local.upload("t", "").await;
    let body = texts(&["one"]);
    // The client promises more than it sends and goes away.
    let address = local.local.address();
    let target = format!("/projects/sandbox/tables/t?uploadid={id}&blockid=0");
    {
        use tokio::io::AsyncWriteExt as _;
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = format!("PUT {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len() + 1);
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
    }
    // A chunked body without its last chunk.
    {
        use tokio::io::AsyncWriteExt as _;
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head =
            format!("PUT {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        stream.write_all(b"\r\n").await.unwrap();
    }
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(local.status("t", &id).await["UploadedBlockList"], json!([]));
}

#[tokio::test]
async fn a_field_over_the_limit_is_refused() {
    let local = Local::new().await;
    local.ok("create table t (s string)").await;
    let id = local.upload("t", "").await;
    let limit = local.status("t", &id).await["MaxFieldSize"].as_u64().unwrap() as usize;
    let fits = "x".repeat(limit);
    assert_eq!(local.block("t", &id, 0, &texts(&[&fits])).await.status, 200);
    let over = "x".repeat(limit + 1);
    assert_eq!(
        local.block("t", &id, 1, &texts(&[&over])).await.refusal(),
        (400, "MaxMessageLengthExceeded".to_owned())
    );
    local.commit("t", &id).await;
    assert_eq!(local.rows("select length(s) from t").await, [format!("\"{limit}\"")]);
}

#[tokio::test]
async fn what_a_session_refuses() {
    let local = Local::new().await;
    local.ok("create table t (s string); create table p (s string) partitioned by (pt string, n bigint)").await;
    let at = |table: &str, query: &str| format!("/projects/sandbox/tables/{table}?{query}");
    for (target, status, code) in [
        (at("nope", "uploads"), 404, "NoSuchTable"),
        ("/projects/other/tables/t?uploads".to_owned(), 404, "NoSuchProject"),
        (at("p", "uploads"), 400, "MissingPartitionSpec"),
        (at("p", "uploads&partition=pt%3D1"), 400, "InvalidPartitionSpec"),
        (at("p", "uploads&partition=pt%3D1%2Cn%3D2%2Cz%3D3"), 400, "InvalidPartitionSpec"),
        (at("p", "uploads&partition=pt%3D1%2Cn%3D2"), 404, "NoSuchPartition"),
        (at("t", "uploads&partition=pt%3D1"), 400, "InvalidPartitionSpec"),
        (at("t", "uploadid=nope"), 404, "NoSuchUpload"),
    ] {
        assert_eq!(local.post(&target).await.refusal(), (status, code.to_owned()), "{target}");
    }
    let id = local.upload("t", "").await;
    for block in ["20000", "-1", "x", ""] {
        let reply = local.put(&at("t", &format!("uploadid={id}&blockid={block}")), &texts(&["a"])).await;
        assert_eq!(reply.refusal(), (400, "InvalidBlockID".to_owned()), "{block}");
    }
    assert_eq!(local.block("t", &id, 19_999, &texts(&["a"])).await.status, 200);
    let reply = local.put(&at("t", &format!("uploadid={id}&blockid=0&partition=pt%3D1")), &texts(&["a"])).await;
    assert_eq!(reply.refusal(), (400, "InvalidResourceSpec".to_owned()));
    let headers = [("Content-Encoding", "br")];
    let target = at("t", &format!("uploadid={id}&blockid=0"));
    let reply = send(local.local.address(), "PUT", &target, &headers, Some(&texts(&["a"]))).await.unwrap();
    assert_eq!(reply.refusal(), (400, "MalformedHeaderValue".to_owned()));
    assert!(reply.headers.contains_key("x-odps-request-id"));
}

#[tokio::test]
async fn after_the_commit_a_session_is_closed() {
    let local = Local::new().await;
    local.ok("create table t (s string)").await;
    let id = local.upload("t", "").await;
    local.block("t", &id, 0, &texts(&["a"])).await;
    local.commit("t", &id).await;
    assert_eq!(local.block("t", &id, 1, &texts(&["b"])).await.refusal(), (409, "StatusConflict".to_owned()));
    assert_eq!(local.commit("t", &id).await.json()["Status"], "closed");
    local.local.set_switches(Switches { repeated_commit: RepeatedCommit::StatusConflict, ..Switches::default() });
    assert_eq!(local.commit("t", &id).await.refusal(), (409, "StatusConflict".to_owned()));
    assert_eq!(local.rows("select * from t").await, ["\"a\""]);
}

#[tokio::test]
async fn a_commit_may_take_its_time() {
    let local = Local::new().await;
    local.ok("create table t (s string)").await;
    local.local.set_switches(Switches { closing_polls: 2, ..Switches::default() });
    let id = local.upload("t", "").await;
    assert_eq!(local.commit("t", &id).await.json()["Status"], "closing");
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(local.status("t", &id).await["Status"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen, ["closing", "closing", "closed"]);
}

#[tokio::test]
async fn sessions_live_for_a_day() {
    let local = Local::new().await;
    local.ok("create table t (s string)").await;
    let (first, second) = (local.upload("t", "").await, local.upload("t", "").await);
    local.block("t", &first, 0, &texts(&["late"])).await;
    local.local.clock().advance(std::time::Duration::from_secs(24 * 3600 - 60));
    assert_eq!(local.block("t", &first, 1, &texts(&["late"])).await.status, 200);
    local.control("POST", "clock", &json!({ "advance_s": 61 })).await;
    assert_eq!(local.status("t", &first).await["Status"], "expired");
    assert_eq!(local.block("t", &first, 2, &texts(&["x"])).await.refusal(), (409, "StatusConflict".to_owned()));
    assert_eq!(local.commit("t", &first).await.refusal(), (409, "StatusConflict".to_owned()));
    local.control("POST", "sessions", &json!({ "forget": second })).await;
    assert_eq!(local.commit("t", &second).await.refusal(), (404, "NoSuchUpload".to_owned()));
    assert!(local.rows("select * from t").await.is_empty());
    let third = local.upload("t", "").await;
    local.block("t", &third, 0, &texts(&["x"])).await;
    assert_eq!(local.control("POST", "sessions", &json!({ "expire": third })).await.status, 200);
    assert_eq!(local.status("t", &third).await["Status"], "expired");
}

#[tokio::test]
async fn partitions_in_every_spelling() {
    let local = Local::new().await;
    local.ok("create table p (s string) partitioned by (pt string, type bigint)").await;
    let id = local.upload("p", "&partition=pt%3D%2720150101%27%20/%20type%3D1&create_partition=true").await;
    let put = format!(
        "/projects/sandbox/schemas/default/tables/P?uploadid={id}&blockid=0&partition=type%3D1%2C+pt%3D20150101"
    );
    assert_eq!(local.put(&put, &texts(&["a"])).await.status, 200);
    local.commit("p", &id).await;
    assert_eq!(local.rows("select * from p").await, ["\"a\",\"20150101\",\"1\""]);
    // An empty value also means yes; a session on an existing partition needs no leave to create.
    local.upload("p", "&partition=pt%3Dx%2Ctype%3D2&create_partition=").await;
    local.upload("p", "&partition=pt%3Dx%2Ctype%3D2").await;
    assert_eq!(local.ok("show partitions p").await, "pt=20150101/type=1\npt=x/type=2");
    // Overwriting one leaves the others alone.
    local.ok("insert into p partition (pt='x', type=2) values ('keep')").await;
    let id = local.upload("p", "&overwrite=true&partition=pt%3D20150101%2Ctype%3D1").await;
    local.commit("p", &id).await;
    assert_eq!(local.rows("select s from p").await, ["\"keep\""]);
}

#[tokio::test]
async fn compressed_and_chunked_bodies() {
    let local = Local::new().await;
    local.ok("create table t (s string)").await;
    let id = local.upload("t", "").await;
    let mut deflater = crate::tunnel::encode::Deflater::new();
    let mut packed = deflater.push(&texts(&["packed"])).unwrap().to_vec();
    packed.extend(deflater.finish().unwrap());
    let target = format!("/projects/sandbox/tables/t?uploadid={id}&blockid=0");
    let headers = [("Content-Encoding", "deflate")];
    let reply = send(local.local.address(), "PUT", &target, &headers, Some(&packed)).await.unwrap();
    assert_eq!(reply.status, 200);
    let cut = &packed[..packed.len() - 3];
    let reply = send(local.local.address(), "PUT", &target, &headers, Some(cut)).await.unwrap();
    assert_eq!(reply.refusal(), (400, "IncompleteBody".to_owned()));
    local.commit("t", &id).await;
    assert_eq!(local.rows("select s from t").await, ["\"packed\""]);
}

#[tokio::test]
async fn a_table_that_changed_under_a_session_is_noticed() {
    let local = Local::new().await;
    local.ok("create table t (s string)").await;
    let id = local.upload("t", "").await;
    local.block("t", &id, 0, &texts(&["a"])).await;
    local.ok("alter table t add columns (n bigint)").await;
    assert_eq!(local.commit("t", &id).await.refusal(), (400, "TableModified".to_owned()));
    let id = local.upload("t", "").await;
    local.ok("drop table t; create table t (s string)").await;
    assert_eq!(local.commit("t", &id).await.refusal(), (404, "NoSuchTable".to_owned()));
}

#[tokio::test]
async fn a_full_disk_is_told_and_changes_nothing() {
    let local = Local::new().await;
    local.ok("create table t (s string); insert into t values ('old')").await;
    let id = local.upload("t", "&overwrite=true").await;
    local.block("t", &id, 0, &texts(&["kept"])).await;
    local.control("POST", "switches", &json!({ "free_bytes": 10 })).await;
    let reply = local.block("t", &id, 1, &texts(&["more than ten bytes"])).await;
    assert_eq!(reply.refusal(), (500, "DataStoreError".to_owned()));
    assert!(reply.text().contains("No space left on device"), "{}", reply.text());
    let (status, result) = local.sql("insert into t values ('a text that is too long')").await;
    assert_eq!(status, "Failed");
    assert!(result.contains("No space left on device"), "{result}");
    assert_eq!(local.rows("select s from t").await, ["\"old\""]);
    local.control("POST", "switches", &json!({ "free_bytes": null })).await;
    local.commit("t", &id).await;
    assert_eq!(local.rows("select s from t").await, ["\"kept\""]);
}
