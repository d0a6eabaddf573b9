//! Batches by example, and with random input at given times.

use super::*;
use crate::model::course_key::CourseKey;
use proptest::prelude::*;

const INTERVAL: Duration = Duration::from_secs(5);
const LIMITS: Limits = Limits { events: 10, key_bytes: 100, min_interval: INTERVAL };

/// Every job waits by itself.
impl Supersedes for &str {
    fn supersedes(&self, _: &Self) -> bool {
        false
    }
}

/// The number of a job; the course that it is about; how often it was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Try(usize, u8, u8);

impl Supersedes for Try {
    fn supersedes(&self, other: &Self) -> bool {
        self.1 == other.1 && self.2 <= other.2
    }
}

fn run(n: u8) -> RunKey {
    CourseKey::parse(&format!("course-v1:a+b+{n}")).unwrap().run_key()
}

fn runs<J>(batch: &Batch<J>) -> Vec<RunKey> {
    batch.iter().map(|(run, _)| run.clone()).collect()
}

/// A hint is superseded by an event, and only an event goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Event,
    Hint,
}

impl Supersedes for Sent {
    fn supersedes(&self, other: &Self) -> bool {
        *self == Self::Event || *other == Self::Hint
    }

    fn goes_first(&self) -> bool {
        *self == Self::Event
    }
}

#[test]
fn runs_of_hints_go_after_those_of_events_and_move_up_with_one() {
    let mut batcher = Batcher::new(LIMITS);
    let now = Instant::now();
    for n in 1..=6 {
        batcher.push(run(n), 30, Sent::Hint);
    }
    assert_eq!(batcher.push(run(7), 30, Sent::Event), None);
    assert_eq!(batcher.push(run(5), 30, Sent::Event), Some(Sent::Hint), "the event takes its place");
    assert_eq!(batcher.push(run(5), 30, Sent::Hint), Some(Sent::Hint));
    assert_eq!(runs(&batcher.next(now).unwrap()), [run(7), run(5), run(1)]);
    assert_eq!(runs(&batcher.next(now).unwrap()), [run(2), run(3), run(4)]);
    assert_eq!(runs(&batcher.next(now).unwrap()), [run(6)]);
    assert!(batcher.next(now).is_none() && !batcher.has_due());
}

#[test]
fn behind_an_endless_stream_of_events_hints_have_a_turn_once_a_minute() {
    let mut batcher = Batcher::new(LIMITS);
    let (begun, mut turns) = (Instant::now(), Vec::new());
    for n in 1..=6 {
        batcher.push(run(n), 30, Sent::Hint);
    }
    for second in 0..=200 {
        let now = begun + Duration::from_secs(second);
        // Three fill a batch.
        for n in 0..3 {
            batcher.push(run(10 + n + 3 * (second % 8) as u8), 30, Sent::Event);
        }
        let batch = batcher.next(now).unwrap();
        batcher.done(&runs(&batch));
        if batch.iter().any(|(_, jobs)| jobs.contains(&Sent::Hint)) {
            turns.push((second, runs(&batch)));
        }
    }
    assert_eq!(turns, [(60, vec![run(1), run(2), run(3)]), (120, vec![run(4), run(5), run(6)])]);
}

#[test]
fn idle_an_event_is_a_batch_at_once() {
    let mut batcher = Batcher::new(LIMITS);
    let now = Instant::now();
    assert!(batcher.next(now).is_none() && batcher.wake_at().is_none() && !batcher.has_due());
    batcher.push(run(1), 30, "a");
    assert!(batcher.has_due() && !batcher.is_full(now));
    assert_eq!(batcher.next(now).unwrap(), [(run(1), vec!["a"])]);
    assert!(batcher.is_empty());
}

#[test]
fn under_load_a_batch_is_what_has_piled_up_and_fits() {
    let mut batcher = Batcher::new(LIMITS);
    let now = Instant::now();
    for (n, job) in [(1, "a"), (2, "b"), (1, "c"), (3, "d"), (4, "e")] {
        assert_eq!(batcher.is_full(now), n == 4);
        batcher.push(run(n), 30, job);
    }
    let first = batcher.next(now).unwrap();
    assert_eq!(first, [(run(1), vec!["a", "c"]), (run(2), vec!["b"]), (run(3), vec!["d"])]);
    assert!(!batcher.is_full(now));
    assert_eq!(runs(&batcher.next(now).unwrap()), [run(4)]);
}

#[test]
fn a_key_or_a_number_of_events_too_large_for_a_batch_goes_alone() {
    let mut batcher = Batcher::new(LIMITS);
    let now = Instant::now();
    batcher.push(run(1), 500, "");
    for _ in 0..20 {
        batcher.push(run(2), 30, "");
    }
    assert!(batcher.is_full(now));
    assert_eq!(runs(&batcher.next(now).unwrap()), [run(1)]);
    assert!(batcher.is_full(now));
    assert_eq!(batcher.next(now).unwrap()[0].1.len(), 20);
}

#[test]
fn a_run_asked_for_is_asked_again_when_answered_and_after_the_interval_for_the_last_event() {
    let mut batcher = Batcher::new(LIMITS);
    let now = Instant::now();
    batcher.push(run(1), 30, "a");
    let batch = batcher.next(now).unwrap();
    batcher.push(run(1), 30, "b");
    assert!(batcher.next(now + INTERVAL / 4).is_none(), "it is in flight");
    assert_eq!((batcher.wake_at(), batcher.early()), (None, 0));
    batcher.done(&runs(&batch));
    assert!(batcher.next(now + INTERVAL / 2).is_none(), "it was asked for just now");
    batcher.push(run(1), 30, "c");
    assert_eq!((batcher.wake_at(), batcher.early()), (Some(now + INTERVAL), 2));
    assert_eq!(batcher.next(now + INTERVAL).unwrap()[0].1, ["b", "c"], "both share the next look-up");
}

#[test]
fn of_two_events_about_one_course_the_one_tried_less_waits() {
    let mut batcher = Batcher::new(LIMITS);
    assert_eq!(batcher.push(run(1), 30, Try(0, 1, 1)), None);
    assert_eq!(batcher.push(run(1), 30, Try(1, 1, 1)), Some(Try(1, 1, 1)), "the first came first");
    assert_eq!(batcher.push(run(1), 30, Try(2, 1, 0)), Some(Try(0, 1, 1)));
    assert_eq!(
        batcher.push(run(1), 30, Try(3, 2, 0)),
        None,
        "another course of the run has a row of its own"
    );
    assert_eq!(batcher.next(Instant::now()).unwrap()[0].1, [Try(2, 1, 0), Try(3, 2, 0)]);
    assert_eq!(batcher.push(run(1), 30, Try(4, 1, 0)), None, "the request that is out may not have seen it");
}

#[test]
fn jobs_that_wait_for_the_interval_can_be_removed() {
    let mut batcher = Batcher::new(LIMITS);
    let now = Instant::now();
    batcher.push(run(1), 30, "a");
    batcher.push(run(2), 30, "b");
    let batch = batcher.next(now).unwrap();
    batcher.push(run(1), 30, "c");
    batcher.done(&[run(1)]);
    batcher.push(run(2), 30, "d");
    batcher.push(run(3), 30, "e");
    assert_eq!((runs(&batch).len(), batcher.early()), (2, 1));
    assert_eq!(batcher.take_early(), ["c"], "neither what is due nor what waits for an answer");
    assert_eq!((batcher.early(), batcher.wake_at()), (0, None));
    assert_eq!(runs(&batcher.next(now).unwrap()), [run(3)]);
    batcher.done(&[run(2)]);
    assert_eq!(batcher.drain(), ["d"]);
    assert!(batcher.is_empty());
}

proptest! {
    /// Every job ends in a batch, is superseded, or is removed: each exactly once. No run is looked up twice at once, or
    /// too early.
    #[test]
    fn no_job_is_lost_or_doubled_and_no_run_is_asked_for_too_often(
        steps in proptest::collection::vec((0..6_u8, 0..3_u8, 0..3000_u64, 0..12_u8), 1..200)
    ) {
        let mut batcher = Batcher::new(LIMITS);
        let mut now = Instant::now();
        let (mut pushed, mut ended) = (0_usize, Vec::new());
        let mut flying: Vec<Batch<Try>> = Vec::new();
        let mut last: HashMap<RunKey, Instant> = HashMap::new();
        for (n, tried, wait, chance) in steps {
            let spared = batcher.push(run(n), 30, Try(pushed, n * 2 + tried % 2, tried));
            ended.extend(spared.map(|job| job.0));
            pushed += 1;
            now += Duration::from_millis(wait);
            if chance % 2 == 0 && !flying.is_empty() {
                batcher.done(&runs(&flying.remove(0)));
            }
            if chance == 11 {
                ended.extend(batcher.take_early().iter().map(|job| job.0));
                prop_assert_eq!(batcher.early(), 0);
            }
            let (full, due) = (batcher.is_full(now), batcher.has_due());
            let batch = batcher.next(now);
            prop_assert_eq!(batch.is_some(), due);
            if let Some(batch) = batch {
                let jobs: usize = batch.iter().map(|(_, jobs)| jobs.len()).sum();
                prop_assert!(batch.len() == 1 || (jobs <= LIMITS.events && batch.len() * 30 <= LIMITS.key_bytes));
                prop_assert!(full || !batcher.has_due(), "not full, so all of it");
                for (run, jobs) in &batch {
                    prop_assert!(flying.iter().flatten().all(|(other, _)| other != run));
                    if let Some(before) = last.insert(run.clone(), now) {
                        prop_assert!(now.duration_since(before) >= INTERVAL);
                    }
                    ended.extend(jobs.iter().map(|job| job.0));
                }
                flying.push(batch);
            }
        }
        for batch in flying {
            batcher.done(&runs(&batch));
        }
        while batcher.has_due() || batcher.wake_at().is_some() {
            now = batcher.wake_at().unwrap_or(now).max(now);
            let Some(batch) = batcher.next(now) else { continue };
            ended.extend(batch.iter().flat_map(|(_, jobs)| jobs.iter().map(|job| job.0)));
            batcher.done(&runs(&batch));
        }
        ended.sort_unstable();
        prop_assert_eq!(ended, (0..pushed).collect::<Vec<_>>());
        prop_assert!(batcher.is_empty() && batcher.early() == 0);
    }
}
