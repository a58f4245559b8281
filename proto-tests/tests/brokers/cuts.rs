//! A connection that is cut at every byte of a Fetch answer: each record comes once all the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forebay::kafka::record::Decompressor;
use forebay::kafka::{Client, ClientConfig, Consumer, ConsumerConfig};
use forebay_proto_tests::kafka::{Access, KafkaCluster, Listener, Version};
use forebay_proto_tests::port;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const TOPIC: &str = "cuts";
const WORKERS: usize = 8;
const FETCH: u16 = 1;
const LIMIT: Duration = Duration::from_secs(60);

/// What the proxy is to do to the connections of one client, by client id.
#[derive(Debug, Default)]
struct Orders {
    /// Close the connection after so many bytes of the next Fetch answer.
    cut_after: HashMap<String, usize>,
    /// How long, size field included, the last Fetch answer was that went through whole.
    whole: HashMap<String, usize>,
    /// Cuts carried out.
    cuts: usize,
}

type Shared = Arc<Mutex<Orders>>;

/// Carries connections from `port` to the broker, frame by frame.
async fn serve(listener: TcpListener, broker: u16, orders: Shared) {
    while let Ok((client, _)) = listener.accept().await {
        let orders = orders.clone();
        // Either side may end it at any time.
        tokio::spawn(async move { drop(carry(client, broker, orders).await) });
    }
}

/// One question, one answer, since a broker answers in order.
async fn carry(mut client: TcpStream, broker: u16, orders: Shared) -> std::io::Result<()> {
    let mut broker = TcpStream::connect(("127.0.0.1", broker)).await?;
    loop {
        let question = frame(&mut client).await?;
        broker.write_all(&question).await?;
        let answer = frame(&mut broker).await?;
        // Size, API, version and correlation id come before the client id.
        let is_fetch = question[4..6] == FETCH.to_be_bytes();
        let length = usize::from(u16::from_be_bytes([question[12], question[13]]));
        let name = String::from_utf8_lossy(&question[14..14 + length]).into_owned();
        let cut = if is_fetch { orders.lock().unwrap().cut_after.remove(&name) } else { None };
        if let Some(cut) = cut {
            client.write_all(&answer[..cut]).await?;
            orders.lock().unwrap().cuts += 1;
            return Ok(());
        }
        if is_fetch {
            orders.lock().unwrap().whole.insert(name, answer.len());
        }
        client.write_all(&answer).await?;
    }
}

async fn frame(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    stream.read_exact(&mut frame).await?;
    let size = u32::from_be_bytes(frame[..4].try_into().unwrap());
    frame.resize(4 + size as usize, 0);
    stream.read_exact(&mut frame[4..]).await?;
    Ok(frame)
}

async fn client(server: &str, name: &str) -> Client {
    let mut config = ClientConfig::new([server]);
    name.clone_into(&mut config.client_id);
    config.retry_backoff = Duration::from_millis(2);
    config.retry_backoff_max = Duration::from_millis(20);
    Client::connect(config).await.unwrap()
}

/// Offset and value of every record up to `end`.
async fn read(client: &Client, end: i64) -> Vec<(i64, Vec<u8>)> {
    let mut consumer = Consumer::of_topic(client, ConsumerConfig::default(), TOPIC, &[(0, 0)]);
    let mut decompressor = Decompressor::new(1 << 20);
    let (mut records, mut position) = (Vec::new(), 0);
    while position < end {
        let mut fetched = consumer.next().await.unwrap();
        while let Some(batch) = fetched.next_records(&mut decompressor).unwrap() {
            for record in &batch {
                let record = record.unwrap();
                records.push((record.offset, record.value.unwrap().to_vec()));
            }
        }
        position = fetched.position();
    }
    records
}

#[test]
fn a_connection_cut_at_every_byte_of_a_fetch_answer_loses_and_repeats_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let broker_port = port::free();
    let proxy = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
    let proxy_port = proxy.local_addr().unwrap().port();
    let listener = Listener {
        name: "CUT",
        protocol: "PLAINTEXT",
        port: broker_port,
        advertised_host: "127.0.0.1",
        advertised_port: proxy_port,
    };
    let access = Access { listeners: &[listener], ..Access::default() };
    let cluster = KafkaCluster::start_with_access(Version::V4_4_0, &[], &access);
    cluster.create_topic(TOPIC, 1, 1);
    for batch in 0..2 {
        let lines: String = (0..4).map(|n| format!("record {n} of batch {batch}, somewhat long\n")).collect();
        cluster.produce(TOPIC, &lines, &["--compression-codec", if batch == 0 { "none" } else { "gzip" }]);
    }

    let orders = Shared::default();
    runtime.spawn(serve(proxy, broker_port, orders.clone()));
    let server = format!("127.0.0.1:{proxy_port}");
    let expected: Vec<(i64, Vec<u8>)> =
        (0..8).map(|n| (n, format!("record {} of batch {}, somewhat long", n % 4, n / 4).into_bytes())).collect();
    let whole = runtime.block_on(async {
        let client = client(&server, "whole").await;
        assert_eq!(read(&client, 8).await, expected);
        orders.lock().unwrap().whole["whole"]
    });
    assert!((300..2000).contains(&whole), "the answer has {whole} bytes");

    runtime.block_on(async {
        let mut workers = JoinSet::new();
        for worker in 0..WORKERS {
            let (server, orders, expected) = (server.clone(), orders.clone(), expected.clone());
            workers.spawn(async move {
                let name = format!("worker-{worker}");
                let client = client(&server, &name).await;
                for cut in (worker..=whole).step_by(WORKERS) {
                    orders.lock().unwrap().cut_after.insert(name.clone(), cut);
                    let records = tokio::time::timeout(LIMIT, read(&client, 8)).await;
                    let records = records.unwrap_or_else(|_| panic!("cut after {cut} bytes: nothing within {LIMIT:?}"));
                    assert_eq!(records, expected, "cut after {cut} of {whole} bytes");
                    assert!(!orders.lock().unwrap().cut_after.contains_key(&name), "cut {cut} was not carried out");
                }
            });
        }
        while let Some(worker) = workers.join_next().await {
            worker.unwrap();
        }
    });
    assert_eq!(orders.lock().unwrap().cuts, whole + 1);
}
