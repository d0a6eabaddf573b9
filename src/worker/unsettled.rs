//! The events that are delivered and not settled yet: how long the oldest has waited. RabbitMQ delivers in order, so what
//! still is in the queue is not older. Pure: it is given the time.

use std::sync::{Arc, Weak};
use std::time::Duration;

use chrono::{DateTime, Utc};

/// One of them: since when it waits. Dropped when it is settled, or given up.
pub(super) type UnsettledEvent = Arc<DateTime<Utc>>;

/// All of them, and some that have ended.
#[derive(Debug, Default)]
pub(super) struct Unsettled(Vec<Weak<DateTime<Utc>>>);

impl Unsettled {
    /// Adds an event that has waited since then.
    pub(super) fn add(&mut self, since: DateTime<Utc>) -> UnsettledEvent {
        if self.0.len() == self.0.capacity() {
            // Those that have ended go before it grows.
            self.0.retain(|event| event.strong_count() > 0);
        }
        let event = Arc::new(since);
        self.0.push(Arc::downgrade(&event));
        event
    }

    /// How long the oldest has waited; zero if there is none.
    pub(super) fn oldest(&self, now: DateTime<Utc>) -> Duration {
        let oldest = self.0.iter().filter_map(Weak::upgrade).min();
        oldest.and_then(|since| (now - *since).to_std().ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_counts_until_it_is_dropped() {
        let (mut unsettled, start) = (Unsettled::default(), DateTime::<Utc>::UNIX_EPOCH);
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
