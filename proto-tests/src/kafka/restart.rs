//! Brokers that leave and come back.

use rustix::process::Signal;

use super::{KafkaCluster, START_LIMIT, TOOL_LIMIT, known_brokers};
use crate::process::Server;
use crate::{java, port};

impl KafkaCluster {
    /// Stops a broker (from 0) the way an operator does: it hands its partitions to other leaders and ends by itself.
    pub fn stop_broker(&mut self, index: usize) {
        let broker = self.brokers.get_mut(index).expect("there is such a broker");
        broker.server.signal(Signal::TERM);
        let _status = broker.server.wait(TOOL_LIMIT);
    }

    /// Starts a broker that was stopped or killed, on its old data, and returns when it knows `brokers` brokers. A name
    /// that the cluster still holds from the one that was killed may end it at once; then it is tried again.
    pub fn start_broker(&mut self, index: usize, brokers: u32) {
        let jars = self.version.jars();
        let logs = self.scratch.path().to_owned();
        let broker = self.brokers.get_mut(index).expect("there is such a broker");
        for run in 1.. {
            let mut command = java::server(jars, 384, &broker.jvm_settings, "kafka.Kafka");
            command.arg(&broker.settings);
            let log = logs.join(format!("broker-{}-again-{run}.log", index + 1));
            broker.server = Server::start(&format!("Kafka broker {}, again", index + 1), command, &log);
            let (deadline, number) = (std::time::Instant::now() + START_LIMIT, broker.port);
            loop {
                if port::is_listening(broker.server.id(), number) && known_brokers(number) == Some(brokers) {
                    return;
                }
                if broker.server.ended_within(std::time::Duration::from_millis(100)).is_some() {
                    break;
                }
                assert!(std::time::Instant::now() < deadline, "{}", broker.server.log_tail());
            }
            assert!(run < 10, "{}", broker.server.log_tail());
        }
    }

    /// Waits until every partition has all of its replicas in sync, as TopicCommand tells.
    pub fn wait_for_replicas(&self) {
        let deadline = std::time::Instant::now() + START_LIMIT;
        loop {
            let behind = self.topics(&["--describe", "--under-replicated-partitions"]).expect_success().stdout_text();
            if behind.trim().is_empty() {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "replicas are missing: {behind}");
        }
    }
}
