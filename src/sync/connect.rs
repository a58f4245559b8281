//! A job's settings as those of the two clients, and what the clients' errors mean for a run.

use super::budget::Budget;
use super::error::{RunError, RunErrorKind};
use crate::job::{self, JobSpec, OdpsConnection, UploadCompression};
use crate::kafka::{self, ClientConfig, ConsumerConfig, Isolation};
use crate::limits::LANE_FETCH_BYTES_MIN;
use crate::tunnel::encode::Compression;
use crate::tunnel::{self, Credentials, MaxComputeConfig};

pub(super) fn config(message: String) -> RunError {
    RunError::new(RunErrorKind::Config, message)
}

pub(super) fn isolation(spec: &JobSpec) -> Isolation {
    match spec.reader.isolation {
        job::Isolation::ReadUncommitted => Isolation::ReadUncommitted,
        job::Isolation::ReadCommitted => Isolation::ReadCommitted,
    }
}

pub(super) fn client_config(spec: &JobSpec) -> Result<ClientConfig, RunError> {
    let reader = &spec.reader;
    let mut config = ClientConfig::new(&reader.servers);
    if let Some(id) = &reader.client_id {
        config.client_id.clone_from(id);
    }
    if let Some(timeout) = reader.request_timeout {
        config.request_timeout = timeout;
    }
    if let Some(timeout) = reader.connect_timeout {
        config.connect_timeout = timeout;
    }
    if let Some(backoff) = reader.retry_backoff {
        config.retry_backoff = backoff;
    }
    for (name, value) in &reader.properties {
        config.set_property(name, value).map_err(|error| kafka_failure(&error))?;
    }
    for (name, value) in &reader.security {
        config.set_property(name, value.expose()).map_err(|error| kafka_failure(&error))?;
    }
    Ok(config)
}

/// The shares of a job's memory among the lanes that read `partitions` partitions.
pub(super) fn budget(spec: &JobSpec, partitions: usize) -> Budget {
    let lanes = usize::try_from(spec.settings.concurrent).unwrap_or(1).clamp(1, partitions.max(1));
    Budget::new(spec.memory_max, lanes)
}

/// How one lane fetches. What is fetched ahead is bounded over all of them, unless the job sets sizes itself.
pub(super) fn consumer_config(spec: &JobSpec, budget: &Budget) -> ConsumerConfig {
    let reader = &spec.reader;
    let mut config = ConsumerConfig { isolation: isolation(spec), ..ConsumerConfig::default() };
    let size = |bytes: u32| usize::try_from(bytes).unwrap_or(usize::MAX);
    config.bytes_min = size(reader.fetch_min_bytes);
    config.wait_ms_max = u32::try_from(reader.fetch_wait_max.as_millis()).unwrap_or(u32::MAX);
    let share = budget.fetch_bytes.min(config.fetch_bytes_max);
    config.fetch_bytes_max = reader.fetch_bytes_max.map_or(share, size);
    config.buffer_bytes_max = match spec.memory_max {
        Some(_) => budget.buffer_bytes,
        None => config.fetch_bytes_max.max(LANE_FETCH_BYTES_MIN),
    };
    config.partition_bytes_max = config.partition_bytes_max.min(config.fetch_bytes_max);
    if let Some(bytes) = reader.partition_fetch_bytes_max {
        config.partition_bytes_max = size(bytes);
    }
    config
}

/// The client's configuration for a resolved connection; everything else stays at its default.
pub(crate) fn maxcompute_config(connection: &OdpsConnection) -> MaxComputeConfig {
    let credentials = match &connection.identity {
        job::Identity::AccessKey => {
            let key = Credentials::new(&connection.access_id, connection.access_key.expose());
            match &connection.security_token {
                Some(token) => key.with_security_token(token.expose()),
                None => key,
            }
        }
        job::Identity::Bearer(token) => Credentials::bearer(token.expose()),
        job::Identity::EcsRole { role, endpoint, allow_v1 } => {
            let endpoint = endpoint.as_deref().unwrap_or(Credentials::ECS_METADATA);
            Credentials::ecs_role_at(endpoint, role.as_deref(), *allow_v1)
        }
        job::Identity::Uri(uri) => Credentials::from_uri(uri.expose()),
    };
    let mut config = MaxComputeConfig::new(&connection.endpoint, &connection.project, credentials);
    config.tunnel_endpoint.clone_from(&connection.tunnel_endpoint);
    config.schema.clone_from(&connection.schema);
    config.quota.clone_from(&connection.quota);
    config.region.clone_from(&connection.region);
    config
}

/// What a Tunnel error means for a run.
pub(super) fn tunnel_error_kind(error: &tunnel::Error) -> RunErrorKind {
    use tunnel::ErrorKind as Kind;
    match error.kind() {
        Kind::Config | Kind::NoSuchTable | Kind::NoSuchProject | Kind::NoSuchPartition | Kind::OverwriteNotAllowed => {
            RunErrorKind::Config
        }
        Kind::Auth | Kind::Forbidden => RunErrorKind::Auth,
        Kind::Throttled | Kind::Unavailable | Kind::UnknownOutcome | Kind::TransactionConflict => {
            RunErrorKind::Unavailable
        }
        _ => RunErrorKind::Failed,
    }
}

pub(super) fn tunnel_failure(error: &tunnel::Error) -> RunError {
    use tunnel::ErrorKind as Kind;
    let failure = RunError::new(tunnel_error_kind(error), error.to_string());
    match error.kind() {
        Kind::NoSuchTable => failure.advise("create the table first, for example with: forebay sql -f table.sql"),
        Kind::NoSuchProject => failure.advise("check project and endpoint of the data source"),
        Kind::Auth => failure.advise("check access_id and access_key of the data source, and this host's clock"),
        Kind::Forbidden => failure.advise("ask the project's owner for the missing permission"),
        Kind::Unavailable => failure.advise("check endpoint and tunnel_endpoint of the data source"),
        _ => failure,
    }
}

/// What a Kafka error means for a run.
pub(super) fn kafka_failure(error: &kafka::Error) -> RunError {
    use kafka::ErrorKind as Kind;
    let kind = match error.kind() {
        Kind::Config | Kind::UnknownTopic | Kind::UnknownPartition | Kind::Unsupported => RunErrorKind::Config,
        Kind::Auth => RunErrorKind::Auth,
        Kind::OffsetOutOfRange { .. } | Kind::TopicDeleted | Kind::Decode => RunErrorKind::SafetyStop,
        Kind::Connect | Kind::Timeout | Kind::UnknownOutcome | Kind::Closed => RunErrorKind::Unavailable,
        _ => RunErrorKind::Failed,
    };
    let failure = RunError::new(kind, error.to_string()).of_partition(error.partition_index());
    match error.kind() {
        Kind::Connect => failure
            .advise("check the reader's server, and that the broker's advertised listeners can be reached from here"),
        Kind::UnknownTopic => {
            failure.advise("list the topics with: forebay kafka topics --list --bootstrap-server HOST:PORT")
        }
        _ => failure,
    }
}

/// A failure of a call on an upload session, which may be over.
pub(super) fn session_failure(message: String, error: &tunnel::Error) -> RunError {
    let failure = RunError::new(tunnel_error_kind(error), message);
    match error.kind() {
        tunnel::ErrorKind::SessionDead | tunnel::ErrorKind::StatusConflict => failure.advise(
            "an upload session lives for 24 hours: run the job again, over a smaller range or with a higher speed.concurrent \
             if it needs longer",
        ),
        tunnel::ErrorKind::SchemaChanged => failure.advise("the table was altered while the job ran: run it again"),
        _ => failure,
    }
}

/// How blocks are packed.
pub(super) const fn compression(spec: &JobSpec) -> Compression {
    match spec.writer.upload_compression {
        UploadCompression::None => Compression::None,
        UploadCompression::Deflate => Compression::Deflate,
        UploadCompression::Snappy => Compression::Snappy,
        UploadCompression::Lz4 => Compression::Lz4,
        UploadCompression::Zstd => Compression::Zstd,
    }
}
