//! One account of the bytes that fetched records take, from the request on to the caller's last use of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// The bytes that are held at present. Clones share the account.
///
/// Inputs: `hold`, and the drop of what it gives. Outputs: `used`, `poll_released`.
#[derive(Clone, Debug, Default)]
pub struct Budget(Arc<Account>);

#[derive(Debug, Default)]
struct Account {
    used: AtomicUsize,
    /// How often something was given back.
    releases: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

/// Bytes held, until it is dropped.
#[derive(Debug)]
pub struct Hold {
    budget: Budget,
    /// The part of one broker.
    part: Arc<AtomicUsize>,
    bytes: usize,
}

impl Budget {
    /// Notes that `bytes` are held, in all and in `part`.
    pub fn hold(&self, part: &Arc<AtomicUsize>, bytes: usize) -> Hold {
        self.0.used.fetch_add(bytes, Ordering::SeqCst);
        part.fetch_add(bytes, Ordering::SeqCst);
        Hold { budget: self.clone(), part: part.clone(), bytes }
    }

    /// Bytes held.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::SeqCst)
    }

    /// How often something has been given back so far.
    pub fn releases(&self) -> usize {
        self.0.releases.load(Ordering::SeqCst)
    }

    /// Ready as soon as something has been given back after [`Budget::releases`] gave `seen`. One task waits at a time.
    pub fn poll_released(&self, seen: usize, context: &mut Context<'_>) -> Poll<()> {
        *self.0.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
        if self.releases() == seen { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Hold {
    /// The same account, for what is made of these bytes.
    pub const fn budget(&self) -> &Budget {
        &self.budget
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.part.fetch_sub(self.bytes, Ordering::SeqCst);
        let account = &self.budget.0;
        account.used.fetch_sub(self.bytes, Ordering::SeqCst);
        account.releases.fetch_add(1, Ordering::SeqCst);
        let waker = account.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back_and_wakes_who_waits() {
        struct Count(AtomicUsize);
        impl std::task::Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let woken = Arc::new(Count(AtomicUsize::new(0)));
        let waker = woken.clone().into();
        let mut context = Context::from_waker(&waker);
        let (budget, part) = (Budget::default(), Arc::default());
        let first = budget.hold(&part, 100);
        let second = budget.hold(&Arc::default(), 10);
        assert_eq!((budget.used(), part.load(Ordering::SeqCst)), (110, 100));
        let seen = budget.releases();
        assert!(budget.poll_released(seen, &mut context).is_pending());
        drop(first);
        assert_eq!((budget.used(), part.load(Ordering::SeqCst), woken.0.load(Ordering::SeqCst)), (10, 0, 1));
        assert!(budget.poll_released(seen, &mut context).is_ready());
        drop(second);
        assert_eq!(budget.used(), 0);
    }
}
