//! Committing as a member.

use std::sync::Arc;

use crate::kafka::client::Client;
use crate::kafka::error::{Error, ErrorKind};
use crate::kafka::msg::OffsetCommitCall;
use crate::kafka::net::now;
use crate::kafka::offsets::{OffsetToCommit, by_topic};
use crate::kafka::state::group::Generation;

use super::task::Shared;

/// Commits offsets of a group as one of its members, from any task. Clones share the membership.
#[derive(Clone, Debug)]
pub struct GroupCommitter {
    pub(super) client: Client,
    pub(super) group: Arc<str>,
    pub(super) group_instance_id: Option<Arc<str>>,
    pub(super) shared: Arc<Shared>,
}

impl GroupCommitter {
    /// As whom the member would commit now; none while it is not one.
    pub fn generation(&self) -> Option<Generation> {
        self.shared.member().generation()
    }

    /// Stores offsets with metadata and leader epoch, as the member was in `generation`: the coordinator refuses a generation
    /// that is over, whoever owns the partitions. Passing faults are retried with the same generation until the deadline for
    /// retries; doing it twice does no harm.
    ///
    /// What is committed must have been read in `generation`. The coordinator does not check that the member owns the partition.
    ///
    /// # Errors
    /// [`Error::is_fenced`]: the generation is over; drop the work. [`Error::is_rebalancing`]: the group is in the middle of a
    /// rebalance; try again after it, if the generation still holds. [`Broker`](ErrorKind::Broker) with
    /// [`Error::partition_errors`], such as `OFFSET_METADATA_TOO_LARGE`; [`Timeout`](ErrorKind::Timeout) or
    /// [`Connect`](ErrorKind::Connect) when no answer came in time: it may be stored or not, and the same commit may be repeated.
    pub async fn commit(&self, generation: &Generation, offsets: &[OffsetToCommit]) -> Result<(), Error> {
        if offsets.is_empty() {
            return Ok(());
        }
        let outcome = self.client.commit_retrying(&self.call(generation, offsets)).await;
        self.told(generation, &outcome);
        outcome
    }

    /// As [`GroupCommitter::commit`], but asks once: a commit without an answer may take effect after a later one, so a
    /// repetition is no cure for whoever must know.
    ///
    /// # Errors
    /// As [`GroupCommitter::commit`]; [`UnknownOutcome`](ErrorKind::UnknownOutcome) when it may have reached the coordinator and no answer
    /// came. After any other error it was not stored.
    pub async fn commit_once(&self, generation: &Generation, offsets: &[OffsetToCommit]) -> Result<(), Error> {
        if offsets.is_empty() {
            return Ok(());
        }
        let outcome = self.client.commit_unrepeated(&self.call(generation, offsets)).await;
        self.told(generation, &outcome);
        outcome
    }

    fn call(&self, generation: &Generation, offsets: &[OffsetToCommit]) -> OffsetCommitCall {
        OffsetCommitCall {
            group: self.group.clone(),
            generation: generation.number,
            member_id: generation.member_id.clone(),
            group_instance_id: self.group_instance_id.clone(),
            topics: by_topic(offsets),
        }
    }

    fn told(&self, generation: &Generation, outcome: &Result<(), Error>) {
        if let Err(error) = outcome
            && let ErrorKind::Broker(code) = error.kind()
        {
            self.shared.member().refused(now(), generation, code);
            self.shared.for_task.notify_one();
        }
    }
}
