//! One lane: a topic, its group, a table, agents that come and go, and the ledger of every record that was written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::cli::{forebay, run_forebay};
use crate::gate::Gate;
use crate::kafka::{Access, KafkaCluster, Listener, Version};
use crate::maxcompute::LocalMaxCompute;
use crate::port;
use crate::process::Server;
use crate::scratch::Scratch;
use crate::table::{Row, difference, read_with_pyodps};
use forebay::kafka::{Client, ClientConfig, Producer, ProducerConfig, ProducerRecord};
use forebay::tunnel::{Credentials, MaxCompute, MaxComputeConfig};
use rustix::process::Signal;
use tokio::runtime::{Builder, Runtime};

/// How long anything may take on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(240);
/// How long a member may be silent before the group goes on without it.
pub const SESSION: Duration = Duration::from_secs(3);

/// A real broker behind a gate.
#[derive(Debug)]
pub struct Site {
    /// The broker.
    pub cluster: KafkaCluster,
    /// The way that agents take to it.
    pub gate: Gate,
}

impl Site {
    /// The site that the tests of one test program share; it lives as long as somebody holds it.
    #[must_use]
    pub fn shared(version: Version) -> Arc<Self> {
        static SLOTS: [Mutex<Weak<Site>>; 2] = [const { Mutex::new(Weak::new()) }; 2];
        let slot = SLOTS.get(usize::from(version == Version::V1_0_1)).expect("two slots");
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.upgrade().unwrap_or_else(|| {
            let site = Arc::new(Self::start(version));
            *slot = Arc::downgrade(&site);
            site
        })
    }

    fn start(version: Version) -> Self {
        let own = port::free();
        let gate = Gate::to(own);
        let gated = Listener {
            name: "GATED",
            protocol: "PLAINTEXT",
            port: own,
            advertised_host: "127.0.0.1",
            advertised_port: gate.port(),
        };
        let access = Access { listeners: &[gated], ..Access::default() };
        // A group notices within seconds that a member is gone.
        let properties = [
            ("group.min.session.timeout.ms", "500"),
            ("group.consumer.min.session.timeout.ms", "500"),
            ("group.consumer.session.timeout.ms", "3000"),
            ("group.consumer.min.heartbeat.interval.ms", "300"),
            ("group.consumer.heartbeat.interval.ms", "300"),
            ("delete.topic.enable", "true"),
        ];
        Self { cluster: KafkaCluster::start_with_access(version, &properties, &access), gate }
    }
}

/// What makes one lane differ from another.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// Of topic and table, and part of the group's.
    pub name: &'a str,
    /// Partitions of the topic.
    pub partitions: u16,
    /// `earliest`, or `group`.
    pub start: &'a str,
    /// The lines of `[limits]`.
    pub limits: &'a str,
    /// How long a member may be silent, in ms.
    pub session_ms: u128,
    /// The group's protocol: `classic`, or `consumer` (KIP-848), in which the broker says how long a member may be silent.
    pub protocol: &'a str,
}

impl<'a> Plan<'a> {
    /// Commits five times a second.
    #[must_use]
    pub const fn new(name: &'a str, partitions: u16) -> Self {
        Self {
            name,
            partitions,
            start: "earliest",
            limits: "commit_every = { time = \"200ms\" }",
            session_ms: SESSION.as_millis(),
            protocol: "classic",
        }
    }
}

/// See the module.
pub struct Lane {
    /// Where its topic is.
    pub site: Arc<Site>,
    /// Where its table is; its clock may be moved.
    pub service: LocalMaxCompute,
    /// Of topic and table.
    pub name: String,
    partitions: u16,
    job: String,
    scratch: Scratch,
    runtime: Runtime,
    client: Client,
    producer: Producer,
    maxcompute: MaxCompute,
    /// Every acknowledged record that fits the table, by partition and offset.
    rows: BTreeMap<(i32, i64), String>,
    /// Every acknowledged record that does not.
    misfits: BTreeMap<(i32, i64), String>,
    written: u64,
    padding: String,
    only: Option<u16>,
    agents: usize,
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "lane {}", self.name)
    }
}

impl Lane {
    /// Makes topic, table and job.
    #[must_use]
    pub fn new(site: &Arc<Site>, plan: &Plan<'_>) -> Self {
        let Plan { name, partitions, start, limits, session_ms, protocol } = *plan;
        let scratch = Scratch::new(name);
        let service = LocalMaxCompute::start_unsigned();
        site.cluster.create_topic(name, partitions, 1);
        site.cluster.create_topic(&format!("{name}.dead"), 1, 1);
        let _sources = scratch.write("sources.toml", service.account().datasources());
        let ddl = format!("create table {name} (value string, n bigint, p bigint, o bigint)");
        let _made = run_forebay(&scratch, &["sql", "--datasources", "sources.toml", "-e", &ddl]).expect_success();
        let job = format!(
            r#"
[source]
brokers = ["127.0.0.1:{}"]
topic = "{name}"
group = "group-{name}"
start = "{start}"
[source.config]
"session.timeout.ms" = "{session_ms}"
"heartbeat.interval.ms" = "300"
"request.timeout.ms" = "4000"
"group.protocol" = "{protocol}"
[target]
datasource = "odps_first"
table = "{name}"
[[columns]]
to = "value"
from = "value"
[[columns]]
to = "n"
from = "value.n"
[[columns]]
to = "p"
from = "record.partition"
[[columns]]
to = "o"
from = "record.offset"
[limits]
{limits}
[dirty]
topic = "{name}.dead"
"#,
            site.gate.port()
        );
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let servers = site.cluster.servers();
        let (client, producer) = runtime.block_on(async {
            let client = Client::connect(ClientConfig::new(&[servers])).await.expect("a client");
            let producer = Producer::new(&client, ProducerConfig::default()).expect("a producer");
            (client, producer)
        });
        let account = service.account();
        let credentials = Credentials::new(&account.access_id, &account.access_key);
        let mut config = MaxComputeConfig::new(&account.endpoint, &account.project, credentials);
        config.tunnel_endpoint = Some(account.tunnel_endpoint.clone());
        let maxcompute = MaxCompute::new(config).expect("a client");
        Self {
            site: site.clone(),
            service,
            name: name.to_owned(),
            partitions,
            job,
            scratch,
            runtime,
            client,
            producer,
            maxcompute,
            rows: BTreeMap::new(),
            misfits: BTreeMap::new(),
            written: 0,
            padding: String::new(),
            only: None,
            agents: 0,
        }
    }

    /// The consumer group.
    #[must_use]
    pub fn group(&self) -> String {
        format!("group-{}", self.name)
    }

    /// Which protocol the coordinator says the group has: `classic` or `consumer`; none before Kafka 3.8.
    #[must_use]
    pub fn group_type(&self) -> Option<String> {
        let groups = self.runtime.block_on(self.client.list_groups()).expect("a list of groups");
        groups.into_iter().find(|group| group.group == self.group())?.group_type.map(|name| name.to_lowercase())
    }

    /// An agent in a folder of its own, as on a host of its own, with variables such as `FOREBAY_CRASH_AT`.
    pub fn start_agent(&mut self, variables: &[(&str, &str)]) -> Agent {
        self.agents += 1;
        let host = Scratch::new(&format!("{}-host{}", self.name, self.agents));
        let _sources = host.write("sources.toml", self.service.account().datasources());
        let _job = host.write("job.toml", &self.job);
        let mut command = forebay(&host);
        command.args(["agent", "job.toml", "--datasources", "sources.toml", "--drain", "20s"]);
        command.envs(variables.iter().copied());
        let log = self.scratch.path().join(format!("agent-{}.log", self.agents));
        Agent { server: Server::start(&format!("agent {}", self.agents), command, &log), host }
    }

    /// Writes `count` records over all partitions, unless [`Lane::write_only_to`] says otherwise, every `misfit`-th of which does not fit the table, and enters each into the
    /// ledger once the broker has acknowledged it.
    pub fn produce(&mut self, count: u64, misfit: u64) {
        let (first, partitions) = (self.written, u64::from(self.partitions));
        self.written += count;
        let (producer, topic, padding, only) = (&self.producer, &self.name, &self.padding, self.only);
        let acknowledged: Vec<(i32, i64, String, bool)> = self.runtime.block_on(async {
            let mut out = Vec::new();
            for n in first..first + count {
                let bad = misfit > 0 && n % misfit == misfit - 1;
                let value =
                    if bad { format!("{{\"n\":\"no {n}\"}}{padding}") } else { format!("{{\"n\":{n}}}{padding}") };
                let partition = i32::try_from(only.map_or(n % partitions, u64::from)).expect("few partitions");
                let record = ProducerRecord::new(topic.as_str()).value(value.clone()).partition(partition);
                out.push((producer.send(record).await.expect("it is taken"), value, bad));
            }
            let mut acknowledged = Vec::new();
            for (delivery, value, bad) in out {
                let told = delivery.await.expect("it is written");
                acknowledged.push((told.partition, told.offset.expect("acks=all"), value, bad));
            }
            acknowledged
        });
        for (partition, offset, value, bad) in acknowledged {
            let ledger = if bad { &mut self.misfits } else { &mut self.rows };
            let before = ledger.insert((partition, offset), value);
            assert_eq!(before, None, "the ledger has partition {partition} offset {offset} twice");
        }
    }

    /// All records go to this partition from now on.
    pub const fn write_only_to(&mut self, partition: u16) {
        self.only = Some(partition);
    }

    /// How many bytes one value has from now on, at least.
    pub fn pad_values(&mut self, bytes: usize) {
        self.padding = " ".repeat(bytes);
    }

    /// How many records were written and acknowledged.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// The group's offsets, and whether any carries an intent.
    #[must_use]
    pub fn offsets(&self) -> (BTreeMap<i32, i64>, bool) {
        let wanted = [(self.name.clone(), (0..i32::from(self.partitions)).collect())];
        let found = self.runtime.block_on(self.client.committed_offsets(&self.group(), &wanted)).expect("offsets");
        let sealed = found.iter().any(|found| found.metadata.as_deref().is_some_and(|text| !text.is_empty()));
        (found.iter().filter_map(|found| Some((found.partition, found.offset?))).collect(), sealed)
    }

    /// How many records lie below the committed offsets.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.offsets().0.values().map(|offset| offset.unsigned_abs()).sum()
    }

    /// Waits until everything that was written is committed and nothing is sealed.
    pub fn wait_for_all(&self, what: &str, agent: &mut Agent) {
        let wanted = self.written;
        agent.server.wait_until(what, LIMIT, |_| {
            let (offsets, sealed) = self.offsets();
            !sealed && offsets.values().map(|offset| offset.unsigned_abs()).sum::<u64>() >= wanted
        });
    }

    /// Partition and offset of every row of the table, as its SQL says: quick, for a look after each round. One statement for
    /// each partition, since results end at 10,000 rows.
    fn told(&self) -> Vec<(i32, i64)> {
        let mut told = Vec::new();
        for partition in 0..i32::from(self.partitions) {
            let query = format!("select o from {} where p = {partition}", self.name);
            let output = self.runtime.block_on(self.maxcompute.sql(&query, &[])).expect("a result");
            assert!(output.rows.len() < 10_000, "{}: too many rows for a quick look", self.name);
            let offset = |row: &Vec<Option<String>>| row[0].as_deref().and_then(|text| text.parse().ok());
            told.extend(output.rows.iter().map(|row| (partition, offset(row).expect("a number"))));
        }
        told
    }

    /// What is lost, and what is there more often than once or was never written, as the service's own SQL says.
    ///
    /// # Errors
    /// All of it, place by place.
    pub fn audit(&self) -> Result<(), String> {
        let told = self.told();
        let mut there = BTreeSet::new();
        let doubled: Vec<_> = told.iter().filter(|place| !there.insert(**place)).collect();
        let lost: Vec<_> = self.rows.keys().filter(|place| !there.contains(*place)).collect();
        let phantom: Vec<_> = there.iter().filter(|place| !self.rows.contains_key(*place)).collect();
        if doubled.is_empty() && lost.is_empty() && phantom.is_empty() {
            return Ok(());
        }
        Err(format!("{} lost {lost:?}, {} doubled {doubled:?}, never written {phantom:?}", lost.len(), doubled.len()))
    }

    /// The verdict of others: what ConsoleConsumer prints is the ledger, what PyODPS reads is the ledger's rows, and what
    /// ConsoleConsumer prints of the dead letters' topic is the ledger's rest.
    pub fn judge(&self) {
        let bytes = |text: &str| Some(text.as_bytes().to_vec());
        let printed: BTreeMap<(i32, i64), Vec<u8>> = (self.site.cluster.consume(&self.name).into_iter())
            .map(|told| ((told.partition, told.offset), told.value.unwrap_or_default()))
            .collect();
        let ledger: BTreeMap<(i32, i64), Vec<u8>> =
            self.rows.iter().chain(&self.misfits).map(|(place, value)| (*place, value.clone().into_bytes())).collect();
        assert!(printed == ledger, "{}: ConsoleConsumer prints other records than were acknowledged", self.name);
        let expected: Vec<Row> = (self.rows.iter())
            .map(|((partition, offset), value)| {
                let n = value.trim_start_matches("{\"n\":").trim_end().trim_end_matches('}');
                vec![bytes(value), bytes(n), bytes(&partition.to_string()), bytes(&offset.to_string())]
            })
            .collect();
        let table = read_with_pyodps(self.service.account(), &self.name);
        if let Some(difference) = difference(&expected, &table.rows) {
            panic!("{}: what PyODPS reads is not the ledger: {difference}", self.name);
        }
        let letters: BTreeSet<Vec<u8>> = self
            .site
            .cluster
            .consume(&format!("{}.dead", self.name))
            .into_iter()
            .filter_map(|told| told.value)
            .collect();
        let misfits: BTreeSet<Vec<u8>> = self.misfits.values().map(|value| value.clone().into_bytes()).collect();
        assert!(letters == misfits, "{}: {} dead letters, {} misfits", self.name, letters.len(), misfits.len());
    }

    /// How many rows the table holds.
    #[must_use]
    pub fn rows_in_table(&self) -> usize {
        self.told().len()
    }

    /// Rows and misfits so far.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.rows.len(), self.misfits.len())
    }

    /// Deletes the records of a partition below an offset, as retention does.
    pub fn delete_records(&self, partition: i32, below: i64) {
        let deleted = self.runtime.block_on(self.client.delete_records(&self.name, &[(partition, below)]));
        assert_eq!(deleted.expect("they are deleted").get(&partition), Some(&below));
    }

    /// Runs a statement.
    pub fn sql(&self, statement: &str) {
        self.runtime.block_on(self.maxcompute.sql(statement, &[])).expect("a statement");
    }

    /// The service forgets every upload session, as after two days.
    pub fn forget_sessions(&self) {
        for id in self.service.service().upload_sessions() {
            assert!(self.service.service().forget_upload(&id), "{id}");
        }
    }
}

/// One agent and its folder.
#[derive(Debug)]
pub struct Agent {
    /// Its process.
    pub server: Server,
    host: Scratch,
}

impl Agent {
    /// Whether it was stopped by SIGSTOP.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.server.id())).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.server.ended_within(Duration::ZERO).is_some()
    }

    /// Memory that it holds now, and the most that it ever held, in KiB.
    #[must_use]
    pub fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server.id())).unwrap_or_default();
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
        };
        (of("VmRSS").unwrap_or(0), of("VmHWM").unwrap_or(0))
    }

    /// The partitions that it has, by its own last word.
    #[must_use]
    pub fn partitions(&self) -> Vec<i32> {
        let log = self.server.log_text();
        let last = log.lines().rev().find_map(|line| Some(line.split_once(", partitions [")?.1.to_owned()));
        let list = last.unwrap_or_default();
        list.trim_end().trim_end_matches(']').split(", ").filter_map(|number| number.parse().ok()).collect()
    }

    /// Takes away the folder that it was started in.
    pub fn lose_disk(&self) {
        std::fs::remove_dir_all(self.host.path()).expect("it is there");
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.server.signal(signal);
    }

    /// Ends it as an operator does.
    pub fn terminate(&mut self) {
        self.server.signal(Signal::TERM);
        let status = self.server.wait(LIMIT);
        assert!(status.success(), "{status}\n{}", self.server.log_tail());
    }
}
