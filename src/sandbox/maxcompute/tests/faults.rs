//! Faults do what they say, exactly as often as ordered.

use serde_json::json;

use super::{Local, texts};
use crate::sandbox::maxcompute::{Action, Fault};

async fn session(local: &Local) -> String {
    local.ok("create table if not exists t (s string)").await;
    local.upload("t", "").await
}

#[tokio::test]
async fn an_answer_lost_after_the_effect() {
    let local = Local::new().await;
    let id = session(&local).await;
    local.local.faults().push(Fault::after("upload_block", Action::Drop));
    local.local.faults().push(Fault::after("upload_commit", Action::Drop));
    let put = format!("/projects/sandbox/tables/t?uploadid={id}&blockid=0");
    assert!(local.try_send("PUT", &put, Some(&texts(&["a"]))).await.is_err());
    assert_eq!(local.status("t", &id).await["UploadedBlockList"][0]["RecordCount"], 1);
    let commit = format!("/projects/sandbox/tables/t?uploadid={id}");
    assert!(local.try_send("POST", &commit, Some(b"")).await.is_err());
    assert_eq!(local.status("t", &id).await["Status"], "closed");
    assert_eq!(local.rows("select * from t").await, ["\"a\""]);
}

#[tokio::test]
async fn a_request_lost_before_the_effect() {
    let local = Local::new().await;
    let id = session(&local).await;
    local.local.faults().push(Fault::before("upload_block", Action::Drop));
    let put = format!("/projects/sandbox/tables/t?uploadid={id}&blockid=0");
    assert!(local.try_send("PUT", &put, Some(&texts(&["a"]))).await.is_err());
    assert_eq!(local.status("t", &id).await["UploadedBlockList"], json!([]));
}

#[tokio::test]
async fn status_code_and_retry_after_from_outside() {
    let local = Local::new().await;
    let id = session(&local).await;
    let faults = json!({ "faults": [
        { "operation": "upload_block", "action": "status", "status": 429, "code": "FlowExceeded", "message": "slow", "retry_after_s": 3 },
        { "operation": "upload_block", "when": "after", "action": "status", "status": 502 },
        { "operation": "upload_commit", "action": "status", "status": 500, "code": "InternalServerError", "skip": 1 },
    ]});
    assert_eq!(local.control("POST", "faults", &faults).await.json()["ordered"], 3);
    let reply = local.block("t", &id, 0, &texts(&["a"])).await;
    assert_eq!(reply.refusal(), (429, "FlowExceeded".to_owned()));
    assert_eq!(reply.headers["retry-after"], "3");
    assert_eq!(local.status("t", &id).await["UploadedBlockList"], json!([]));
    let reply = local.block("t", &id, 0, &texts(&["a"])).await;
    assert_eq!(reply.status, 502);
    assert!(reply.text().starts_with("<html>"));
    assert_eq!(local.status("t", &id).await["UploadedBlockList"][0]["BlockID"], 0);
    assert_eq!(local.commit("t", &id).await.status, 200);
    assert_eq!(local.commit("t", &id).await.refusal(), (500, "InternalServerError".to_owned()));
    assert_eq!(local.control("GET", "faults", &json!({})).await.json(), json!({ "faults": [] }));
    let unknown = json!({ "operation": "upload_block", "action": "explode" });
    assert_eq!(local.control("POST", "faults", &unknown).await.status, 400);
}

#[tokio::test]
async fn bodies_cut_on_both_ways() {
    let local = Local::new().await;
    let id = session(&local).await;
    local.local.faults().push(Fault::before("upload_block", Action::CutRequest { after_bytes: 5 }));
    let put = format!("/projects/sandbox/tables/t?uploadid={id}&blockid=0");
    let body = texts(&["a", "b", "c"]);
    assert!(local.try_send("PUT", &put, Some(&body)).await.is_err());
    assert_eq!(local.status("t", &id).await["UploadedBlockList"], json!([]));
    local.block("t", &id, 0, &body).await;
    local.commit("t", &id).await;
    let download = local.post("/projects/sandbox/tables/t?downloads").await.json();
    let download = download["DownloadID"].as_str().unwrap();
    let target = format!("/projects/sandbox/tables/t?data&downloadid={download}&rowrange=(0,3)");
    local.local.faults().push(Fault::before("download_data", Action::CutAnswer { after_bytes: 7 }));
    assert!(local.try_send("GET", &target, None).await.is_err());
    assert_eq!(local.get(&target).await.body, body);
    // Also where the answer is at hand whole.
    local.local.faults().push(Fault::before("upload_status", Action::CutAnswer { after_bytes: 7 }));
    let status = format!("/projects/sandbox/tables/t?uploadid={id}");
    assert!(local.try_send("GET", &status, None).await.is_err());
    assert_eq!(local.get(&status).await.status, 200);
}

#[tokio::test]
async fn a_held_request_answers_late() {
    let local = Local::new().await;
    local.local.faults().push(Fault::before("discovery", Action::Hold { hold_ms: 120 }));
    let begun = std::time::Instant::now();
    let reply = local.get("/api/projects/sandbox/tunnel?service").await;
    assert!(begun.elapsed() >= std::time::Duration::from_millis(120));
    assert_eq!(reply.text(), local.local.address().to_string());
}

#[tokio::test]
async fn the_log_tells_what_came_without_secrets() {
    let local = Local::new().await;
    let headers = [("Authorization", "ODPS id:very-secret"), ("x-odps-user-agent", "test/1")];
    let address = local.local.address();
    super::send(address, "GET", "/api/projects/sandbox?curr_project=sandbox", &headers, None).await.unwrap();
    super::send(address, "GET", "/nowhere", &headers, None).await.unwrap();
    let log = local.control("GET", "requests", &json!({})).await.json();
    let entries = log["requests"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!((entries[0]["operation"].as_str(), entries[0]["status"].as_u64()), (Some("project"), Some(200)));
    assert_eq!(entries[0]["target"], "/api/projects/sandbox?curr_project=sandbox");
    assert_eq!((entries[1]["operation"].as_str(), entries[1]["status"].as_u64()), (Some("unknown"), Some(404)));
    assert!(log.to_string().contains("test/1") && !log.to_string().contains("very-secret"));
    local.control("DELETE", "requests", &json!({})).await;
    assert!(local.local.requests().is_empty());
}
