//! The events that are delivered and not settled yet: how long the oldest has waited. RabbitMQ delivers in order, so what
//! still is in the queue is not older. Pure: it is given the time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;

/// Since when each of them has waited, and how many have since that moment. There are `amqp.prefetch` at most.
#[derive(Debug, Clone, Default)]
pub(super) struct Unsettled(Arc<Mutex<BTreeMap<DateTime<Utc>, usize>>>);

/// One of them; dropped when it is settled, or given up.
pub(super) struct UnsettledEvent {
    since: DateTime<Utc>,
    all: Unsettled,
}

impl Unsettled {
    /// Adds an event that has waited since then.
    pub(super) fn add(&self, since: DateTime<Utc>) -> UnsettledEvent {
        *self.0.lock().entry(since).or_default() += 1;
        UnsettledEvent { since, all: self.clone() }
    }

    /// How long the oldest has waited; zero if there is none.
    pub(super) fn oldest(&self, now: DateTime<Utc>) -> Duration {
        let since = self.0.lock().keys().next().copied();
        since.and_then(|since| (now - since).to_std().ok()).unwrap_or_default()
    }
}

impl Drop for UnsettledEvent {
    fn drop(&mut self) {
        let mut waiting = self.all.0.lock();
        if let Some(others) = waiting.get_mut(&self.since) {
            *others -= 1;
            if *others == 0 {
                waiting.remove(&self.since);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_counts_until_it_is_dropped() {
        let (unsettled, start) = (Unsettled::default(), DateTime::<Utc>::UNIX_EPOCH);
        let at = |seconds: i64| start + chrono::TimeDelta::seconds(seconds);
        assert_eq!(unsettled.oldest(at(9)), Duration::ZERO);
        let (young, old, twin) = (unsettled.add(at(5)), unsettled.add(at(1)), unsettled.add(at(1)));
        assert_eq!(unsettled.oldest(at(9)), Duration::from_secs(8));
        drop(old);
        assert_eq!(unsettled.oldest(at(9)), Duration::from_secs(8), "another has waited as long");
        drop(twin);
        assert_eq!(unsettled.oldest(at(9)), Duration::from_secs(4));
        drop(young);
        assert_eq!(unsettled.oldest(at(9)), Duration::ZERO);
        let _ahead = unsettled.add(at(20));
        assert_eq!(unsettled.oldest(at(9)), Duration::ZERO, "its sender's clock is ahead");
    }
}
