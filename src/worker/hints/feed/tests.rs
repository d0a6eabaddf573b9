//! That hints miss nothing, over histories of a Catalog whose clock is off and whose stamps show late.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::course_key::CourseKey;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;

fn at(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_795_000_000 * SECOND + micros).unwrap()
}

fn changed(course: &str, stamp: i64) -> Changed {
    let runs = vec![CourseKey::parse(&format!("course-v1:{course}+r")).unwrap()];
    Changed { course: course.to_owned(), stamp: at(stamp), runs }
}

fn answer(courses: Vec<Changed>) -> Changes {
    Changes { courses, complete: true, ..Changes::default() }
}

fn asked(micros: i64) -> Asked {
    Asked { at: at(micros), took: TimeDelta::zero() }
}

fn position(micros: i64, as_of: i64) -> HintPosition {
    HintPosition { position: at(micros), asked_at: at(as_of), ..present(at(0), None) }
}

/// One save: when, how long until it is committed, and to which course.
#[derive(Debug, Clone)]
struct Save {
    at: i64,
    committed_after: i64,
    course: u8,
}

/// One question after a pause, and what befalls the worker.
#[derive(Debug, Clone, Copy)]
struct Round {
    pause: i64,
    took: i64,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    /// The Catalog, the database or the broker is out.
    Fails,
    /// Killed after the hints were sent, and before the position was moved.
    Killed,
    /// Stopped afterwards; another worker goes on.
    Restarted,
}

fn save() -> impl Strategy<Value = Save> {
    // Some share a microsecond; some are on the full minute, as questions and positions are.
    let when = prop_oneof![
        3 => 0..600 * MINUTE,
        1 => (0..600i64).prop_map(|minute| minute * MINUTE),
        1 => (0..60i64).prop_map(|n| 100 * MINUTE + n / 10),
    ];
    (when, prop_oneof![Just(0), 0..=2 * MINUTE, Just(2 * MINUTE)], 0..6u8)
        .prop_map(|(at, committed_after, course)| Save { at, committed_after, course })
}

fn round() -> impl Strategy<Value = Round> {
    let fate = prop_oneof![
        6 => Just(Fate::Fine), 1 => Just(Fate::Fails), 1 => Just(Fate::Killed), 1 => Just(Fate::Restarted),
    ];
    let pause = prop_oneof![20 => Just(5 * MINUTE), 4 => 0..10 * MINUTE, 1 => Just(360 * MINUTE)];
    (pause, prop_oneof![4 => Just(0), 1 => 0..MINUTE], fate).prop_map(|(pause, took, fate)| Round {
        pause,
        took,
        fate,
    })
}

/// What the list shows at `now`: the stamp of each course's last commit.
fn shown(saves: &[(i64, i64, u8)], now: i64) -> BTreeMap<u8, i64> {
    let mut committed: Vec<_> = saves.iter().filter(|(shows, ..)| *shows <= now).collect();
    committed.sort();
    committed.into_iter().map(|(_, stamp, course)| (*course, *stamp)).collect()
}

/// The sent hints, each with the time at which its answer was made, course and stamp.
fn play(saves: &[(i64, i64, u8)], rounds: &[Round]) -> Vec<(i64, u8, i64)> {
    let (mut now, mut sent, mut memory) = (0, Vec::new(), Memory::new());
    let mut stored = present(at(0), None);
    let calm = Round { pause: 5 * MINUTE, took: 0, fate: Fate::Fine };
    for round in rounds.iter().copied().chain([calm; 130]) {
        now += round.pause;
        if round.fate == Fate::Fails {
            continue;
        }
        let begun = now;
        // The answer is of some moment between.
        let made = begun + round.took / 2;
        now += round.took;
        let since = stored.position;
        let listed = shown(saves, made).into_iter().filter(|(_, stamp)| at(*stamp) >= since);
        let listed: Vec<_> = listed.map(|(course, stamp)| changed(&format!("O+{course}"), stamp)).collect();
        let asked = Asked { at: at(begun), took: TimeDelta::microseconds(round.took) };
        let rows = listed.len();
        let step = step(stored, asked, answer(listed), &memory).unwrap();
        assert!(step.seen.len() <= rows && !step.pass);
        for course in &step.publish {
            let number = course.course[2..].parse().unwrap();
            sent.push((made, number, (course.stamp - at(0)).num_microseconds().unwrap()));
        }
        if round.fate == Fate::Killed {
            memory.clear();
            continue;
        }
        assert!(step.next.position >= stored.position, "the position never goes back");
        (stored, memory) = (step.next, step.seen);
        if round.fate == Fate::Restarted {
            memory.clear();
        }
    }
    sent
}

fn nothing_is_missed(saves: &[Save], rounds: &[Round], clock: i64) -> Result<(), TestCaseError> {
    let saves: Vec<_> =
        saves.iter().map(|save| (save.at + save.committed_after, save.at + clock, save.course)).collect();
    let sent = play(&saves, rounds);
    for (shows, stamp, course) in &saves {
        // Of two saves of one course in one microsecond the second looks like the first, whose hints come again later: so do
        // both of them wait, and what showed between.
        let is_between = saves.iter().enumerate().any(|(n, (first, twin, of))| {
            let mut others = saves[n + 1..].iter().filter(|(_, other, of)| (other, of) == (twin, course));
            of == course && others.any(|(last, ..)| (first.min(last)..=first.max(last)).contains(&shows))
        });
        let waits = if is_between { 15 * MINUTE } else { 0 };
        let is_seen = sent.iter().any(|(at, of, _)| of == course && at + waits >= *shows);
        prop_assert!(is_seen, "{course} with stamp {stamp}, shown at {shows}, of {sent:?}");
    }
    let troubled = rounds.iter().any(|round| matches!(round.fate, Fate::Killed | Fate::Restarted));
    if !troubled {
        for (n, (_, course, stamp)) in sent.iter().enumerate() {
            let before = sent[..n].iter().rev().find(|(_, of, _)| of == course);
            prop_assert!(before.is_none_or(|(_, _, last)| last != stamp), "sent twice: {course} {stamp}");
        }
    }
    Ok(())
}

/// Found by chance: the third save shows like the second, and after the first.
#[test]
fn what_shows_between_two_saves_of_one_microsecond_waits_as_long_as_they() {
    let save = |at, committed_after| Save { at, committed_after, course: 2 };
    let saves = [save(6_000_000_000, 53_017_748), save(6_000_000_004, 120_000_000), save(6_000_000_004, 0)];
    // So that a question comes between the third and the first.
    let round = Round { pause: 5 * MINUTE + MINUTE / 6, took: 0, fate: Fate::Fine };
    nothing_is_missed(&saves, &[round], 0).unwrap();
}

proptest! {
    /// 10,000 cases: `PROPTEST_CASES=10000 cargo test --lib no_history`.
    #[test]
    fn no_history_hides_a_change(
        saves in proptest::collection::vec(save(), 1..30),
        rounds in proptest::collection::vec(round(), 0..120),
        clock in prop_oneof![Just(0), Just(-2 * MINUTE), Just(2 * MINUTE), -2 * MINUTE..=2 * MINUTE],
    ) {
        nothing_is_missed(&saves, &rounds, clock)?;
    }

    /// A stamp of any time at all moves the position nowhere from which a change would be missed.
    #[test]
    fn no_stamp_moves_the_position_near_the_present(
        stamps in proptest::collection::vec(-MINUTE..i64::from(u32::MAX) * SECOND, 0..20), since in 0..1000 * MINUTE,
    ) {
        let courses: Vec<_> = stamps.iter().enumerate().map(|(n, stamp)| changed(&format!("O+{n}"), *stamp)).collect();
        let before = position(-11 * MINUTE, -MINUTE);
        let Ok(step) = step(before, asked(since), answer(courses), &Memory::new()) else { return Ok(()) };
        prop_assert!(step.next.position <= at(since - 8 * MINUTE));
        prop_assert!(step.next.position >= before.position);
    }
}

#[test]
fn the_position_follows_the_largest_credible_stamp_and_time() {
    let before = position(0, 10 * MINUTE);
    let next = |courses| step(before, asked(15 * MINUTE), answer(courses), &Memory::new()).unwrap().next;
    assert_eq!(next(vec![]), position(5 * MINUTE, 15 * MINUTE), "nothing changes, and time goes on");
    let (early, late) = (changed("O+1", 14 * MINUTE), changed("O+2", 16 * MINUTE));
    assert_eq!(next(vec![early.clone(), late]), position(6 * MINUTE, 15 * MINUTE));
    assert_eq!(
        next(vec![early, changed("O+2", 18 * MINUTE)]),
        position(5 * MINUTE, 15 * MINUTE),
        "a mistake"
    );
}

#[test]
fn what_comes_again_is_sent_once_and_what_changed_again_is_sent_again() {
    let before = position(0, 10 * MINUTE);
    let first = step(before, asked(10 * MINUTE), answer(vec![changed("O+1", 5)]), &Memory::new()).unwrap();
    assert_eq!(first.publish.len(), 1);
    let again = vec![changed("O+1", 5), changed("O+2", 5)];
    let second = step(before, asked(10 * MINUTE), answer(again), &first.seen).unwrap();
    assert_eq!(second.publish, [changed("O+2", 5)]);
    let third = step(before, asked(10 * MINUTE), answer(vec![changed("O+1", 4)]), &second.seen).unwrap();
    assert_eq!(third.publish.len(), 1, "committed later with an older stamp");
}

#[test]
fn an_answer_that_the_filter_cannot_have_given_is_refused() {
    let ask = |changes| step(position(0, 0), asked(0), changes, &Memory::new());
    assert!(ask(answer(vec![changed("O+1", -2 * SECOND)])).unwrap_err().contains("ignores the filter"));
    assert!(ask(answer(vec![changed("O+1", -SECOND)])).is_ok());
    let unstamped = Changes { unstamped: 1, ..answer(vec![]) };
    assert!(ask(unstamped.clone()).unwrap_err().contains("data_modified_timestamp"));
    assert!(ask(Changes { courses: vec![changed("O+1", 0)], ..unstamped }).is_ok());
    assert!(ask(Changes { odd: 1, ..answer(vec![]) }).is_ok());
}

#[test]
fn more_than_hints_are_good_for_is_left_to_a_pass() {
    let courses = |count| (0..count).map(|n| changed(&format!("O+{n}"), 0)).collect::<Vec<_>>();
    let ask = |changes| step(position(0, 0), asked(0), changes, &Memory::new()).unwrap();
    assert!(!ask(answer(courses(MOST_RUNS))).pass);
    let many = ask(answer(courses(MOST_RUNS + 1)));
    assert!(many.pass && many.publish.is_empty());
    let again = step(position(0, 0), asked(0), answer(courses(MOST_RUNS + 1)), &many.seen).unwrap();
    assert!(!again.pass, "the pass has them");
    let cut = ask(Changes { complete: false, ..answer(courses(1)) });
    assert!(cut.pass && cut.next == present(at(0), None));
}

#[test]
fn a_position_is_of_use_for_a_day() {
    let position = position(0, 0);
    assert!(is_recent(position, at(0)) && is_recent(position, at(24 * 60 * MINUTE)));
    assert!(!is_recent(position, at(24 * 60 * MINUTE + 1)));
    assert!(!is_recent(position, at(-3 * MINUTE)), "the clock was set back");
}
