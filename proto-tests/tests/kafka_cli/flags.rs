//! What people who know Kafka's tools type: every option of the tools themselves is known, and what is not is named.

use forebay_proto_tests::cli::program;
use forebay_proto_tests::java::{self, KAFKA_1_0_1, KAFKA_TOOLS};
use forebay_proto_tests::process::{Output, command, run};
use forebay_proto_tests::scratch::Scratch;

use crate::{Cluster, LIMIT, alone};

/// The program by the name of one of the tools.
fn by_name(scratch: &Scratch, name: &str, arguments: &[&str]) -> Output {
    let link = scratch.path().join(name);
    if !link.exists() {
        std::os::unix::fs::symlink(program(), &link).expect("a link can be made");
    }
    let mut command = command(&link);
    command.current_dir(scratch.path()).args(arguments);
    run(command, b"", LIMIT)
}

#[test]
fn every_option_of_kafkas_tools_is_known() {
    let scratch = Scratch::new("flags");
    // Of the newest release it checks a pattern on the user's side, by RE2J's rules, which forebay does not have.
    let left_out = ["--validate-regex"];
    for (jars, class, name) in [
        (KAFKA_1_0_1, "kafka.admin.TopicCommand", "kafka-topics.sh"),
        (KAFKA_1_0_1, "kafka.admin.ConsumerGroupCommand", "kafka-consumer-groups.sh"),
        (KAFKA_1_0_1, "kafka.tools.ConsoleConsumer", "kafka-console-consumer.sh"),
        (KAFKA_1_0_1, "kafka.tools.ConsoleProducer", "kafka-console-producer.sh"),
        (KAFKA_1_0_1, "kafka.tools.GetOffsetShell", "kafka-get-offsets.sh"),
        (KAFKA_TOOLS, "org.apache.kafka.tools.TopicCommand", "kafka-topics.sh"),
        (KAFKA_TOOLS, "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "kafka-consumer-groups.sh"),
        (KAFKA_TOOLS, "org.apache.kafka.tools.consumer.ConsoleConsumer", "kafka-console-consumer.sh"),
        (KAFKA_TOOLS, "org.apache.kafka.tools.ConsoleProducer", "kafka-console-producer.sh"),
        (KAFKA_TOOLS, "org.apache.kafka.tools.GetOffsetShell", "kafka-get-offsets.sh"),
    ] {
        // The tools of 1.0.1 list their options when they get none.
        let mut tool = java::tool(jars, class);
        if jars == KAFKA_TOOLS {
            tool.arg("--help");
        }
        let help = run(tool, b"", LIMIT);
        let help = help.stdout_text() + &help.stderr_text();
        let options: Vec<&str> = (help.lines())
            .filter_map(|line| line.trim_start().split([' ', '<', ',']).next())
            .filter(|word| {
                word.strip_prefix("--").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
            })
            .collect();
        assert!(options.len() > 5, "{name}: {help}");
        for option in options.into_iter().filter(|option| !left_out.contains(option)) {
            let said = by_name(&scratch, name, &[option, "1"]).stderr_text();
            assert!(!said.contains("unexpected argument '--"), "{jars} {name} {option}: {said}");
        }
    }
}

#[test]
fn a_newcomer_is_told_what_to_type() {
    let scratch = Scratch::new("newcomer");
    for (name, word) in [
        ("kafka-topics.sh", "--create"),
        ("kafka-consumer-groups.sh", "--describe"),
        ("kafka-console-consumer.sh", "--from-beginning"),
        ("kafka-console-producer", "--topic"),
        ("kafka-get-offsets.sh", "--time"),
    ] {
        let help = by_name(&scratch, name, &["--help"]).expect_success();
        let text = help.stdout_text();
        assert!(text.contains(&format!("Usage: {name} ")) && text.contains(word), "{text}");
        assert!(text.contains(&format!("Examples:\n  {name} ")) && !text.contains("forebay kafka "), "{text}");
        assert_eq!(help.stderr_text(), "");
        let version = by_name(&scratch, name, &["--version"]).expect_success();
        assert!(version.stdout_text().trim().ends_with(env!("CARGO_PKG_VERSION")), "{}", version.describe());
        let wrong = by_name(&scratch, name, &["--no-such-flag"]);
        assert_eq!((wrong.code, wrong.stdout_text().as_str()), (2, ""), "{}", wrong.describe());
        assert!(wrong.stderr_text().contains("'--no-such-flag'"), "{}", wrong.describe());
        assert!(!wrong.stderr_text().contains("--as-script"), "{}", wrong.describe());
    }
    let help = by_name(&scratch, "kcat", &["-h"]).expect_success();
    assert!(help.stdout_text().starts_with("Usage: kcat "), "{}", help.describe());
    for arguments in [&["-y"][..], &["-b"], &["-C", "-t", "t"]] {
        let wrong = by_name(&scratch, "kcat", arguments);
        assert_eq!((wrong.code, wrong.stdout_text().as_str()), (1, ""), "{}", wrong.describe());
        assert!(wrong.stderr_text().starts_with("Error: "), "{}", wrong.describe());
    }
}

#[test]
fn files_of_properties_and_the_producer_s_own_options_count() {
    let cluster = Cluster::start(2);
    let file = |name: &str, text: &str| cluster.scratch.write(name, text).display().to_string();
    let producer = file("producer.properties", "compression.type=gzip\nacks=1\n");
    let reader = file("reader.properties", "parse.key=true\nkey.separator=:\n");
    let arguments = ["produce", "--topic", "t", "--producer.config", &producer, "--reader-config", &reader];
    let tuned = ["--batch-size", "100", "--max-block-ms", "20000", "--request-timeout-ms", "10000"];
    cluster.forebay("k:v\n", &[&arguments[..], &tuned].concat()).expect_success();
    assert_eq!(cluster.kcat("", &["-C", "-t", "t", "-e", "-f", "%k=%s\n"]), "k=v\n");
    let strange = file("strange.properties", "acks=7\n");
    let refused = cluster.forebay("x\n", &["produce", "--topic", "t", "--producer.config", &strange]);
    assert!(refused.code == 78 && refused.stderr_text().contains("acks=7"), "{}", refused.describe());

    let consumer = file("consumer.properties", "group.id=of-the-file\nauto.offset.reset=earliest\n");
    let formatter = file("formatter.properties", "print.key=true\nkey.separator=-\n");
    let arguments = ["consume", "--topic", "t", "--consumer.config", &consumer, "--formatter-config", &formatter];
    let read = cluster.forebay("", &[&arguments[..], &["--max-messages", "1"]].concat()).expect_success();
    assert_eq!(read.stdout_text(), "k-v\n");
    let groups = cluster.forebay("", &["groups", "--list"]).expect_success().stdout_text();
    assert_eq!(groups, "of-the-file\n");

    // Brokers of a topic's partitions by hand, then of one more.
    let create = ["topics", "--create", "--topic", "placed", "--replica-assignment", "2:1,3:2"];
    cluster.forebay("", &create).expect_success();
    let placed = || {
        let described =
            cluster.forebay("", &["topics", "--describe", "--topic", "placed", "-o", "json"]).expect_success();
        let topics: serde_json::Value = serde_json::from_slice(&described.stdout).expect("JSON");
        let partitions = topics[0]["partitions"].as_array().expect("partitions").clone();
        partitions.iter().map(|partition| partition["replicas"].to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(placed(), "[2,1] [3,2]");
    let uneven = cluster.forebay("", &["topics", "--create", "--topic", "uneven", "--replica-assignment", "1:2,3"]);
    assert!(uneven.code == 2 && uneven.stderr_text().contains("as many brokers"), "{}", uneven.describe());
    cluster.stop();
    // Nobody is asked for what the schema of an answer is.
    let schema = alone(&["groups", "--describe", "--all-groups", "-o", "schema"]).expect_success();
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).expect("JSON");
    assert_eq!(schema["$ref"], "#/$defs/groups-describe");
    assert_eq!(alone(&["produce", "--topic", "t", "-o", "schema"]).code, 2);
}
