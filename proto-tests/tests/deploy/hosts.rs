//! Three hosts: a header host with the broker, and two others, each a network namespace and a root folder of its own. The program is
//! copied to them, one of its agents is taken away with its host, and the other one takes over.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use forebay_proto_tests::kafka::{Access, KafkaCluster, Listener, Tool, Version};
use forebay_proto_tests::maxcompute::LocalMaxCompute;
use forebay_proto_tests::port;
use forebay_proto_tests::process::{Server, run};
use forebay_proto_tests::scratch::Scratch;
use rustix::process::Signal;

use super::{EmptyRoot, JOB_TABLE, LIMIT, assert_each_once, job, ran, shipped};

/// The header host's address on the bridge; the others have the next ones.
const HEADER: &str = "10.213.7.1";

/// A bridge in a namespace of no host, and hosts on it; dropped, all are gone.
struct Network {
    tag: String,
    hosts: Vec<String>,
}

impl Network {
    /// The header host is this machine itself.
    fn new(hosts: usize) -> Self {
        let tag = format!("fb{}", std::process::id() % 100_000);
        let mut network = Self { tag: tag.clone(), hosts: Vec::new() };
        let ip = |line: &str| {
            let words: Vec<_> = line.split(' ').collect();
            let _done = ran("ip", &words).expect_success();
        };
        ip(&format!("link add {tag} type bridge"));
        ip(&format!("addr add {HEADER}/24 dev {tag}"));
        ip(&format!("link set {tag} up"));
        for number in 2..hosts + 2 {
            let (name, outer) = (format!("{tag}-{number}"), format!("{tag}v{number}"));
            ip(&format!("netns add {name}"));
            network.hosts.push(name.clone());
            ip(&format!("link add {outer} type veth peer name eth0 netns {name}"));
            ip(&format!("link set {outer} master {tag} up"));
            ip(&format!("-n {name} addr add 10.213.7.{number}/24 dev eth0"));
            ip(&format!("-n {name} link set eth0 up"));
            ip(&format!("-n {name} link set lo up"));
        }
        network
    }

    /// Takes a host from the network, as a pulled cable does: nothing is said to anybody.
    fn unplug(&self, host: usize) {
        let _done = ran("ip", &["-n", &self.hosts[host], "link", "set", "eth0", "down"]).expect_success();
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in &self.hosts {
            let _gone = ran("ip", &["netns", "del", host]);
        }
        let _gone = ran("ip", &["link", "del", &self.tag]);
    }
}

/// Passes connections to `HEADER:port` on to the same port of 127.0.0.1, where brokers and services of the tests listen.
fn forward(port: u16) {
    let address: SocketAddr = format!("{HEADER}:{port}").parse().expect("an address");
    let listener = TcpListener::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    thread::spawn(move || {
        for incoming in listener.incoming().flatten() {
            let Ok(outgoing) = TcpStream::connect(("127.0.0.1", port)) else { continue };
            for (from, to) in [(&incoming, &outgoing), (&outgoing, &incoming)] {
                let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { continue };
                thread::spawn(move || {
                    // An end of one side is told to the other.
                    drop(std::io::copy(&mut from, &mut to));
                    drop(to.shutdown(std::net::Shutdown::Write));
                });
            }
        }
    });
}

fn port_of(endpoint: &str) -> u16 {
    let digits: String =
        endpoint.rsplit(':').next().unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|error| panic!("{endpoint}: {error}"))
}

/// How many members have partitions, by ConsumerGroupCommand.
fn members(cluster: &KafkaCluster, group: &str) -> usize {
    let mut tool = cluster.tool(Tool::Groups);
    tool.args(["--describe", "--group", group]);
    let text = run(tool, b"", LIMIT).stdout_text();
    let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let column = lines.find_map(|words| words.iter().position(|word| *word == "CONSUMER-ID"));
    let ids: BTreeSet<_> = lines.filter_map(|words| words.get(column?).map(|id| (*id).to_owned())).collect();
    ids.iter().filter(|id| *id != "-").count()
}

#[test]
fn an_agent_on_another_host_takes_over() {
    let network = Network::new(2);
    let port = port::free();
    let listener = Listener {
        name: "CLUSTER",
        protocol: "PLAINTEXT",
        port,
        advertised_host: "emr-header-1",
        advertised_port: port,
    };
    let access = Access { listeners: &[listener], ..Access::default() };
    let cluster = KafkaCluster::start_with_access(Version::V1_0_1, &[], &access);
    let service = LocalMaxCompute::start();
    let account = service.account();
    let mut ports = vec![port, port_of(&account.endpoint), port_of(&account.tunnel_endpoint)];
    ports.dedup();
    ports.into_iter().for_each(forward);

    let scratch = Scratch::new("hosts");
    let topic = "three_hosts";
    cluster.create_topic(topic, 6, 1);
    let hosts = format!("127.0.0.1 localhost\n{HEADER} emr-header-1.cluster-7 emr-header-1 maxcompute\n");
    let roots: Vec<EmptyRoot> = (0..2)
        .map(|number| {
            let root = EmptyRoot::new(scratch.folder(&format!("host-{number}")), &shipped("x86_64"), &hosts);
            root.write("sources.toml", &account.datasources().replace("127.0.0.1", "maxcompute"));
            root.write("job.toml", &job(&format!("emr-header-1:{port}"), topic));
            root
        })
        .collect();
    let command = |host: usize, arguments: &[&str]| {
        let mut command = roots[host].command(&["ip", "netns", "exec", &network.hosts[host]]);
        command.args(arguments).args(["--datasources", "/sources.toml"]);
        command
    };
    let ddl = format!("create table {topic} {JOB_TABLE}");
    let sql = command(0, &["sql", "-e", &ddl]);
    let _made = run(sql, b"", LIMIT).expect_success();

    let start = |host: usize| {
        let log = scratch.path().join(format!("agent-{host}.log"));
        Server::start(&format!("agent of host {host}"), command(host, &["agent", "/job.toml", "--drain", "20s"]), &log)
    };
    let lines = |round: usize| (0..600).map(|n| format!("r{round}-{n}\n")).collect::<String>();
    let committed = || {
        let rows = cluster.group(&format!("group-{topic}"));
        rows.iter().filter_map(|row| row.committed).sum::<i64>()
    };
    let mut first = start(0);
    cluster.produce(topic, &lines(0), &[]);
    first.wait_until("the end of the topic", LIMIT, |_| committed() == 600);
    let mut second = start(1);
    // Both have partitions once the group's leader has dealt them out: ConsumerGroupCommand shows two members.
    second.wait_until("two members", LIMIT, |_| members(&cluster, &format!("group-{topic}")) == 2);
    cluster.produce(topic, &lines(1), &[]);
    first.wait_until("the end of the topic", LIMIT, |_| committed() == 1200);

    network.unplug(0);
    cluster.produce(topic, &lines(2), &[]);
    second.wait_until("the end of the topic, alone", LIMIT, |_| committed() == 1800);
    assert_each_once(&cluster, account, topic);
    first.kill();
    second.signal(Signal::TERM);
    let status = second.wait(LIMIT);
    assert!(status.success(), "{status}\n{}", second.log_tail());
}
