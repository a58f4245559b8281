//! Reading partitions of any topics, assigned by hand.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::ask::{Again, Attempt, Core};
use super::client::Client;
use super::config::ConsumerConfig;
use super::error::{Error, ErrorKind};
use super::fetched::Fetched;
use super::msg::{ApiKey, EpochEndAnswer, ErrorCode, FetchAnswer, Isolation};
use super::net::pool::Lane;
use super::net::{now, sleep_until};
use super::offsets::OffsetAt;
use super::state::cluster::{Place, Topic};
use super::state::fetch::{
    Cause, EpochOrder, Failure, Fault, FetchOptions, FetchOrder, FetchState, OffsetRange, Position, Progress,
    RangeOrder, Ready, TopicPartition,
};

/// Reads partitions of any number of topics from given positions on, each broker's in one stream of fetches.
///
/// While the caller works on one answer of a broker, the next one of the same broker is on its way. All bytes count against
/// [`ConsumerConfig::buffer_bytes_max`]: those asked for, those that wait, and those of each [`Fetched`] until it is dropped,
/// decompressed records included; a request goes out as soon as there is room for its answer. Nothing runs between
/// calls but the requests that are out, so a consumer that is not asked stands still. Dropping it closes its connections.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    isolation: Isolation,
    fetch_patience: Duration,
    lane: Lane,
    state: FetchState<Error>,
    tasks: JoinSet<Event>,
}

/// What a spawned request comes back with.
#[derive(Debug)]
enum Event {
    Answer { broker: i32, outcome: Result<FetchAnswer, Fault<Error>> },
    Metadata { topic: Arc<str>, outcome: Result<Option<Topic>, Fault<Error>> },
    Range { order: RangeOrder, outcome: Result<OffsetRange, Fault<Error>> },
    Epochs { order: EpochOrder, outcome: Result<EpochEndAnswer, Fault<Error>> },
}

/// How far one partition is.
#[derive(Clone, Debug)]
pub struct PartitionProgress {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset after everything that has been handed out by [`Consumer::next`].
    pub position: i64,
    /// The leader epoch of the last batch before the position, which is committed with it; none when unknown.
    pub leader_epoch: Option<i32>,
    /// The end of the partition as of the last answer; -1 before the first.
    pub high_watermark: i64,
    /// The end under read_committed as of the last answer; -1 before the first.
    pub last_stable_offset: i64,
    /// The start of the partition as of the last answer; -1 before the first or when the broker does not say.
    pub log_start_offset: i64,
    /// When the last good answer came; none before the first.
    pub last_answer: Option<Instant>,
    /// Why it does not advance at present; none when all is well.
    pub waiting_on: Option<String>,
    /// Whether it is paused.
    pub paused: bool,
    /// Whether it has failed for good; [`Consumer::seek`] starts it again.
    pub failed: bool,
}

impl Consumer {
    /// A consumer without partitions. Asks nothing yet; [`Consumer::assign`] says what to read.
    pub fn new(client: &Client, config: ConsumerConfig) -> Self {
        let core = &client.core;
        let serial = core.next_serial();
        let options = FetchOptions {
            isolation: config.isolation,
            fetch_bytes_max: config.fetch_bytes_max,
            partition_bytes_max: config.partition_bytes_max,
            wait_ms_max: config.wait_ms_max,
            bytes_min: config.bytes_min,
            buffer_bytes_max: config.buffer_bytes_max,
            rack: config.rack.as_str().into(),
            on_lost: config.on_lost,
            retry_backoff: core.config.retry_backoff,
            retry_backoff_max: core.config.retry_backoff_max,
            retries_deadline: core.config.retries_deadline,
            unknown_deadline: core.config.unknown_topic_deadline,
            seed: serial,
        };
        Self {
            client: client.clone(),
            isolation: config.isolation,
            fetch_patience: core.config.request_timeout + Duration::from_millis(config.wait_ms_max.into()),
            lane: Lane::Fetch(serial),
            state: FetchState::new(options),
            tasks: JoinSet::new(),
        }
    }

    /// A consumer of one topic: [`Consumer::new`] and [`Consumer::assign`].
    pub fn of_topic<P>(client: &Client, config: ConsumerConfig, topic: &str, start: &[(i32, P)]) -> Self
    where
        P: Into<Position> + Copy,
    {
        let mut consumer = Self::new(client, config);
        consumer.assign(topic, start);
        consumer
    }

    /// Reads partitions of `topic` from these positions on: (partition, offset) pairs, or a [`Position`] in place of the
    /// offset. Adds to what is assigned; a partition that is assigned already, or has failed, is moved, and what was fetched for it
    /// is dropped. Of a partition named twice the last entry counts.
    pub fn assign<P>(&mut self, topic: &str, start: &[(i32, P)])
    where
        P: Into<Position> + Copy,
    {
        let (at, topic): (_, Arc<str>) = (now(), topic.into());
        for (partition, position) in start {
            let partition = TopicPartition { topic: topic.clone(), partition: *partition };
            self.state.assign(at, partition, *position);
        }
        // What the client knows already saves a question.
        let known = self.client.core.cluster().topic(&topic).filter(|known| known.error.is_ok()).cloned();
        if let Some(known) = known {
            self.state.handle_metadata(at, &topic, Ok(&known));
        }
    }

    /// The next answer about one partition, with or without records. Waits until there is one; with every partition paused
    /// or none assigned, that is for ever, and so it is for a caller that keeps every [`Fetched`] until the budget is used up. Safe to drop half-way: nothing is lost.
    ///
    /// A consumer that reads to an end must compare positions with it and not wait for an empty answer: markers of
    /// transactions and compacted records move the position without giving a record, and of a partition with nothing new
    /// the broker says so once and then no more (KIP-227).
    ///
    /// Records that are gone fail the partition, or move it as [`ConsumerConfig::on_lost`] says and log the range.
    ///
    /// # Errors
    /// One per partition that has failed for good, after what came before it was handed out; the other partitions go on.
    /// [`OffsetOutOfRange`](ErrorKind::OffsetOutOfRange), [`TopicDeleted`](ErrorKind::TopicDeleted),
    /// [`UnknownTopic`](ErrorKind::UnknownTopic), [`UnknownPartition`](ErrorKind::UnknownPartition),
    /// [`Auth`](ErrorKind::Auth), [`Decode`](ErrorKind::Decode), or the last cause when a partition has not got a good answer
    /// for [`ClientConfig::retries_deadline`](super::ClientConfig::retries_deadline). Once all partitions have failed, the
    /// first one's error comes again.
    pub async fn next(&mut self) -> Result<Fetched, Error> {
        loop {
            while let Some(joined) = self.tasks.try_join_next() {
                self.take(joined)?;
            }
            let released = self.state.budget().releases();
            self.send();
            if let Some(ready) = self.state.poll_ready() {
                // Taking it may have made room for the next request.
                self.send();
                return match ready {
                    Ready::Data(data) => Ok(Fetched::new(data, self.isolation)),
                    Ready::Failed(failure) => Err(self.error(&failure)),
                    Ready::Moved(moved) => {
                        let why = self.cause_error(&moved.partition, &moved.cause);
                        log::warn!("{why}; reading goes on at offset {}", moved.to.offset);
                        continue;
                    }
                };
            }
            if let Some(failure) = self.state.all_failed() {
                return Err(self.error(failure));
            }
            let due = self.state.poll_timeout();
            let (budget, waits) = (self.state.budget(), self.state.wants_room());
            let joined = tokio::select! {
                Some(joined) = self.tasks.join_next() => joined,
                () = sleep_until(due) => continue,
                () = poll_fn(|context| budget.poll_released(released, context)), if waits => continue,
            };
            self.take(joined)?;
        }
    }

    /// Reads a partition from `position` on, also one that was not assigned or has failed. Drops what was fetched for it.
    pub fn seek(&mut self, topic: &str, partition: i32, position: impl Into<Position>) {
        self.assign(topic, &[(partition, position.into())]);
    }

    /// Stops fetching partitions and handing them out, until [`Consumer::resume`].
    pub fn pause(&mut self, topic: &str, partitions: &[i32]) {
        for partition in keys(topic, partitions) {
            self.state.pause(&partition);
        }
    }

    /// Goes on with paused partitions where they stopped.
    pub fn resume(&mut self, topic: &str, partitions: &[i32]) {
        for partition in keys(topic, partitions) {
            self.state.resume(&partition);
        }
    }

    /// Reads partitions no more, and drops what was fetched for them.
    pub fn remove(&mut self, topic: &str, partitions: &[i32]) {
        for partition in keys(topic, partitions) {
            self.state.remove(&partition);
        }
    }

    /// How far each partition is, by topic and number.
    pub fn progress(&self) -> Vec<PartitionProgress> {
        self.state.progress().map(|progress| self.describe(progress)).collect()
    }

    /// The position after everything that [`Consumer::next`] has handed out for a partition, with its leader epoch: what a
    /// group commits once that is dealt with. None for a partition that is not assigned.
    pub fn position(&self, topic: &str, partition: i32) -> Option<Position> {
        self.state.position(&TopicPartition { topic: topic.into(), partition })
    }

    /// Bytes that answers take which were fetched, or handed out and not dropped yet, with what is decompressed from them.
    pub fn held_bytes(&self) -> usize {
        self.state.budget().used()
    }

    /// The partitions that are assigned, paused and failed ones included, in order.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.state.assignment().cloned().collect()
    }

    /// Starts every request that is due.
    fn send(&mut self) {
        let at = now();
        while let Some(topic) = self.state.poll_metadata(at) {
            self.tasks.spawn(ask_metadata(self.client.core.clone(), topic));
        }
        while let Some(order) = self.state.poll_range() {
            self.tasks.spawn(ask_range(self.client.clone(), self.isolation, order));
        }
        while let Some(order) = self.state.poll_epochs(at) {
            self.tasks.spawn(ask_epochs(self.client.core.clone(), order));
        }
        while let Some(order) = self.state.poll_request(at) {
            self.tasks.spawn(ask_records(self.client.core.clone(), self.lane, order, self.fetch_patience));
        }
    }

    fn take(&mut self, joined: Result<Event, tokio::task::JoinError>) -> Result<(), Error> {
        let event = joined.map_err(|_| Error::new(ErrorKind::Closed, "the runtime is shutting down"))?;
        let at = now();
        match event {
            Event::Answer { broker, outcome } => self.state.handle_answer(at, broker, outcome),
            Event::Metadata { topic, outcome } => {
                let unknown = Topic::unknown();
                let view = outcome.as_ref().map(|found| found.as_ref().unwrap_or(&unknown)).map_err(Fault::clone);
                self.state.handle_metadata(at, &topic, view);
            }
            Event::Range { order, outcome } => {
                self.state.handle_range(at, &order.partition, order.generation, outcome);
            }
            Event::Epochs { order, outcome } => self.state.handle_epochs(at, &order, outcome),
        }
        Ok(())
    }

    fn describe(&self, progress: Progress<Error>) -> PartitionProgress {
        let partition = &progress.partition;
        let waiting_on = progress.trouble.as_ref().map(|cause| self.cause_error(partition, cause).to_string());
        PartitionProgress {
            topic: partition.topic.clone(),
            partition: partition.partition,
            position: progress.position.offset,
            leader_epoch: progress.position.leader_epoch,
            high_watermark: progress.high_watermark,
            last_stable_offset: progress.last_stable_offset,
            log_start_offset: progress.log_start_offset,
            last_answer: progress.last_answer,
            waiting_on,
            paused: progress.paused,
            failed: progress.failed,
        }
    }

    fn error(&self, failure: &Failure<Error>) -> Error {
        let error = self.cause_error(&failure.partition, &failure.cause);
        // What a broker has told for certain was not a matter of patience.
        let is_certain =
            matches!(failure.cause, Cause::TopicDeleted { .. } | Cause::OutOfRange { .. } | Cause::Truncated { .. });
        if is_certain || failure.attempts <= 1 { error } else { error.gave_up(failure.after, failure.attempts) }
    }

    fn cause_error(&self, partition: &TopicPartition, cause: &Cause<Error>) -> Error {
        let core = &self.client.core;
        let fetch = |error: Error| error.api(ApiKey::Fetch);
        let at_broker = |error: Error, broker: i32| error.at_broker(core.place_name(&Place::Node(broker)));
        let error = match cause {
            Cause::Code { broker, code } => at_broker(fetch(Error::broker(*code, None)), *broker),
            Cause::Fault(error) => error.clone(),
            Cause::Metadata(code) => Error::broker(*code, None).api(ApiKey::Metadata),
            Cause::NoLeader => {
                Error::new(ErrorKind::Broker(ErrorCode::LEADER_NOT_AVAILABLE), "the partition has no leader")
            }
            Cause::UnknownTopic => Error::new(ErrorKind::UnknownTopic, "the cluster has no such topic"),
            Cause::UnknownPartition => Error::new(ErrorKind::UnknownPartition, "the topic has no such partition"),
            Cause::TopicDeleted { recreated: false } => {
                Error::new(ErrorKind::TopicDeleted, "the topic was deleted while it was read")
            }
            Cause::TopicDeleted { recreated: true } => {
                let text = "the topic was deleted and made anew while it was read; offsets do not carry over";
                Error::new(ErrorKind::TopicDeleted, text)
            }
            Cause::OutOfRange { position, log_start, end } => out_of_range(*position, *log_start, *end),
            Cause::Truncated { position, from } => truncated(*position, *from),
            Cause::BadAnswer { broker, text } => at_broker(fetch(Error::new(ErrorKind::Decode, text.clone())), *broker),
        };
        error.topic(&partition.topic).partition(partition.partition)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.client.core.close_lane(self.lane);
    }
}

fn keys(topic: &str, partitions: &[i32]) -> impl Iterator<Item = TopicPartition> {
    let topic: Arc<str> = topic.into();
    partitions.iter().map(move |partition| TopicPartition { topic: topic.clone(), partition: *partition })
}

fn out_of_range(position: i64, log_start: i64, end: i64) -> Error {
    let text = if position < log_start {
        let last = log_start.saturating_sub(1);
        format!(
            "offset {position} is out of range: offsets {position} to {last} have been deleted, \
             the partition now holds {log_start} to {end}"
        )
    } else {
        format!(
            "offset {position} is out of range: the partition holds {log_start} to {end}; \
             it was truncated, or the topic is not the one the offset is from"
        )
    };
    Error::new(ErrorKind::OffsetOutOfRange { position, log_start, end }, text).api(ApiKey::Fetch)
}

fn truncated(position: i64, from: Option<i64>) -> Error {
    let text = match from {
        Some(from) => format!(
            "the log was truncated below offset {position} (an unclean leader election): the records of offsets {from} to {} \
             that were read are no longer part of it",
            position.saturating_sub(1)
        ),
        None => format!(
            "the log was truncated below offset {position} (an unclean leader election): the leader does not know the \
             epoch of the last record that was read"
        ),
    };
    // Whoever resets to either end of this range goes on where the logs part.
    let end = from.unwrap_or(0);
    Error::new(ErrorKind::OffsetOutOfRange { position, log_start: end, end }, text).api(ApiKey::Fetch)
}

fn fault(attempt: Attempt) -> Fault<Error> {
    Fault { error: attempt.error, is_final: attempt.again == Again::No }
}

async fn ask_records(core: Arc<Core>, lane: Lane, order: FetchOrder, patience: Duration) -> Event {
    let FetchOrder { broker, call } = order;
    let outcome = core.ask(lane, &Place::Node(broker), &call, patience).await;
    if let Ok(answer) = &outcome {
        let mut cluster = core.cluster();
        for endpoint in &answer.endpoints {
            cluster.handle_endpoint(endpoint.node, &endpoint.host, endpoint.port);
        }
    }
    Event::Answer { broker, outcome: outcome.map_err(fault) }
}

async fn ask_metadata(core: Arc<Core>, topic: Arc<str>) -> Event {
    let outcome = core.refresh(&topic, now()).await.map_err(fault);
    let outcome = outcome.map(|()| core.cluster().topic(&topic).cloned());
    Event::Metadata { topic, outcome }
}

async fn ask_epochs(core: Arc<Core>, order: EpochOrder) -> Event {
    let outcome = core.ask(Lane::Control, &Place::Node(order.broker), &order.call, core.config.request_timeout).await;
    Event::Epochs { order, outcome: outcome.map_err(fault) }
}

/// What a partition holds. Open transactions count for whether a position exists, and not for what may be shown.
async fn ask_range(client: Client, isolation: Isolation, order: RangeOrder) -> Event {
    let TopicPartition { topic, partition } = &order.partition;
    let wanted = [
        (OffsetAt::Earliest, Isolation::ReadUncommitted),
        (OffsetAt::Latest, Isolation::ReadUncommitted),
        (OffsetAt::Latest, isolation),
    ];
    let mut found = [0_i64; 3];
    for (slot, (at, isolation)) in found.iter_mut().zip(wanted) {
        match client.list_offsets(topic, &[(*partition, at)], isolation).await {
            Ok(offsets) => *slot = offsets.get(partition).and_then(|listed| listed.offset).unwrap_or(0),
            Err(error) => return Event::Range { order, outcome: Err(Fault { error, is_final: true }) },
        }
    }
    let [log_start, end, visible_end] = found;
    Event::Range { order, outcome: Ok(OffsetRange { log_start, end, visible_end }) }
}
