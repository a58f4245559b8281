//! `InitProducerId` (22), versions 0 to 5: an id for an idempotent or transactional producer (KIP-98). Our own codec.
//!
//! What versions add: v2 compact layout, v3 the id and epoch that are to be bumped (KIP-360), v4 PRODUCER_FENCED, v5
//! TRANSACTION_ABORTABLE.

use std::sync::Arc;

use bytes::Bytes;

use crate::wire::{DecodeError, Reader, Writer};

use super::layout::Layout;
use super::{ApiKey, Call, EncodeError, ErrorCode};

/// Asks for a producer's id and epoch: any broker, or with a transactional id that id's coordinator.
#[derive(Clone, Debug)]
pub struct InitProducerIdCall {
    /// The transactional id; none for a producer that is idempotent only.
    pub transactional_id: Option<Arc<str>>,
    /// How long a transaction may stay open, in milliseconds.
    pub transaction_timeout_ms: i32,
    /// The id and epoch that we have, to get the next epoch; dropped before v3.
    pub current: Option<(i64, i16)>,
}

/// The answer to an [`InitProducerIdCall`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitProducerIdAnswer {
    /// How long the broker asks us to stay quiet, in milliseconds.
    pub throttle_ms: i32,
    /// What went wrong.
    pub error: ErrorCode,
    /// The id; -1 with an error.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
}

impl Call for InitProducerIdCall {
    const API: ApiKey = ApiKey::InitProducerId;
    type Answer = InitProducerIdAnswer;

    fn encode(&self, version: i16, out: &mut Writer) -> Result<(), EncodeError> {
        let layout = Layout::of(Self::API, version);
        layout.put_nullable_string(out, self.transactional_id.as_deref(), "transactional_id")?;
        out.i32_be(self.transaction_timeout_ms);
        if version >= 3 {
            let (id, epoch) = self.current.unwrap_or((-1, -1));
            out.i64_be(id);
            out.i16_be(epoch);
        }
        layout.put_no_tags(out);
        Ok(())
    }

    fn decode(version: i16, body: Bytes) -> Result<InitProducerIdAnswer, DecodeError> {
        let reader = &mut Reader::new(&body);
        let throttle_ms = reader.i32_be("throttle_time_ms")?;
        let error = ErrorCode(reader.i16_be("error_code")?);
        let producer_id = reader.i64_be("producer_id")?;
        let producer_epoch = reader.i16_be("producer_epoch")?;
        Layout::of(Self::API, version).skip_tags(reader)?;
        Ok(InitProducerIdAnswer { throttle_ms, error, producer_id, producer_epoch })
    }
}
