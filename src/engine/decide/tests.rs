//! Decisions about one run and its custom courses, for every kind of answer.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::catalog::{CatalogError, Defect, Observation};
use crate::engine::Question;
use crate::model::extra_columns::Also;
use crate::model::marketing_url::UrlPolicy;
use crate::store::{ObservedBy, Overview};

const RUN: &str = "course-v1:a+b+c";
const OLD: &str = "https://old.example/a";
const NEW_PATH: &str = "https://old.example/b";
const NEW_HOST: &str = "https://new.example/a";

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn question() -> Question {
    Question { asked_at: at(10), by: ObservedBy::Pass, clear_after: Duration::from_secs(900) }
}

fn policy(brake: bool) -> Policy {
    Policy { brake, bulk: true, ..Policy::default() }
}

fn key(text: &str) -> CourseKey {
    CourseKey::parse(text).unwrap()
}

fn entry(url: Option<&str>, observed_at: i64) -> Entry {
    Entry {
        run: key(RUN).run_key(),
        url: url.map(str::to_owned),
        listed: true,
        pending_clear_since: None,
        cleared_at: None,
        changed_at: Some(at(-5000)),
        observed_at: at(observed_at),
        observed_by: ObservedBy::Pass,
        also: Also::NOTHING,
        refused: None,
    }
}

fn snapshot(course: &str, link: Option<&str>, entry: Option<Entry>) -> Snapshot {
    let course = key(course);
    let overview = Overview {
        course: course.clone(),
        marketing_url: link.map(str::to_owned),
        social_sharing_url: None,
        also: Also::NOTHING,
    };
    Snapshot { course, overview: Some(overview), entry, own: None }
}

fn url(text: &str) -> Observation {
    Observation::Url(UrlPolicy::default().accept(text).unwrap(), Also::NOTHING)
}

fn unknown() -> Observation {
    Observation::Unknown(CatalogError::Unreadable(Defect::Cut).into())
}

fn decided(snapshots: &[Snapshot], answer: Observation, policy: Policy) -> Decided {
    decide(snapshots, &HashMap::from([(key(RUN).run_key(), (question(), answer))]), policy)
}

#[test]
fn only_what_changes_a_row_writes_it() {
    let decided =
        |known: Entry, answer| decided(&[snapshot(RUN, Some(OLD), Some(known))], answer, policy(true));
    let same = decided(entry(Some(OLD), -99), url(OLD));
    assert_eq!((same.entries.len(), same.courses.len(), same.observed.changes.len()), (0, 0, 0));
    assert_eq!((same.same[0].0, same.same[0].1.observed_at), (at(-99), at(10)));
    assert!(matches!(same.observed.settled[0].outcome, Outcome::Unchanged));
    let pending = Entry { pending_clear_since: Some(at(-99)), ..entry(Some(OLD), -99) };
    assert_eq!(
        decided(pending.clone(), Observation::NoUrl(Also::NOTHING)).same.len(),
        1,
        "a null seen again"
    );
    let by_event = Entry { observed_by: ObservedBy::Event, ..entry(Some(OLD), -99) };
    let late = entry(Some(OLD), 11);
    for (known, answer) in [
        (entry(Some(OLD), -99), url(NEW_PATH)),
        (entry(Some(OLD), -99), Observation::NoUrl(Also::NOTHING)),
        (entry(Some(OLD), -99), Observation::NotListed),
        (pending, url(OLD)),
        (by_event, url(OLD)),
        (late, url(OLD)),
    ] {
        let written = decided(known.clone(), answer);
        assert_eq!((written.entries.len(), written.same.len()), (1, 0), "{known:?}");
    }
}

#[test]
fn a_run_that_the_same_asker_has_seen_is_known_as_such() {
    let seen = |known| decided(&[snapshot(RUN, Some(OLD), Some(known))], url(OLD), policy(true));
    let before = |known| seen(known).observed.settled[0].seen_before;
    assert_eq!(before(entry(Some(OLD), 5)), Some(at(5)));
    assert_eq!(before(Entry { observed_by: ObservedBy::Event, ..entry(Some(OLD), 5) }), None);
}

#[test]
fn every_answer_to_an_event_is_written() {
    let event =
        decided(&[snapshot(RUN, Some(OLD), Some(entry(Some(OLD), -99)))], url(OLD), Policy::default());
    assert_eq!((event.entries.len(), event.same.len(), event.courses.len()), (1, 0, 0));
    assert!(matches!(event.observed.settled[0].outcome, Outcome::Unchanged));
}

#[test]
fn a_lost_link_is_restored_and_a_new_one_set_each_with_its_reason() {
    let cases = [
        (None, Some(OLD), OLD, Why::Restored),
        (Some(NEW_PATH), Some(OLD), OLD, Why::Restored),
        (Some(NEW_HOST), Some(OLD), OLD, Why::Restored),
        (None, None, OLD, Why::Linked),
        (Some(OLD), Some(OLD), NEW_PATH, Why::Changed),
        (Some("course/relative"), None, OLD, Why::Changed),
    ];
    for (link, known, answer, why) in cases {
        let known = known.map(|url| entry(Some(url), -99));
        let decided = decided(&[snapshot(RUN, link, known)], url(answer), policy(true));
        assert_eq!(decided.courses.len(), 1, "{link:?} {answer}");
        assert_eq!(
            (decided.observed.changes[0].why, decided.observed.risky.len()),
            (why, 0),
            "{link:?} {answer}"
        );
        assert_eq!(decided.observed.changes[0].to.as_deref(), Some(answer));
    }
}

#[test]
fn another_host_is_held_for_the_run_and_its_custom_courses_and_counted_once() {
    let ccx = "ccx-v1:a+b+c+ccx@1";
    let known = Some(entry(Some(OLD), -99));
    let snapshots = [snapshot(RUN, Some(OLD), known.clone()), snapshot(ccx, Some(OLD), known)];
    let held = decided(&snapshots, url(NEW_HOST), policy(true));
    assert_eq!((held.observed.risky.len(), held.courses.len(), held.observed.changes.len()), (1, 0, 2));
    assert_eq!((held.entries.len(), held.same.len()), (0, 0));
    let Risky { run, change, .. } = &held.observed.risky[0];
    assert_eq!((run, change.from.as_deref()), (&key(RUN).run_key(), Some(OLD)));
    assert_eq!(change.to.as_deref(), Some(NEW_HOST));
    let made = decided(&snapshots, url(NEW_HOST), policy(false));
    assert_eq!((made.observed.risky.len(), made.courses.len()), (1, 2));
    assert_eq!(made.entries[0].in_force(), Some(NEW_HOST));
}

#[test]
fn an_overview_that_the_lms_brought_back_after_a_clear_is_a_risk_again() {
    let cleared =
        Entry { pending_clear_since: Some(at(-5000)), cleared_at: Some(at(-4000)), ..entry(Some(OLD), -99) };
    let held = decided(
        &[snapshot(RUN, Some(OLD), Some(cleared.clone()))],
        Observation::NoUrl(Also::NOTHING),
        policy(true),
    );
    assert_eq!((held.observed.risky.len(), held.courses.len()), (1, 0));
    let quiet =
        decided(&[snapshot(RUN, None, Some(cleared))], Observation::NoUrl(Also::NOTHING), policy(true));
    assert_eq!((quiet.observed.risky.len(), quiet.observed.changes.len(), quiet.courses.len()), (0, 0, 0));
}

#[test]
fn only_a_link_that_goes_is_cleared() {
    let nulls = |seen: i64| Entry { pending_clear_since: Some(at(seen)), ..entry(Some(OLD), -99) };
    let outcome = |link, known| {
        let snapshots = [snapshot(RUN, link, Some(known))];
        let answer = Observation::NoUrl(Also::NOTHING);
        decided(&snapshots, answer, Policy::default()).observed.settled[0].outcome.as_str()
    };
    let cleared = Entry { cleared_at: Some(at(-4000)), ..nulls(-5000) };
    assert_eq!(outcome(Some(OLD), nulls(-1)), "no_page", "too early");
    assert_eq!(outcome(Some(OLD), nulls(-5000)), "cleared");
    assert_eq!(outcome(None, nulls(-5000)), "no_page", "there was none");
    assert_eq!(outcome(Some(OLD), cleared.clone()), "cleared", "it had come back");
    assert_eq!(outcome(None, cleared), "no_page");
}

#[test]
fn absence_is_a_change_only_where_it_clears() {
    let snapshots = [snapshot(RUN, Some(OLD), Some(entry(Some(OLD), -99)))];
    let kept = decided(&snapshots, Observation::NotListed, policy(true));
    assert_eq!(
        (kept.observed.changes.len(), kept.observed.risky.len(), kept.observed.absent, kept.courses.len()),
        (0, 0, 0, 0)
    );
    assert!(!kept.entries[0].listed && kept.entries[0].in_force() == Some(OLD));
    let goes = decided(&snapshots, Observation::NotListed, Policy { clear_absent: true, ..policy(true) });
    assert_eq!(
        (goes.observed.changes[0].why, goes.observed.risky.len(), goes.observed.absent, goes.courses.len()),
        (Why::Absent, 0, 1, 0)
    );
    assert_eq!(goes.entries[0].in_force(), Some(OLD), "not before the pass is known to be complete");
}

#[test]
fn a_column_that_differs_is_written_for_itself_and_never_on_a_custom_course() {
    let also = |language: &str| Also { language: Some(language.to_owned()), ..Also::NOTHING };
    let known = Entry { also: also("en"), ..entry(Some(OLD), -99) };
    let mut snapshots = [
        snapshot(RUN, Some(OLD), Some(known.clone())),
        snapshot("ccx-v1:a+b+c+ccx@1", Some(OLD), Some(known)),
    ];
    let url = |language| Observation::Url(UrlPolicy::default().accept(OLD).unwrap(), also(language));
    let new = decided(&snapshots, url("fr"), policy(true));
    assert_eq!((new.entries.len(), new.courses.clone()), (1, vec![key(RUN)]));
    let change = &new.observed.changes[0];
    assert_eq!((change.why, change.from == change.to, change.also.len()), (Why::Also, true, 1));
    for snapshot in &mut snapshots {
        snapshot.overview.as_mut().unwrap().also = also("en");
    }
    let same = decided(&snapshots, url("en"), policy(true));
    assert_eq!((same.entries.len(), same.same.len(), same.observed.changes.len()), (0, 1, 0));
}

fn links() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![Just(None), Just(Some(OLD)), Just(Some(NEW_PATH)), Just(Some(NEW_HOST)), Just(Some("odd"))]
}

fn answers() -> impl Strategy<Value = Observation> {
    prop_oneof![
        Just(url(OLD)),
        Just(url(NEW_HOST)),
        Just(Observation::NoUrl(Also::NOTHING)),
        Just(Observation::NotListed),
        Just(unknown())
    ]
}

proptest! {
    #[test]
    fn the_brake_lets_no_link_go_or_move_and_ignorance_changes_nothing(
        link in links(), known in proptest::option::of(links()), cleared in any::<bool>(),
        pending in proptest::option::of(-5000..0_i64), answer in answers(), brake in any::<bool>(),
    ) {
        let known = known.map(|url| Entry {
            pending_clear_since: pending.map(at),
            cleared_at: pending.filter(|_| cleared).map(at),
            ..entry(url, -99)
        });
        let in_force = known.as_ref().and_then(Entry::in_force).map(str::to_owned);
        let ignorant = matches!(answer, Observation::Unknown(_));
        let decided = decided(&[snapshot(RUN, link, known.clone())], answer, policy(brake));
        prop_assert!(decided.entries.len() + decided.same.len() <= 1);
        prop_assert!(decided.courses.len() <= decided.observed.changes.len());
        if ignorant {
            prop_assert_eq!((decided.entries.len(), decided.same.len(), decided.observed.changes.len()), (0, 0, 0));
        }
        if brake && !decided.observed.risky.is_empty() {
            prop_assert!(decided.entries.is_empty() && decided.same.is_empty() && decided.courses.is_empty());
        } else if brake && !decided.courses.is_empty() {
            let shown = link.map(str::to_owned).or(in_force);
            prop_assert!(decided.entries.iter().any(|entry| entry.in_force().is_some()) || shown.is_none() || !decided.same.is_empty());
        }
        for change in &decided.observed.changes {
            prop_assert_ne!(&change.from, &change.to);
        }
    }
}
