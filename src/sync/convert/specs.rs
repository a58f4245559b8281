//! What a job says, as short as can be: for the tests of conversion, and for its measurement in `benches/protocol`.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::job::{
    Begin, Charset, DataFormat, DataPath, End, FieldType, Identity, Isolation, Mode, OdpsConnection, OverLength,
    OverLengthLog, PathStep, ReaderSpec, Routing, Secret, SourceColumn, UploadCompression, WriterColumns, WriterSpec,
};

/// The columns of the reference job's table.
pub(crate) const REFERENCE_TABLE: [&str; 8] =
    ["key", "value", "partition1", "timestamp1", "offset", "t123", "event_id", "tag"];

/// What the reference job reads into them.
pub(crate) fn reference_columns() -> Vec<SourceColumn> {
    vec![
        SourceColumn::Key,
        SourceColumn::Value,
        SourceColumn::Partition,
        SourceColumn::Timestamp,
        SourceColumn::Offset,
        SourceColumn::Constant("123".into()),
        data("event_id"),
        data("tag.desc"),
    ]
}

/// A member of the value, by its dotted path.
pub(crate) fn data(name: &str) -> SourceColumn {
    let steps = name.split('.').map(|step| PathStep::Member(step.to_owned())).collect();
    SourceColumn::Data(DataPath { whole: name.to_owned(), steps })
}

/// A reader of a local topic that gives these columns.
pub(crate) fn reader(columns: Vec<SourceColumn>) -> ReaderSpec {
    ReaderSpec {
        servers: vec!["localhost:9092".into()],
        topic: "t".into(),
        partitions: None,
        columns,
        key_type: FieldType::ByteArray,
        value_type: FieldType::ByteArray,
        encoding: Charset::Utf8,
        header_encoding: Charset::Utf8,
        data_format: DataFormat::Json,
        group: None,
        properties: BTreeMap::new(),
        security: BTreeMap::new(),
        client_id: None,
        isolation: Isolation::ReadUncommitted,
        begin: Begin::LogStart,
        end: End::Latest,
        wait_time: Duration::from_secs(1),
        old_form: true,
        stop_when_poll_empty: true,
        auto_offset_reset: None,
        fetch_min_bytes: 1,
        fetch_wait_max: Duration::from_millis(500),
        fetch_bytes_max: None,
        partition_fetch_bytes_max: None,
        request_timeout: None,
        connect_timeout: None,
        retry_backoff: None,
        session_timeout: Duration::from_secs(30),
        commit_offsets: false,
        time_zone: TimeZone::UTC,
    }
}

/// A writer of a table's columns of these names.
pub(crate) fn writer(columns: &[&str]) -> WriterSpec {
    WriterSpec {
        connection: OdpsConnection {
            project: "p".into(),
            endpoint: "http://localhost/api".into(),
            tunnel_endpoint: None,
            identity: Identity::AccessKey,
            access_id: String::new(),
            access_key: Secret::new(String::new()),
            security_token: None,
            schema: None,
            quota: None,
            region: None,
            source: String::new(),
        },
        table: "t".into(),
        partition: String::new(),
        columns: WriterColumns::Named(columns.iter().map(|name| (*name).to_owned()).collect()),
        mode: Mode::Batch,
        truncate: true,
        empty_as_null: false,
        block_bytes: 1 << 26,
        retries_max: 1,
        upload_compression: UploadCompression::None,
        over_length: OverLength::KeepOn,
        odps_field_bytes_max: 1 << 23,
        field_bytes_max: 1 << 23,
        over_length_log: OverLengthLog { enabled: true, count_max: None },
        pre_sql: Vec::new(),
        post_sql: Vec::new(),
        write_timeout: Duration::from_secs(600),
        routing: Routing::default(),
        date_zone: None,
    }
}
