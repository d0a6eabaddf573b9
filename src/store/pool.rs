//! Which pooled connections may be used: not one that was open when a statement had no answer, a connection broke, or
//! a COMMIT or ROLLBACK failed. It may hang for ever, or still be inside its transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::Connection;
use sqlx::pool::PoolOptions;

/// A connection that nobody used for so long is asked whether it lives; asking costs as much as a short statement.
const TESTED_AFTER: Duration = Duration::from_secs(1);
/// How long that may take: a connection that hangs leaves its place in the pool to a new one.
const PING: Duration = Duration::from_secs(2);
/// A connection's age is read a moment before it is judged: one that looks so much younger may be older.
const SLACK: Duration = Duration::from_millis(10);

/// From when on connections are trusted.
pub(super) struct Trust {
    start: Instant,
    /// Microseconds after `start`.
    since: AtomicU64,
}

impl Trust {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), since: AtomicU64::new(0) }
    }

    /// Trusts no connection that is open now.
    pub(super) fn lose(&self) {
        let since = (self.start.elapsed() + SLACK).as_micros();
        self.since.fetch_max(u64::try_from(since).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Whether a connection of this age may be used.
    fn holds(&self, age: Duration) -> bool {
        let since = Duration::from_micros(self.since.load(Ordering::SeqCst));
        since.is_zero() || self.start.elapsed().saturating_sub(age) > since
    }
}

/// Has the pool close connections that are not trusted: when they come back, and before they are given out.
pub(super) fn guarded<DB: sqlx::Database>(pool: PoolOptions<DB>, trust: &Arc<Trust>) -> PoolOptions<DB> {
    let (before, after) = (trust.clone(), trust.clone());
    pool.before_acquire(move |connection, meta| {
        let trust = before.clone();
        Box::pin(async move {
            if !trust.holds(meta.age) {
                return Ok(false);
            }
            if meta.idle_for < TESTED_AFTER || pings(connection).await {
                return Ok(true);
            }
            trust.lose();
            Ok(false)
        })
    })
    .after_release(move |connection, meta| {
        let trust = after.clone();
        Box::pin(async move {
            // The pool asks it too, but without a limit. And whatever was still to be sent, such as a ROLLBACK, is done
            // when it has answered: one that is in a transaction after that will not leave it.
            Ok(trust.holds(meta.age) && pings(connection).await && !connection.is_in_transaction())
        })
    })
}

async fn pings<C: Connection>(connection: &mut C) -> bool {
    matches!(tokio::time::timeout(PING, connection.ping()).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_open_when_trust_was_lost_is_not_used_again() {
        let trust = Trust::new();
        assert!(trust.holds(Duration::ZERO) && trust.holds(Duration::from_secs(60)));
        trust.lose();
        assert!(!trust.holds(Duration::ZERO) && !trust.holds(Duration::from_secs(60)));
        std::thread::sleep(SLACK * 2);
        assert!(trust.holds(Duration::ZERO) && !trust.holds(Duration::from_secs(1)));
    }
}
