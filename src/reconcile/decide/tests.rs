//! Decisions about one run and its custom courses, in every mood of the Catalog.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::also::Also;
use crate::catalog::{CatalogError, Defect};
use crate::marketing_url::UrlPolicy;
use crate::store::Overview;

const RUN: &str = "course-v1:a+b+c";
const OLD: &str = "https://old.example/a";
const NEW_PATH: &str = "https://old.example/b";
const NEW_HOST: &str = "https://new.example/a";

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn rules(brake: bool) -> Rules {
    let question = Question { asked_at: at(10), by: ObservedBy::Pass, clear_after: Duration::from_secs(900) };
    Rules { question, started_at: at(0), brake, by_key: true, clear_absent: false }
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
        observed_by: "pass".to_owned(),
        also: Also::NOTHING,
        refused: None,
    }
}

fn snapshot(course: &str, link: Option<&str>, entry: Option<Entry>) -> Snapshot {
    let course = key(course);
    let overview =
        Overview { course: course.clone(), marketing_url: link.map(str::to_owned), also: Also::NOTHING };
    Snapshot { course, overview: Some(overview), entry, own: None }
}

fn url(text: &str) -> Observation {
    Observation::Url(UrlPolicy::default().accept(text).unwrap(), Also::NOTHING)
}

fn unknown() -> Observation {
    Observation::Unknown(CatalogError::Unreadable(Defect::Cut).into())
}

fn decided(snapshots: &[Snapshot], answer: Observation, rules: Rules) -> Decided {
    decide(snapshots, &HashMap::from([(key(RUN).run_key(), answer)]), rules)
}

#[test]
fn only_what_changes_a_row_writes_it() {
    let decided =
        |known: Entry, answer| decided(&[snapshot(RUN, Some(OLD), Some(known))], answer, rules(true));
    let same = decided(entry(Some(OLD), -99), url(OLD));
    assert_eq!((same.entries.len(), same.courses.len(), same.changes.len()), (0, 0, 0));
    assert_eq!((same.same[0].0, same.same[0].1.observed_at), (at(-99), at(10)));
    assert_eq!(same.settled[0].2, Settled::Known);
    let pending = Entry { pending_clear_since: Some(at(-99)), ..entry(Some(OLD), -99) };
    assert_eq!(
        decided(pending.clone(), Observation::NoUrl(Also::NOTHING)).same.len(),
        1,
        "a null seen again"
    );
    let by_event = Entry { observed_by: "event".to_owned(), ..entry(Some(OLD), -99) };
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
fn a_run_seen_by_this_pass_is_known_as_such() {
    let seen = decided(&[snapshot(RUN, Some(OLD), Some(entry(Some(OLD), 5)))], url(OLD), rules(true));
    assert_eq!(seen.settled[0].2, Settled::Before);
    // Its link came back after a clear, so that it is asked for again.
    let again = [snapshot(RUN, Some(OLD), Some(entry(Some(OLD), 5)))];
    assert!(matches!(decided(&again, unknown(), rules(true)).settled[0].2, Settled::Unknown(_)));
    let silent = decide(&again, &HashMap::new(), rules(true));
    assert!(matches!(silent.settled[0].2, Settled::Unknown(_)));
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
        let decided = decided(&[snapshot(RUN, link, known)], url(answer), rules(true));
        assert_eq!(decided.courses.len(), 1, "{link:?} {answer}");
        assert_eq!((decided.changes[0].why, decided.risky.len()), (why, 0), "{link:?} {answer}");
        assert_eq!(decided.changes[0].to.as_deref(), Some(answer));
    }
}

#[test]
fn another_host_is_held_for_the_run_and_its_custom_courses_and_counted_once() {
    let ccx = "ccx-v1:a+b+c+ccx@1";
    let known = Some(entry(Some(OLD), -99));
    let snapshots = [snapshot(RUN, Some(OLD), known.clone()), snapshot(ccx, Some(OLD), known)];
    let held = decided(&snapshots, url(NEW_HOST), rules(true));
    assert_eq!((held.risky.len(), held.courses.len(), held.changes.len()), (1, 0, 2));
    assert_eq!((held.entries.len(), held.same.len()), (0, 0));
    let (run, change) = &held.risky[0];
    assert_eq!(
        (run, change.from.as_deref(), change.to.as_deref()),
        (&key(RUN).run_key(), Some(OLD), Some(NEW_HOST))
    );
    let made = decided(&snapshots, url(NEW_HOST), rules(false));
    assert_eq!((made.risky.len(), made.courses.len()), (1, 2));
    assert_eq!(made.entries[0].in_force(), Some(NEW_HOST));
}

#[test]
fn an_overview_that_the_lms_brought_back_after_a_clear_is_a_risk_again() {
    let cleared =
        Entry { pending_clear_since: Some(at(-5000)), cleared_at: Some(at(-4000)), ..entry(Some(OLD), -99) };
    let held = decided(
        &[snapshot(RUN, Some(OLD), Some(cleared.clone()))],
        Observation::NoUrl(Also::NOTHING),
        rules(true),
    );
    assert_eq!((held.risky.len(), held.courses.len()), (1, 0));
    let quiet =
        decided(&[snapshot(RUN, None, Some(cleared))], Observation::NoUrl(Also::NOTHING), rules(true));
    assert_eq!((quiet.risky.len(), quiet.changes.len(), quiet.courses.len()), (0, 0, 0));
}

#[test]
fn absence_is_told_only_where_it_clears() {
    let snapshots = [snapshot(RUN, Some(OLD), Some(entry(Some(OLD), -99)))];
    let kept = decided(&snapshots, Observation::NotListed, rules(true));
    assert_eq!((kept.changes.len(), kept.risky.len(), kept.absent, kept.courses.len()), (0, 0, 0, 0));
    assert!(!kept.entries[0].listed && kept.entries[0].in_force() == Some(OLD));
    let goes = decided(&snapshots, Observation::NotListed, Rules { clear_absent: true, ..rules(true) });
    assert_eq!(
        (goes.changes[0].why, goes.risky.len(), goes.absent, goes.courses.len()),
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
    let new = decided(&snapshots, url("fr"), rules(true));
    assert_eq!((new.entries.len(), new.courses.clone()), (1, vec![key(RUN)]));
    let change = &new.changes[0];
    assert_eq!((change.why, change.from == change.to, change.also.len()), (Why::Also, true, 1));
    for snapshot in &mut snapshots {
        snapshot.overview.as_mut().unwrap().also = also("en");
    }
    let same = decided(&snapshots, url("en"), rules(true));
    assert_eq!((same.entries.len(), same.same.len(), same.changes.len()), (0, 1, 0));
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
        let decided = decided(&[snapshot(RUN, link, known.clone())], answer, rules(brake));
        prop_assert!(decided.entries.len() + decided.same.len() <= 1);
        prop_assert!(decided.courses.len() <= decided.changes.len());
        if ignorant {
            prop_assert_eq!((decided.entries.len(), decided.same.len(), decided.changes.len()), (0, 0, 0));
        }
        if brake && !decided.risky.is_empty() {
            prop_assert!(decided.entries.is_empty() && decided.same.is_empty() && decided.courses.is_empty());
        } else if brake && !decided.courses.is_empty() {
            let shown = link.map(str::to_owned).or(in_force);
            prop_assert!(decided.entries.iter().any(|entry| entry.in_force().is_some()) || shown.is_none() || !decided.same.is_empty());
        }
        for change in &decided.changes {
            prop_assert_ne!(&change.from, &change.to);
        }
    }
}
