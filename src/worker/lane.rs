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

/// A step that could begin, and is held back for what is about to join it; not for long, as what it waits for may come
/// again and again.
#[derive(Debug, Default)]
pub(super) struct Hold {
    since: Option<Instant>,
}

impl Hold {
    /// Whether it is to be held back at `now`, as it may have been before.
    pub(super) fn holds(&mut self, now: Instant) -> bool {
        now < *self.since.get_or_insert(now) + LONG
    }

    /// It begins, or there is nothing to begin.
    pub(super) fn end(&mut self) {
        self.since = None;
    }

    /// When it is held back no more.
    pub(super) fn wake_at(&self, now: Instant) -> Option<Instant> {
        self.since.map(|since| since + LONG).filter(|then| *then > now)
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

    #[test]
    fn what_is_held_back_is_so_for_half_a_second_at_most() {
        let (mut hold, now) = (Hold::default(), Instant::now());
        assert_eq!(hold.wake_at(now), None);
        assert!(hold.holds(now) && hold.holds(now + LONG / 2), "another look begins no other wait");
        assert_eq!(hold.wake_at(now), Some(now + LONG));
        assert!(!hold.holds(now + LONG) && hold.wake_at(now + LONG).is_none());
        hold.end();
        assert!(hold.holds(now + LONG));
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
