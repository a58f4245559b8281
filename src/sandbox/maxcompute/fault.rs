//! Faults on request: what a test orders, and which request gets it.
//!
//! Faults are queued per operation. A request takes the first fault of its operation's queue; `skip` lets that many requests
//! pass first, `times` applies it that often before the next fault of the queue is looked at. A fault with `one_in` is met by
//! chance, at that rate. One request meets at most one fault.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// One ordered fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Which requests: an operation's name such as `upload_block` (see the module documentation), or `*` for any.
    pub operation: String,
    /// Whether the request still has its effect.
    #[serde(default)]
    pub when: When,
    /// What happens.
    #[serde(flatten)]
    pub action: Action,
    /// Requests of the operation that pass untouched first.
    #[serde(default)]
    pub skip: u32,
    /// How many requests meet it.
    #[serde(default = "once")]
    pub times: u32,
    /// Each request meets it with the chance of one in so many; 0 and 1 are all of them.
    #[serde(default)]
    pub one_in: u32,
}

const fn once() -> u32 {
    1
}

impl Fault {
    /// A fault for the next request of `operation`, before it has any effect.
    pub fn before(operation: &str, action: Action) -> Self {
        Self { operation: operation.to_owned(), when: When::Before, action, skip: 0, times: 1, one_in: 0 }
    }

    /// A fault for the next request of `operation`, after its effect.
    pub fn after(operation: &str, action: Action) -> Self {
        Self { operation: operation.to_owned(), when: When::After, action, skip: 0, times: 1, one_in: 0 }
    }

    /// Lets `skip` requests pass first.
    #[must_use]
    pub fn skip(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// Applies it to `times` requests.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Leaves it to chance, at a rate of one in `one_in`, until `times` requests have met it.
    #[must_use]
    pub fn one_in(mut self, one_in: u32) -> Self {
        self.one_in = one_in;
        self
    }
}

/// Whether a faulty request still has its effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Nothing happens but the fault.
    #[default]
    Before,
    /// The request does its work, then its answer meets the fault.
    After,
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// The connection closes without an answer.
    Drop,
    /// An error answer.
    Status {
        /// The HTTP status.
        status: u16,
        /// The service's `Code`; empty sends a body that is neither JSON nor XML, as a proxy does.
        #[serde(default)]
        code: String,
        /// The service's `Message`.
        #[serde(default)]
        message: String,
        /// `Retry-After` in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_s: Option<u32>,
    },
    /// The request waits this long and then goes on as usual.
    Hold {
        /// Milliseconds.
        hold_ms: u64,
    },
    /// The slots of every stream session move, then the request goes on as usual.
    MoveSlots {
        /// How many slots there are from then on.
        slots: u32,
    },
    /// The connection closes after this many bytes of the request's body were read.
    CutRequest {
        /// Body bytes, as sent (compressed).
        after_bytes: u64,
    },
    /// The connection closes after this many bytes of the answer's body were sent.
    CutAnswer {
        /// Body bytes, as sent.
        after_bytes: u64,
    },
}

/// The queues of ordered faults.
#[derive(Debug, Default)]
pub struct Faults {
    queues: Mutex<BTreeMap<String, VecDeque<Fault>>>,
    dice: AtomicU64,
}

impl Faults {
    /// Orders a fault, behind those already waiting for its operation. A fault with `times` 0 is ignored.
    pub fn push(&self, fault: Fault) {
        if fault.times > 0 {
            self.lock().entry(fault.operation.clone()).or_default().push_back(fault);
        }
    }

    /// Forgets every waiting fault.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// The faults still waiting, by operation and in order.
    pub fn waiting(&self) -> Vec<Fault> {
        self.lock().values().flatten().cloned().collect()
    }

    /// The fault that a request of `operation` meets, if any.
    pub(super) fn take(&self, operation: &str) -> Option<Fault> {
        let mut queues = self.lock();
        [operation, ANY].into_iter().find_map(|name| {
            let queue = queues.get_mut(name)?;
            let head = queue.front_mut()?;
            if head.skip > 0 {
                head.skip -= 1;
                return None;
            }
            if head.one_in > 1 && !self.throw().is_multiple_of(u64::from(head.one_in)) {
                return None;
            }
            head.times -= 1;
            let fault = head.clone();
            if head.times == 0 {
                queue.pop_front();
            }
            Some(fault)
        })
    }

    /// The next number of a fixed sequence (splitmix64): a test that asks in the same order meets the same faults.
    fn throw(&self) -> u64 {
        let mut z = self.dice.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, VecDeque<Fault>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const ANY: &str = "*";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_queue_is_served_in_order_with_skip_and_times() {
        let faults = Faults::default();
        faults.push(Fault::before("upload_block", Action::Drop).skip(1).times(2));
        faults.push(Fault::after("upload_block", Action::Hold { hold_ms: 5 }));
        faults.push(Fault::before("*", Action::Drop).skip(3));
        assert_eq!(faults.take("upload_commit"), None);
        let met: Vec<_> = (0..5).map(|_| faults.take("upload_block").map(|fault| fault.action)).collect();
        assert_eq!(met, [None, Some(Action::Drop), Some(Action::Drop), Some(Action::Hold { hold_ms: 5 }), None]);
        assert_eq!(faults.take("discovery").unwrap().action, Action::Drop);
        assert!(faults.waiting().is_empty());
    }

    #[test]
    fn a_rate_is_kept_and_ends() {
        let faults = Faults::default();
        faults.push(Fault::before("upload_block", Action::Drop).one_in(10).times(1_000));
        let met = (0..5_000).filter(|_| faults.take("upload_block").is_some()).count();
        assert!((400..600).contains(&met), "{met} of 5,000");
        faults.clear();
        faults.push(Fault::before("upload_block", Action::Drop).one_in(2).times(3));
        assert_eq!((0..100).filter(|_| faults.take("upload_block").is_some()).count(), 3);
        assert!(faults.waiting().is_empty());
    }

    #[test]
    fn json_form() {
        let text = r#"{"operation":"upload_commit","when":"after","action":"status","status":503,"retry_after_s":1,"times":2}"#;
        let fault: Fault = serde_json::from_str(text).unwrap();
        assert_eq!(fault.times, 2);
        assert_eq!(
            fault.action,
            Action::Status { status: 503, code: String::new(), message: String::new(), retry_after_s: Some(1) }
        );
        let often = r#"{"operation":"*","action":"drop","times":50,"one_in":20}"#;
        assert_eq!(
            serde_json::from_str::<Fault>(often).unwrap(),
            Fault::before("*", Action::Drop).times(50).one_in(20)
        );
        assert!(serde_json::from_str::<Fault>(r#"{"operation":"x","action":"explode"}"#).is_err());
    }
}
