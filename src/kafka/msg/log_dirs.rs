//! `DescribeLogDirs` (35, versions 0 to 4): what lies in a broker's folders. Our own codec.

use bytes::Bytes;

use crate::wire::{DecodeError, Writer};

use super::fields::Fields;
use super::layout::Layout;
use super::{ApiKey, Call, EncodeError, ErrorCode};

/// Asks one broker about its folders.
#[derive(Clone, Debug, Default)]
pub struct DescribeLogDirsCall {
    /// Topics and partitions; none for all.
    pub topics: Option<Vec<(String, Vec<i32>)>>,
}

/// One folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDirAnswer {
    /// `KAFKA_STORAGE_ERROR` for a folder that is offline.
    pub error: ErrorCode,
    /// Its path on the broker.
    pub path: String,
    /// Topics with what is held of them.
    pub topics: Vec<(String, Vec<LogDirPartition>)>,
    /// Size of the volume in bytes, from v4 on.
    pub total_bytes: Option<i64>,
    /// What is free of it.
    pub usable_bytes: Option<i64>,
}

/// One replica in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogDirPartition {
    /// The partition.
    pub partition: i32,
    /// Bytes of its segments.
    pub size: i64,
    /// How far it is behind: the leader's high watermark, or the replica it is to take over from.
    pub offset_lag: i64,
    /// Whether it is being moved here from another folder.
    pub is_future: bool,
}

impl Call for DescribeLogDirsCall {
    const API: ApiKey = ApiKey::DescribeLogDirs;
    type Answer = (ErrorCode, Vec<LogDirAnswer>);

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        match &self.topics {
            None => layout.put_null_list(out),
            Some(topics) => {
                layout.put_count(out, topics.len(), "topics")?;
                for (topic, partitions) in topics {
                    layout.put_string(out, topic, "topic")?;
                    layout.put_count(out, partitions.len(), "partitions")?;
                    partitions.iter().for_each(|partition| out.i32_be(*partition));
                    layout.put_no_tags(out);
                }
            }
        }
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<Self::Answer, DecodeError> {
        let fields = &mut Fields::new(Self::API, version, &body);
        fields.skip(4, "throttle_time_ms")?;
        let error = if version >= 3 { fields.code()? } else { ErrorCode::NONE };
        let dirs = fields.list(4, "results", |fields| dir(version, fields))?;
        fields.end()?;
        Ok((error, dirs))
    }
}

fn dir(version: i16, fields: &mut Fields<'_>) -> Result<LogDirAnswer, DecodeError> {
    let (error, path) = (fields.code()?, fields.text("log_dir")?);
    let topics = fields.list(2, "topics", |fields| {
        let name = fields.text("name")?;
        let partitions = fields.list(21, "partitions", |fields| {
            let (partition, size) = (fields.i32("partition_index")?, fields.i64("partition_size")?);
            let (offset_lag, is_future) = (fields.i64("offset_lag")?, fields.flag("is_future_key")?);
            fields.end()?;
            Ok(LogDirPartition { partition, size, offset_lag, is_future })
        })?;
        fields.end()?;
        Ok((name, partitions))
    })?;
    let (mut total_bytes, mut usable_bytes) = (None, None);
    if version >= 4 {
        total_bytes = Some(fields.i64("total_bytes")?).filter(|bytes| *bytes >= 0);
        usable_bytes = Some(fields.i64("usable_bytes")?).filter(|bytes| *bytes >= 0);
    }
    fields.end()?;
    Ok(LogDirAnswer { error, path, topics, total_bytes, usable_bytes })
}
