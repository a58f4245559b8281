//! The seed job from a root folder with nothing in it, and the same program's word about hosts that it cannot find.

use std::fs;

use forebay_proto_tests::kafka::{Access, KafkaCluster, Listener, Version};
use forebay_proto_tests::maxcompute::LocalMaxCompute;
use forebay_proto_tests::port;
use forebay_proto_tests::scratch::{Scratch, repository_folder};
use forebay_proto_tests::table::read_with_pyodps;

use super::{EmptyRoot, ran, shipped};

#[test]
fn both_programs_are_static() {
    for (processor, machine) in [("x86_64", "x86-64"), ("aarch64", "aarch64")] {
        let program = shipped(processor);
        let program = program.to_str().expect("a readable path");
        let kind = ran("file", &["-b", program]).expect_success().stdout_text();
        assert!(kind.contains(machine), "{kind}");
        assert!(kind.contains("static-pie linked") || kind.contains("statically linked"), "{kind}");
        assert!(kind.trim_end().ends_with("stripped") && !kind.contains("not stripped"), "{kind}");
        let headers = ran("readelf", &["-ldW", program]).expect_success().stdout_text();
        assert!(!headers.contains("INTERP") && !headers.contains("NEEDED"), "{headers}");
    }
}

/// The seed job with the program of an empty root folder, whose hosts file has these lines, and with these servers; PyODPS
/// counts the rows.
fn run_seed_job(cluster: &KafkaCluster, replicas: u16, hosts: &str, server: &str) -> (EmptyRoot, Scratch) {
    let service = LocalMaxCompute::start();
    let scratch = Scratch::new("empty-root");
    let root = EmptyRoot::new(scratch.folder("root"), &shipped("x86_64"), hosts);
    let topic = "testkafka";
    cluster.create_topic(topic, 10, replicas);
    let lines: String = (0..20).map(|n| format!("{{\"event_id\":\"e{n}\",\"tag\":{{\"desc\":\"d\"}}}}\n")).collect();
    cluster.produce(topic, &lines, &[]);
    // Read once, so that every replica has them: a log ends where its replicas do.
    let wanted = cluster.consume(topic).iter().filter(|record| record.offset < 3).count();

    root.write("sources.toml", &service.account().datasources().replace("127.0.0.1", "maxcompute"));
    let read = |name: &str| {
        fs::read_to_string(repository_folder().join("deploy/examples/testkafka").join(name)).expect("in the tree")
    };
    root.write("job.json", &read("job.json"));
    let _made = root.run(&["sql", "--datasources", "/sources.toml", "-e", &read("table.sql")]).expect_success();
    let server = format!("Reader.server={server}");
    let log = root.run(&["run", "/job.json", "--set", &server, "--datasources", "/sources.toml"]).expect_success();

    // 20 records without keys over 10 partitions: two in each, and the job's end is offset 3.
    let table = read_with_pyodps(service.account(), topic);
    assert_eq!(table.rows.len(), wanted, "{}", log.describe());
    assert!(table.rows.len() >= 10, "{} rows", table.rows.len());
    (root, scratch)
}

#[test]
fn the_seed_job_runs_in_an_empty_root_by_the_names_of_its_hosts_file() {
    let cluster = KafkaCluster::shared(Version::V1_0_1);
    let hosts = "127.0.0.1 localhost\n127.0.0.1 emr-header-1.cluster-1 emr-header-1 maxcompute\n";
    let server = cluster.server().replace("127.0.0.1", "emr-header-1");
    let (root, _scratch) = run_seed_job(&cluster, 3, hosts, &server);

    // No resolver answers here, and the message names the host.
    let output =
        root.run(&["check", "/job.json", "--set", "Reader.server=emr-header-9:9092", "--datasources", "/sources.toml"]);
    assert_ne!(output.code, 0, "{}", output.describe());
    assert!(output.stderr_text().contains("emr-header-9"), "{}", output.describe());
}

/// A broker that listens on IPv6 only and advertises it; found by a name that has both kinds of address.
#[test]
fn the_seed_job_runs_over_ipv6() {
    let port = port::free();
    let name = "SIX";
    let listener = Listener { name, protocol: "PLAINTEXT", port, advertised_host: "[::1]", advertised_port: port };
    let access = Access { listeners: &[listener], ..Access::default() };
    let cluster = KafkaCluster::start_with_access(Version::V1_0_1, &[], &access);
    let hosts = "127.0.0.1 localhost maxcompute\n127.0.0.1 emr-header-1\n::1 emr-header-1\n";
    let _root = run_seed_job(&cluster, 1, hosts, &format!("emr-header-1:{port}"));
}
