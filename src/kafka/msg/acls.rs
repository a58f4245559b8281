//! `DescribeAcls` (29), `CreateAcls` (30) and `DeleteAcls` (31), versions 0 to 3. Our own codecs: brokers before 2.0 only have v0,
//! which knows no patterns.

use bytes::Bytes;

use crate::wire::{DecodeError, Writer};

use super::fields::Fields;
use super::layout::Layout;
use super::{ApiKey, Call, EncodeError, ErrorCode};

/// The number of the pattern type "this very name".
pub const PATTERN_LITERAL: i8 = 3;

/// Who may do what with what; numbers as Kafka's `AclBinding` has them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AclEntry {
    /// 2 topic, 3 group, 4 cluster, 5 transactional id, 6 delegation token, 7 user.
    pub resource_type: i8,
    /// The name, or its beginning.
    pub resource_name: String,
    /// 3 literal, 4 prefixed.
    pub pattern_type: i8,
    /// Such as `User:alice`.
    pub principal: String,
    /// An address, or `*`.
    pub host: String,
    /// 2 all, 3 read, 4 write, 5 create, 6 delete, 7 alter, 8 describe, ….
    pub operation: i8,
    /// 2 deny, 3 allow.
    pub permission: i8,
}

/// Which entries are meant: 1 is any of each kind, none is any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclFilterEntry {
    /// Resource type.
    pub resource_type: i8,
    /// Name.
    pub resource_name: Option<String>,
    /// Pattern type; 2 matches whatever would apply to the name.
    pub pattern_type: i8,
    /// Principal.
    pub principal: Option<String>,
    /// Host.
    pub host: Option<String>,
    /// Operation.
    pub operation: i8,
    /// Permission.
    pub permission: i8,
}

/// Asks for the entries that a filter meets.
#[derive(Clone, Debug)]
pub struct DescribeAclsCall {
    /// The filter.
    pub filter: AclFilterEntry,
}

/// The entries found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribeAclsAnswer {
    /// `SECURITY_DISABLED` without an authoriser.
    pub error: ErrorCode,
    /// What the broker says about the error.
    pub error_message: Option<String>,
    /// The entries.
    pub entries: Vec<AclEntry>,
}

/// Adds entries.
#[derive(Clone, Debug)]
pub struct CreateAclsCall {
    /// The entries.
    pub entries: Vec<AclEntry>,
}

/// Deletes the entries that filters meet.
#[derive(Clone, Debug)]
pub struct DeleteAclsCall {
    /// The filters.
    pub filters: Vec<AclFilterEntry>,
}

/// What one filter deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteAclsAnswer {
    /// How it went.
    pub error: ErrorCode,
    /// What the broker says about the error.
    pub error_message: Option<String>,
    /// The entries it met, each with how its deletion went.
    pub entries: Vec<(AclEntry, ErrorCode)>,
}

/// v0 can only mean names as they are.
const fn needs_v1(pattern_type: i8) -> bool {
    pattern_type != PATTERN_LITERAL && pattern_type != 1
}

fn put_filter(layout: Layout, version: i16, filter: &AclFilterEntry, out: &mut Writer) -> Result<(), EncodeError> {
    if version == 0 && needs_v1(filter.pattern_type) {
        return Err(no_patterns());
    }
    out.i8(filter.resource_type);
    layout.put_nullable_string(out, filter.resource_name.as_deref(), "resource_name_filter")?;
    if version >= 1 {
        out.i8(filter.pattern_type);
    }
    layout.put_nullable_string(out, filter.principal.as_deref(), "principal_filter")?;
    layout.put_nullable_string(out, filter.host.as_deref(), "host_filter")?;
    out.i8(filter.operation);
    out.i8(filter.permission);
    Ok(())
}

fn no_patterns() -> EncodeError {
    EncodeError {
        field: "pattern_type",
        reason: "this broker knows literal names only (patterns came with 2.0)".into(),
    }
}

impl Call for DescribeAclsCall {
    const API: ApiKey = ApiKey::DescribeAcls;
    type Answer = DescribeAclsAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        put_filter(layout, version, &self.filter, out)?;
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<Self::Answer, DecodeError> {
        let fields = &mut Fields::new(Self::API, version, &body);
        fields.skip(4, "throttle_time_ms")?;
        let (error, error_message) = (fields.code()?, fields.text_or_null("error_message")?);
        let resources = fields.list(3, "resources", |fields| {
            let (resource_type, resource_name) = (fields.i8("resource_type")?, fields.text("resource_name")?);
            let pattern_type = if version >= 1 { fields.i8("pattern_type")? } else { PATTERN_LITERAL };
            let entries = fields.list(4, "acls", |fields| {
                let (principal, host) = (fields.text("principal")?, fields.text("host")?);
                let (operation, permission) = (fields.i8("operation")?, fields.i8("permission_type")?);
                fields.end()?;
                let resource_name = resource_name.clone();
                Ok(AclEntry { resource_type, resource_name, pattern_type, principal, host, operation, permission })
            })?;
            fields.end()?;
            Ok(entries)
        })?;
        fields.end()?;
        Ok(DescribeAclsAnswer { error, error_message, entries: resources.into_iter().flatten().collect() })
    }
}

impl Call for CreateAclsCall {
    const API: ApiKey = ApiKey::CreateAcls;
    type Answer = Vec<(ErrorCode, Option<String>)>;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        layout.put_count(out, self.entries.len(), "creations")?;
        for entry in &self.entries {
            if version == 0 && needs_v1(entry.pattern_type) {
                return Err(no_patterns());
            }
            out.i8(entry.resource_type);
            layout.put_string(out, &entry.resource_name, "resource_name")?;
            if version >= 1 {
                out.i8(entry.pattern_type);
            }
            layout.put_string(out, &entry.principal, "principal")?;
            layout.put_string(out, &entry.host, "host")?;
            out.i8(entry.operation);
            out.i8(entry.permission);
            layout.put_no_tags(out);
        }
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<Self::Answer, DecodeError> {
        let fields = &mut Fields::new(Self::API, version, &body);
        fields.skip(4, "throttle_time_ms")?;
        let results = fields.list(3, "results", |fields| {
            let result = (fields.code()?, fields.text_or_null("error_message")?);
            fields.end()?;
            Ok(result)
        })?;
        fields.end()?;
        Ok(results)
    }
}

impl Call for DeleteAclsCall {
    const API: ApiKey = ApiKey::DeleteAcls;
    type Answer = Vec<DeleteAclsAnswer>;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        layout.put_count(out, self.filters.len(), "filters")?;
        for filter in &self.filters {
            put_filter(layout, version, filter, out)?;
            layout.put_no_tags(out);
        }
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<Self::Answer, DecodeError> {
        let fields = &mut Fields::new(Self::API, version, &body);
        fields.skip(4, "throttle_time_ms")?;
        let results = fields.list(4, "filter_results", |fields| {
            let (error, error_message) = (fields.code()?, fields.text_or_null("error_message")?);
            let entries = fields.list(10, "matching_acls", |fields| matching(version, fields))?;
            fields.end()?;
            Ok(DeleteAclsAnswer { error, error_message, entries })
        })?;
        fields.end()?;
        Ok(results)
    }
}

fn matching(version: i16, fields: &mut Fields<'_>) -> Result<(AclEntry, ErrorCode), DecodeError> {
    let error = fields.code()?;
    fields.text_or_null("error_message")?;
    let (resource_type, resource_name) = (fields.i8("resource_type")?, fields.text("resource_name")?);
    let pattern_type = if version >= 1 { fields.i8("pattern_type")? } else { PATTERN_LITERAL };
    let (principal, host) = (fields.text("principal")?, fields.text("host")?);
    let (operation, permission) = (fields.i8("operation")?, fields.i8("permission_type")?);
    fields.end()?;
    Ok((AclEntry { resource_type, resource_name, pattern_type, principal, host, operation, permission }, error))
}
