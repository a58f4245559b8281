//! What a job says, checked and complete: the one description that every file shape becomes.
//!
//! Nothing here reads a file or the clock. A value of these types is valid by construction of [`super::load`]: ranges have
//! exactly one begin and one end, names are resolved, defaults are filled in. What needs the cluster or the table (offsets of
//! a time, column types, partition columns) is still open and belongs to `sync::plan`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::datasource::OdpsConnection;
use super::date_format::DateFormat;
use super::report::Note;
use super::secret::Secret;
use crate::limits::ROUTED_PARTITIONS_DEFAULT;

/// One job: a Kafka topic, a MaxCompute table, and the rules between them.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSpec {
    /// The file's name without folders and extension; `stdin` when the text came from there.
    pub name: String,
    /// Which of the two file shapes the job was written in.
    pub shape: Shape,
    /// Where records come from, and which of them.
    pub reader: ReaderSpec,
    /// Where rows go.
    pub writer: WriterSpec,
    /// Limits that belong to the job as a whole.
    pub settings: Settings,
    /// The job goes on after the end of the log, until it is stopped (TOML without `stop`). [`ReaderSpec::end`] then means
    /// nothing.
    pub unbounded: bool,
    /// When a continuous batch job commits (`[limits] commit_every`).
    pub batch: BatchLimits,
    /// Bytes that the job may hold at a time (`[limits] memory_max`).
    pub memory_max: Option<u64>,
    /// Where dirty records are to go (`[dirty]`).
    pub dead_letters: Option<DeadLetters>,
    /// What the reader of the log should know: deviations, ignored keys, resolved variables. In file order.
    pub notes: Vec<Note>,
    /// The job as it runs (variables and overrides filled in) with secrets starred, as JSON of two-space indentation.
    pub redacted_json: String,
}

/// When a continuous batch job commits: whatever comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchLimits {
    /// Rows of one commit.
    pub rows: Option<u64>,
    /// Bytes of one commit.
    pub bytes: Option<u64>,
    /// Age of the first row of a commit.
    pub age: Option<Duration>,
}

/// Where dirty records go beside the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadLetters {
    /// A topic of the same cluster.
    Topic(String),
    /// A file.
    File(String),
}

/// How rows get into the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// An upload session: all rows or none, visible at its commit.
    #[default]
    Batch,
    /// A stream session: visible within seconds, at least once.
    Stream,
}

/// The file shape of a job; some defaults differ (`truncate`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Script mode of DataWorks: `type`, `steps`, `order`, `setting`.
    DataWorks,
    /// DataX: `job.content[0].reader` and `.writer`.
    DataX,
    /// TOML of forebay's own: `[source]`, `[target]`, `[[columns]]`.
    Forebay,
}

/// The Kafka side of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct ReaderSpec {
    /// Bootstrap addresses, `host:port`, at least one.
    pub servers: Vec<String>,
    /// The one topic that is read.
    pub topic: String,
    /// Partitions to read, ascending and without repetition; `None` = all of the topic.
    pub partitions: Option<Vec<i32>>,
    /// What each row is made of; entry *i* feeds writer column *i*. Never empty.
    pub columns: Vec<SourceColumn>,
    /// How the bytes of `__key__` are read.
    pub key_type: FieldType,
    /// How the bytes of `__value__` are read.
    pub value_type: FieldType,
    /// Charset of text keys and values, of JSON, and of byte arrays shown as text.
    pub encoding: Charset,
    /// Charset of header values.
    pub header_encoding: Charset,
    /// How a value is taken apart for the data columns.
    pub data_format: DataFormat,
    /// The consumer group whose offsets are read and committed; `None` when the job names none.
    pub group: Option<String>,
    /// Consumer properties of `kafkaConfig` (the data source's first, the job's over them) that mean something here and have
    /// no field of their own. No secrets.
    pub properties: BTreeMap<String, String>,
    /// Properties of `kafkaConfig` about TLS and login, `security.protocol` always among them.
    pub security: BTreeMap<String, Secret>,
    /// `client.id`, when given.
    pub client_id: Option<String>,
    /// Whether records of open and aborted transactions are read.
    pub isolation: Isolation,
    /// First record, inclusive; the same rule for every partition.
    pub begin: Begin,
    /// First record that is no longer read.
    pub end: End,
    /// How long no partition may give a record before a caught-up job counts as finished (`waitTime`).
    pub wait_time: Duration,
    /// The job is of the old form: it has neither `beginType` nor `endType` nor `stopWhenPollEmpty`. Then every partition's
    /// target is at most its log end at the start, so the job never waits for records that do not exist yet.
    pub old_form: bool,
    /// Whether an empty poll of `wait_time` ends the job: as written, else true for `old_form` and false otherwise.
    pub stop_when_poll_empty: bool,
    /// What to do when the begin offset no longer exists; `None` = nothing was said, which fails like [`Reset::None`].
    pub auto_offset_reset: Option<Reset>,
    /// `fetch.min.bytes`: least bytes of an answer, 1 or more.
    pub fetch_min_bytes: u32,
    /// `fetch.max.wait.ms`: longest time a broker holds a fetch back.
    pub fetch_wait_max: Duration,
    /// `fetch.max.bytes`: most bytes of one fetch answer, when given.
    pub fetch_bytes_max: Option<u32>,
    /// `max.partition.fetch.bytes`: most bytes of one partition in an answer, when given.
    pub partition_fetch_bytes_max: Option<u32>,
    /// `request.timeout.ms`, when given.
    pub request_timeout: Option<Duration>,
    /// `socket.connection.setup.timeout.ms`, when given.
    pub connect_timeout: Option<Duration>,
    /// `retry.backoff.ms`, when given.
    pub retry_backoff: Option<Duration>,
    /// `sessionTimeoutMs`: session of a group member.
    pub session_timeout: Duration,
    /// Whether offsets are committed to [`group`](Self::group) once MaxCompute has committed. Always false without a group.
    pub commit_offsets: bool,
    /// The zone in which begin and end date-times were read.
    pub time_zone: TimeZone,
}

/// Where reading starts, in every partition that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// This offset, inclusive, 0 or more.
    Offset(i64),
    /// The oldest record (`seekToBeginning`, `beginType: earliest`).
    LogStart,
    /// The log end at the start of the job (`seekToEnd`).
    LogEnd,
    /// The committed offset of the group (`seekToLast`, `beginType: current`).
    Group,
    /// The first record whose timestamp is at or after this one, in milliseconds since 1970.
    Time(i64),
}

/// Where reading stops, in every partition that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// This offset, exclusive.
    Offset(i64),
    /// Before the first record whose timestamp is at or after this one, in milliseconds since 1970.
    Time(i64),
    /// The log end at the start of the job.
    Latest,
}

/// What happens when a begin offset is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// The job fails.
    None,
    /// Go to the oldest record.
    Earliest,
    /// Go to the log end.
    Latest,
}

/// Which records of transactions are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// All records, also of open and aborted transactions; Kafka's default.
    ReadUncommitted,
    /// Only records up to the last stable offset whose transaction was committed.
    ReadCommitted,
}

/// What one cell of a row is made from. `Display` gives the text that stands in the job file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceColumn {
    /// The same text in every row; may be empty.
    Constant(String),
    /// `__key__`, read by `key_type`; no key = NULL.
    Key,
    /// `__value__`, read by `value_type`; a tombstone = NULL.
    Value,
    /// `__partition__`.
    Partition,
    /// `__offset__`.
    Offset,
    /// `__timestamp__`, milliseconds since 1970; -1 = NULL.
    Timestamp,
    /// `__headers__`, a JSON array of `{"key":…,"value":…}`.
    Headers,
    /// A member of a JSON value ([`DataFormat::Json`]).
    Data(DataPath),
    /// A field of a delimited value, counted from 0 ([`DataFormat::Text`]).
    Field(usize),
}

/// The name of a data column: a literal member first, a path if there is no such member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataPath {
    /// The name as written, to be looked up whole first.
    pub whole: String,
    /// The name split at dots and brackets, never empty. A plain name has one step, equal to `whole`.
    pub steps: Vec<PathStep>,
}

/// One step of a path into a JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathStep {
    /// A member of an object.
    Member(String),
    /// An element of an array, counted from 0.
    Index(usize),
}

/// How key or value bytes become a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// The bytes themselves.
    ByteArray,
    /// 8 bytes, big-endian.
    Double,
    /// 4 bytes, big-endian.
    Float,
    /// 4 bytes, big-endian.
    Integer,
    /// 8 bytes, big-endian.
    Long,
    /// 2 bytes, big-endian.
    Short,
    /// Text in the reader's charset.
    String,
}

/// How a record's value is split into data columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataFormat {
    /// A JSON document; columns are members.
    Json,
    /// Fields between delimiters; columns are positions.
    Text {
        /// The text between two fields, one character or more.
        delimiter: String,
    },
}

/// A character set a job may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// UTF-8.
    Utf8,
    /// GBK, two bytes at most.
    Gbk,
    /// GB 18030, four bytes at most.
    Gb18030,
    /// ISO-8859-1: byte = code point, not windows-1252.
    Iso8859_1,
    /// US-ASCII: bytes from 0x80 on are malformed.
    UsAscii,
}

/// The MaxCompute side of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct WriterSpec {
    /// Where and as whom.
    pub connection: OdpsConnection,
    /// The table's name, without project and schema.
    pub table: String,
    /// Partition text in the form `a=1,b=2`, in the order written; empty for an unpartitioned table, and for a job whose
    /// `column` names the partition columns. As it stands in the file where [`Routing::levels`] has taken it apart.
    pub partition: String,
    /// The columns that are written, by position.
    pub columns: WriterColumns,
    /// How rows get there (`mode`, a key of forebay's own).
    pub mode: Mode,
    /// Whether the run replaces what the table or partition holds.
    pub truncate: bool,
    /// Whether an empty text becomes NULL.
    pub empty_as_null: bool,
    /// Size at which a block is closed, in bytes; 8 MiB to 512 MiB.
    pub block_bytes: u64,
    /// How blocks are packed on their way (`uploadCompression`, a key of forebay's own).
    pub upload_compression: UploadCompression,
    /// Attempts of a failing request, 1 to 10.
    pub retries_max: u32,
    /// What happens to a text or binary value longer than `odps_field_bytes_max`.
    pub over_length: OverLength,
    /// Length in bytes from which `over_length` acts (`maxOdpsFieldLength`); the session's own limit counts if it is smaller.
    pub odps_field_bytes_max: usize,
    /// Length in bytes that [`OverLength::Truncate`] keeps (`maxFieldLength`).
    pub field_bytes_max: usize,
    /// Whether over-length values are logged, and how many of them at most (`None` = the default).
    pub over_length_log: OverLengthLog,
    /// Statements run before the session is created; none is blank.
    pub pre_sql: Vec<String>,
    /// Statements run after the commit; none is blank.
    pub post_sql: Vec<String>,
    /// Time allowed for one block.
    pub write_timeout: Duration,
    /// What the job says about routing rows to partitions by their content.
    pub routing: Routing,
    /// Zone in which a DATE is read and written when it differs from the job's (`calendarTimeZone`).
    pub date_zone: Option<TimeZone>,
}

/// How blocks are packed on their way to MaxCompute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UploadCompression {
    /// As they are: the least work here.
    #[default]
    None,
    /// zlib, which every service knows.
    Deflate,
    /// Snappy frames.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// zstd.
    Zstd,
}

/// Which columns of the table are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriterColumns {
    /// `["*"]`: every column that is not a partition column, in table order.
    All,
    /// These, in this order; names compare without regard to case and do not repeat.
    Named(Vec<String>),
}

/// What becomes of a value over the length limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverLength {
    /// Sent as it is; the service decides.
    KeepOn,
    /// Cut at a character boundary.
    Truncate,
    /// Replaced by NULL.
    SetNull,
}

/// How over-length values are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLengthLog {
    /// `enableOverLengthOutput`.
    pub enabled: bool,
    /// `maxOverLengthOutputCount`.
    pub count_max: Option<u64>,
}

/// Routing of rows to table partitions by what each record holds.
///
/// Two ways lead there. `column` names all partition columns of the table (DataX's rule, decided once the table is known), or
/// `partition` has values in braces ([`Routing::levels`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routing {
    /// `supportDynamicPartition` as written.
    pub wanted: Option<bool>,
    /// `partitionColumnMapping`: how partition columns that `column` names are formatted.
    pub mapping: Vec<PartitionFormat>,
    /// The levels of a `partition` with braces, in the order written; empty for any other.
    pub levels: Vec<RoutedLevel>,
    /// Most partitions that one run may write (`dynamicPartitionsMax`, a key of forebay's own).
    pub partitions_max: u32,
}

impl Default for Routing {
    fn default() -> Self {
        Self { wanted: None, mapping: Vec::new(), levels: Vec::new(), partitions_max: ROUTED_PARTITIONS_DEFAULT }
    }
}

/// How the value of one partition column is made from a date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionFormat {
    /// The partition column.
    pub name: String,
    /// The pattern of the source, when that is a text.
    pub source_format: Option<DateFormat>,
    /// The pattern of the partition value.
    pub format: DateFormat,
}

/// One level of a partition that is made from each record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutedLevel {
    /// The partition column.
    pub key: String,
    /// What its value is put together from, never empty.
    pub pieces: Vec<PartitionPiece>,
}

/// A part of a partition's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionPiece {
    /// The same text for every record.
    Text(String),
    /// What a source column holds.
    Value {
        /// The column.
        source: SourceColumn,
        /// How a date is written; `None` takes the value as it is.
        format: Option<DateFormat>,
        /// How a text is read as a date; `None` takes the forms of date columns.
        source_format: Option<DateFormat>,
    },
}

/// Limits of the job as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// When dirty rows fail the job.
    pub dirty_limit: DirtyLimit,
    /// Upper bound of concurrent fetches and block uploads, 1 to 32.
    pub concurrent: u32,
    /// Bytes read from Kafka a second, over the whole job.
    pub bytes_per_second: Option<u64>,
    /// Records read from Kafka a second, over the whole job.
    pub records_per_second: Option<u64>,
    /// Check everything and transfer nothing.
    pub dry_run: bool,
    /// The job's zone (`common.column.timeZone`, else GMT+8): date text without a zone, dates, and variables.
    pub time_zone: TimeZone,
}

/// The limit of dirty rows. Both fields empty = unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DirtyLimit {
    /// More dirty rows than this fail the job; 0 = the first one does.
    pub records: Option<u64>,
    /// A larger share of dirty rows than this fails the job at its end, 0.0 to 1.0. Counts only when `records` is empty.
    pub percentage: Option<f64>,
}

impl fmt::Display for SourceColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(text) => write!(f, "'{text}'"),
            Self::Key => f.write_str("__key__"),
            Self::Value => f.write_str("__value__"),
            Self::Partition => f.write_str("__partition__"),
            Self::Offset => f.write_str("__offset__"),
            Self::Timestamp => f.write_str("__timestamp__"),
            Self::Headers => f.write_str("__headers__"),
            Self::Data(path) => f.write_str(&path.whole),
            Self::Field(index) => write!(f, "{index}"),
        }
    }
}

impl fmt::Display for Charset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Utf8 => "UTF-8",
            Self::Gbk => "GBK",
            Self::Gb18030 => "GB18030",
            Self::Iso8859_1 => "ISO-8859-1",
            Self::UsAscii => "US-ASCII",
        })
    }
}

impl fmt::Display for Begin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(offset) => write!(f, "offset {offset}"),
            Self::LogStart => f.write_str("log start"),
            Self::LogEnd => f.write_str("log end at the start"),
            Self::Group => f.write_str("committed offset of the group"),
            Self::Time(ms) => write!(f, "time {}", Instant(*ms)),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(offset) => write!(f, "offset {offset}"),
            Self::Time(ms) => write!(f, "time {}", Instant(*ms)),
            Self::Latest => f.write_str("log end at the start"),
        }
    }
}

/// Milliseconds since 1970 as a readable instant, or the number when no calendar reaches it.
struct Instant(i64);

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(instant) => write!(f, "{instant}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}
