//! What brokers are told in their settings files.

use std::path::Path;

use super::Listener;
use crate::zookeeper::Zookeeper;

pub(super) type Settings = Vec<(String, String)>;

fn settings<const N: usize>(pairs: [(&str, String); N]) -> Settings {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// What brokers of every version are told: where the data lies, and to be small.
pub(super) fn common_settings(brokers: u16, port: u16, data: &Path) -> Settings {
    let replicas = brokers.min(3).to_string();
    settings([
        ("advertised.listeners", format!("PLAINTEXT://127.0.0.1:{port}")),
        ("log.dirs", data.display().to_string()),
        ("auto.create.topics.enable", "false".to_owned()),
        ("offsets.topic.replication.factor", replicas.clone()),
        ("offsets.topic.num.partitions", "5".to_owned()),
        ("transaction.state.log.replication.factor", replicas),
        ("transaction.state.log.num.partitions", "5".to_owned()),
        ("transaction.state.log.min.isr", "1".to_owned()),
        ("group.initial.rebalance.delay.ms", "0".to_owned()),
        ("num.network.threads", "2".to_owned()),
        ("num.io.threads", "4".to_owned()),
        ("log.cleaner.dedupe.buffer.size", "8388608".to_owned()),
    ])
}

pub(super) fn zookeeper_settings(id: i32, port: u16, zookeeper: &Zookeeper, chroot: &str) -> Settings {
    settings([
        ("broker.id", id.to_string()),
        ("listeners", format!("PLAINTEXT://127.0.0.1:{port}")),
        ("zookeeper.connect", format!("{}{chroot}", zookeeper.address())),
        // A machine that builds at the same time must not lose brokers for it.
        ("zookeeper.connection.timeout.ms", "60000".to_owned()),
        ("zookeeper.session.timeout.ms", "60000".to_owned()),
    ])
}

/// The first node is the controller too; the others are brokers only.
pub(super) fn kraft_settings(id: i32, port: u16, controller: u16) -> Settings {
    let (roles, listeners) = match id {
        1 => ("broker,controller", format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}")),
        _ => ("broker", format!("PLAINTEXT://127.0.0.1:{port}")),
    };
    settings([
        ("node.id", id.to_string()),
        ("process.roles", roles.to_owned()),
        ("listeners", listeners),
        ("controller.quorum.voters", format!("1@127.0.0.1:{controller}")),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        ("listener.security.protocol.map", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT".to_owned()),
    ])
}

/// Adds listeners to the three settings that know of them.
pub(super) fn add_listeners(settings: &mut Settings, listeners: &[Listener]) {
    if listeners.is_empty() {
        return;
    }
    let mut add = |key: &str, first: &str, texts: Vec<String>| {
        let known = settings.iter().rev().find(|(known, _)| known == key);
        let known = known.map_or_else(|| first.to_owned(), |(_, value)| value.clone());
        settings.push((key.to_owned(), format!("{known},{}", texts.join(","))));
    };
    let each = |text: fn(&Listener) -> String| listeners.iter().map(text).collect::<Vec<_>>();
    let host = |listener: &Listener| if listener.advertised_host == "[::1]" { "[::1]" } else { "127.0.0.1" };
    let listens = listeners.iter().map(|l| format!("{}://{}:{}", l.name, host(l), l.port)).collect();
    add("listeners", "", listens);
    let advertised = each(|l| format!("{}://{}:{}", l.name, l.advertised_host, l.advertised_port));
    add("advertised.listeners", "", advertised);
    let protocols = each(|l| format!("{}:{}", l.name, l.protocol));
    add("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT", protocols);
}
