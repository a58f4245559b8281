//! Transactions: what is said to the coordinators of the transactional id and of consumer groups (KIP-98, KIP-447).

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use super::{Producer, Shared, driver};
use crate::kafka::ask::{Again, Attempt};
use crate::kafka::error::{Error, ErrorKind};
use crate::kafka::msg::{
    AddOffsetsToTxnCall, AddPartitionsToTxnCall, ApiKey, Call, CodeClass, EndTxnCall, ErrorCode,
    FindTransactionCoordinatorCall, InitProducerIdCall, OffsetCommitPartition, TransactionOwner, TxnOffsetCommitCall,
};
use crate::kafka::net::now;
use crate::kafka::net::pool::Lane;
use crate::kafka::offsets::OffsetToCommit;
use crate::kafka::state::cluster::Place;
use crate::kafka::state::produce::{Cause, Fault, Owner, Refusal};

/// Who has read the records whose offsets become part of a transaction. A broker from 2.5 on refuses them when the member
/// is not in the group's present generation any more (KIP-447).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroupMetadata {
    /// The group.
    pub group: String,
    /// The member's generation, or its epoch in a group of KIP-848; -1 for a reader that is no member.
    pub generation: i32,
    /// The member's id; empty for none.
    pub member_id: String,
    /// The static member's id.
    pub group_instance_id: Option<String>,
}

impl ConsumerGroupMetadata {
    /// A group without members, as `Consumer` with assigned partitions has it.
    pub fn without_member(group: impl Into<String>) -> Self {
        Self { group: group.into(), generation: -1, member_id: String::new(), group_instance_id: None }
    }
}

/// The error of a transaction that has failed.
pub(super) fn failed(cause: Error, is_fatal: bool) -> Error {
    match (is_fatal, cause.kind()) {
        (true, _) => cause,
        (false, _) => {
            let text = format!("the transaction must be aborted: {cause}");
            Error::new(ErrorKind::AbortTransaction, text)
        }
    }
}

impl Producer {
    /// Makes this producer the one of its transactional id: an older one is fenced, its open transaction aborted. Call it once,
    /// before the first transaction.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) without a transactional id; [`Auth`](ErrorKind::Auth); the last cause when
    /// [`ProducerConfig::max_block`](super::ProducerConfig::max_block) is over.
    pub async fn init_transactions(&self) -> Result<(), Error> {
        let shared = &self.inner.shared;
        let owner = shared.new_epoch(None).await?;
        shared.state().init_transactions(owner, false);
        Ok(())
    }

    /// Begins a transaction: the records that are sent from now on become visible to readers of read_committed all
    /// at once, or never.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) before [`Producer::init_transactions`] or while a transaction is open;
    /// [`Fenced`](ErrorKind::Fenced).
    pub fn begin_transaction(&self) -> Result<(), Error> {
        let shared = &self.inner.shared;
        let outcome = shared.state().begin_transaction();
        outcome.map_err(|refusal| match refusal {
            Refusal::Failed { cause, is_fatal } => failed(driver::cause_error(&shared.core, &cause), is_fatal),
            _ => Error::new(ErrorKind::Config, "a transaction begins after init_transactions, and when none is open"),
        })
    }

    /// Makes offsets of a group part of the transaction: they count once it is committed.
    ///
    /// # Errors
    /// [`AbortTransaction`](ErrorKind::AbortTransaction), such as for a member that is not in the group any more;
    /// [`Fenced`](ErrorKind::Fenced); [`Auth`](ErrorKind::Auth).
    pub async fn send_offsets(&self, offsets: &[OffsetToCommit], group: &ConsumerGroupMetadata) -> Result<(), Error> {
        let shared = &self.inner.shared;
        let owner = shared.open_transaction()?;
        if offsets.is_empty() {
            return Ok(());
        }
        let name: Arc<str> = group.group.as_str().into();
        let add = AddOffsetsToTxnCall { owner: owner.clone(), group: name.clone() };
        shared.state().add_offsets();
        let outcome = shared.tell(&add, |answer| vec![answer.error]).await;
        outcome.map_err(|error| shared.note(error))?;
        let mut topics: BTreeMap<Arc<str>, Vec<OffsetCommitPartition>> = BTreeMap::new();
        for offset in offsets {
            topics.entry(offset.topic.clone()).or_default().push(OffsetCommitPartition {
                partition: offset.partition,
                offset: offset.offset,
                leader_epoch: offset.leader_epoch,
                metadata: Some(offset.metadata.clone()),
            });
        }
        let commit = TxnOffsetCommitCall {
            owner,
            group: name,
            generation: group.generation,
            member_id: group.member_id.as_str().into(),
            group_instance_id: group.group_instance_id.as_deref().map(Into::into),
            topics: topics.into_iter().collect(),
            joins_transaction: false,
        };
        shared.commit_offsets(&commit).await.map_err(|error| shared.note(error))
    }

    /// Commits the transaction, once all its records are written.
    ///
    /// # Errors
    /// [`AbortTransaction`](ErrorKind::AbortTransaction) when a record was not written;
    /// [`Fenced`](ErrorKind::Fenced): nothing of it is committed.
    /// [`UnknownOutcome`](ErrorKind::UnknownOutcome) when the coordinator could not be reached again: call it again.
    pub async fn commit_transaction(&self) -> Result<(), Error> {
        let shared = &self.inner.shared;
        shared.open_transaction()?;
        self.flush().await;
        // A record may have failed since.
        let owner = shared.open_transaction()?;
        shared.end(owner, true).await
    }

    /// Aborts the transaction. Records that are not yet written come back as failed.
    ///
    /// # Errors
    /// [`Fenced`](ErrorKind::Fenced); the last cause when the coordinator cannot be reached.
    pub async fn abort_transaction(&self) -> Result<(), Error> {
        let shared = &self.inner.shared;
        let (owner, mark) = {
            let mut state = shared.state();
            if let Some((cause, true)) = state.transaction_failure() {
                return Err(driver::cause_error(&shared.core, &cause));
            }
            let (true, Some(owner)) = (state.is_in_transaction(), state.identity()) else { return Err(none_open()) };
            state.abort_transaction(now());
            (shared.owner(owner), state.flush())
        };
        shared.flushed(mark).await;
        shared.end(owner, false).await
    }
}

fn none_open() -> Error {
    Error::new(ErrorKind::Config, "no transaction is open")
}

impl Shared {
    fn owner(&self, owner: Owner) -> TransactionOwner {
        TransactionOwner {
            transactional_id: self.transactional_id(),
            producer_id: owner.id,
            producer_epoch: owner.epoch,
        }
    }

    fn transactional_id(&self) -> Arc<str> {
        self.config.transactional_id.as_deref().unwrap_or_default().into()
    }

    /// Whose transaction is open, if it can still be committed.
    fn open_transaction(&self) -> Result<TransactionOwner, Error> {
        let state = self.state();
        if let Some((cause, is_fatal)) = state.transaction_failure() {
            return Err(failed(driver::cause_error(&self.core, &cause), is_fatal));
        }
        match (state.is_in_transaction(), state.identity()) {
            (true, Some(owner)) => Ok(self.owner(owner)),
            _ => Err(none_open()),
        }
    }

    /// A new epoch of the transactional id, after `current` if that is given.
    async fn new_epoch(&self, current: Option<Owner>) -> Result<Owner, Error> {
        if self.config.transactional_id.is_none() {
            return Err(Error::new(ErrorKind::Config, "transactions need a transactional.id"));
        }
        let timeout = self.config.transaction_timeout.as_millis();
        let call = InitProducerIdCall {
            transactional_id: Some(self.transactional_id()),
            transaction_timeout_ms: i32::try_from(timeout).unwrap_or(i32::MAX),
            current: current.map(|owner| (owner.id, owner.epoch)),
        };
        let answer = self.tell(&call, |answer| vec![answer.error]).await?;
        Ok(Owner { id: answer.producer_id, epoch: answer.producer_epoch })
    }

    /// Ends the transaction at the coordinator, if that knows of it.
    async fn end(&self, owner: TransactionOwner, commit: bool) -> Result<(), Error> {
        let ending = self.state().ending();
        if ending.is_known {
            let call = EndTxnCall { owner: owner.clone(), commit, bumps_epoch: false };
            let outcome = self.tell(&call, |answer| vec![answer.error]).await;
            outcome.map_err(|error| {
                let is_unknown = matches!(error.kind(), ErrorKind::Connect | ErrorKind::Timeout);
                self.note(if is_unknown { error.of_kind(ErrorKind::UnknownOutcome) } else { error })
            })?;
        }
        let current = Owner { id: owner.producer_id, epoch: owner.producer_epoch };
        let next = match ending.wants_epoch {
            true => Some(self.new_epoch(Some(current)).await.map_err(|error| self.note(error))?),
            false => None,
        };
        self.state().end_transaction(next);
        Ok(())
    }

    /// Notes what an error means for the transaction, and says it.
    fn note(&self, error: Error) -> Error {
        if error.kind() == ErrorKind::UnknownOutcome {
            return error;
        }
        let is_fatal = is_fatal(&error);
        self.state().fail_transaction(Cause::Fault(error.clone()), is_fatal);
        failed(error, is_fatal)
    }

    /// One request to the coordinator of the transactional id, until it succeeds or patience is over. `codes` finds the
    /// error codes in an answer.
    async fn tell<C: Call>(&self, call: &C, codes: impl Fn(&C::Answer) -> Vec<ErrorCode>) -> Result<C::Answer, Error> {
        let mut patience = self.core.patience_of(self.config.max_block);
        loop {
            match self.tell_once(call, &codes).await {
                Ok(answer) => return Ok(answer),
                Err(attempt) => patience.after(attempt).await?,
            }
        }
    }

    async fn tell_once<C: Call>(
        &self,
        call: &C,
        codes: &impl Fn(&C::Answer) -> Vec<ErrorCode>,
    ) -> Result<C::Answer, Attempt> {
        let place = self.find_coordinator().await?;
        let outcome = self.core.ask(Lane::Group, &place, call, self.core.config.request_timeout).await;
        let answer = match outcome {
            Ok(answer) => answer,
            Err(attempt) => {
                self.forget_coordinator();
                return Err(attempt);
            }
        };
        let codes = codes(&answer);
        // One that cannot be helped decides over those that may be.
        let worst = codes.iter().find(|code| !code.is_ok() && !code.is_retriable());
        let Some(code) = worst.or_else(|| codes.iter().find(|code| !code.is_ok())) else { return Ok(answer) };
        if code.class() == CodeClass::Coordinator {
            self.forget_coordinator();
        }
        let name = self.core.place_name(&place);
        Err(attempt(*code).map(|e| e.api(C::API).at_broker(name)))
    }

    async fn find_coordinator(&self) -> Result<Place, Attempt> {
        let known = *self.coordinator.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = known {
            return Ok(Place::Node(node));
        }
        let call = FindTransactionCoordinatorCall { transactional_id: self.transactional_id() };
        let (place, answer) = self.core.ask_any(&call).await?;
        if !answer.error.is_ok() {
            let name = self.core.place_name(&place);
            let attempt = Attempt::code(answer.error, answer.error_message.as_deref());
            return Err(attempt.map(|e| e.api(ApiKey::FindCoordinator).at_broker(name)));
        }
        self.core.cluster().handle_endpoint(answer.node, &answer.host, answer.port);
        *self.coordinator.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer.node);
        Ok(Place::Node(answer.node))
    }

    fn forget_coordinator(&self) {
        *self.coordinator.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Offsets go to the group's own coordinator.
    async fn commit_offsets(&self, call: &TxnOffsetCommitCall) -> Result<(), Error> {
        let group = &call.group;
        let mut patience = self.core.patience_of(self.config.max_block);
        loop {
            let outcome: Result<(), Attempt> = match self.core.ask_coordinator(group, call).await {
                Err(attempt) => Err(attempt),
                Ok((place, answer)) => {
                    let refused = || answer.partitions.iter().filter(|(_, _, code)| !code.is_ok());
                    let worst = refused().find(|(_, _, code)| !code.is_retriable()).or_else(|| refused().next());
                    match worst {
                        None => return Ok(()),
                        Some((topic, partition, code)) => {
                            let known = self.core.coordinator_code(group, &place, ApiKey::TxnOffsetCommit, *code);
                            let again = attempt(*code);
                            let fenced = again.error.kind() == ErrorKind::Fenced;
                            let error = known.error.topic(topic).partition(*partition);
                            let error = if fenced { error.of_kind(ErrorKind::Fenced) } else { error };
                            Err(Attempt { error, again: again.again })
                        }
                    }
                }
            };
            if let Err(attempt) = outcome {
                patience.after(attempt).await?;
            }
        }
    }
}

/// What a code about a transaction means.
fn attempt(code: ErrorCode) -> Attempt {
    let attempt = Attempt::code(code, None);
    match code {
        ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::PRODUCER_FENCED => attempt.map(|e| e.of_kind(ErrorKind::Fenced)),
        // A topic that is new to the coordinator.
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => Attempt { again: Again::Yes, ..attempt },
        _ => attempt,
    }
}

/// Whether an abort does not help.
fn is_fatal(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Fenced | ErrorKind::Unsupported | ErrorKind::Config | ErrorKind::Closed => true,
        ErrorKind::Broker(code) => {
            matches!(code, ErrorCode::INVALID_TXN_STATE | ErrorCode::TRANSACTION_COORDINATOR_FENCED)
        }
        _ => false,
    }
}

/// Adds partitions to the transaction that is open.
pub(super) async fn add_partitions(shared: &Shared, topics: Vec<(Arc<str>, Vec<i32>)>) -> Result<(), Fault<Error>> {
    let Some(owner) = shared.state().identity() else {
        return Err(Fault { error: none_open(), is_final: true });
    };
    let call = AddPartitionsToTxnCall { owner: shared.owner(owner), topics };
    let codes = |answer: &crate::kafka::msg::TransactionPartitionsAnswer| {
        // Where one is refused, the others are not tried.
        let codes = answer.partitions.iter().map(|(_, _, code)| *code);
        codes.filter(|code| *code != ErrorCode::OPERATION_NOT_ATTEMPTED).collect()
    };
    match shared.tell(&call, codes).await {
        Ok(_) => Ok(()),
        Err(error) => Err(Fault { is_final: is_fatal(&error), error }),
    }
}
