//! How many runs to ask for at once, and how many requests to have out: found by how long pages take.
//!
//! Pure: it is given what pages cost. Serialising a run costs a Catalog some milliseconds whatever the page size
//! (5 ms were seen, the page's own cost is a fifth of a second), so bigger pages are cheaper until they grow so slow
//! that a time limit, a proxy or a learner's request in between suffers: about three seconds.

use std::time::Duration;

/// The sizes that are chosen from. They are few and pages begin at their multiples, so that a pass asks for the same URLs
/// as the one before, which the Catalog answers from its cache where nothing was saved.
const STEPS: [u32; 6] = [SMALLEST, 50, FIRST, 200, 500, LARGEST];
/// A larger page is tried if it is likely to take less than this.
const WELCOME: Duration = Duration::from_millis(3500);
/// A page that takes longer than this is too large.
const TOO_LONG: Duration = Duration::from_secs(5);
/// Where a first pass begins: what the LMS's own command asked for.
pub(super) const FIRST: u32 = 100;
/// The smallest of the sizes.
pub(super) const SMALLEST: u32 = 20;
/// The largest of the sizes.
pub(super) const LARGEST: u32 = 1000;
/// Pages after one that failed, until a larger one is tried again.
const PATIENCE: u32 = 8;

/// The page size of one pass.
#[derive(Debug, Clone)]
pub(super) struct PageSize {
    now: u32,
    grows: bool,
    shrinks: bool,
    /// Pages to be read before it may grow.
    patience: u32,
}

impl PageSize {
    /// Always `size`; a page that fails is still split.
    pub(super) fn fixed(size: u32) -> Self {
        Self { now: size.max(1), grows: false, shrinks: false, patience: 0 }
    }

    /// Found on the way, beginning where the last pass ended.
    pub(super) fn auto(last: Option<u32>) -> Self {
        let now = nearest(last.unwrap_or(FIRST));
        Self { grows: true, shrinks: true, ..Self::fixed(now) }
    }

    /// That of the last pass, unless it is too large.
    pub(super) fn kept(last: Option<u32>) -> Self {
        Self { grows: false, ..Self::auto(last) }
    }

    /// Goes on with the size that another had come to.
    pub(super) fn resume_at(&mut self, size: u32) {
        if self.shrinks && size > 0 {
            self.now = nearest(size);
        }
    }

    /// Runs a page.
    pub(super) fn now(&self) -> u32 {
        self.now
    }

    /// What to ask for first, with nothing else out: short, as nothing else goes on meanwhile.
    pub(super) fn first(&self) -> u32 {
        if self.grows { self.now().min(FIRST) } else { self.now() }
    }

    /// A page of `asked` runs came back whole, after `elapsed`.
    pub(super) fn took(&mut self, asked: u32, elapsed: Duration) {
        // A part of a page, or one asked for before the size last changed, says little about this size.
        if asked != self.now() {
            return;
        }
        self.patience = self.patience.saturating_sub(1);
        if self.shrinks && elapsed > TOO_LONG {
            self.now = below(self.now);
        } else if self.grows && self.patience == 0 {
            let above = above(self.now);
            let likely = elapsed.mul_f64(f64::from(above) / f64::from(asked));
            self.now = if likely <= WELCOME { above } else { self.now };
        }
    }

    /// A page of `asked` runs failed in a way that a smaller one may not.
    pub(super) fn failed(&mut self, asked: u32) {
        // The parts that it is searched by fail on: only a page of the present size says that the size is too big.
        if self.shrinks && asked >= self.now() {
            self.now = below(self.now());
            self.patience = PATIENCE;
        }
    }
}

fn nearest(size: u32) -> u32 {
    let size = f64::from(size.max(1));
    // By ratio: 370 is nearer to 500 than to 200.
    let apart = |step: &u32| (f64::from(*step) / size).ln().abs();
    STEPS.into_iter().min_by(|a, b| apart(a).total_cmp(&apart(b))).unwrap_or(FIRST)
}

fn below(size: u32) -> u32 {
    STEPS.into_iter().rev().find(|step| *step < size).unwrap_or(SMALLEST)
}

fn above(size: u32) -> u32 {
    STEPS.into_iter().find(|step| *step > size).unwrap_or(LARGEST)
}

/// From here on a page is slow, and what several at once cost is looked at.
const SLOW: Duration = Duration::from_millis(500);
/// Slow pages in a row that gain too little, before going back to one.
const POOR: u32 = 4;
/// Under this gain in throughput, several at once only make the Catalog's other users wait. The page that went alone
/// was the first, a short one, which costs some more a run.
const WORTH: f64 = 1.4;

/// How many requests to have out at once: goes back to one if more do not help.
#[derive(Debug, Clone)]
pub(super) struct AtOnce {
    allowed: usize,
    /// Seconds a run of a slow page that went alone.
    alone: Option<f64>,
    /// Slow pages in a row that gained too little by not going alone.
    poor: u32,
}

impl AtOnce {
    /// At most `allowed`, as in `catalog.concurrency`.
    pub(super) fn new(allowed: usize) -> Self {
        Self { allowed: allowed.max(1), alone: None, poor: 0 }
    }

    /// How many may be out now.
    pub(super) fn now(&self) -> usize {
        self.allowed
    }

    /// A page with `rows` runs took `elapsed` while `out` requests were out, itself included.
    /// Returns true if that was the moment to go back to one at a time.
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    pub(super) fn took(&mut self, rows: usize, elapsed: Duration, out: usize) -> bool {
        if self.allowed == 1 || rows == 0 || elapsed < SLOW {
            return false;
        }
        let a_run = elapsed.as_secs_f64() / rows as f64;
        if out <= 1 {
            self.alone = Some(a_run);
        }
        let gain = self.alone.map_or(f64::INFINITY, |alone| out as f64 * alone / a_run);
        self.poor = if out > 1 && gain < WORTH { self.poor + 1 } else { 0 };
        if self.poor == POOR {
            self.allowed = 1;
        }
        self.poor == POOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Plays pages of a Catalog that needs `page` + `run` × rows; says where the size ends.
    fn settle(mut size: PageSize, page: Duration, run: Duration) -> u32 {
        for _ in 0..30 {
            let asked = size.now();
            size.took(asked, page + run * asked);
        }
        size.now()
    }

    #[test]
    fn it_grows_until_a_larger_page_would_take_too_long() {
        assert_eq!(settle(PageSize::auto(None), ms(200), ms(5)), 500);
        assert_eq!(settle(PageSize::auto(None), ms(5), ms(0)), LARGEST);
        assert_eq!(settle(PageSize::auto(None), ms(9000), ms(0)), SMALLEST);
        assert_eq!(settle(PageSize::fixed(33), ms(9000), ms(0)), 33);
    }

    #[test]
    fn a_size_that_is_kept_only_shrinks() {
        assert_eq!(settle(PageSize::kept(Some(200)), ms(5), ms(0)), 200);
        assert_eq!(settle(PageSize::kept(Some(500)), ms(0), ms(20)), 200);
        assert_eq!(PageSize::kept(Some(500)).first(), 500);
    }

    #[test]
    fn it_begins_where_the_last_pass_ended() {
        assert_eq!(PageSize::auto(None).now(), 100);
        assert_eq!(PageSize::auto(Some(370)).now(), 500);
        assert_eq!(PageSize::auto(Some(9000)).now(), 1000);
    }

    #[test]
    fn a_page_that_fails_makes_it_smaller_and_parts_of_it_do_not() {
        let mut size = PageSize::auto(Some(500));
        size.failed(500);
        assert_eq!(size.now(), 200);
        for part in [100, 50, 25] {
            size.failed(part);
        }
        assert_eq!(size.now(), 200);
        size.took(200, ms(10));
        assert_eq!(size.now(), 200, "what failed is not tried again at once");
        (0..PATIENCE).for_each(|_| size.took(200, ms(10)));
        assert_eq!(size.now(), 500);
        let mut fixed = PageSize::fixed(400);
        fixed.failed(400);
        assert_eq!(fixed.now(), 400);
    }

    #[test]
    fn several_at_once_are_given_up_when_they_only_slow_each_other() {
        let mut at_once = AtOnce::new(2);
        assert!(!at_once.took(100, ms(600), 1));
        let gave_up: Vec<bool> = (0..4).map(|_| at_once.took(100, ms(1150), 2)).collect();
        assert_eq!(gave_up, [false, false, false, true]);
        assert_eq!(at_once.now(), 1);
    }

    #[test]
    fn several_at_once_stay_when_they_help_or_when_pages_are_quick() {
        for (alone, together) in [(600, 700), (20, 60)] {
            let mut at_once = AtOnce::new(2);
            at_once.took(100, ms(alone), 1);
            for _ in 0..20 {
                assert!(!at_once.took(100, ms(together), 2));
            }
            assert_eq!(at_once.now(), 2);
        }
    }

    proptest! {
        #[test]
        fn whatever_happens_it_stays_within_its_bounds(
            last in proptest::option::of(0..5000_u32),
            steps in proptest::collection::vec((any::<bool>(), 0..120_000_u64, 0..4_u32), 0..200),
        ) {
            let mut size = PageSize::auto(last);
            for (ok, elapsed, divisor) in steps {
                let asked = size.now() >> divisor;
                if ok { size.took(asked, ms(elapsed)) } else { size.failed(asked) }
                prop_assert!(STEPS.contains(&size.now()));
            }
        }
    }
}
