//! `DescribeUserScramCredentials` (50) and `AlterUserScramCredentials` (51), version 0 (KIP-554). Our own codecs.

use std::fmt;

use bytes::Bytes;

use crate::wire::{DecodeError, Writer};

use super::fields::Fields;
use super::layout::Layout;
use super::partitions::NamedResult;
use super::{ApiKey, Call, EncodeError, ErrorCode};

/// Asks which users can log in by SCRAM.
#[derive(Clone, Debug)]
pub struct DescribeScramUsersCall {
    /// The users; none for all.
    pub users: Option<Vec<String>>,
}

/// The answer to a [`DescribeScramUsersCall`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribeScramUsersAnswer {
    /// How the whole went.
    pub error: ErrorCode,
    /// What the broker says about the error.
    pub error_message: Option<String>,
    /// The users.
    pub users: Vec<ScramUserAnswer>,
}

/// One user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScramUserAnswer {
    /// The name.
    pub user: String,
    /// `RESOURCE_NOT_FOUND` for one who has no such credentials.
    pub error: ErrorCode,
    /// What the broker says about the error.
    pub error_message: Option<String>,
    /// Mechanism (1 SCRAM-SHA-256, 2 SCRAM-SHA-512) and iterations.
    pub credentials: Vec<(i8, i32)>,
}

/// Adds, changes and deletes credentials.
#[derive(Clone, Debug, Default)]
pub struct AlterScramUsersCall {
    /// User and mechanism.
    pub deletions: Vec<(String, i8)>,
    /// New credentials.
    pub upsertions: Vec<ScramUpsertion>,
}

/// New credentials of one user.
#[derive(Clone)]
pub struct ScramUpsertion {
    /// The name.
    pub user: String,
    /// 1 SCRAM-SHA-256, 2 SCRAM-SHA-512.
    pub mechanism: i8,
    /// Rounds of hashing.
    pub iterations: i32,
    /// The salt.
    pub salt: Vec<u8>,
    /// The salted password (RFC 5802): as good as the password itself on this cluster.
    pub salted_password: Vec<u8>,
}

impl fmt::Debug for ScramUpsertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramUpsertion").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Call for DescribeScramUsersCall {
    const API: ApiKey = ApiKey::DescribeUserScramCredentials;
    type Answer = DescribeScramUsersAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        match &self.users {
            None => layout.put_null_list(out),
            Some(users) => {
                layout.put_count(out, users.len(), "users")?;
                for user in users {
                    layout.put_string(out, user, "name")?;
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
        let (error, error_message) = (fields.code()?, fields.text_or_null("error_message")?);
        let users = fields.list(6, "results", |fields| {
            let user = fields.text("user")?;
            let (error, error_message) = (fields.code()?, fields.text_or_null("error_message")?);
            let credentials = fields.list(6, "credential_infos", |fields| {
                let credential = (fields.i8("mechanism")?, fields.i32("iterations")?);
                fields.end()?;
                Ok(credential)
            })?;
            fields.end()?;
            Ok(ScramUserAnswer { user, error, error_message, credentials })
        })?;
        fields.end()?;
        Ok(DescribeScramUsersAnswer { error, error_message, users })
    }
}

impl Call for AlterScramUsersCall {
    const API: ApiKey = ApiKey::AlterUserScramCredentials;
    type Answer = Vec<NamedResult>;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        layout.put_count(out, self.deletions.len(), "deletions")?;
        for (user, mechanism) in &self.deletions {
            layout.put_string(out, user, "name")?;
            out.i8(*mechanism);
            layout.put_no_tags(out);
        }
        layout.put_count(out, self.upsertions.len(), "upsertions")?;
        for one in &self.upsertions {
            layout.put_string(out, &one.user, "name")?;
            out.i8(one.mechanism);
            out.i32_be(one.iterations);
            layout.put_bytes(out, &one.salt, "salt")?;
            layout.put_bytes(out, &one.salted_password, "salted_password")?;
            layout.put_no_tags(out);
        }
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<Self::Answer, DecodeError> {
        let fields = &mut Fields::new(Self::API, version, &body);
        fields.skip(4, "throttle_time_ms")?;
        let results = fields.list(5, "results", |fields| {
            let (name, error, error_message) =
                (fields.text("user")?, fields.code()?, fields.text_or_null("error_message")?);
            fields.end()?;
            Ok(NamedResult { name, error, error_message })
        })?;
        fields.end()?;
        Ok(results)
    }
}
