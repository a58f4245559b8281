//! A processor without what the cryptography needs, as QEMU makes one.

use std::time::Instant;

use forebay_proto_tests::kafka::{KafkaCluster, Version};
use forebay_proto_tests::process::{Output, command, run};
use forebay_proto_tests::scratch::Scratch;

use super::{LIMIT, shipped};

/// The program that ships on a CPU of 2008, which has neither AES nor AVX2.
fn on_an_old_cpu(arguments: &[&str]) -> Output {
    let mut qemu = command("qemu-x86_64-static");
    qemu.args(["-cpu", "Nehalem,-aes"]).arg(shipped("x86_64")).args(arguments);
    run(qemu, b"", LIMIT)
}

#[test]
fn an_old_cpu_works_without_tls_and_says_what_it_lacks_for_it() {
    let cluster = KafkaCluster::shared(Version::V1_0_1);
    let scratch = Scratch::new("cpu");
    cluster.create_topic("cpu", 1, 1);
    let server = cluster.server();
    let list = ["kafka", "topics", "--list", "--bootstrap-server", &server];
    // The broker that is asked may hear of the topic a moment later.
    let begun = Instant::now();
    loop {
        let listed = on_an_old_cpu(&list).expect_success();
        if listed.stdout_text().lines().any(|line| line == "cpu") {
            break;
        }
        assert!(begun.elapsed() < LIMIT, "{}", listed.describe());
    }

    let tls = scratch.write("tls.properties", "security.protocol=SSL\n");
    let refused = on_an_old_cpu(&[&list[..], &["--command-config", tls.to_str().expect("a readable path")]].concat());
    let said = refused.stderr_text();
    assert!(refused.code != 0 && refused.code < 128, "{}", refused.describe());
    assert!(said.contains("TLS is not possible on this CPU") && said.contains("avx2"), "{said}");
}
