//! Records answers of a real broker for `vectors/answers`: a proxy between this client and the broker writes them down as they
//! pass.
//!
//! `cargo run -p forebay-proto-tests --example record_answers -- 2.8.2` writes each case of that version; what was there of it is
//! replaced. Nothing else is changed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use forebay::kafka::msg::ApiKey;
use forebay::kafka::record::Decompressor;
use forebay::kafka::{
    Client, ClientConfig, ConfigResource, Consumer, ConsumerConfig, ConsumerGroupMetadata, GroupConfig, GroupConsumer,
    GroupEvent, Isolation, NewTopic, OffsetAt, OffsetToCommit, Position, Producer, ProducerConfig, ProducerRecord,
};
use forebay_proto_tests::kafka::{Access, KafkaCluster, Listener, Version};
use forebay_proto_tests::process::run;
use forebay_proto_tests::scratch::package_folder;
use forebay_proto_tests::{java, port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const TOPIC: &str = "golden";
const LIMIT: Duration = Duration::from_secs(60);

/// API, version, whole answer frame.
type Log = Arc<Mutex<Vec<(i16, i16, Vec<u8>)>>>;

/// Which answer of an API is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    First,
    Last,
    Largest,
    /// The largest but one.
    Next,
}

struct Recorder {
    broker: &'static str,
    log: Log,
}

impl Recorder {
    /// Forgets what came before.
    fn begin(&self) {
        self.log.lock().unwrap().clear();
    }

    /// Writes one answer of each of these APIs as the case `case`.
    fn keep(&self, case: &str, keep: Keep, apis: &[ApiKey]) {
        let log = self.log.lock().unwrap().clone();
        for api in apis {
            let mut found: Vec<_> = log.iter().filter(|(code, ..)| *code == api.code()).collect();
            match keep {
                Keep::First => {}
                Keep::Last => found.reverse(),
                Keep::Largest | Keep::Next => found.sort_by_key(|(.., frame)| std::cmp::Reverse(frame.len())),
            }
            if keep == Keep::Next {
                found.remove(0);
            }
            let (_, version, frame) = found.first().unwrap_or_else(|| panic!("{case}: no answer of {api}"));
            self.write(case, *api, *version, frame);
        }
    }

    fn write(&self, case: &str, api: ApiKey, version: i16, frame: &[u8]) {
        let mut folder = String::new();
        for c in api.name().chars() {
            if c.is_uppercase() && !folder.is_empty() {
                folder.push('_');
            }
            folder.extend(c.to_lowercase());
        }
        let broker = self.broker;
        let mut text = format!(
            "# {folder} v{version}, {}: one whole answer of Kafka {broker}, size field included, recorded between\n\
             # this client and the broker by examples/record_answers.rs. Topic `golden`: see tests/golden_frames.\n",
            case.replace('-', " ")
        );
        for line in frame.chunks(50) {
            text.extend(line.iter().map(|byte| format!("{byte:02x}")));
            text.push('\n');
        }
        let folder = package_folder().join("vectors/answers").join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("v{version}-kafka-{broker}-{case}.hex"));
        println!("{} ({} bytes)", file.strip_prefix(package_folder()).unwrap_or(&file).display(), frame.len());
        std::fs::write(file, text).unwrap();
    }
}

/// Carries connections to the broker, frame by frame.
async fn serve(listener: TcpListener, broker: u16, log: Log) {
    while let Ok((client, _)) = listener.accept().await {
        let log = log.clone();
        // Either side may end it at any time.
        tokio::spawn(async move { drop(carry(client, broker, log).await) });
    }
}

async fn carry(client: TcpStream, broker: u16, log: Log) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_broker, mut to_broker) = TcpStream::connect(("127.0.0.1", broker)).await?.into_split();
    let asked: Arc<Mutex<Vec<(i32, i16, i16)>>> = Arc::default();
    let questions = asked.clone();
    tokio::spawn(async move {
        loop {
            let frame = frame(&mut from_client).await?;
            let number = |at: usize| i16::from_be_bytes([frame[at], frame[at + 1]]);
            let id = i32::from_be_bytes(frame[8..12].try_into().unwrap());
            questions.lock().unwrap().push((id, number(4), number(6)));
            to_broker.write_all(&frame).await?;
        }
        #[allow(unreachable_code)]
        std::io::Result::Ok(())
    });
    loop {
        let frame = frame(&mut from_broker).await?;
        let id = i32::from_be_bytes(frame[4..8].try_into().unwrap());
        let question = {
            let mut asked = asked.lock().unwrap();
            asked.iter().position(|(other, ..)| *other == id).map(|at| asked.remove(at))
        };
        if let Some((_, api, version)) = question {
            log.lock().unwrap().push((api, version, frame.clone()));
        }
        to_client.write_all(&frame).await?;
    }
}

async fn frame(stream: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    stream.read_exact(&mut frame).await?;
    let size = u32::from_be_bytes(frame[..4].try_into().unwrap());
    frame.resize(4 + size as usize, 0);
    stream.read_exact(&mut frame[4..]).await?;
    Ok(frame)
}

/// Reads the whole topic; all three partitions come in one answer.
async fn read(client: &Client, isolation: Isolation, ends: [i64; 3]) {
    let config = ConsumerConfig { isolation, ..ConsumerConfig::default() };
    let mut consumer = Consumer::of_topic(client, config, TOPIC, &[(0, 0), (1, 0), (2, 0)]);
    let mut decompressor = Decompressor::default();
    let mut positions = [0; 3];
    while positions != ends {
        let mut fetched = tokio::time::timeout(LIMIT, consumer.next()).await.expect("news").unwrap();
        while fetched.next_records(&mut decompressor).unwrap().is_some() {}
        positions[usize::try_from(fetched.partition).unwrap()] = fetched.position();
    }
}

#[tokio::main]
async fn main() {
    let name = std::env::args().nth(1).expect("the broker's version, such as 2.8.2");
    let version = Version::named(&name).unwrap_or_else(|| panic!("no version {name}"));
    let recorder = Recorder { broker: version.name(), log: Log::default() };

    let ports: [u16; 2] = std::array::from_fn(|_| port::free());
    let proxies = [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
    let [plain, sasl] = [0, 1].map(|n| proxies[n].local_addr().unwrap().port());
    let listener = |name, protocol, port, advertised_port| Listener {
        name,
        protocol,
        port,
        advertised_host: "localhost",
        advertised_port,
    };
    let listeners = [
        listener("RECORDED", "PLAINTEXT", ports[0], plain),
        listener("RECORDEDSASL", "SASL_PLAINTEXT", ports[1], sasl),
    ];
    let module = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
    let properties = [
        ("sasl.enabled.mechanisms", "SCRAM-SHA-256"),
        ("listener.name.recordedsasl.scram-sha-256.sasl.jaas.config", module),
        ("group.initial.rebalance.delay.ms", "0"),
    ];
    let access = Access { listeners: &listeners, scram_users: &[("alice", "secret")], jvm_settings: &[] };
    let cluster = KafkaCluster::start_with_access(version, &properties, &access);
    for (proxy, port) in proxies.into_iter().zip(ports) {
        tokio::spawn(serve(proxy, port, recorder.log.clone()));
    }
    // Its records are of 2023.
    cluster.create_topic_with(TOPIC, 3, 1, &["--config", "retention.ms=-1"]);
    cluster.create_topic("written", 1, 1);
    let mut java = java::program(version.jars(), "GoldenTopic");
    java.arg(cluster.server()).args(["gzip", "snappy", "lz4"]);
    if version.has_zstd() {
        java.arg("zstd");
    }
    let _output = run(java, b"", LIMIT).expect_success();

    record(&recorder, &format!("localhost:{plain}"), if version.has_zstd() { 12 } else { 9 }).await;
    record_logins(&recorder, &format!("localhost:{sasl}")).await;
}

async fn record(recorder: &Recorder, server: &str, end: i64) {
    let client = Client::connect(ClientConfig::new([server])).await.unwrap();
    recorder.keep("ranges", Keep::Last, &[ApiKey::ApiVersions]);
    recorder.keep("brokers-only", Keep::First, &[ApiKey::Metadata]);
    recorder.begin();
    client.topic(TOPIC).await.unwrap();
    recorder.keep("one-topic", Keep::Last, &[ApiKey::Metadata]);
    let times = [
        ("earliest", OffsetAt::Earliest),
        ("latest", OffsetAt::Latest),
        ("by-time", OffsetAt::Time(1_700_000_000_001)),
    ];
    for (case, at) in times {
        recorder.begin();
        client.list_offsets(TOPIC, &[0, 1, 2].map(|p| (p, at)), Isolation::ReadUncommitted).await.unwrap();
        recorder.keep(case, Keep::Last, &[ApiKey::ListOffsets]);
    }

    recorder.begin();
    let ends = [3, end, 6];
    let offset = |(partition, offset)| OffsetToCommit {
        topic: TOPIC.into(),
        partition,
        offset,
        leader_epoch: None,
        metadata: String::new(),
    };
    client.commit_offsets("g", &(0..).zip(ends).map(offset).collect::<Vec<_>>()).await.unwrap();
    recorder.keep("found", Keep::Last, &[ApiKey::FindCoordinator]);
    recorder.keep("stored", Keep::Last, &[ApiKey::OffsetCommit]);
    recorder.begin();
    client.committed_offsets("g", &[(TOPIC.to_owned(), vec![0, 1, 2])]).await.unwrap();
    recorder.keep("committed", Keep::Last, &[ApiKey::OffsetFetch]);
    recorder.begin();
    client.list_groups().await.unwrap();
    client.describe_groups(&["g".to_owned()]).await.unwrap();
    recorder.keep("one-group", Keep::Last, &[ApiKey::ListGroups]);
    recorder.keep("empty-group", Keep::Last, &[ApiKey::DescribeGroups]);

    for (case, isolation) in
        [("read-uncommitted", Isolation::ReadUncommitted), ("read-committed", Isolation::ReadCommitted)]
    {
        recorder.begin();
        read(&client, isolation, ends).await;
        // The broker begins a new segment behind records that are so old, and a fetch ends with a segment.
        recorder.keep(case, Keep::Largest, &[ApiKey::Fetch]);
        recorder.keep(&format!("{case}-rest"), Keep::Next, &[ApiKey::Fetch]);
    }
    recorder.begin();
    let mut beyond = Consumer::of_topic(&client, ConsumerConfig::default(), TOPIC, &[(0, 1000), (1, 1000), (2, 1000)]);
    beyond.next().await.unwrap_err();
    recorder.keep("out-of-range", Keep::First, &[ApiKey::Fetch]);
    recorder.begin();
    let position = |partition| (partition, Position { offset: 1, leader_epoch: Some(0) });
    let mut epochs = Consumer::of_topic(&client, ConsumerConfig::default(), TOPIC, &[0, 1, 2].map(position));
    drop(tokio::time::timeout(LIMIT, epochs.next()).await.expect("news").unwrap());
    recorder.keep("same-epoch", Keep::First, &[ApiKey::OffsetForLeaderEpoch]);

    record_member(recorder, &client).await;
    record_producer(recorder, &client).await;

    recorder.begin();
    let made = NewTopic {
        name: "made".into(),
        partitions: 2,
        replication_factor: 1,
        assignments: Vec::new(),
        configs: Vec::new(),
    };
    client.create_topic(made).await.unwrap();
    client.describe_configs(&ConfigResource::Topic("made".into()), None).await.unwrap();
    client.delete_topic("made").await.unwrap();
    recorder.keep("made", Keep::Last, &[ApiKey::CreateTopics, ApiKey::DescribeConfigs, ApiKey::DeleteTopics]);
}

async fn record_member(recorder: &Recorder, client: &Client) {
    recorder.begin();
    let mut config = GroupConfig::new("m");
    config.heartbeat_interval = Duration::from_millis(200);
    let mut member = GroupConsumer::new(client, config).unwrap();
    member.subscribe([TOPIC]);
    while !matches!(member.next().await.unwrap(), GroupEvent::Assigned { .. }) {}
    client.describe_groups(&["m".to_owned()]).await.unwrap();
    let beating = async {
        while !recorder.log.lock().unwrap().iter().any(|(api, ..)| *api == ApiKey::Heartbeat.code()) {
            drop(tokio::time::timeout(Duration::from_millis(100), member.next()).await);
        }
    };
    tokio::time::timeout(LIMIT, beating).await.expect("a heartbeat");
    member.close().await.unwrap();
    let apis = [ApiKey::JoinGroup, ApiKey::SyncGroup, ApiKey::Heartbeat, ApiKey::LeaveGroup, ApiKey::DescribeGroups];
    recorder.keep("one-member", Keep::Last, &apis);
}

async fn record_producer(recorder: &Recorder, client: &Client) {
    recorder.begin();
    let producer = Producer::new(client, ProducerConfig::default()).unwrap();
    producer.send_and_wait(ProducerRecord::new("written").value("one")).await.unwrap();
    producer.close().await.unwrap();
    recorder.keep("idempotent", Keep::Last, &[ApiKey::InitProducerId, ApiKey::Produce]);
    recorder.begin();
    let config = ProducerConfig { transactional_id: Some("recorded".to_owned()), ..ProducerConfig::default() };
    let producer = Producer::new(client, config).unwrap();
    producer.init_transactions().await.unwrap();
    producer.begin_transaction().unwrap();
    producer.send_and_wait(ProducerRecord::new("written").value("two")).await.unwrap();
    let offset = OffsetToCommit {
        topic: TOPIC.into(),
        partition: 0,
        offset: 1,
        leader_epoch: None,
        metadata: "by a transaction".to_owned(),
    };
    producer.send_offsets(&[offset], &ConsumerGroupMetadata::without_member("t")).await.unwrap();
    producer.commit_transaction().await.unwrap();
    producer.close().await.unwrap();
    let apis = [
        ApiKey::InitProducerId,
        ApiKey::AddPartitionsToTxn,
        ApiKey::Produce,
        ApiKey::AddOffsetsToTxn,
        ApiKey::TxnOffsetCommit,
        ApiKey::EndTxn,
    ];
    recorder.keep("transaction", Keep::Last, &apis);
}

async fn record_logins(recorder: &Recorder, server: &str) {
    for (password, case, keep) in
        [("secret", "challenge", Keep::First), ("secret", "proof", Keep::Last), ("wrong", "refused", Keep::Last)]
    {
        recorder.begin();
        let mut config = ClientConfig::new([server]);
        for (name, value) in [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "SCRAM-SHA-256"),
            ("sasl.username", "alice"),
            ("sasl.password", password),
        ] {
            assert!(config.set_property(name, value).unwrap());
        }
        let outcome = Client::connect(config).await;
        assert_eq!(outcome.is_ok(), password == "secret");
        recorder.keep(case, keep, &[ApiKey::SaslAuthenticate]);
        if case == "challenge" {
            recorder.keep("offered", Keep::First, &[ApiKey::SaslHandshake]);
        }
    }
}
