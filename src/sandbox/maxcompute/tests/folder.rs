//! The data folder: what a restart finds, and what it clears away.

use std::fs;

use super::{Local, Scratch, texts};

#[tokio::test]
async fn tables_and_open_sessions_survive_a_restart() {
    let scratch = Scratch::new();
    let (open, closed);
    {
        let local = Local::in_folder(&scratch.0).await;
        local.ok("create table t (s string comment 'it''s') comment 'c' lifecycle 3").await;
        local.ok("create table p (s string) partitioned by (pt string)").await;
        local.ok("insert into p partition (pt='1') values ('x'), (null)").await;
        closed = local.upload("t", "").await;
        local.block("t", &closed, 0, &texts(&["closed"])).await;
        local.commit("t", &closed).await;
        open = local.upload("t", "&overwrite=true").await;
        local.block("t", &open, 0, &texts(&["first"])).await;
        local.block("t", &open, 0, &texts(&["second"])).await;
        local.block("t", &open, 1, &texts(&["third"])).await;
        local.local.shutdown().await;
    }
    let local = Local::in_folder(&scratch.0).await;
    assert_eq!(local.rows("select * from t").await, ["\"closed\""]);
    assert_eq!(local.rows("select * from p").await, ["\"x\",\"1\"", "\\N,\"1\""]);
    assert!(local.ok("show create table t").await.contains("LIFECYCLE 3"));
    assert_eq!(local.status("t", &closed).await["Status"], "closed");
    let status = local.status("t", &open).await;
    assert_eq!((status["Status"].as_str(), status["UploadedBlockList"].as_array().unwrap().len()), (Some("normal"), 2));
    assert_eq!(local.commit("t", &open).await.json()["Status"], "closed");
    assert_eq!(local.rows("select * from t").await, ["\"second\"", "\"third\""]);
    local.local.shutdown().await;
    let local = Local::in_folder(&scratch.0).await;
    assert_eq!(local.rows("select * from t").await, ["\"second\"", "\"third\""]);
}

#[tokio::test]
async fn files_go_when_nothing_needs_them() {
    let scratch = Scratch::new();
    let local = Local::in_folder(&scratch.0).await;
    local.ok("create table t (s string); insert into t values ('a'); insert into t values ('b')").await;
    let blocks = || scratch.files().into_iter().filter(|file| file.ends_with(".rows")).count();
    assert_eq!(blocks(), 2);
    local.ok("insert overwrite table t values ('c')").await;
    assert_eq!(blocks(), 1);
    let id = local.upload("t", "").await;
    local.block("t", &id, 0, &texts(&["x"])).await;
    local.block("t", &id, 0, &texts(&["y"])).await;
    assert_eq!(blocks(), 2);
    assert_eq!(local.block("t", &id, 1, b"rubbish").await.status, 400);
    assert_eq!(blocks(), 2);
    assert!(!scratch.files().iter().any(|file| file.ends_with(".part")));
    local.commit("t", &id).await;
    local.ok("truncate table t").await;
    assert_eq!(blocks(), 0);
    local.ok("drop table t").await;
    assert!(!scratch.files().iter().any(|file| file.starts_with("tables")), "{:?}", scratch.files());
}

#[tokio::test]
async fn a_download_reads_on_after_its_table_was_dropped() {
    let scratch = Scratch::new();
    let local = Local::in_folder(&scratch.0).await;
    local.ok("create table t (s string); insert into t values ('a')").await;
    let download = local.post("/projects/sandbox/tables/t?downloads").await.json();
    local.ok("drop table t").await;
    let id = download["DownloadID"].as_str().unwrap();
    let reply = local.get(&format!("/projects/sandbox/tables/t?data&downloadid={id}&rowrange=(0,1)")).await;
    assert_eq!(reply.body, texts(&["a"]));
    local.post(&format!("/projects/sandbox/tables/t?downloadid={id}")).await;
    // The thread that read the block may hold it a moment longer than its answer took.
    let blocks = || scratch.files().into_iter().filter(|file| file.ends_with(".rows")).collect::<Vec<_>>();
    for _ in 0..500 {
        if blocks().is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(blocks(), [] as [String; 0]);
}

#[tokio::test]
async fn what_a_killed_process_leaves_half_done_is_cleared() {
    let scratch = Scratch::new();
    let local = Local::in_folder(&scratch.0).await;
    local.ok("create table t (s string); insert into t values ('a')").await;
    local.local.shutdown().await;
    let table = fs::read_dir(scratch.0.join("tables")).unwrap().next().unwrap().unwrap().path();
    // A block being written, one whose commit was never written, a manifest being written, a table being created,
    // a session file being written.
    fs::write(table.join("U.0.1.1.part"), b"half").unwrap();
    fs::write(table.join("sql.1.1.5.rows"), b"orphan").unwrap();
    fs::write(table.join("table.json.part"), b"{").unwrap();
    fs::create_dir(scratch.0.join("tables/half")).unwrap();
    fs::write(scratch.0.join("uploads/x.json.part"), b"{").unwrap();
    let local = Local::in_folder(&scratch.0).await;
    assert_eq!(local.rows("select * from t").await, ["\"a\""]);
    let files = scratch.files();
    assert_eq!(files.len(), 2, "{files:?}");
    assert!(!scratch.0.join("tables/half").exists());
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_named() {
    let scratch = Scratch::new();
    let file = scratch.0.join("file");
    fs::write(&file, b"").unwrap();
    let config = super::MaxComputeSandboxConfig { data_dir: Some(file.clone()), ..Default::default() };
    let error = super::start(config).await.unwrap_err().to_string();
    assert!(error.contains(&file.display().to_string()), "{error}");
    fs::create_dir_all(scratch.0.join("d/tables/x")).unwrap();
    fs::write(scratch.0.join("d/tables/x/table.json"), b"{}").unwrap();
    let config = super::MaxComputeSandboxConfig { data_dir: Some(scratch.0.join("d")), ..Default::default() };
    let error = super::start(config).await.unwrap_err().to_string();
    assert!(error.contains("table.json"), "{error}");
}
