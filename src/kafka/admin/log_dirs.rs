//! What lies in the brokers' folders.

use std::collections::BTreeMap;

use crate::kafka::ask::Attempt;
use crate::kafka::client::Client;
use crate::kafka::error::Error;
use crate::kafka::msg::{ApiKey, DescribeLogDirsCall, ErrorCode, LogDirPartition};
use crate::kafka::net::pool::Lane;
use crate::kafka::state::cluster::Place;

/// One folder of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDir {
    /// Its path there.
    pub path: String,
    /// `NONE`, or `KAFKA_STORAGE_ERROR` for a folder that is offline.
    pub error: ErrorCode,
    /// What it holds: topic, and for each partition its bytes and how far it is behind.
    pub replicas: BTreeMap<String, Vec<LogDirPartition>>,
    /// Size of the volume in bytes; from Kafka 3.3 on.
    pub total_bytes: Option<i64>,
    /// What is free of it.
    pub usable_bytes: Option<i64>,
}

impl Client {
    /// The folders of brokers and what lies in them; all live brokers for an empty list. From Kafka 1.0 on.
    ///
    /// # Errors
    /// [`Auth`](super::ErrorKind::Auth), [`Unsupported`](super::ErrorKind::Unsupported), or the last cause when some broker does
    /// not answer before the deadline for retries.
    pub async fn log_dirs(&self, nodes: &[i32]) -> Result<BTreeMap<i32, Vec<LogDir>>, Error> {
        let mut nodes = nodes.to_vec();
        if nodes.is_empty() {
            nodes.extend(self.cluster().await?.brokers.iter().map(|broker| broker.node));
        }
        let mut found = BTreeMap::new();
        for node in nodes {
            let place = Place::Node(node);
            let mut patience = self.core.patience();
            let call = DescribeLogDirsCall::default();
            let dirs = loop {
                let attempt = match self.core.ask(Lane::Control, &place, &call, self.core.config.request_timeout).await
                {
                    Ok((ErrorCode::NONE, dirs)) => break dirs,
                    Ok((code, _)) => Attempt::code(code, None).map(|e| e.at_broker(self.core.place_name(&place))),
                    Err(attempt) => attempt,
                };
                patience.after(attempt.map(|e| e.api(ApiKey::DescribeLogDirs))).await?;
            };
            let dirs = dirs.into_iter().map(|dir| LogDir {
                path: dir.path,
                error: dir.error,
                replicas: dir.topics.into_iter().collect(),
                total_bytes: dir.total_bytes,
                usable_bytes: dir.usable_bytes,
            });
            found.insert(node, dirs.collect());
        }
        Ok(found)
    }
}
