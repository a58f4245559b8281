//! Stream sessions: slots and their moves, lost answers, schema changes, partitions, both answers where the real service's
//! own is not known.

use std::collections::BTreeSet;
use std::time::Duration;

use forebay::sandbox::maxcompute::{Action, ExpiredStream, Fault, LocalMaxCompute, MovedSlot, RepeatedPack, Switches};
use forebay::tunnel::encode::Compression;
use forebay::tunnel::session::PackLimits;
use forebay::tunnel::{
    Error, ErrorKind, MaxCompute, Pack, PackReceipt, PartitionSpec, StreamOptions, StreamUpload, Value,
};

use super::{ask, client, row, service};

fn options() -> StreamOptions {
    StreamOptions::default()
}

fn add(pack: &mut Pack, n: i64) -> bool {
    let type_ = pack.schema().columns[0].type_.clone();
    pack.row().value(0, &type_, &Value::BigInt(n)).unwrap();
    pack.end_row(Duration::ZERO)
}

async fn send(stream: &StreamUpload, numbers: std::ops::Range<i64>) -> Result<PackReceipt, Error> {
    let mut pack = stream.pack(None);
    for n in numbers {
        add(&mut pack, n);
    }
    stream.send(pack).await
}

async fn open(more: StreamOptions) -> (LocalMaxCompute, MaxCompute, StreamUpload) {
    let service = service().await;
    let client = client(&service);
    client.sql("create table t (n bigint)", &[]).await.unwrap();
    let stream = client.create_stream("t", more).await.unwrap();
    (service, client, stream)
}

async fn count(client: &MaxCompute) -> (i64, i64) {
    let rows = ask(client, "select count(*), count(distinct n) from t").await;
    let cell = |place: usize| rows[0][place].as_deref().unwrap().parse().unwrap();
    (cell(0), cell(1))
}

/// The value of a query parameter in each pack's request, in order.
fn parameters(service: &LocalMaxCompute, name: &str) -> Vec<String> {
    let requests = service.requests();
    let packs = requests.iter().filter(|request| request.operation == "stream_write");
    let found = packs.filter_map(|request| {
        let query = request.target.split_once('?')?.1;
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
    });
    found.collect()
}

fn headers(service: &LocalMaxCompute, name: &str) -> Vec<String> {
    let requests = service.requests();
    let packs = requests.iter().filter(|request| request.operation == "stream_write");
    packs
        .filter_map(|request| request.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()))
        .collect()
}

#[tokio::test]
async fn rows_are_visible_when_the_pack_is_sent_in_every_compression() {
    let (_service, client, stream) = open(options()).await;
    assert_eq!(send(&stream, 0..0).await.unwrap().attempts, 0);
    let receipt = send(&stream, 0..3).await.unwrap();
    assert_eq!((receipt.batch_id, receipt.attempts), (Some(1), 1));
    assert_eq!(ask(&client, "select n from t order by n").await, [row(&["0"]), row(&["1"]), row(&["2"])]);
    let mut first = 3;
    for compression in [Compression::Deflate, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let mut options = options();
        options.compression = compression;
        let stream = client.create_stream("t", options).await.unwrap();
        send(&stream, first..first + 100).await.unwrap();
        first += 100;
    }
    assert_eq!(count(&client).await, (403, 403));
}

#[tokio::test]
async fn packs_go_round_the_slots() {
    let mut options = options();
    options.slots = 3;
    let (service, client, stream) = open(options).await;
    assert_eq!(stream.slots(), 3);
    for n in 0..6 {
        send(&stream, n..n + 1).await.unwrap();
    }
    let slots = parameters(&service, "slotid");
    assert_eq!(slots[..3].iter().collect::<BTreeSet<_>>().len(), 3, "{slots:?}");
    assert_eq!(slots[..3], slots[3..]);
    assert_eq!(count(&client).await, (6, 6));
}

/// Orders something of the service's control path.
async fn order(service: &LocalMaxCompute, path: &str, body: &str) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(service.address()).await.unwrap();
    let length = body.len();
    let head =
        format!("POST /__sandbox/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn slots_that_move_are_followed_whatever_the_service_does_about_it() {
    for moved_slot in [MovedSlot::Taken, MovedSlot::BadGateway] {
        let mut options = options();
        options.slots = 2;
        let (service, client, stream) = open(options).await;
        service.set_switches(Switches { moved_slot, ..Switches::default() });
        send(&stream, 0..10).await.unwrap();
        let reloads = || service.requests().iter().filter(|each| each.operation == "stream_reload").count();
        // Same number, other addresses: nothing to be read again unless a gateway complains.
        order(&service, "streams", r#"{"move_slots": "*"}"#).await;
        for n in 1..4 {
            send(&stream, n * 10..n * 10 + 10).await.unwrap();
        }
        assert_eq!(reloads(), usize::from(moved_slot == MovedSlot::BadGateway), "{moved_slot:?}");
        let routed = headers(&service, "odps-tunnel-routed-server");
        assert!(routed.last().unwrap().starts_with("127.0.1."), "{routed:?}");
        // Another number of them.
        for slots in [5, 1] {
            order(&service, "streams", &format!(r#"{{"move_slots": "*", "slots": {slots}}}"#)).await;
            let begin = count(&client).await.0;
            for n in 0..3 {
                send(&stream, begin + n..begin + n + 1).await.unwrap();
            }
            assert_eq!(stream.slots(), slots, "{moved_slot:?}");
        }
        assert_eq!(count(&client).await, (46, 46), "{moved_slot:?}");
    }
}

#[tokio::test]
async fn failures_are_repeated_under_one_trace_id() {
    let (service, client, stream) = open(options()).await;
    let status =
        |status, code: &str| Action::Status { status, code: code.into(), message: String::new(), retry_after_s: None };
    // More than the seven repetitions that errors of the server get.
    service.faults().push(Fault::before("stream_write", status(429, "FlowExceeded")).times(12));
    service.faults().push(Fault::before("stream_write", status(308, "SlotReassigned")).times(3));
    service.faults().push(Fault::before("stream_write", status(500, "InternalServerError")).times(2));
    service.faults().push(Fault::before("stream_write", status(504, "")).times(2));
    service.faults().push(Fault::before("stream_write", Action::CutRequest { after_bytes: 3 }));
    service.faults().push(Fault::before("stream_write", Action::Drop));
    let receipt = send(&stream, 0..5).await.unwrap();
    assert_eq!(receipt.attempts, 22);
    let traces = headers(&service, "odps-tunnel-retry-trace-id");
    assert_eq!(traces.iter().collect::<BTreeSet<_>>().len(), 1);
    let indexes: Vec<usize> =
        headers(&service, "odps-tunnel-retry-index").iter().map(|text| text.parse().unwrap()).collect();
    assert_eq!(indexes, (0..22).collect::<Vec<_>>());
    assert_eq!(service.requests().iter().filter(|each| each.operation == "stream_reload").count(), 2);
    assert_eq!(count(&client).await, (5, 5));
    // The next pack is another request.
    send(&stream, 5..6).await.unwrap();
    assert_eq!(headers(&service, "odps-tunnel-retry-trace-id").iter().collect::<BTreeSet<_>>().len(), 2);
    // Errors of the server are not repeated for ever, and others not at all.
    service.faults().push(Fault::before("stream_write", status(500, "InternalServerError")).times(8));
    assert_eq!(send(&stream, 6..7).await.unwrap_err().kind(), ErrorKind::Unavailable);
    service.faults().push(Fault::before("stream_write", status(403, "NoPermission")));
    assert_eq!(send(&stream, 6..7).await.unwrap_err().kind(), ErrorKind::Forbidden);
    assert!(service.faults().waiting().is_empty());
    assert_eq!(count(&client).await, (6, 6));
}

#[tokio::test]
async fn a_lost_answer_means_at_least_once() {
    for (repeated_pack, rows) in [(RepeatedPack::Stored, 6), (RepeatedPack::Dropped, 3)] {
        let (service, client, stream) = open(options()).await;
        service.set_switches(Switches { repeated_pack, ..Switches::default() });
        service.faults().push(Fault::after("stream_write", Action::Drop));
        assert_eq!(send(&stream, 0..3).await.unwrap().attempts, 2);
        assert_eq!(count(&client).await, (rows, 3), "{repeated_pack:?}");
    }
}

#[tokio::test]
async fn a_session_that_ends_is_created_anew() {
    for expired_stream in [ExpiredStream::NotFound, ExpiredStream::StatusConflict] {
        let (service, client, stream) = open(options()).await;
        service.set_switches(Switches { expired_stream, stream_init_polls: 2, ..Switches::default() });
        let first = stream.id();
        send(&stream, 0..3).await.unwrap();
        order(&service, "streams", r#"{"expire": "*"}"#).await;
        assert_eq!(send(&stream, 3..6).await.unwrap().attempts, 2);
        assert_ne!(stream.id(), first);
        assert_eq!(count(&client).await, (6, 6), "{expired_stream:?}");
    }
}

#[tokio::test]
async fn a_changed_schema_is_told_and_taken_up() {
    // Old schemas are taken by default: the new column is NULL.
    let (_service, client, stream) = open(options()).await;
    client.sql("alter table t add columns (s string)", &[]).await.unwrap();
    send(&stream, 0..1).await.unwrap();
    assert_eq!(ask(&client, "select n, s from t").await, [vec![Some("0".to_owned()), None]]);
    // With the check they are refused, and the session follows, also when the tunnel learns of the change late.
    let mut checked = options();
    checked.check_latest_schema = true;
    let (service, client, stream) = open(checked).await;
    send(&stream, 0..1).await.unwrap();
    client.sql("alter table t add columns (s string)", &[]).await.unwrap();
    let refused = send(&stream, 1..2).await.unwrap_err();
    assert_eq!((refused.kind(), refused.latest_schema()), (ErrorKind::SchemaChanged, Some("2")), "{refused}");
    service.set_switches(Switches { schema_lag: 3, ..Switches::default() });
    stream.renew(refused.latest_schema()).await.unwrap();
    assert_eq!((stream.schema_version().as_deref(), stream.schema().columns.len()), (Some("2"), 2));
    send(&stream, 1..2).await.unwrap();
    assert_eq!(count(&client).await, (2, 2));
}

#[tokio::test]
async fn partitions_by_session_and_by_pack() {
    let service = service().await;
    let client = client(&service);
    client.sql("create table p (n bigint) partitioned by (pt string)", &[]).await.unwrap();
    let spec = |text: &str| PartitionSpec::parse(text).unwrap();
    let mut fixed = options();
    fixed.partition = Some(spec("pt=a"));
    let missing = client.create_stream("p", fixed.clone()).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NoSuchPartition);
    fixed.create_partition = true;
    let stream = client.create_stream("p", fixed).await.unwrap();
    send(&stream, 0..2).await.unwrap();
    let mut dynamic = options();
    dynamic.dynamic_partition = true;
    let stream = client.create_stream("p", dynamic).await.unwrap();
    for (partition, n) in [("pt=b", 2), ("pt=c", 3), ("pt=b", 4)] {
        let mut pack = stream.pack(Some(&spec(partition)));
        add(&mut pack, n);
        stream.send(pack).await.unwrap();
    }
    let rows = ask(&client, "select pt, count(*), sum(n) from p group by pt order by pt").await;
    assert_eq!(rows, [row(&["a", "2", "1"]), row(&["b", "2", "6"]), row(&["c", "1", "3"])]);
}

#[tokio::test]
async fn packs_are_due_by_size_and_by_age() {
    let mut small = options();
    small.limits = PackLimits { bytes: 200, age: Duration::from_secs(1) };
    let (_service, _client, stream) = open(small).await;
    let mut pack = stream.pack(None);
    assert_eq!((pack.due_at(), pack.is_due(Duration::from_secs(99))), (None, false));
    assert!(!add(&mut pack, 1));
    assert_eq!(pack.due_at(), Some(Duration::from_secs(1)));
    assert!(pack.is_due(Duration::from_secs(1)) && !pack.is_due(Duration::from_millis(999)));
    assert!((0..100).any(|n| add(&mut pack, n)), "{} bytes", pack.bytes());
}

#[tokio::test]
async fn many_packs_at_once_over_moving_slots() {
    let mut options = options();
    options.slots = 4;
    let (service, client, stream) = open(options).await;
    service.set_switches(Switches { moved_slot: MovedSlot::BadGateway, ..Switches::default() });
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8_i64 {
        let stream = stream.clone();
        tasks.spawn(async move {
            for n in 0..10 {
                let first = (task * 10 + n) * 5;
                send(&stream, first..first + 5).await.unwrap();
            }
        });
    }
    for slots in [2, 6, 3] {
        order(&service, "streams", &format!(r#"{{"move_slots": "*", "slots": {slots}}}"#)).await;
        tokio::task::yield_now().await;
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(count(&client).await, (400, 400));
}
