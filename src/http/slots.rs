//! Limits the open connections, and decides which one is closed when a new one comes: the one that has waited longest
//! for its client. So clients that send a byte a second, or nothing, cannot lock out a probe.

use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Limits how many connections are open at once.
pub(super) struct Slots {
    free: Arc<Semaphore>,
    /// The oldest first.
    open: Mutex<Vec<Weak<Slot>>>,
}

/// The place of one connection, which is free again when this is dropped. Handlers find it in the extensions of each
/// request.
pub(super) struct Slot {
    /// Since when the server has waited for this client. None: a request of it is being answered.
    waiting_since: Mutex<Option<Instant>>,
    evicted: CancellationToken,
    _permit: Option<OwnedSemaphorePermit>,
}

/// While it lives, a request of the connection is being answered.
pub(super) struct Working(Arc<Slot>);

impl Slots {
    /// Room for `limit` connections.
    pub(super) fn new(limit: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(limit)), open: Mutex::default() }
    }

    /// A slot for a new connection. If none is free it closes a connection, and waits until that one is dropped.
    pub(super) async fn take(&self) -> Arc<Slot> {
        if self.free.available_permits() == 0 {
            self.evict();
        }
        let slot = Arc::new(Slot {
            // The semaphore is never closed.
            _permit: self.free.clone().acquire_owned().await.ok(),
            waiting_since: Mutex::new(Some(Instant::now())),
            evicted: CancellationToken::new(),
        });
        let mut open = self.open.lock();
        open.retain(|slot| slot.strong_count() > 0);
        open.push(Arc::downgrade(&slot));
        slot
    }

    /// Closes the connection that has waited longest for its client, or the oldest if none waits. False if there is no
    /// connection to close.
    pub(super) fn evict(&self) -> bool {
        let open = self.open.lock();
        let open = open.iter().filter_map(Weak::upgrade).filter(|slot| !slot.evicted.is_cancelled());
        let longest = open.min_by_key(|slot| {
            let since = *slot.waiting_since.lock();
            (since.is_none(), since)
        });
        longest.inspect(|slot| slot.evicted.cancel()).is_some()
    }
}

impl Slot {
    /// To be called when a request has arrived whole.
    pub(super) fn work(self: &Arc<Self>) -> Working {
        *self.waiting_since.lock() = None;
        Working(self.clone())
    }

    /// Ends when the connection has to be closed for another one.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        *self.0.waiting_since.lock() = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_one_that_waits_longest_for_its_client_makes_room() {
        let slots = Slots::new(3);
        let (first, second, third) = (slots.take().await, slots.take().await, slots.take().await);
        let is_evicted = |slot: &Slot| slot.evicted.is_cancelled();
        let at_work = first.work();
        assert!(slots.evict());
        assert!(!is_evicted(&first) && is_evicted(&second) && !is_evicted(&third));
        drop(at_work);
        assert!(slots.evict());
        assert!(!is_evicted(&first) && is_evicted(&third), "the first one has waited for a shorter time");
    }

    #[tokio::test]
    async fn a_new_connection_waits_for_none_even_if_all_are_at_work() {
        let slots = Slots::new(2);
        for _ in 0..100 {
            let slot = slots.take().await;
            tokio::spawn(async move {
                let _at_work = slot.work();
                slot.evicted().await;
            });
        }
        assert!(slots.open.lock().len() <= 2);
    }
}
