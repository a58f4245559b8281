//! Keys of forebay's own job files, and what a DataWorks job calls them.

/// Keys of `[source]`.
pub(super) const SOURCE: &[(&str, &str)] = &[
    ("brokers", "server"),
    ("topic", "topic"),
    ("group", "groupId"),
    ("partitions", "partition"),
    ("datasource", "datasource"),
    ("key_type", "keyType"),
    ("value_type", "valueType"),
    ("encoding", "encoding"),
    ("header_encoding", "headerEncoding"),
    ("format", "dataFormat"),
    ("delimiter", "fieldDelimiter"),
    ("config", "kafkaConfig"),
    ("offset_lost", "autoOffsetReset"),
    ("time_zone", "timeZone"),
];
/// Keys of `[target]`.
pub(super) const TARGET: &[(&str, &str)] = &[
    ("datasource", "datasource"),
    ("project", "project"),
    ("endpoint", "odpsServer"),
    ("tunnel_endpoint", "tunnelServer"),
    ("schema", "schema"),
    ("quota", "tunnelQuota"),
    ("table", "table"),
    ("truncate", "truncate"),
    ("compression", "uploadCompression"),
    ("empty_as_null", "emptyAsNull"),
    ("over_length", "overLengthRule"),
    ("partitions_max", "dynamicPartitionsMax"),
    ("retries_max", "maxRetryTime"),
    ("pre_sql", "preSql"),
    ("post_sql", "postSql"),
    ("field_bytes_limit", "maxOdpsFieldLength"),
    ("field_bytes_kept", "maxFieldLength"),
    ("over_length_log", "enableOverLengthOutput"),
    ("over_length_log_max", "maxOverLengthOutputCount"),
    ("routed", "supportDynamicPartition"),
    ("partition_formats", "partitionColumnMapping"),
    ("date_zone", "calendarTimeZone"),
];

/// The name of a key in the shape that is read, for `--set source.brokers=…`.
pub(super) fn renamed(set: &str) -> String {
    let Some((top, key)) = set.split_once('.') else { return set.to_owned() };
    let (head, rest) = key.split_once('.').map_or((key, String::new()), |(head, rest)| (head, format!(".{rest}")));
    let table = match top {
        "source" => SOURCE,
        "target" => TARGET,
        _ => return set.to_owned(),
    };
    let name = table.iter().find(|(own, _)| *own == head).map_or(head, |(_, name)| *name);
    format!("{top}.{name}{rest}")
}

/// Keys of `[target.secret]`.
pub(super) const SECRET: &[(&str, &str)] =
    &[("access_id", "accessId"), ("access_key", "accessKey"), ("security_token", "securityToken")];

/// Names of columns here and there: attributes have words of their own, and what begins with `value.` is a member of the
/// record's value.
pub(super) const ATTRIBUTES: &[(&str, &str)] = &[
    ("key", "__key__"),
    ("value", "__value__"),
    ("record.time", "__timestamp__"),
    ("record.offset", "__offset__"),
    ("record.partition", "__partition__"),
    ("record.headers", "__headers__"),
];

/// `value.a.b`, `record.time` and their like as a DataWorks job writes them.
pub(super) fn source_name(name: &str) -> String {
    let name = match name {
        "record.key" => "key",
        "record.value" => "value",
        other => other,
    };
    match ATTRIBUTES.iter().find(|(own, _)| *own == name) {
        Some((_, attribute)) => (*attribute).to_owned(),
        None => name.strip_prefix("value.").unwrap_or(name).to_owned(),
    }
}

/// The other way round; a constant has no name here.
pub(super) fn own_name(name: &str) -> String {
    match ATTRIBUTES.iter().find(|(_, attribute)| *attribute == name) {
        Some((own, _)) => (*own).to_owned(),
        None => format!("value.{name}"),
    }
}
