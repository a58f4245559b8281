//! Appending record batches: one batch, one partition, one answer at a time.

use std::sync::Arc;

use bytes::Bytes;

use super::Acks;
use crate::kafka::ask::{Again, Attempt};
use crate::kafka::client::Client;
use crate::kafka::error::{Error, ErrorKind};
use crate::kafka::msg::{ApiKey, ErrorCode, ProduceCall, ProduceTopic};
use crate::kafka::net::now;
use crate::kafka::net::pool::Lane;
use crate::kafka::state::cluster::Place;

impl Client {
    /// Appends one record batch (magic 2, as `record::BatchBuilder` makes them) to a partition and returns the offset of its
    /// first record. Asks again only while it is certain that nothing was written.
    ///
    /// # Errors
    /// [`UnknownOutcome`](ErrorKind::UnknownOutcome) when the request went out and no answer came: the batch may be in the
    /// log or not. [`UnknownTopic`](ErrorKind::UnknownTopic), [`UnknownPartition`](ErrorKind::UnknownPartition),
    /// [`Auth`](ErrorKind::Auth), [`Broker`](ErrorKind::Broker) with `MESSAGE_TOO_LARGE` and the like.
    pub async fn produce(&self, topic: &str, partition: i32, batch: Bytes, acks: Acks) -> Result<i64, Error> {
        let topic: Arc<str> = topic.into();
        let timeout_ms = i32::try_from(self.core.config.request_timeout.as_millis()).unwrap_or(i32::MAX);
        if acks == Acks::None {
            return Err(Error::new(ErrorKind::Config, "an append with acks=0 has no answer, and no offset"));
        }
        let mut patience = self.core.patience();
        let mut since = None;
        loop {
            match self.produce_once(&topic, partition, &batch, acks.number(), timeout_ms, since).await {
                Ok(offset) => return Ok(offset),
                Err(attempt) => {
                    let about = |e: Error| e.api(ApiKey::Produce).topic(&topic).partition(partition);
                    patience.after(attempt.map(about)).await?;
                    since = Some(now());
                }
            }
        }
    }

    async fn produce_once(
        &self,
        topic: &Arc<str>,
        partition: i32,
        batch: &Bytes,
        acks: i16,
        timeout_ms: i32,
        since: Option<std::time::Instant>,
    ) -> Result<i64, Attempt> {
        let known = self.core.topic(topic, since).await?;
        let Some(found) = known.partitions.get(&partition) else {
            let text = format!("the topic has {} partitions", known.partitions.len());
            return Err(Attempt { error: Error::new(ErrorKind::UnknownPartition, text), again: Again::Unknown });
        };
        let Some(leader) = found.leader else { return Err(Attempt::code(ErrorCode::LEADER_NOT_AVAILABLE, None)) };
        let place = Place::Node(leader);
        // The broker itself waits up to `timeout_ms` for the replicas.
        let patience = self.core.config.request_timeout.saturating_mul(2);
        let call = ProduceCall {
            transactional_id: None,
            joins_transaction: false,
            acks,
            timeout_ms,
            topics: vec![ProduceTopic {
                name: topic.clone(),
                id: known.id,
                partitions: vec![(partition, batch.clone())],
            }],
        };
        let answer = self.core.ask_once(Lane::Write, &place, &call, patience).await?;
        // One batch was sent, so one partition answers.
        let Some(answer) = answer.partitions.into_iter().find(|answer| answer.partition == partition) else {
            let error = Error::new(ErrorKind::UnknownOutcome, "the broker left the partition out of its answer");
            return Err(Attempt::last(error.at_broker(self.core.place_name(&place))));
        };
        match answer.error {
            ErrorCode::NONE => Ok(answer.base_offset),
            // The leader has it, the replicas may or may not.
            ErrorCode::REQUEST_TIMED_OUT | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND => {
                let error = Error::broker(answer.error, answer.error_message.as_deref());
                Err(Attempt::last(error.of_kind(ErrorKind::UnknownOutcome).at_broker(self.core.place_name(&place))))
            }
            code => {
                let name = self.core.place_name(&place);
                Err(Attempt::code(code, answer.error_message.as_deref()).map(|e| e.at_broker(name)))
            }
        }
    }
}
