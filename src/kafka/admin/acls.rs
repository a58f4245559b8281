//! Who may do what.

use crate::kafka::ask::Attempt;
use crate::kafka::client::Client;
use crate::kafka::error::Error;
use crate::kafka::msg::{
    AclEntry, AclFilterEntry, ApiKey, CreateAclsCall, DeleteAclsCall, DescribeAclsCall, ErrorCode,
};

macro_rules! numbered {
    ($(#[$doc:meta])* $type:ident { $($name:ident = $code:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        #[allow(missing_docs, reason = "the names are Kafka's")]
        pub enum $type {
            $($name,)*
            /// Something newer, by its number.
            Other(i8),
        }

        impl $type {
            const fn code(self) -> i8 {
                match self { $(Self::$name => $code,)* Self::Other(code) => code }
            }

            const fn of(code: i8) -> Self {
                match code { $($code => Self::$name,)* other => Self::Other(other) }
            }

            /// Kafka's name, such as `TOPIC`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* Self::Other(_) => "UNKNOWN" }
            }

            /// By Kafka's name in any case, with `-`, `_` or nothing between words.
            pub fn parse(text: &str) -> Option<Self> {
                let plain = |text: &str| text.replace(['-', '_'], "").to_ascii_uppercase();
                let wanted = plain(text);
                $(if plain($text) == wanted { return Some(Self::$name); })*
                None
            }
        }
    };
}

numbered! {
    /// What an entry is about.
    AclResource {
        Any = 1 "ANY", Topic = 2 "TOPIC", Group = 3 "GROUP", Cluster = 4 "CLUSTER", TransactionalId = 5 "TRANSACTIONAL_ID",
        DelegationToken = 6 "DELEGATION_TOKEN", User = 7 "USER",
    }
}
numbered! {
    /// How an entry's name is meant. `Match` only in filters: whatever would apply to the name.
    AclPattern { Any = 1 "ANY", Match = 2 "MATCH", Literal = 3 "LITERAL", Prefixed = 4 "PREFIXED", }
}
numbered! {
    /// What is done.
    AclOperation {
        Any = 1 "ANY", All = 2 "ALL", Read = 3 "READ", Write = 4 "WRITE", Create = 5 "CREATE", Delete = 6 "DELETE",
        Alter = 7 "ALTER", Describe = 8 "DESCRIBE", ClusterAction = 9 "CLUSTER_ACTION",
        DescribeConfigs = 10 "DESCRIBE_CONFIGS", AlterConfigs = 11 "ALTER_CONFIGS", IdempotentWrite = 12 "IDEMPOTENT_WRITE",
        CreateTokens = 13 "CREATE_TOKENS", DescribeTokens = 14 "DESCRIBE_TOKENS", TwoPhaseCommit = 15 "TWO_PHASE_COMMIT",
    }
}
numbered! {
    /// Whether it may be done.
    AclPermission { Any = 1 "ANY", Deny = 2 "DENY", Allow = 3 "ALLOW", }
}

/// Who may, or may not, do what with what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acl {
    /// The kind of thing.
    pub resource: AclResource,
    /// Its name, or the beginning of it; `*` is any, and the cluster's is `kafka-cluster`.
    pub name: String,
    /// How the name is meant; only literal before Kafka 2.0.
    pub pattern: AclPattern,
    /// Such as `User:alice`; `User:*` is anybody.
    pub principal: String,
    /// An address; `*` is any.
    pub host: String,
    /// What is done.
    pub operation: AclOperation,
    /// Whether it may be done.
    pub permission: AclPermission,
}

/// Which entries are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclFilter {
    /// The kind of thing.
    pub resource: AclResource,
    /// Its name; none for any.
    pub name: Option<String>,
    /// How names are meant.
    pub pattern: AclPattern,
    /// The principal; none for any.
    pub principal: Option<String>,
    /// The host; none for any.
    pub host: Option<String>,
    /// What is done.
    pub operation: AclOperation,
    /// Whether it may be done.
    pub permission: AclPermission,
}

impl Default for AclFilter {
    /// Meets every entry.
    fn default() -> Self {
        Self {
            resource: AclResource::Any,
            name: None,
            pattern: AclPattern::Any,
            principal: None,
            host: None,
            operation: AclOperation::Any,
            permission: AclPermission::Any,
        }
    }
}

impl Client {
    /// The entries that a filter meets, sorted.
    ///
    /// # Errors
    /// [`Broker`](super::ErrorKind::Broker) with `SECURITY_DISABLED` when the cluster has no authoriser;
    /// [`Auth`](super::ErrorKind::Auth); or the last cause when the deadline for retries passes.
    pub async fn describe_acls(&self, filter: &AclFilter) -> Result<Vec<Acl>, Error> {
        let call = DescribeAclsCall { filter: filter_entry(filter) };
        let mut patience = self.core.patience();
        loop {
            let attempt = match self.core.ask_any(&call).await {
                Ok((_, answer)) if answer.error.is_ok() => {
                    let mut acls: Vec<Acl> = answer.entries.into_iter().map(acl).collect();
                    crate::sorting::sort(&mut acls);
                    return Ok(acls);
                }
                Ok((_, answer)) => Attempt::code(answer.error, answer.error_message.as_deref()),
                Err(attempt) => attempt,
            };
            patience.after(attempt.map(|e| e.api(ApiKey::DescribeAcls))).await?;
        }
    }

    /// Adds entries. Adding one that is there does no harm.
    ///
    /// # Errors
    /// As [`Client::describe_acls`]; the first entry that was refused decides, others may have been added.
    pub async fn create_acls(&self, acls: &[Acl]) -> Result<(), Error> {
        let call = CreateAclsCall { entries: acls.iter().map(entry).collect() };
        let mut patience = self.core.patience();
        loop {
            let attempt = match self.ask_controller(&call).await {
                Ok(results) => match results.into_iter().find(|(code, _)| !code.is_ok()) {
                    None => return Ok(()),
                    Some((code, text)) => Attempt::code(code, text.as_deref()),
                },
                Err(attempt) => attempt,
            };
            patience.after(attempt.map(|e| e.api(ApiKey::CreateAcls))).await?;
        }
    }

    /// Deletes the entries that filters meet, and returns them.
    ///
    /// # Errors
    /// As [`Client::describe_acls`]; some entries may have been deleted.
    pub async fn delete_acls(&self, filters: &[AclFilter]) -> Result<Vec<Acl>, Error> {
        let call = DeleteAclsCall { filters: filters.iter().map(filter_entry).collect() };
        let mut patience = self.core.patience();
        loop {
            let attempt = match self.ask_controller(&call).await {
                Ok(results) => {
                    let failed = results.iter().find(|result| !result.error.is_ok());
                    let failed = failed.map(|result| Attempt::code(result.error, result.error_message.as_deref()));
                    let entries = results.into_iter().flat_map(|result| result.entries);
                    let (gone, kept): (Vec<_>, Vec<_>) = entries.partition(|(_, code)| code.is_ok());
                    match failed.or_else(|| kept.first().map(|(_, code)| Attempt::code(*code, None))) {
                        None => return Ok(gone.into_iter().map(|(found, _)| acl(found)).collect()),
                        Some(attempt) => attempt,
                    }
                }
                Err(attempt) => attempt,
            };
            patience.after(attempt.map(|e| e.api(ApiKey::DeleteAcls))).await?;
        }
    }
}

impl super::HasError for Vec<(ErrorCode, Option<String>)> {
    fn error(&self) -> ErrorCode {
        self.first().map_or(ErrorCode::NONE, |(code, _)| *code)
    }
}

impl super::HasError for Vec<crate::kafka::msg::DeleteAclsAnswer> {
    fn error(&self) -> ErrorCode {
        self.first().map_or(ErrorCode::NONE, |result| result.error)
    }
}

fn entry(acl: &Acl) -> AclEntry {
    AclEntry {
        resource_type: acl.resource.code(),
        resource_name: acl.name.clone(),
        pattern_type: acl.pattern.code(),
        principal: acl.principal.clone(),
        host: acl.host.clone(),
        operation: acl.operation.code(),
        permission: acl.permission.code(),
    }
}

fn acl(entry: AclEntry) -> Acl {
    Acl {
        resource: AclResource::of(entry.resource_type),
        name: entry.resource_name,
        pattern: AclPattern::of(entry.pattern_type),
        principal: entry.principal,
        host: entry.host,
        operation: AclOperation::of(entry.operation),
        permission: AclPermission::of(entry.permission),
    }
}

fn filter_entry(filter: &AclFilter) -> AclFilterEntry {
    AclFilterEntry {
        resource_type: filter.resource.code(),
        resource_name: filter.name.clone(),
        pattern_type: filter.pattern.code(),
        principal: filter.principal.clone(),
        host: filter.host.clone(),
        operation: filter.operation.code(),
        permission: filter.permission.code(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_however_they_are_written() {
        for text in ["describe-configs", "DescribeConfigs", "DESCRIBE_CONFIGS"] {
            assert_eq!(AclOperation::parse(text), Some(AclOperation::DescribeConfigs));
        }
        assert_eq!(AclResource::parse("nothing"), None);
        assert_eq!(AclPermission::of(AclPermission::Allow.code()), AclPermission::Allow);
        assert_eq!(AclOperation::of(99), AclOperation::Other(99));
    }
}
