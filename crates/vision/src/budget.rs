//! The memory that all decodes of one process share.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::refusal::Refusal;

/// Bytes that decoded images of one process may hold together; clones share one account.
///
/// Whoever needs more than is left waits, in the order of asking, so that a large
/// image is not starved by a stream of small ones.
///
/// A thread that already holds a [`Share`] and asks for another can wait for
/// itself for ever: decode one image at a time in a thread, and drop it first.
#[derive(Clone, Debug)]
pub struct DecodeBudget {
    account: Arc<Account>,
}

#[derive(Debug)]
struct Account {
    total: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    free: u64,
    next_ticket: u64,
    now_serving: u64,
}

impl DecodeBudget {
    /// 640 MiB: with the default limits one large image at a time, or several usual ones,
    /// and the process stays below 1 GiB.
    pub const DEFAULT_BYTES: u64 = 640 << 20;

    pub fn new(total: u64) -> Self {
        let state = State {
            free: total,
            next_ticket: 0,
            now_serving: 0,
        };
        Self {
            account: Arc::new(Account {
                total,
                state: Mutex::new(state),
                changed: Condvar::new(),
            }),
        }
    }

    /// Waits until `bytes` are free and takes them.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`] when `bytes` exceed the whole budget: waiting would not help.
    pub fn acquire(&self, bytes: u64) -> Result<Share, Refusal> {
        let account = &self.account;
        if bytes > account.total {
            return Err(Refusal::TooLarge {
                what: "memory for decoding in bytes",
                value: bytes,
                limit: account.total,
                setting: "decode_budget_bytes",
            });
        }
        let mut state = account.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        let mut state = account
            .changed
            .wait_while(state, |it| it.now_serving != ticket || it.free < bytes)
            .unwrap_or_else(PoisonError::into_inner);
        state.free -= bytes;
        state.now_serving += 1;
        drop(state);
        account.changed.notify_all();
        Ok(Share {
            account: Arc::clone(account),
            bytes,
        })
    }

    /// Bytes that nobody holds at this moment.
    pub fn free(&self) -> u64 {
        self.account.lock().free
    }
}

impl Default for DecodeBudget {
    fn default() -> Self {
        Self::new(Self::DEFAULT_BYTES)
    }
}

impl Account {
    /// No code can panic while the lock is held, so a poisoned lock still guards sound numbers.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of a [`DecodeBudget`], given back when dropped.
#[derive(Debug)]
pub struct Share {
    account: Arc<Account>,
    bytes: u64,
}

impl Share {
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives back all but `bytes`.
    pub fn shrink_to(&mut self, bytes: u64) {
        let freed = self.bytes.saturating_sub(bytes);
        self.bytes -= freed;
        self.give_back(freed);
    }

    fn give_back(&self, bytes: u64) {
        self.account.lock().free += bytes;
        self.account.changed.notify_all();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn a_request_above_the_total_is_refused_at_once() {
        let refusal = DecodeBudget::new(10).acquire(11).unwrap_err();
        assert_eq!(refusal.code(), "too_large");
    }

    #[test]
    fn shares_never_exceed_the_total_and_all_come_back() {
        let budget = DecodeBudget::new(100);
        let held = AtomicU64::new(0);
        thread::scope(|scope| {
            for thread_idx in 0..8 {
                let (budget, held) = (&budget, &held);
                scope.spawn(move || {
                    for round in 0..50 {
                        let bytes = 1 + (thread_idx * 37 + round * 13) % 100;
                        let share = budget.acquire(bytes).unwrap();
                        assert!(held.fetch_add(bytes, Ordering::SeqCst) + bytes <= 100);
                        held.fetch_sub(bytes, Ordering::SeqCst);
                        drop(share);
                    }
                });
            }
        });
        assert_eq!(budget.free(), 100);
    }

    #[test]
    fn shrinking_frees_the_rest_for_others() {
        let budget = DecodeBudget::new(100);
        let mut share = budget.acquire(100).unwrap();
        share.shrink_to(30);
        assert_eq!((budget.free(), share.bytes()), (70, 30));
        drop(share);
        assert_eq!(budget.free(), 100);
    }
}
