//! The running steps of one kind, and whether another may start.
//!
//! Work that waits while a step runs piles up and makes one batch. A second step takes from that, so it starts only with a
//! whole batch, or beside a slow step: one that hangs delays no other for longer than [`PATIENCE`].

use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinSet};

/// Longer than a step takes when nothing is slow.
pub(super) const PATIENCE: Duration = Duration::from_millis(50);

/// Steps of one kind.
pub(super) struct StepPool<T> {
    tasks: JoinSet<T>,
    limit: usize,
    last_start: Option<Instant>,
}

impl<T: Send + 'static> StepPool<T> {
    /// At most `limit` run at once.
    pub(super) fn new(limit: usize) -> Self {
        Self { tasks: JoinSet::new(), limit, last_start: None }
    }

    /// Starts a step.
    pub(super) fn start(&mut self, step: impl Future<Output = T> + Send + 'static) {
        self.last_start = Some(Instant::now());
        self.tasks.spawn(step);
    }

    /// Whether a step may start now; `whole`: there is work for a whole batch.
    pub(super) fn has_room(&self, whole: bool, now: Instant) -> bool {
        self.tasks.is_empty() || (self.tasks.len() < self.limit && (whole || self.wake_at(now).is_none()))
    }

    /// When the last step counts as slow, if it does not yet.
    pub(super) fn wake_at(&self, now: Instant) -> Option<Instant> {
        let running = !self.tasks.is_empty();
        self.last_start.map(|start| start + PATIENCE).filter(|then| running && *then > now)
    }

    /// The next step that ends. None while none runs.
    ///
    /// # Errors
    /// If it panicked.
    pub(super) async fn ended(&mut self) -> Option<Result<T, JoinError>> {
        self.tasks.join_next().await
    }

    /// True if no step runs.
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_step_starts_with_a_whole_batch_or_beside_a_slow_one_and_a_third_never() {
        let mut pool: StepPool<()> = StepPool::new(2);
        let now = Instant::now();
        assert!(pool.has_room(false, now) && pool.wake_at(now).is_none());
        pool.start(std::future::pending());
        let (now, later) = (Instant::now(), Instant::now() + PATIENCE);
        assert!(pool.has_room(true, now) && !pool.has_room(false, now) && pool.has_room(false, later));
        assert!(pool.wake_at(now).unwrap() < later && pool.wake_at(later).is_none());
        pool.start(std::future::pending());
        assert!(!pool.has_room(true, later) && !pool.has_room(true, later + PATIENCE));
    }

    #[tokio::test]
    async fn a_step_that_has_ended_makes_room() {
        let mut pool = StepPool::new(1);
        assert!(pool.ended().await.is_none());
        pool.start(async { 7 });
        assert!(!pool.has_room(true, Instant::now() + PATIENCE) && !pool.is_empty());
        assert_eq!(pool.ended().await.unwrap().unwrap(), 7);
        assert!(pool.has_room(false, Instant::now()) && pool.is_empty());
    }
}
