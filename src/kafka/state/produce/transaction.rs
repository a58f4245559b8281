//! Which partitions belong to the open transaction, and whether it can still be committed (KIP-98, KIP-890).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crate::kafka::state::fetch::TopicPartition;

use super::identity::Owner;
use super::{Cause, Fault, Identity, ProduceState, Refusal};

#[derive(Debug)]
pub(super) struct Transaction<E> {
    is_transactional: bool,
    is_open: bool,
    is_implicit: bool,
    is_aborting: bool,
    pending: BTreeSet<TopicPartition>,
    adding: BTreeSet<TopicPartition>,
    added: BTreeSet<TopicPartition>,
    has_offsets: bool,
    failed: Option<Cause<E>>,
    is_fatal: bool,
    wants_epoch: bool,
}

/// What there is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Whether the coordinator knows of the transaction.
    pub is_known: bool,
    /// Whether the producer needs a new epoch afterwards, since numbers have been lost.
    pub wants_epoch: bool,
}

impl<E> Transaction<E> {
    pub(super) const fn new() -> Self {
        Self {
            is_transactional: false,
            is_open: false,
            is_implicit: false,
            is_aborting: false,
            pending: BTreeSet::new(),
            adding: BTreeSet::new(),
            added: BTreeSet::new(),
            has_offsets: false,
            failed: None,
            is_fatal: false,
            wants_epoch: false,
        }
    }

    pub(super) const fn is_implicit(&self) -> bool {
        self.is_implicit
    }

    pub(super) const fn is_aborting(&self) -> bool {
        self.is_aborting
    }

    pub(super) const fn wants_new_epoch(&mut self) {
        self.wants_epoch = true;
    }

    /// A record goes to this partition.
    pub(super) fn wants(&mut self, at: &TopicPartition) {
        if self.is_open && !self.added.contains(at) && !self.adding.contains(at) && !self.pending.contains(at) {
            self.pending.insert(at.clone());
            if self.is_implicit {
                self.added.append(&mut self.pending);
            }
        }
    }

    /// Whether batches may be sent to it.
    pub(super) fn admits(&self, at: &TopicPartition) -> bool {
        !self.is_transactional || self.added.contains(at)
    }

    pub(super) fn fail(&mut self, cause: Cause<E>, is_fatal: bool) {
        if self.is_transactional && (self.failed.is_none() || is_fatal && !self.is_fatal) {
            self.failed = Some(cause);
            self.is_fatal |= is_fatal;
        }
    }
}

impl<T, E: Clone> ProduceState<T, E> {
    pub(super) fn transaction_admits(&self) -> Result<(), Refusal<E>> {
        let transaction = &self.transaction;
        if let Some(cause) = &transaction.failed {
            return Err(Refusal::Failed { cause: cause.clone(), is_fatal: transaction.is_fatal });
        }
        let is_admitted = self.options.transactional_id.is_none() || transaction.is_open && !transaction.is_aborting;
        if is_admitted { Ok(()) } else { Err(Refusal::NoTransaction) }
    }

    /// Takes the id and epoch of a transactional id. With `is_implicit`, partitions join a transaction by being written to
    /// (`transaction.version` 2). Whatever was open before is not any more.
    pub fn init_transactions(&mut self, owner: Owner, is_implicit: bool) {
        self.identity = Identity::Known(owner);
        self.transaction = Transaction { is_transactional: true, is_implicit, ..Transaction::new() };
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// [`Refusal::Failed`]; [`Refusal::NoTransaction`] before `init_transactions`, and while one is open.
    pub fn begin_transaction(&mut self) -> Result<(), Refusal<E>> {
        if let Some(cause) = &self.transaction.failed {
            return Err(Refusal::Failed { cause: cause.clone(), is_fatal: self.transaction.is_fatal });
        }
        if !self.transaction.is_transactional || self.transaction.is_open {
            return Err(Refusal::NoTransaction);
        }
        self.transaction.is_open = true;
        Ok(())
    }

    /// Whether a transaction is open, and is not yet ended.
    pub const fn is_in_transaction(&self) -> bool {
        self.transaction.is_open
    }

    /// Why the transaction cannot be committed, and whether an abort does not help either.
    pub fn transaction_failure(&self) -> Option<(Cause<E>, bool)> {
        self.transaction.failed.clone().map(|cause| (cause, self.transaction.is_fatal))
    }

    /// Notes that a request about the transaction has failed.
    pub fn fail_transaction(&mut self, cause: Cause<E>, is_fatal: bool) {
        self.transaction.fail(cause, is_fatal);
    }

    /// Notes that offsets of a group are part of the transaction.
    pub const fn add_offsets(&mut self) {
        self.transaction.has_offsets = true;
    }

    /// Partitions to add to the transaction, by topic. Hand the outcome to `handle_partitions_added`.
    pub fn poll_partitions_to_add(&mut self) -> Option<Vec<(Arc<str>, Vec<i32>)>> {
        let transaction = &mut self.transaction;
        if transaction.pending.is_empty() || !transaction.adding.is_empty() || transaction.failed.is_some() {
            return None;
        }
        transaction.adding = std::mem::take(&mut transaction.pending);
        let mut topics: BTreeMap<Arc<str>, Vec<i32>> = BTreeMap::new();
        for at in &transaction.adding {
            topics.entry(at.topic.clone()).or_default().push(at.partition);
        }
        Some(topics.into_iter().collect())
    }

    /// Takes whether the partitions were added. A fault that is final means that nothing can be written any more.
    pub fn handle_partitions_added(&mut self, now: Instant, outcome: Result<(), Fault<E>>) {
        let mut adding = std::mem::take(&mut self.transaction.adding);
        match outcome {
            Ok(()) => self.transaction.added.append(&mut adding),
            Err(fault) => {
                // The coordinator may have added them all the same.
                self.transaction.added.append(&mut adding);
                let cause = Cause::Fault(fault.error);
                self.transaction.fail(cause.clone(), fault.is_final);
                self.fail_all(now, &cause);
            }
        }
    }

    /// Begins to abort: what is not with a broker is given up, and nothing is sent again.
    pub fn abort_transaction(&mut self, now: Instant) {
        self.transaction.is_aborting = true;
        self.transaction.pending.clear();
        self.fail_all(now, &Cause::Aborted);
    }

    /// What there is to end. Nothing must be under way any more.
    pub fn ending(&self) -> Ending {
        let transaction = &self.transaction;
        let is_known = !transaction.added.is_empty() || transaction.has_offsets;
        Ending { is_known, wants_epoch: transaction.wants_epoch }
    }

    /// The transaction has ended; `next` is the id and epoch that count from now on, if they have changed.
    pub fn end_transaction(&mut self, next: Option<Owner>) {
        let is_implicit = self.transaction.is_implicit;
        self.transaction = Transaction { is_transactional: true, is_implicit, ..Transaction::new() };
        if let Some(owner) = next {
            self.identity = Identity::Known(owner);
            for queue in self.queues.values_mut() {
                queue.start_anew();
            }
        }
    }
}
