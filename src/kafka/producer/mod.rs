//! Writing records: [`Producer`], and [`Client::produce`](super::Client::produce) for a batch that is ready.

mod append;
mod config;
mod driver;
mod record;
mod transactions;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, oneshot};

use super::ask::Core;
use super::client::Client;
use super::error::{Error, ErrorKind};
use super::msg::ApiKey;
use super::net::pool::Lane;
use super::net::{now, wall_clock_ms};
use super::record::Header;
use super::state::cluster::Topic;
use super::state::produce::{NewRecord, ProduceState, Refusal};

pub use self::config::{Acks, ProducerConfig, Property};
pub use self::record::{Delivery, ProducerRecord, RecordHeader, RecordMetadata};
pub use self::transactions::ConsumerGroupMetadata;
pub use super::state::produce::{Partitioner, partition_for_key};

/// Who waits for a record.
type Waiter = oneshot::Sender<Result<RecordMetadata, Error>>;

/// Writes records to any topics: gathers them into batches, compresses these on other threads, and keeps up to five requests
/// on their way to each broker. Clones share everything.
///
/// As it comes, each record is written exactly once and, within its partition, in the order in which [`Producer::send`] took
/// it, through lost connections, leader changes and dying brokers; that takes idempotence, which is the default. Without it
/// a record whose answer was lost is written again. What is not written within [`ProducerConfig::delivery_timeout`] comes
/// back as an error; one of the kind [`UnknownOutcome`](ErrorKind::UnknownOutcome) says that the record may be in the log all
/// the same.
///
/// Records that have not been waited for are lost when the last clone is dropped: end with [`Producer::close`] or
/// [`Producer::flush`].
///
/// ```no_run
/// # async fn write() -> Result<(), Box<dyn std::error::Error>> {
/// use forebay::kafka::{Client, ClientConfig, Producer, ProducerConfig, ProducerRecord};
///
/// let client = Client::connect(ClientConfig::new(["kafka-1:9092"])).await?;
/// let producer = Producer::new(&client, ProducerConfig::default())?;
/// let record = ProducerRecord::new("orders").key("o-1").value("3 apples").header("source", "shop");
/// let delivery = producer.send(record).await?;
/// // More records may be sent meanwhile.
/// let written = delivery.await?;
/// let _ = (written.partition, written.offset);
/// producer.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Producer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    driver: tokio::task::AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.driver.abort();
        self.shared.core.close_lane(self.shared.lane);
    }
}

/// What the producer and its driver share.
#[derive(Debug)]
struct Shared {
    core: Arc<Core>,
    config: ProducerConfig,
    lane: Lane,
    state: Mutex<ProduceState<Waiter, Error>>,
    /// Something may be due.
    wake: Notify,
    /// Something is done.
    progress: Notify,
    /// The coordinator of the transactional id, as a node id.
    coordinator: Mutex<Option<i32>>,
    closed: std::sync::atomic::AtomicBool,
}

impl Shared {
    /// Never held across an await.
    fn state(&self) -> MutexGuard<'_, ProduceState<Waiter, Error>> {
        // The machine is consistent after each call; a panic elsewhere does not change that.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one attempt to append came to.
enum Step {
    Queued(Delivery),
    Topic,
    Room,
    Failed(Error),
}

impl Producer {
    /// A producer on the connections' settings of `client`. Asks nothing yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) for settings that exclude each other; [`Unsupported`](ErrorKind::Unsupported) for a codec
    /// that this build lacks.
    pub fn new(client: &Client, config: ProducerConfig) -> Result<Self, Error> {
        let core = client.core.clone();
        let serial = core.next_serial();
        let options = config.options(&core.config, serial)?;
        let shared = Arc::new(Shared {
            core,
            config,
            lane: Lane::Produce(serial),
            state: Mutex::new(ProduceState::new(options)),
            wake: Notify::new(),
            progress: Notify::new(),
            coordinator: Mutex::new(None),
            closed: false.into(),
        });
        let driver = tokio::spawn(driver::Driver::new(shared.clone()).run()).abort_handle();
        Ok(Self { inner: Arc::new(Inner { shared, driver }) })
    }

    /// Takes a record. Once this returns, the record has its place after all that were taken before; the [`Delivery`]
    /// tells what becomes of it, and need not be waited for. Waits while the buffer is full, and when the topic is new.
    ///
    /// # Errors
    /// The record was not taken. [`Timeout`](ErrorKind::Timeout) when there was no room for
    /// [`ProducerConfig::max_block`]; [`UnknownTopic`](ErrorKind::UnknownTopic),
    /// [`UnknownPartition`](ErrorKind::UnknownPartition), [`Config`](ErrorKind::Config) for a record larger than
    /// [`ProducerConfig::request_bytes_max`]; in transactions [`AbortTransaction`](ErrorKind::AbortTransaction) and
    /// [`Fenced`](ErrorKind::Fenced); [`Closed`](ErrorKind::Closed) after [`Producer::close`].
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery, Error> {
        let shared = &self.inner.shared;
        let started = now();
        let timestamp = record.timestamp.unwrap_or_else(wall_clock_ms);
        let mut asked = None;
        loop {
            let mut progress = std::pin::pin!(shared.progress.notified());
            progress.as_mut().enable();
            match self.append(&record, timestamp) {
                Step::Queued(delivery) => return Ok(delivery),
                Step::Topic => {
                    // Partitions may have become more since; but ask once only.
                    if asked.is_some() && record.partition.is_some() {
                        return Err(self.no_such_partition(&record));
                    }
                    self.learn_topic(&record, asked.is_some()).await?;
                    asked = Some(now());
                }
                Step::Room => self.wait_for_room(started, progress).await?,
                Step::Failed(error) => return Err(error),
            }
        }
    }

    /// Sends one record and waits until it is written: [`Producer::send`] and its [`Delivery`] in one.
    ///
    /// # Errors
    /// As both.
    pub async fn send_and_wait(&self, record: ProducerRecord) -> Result<RecordMetadata, Error> {
        self.send(record).await?.await
    }

    fn append(&self, record: &ProducerRecord, timestamp: i64) -> Step {
        let shared = &self.inner.shared;
        if shared.closed.load(std::sync::atomic::Ordering::Acquire) {
            return Step::Failed(Error::new(ErrorKind::Closed, "the producer is closed"));
        }
        let headers: Vec<Header<'_>> = (record.headers.iter())
            .map(|header| Header { key: header.key.as_bytes(), value: header.value.as_deref() })
            .collect();
        let new = NewRecord {
            partition: record.partition,
            timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        };
        let (waiter, delivery) = oneshot::channel();
        let outcome = shared.state().append(now(), &record.topic, &new, waiter);
        let (_, refusal) = match outcome {
            Ok(is_news) => {
                if is_news {
                    shared.wake.notify_one();
                }
                return Step::Queued(Delivery::new(delivery));
            }
            Err(refused) => refused,
        };
        let failed = |error: Error| Step::Failed(error.topic(&record.topic));
        match refusal {
            Refusal::TopicNotKnown | Refusal::NoSuchPartition(_) => Step::Topic,
            Refusal::Full => Step::Room,
            Refusal::TooLarge(bytes) => {
                let max = shared.config.request_bytes_max;
                let text = format!("the record takes {bytes} bytes, and max.request.size allows {max}");
                failed(Error::new(ErrorKind::Config, text))
            }
            Refusal::NoTransaction => {
                let text = "no transaction is open: call init_transactions once, and begin_transaction before records";
                failed(Error::new(ErrorKind::Config, text))
            }
            Refusal::Failed { cause, is_fatal } => {
                failed(transactions::failed(driver::cause_error(&shared.core, &cause), is_fatal))
            }
        }
    }

    fn no_such_partition(&self, record: &ProducerRecord) -> Error {
        let cluster = self.inner.shared.core.cluster();
        let count = cluster.topic(&record.topic).map_or(0, |topic| topic.partitions.len());
        let error = Error::new(ErrorKind::UnknownPartition, format!("the topic has {count} partitions"));
        error.topic(&record.topic).partition(record.partition.unwrap_or(-1))
    }

    /// Looks a topic up and tells the machine. What the client knows already counts, unless `anew`.
    async fn learn_topic(&self, record: &ProducerRecord, anew: bool) -> Result<(), Error> {
        let shared = &self.inner.shared;
        let mut patience = shared.core.patience_of(shared.config.max_block);
        // A partition that is not there may be new.
        let is_unknown_partition = |topic: &Topic| record.partition.is_some_and(|p| !topic.partitions.contains_key(&p));
        let mut since = anew.then(now);
        loop {
            match shared.core.topic(&record.topic, since).await {
                Ok(topic) if since.is_none() && is_unknown_partition(&topic) => since = Some(now()),
                Ok(topic) => {
                    shared.state().handle_metadata(now(), &record.topic, Ok(&topic));
                    return Ok(());
                }
                Err(attempt) => {
                    patience.after(attempt.map(|e| e.topic(&record.topic))).await?;
                    since = Some(now());
                }
            }
        }
    }

    async fn wait_for_room(
        &self,
        started: Instant,
        progress: std::pin::Pin<&mut tokio::sync::futures::Notified<'_>>,
    ) -> Result<(), Error> {
        struct Waiting<'a>(&'a Shared);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.state().wait_for_room(false);
            }
        }
        let shared = &*self.inner.shared;
        shared.state().wait_for_room(true);
        let _waiting = Waiting(shared);
        shared.wake.notify_one();
        let max_block = shared.config.max_block;
        let left = max_block.saturating_sub(now().saturating_duration_since(started));
        tokio::time::timeout(left, progress).await.map_err(|_| {
            let max = shared.config.buffer_bytes_max;
            let text = format!("the buffer of {max} bytes was full for {} ms", max_block.as_millis());
            Error::new(ErrorKind::Timeout, text).api(ApiKey::Produce)
        })
    }

    /// Sends what has been taken so far without lingering, and waits until each of these records is written or given up; the
    /// outcome of each is with its [`Delivery`].
    pub async fn flush(&self) {
        let mark = self.inner.shared.state().flush();
        self.inner.shared.flushed(mark).await;
    }

    /// Takes no more records, and waits for those it has as [`Producer::flush`] does. An open transaction is aborted.
    ///
    /// # Errors
    /// Those of [`Producer::abort_transaction`].
    pub async fn close(&self) -> Result<(), Error> {
        self.inner.shared.closed.store(true, std::sync::atomic::Ordering::Release);
        let is_open = self.inner.shared.state().is_in_transaction();
        if is_open {
            return self.abort_transaction().await;
        }
        self.flush().await;
        Ok(())
    }

    /// Bytes of records that wait or are on their way.
    pub fn buffered_bytes(&self) -> usize {
        self.inner.shared.state().buffered_bytes()
    }
}

impl Shared {
    async fn flushed(&self, mark: u64) {
        self.wake.notify_one();
        loop {
            let mut progress = std::pin::pin!(self.progress.notified());
            progress.as_mut().enable();
            if self.state().is_flushed(mark) {
                return;
            }
            progress.await;
        }
    }
}
