//! The judge, judged: histories in which something is lost or wrong must not pass.

use std::time::Duration;

use super::{Verdict, judge, percentile};
use crate::history::{Cell, Event, Found, Hand, History, Poison, Write};

/// A history of one run, written as `(time, hand, new)`; its events as `(id, version, time, wiped)`.
fn history(writes: &[(u64, Hand, Cell)], events: &[(u64, u32, u64, bool)], catalog: u32) -> History {
    let mut old = Cell::Blank;
    let writes = writes.iter().map(|(at, by, new)| {
        let old = std::mem::replace(&mut old, new.clone());
        Write { at: *at, by: *by, run: 0, old, new: new.clone() }
    });
    let writes: Vec<Write> = writes.collect();
    let last = writes.last().map_or(Cell::Blank, |write| write.new.clone());
    let event = |&(id, version, sent_at, wiped): &(u64, u32, u64, bool)| Event {
        id,
        run: 0,
        version,
        sent_at,
        wiped,
    };
    History {
        columns: vec![last],
        catalog: vec![catalog],
        events: events.iter().map(event).collect(),
        writes,
        ended_at: 100,
        ..History::default()
    }
}

fn v(version: u32) -> Cell {
    Cell::Version(version)
}

const WORKER: Hand = Hand::Worker;
const LMS: Hand = Hand::Lms;

fn sums(verdict: &Verdict) -> (usize, usize, usize, usize) {
    (verdict.published, verdict.applied, verdict.lost, verdict.wrong)
}

#[test]
fn a_good_history_passes_and_its_times_are_told() {
    let writes = [
        (10, WORKER, v(1)),
        (20, LMS, Cell::Absent),
        (21, LMS, Cell::Blank),
        (25, WORKER, v(1)),
        (31, WORKER, v(2)),
    ];
    let verdict = judge(&history(&writes, &[(1, 1, 5, false), (2, 1, 22, true), (3, 2, 30, false)], 2));
    assert_eq!(sums(&verdict), (3, 3, 0, 0), "{verdict:?}");
    assert_eq!(verdict.longest_blank, Duration::from_micros(5));
    assert_eq!(verdict.restored, [Duration::from_micros(3)]);
    assert_eq!(verdict.healed, [Duration::from_micros(5)]);
    assert_eq!(verdict.duplicated, 0);
}

#[test]
fn an_event_that_nobody_acted_on_is_lost_unless_it_waits() {
    let mut history = history(&[(10, WORKER, v(1))], &[(1, 1, 5, false), (2, 2, 20, false)], 2);
    let verdict = judge(&history);
    assert_eq!(sums(&verdict), (2, 1, 1, 1), "the column is wrong, and the event is lost");
    history.waiting.push(Found { id: Some(2), reason: None });
    let verdict = judge(&history);
    assert_eq!((verdict.lost, verdict.parked, verdict.wrong), (0, 1, 1));
}

#[test]
fn an_older_url_over_a_newer_one_is_wrong_even_if_it_is_put_right_later() {
    let writes = [(10, WORKER, v(1)), (20, WORKER, v(2)), (30, WORKER, v(1)), (40, WORKER, v(2))];
    let verdict = judge(&history(&writes, &[], 2));
    assert_eq!((verdict.wrong, verdict.lost), (1, 0));
    let by_the_lms = [(10, WORKER, v(1)), (20, WORKER, v(2)), (30, LMS, v(1)), (40, WORKER, v(2))];
    let verdict = judge(&history(&by_the_lms, &[], 2));
    assert_eq!((verdict.wrong, verdict.healed), (0, vec![Duration::from_micros(10)]));
}

#[test]
fn a_blanked_foreign_or_invented_url_is_wrong() {
    for bad in [Cell::Blank, Cell::Foreign("https://elsewhere.invalid/".to_owned()), v(9)] {
        let writes = [(10, WORKER, v(1)), (20, WORKER, bad.clone()), (30, LMS, v(1))];
        assert_eq!(judge(&history(&writes, &[], 1)).wrong, 1, "{bad:?}");
    }
}

#[test]
fn a_write_that_changes_nothing_is_counted() {
    assert_eq!(judge(&history(&[(10, WORKER, v(1)), (20, WORKER, v(1))], &[], 1)).duplicated, 1);
}

#[test]
fn a_blank_that_lasts_to_the_end_is_counted_to_the_end_and_wrong() {
    let verdict = judge(&history(&[(10, WORKER, v(1)), (40, LMS, Cell::Blank)], &[(1, 1, 41, true)], 1));
    assert_eq!(verdict.longest_blank, Duration::from_micros(60));
    assert_eq!((verdict.lost, verdict.wrong, verdict.applied), (1, 1, 0));
}

#[test]
fn poison_is_dead_once_with_a_reason_and_nothing_else_is() {
    let found = |id, reason: Option<&str>| Found { id, reason: reason.map(str::to_owned) };
    let cases = [
        (vec![found(Some(7), Some("no JSON"))], (0, 0)),
        (vec![], (1, 0)),
        (vec![found(Some(7), None)], (0, 1)),
        (vec![found(Some(7), Some("x")), found(Some(7), Some("x"))], (0, 1)),
        (vec![found(Some(7), Some("x")), found(Some(1), Some("x"))], (0, 1)),
        (vec![found(Some(7), Some("x")), found(None, None)], (0, 1)),
    ];
    for (dead, expected) in cases {
        let mut history = history(&[(10, WORKER, v(1))], &[(1, 1, 5, false)], 1);
        history.poison.push(Poison { id: 7, kind: "broken JSON" });
        history.dead = dead.clone();
        let verdict = judge(&history);
        assert_eq!((verdict.lost, verdict.wrong), expected, "{dead:?}");
    }
}

#[test]
fn a_percentile_is_one_of_the_times() {
    let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
    assert_eq!(percentile(&times, 99), Duration::from_millis(198));
    assert_eq!(percentile(&times[..1], 99), Duration::from_millis(1));
    assert_eq!(percentile(&[], 99), Duration::ZERO);
}
