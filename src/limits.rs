//! Every bound on what a peer, a file or a user may make us hold, in one place.
//!
//! Imports nothing of ours; everything may import it. A bound that a user can change is the *default* or the *ceiling*
//! here; the value in force travels in a configuration struct.

/// Largest Kafka response frame that is read, in bytes; the size field is refused beyond it before memory is taken.
pub const FRAME_BYTES_MAX: usize = 100 * 1024 * 1024;

/// Memory that decoding one control-plane answer may take, in bytes: some 150,000 partitions of a metadata answer.
pub const ANSWER_MEMORY_BYTES_MAX: usize = 48 * 1024 * 1024;

/// Bytes of a frame that are reserved on the word of its size field alone; the rest only as bytes arrive.
pub const FRAME_BYTES_EAGER: usize = 5 * 1024 * 1024;

/// Largest output of decompressing one record batch or message set, in bytes.
pub const DECOMPRESSED_BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Requests of one producer to one broker that are out at a time, with acks=0 too.
pub const PRODUCE_IN_FLIGHT_MAX: usize = 1_000;

/// Answers and compressed batches that wait for a producer's task; those who bring more wait.
pub const PRODUCE_EVENTS_MAX: usize = 256;

/// Largest output of decompressing a control batch, in bytes: one marker of some ten bytes.
pub const CONTROL_BATCH_BYTES_MAX: usize = 64 * 1024;

/// Largest number of headers accepted on one record.
pub const RECORD_HEADERS_MAX: usize = 100_000;

/// Depth of message sets inside message sets (v0, v1): a wrapper and its content.
pub const MESSAGE_SET_DEPTH_MAX: usize = 1;

/// Longest text taken from a peer into one of our error messages, in bytes.
pub const PEER_TEXT_BYTES_MAX: usize = 1024;

/// Longest time that a broker's word for a quota keeps a connection quiet, in milliseconds; brokers ask for seconds.
pub const THROTTLE_MS_MAX: u64 = 60_000;

/// Largest message of a SASL mechanism that is taken from a broker, in bytes.
pub const SASL_MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Fewest rounds of hashing that a broker may ask for in SCRAM (RFC 7677, section 4).
pub const SCRAM_ITERATIONS_MIN: u32 = 4096;

/// Most rounds of hashing that a broker may ask for in SCRAM: under a second of one core.
pub const SCRAM_ITERATIONS_MAX: u32 = 1_000_000;

/// Largest file with a bearer token, in bytes.
pub const TOKEN_FILE_BYTES_MAX: usize = 64 * 1024;

/// Largest answer of an OIDC token endpoint, in bytes.
pub const TOKEN_ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Longest time for which a token that was fetched is kept, in seconds, whatever its provider says.
pub const TOKEN_LIFE_SECONDS_MAX: u64 = 24 * 60 * 60;

/// Largest file with a private key or a certificate chain, in bytes.
pub const KEY_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Blocks of one upload session: ids 0 to 19,999 ("Tunnel SDK", limits).
pub const BLOCKS_PER_SESSION_MAX: u32 = 20_000;

/// Bytes of records that all lanes of a job hold, fetched and on their way, unless the job sets `fetch.max.bytes`.
pub const JOB_FETCH_BYTES: usize = 6 * 1024 * 1024;

/// Least size of one lane's fetch, in bytes.
pub const LANE_FETCH_BYTES_MIN: usize = 256 * 1024;

/// Partitions that one job with routed rows may write unless it says otherwise (odpswriter's least cap).
pub const ROUTED_PARTITIONS_DEFAULT: u32 = 200;

/// Partitions that a job with routed rows may ask for: each is an upload session, of which a table takes 500 in five minutes
/// ("Tunnel SDK", limits).
pub const ROUTED_PARTITIONS_MAX: u32 = 500;

/// Longest value of a partition column, in bytes.
pub const PARTITION_VALUE_BYTES_MAX: usize = 255;

/// Largest field of a row in bytes when the session does not say (`MaxFieldSize`).
pub const FIELD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Longest intent in a group's offset metadata, in bytes: what brokers take by default (`offset.metadata.max.bytes`).
pub const INTENT_BYTES_MAX: usize = 4096;

/// Upload sessions of one sealed batch; a batch that would need more is cut.
pub const INTENT_SESSIONS_MAX: usize = 8;

/// Largest JSON or XML answer read from MaxCompute whole, in bytes.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Largest part of an error answer of MaxCompute, or of a gateway before it, that is read, in bytes.
pub const ERROR_ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Largest window of a zstd body over HTTP, in bytes: what encoders may use there at most (RFC 9659).
pub const BODY_WINDOW_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Largest file of CA certificates, in bytes.
pub const CA_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Largest job or data source file that is read, in bytes.
pub const JOB_FILE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Nesting of a job file: far above what any job needs, far below what a stack holds.
pub const JOB_DEPTH_MAX: usize = 64;

/// Largest secret read by `${file:/path}`, in bytes.
pub const SECRET_FILE_BYTES_MAX: usize = 64 * 1024;

/// Nesting of a MaxCompute type text, such as `array<array<bigint>>`.
pub const TYPE_DEPTH_MAX: usize = 32;

/// Elements of all arrays together in one request to the sandbox's broker.
pub const REQUEST_ELEMENTS_MAX: usize = 200_000;

/// Largest answer to one Fetch of the sandbox's broker, in bytes of records (Kafka's `fetch.max.bytes` of brokers).
pub const SANDBOX_FETCH_BYTES_MAX: usize = 55 * 1024 * 1024;

/// Partitions of all topics together in the sandbox's broker.
pub const SANDBOX_PARTITIONS_MAX: usize = 100_000;

/// Connections the sandbox's broker serves at a time, on each of its ports.
pub const SANDBOX_CONNECTIONS_MAX: usize = 1_000;

/// Members of one consumer group of the sandbox's broker.
pub const SANDBOX_MEMBERS_MAX: usize = 1_000;

/// Groups of the sandbox's broker.
pub const SANDBOX_GROUPS_MAX: usize = 10_000;

const _: () = assert!(SANDBOX_FETCH_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(DECOMPRESSED_BATCH_BYTES_MAX <= FRAME_BYTES_MAX);
