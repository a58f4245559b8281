//! More partitions, and fewer records.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::kafka::ask::{Again, Attempt};
use crate::kafka::client::Client;
use crate::kafka::error::{Error, ErrorKind};
use crate::kafka::msg::{
    ApiKey, CreatePartitionsCall, DeleteRecordsCall, DescribeTopicPartitionsCall, ErrorCode, NamedResult,
};
use crate::kafka::net::now;
use crate::kafka::net::pool::Lane;
use crate::kafka::state::cluster::Place;

impl super::HasError for Vec<NamedResult> {
    fn error(&self) -> ErrorCode {
        self.first().map_or(ErrorCode::NONE, |result| result.error)
    }
}

impl Client {
    /// Gives a topic more partitions, `total` in all, and returns once the controller has them. Keys go to other partitions
    /// from then on. `assignments` names the nodes of each new partition; empty lets the controller decide.
    ///
    /// # Errors
    /// [`Broker`](ErrorKind::Broker) with `INVALID_PARTITIONS` and the like, with what the broker says about it;
    /// [`UnknownTopic`](ErrorKind::UnknownTopic); [`Auth`](ErrorKind::Auth); or the last cause when the deadline for retries
    /// passes.
    pub async fn create_partitions(&self, topic: &str, total: i32, assignments: &[Vec<i32>]) -> Result<(), Error> {
        let name: Arc<str> = topic.into();
        let (assignments, timeout_ms) = (assignments.to_vec(), self.timeout_ms());
        let call = CreatePartitionsCall { topic: topic.to_owned(), total, assignments, timeout_ms };
        let mut patience = self.core.patience();
        loop {
            let outcome = match self.ask_controller(&call).await {
                Ok(results) => match results.iter().find(|result| !result.error.is_ok()) {
                    None => return Ok(()),
                    Some(result) => Attempt::code(result.error, result.error_message.as_deref()),
                },
                Err(attempt) => attempt,
            };
            patience.after(outcome.map(|e| e.api(ApiKey::CreatePartitions).topic(&name))).await?;
        }
    }

    /// Deletes the records of partitions of one topic below an offset each; -1 means up to the high watermark. Returns the
    /// first offset that each partition has now. Doing it twice does no harm, so it is retried.
    ///
    /// # Errors
    /// [`Broker`](ErrorKind::Broker) with `OFFSET_OUT_OF_RANGE`, `POLICY_VIOLATION` and the like;
    /// [`UnknownPartition`](ErrorKind::UnknownPartition); [`Auth`](ErrorKind::Auth); or the last cause when the deadline for
    /// retries passes. Some partitions may have been cut by then.
    pub async fn delete_records(&self, topic: &str, below: &[(i32, i64)]) -> Result<BTreeMap<i32, i64>, Error> {
        let topic: Arc<str> = topic.into();
        let mut pending: BTreeMap<i32, i64> = below.iter().copied().collect();
        let mut done = BTreeMap::new();
        let mut patience = self.core.patience();
        let mut since = None;
        while !pending.is_empty() {
            if let Err(attempt) = self.delete_records_round(&topic, &mut pending, &mut done, since).await {
                patience.after(attempt.map(|e| e.api(ApiKey::DeleteRecords).topic(&topic))).await?;
                since = Some(now());
            }
        }
        Ok(done)
    }

    /// Nodes that may lead partitions although they are not in sync, and those last known to (KIP-966); from Kafka 3.8 on.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) from older brokers; [`Auth`](ErrorKind::Auth); or the last cause when the
    /// deadline for retries passes. Topics with an error are left out.
    pub async fn eligible_leaders(
        &self,
        topics: &[String],
    ) -> Result<BTreeMap<(String, i32), (Vec<i32>, Vec<i32>)>, Error> {
        let mut call = DescribeTopicPartitionsCall { topics: topics.to_vec(), cursor: None };
        crate::sorting::sort(&mut call.topics);
        let mut found = BTreeMap::new();
        let mut patience = self.core.patience();
        loop {
            match self.core.ask_any(&call).await {
                Ok((_, answer)) => {
                    for (topic, _, partitions) in answer.topics {
                        found.extend(
                            partitions.into_iter().map(|p| ((topic.clone(), p.partition), (p.eligible, p.last_known))),
                        );
                    }
                    // A cursor that does not move would never end.
                    if answer.cursor.is_none() || answer.cursor <= call.cursor {
                        return Ok(found);
                    }
                    if let Some((topic, _)) = &answer.cursor {
                        call.topics.retain(|name| name >= topic);
                    }
                    call.cursor = answer.cursor;
                }
                Err(attempt) => patience.after(attempt.map(|e| e.api(ApiKey::DescribeTopicPartitions))).await?,
            }
        }
    }

    async fn delete_records_round(
        &self,
        topic: &Arc<str>,
        pending: &mut BTreeMap<i32, i64>,
        done: &mut BTreeMap<i32, i64>,
        since: Option<std::time::Instant>,
    ) -> Result<(), Attempt> {
        let known = self.core.topic(topic, since).await?;
        let mut leaders: BTreeMap<i32, Vec<(i32, i64)>> = BTreeMap::new();
        for (partition, offset) in &*pending {
            let Some(found) = known.partitions.get(partition) else {
                let text = format!("the topic has {} partitions", known.partitions.len());
                let error = Error::new(ErrorKind::UnknownPartition, text).partition(*partition);
                return Err(Attempt { error, again: Again::Unknown });
            };
            let Some(leader) = found.leader else {
                return Err(Attempt::code(ErrorCode::LEADER_NOT_AVAILABLE, None).map(|e| e.partition(*partition)));
            };
            leaders.entry(leader).or_default().push((*partition, *offset));
        }
        for (leader, partitions) in leaders {
            let place = Place::Node(leader);
            let call = DeleteRecordsCall { topic: topic.clone(), partitions, timeout_ms: self.timeout_ms() };
            let patience = self.core.config.request_timeout.saturating_mul(2);
            for result in self.core.ask(Lane::Write, &place, &call, patience).await? {
                if !result.error.is_ok() {
                    let name = self.core.place_name(&place);
                    let attempt = Attempt::code(result.error, None);
                    return Err(attempt.map(|e| e.partition(result.partition).at_broker(name)));
                }
                if pending.remove(&result.partition).is_some() {
                    done.insert(result.partition, result.low_watermark);
                }
            }
        }
        match pending.keys().next() {
            None => Ok(()),
            Some(partition) => {
                let error = Error::new(ErrorKind::Decode, "the broker left the partition out of its answer");
                Err(Attempt::retry(error.partition(*partition)))
            }
        }
    }
}
