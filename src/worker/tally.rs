//! Logs many events in one line with their number, so that a faulty sender does not fill the log. Pure: it is given the
//! time.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The pause between two lines.
const PAUSE: Duration = Duration::from_secs(10);

/// Events that are not in the log yet.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: u64,
    /// The first of them.
    first: Option<First>,
    logged_at: Option<Instant>,
}

/// Of the first of several events, the reason and the course.
pub(super) type First = (String, Option<String>);

impl Tally {
    /// Adds an event.
    pub(super) fn add(&self, first: impl FnOnce() -> First) {
        let mut state = self.0.lock();
        state.waiting += 1;
        state.first.get_or_insert_with(first);
    }

    /// The number of events to log now, and the first of them. None before the pause is over, unless this is the `last`
    /// chance.
    pub(super) fn due(&self, now: Instant, last: bool) -> Option<(u64, First)> {
        let mut state = self.0.lock();
        let paused = state.logged_at.is_none_or(|at| now.saturating_duration_since(at) >= PAUSE);
        if !paused && !last {
            return None;
        }
        let first = state.first.take()?;
        state.logged_at = Some(now);
        Some((std::mem::take(&mut state.waiting), first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(reason: &str) -> First {
        (reason.to_owned(), None)
    }

    #[test]
    fn the_first_is_logged_at_once_and_those_that_follow_together() {
        let (tally, start) = (Tally::default(), Instant::now());
        assert_eq!(tally.due(start, false), None);
        tally.add(|| first("a"));
        assert_eq!(tally.due(start, false), Some((1, first("a"))));
        (0..500).for_each(|_| tally.add(|| first("b")));
        assert_eq!(tally.due(start + PAUSE / 2, false), None);
        assert_eq!(tally.due(start + PAUSE, false), Some((500, first("b"))));
        assert_eq!(tally.due(start + PAUSE * 9, false), None);
        tally.add(|| first("c"));
        tally.add(|| first("d"));
        assert_eq!(tally.due(start + PAUSE * 9, true), Some((2, first("c"))));
    }
}
