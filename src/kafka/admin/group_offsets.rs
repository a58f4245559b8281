//! Deleting groups, and what they have committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::kafka::ask::Attempt;
use crate::kafka::client::Client;
use crate::kafka::error::{Error, ErrorKind, PartitionError};
use crate::kafka::msg::{ApiKey, DeleteGroupsCall, OffsetDeleteCall};

impl Client {
    /// Deletes a group that has no members, with all it has committed. From Kafka 1.1 on.
    ///
    /// # Errors
    /// [`Broker`](ErrorKind::Broker) with `NON_EMPTY_GROUP` or `GROUP_ID_NOT_FOUND`; [`Auth`](ErrorKind::Auth);
    /// [`Unsupported`](ErrorKind::Unsupported); or the last cause when the deadline for retries passes.
    pub async fn delete_group(&self, group: &str) -> Result<(), Error> {
        let name: Arc<str> = group.into();
        let call = DeleteGroupsCall { groups: vec![group.to_owned()] };
        let mut patience = self.core.patience();
        loop {
            let attempt = match self.core.ask_coordinator(&name, &call).await {
                Ok((place, results)) => match results.into_iter().find(|(found, _)| found == group) {
                    Some((_, code)) if code.is_ok() => return Ok(()),
                    Some((_, code)) => self.core.coordinator_code(&name, &place, ApiKey::DeleteGroups, code),
                    None => {
                        let error = Error::new(ErrorKind::Decode, "the broker left the group out of its answer");
                        Attempt::retry(error.api(ApiKey::DeleteGroups).group(&name))
                    }
                },
                Err(attempt) => attempt,
            };
            patience.after(attempt).await?;
        }
    }

    /// Deletes what a group has committed for partitions that none of its members reads. From Kafka 2.4 on. Returns the
    /// partitions that were refused, such as with `GROUP_SUBSCRIBED_TO_TOPIC`.
    ///
    /// # Errors
    /// [`Broker`](ErrorKind::Broker) with `GROUP_ID_NOT_FOUND` or `NON_EMPTY_GROUP` when nothing was deleted;
    /// [`Auth`](ErrorKind::Auth); [`Unsupported`](ErrorKind::Unsupported); or the last cause when the deadline for retries
    /// passes.
    pub async fn delete_offsets(
        &self,
        group: &str,
        partitions: &[(Arc<str>, i32)],
    ) -> Result<Vec<PartitionError>, Error> {
        let name: Arc<str> = group.into();
        let mut topics: BTreeMap<Arc<str>, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in partitions {
            topics.entry(topic.clone()).or_default().push(*partition);
        }
        let call = OffsetDeleteCall { group: name.clone(), topics: topics.into_iter().collect() };
        let mut patience = self.core.patience();
        loop {
            let attempt = match self.core.ask_coordinator(&name, &call).await {
                Ok((_, answer)) if answer.error.is_ok() => {
                    let refused = answer.partitions.into_iter().filter(|(_, _, code)| !code.is_ok());
                    return Ok(refused
                        .map(|(topic, partition, code)| PartitionError { topic, partition, code })
                        .collect());
                }
                Ok((place, answer)) => self.core.coordinator_code(&name, &place, ApiKey::OffsetDelete, answer.error),
                Err(attempt) => attempt,
            };
            patience.after(attempt).await?;
        }
    }
}
