//! The task that keeps a membership alive while its owner is busy: it carries the machine's orders out.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::kafka::ask::{Again, Attempt, Core};
use crate::kafka::error::Error;
use crate::kafka::msg::{Call, MetadataAnswer};
use crate::kafka::net::pool::Lane;
use crate::kafka::net::{now, sleep_until};
use crate::kafka::state::assign::TopicShape;
use crate::kafka::state::fetch::Fault;
use crate::kafka::state::group::{Answer, Member, Order, Standing, TopicsSeen};

/// What the task, the consumer and its committers share.
#[derive(Debug)]
pub(super) struct Shared {
    member: Mutex<Member<Error>>,
    /// Something was said to the machine that the task should act on.
    pub(super) for_task: Notify,
    /// The machine may have something for the consumer.
    pub(super) for_consumer: Notify,
}

impl Shared {
    pub(super) fn new(member: Member<Error>) -> Self {
        Self { member: Mutex::new(member), for_task: Notify::new(), for_consumer: Notify::new() }
    }

    /// The machine. Never held across an await.
    pub(super) fn member(&self) -> MutexGuard<'_, Member<Error>> {
        // Consistent after each call; a panic elsewhere does not change that.
        self.member.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A coordinator answers a join at the latest after the rebalance timeout; this much later it is taken for dead (as in Java).
const JOIN_GRACE: Duration = Duration::from_secs(5);

/// Runs until the member has left, or has failed.
pub(super) async fn run(shared: Arc<Shared>, core: Arc<Core>, group: Arc<str>, lane: Lane) {
    let mut asks: JoinSet<Answer<Error>> = JoinSet::new();
    loop {
        let due = {
            let mut member = shared.member();
            while let Some(order) = member.poll_order(now()) {
                log::trace!("group \"{group}\": {order:?}");
                let ask = Ask { core: core.clone(), group: group.clone(), lane };
                asks.spawn(ask.carry_out(order));
            }
            if matches!(member.standing(), Standing::Left | Standing::Failed) {
                break;
            }
            member.poll_timeout()
        };
        // A permit that nobody needs costs one look.
        shared.for_consumer.notify_one();
        tokio::select! {
            Some(joined) = asks.join_next() => {
                // A request that was cancelled with the runtime has no answer any more.
                let Ok(answer) = joined else { break };
                log::trace!("group \"{group}\": {answer:?}");
                shared.member().handle(now(), answer);
            }
            () = shared.for_task.notified() => {}
            () = sleep_until(due) => {}
        }
    }
    shared.for_consumer.notify_one();
    core.close_lane(lane);
}

struct Ask {
    core: Arc<Core>,
    group: Arc<str>,
    lane: Lane,
}

impl Ask {
    async fn carry_out(self, order: Order) -> Answer<Error> {
        let patience = self.core.config.request_timeout;
        match order {
            Order::Coordinator => {
                self.core.cluster().forget_coordinator(&self.group);
                let found = self.core.coordinator(&self.group).await;
                Answer::Coordinator(found.map(|_| 0).map_err(fault))
            }
            Order::Topics(names) => {
                let seen = self.core.metadata(names.clone()).await;
                Answer::Topics(seen.map(|answer| seen_in(&answer, names.is_some())).map_err(fault))
            }
            Order::Join(call) => {
                let rebalance = Duration::from_millis(u64::try_from(call.rebalance_timeout_ms).unwrap_or(0));
                let patience = patience.max(rebalance.saturating_add(JOIN_GRACE));
                Answer::Join(self.ask(self.lane, &call, patience).await)
            }
            Order::Sync(call) => Answer::Sync(self.ask(self.lane, &call, patience).await),
            Order::Heartbeat(call) => Answer::Heartbeat(self.ask(self.lane, &call, patience).await),
            // A join that still waits would hold it up.
            Order::Leave(call) => Answer::Leave(self.ask(Lane::Group, &call, patience).await),
            Order::ConsumerHeartbeat(call) => Answer::ConsumerHeartbeat(self.ask(self.lane, &call, patience).await),
        }
    }

    async fn ask<C: Call>(&self, lane: Lane, call: &C, patience: Duration) -> Result<C::Answer, Fault<Error>> {
        let place = self.core.coordinator(&self.group).await.map_err(fault)?;
        let answer = self.core.ask(lane, &place, call, patience).await;
        answer.map_err(|attempt| fault(attempt.map(|error| error.group(&self.group))))
    }
}

fn fault(attempt: Attempt) -> Fault<Error> {
    Fault { error: attempt.error, is_final: attempt.again == Again::No }
}

/// Topics that exist, with the racks of their replicas.
fn seen_in(answer: &MetadataAnswer, with_internal: bool) -> TopicsSeen {
    let mut seen = TopicsSeen::default();
    let rack = |node: &i32| {
        let broker = answer.brokers.iter().find(|broker| broker.node == *node)?;
        broker.rack.as_deref().filter(|rack| !rack.is_empty()).map(Arc::from)
    };
    for topic in &answer.topics {
        if !topic.error.is_ok() || (topic.internal && !with_internal) {
            continue;
        }
        let name: Arc<str> = topic.name.as_str().into();
        let mut partitions: Vec<_> = topic.partitions.iter().collect();
        crate::sorting::by_key(&mut partitions, |partition| partition.partition);
        let racks: Vec<BTreeSet<Arc<str>>> =
            partitions.iter().map(|partition| partition.replicas.iter().filter_map(rack).collect()).collect();
        if let Some(id) = topic.id {
            seen.names.insert(id, name.clone());
        }
        seen.shapes.insert(name, TopicShape { racks });
    }
    seen
}
