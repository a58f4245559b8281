//! Download sessions of tables and of instances.

use serde_json::json;

use super::{Local, send, texts};
use crate::sandbox::maxcompute::Switches;

async fn session(local: &Local, target: &str) -> String {
    let reply = local.post(target).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["DownloadID"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn ranges_columns_and_snapshots() {
    let local = Local::new().await;
    local.ok("create table t (a string, b bigint, c string)").await;
    local.ok("insert into t values ('r0', 0, 'x'), ('r1', 1, 'y')").await;
    local.ok("insert into t values ('r2', 2, null), ('r3', 3, 'z')").await;
    let create = "/projects/sandbox/tables/t?downloads&asyncmode=true&curr_project=sandbox";
    let described = local.post(create).await.json();
    assert_eq!((described["RecordCount"].as_u64(), described["Schema"]["partitionKeys"].clone()), (Some(4), json!([])));
    let id = described["DownloadID"].as_str().unwrap();
    local.ok("truncate table t").await;
    let data = |more: &str| format!("/projects/sandbox/tables/t?data&downloadid={id}{more}");
    let range = local.get(&data("&rowrange=%281%2C2%29&columns=a")).await;
    assert_eq!(range.body, texts(&["r1", "r2"]));
    // The fields are numbered as the columns were asked for.
    let swapped = local.get(&data("&rowrange=(3,9)&columns=c,A")).await;
    let mut encoder = crate::tunnel::RowEncoder::new();
    encoder.string(0, b"z");
    encoder.string(1, b"r3");
    encoder.end_row();
    assert_eq!(swapped.body, encoder.finish());
    assert_eq!(local.get(&data("&rowrange=(4,1)")).await.body, texts(&[]));
    for (more, code) in [
        ("&rowrange=(5,1)", "InvalidRowRange"),
        ("&rowrange=1", "InvalidRowRange"),
        ("&rowrange=(0,1)&columns=q", "InvalidColumnSpec"),
    ] {
        assert_eq!(local.get(&data(more)).await.refusal(), (400, code.to_owned()), "{more}");
    }
    let (target, accept) = (data("&rowrange=(0,4)&columns=a"), [("Accept-Encoding", "deflate")]);
    let packed = send(local.local.address(), "GET", &target, &accept, None).await.unwrap();
    assert_eq!(packed.headers["content-encoding"], "deflate");
    let unpacked = crate::tunnel::encode::Inflater::new(packed.body.as_slice(), 10_000).read_all().unwrap();
    assert_eq!(unpacked, texts(&["r0", "r1", "r2", "r3"]));
    local.post(&format!("/projects/sandbox/tables/t?downloadid={id}")).await;
    assert_eq!(local.get(&data("&rowrange=(0,1)")).await.refusal(), (409, "StatusConflict".to_owned()));
}

#[tokio::test]
async fn partitions_and_polls() {
    let local = Local::new().await;
    local.ok("create table p (s string) partitioned by (pt string)").await;
    local.ok("insert into p partition (pt='1') values ('one'); insert into p partition (pt='2') values ('two')").await;
    let missing = local.post("/projects/sandbox/tables/p?downloads&partition=pt%3D9").await;
    assert_eq!(missing.refusal(), (404, "NoSuchPartition".to_owned()));
    local.local.set_switches(Switches { initiating_polls: 2, ..Switches::default() });
    let id = session(&local, "/projects/sandbox/tables/p?downloads&partition=pt%3D'2'").await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let status = local.get(&format!("/projects/sandbox/tables/p?downloadid={id}")).await.json();
        seen.push(status["Status"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen, ["initiating", "initiating", "normal"]);
    let reply = local.get(&format!("/projects/sandbox/tables/p?data&downloadid={id}&rowrange=(0,1)")).await;
    assert_eq!(reply.body, texts(&["two"]));
    local.local.clock().advance(std::time::Duration::from_secs(86_400));
    let reply = local.get(&format!("/projects/sandbox/tables/p?data&downloadid={id}&rowrange=(0,1)")).await;
    assert_eq!(reply.refusal(), (409, "StatusConflict".to_owned()));
    let reply = local.get("/projects/sandbox/tables/p?downloadid=nope").await;
    assert_eq!(reply.refusal(), (404, "NoSuchDownload".to_owned()));
}

#[tokio::test]
async fn results_of_instances() {
    let local = Local::new().await;
    local.ok("create table t (s string); insert into t values ('a'), ('b')").await;
    let instance = |listing: &str| {
        let name = listing.rsplit("<Instance><Name>").next().unwrap();
        name.split('<').next().unwrap().to_owned()
    };
    local.ok("select s from t order by s desc").await;
    let select = instance(&local.get("/api/projects/sandbox/instances").await.text());
    let id = session(&local, &format!("/projects/sandbox/instances/{select}?downloads")).await;
    let reply = local.get(&format!("/projects/sandbox/instances/{select}?data&downloadid={id}&rowrange=(0,2)")).await;
    assert_eq!(reply.body, texts(&["b", "a"]));
    local.ok("drop table if exists q").await;
    let ddl = instance(&local.get("/api/projects/sandbox/instances").await.text());
    let refused = local.post(&format!("/projects/sandbox/instances/{ddl}?downloads")).await;
    assert_eq!(refused.refusal(), (400, "InstanceTypeNotSupported".to_owned()));
    local.sql("select * from nope").await;
    let failed = instance(&local.get("/api/projects/sandbox/instances").await.text());
    let refused = local.post(&format!("/projects/sandbox/instances/{failed}?downloads")).await;
    assert_eq!(refused.refusal(), (400, "TaskFailed".to_owned()));
}
