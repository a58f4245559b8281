//! The task that carries out what the machine decides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{RecordMetadata, Shared, transactions};
use crate::kafka::ask::{Again, Attempt, Core};
use crate::kafka::error::{Error, ErrorKind};
use crate::kafka::msg::{ApiKey, ErrorCode, InitProducerIdCall, ProduceAnswer};
use crate::kafka::net::pool::Lane;
use crate::kafka::net::{now, sleep_until};
use crate::kafka::state::cluster::{Place, Topic};
use crate::kafka::state::produce::{
    Cause, Done, Failed, Fault, Owner, ProduceOrder, SealOrder, Sealed, SendFault, Written,
};

use crate::limits::{PRODUCE_EVENTS_MAX, PRODUCE_IN_FLIGHT_MAX};

/// How long a broker may take beyond the time that it itself waits for the replicas.
const BROKER_DELAY: Duration = Duration::from_secs(5);

pub(super) struct Driver {
    shared: Arc<Shared>,
    events: Receiver<Event>,
    sender: Sender<Event>,
    brokers: BTreeMap<i32, Sender<ProduceOrder>>,
}

/// What comes back; as many as the machine has questions out.
enum Event {
    Metadata(Arc<str>, Result<Option<Topic>, Fault<Error>>),
    Identity(Result<Owner, Fault<Error>>),
    Sealed(Sealed),
    Answer(u64, Result<Option<ProduceAnswer>, SendFault<Error>>),
    PartitionsAdded(Result<(), Fault<Error>>),
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let (sender, events) = channel(PRODUCE_EVENTS_MAX);
        Self { shared, events, sender, brokers: BTreeMap::new() }
    }

    /// Runs until it is aborted.
    pub(super) async fn run(mut self) {
        loop {
            let due = self.drive();
            tokio::select! {
                () = self.shared.wake.notified() => {}
                Some(event) = self.events.recv() => self.take(event),
                () = sleep_until(due) => {}
            }
            while let Ok(event) = self.events.try_recv() {
                self.take(event);
            }
        }
    }

    /// Carries out all that is due. Returns when to look again.
    fn drive(&mut self) -> Option<Instant> {
        loop {
            let mut cheap = Vec::new();
            let mut done = Vec::new();
            let due = {
                let shared = self.shared.clone();
                let mut state = shared.state();
                let at = now();
                state.poll_expired(at);
                while let Some(topic) = state.poll_metadata(at) {
                    self.spawn(ask_metadata(shared.core.clone(), topic));
                }
                if state.poll_identity(at) {
                    self.spawn(ask_identity(shared.core.clone()));
                }
                if let Some(topics) = state.poll_partitions_to_add() {
                    let shared = shared.clone();
                    self.spawn(
                        async move { Event::PartitionsAdded(transactions::add_partitions(&shared, topics).await) },
                    );
                }
                // What is sent makes room for the next batch to be closed.
                let mut is_moving = true;
                while std::mem::take(&mut is_moving) {
                    while let Some(order) = state.poll_seal(at) {
                        is_moving = true;
                        if order.is_cheap() {
                            cheap.push(order);
                        } else {
                            let sender = self.sender.clone();
                            // A driver that is gone needs no batch.
                            tokio::task::spawn_blocking(move || sender.blocking_send(Event::Sealed(order.seal())).ok());
                        }
                    }
                    while let Some(order) = state.poll_request(at) {
                        is_moving = true;
                        self.send(order);
                    }
                }
                done.extend(std::iter::from_fn(|| state.poll_done()));
                state.poll_timeout(at)
            };
            self.deliver(done);
            if cheap.is_empty() {
                return due;
            }
            let sealed: Vec<Sealed> = cheap.into_iter().map(SealOrder::seal).collect();
            let mut state = self.shared.state();
            for sealed in sealed {
                state.handle_sealed(now(), sealed);
            }
        }
    }

    fn spawn(&self, task: impl Future<Output = Event> + Send + 'static) {
        let sender = self.sender.clone();
        tokio::spawn(async move { sender.send(task.await).await.ok() });
    }

    /// Requests to one broker go through one task, so that they keep their order.
    fn send(&mut self, order: ProduceOrder) {
        let broker = order.broker;
        let orders = self.brokers.entry(broker).or_insert_with(|| {
            let (orders, queue) = channel(PRODUCE_IN_FLIGHT_MAX);
            let core = self.shared.core.clone();
            let patience = core.config.request_timeout.saturating_add(BROKER_DELAY);
            let target = Target { core, lane: self.shared.lane, place: Place::Node(broker), patience };
            tokio::spawn(serve(target, queue, self.sender.clone()));
            orders
        });
        // The task lives as long as its queue, in which there is room: the machine has no more requests out than that.
        orders.try_send(order).ok();
    }

    fn take(&self, event: Event) {
        let mut state = self.shared.state();
        let at = now();
        match event {
            Event::Metadata(topic, outcome) => {
                let unknown = Topic::unknown();
                let view = outcome.as_ref().map(|found| found.as_ref().unwrap_or(&unknown)).map_err(Fault::clone);
                state.handle_metadata(at, &topic, view);
            }
            Event::Identity(outcome) => state.handle_identity(at, outcome),
            Event::Sealed(sealed) => state.handle_sealed(at, sealed),
            Event::Answer(id, outcome) => state.handle_answer(at, id, outcome),
            Event::PartitionsAdded(outcome) => state.handle_partitions_added(at, outcome),
        }
    }

    fn deliver(&self, done: Vec<Done<super::Waiter, Error>>) {
        if done.is_empty() {
            return;
        }
        for Done { handle, partition, outcome } in done {
            let outcome = match outcome {
                Ok(Written { offset, timestamp }) => {
                    let (topic, partition) = (partition.topic, partition.partition);
                    Ok(RecordMetadata { topic, partition, offset, timestamp })
                }
                Err(failed) => {
                    let error = failed_error(&self.shared.core, &failed);
                    Err(error.topic(&partition.topic).partition(partition.partition))
                }
            };
            // Whoever is gone does not want to know.
            handle.send(outcome).ok();
        }
        self.shared.progress.notify_waiters();
    }
}

struct Target {
    core: Arc<Core>,
    lane: Lane,
    place: Place,
    patience: Duration,
}

async fn serve(target: Target, mut orders: Receiver<ProduceOrder>, events: Sender<Event>) {
    let Target { core, lane, place, patience } = target;
    while let Some(order) = orders.recv().await {
        let is_silent = order.call.acks == 0;
        let begun = core.begin(lane, &place, &order.call, (!is_silent).then_some(patience)).await;
        match begun {
            Ok(pending) => {
                let (core, place, events) = (core.clone(), place.clone(), events.clone());
                tokio::spawn(async move {
                    let outcome = if is_silent {
                        pending.written().await.map(|()| None)
                    } else {
                        pending.answer::<crate::kafka::msg::ProduceCall>().await.map(Some)
                    };
                    if let Ok(Some(answer)) = &outcome {
                        let mut cluster = core.cluster();
                        for endpoint in &answer.endpoints {
                            cluster.handle_endpoint(endpoint.node, &endpoint.host, endpoint.port);
                        }
                    }
                    let outcome = outcome.map_err(|fault| {
                        let attempt = core.fault_attempt(&place, ApiKey::Produce, &fault);
                        // An answer that cannot be read ends nothing: the next one may be better.
                        let is_final = attempt.again == Again::No && attempt.error.kind() != ErrorKind::Decode;
                        SendFault { error: attempt.error, is_final, was_sent: true }
                    });
                    events.send(Event::Answer(order.id, outcome)).await.ok();
                });
            }
            Err(attempt) => {
                // What waits behind it would only wait for the same.
                let behind = std::iter::from_fn(|| orders.try_recv().ok()).map(|order| order.id);
                let ids: Vec<u64> = std::iter::once(order.id).chain(behind).collect();
                for id in ids {
                    let is_final = attempt.again == Again::No;
                    let fault = SendFault { error: attempt.error.clone(), is_final, was_sent: false };
                    events.send(Event::Answer(id, Err(fault))).await.ok();
                }
            }
        }
    }
}

pub(super) fn fault(attempt: Attempt) -> Fault<Error> {
    Fault { error: attempt.error, is_final: attempt.again == Again::No }
}

async fn ask_metadata(core: Arc<Core>, topic: Arc<str>) -> Event {
    let outcome = core.refresh(&topic, now()).await.map_err(fault);
    let outcome = outcome.map(|()| core.cluster().topic(&topic).cloned());
    Event::Metadata(topic, outcome)
}

async fn ask_identity(core: Arc<Core>) -> Event {
    // The timeout has no meaning without a transactional id.
    let call = InitProducerIdCall { transactional_id: None, transaction_timeout_ms: i32::MAX, current: None };
    let outcome = match core.ask_any(&call).await {
        Ok((_, answer)) if answer.error.is_ok() => Ok(Owner { id: answer.producer_id, epoch: answer.producer_epoch }),
        Ok((place, answer)) => {
            let name = core.place_name(&place);
            let text = (answer.error == ErrorCode::CLUSTER_AUTHORIZATION_FAILED)
                .then_some("the user may not write idempotently; grant IDEMPOTENT_WRITE on the cluster, or set enable.idempotence=false");
            Err(fault(Attempt::code(answer.error, text).map(|e| e.api(ApiKey::InitProducerId).at_broker(name))))
        }
        Err(attempt) => Err(fault(attempt)),
    };
    Event::Identity(outcome)
}

/// What one record's waiter is told.
fn failed_error(core: &Core, failed: &Failed<Error>) -> Error {
    let mut error = cause_error(core, &failed.cause);
    if failed.maybe_written {
        error = error.of_kind(ErrorKind::UnknownOutcome);
    }
    if failed.attempts > 1 || matches!(failed.cause, Cause::NotSent | Cause::NoLeader) {
        error = error.gave_up(failed.after, failed.attempts);
    }
    error
}

pub(super) fn cause_error(core: &Core, cause: &Cause<Error>) -> Error {
    let produce =
        |error: Error, broker: i32| error.api(ApiKey::Produce).at_broker(core.place_name(&Place::Node(broker)));
    match cause {
        Cause::Code { broker, code, text } => produce(Error::broker(*code, text.as_deref()), *broker),
        Cause::Companion { broker, code } => {
            let text = "the broker refused the batch because of another record in it";
            produce(Error::broker(*code, Some(text)), *broker)
        }
        Cause::Fault(error) => error.clone(),
        Cause::Metadata(code) => Error::broker(*code, None).api(ApiKey::Metadata),
        Cause::NoLeader => {
            Error::new(ErrorKind::Broker(ErrorCode::LEADER_NOT_AVAILABLE), "the partition has no leader")
        }
        Cause::UnknownPartition => Error::new(ErrorKind::UnknownPartition, "the topic has no such partition any more"),
        Cause::NotSent => {
            Error::new(ErrorKind::Timeout, "the record waited too long for its turn").api(ApiKey::Produce)
        }
        Cause::BadAnswer { broker } => {
            produce(Error::new(ErrorKind::Decode, "the broker left the partition out of its answer"), *broker)
        }
        Cause::Build(error) => Error::new(ErrorKind::Unsupported, error.to_string()),
        Cause::Aborted => Error::new(ErrorKind::AbortTransaction, "the transaction was aborted"),
    }
}
