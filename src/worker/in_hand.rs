//! The events in hand: how long the oldest has waited. RabbitMQ delivers in order, so what still waits in the queue is not
//! older. Pure: it is given the time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;

/// Since when each event in hand has waited, and how many have since that moment. At most `amqp.prefetch` are in hand.
#[derive(Debug, Clone, Default)]
pub(super) struct InHand(Arc<Mutex<BTreeMap<DateTime<Utc>, usize>>>);

/// One event in hand; dropped when it is settled, or given up.
pub(super) struct Held {
    since: DateTime<Utc>,
    all: InHand,
}

impl InHand {
    /// Adds an event that has waited since then.
    pub(super) fn hold(&self, since: DateTime<Utc>) -> Held {
        *self.0.lock().entry(since).or_default() += 1;
        Held { since, all: self.clone() }
    }

    /// How long the oldest has waited; zero if there is none.
    pub(super) fn oldest(&self, now: DateTime<Utc>) -> Duration {
        let since = self.0.lock().keys().next().copied();
        since.and_then(|since| (now - since).to_std().ok()).unwrap_or_default()
    }
}

impl Drop for Held {
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
        let (in_hand, start) = (InHand::default(), DateTime::<Utc>::UNIX_EPOCH);
        let at = |seconds: i64| start + chrono::TimeDelta::seconds(seconds);
        assert_eq!(in_hand.oldest(at(9)), Duration::ZERO);
        let (young, old, twin) = (in_hand.hold(at(5)), in_hand.hold(at(1)), in_hand.hold(at(1)));
        assert_eq!(in_hand.oldest(at(9)), Duration::from_secs(8));
        drop(old);
        assert_eq!(in_hand.oldest(at(9)), Duration::from_secs(8), "another has waited as long");
        drop(twin);
        assert_eq!(in_hand.oldest(at(9)), Duration::from_secs(4));
        drop(young);
        assert_eq!(in_hand.oldest(at(9)), Duration::ZERO);
        let _ahead = in_hand.hold(at(20));
        assert_eq!(in_hand.oldest(at(9)), Duration::ZERO, "its sender's clock is ahead");
    }
}
