//! `DescribeConfigs` (32, versions 0 to 4), `AlterConfigs` (33, 0 to 2) and `IncrementalAlterConfigs` (44, 0 and 1). Our own
//! codecs: brokers before 1.1 only have v0 of the first.

use bytes::Bytes;

use crate::wire::{DecodeError, Writer};

use super::fields::Fields;
use super::layout::Layout;
use super::partitions::NamedResult;
use super::{ApiKey, Call, EncodeError, ErrorCode};

/// Asks for the configuration of one thing.
#[derive(Clone, Debug)]
pub struct DescribeConfigsCall {
    /// What kind of thing: 2 a topic, 4 a broker, 8 a broker's loggers, 16 client metrics, 32 a group.
    pub resource_type: i8,
    /// Its name; of a broker, its id, or empty for the defaults of all.
    pub resource_name: String,
    /// The names wanted; none for all.
    pub keys: Option<Vec<String>>,
}

/// The configuration of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribeConfigsAnswer {
    /// How it went.
    pub error: ErrorCode,
    /// What the broker says about the error.
    pub error_message: Option<String>,
    /// The entries, in the broker's order.
    pub entries: Vec<ConfigEntryAnswer>,
}

/// One entry of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntryAnswer {
    /// Its name.
    pub name: String,
    /// Its value; none when it is not set, or a secret.
    pub value: Option<String>,
    /// Whether it cannot be changed.
    pub read_only: bool,
    /// Where the value comes from (KIP-226); none in v0, which only says whether it is a default.
    pub source: Option<i8>,
    /// Whether nobody has set it.
    pub is_default: bool,
    /// Whether it is a secret.
    pub is_sensitive: bool,
    /// The values that stand behind it, in order: name, value, source.
    pub synonyms: Vec<(String, Option<String>, i8)>,
}

/// The source number of a default of Kafka itself.
const SOURCE_DEFAULT: i8 = 5;

/// Replaces the whole configuration of one thing.
#[derive(Clone, Debug)]
pub struct AlterConfigsCall {
    /// As in [`DescribeConfigsCall::resource_type`].
    pub resource_type: i8,
    /// As in [`DescribeConfigsCall::resource_name`].
    pub resource_name: String,
    /// All entries it is to have.
    pub entries: Vec<(String, Option<String>)>,
}

/// Changes some entries of one thing's configuration (KIP-339).
#[derive(Clone, Debug)]
pub struct IncrementalAlterConfigsCall {
    /// As in [`DescribeConfigsCall::resource_type`].
    pub resource_type: i8,
    /// As in [`DescribeConfigsCall::resource_name`].
    pub resource_name: String,
    /// Name, operation (0 set, 1 delete, 2 append, 3 subtract) and value.
    pub changes: Vec<(String, i8, Option<String>)>,
}

impl Call for DescribeConfigsCall {
    const API: ApiKey = ApiKey::DescribeConfigs;
    type Answer = DescribeConfigsAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        layout.put_count(out, 1, "resources")?;
        out.i8(self.resource_type);
        layout.put_string(out, &self.resource_name, "resource_name")?;
        match &self.keys {
            None => layout.put_null_list(out),
            Some(keys) => {
                layout.put_count(out, keys.len(), "configuration_keys")?;
                for key in keys {
                    layout.put_string(out, key, "configuration_keys")?;
                }
            }
        }
        layout.put_no_tags(out);
        if version >= 1 {
            out.i8(1); // with synonyms
        }
        if version >= 3 {
            out.i8(0); // without documentation
        }
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<Self::Answer, DecodeError> {
        let fields = &mut Fields::new(Self::API, version, &body);
        fields.skip(4, "throttle_time_ms")?;
        let mut results = fields.list(9, "results", |fields| {
            let (error, error_message) = (fields.code()?, fields.text_or_null("error_message")?);
            fields.i8("resource_type")?;
            fields.text("resource_name")?;
            let entries = fields.list(5, "configs", |fields| entry(version, fields))?;
            fields.end()?;
            Ok(DescribeConfigsAnswer { error, error_message, entries })
        })?;
        fields.end()?;
        results.pop().ok_or_else(|| missing("results"))
    }
}

fn entry(version: i16, fields: &mut Fields<'_>) -> Result<ConfigEntryAnswer, DecodeError> {
    let (name, value) = (fields.text("name")?, fields.text_or_null("value")?);
    let read_only = fields.flag("read_only")?;
    let (source, is_default) = if version == 0 {
        (None, fields.flag("is_default")?)
    } else {
        let source = fields.i8("config_source")?;
        (Some(source), source == SOURCE_DEFAULT)
    };
    let is_sensitive = fields.flag("is_sensitive")?;
    let mut synonyms = Vec::new();
    if version >= 1 {
        synonyms = fields.list(5, "synonyms", |fields| {
            let synonym = (fields.text("name")?, fields.text_or_null("value")?, fields.i8("source")?);
            fields.end()?;
            Ok(synonym)
        })?;
    }
    if version >= 3 {
        fields.i8("config_type")?;
        fields.text_or_null("documentation")?;
    }
    fields.end()?;
    Ok(ConfigEntryAnswer { name, value, read_only, source, is_default, is_sensitive, synonyms })
}

impl Call for AlterConfigsCall {
    const API: ApiKey = ApiKey::AlterConfigs;
    type Answer = NamedResult;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        layout.put_count(out, 1, "resources")?;
        out.i8(self.resource_type);
        layout.put_string(out, &self.resource_name, "resource_name")?;
        layout.put_count(out, self.entries.len(), "configs")?;
        for (name, value) in &self.entries {
            layout.put_string(out, name, "name")?;
            layout.put_nullable_string(out, value.as_deref(), "value")?;
            layout.put_no_tags(out);
        }
        layout.put_no_tags(out);
        out.i8(0); // not only a check
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<Self::Answer, DecodeError> {
        altered(&mut Fields::new(Self::API, version, &body))
    }
}

impl Call for IncrementalAlterConfigsCall {
    const API: ApiKey = ApiKey::IncrementalAlterConfigs;
    type Answer = NamedResult;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        layout.put_count(out, 1, "resources")?;
        out.i8(self.resource_type);
        layout.put_string(out, &self.resource_name, "resource_name")?;
        layout.put_count(out, self.changes.len(), "configs")?;
        for (name, operation, value) in &self.changes {
            layout.put_string(out, name, "name")?;
            out.i8(*operation);
            layout.put_nullable_string(out, value.as_deref(), "value")?;
            layout.put_no_tags(out);
        }
        layout.put_no_tags(out);
        out.i8(0); // not only a check
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<Self::Answer, DecodeError> {
        altered(&mut Fields::new(Self::API, version, &body))
    }
}

/// Both answers look the same.
fn altered(fields: &mut Fields<'_>) -> Result<NamedResult, DecodeError> {
    fields.skip(4, "throttle_time_ms")?;
    let mut results = fields.list(5, "responses", |fields| {
        let (error, error_message) = (fields.code()?, fields.text_or_null("error_message")?);
        fields.i8("resource_type")?;
        let name = fields.text("resource_name")?;
        fields.end()?;
        Ok(NamedResult { name, error, error_message })
    })?;
    fields.end()?;
    results.pop().ok_or_else(|| missing("responses"))
}

/// The broker left out the one thing that was asked about.
const fn missing(field: &'static str) -> DecodeError {
    DecodeError::new(crate::wire::DecodeFault::BadLength(0), field, 0)
}
