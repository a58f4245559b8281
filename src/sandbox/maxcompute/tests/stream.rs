//! Stream sessions as bytes: what is refused, and what the answers' headers say.

use serde_json::json;

use super::{Local, send, texts};

async fn session(local: &Local, more: &str) -> serde_json::Value {
    local.ok("create table if not exists t (s string)").await;
    let reply = local.post(&format!("/projects/sandbox/tables/t/streams?x{more}")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

#[tokio::test]
async fn a_pack_answers_with_its_route_and_is_visible() {
    let local = Local::new().await;
    let created = session(&local, "").await;
    let id = created["session_name"].as_str().unwrap();
    assert_eq!((created["status"].as_str(), created["schema_version"].as_str()), (Some("normal"), Some("1")));
    let server = created["slots"][0][1].as_str().unwrap().to_owned();
    let put = |more: &str| format!("/projects/sandbox/tables/t/streams?uploadid={id}&slotid=0&schema_version=1{more}");
    let reply = local.put(&put("&record_count=2"), &texts(&["a", "b"])).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(
        (&*reply.headers["odps-tunnel-slot-num"], &*reply.headers["odps-tunnel-routed-server"]),
        ("1", &*server)
    );
    assert_eq!(reply.headers["odps-tunnel-batch-id"], "1");
    assert_eq!(local.rows("select s from t order by s").await, ["\"a\"", "\"b\""]);
    let reload = local.get(&format!("/projects/sandbox/tables/t/streams?uploadid={id}&read_only=true")).await.json();
    assert_eq!((reload["last_batch_id"].as_u64(), &reload["slots"]), (Some(1), &created["slots"]));
    // What is wrong leaves nothing behind.
    let mut damaged = texts(&["c"]);
    *damaged.last_mut().unwrap() ^= 1;
    for (target, body, refusal) in [
        (put(""), damaged, (400, "CorruptedDataStream")),
        (put(""), texts(&["c"])[..5].to_vec(), (400, "MalformedDataStream")),
        (put("&record_count=2"), texts(&["c"]), (400, "InvalidArgument")),
        (put("&partition=pt%3D1"), texts(&["c"]), (400, "InvalidPartitionSpec")),
        (put("").replace("slotid=0", "slotid=x"), texts(&["c"]), (400, "InvalidArgument")),
        (put("").replace("version=1", "version=7"), texts(&["c"]), (404, "NoSuchSchema")),
        (put("").replace(id, "nope"), texts(&["c"]), (404, "StreamSessionNotFound")),
    ] {
        let found = local.put(&target, &body).await.refusal();
        assert_eq!(found, (refusal.0, refusal.1.to_owned()), "{target}");
    }
    assert_eq!(local.rows("select count(*) from t").await, ["\"2\""]);
}

#[tokio::test]
async fn an_old_schema_is_refused_only_when_the_client_asks_for_that() {
    let local = Local::new().await;
    let created = session(&local, "").await;
    let id = created["session_name"].as_str().unwrap();
    local.ok("alter table t add columns (n bigint)").await;
    let put = |check: bool| {
        format!(
            "/projects/sandbox/tables/t/streams?uploadid={id}&slotid=0&schema_version=1&check_latest_schema={check}"
        )
    };
    assert_eq!(local.put(&put(false), &texts(&["a"])).await.status, 200);
    let refused = local.put(&put(true), &texts(&["b"])).await;
    assert_eq!(refused.refusal(), (412, "SchemaModified".to_owned()));
    assert_eq!(refused.headers["odps-tunnel-latest-schema-version"], "2");
    assert_eq!(local.rows("select * from t").await, ["\"a\",\\N"]);
    assert_eq!(session(&local, "&schema_version=1").await["schema"]["columns"].as_array().unwrap().len(), 1);
    assert_eq!(session(&local, "").await["schema"]["columns"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn slots_are_asked_for_in_either_spelling_and_moved_by_order() {
    let local = Local::new().await;
    local.ok("create table t (s string)").await;
    for header in ["odps-tunnel-slot-num", "odps-slot-num"] {
        let target = "/projects/sandbox/tables/t/streams?check_latest_schema=false";
        let reply = send(local.local.address(), "POST", target, &[(header, "3")], Some(b"")).await.unwrap();
        assert_eq!(reply.json()["slots"].as_array().unwrap().len(), 3, "{header}");
    }
    let moved = local.control("POST", "streams", &json!({ "move_slots": "*", "slots": 2 })).await.json();
    assert_eq!(moved, json!({ "sessions": 2 }));
    let sessions = local.control("GET", "sessions", &json!({})).await.json();
    let id = sessions["streams"][0]["id"].as_str().unwrap().to_owned();
    let reload = local.get(&format!("/projects/sandbox/tables/t/streams?uploadid={id}")).await.json();
    assert_eq!(reload["slots"].as_array().unwrap().len(), 2);
    local.control("POST", "streams", &json!({ "expire": id })).await;
    let gone = local.get(&format!("/projects/sandbox/tables/t/streams?uploadid={id}")).await;
    assert_eq!(gone.refusal(), (404, "StreamSessionNotFound".to_owned()));
    local
        .control("POST", "switches", &json!({ "expired_stream": "status_conflict", "moved_slot": "bad_gateway" }))
        .await;
    let gone = local.get(&format!("/projects/sandbox/tables/t/streams?uploadid={id}")).await;
    assert_eq!(gone.refusal(), (409, "StatusConflict".to_owned()));
}

#[tokio::test]
async fn both_answers_of_batch_sessions() {
    let local = Local::new().await;
    local.ok("create table t (s string)").await;
    local.ok("insert into t values ('old')").await;
    // A cut block, refused and accepted.
    let id = local.upload("t", "").await;
    let put = format!("/projects/sandbox/tables/t?uploadid={id}&blockid=0");
    let body = texts(&["aaaa", "bbbb", "cccc"]);
    for (cut_block, rows) in [("refused", json!([])), ("accepted", json!([2]))] {
        local.control("POST", "switches", &json!({ "cut_block": cut_block })).await;
        let fault = json!({ "operation": "upload_block", "action": "cut_request", "after_bytes": body.len() * 7 / 10 });
        local.control("POST", "faults", &fault).await;
        assert!(local.try_send("PUT", &put, Some(&body)).await.is_err());
        let status = local.status("t", &id).await;
        let found = status["UploadedBlockList"].as_array().unwrap().iter().map(|block| block["RecordCount"].clone());
        assert_eq!(json!(found.collect::<Vec<_>>()), rows, "{cut_block}");
    }
    // An overwrite without blocks.
    for (empty_overwrite, status, rows) in
        [("refused", 400, "\"1\""), ("keeps", 200, "\"1\""), ("empties", 200, "\"0\"")]
    {
        local.control("POST", "switches", &json!({ "empty_overwrite": empty_overwrite })).await;
        let id = local.upload("t", "&overwrite=true").await;
        assert_eq!(local.commit("t", &id).await.status, status);
        assert_eq!(local.rows("select count(*) from t").await, [rows], "{empty_overwrite}");
    }
    // A commit that the next read does not see, and sessions that are forgotten when they are over.
    local.control("POST", "switches", &json!({ "stale_polls": 1, "closed_sessions": "forgotten" })).await;
    let id = local.upload("t", "").await;
    assert_eq!(local.commit("t", &id).await.status, 200);
    assert_eq!(local.status("t", &id).await["Status"], "normal");
    let target = format!("/projects/sandbox/tables/t?uploadid={id}");
    assert_eq!(local.get(&target).await.refusal(), (404, "NoSuchUpload".to_owned()));
    assert_eq!(local.commit("t", &id).await.refusal(), (404, "NoSuchUpload".to_owned()));
    local.control("POST", "switches", &json!({ "stale_polls": 0, "expired_sessions": "forgotten" })).await;
    let id = local.upload("t", "").await;
    local.control("POST", "sessions", &json!({ "critical": id })).await;
    assert_eq!(local.status("t", &id).await["Status"], "critical");
    local.control("POST", "sessions", &json!({ "expire": id })).await;
    assert_eq!(local.get(&format!("/projects/sandbox/tables/t?uploadid={id}")).await.status, 404);
}
