//! Members of a group: forebay's example, Java's consumer, librdkafka.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use forebay_proto_tests::cli::example;
use forebay_proto_tests::java;
use forebay_proto_tests::kafka::KafkaCluster;
use forebay_proto_tests::process::{Server, command};
use forebay_proto_tests::scratch::{cached, package_folder};
use rustix::process::Signal;

/// Whose client a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Forebay,
    Java,
    Librdkafka,
}

/// A running member.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    server: Server,
    /// Killed on purpose.
    is_gone: bool,
}

/// How long a member may take to come up, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long a member may take to leave.
const LEAVE_LIMIT: Duration = Duration::from_secs(60);

impl Member {
    /// Starts a member, one of Java's with the client of `jars`; it prints into a file of `folder`.
    pub(crate) fn start(
        name: &str,
        (kind, jars): (Kind, &str),
        cluster: &KafkaCluster,
        folder: &Path,
        group: &str,
        topics: &str,
        properties: &[(&str, &str)],
    ) -> Self {
        let mut program: Command = match kind {
            Kind::Forebay => command(example("group")),
            Kind::Java => java::program(jars, "GroupMember"),
            Kind::Librdkafka => {
                let mut python = command(cached("venv").join("bin/python"));
                python.arg(package_folder().join("python/group_member.py"));
                python
            }
        };
        program.arg(cluster.servers()).args([group, topics]);
        for (key, value) in properties {
            let value = match (kind, *key, *value) {
                // Java's classes; the other two go by the protocol's names.
                (Kind::Java, "partition.assignment.strategy", names) => names
                    .split(',')
                    .map(|name| {
                        let class = match name {
                            "range" => "Range",
                            "roundrobin" => "RoundRobin",
                            "sticky" => "Sticky",
                            _ => "CooperativeSticky",
                        };
                        format!("org.apache.kafka.clients.consumer.{class}Assignor")
                    })
                    .collect::<Vec<_>>()
                    .join(","),
                (_, _, value) => value.to_owned(),
            };
            program.arg(format!("{key}={value}"));
        }
        let server = Server::start(name, program, &folder.join(format!("{name}.log")));
        Self { name: name.to_owned(), kind, server, is_gone: false }
    }

    /// Everything it has printed.
    pub(crate) fn text(&self) -> String {
        self.server.log_text()
    }

    /// Waits until some line it has printed satisfies `wanted`.
    pub(crate) fn wait_for(&mut self, what: &str, wanted: impl Fn(&str) -> bool) {
        self.server.wait_until(what, START_LIMIT, |server| server.log_text().lines().any(&wanted));
    }

    /// Waits until it has an assignment.
    pub(crate) fn wait_assigned(&mut self) {
        self.wait_for("an assignment", |line| line.contains(" assigned "));
    }

    /// Whether its last assignment came to it as the leader; only forebay's says so.
    pub(crate) fn leads(&self) -> bool {
        let text = self.text();
        text.lines().rfind(|line| line.contains(" assigned ")).is_some_and(|line| line.contains(" leader "))
    }

    /// Kills it where it stands.
    pub(crate) fn kill(&mut self) {
        self.server.kill();
        self.is_gone = true;
    }

    /// Asks it to leave, and waits until it has.
    pub(crate) fn leave(&mut self) {
        if self.is_gone {
            return;
        }
        self.server.signal(Signal::TERM);
        let _status = self.server.wait(LEAVE_LIMIT);
        assert!(
            self.text().lines().any(|line| line.ends_with(" left")),
            "{} did not leave\n{}",
            self.name,
            self.server.log_tail()
        );
        self.is_gone = true;
    }

    /// What went wrong by its own account.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let text = self.text();
        // A refused commit is what rebalances bring; "fenced" lines may hold a client's class of errors.
        let is_complaint = |line: &&str| line.contains(" failed ") || line.contains("panicked");
        text.lines().filter(is_complaint).map(|line| format!("{}: {line}", self.name)).collect()
    }
}
