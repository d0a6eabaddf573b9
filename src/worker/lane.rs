//! Steps that are under way, and whether another may begin beside them.
//!
//! Work that waits while a step is under way piles up and goes together: that is how batches come about. A second step
//! beside the first takes from what piles up, so it begins only where there is enough for a whole batch, or where the
//! one under way is slow: one that is stuck holds up nobody else for longer than [`PATIENCE`].

use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinSet};

/// As long as a quick step takes at the most. In work that flows nothing ever waits for this to pass.
const PATIENCE: Duration = Duration::from_millis(50);
/// As long as a step takes that has much to do, on a machine that has more to do. Whoever waits for what comes of a
/// step, and need not, waits no longer.
const LONG: Duration = Duration::from_millis(500);

/// Steps of one kind.
pub(super) struct Lane<T> {
    tasks: JoinSet<T>,
    limit: usize,
    last_began: Option<Instant>,
}

impl<T: Send + 'static> Lane<T> {
    /// With at most `limit` under way.
    pub(super) fn new(limit: usize) -> Self {
        Self { tasks: JoinSet::new(), limit, last_began: None }
    }

    /// Begins a step.
    pub(super) fn begin(&mut self, step: impl Future<Output = T> + Send + 'static) {
        self.last_began = Some(Instant::now());
        self.tasks.spawn(step);
    }

    /// Whether a step may begin now; `whole`: there is work for a whole batch.
    pub(super) fn has_room(&self, whole: bool, now: Instant) -> bool {
        let idle = self.tasks.is_empty();
        idle || (self.tasks.len() < self.limit && (whole || !self.is_quick(now)))
    }

    /// Whether something is under way that is not stuck, and will come to something soon.
    pub(super) fn flows(&self, now: Instant) -> bool {
        self.younger_than(LONG, now).is_some()
    }

    /// When either of those changes though nothing ends.
    pub(super) fn wake_at(&self, now: Instant) -> Option<Instant> {
        self.younger_than(PATIENCE, now).or_else(|| self.younger_than(LONG, now))
    }

    fn is_quick(&self, now: Instant) -> bool {
        self.younger_than(PATIENCE, now).is_some()
    }

    /// If the last step that began is under way for less than `age`: when it will have been for as long.
    fn younger_than(&self, age: Duration, now: Instant) -> Option<Instant> {
        if self.tasks.is_empty() {
            return None;
        }
        self.last_began.map(|began| began + age).filter(|then| *then > now)
    }

    /// The next step that ends; none while none is under way.
    ///
    /// # Errors
    /// If it died.
    pub(super) async fn ended(&mut self) -> Option<Result<T, JoinError>> {
        self.tasks.join_next().await
    }

    /// True if nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_step_begins_with_a_whole_batch_or_beside_a_slow_one_and_a_third_never() {
        let mut lane: Lane<()> = Lane::new(2);
        let now = Instant::now();
        assert!(lane.has_room(false, now) && !lane.flows(now));
        lane.begin(std::future::pending());
        let (now, later) = (Instant::now(), Instant::now() + PATIENCE);
        assert!(lane.has_room(true, now) && !lane.has_room(false, now) && lane.flows(now));
        assert!(lane.has_room(false, later) && lane.flows(later) && !lane.flows(now + LONG));
        assert!(lane.wake_at(now).unwrap() < later && lane.wake_at(later).unwrap() > later);
        assert_eq!(lane.wake_at(now + LONG), None);
        lane.begin(std::future::pending());
        assert!(!lane.has_room(true, later) && !lane.has_room(true, later + PATIENCE));
    }

    #[tokio::test]
    async fn what_has_ended_makes_room() {
        let mut lane = Lane::new(1);
        assert!(lane.ended().await.is_none());
        lane.begin(async { 7 });
        assert!(!lane.has_room(true, Instant::now() + PATIENCE) && !lane.is_empty());
        assert_eq!(lane.ended().await.unwrap().unwrap(), 7);
        assert!(lane.has_room(false, Instant::now()) && !lane.flows(Instant::now()));
    }
}
