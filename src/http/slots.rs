//! Limits the open connections, and decides which one is closed when a new one comes: the one that has waited longest
//! for its client. So clients that send a byte a second, or nothing, cannot lock out a probe.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Limits how many connections are open at once.
pub(super) struct Slots {
    free: Arc<Semaphore>,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    slots: BTreeMap<u64, Slot>,
}

/// The state of one connection; handlers find it in the extensions of each request.
#[derive(Clone)]
pub(super) struct Slot(Arc<State>);

struct State {
    /// Since when the server has waited for this client. None: a request of it is being answered.
    waiting_since: Mutex<Option<Instant>>,
    evicted: CancellationToken,
}

/// A connection's slot; dropping it frees the slot.
pub(super) struct TakenSlot {
    slot: Slot,
    number: u64,
    taken: Arc<Mutex<Taken>>,
    _permit: OwnedSemaphorePermit,
}

/// While it lives, a request of the connection is being answered.
pub(super) struct Working(Slot);

impl Slots {
    /// Room for `limit` connections.
    pub(super) fn new(limit: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(limit)), taken: Arc::default() }
    }

    /// A slot for a new connection. If none is free it closes a connection, and waits until that one is dropped.
    pub(super) async fn take(&self) -> TakenSlot {
        let permit = loop {
            if let Ok(permit) = self.free.clone().try_acquire_owned() {
                break permit;
            }
            self.evict();
            // The semaphore is never closed.
            if let Ok(permit) = self.free.clone().acquire_owned().await {
                break permit;
            }
        };
        let state =
            State { waiting_since: Mutex::new(Some(Instant::now())), evicted: CancellationToken::new() };
        let slot = Slot(Arc::new(state));
        let mut taken = lock(&self.taken);
        let number = taken.next;
        taken.next += 1;
        taken.slots.insert(number, slot.clone());
        drop(taken);
        TakenSlot { slot, number, taken: self.taken.clone(), _permit: permit }
    }

    /// Closes the connection that has waited longest for its client, or the oldest if none waits. False if there is no
    /// connection to close.
    pub(super) fn evict(&self) -> bool {
        let taken = lock(&self.taken);
        let open = || taken.slots.values().filter(|slot| !slot.0.evicted.is_cancelled());
        let waiting = open().filter_map(|slot| Some(((*lock(&slot.0.waiting_since))?, slot)));
        let longest = waiting.min_by_key(|(since, _)| *since).map(|(_, slot)| slot);
        let evicted = longest.or_else(|| open().next());
        evicted.inspect(|slot| slot.0.evicted.cancel()).is_some()
    }
}

impl Slot {
    /// To be called when a request has arrived whole.
    pub(super) fn work(&self) -> Working {
        *lock(&self.0.waiting_since) = None;
        Working(self.clone())
    }

    /// Ends when the connection has to be closed for another one.
    pub(super) async fn evicted(&self) {
        self.0.evicted.cancelled().await;
    }
}

impl TakenSlot {
    /// For the connection's requests.
    pub(super) fn slot(&self) -> &Slot {
        &self.slot
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        *lock(&self.0.0.waiting_since) = Some(Instant::now());
    }
}

impl Drop for TakenSlot {
    fn drop(&mut self) {
        lock(&self.taken).slots.remove(&self.number);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_evicted(taken: &TakenSlot) -> bool {
        taken.slot.0.evicted.is_cancelled()
    }

    #[tokio::test]
    async fn the_one_that_waits_longest_for_its_client_makes_room() {
        let slots = Slots::new(3);
        let (first, second, third) = (slots.take().await, slots.take().await, slots.take().await);
        let at_work = first.slot().work();
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
            let taken = slots.take().await;
            tokio::spawn(async move {
                let _at_work = taken.slot().work();
                taken.slot().evicted().await;
            });
        }
        assert!(lock(&slots.taken).slots.len() <= 2);
    }
}
