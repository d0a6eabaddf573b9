//! Light passes: the list as the Catalog has it in its cache, and past the cache what differs.

use std::collections::BTreeMap;
use std::time::Duration;

use course_sharing::catalog::Purpose;
use course_sharing::config::{Absent, PageSize};
use course_sharing::engine::{Engine, Policy};
use course_sharing::model::course_key::CourseKey;
use course_sharing::pass::{Options, Report, Silent};
use course_sharing::store::{PassKind, Verdict};
use stand_in::{Fault, Run, Stats};
use tokio_util::sync::CancellationToken;

use super::rig::Rig;
use crate::support::databases::{KINDS, Kind};

fn key(number: u32) -> String {
    format!("course-v1:OrgX+C{number:07}+2026_T1")
}

fn url(number: u32) -> String {
    format!("https://www.campus.example/new/{number}")
}

impl Rig {
    fn light(&self) -> Options {
        Options { kind: PassKind::Light, ..self.options() }
    }

    async fn run_light(&self) -> Report {
        self.try_run(self.light(), &Silent).await.unwrap()
    }

    /// Changes a run without a signal, so that the Catalog's cache keeps what it has.
    fn change_silently(&self, number: u32) {
        self.catalog.state().setup.runs.update(Run::new(&key(number), Some(&url(number))));
    }

    async fn link(&self, number: u32) -> Option<String> {
        self.links().await.remove(&key(number)).flatten()
    }
}

/// What the Catalog was asked between these two looks: lists, and those of them that came from the cache.
fn lists(before: &Stats, after: &Stats) -> (u64, u64) {
    (after.lists - before.lists, after.cached - before.cached)
}

#[tokio::test]
async fn what_changed_since_the_full_pass_is_found_with_one_request_beside_the_pages() {
    for kind in KINDS {
        let mut rig = Rig::generated(kind, 600).await;
        rig.reconcile.page_size = PageSize::Fixed(200);
        rig.run().await;
        let pages = rig.run_light().await.requests;
        for number in [7, 300, 599] {
            rig.catalog.put(&key(number), Some(&url(number)));
        }
        let report = rig.run_light().await;
        assert_eq!((report.verdict, report.updated), (Verdict::Complete, 3), "{kind:?}");
        assert_eq!(report.requests, pages + 1, "{kind:?}");
        for number in [7, 300, 599] {
            assert_eq!(rig.link(number).await, Some(url(number)), "{kind:?}");
        }
        let last = rig.database.store.last_passes(None, 1).await.unwrap().remove(0);
        assert_eq!((last.kind, last.updated), (PassKind::Light, 3), "{kind:?}");
        rig.drop().await;
    }
}

#[tokio::test]
async fn a_day_of_light_passes_over_a_catalog_without_changes_is_answered_from_its_cache() {
    let mut rig = Rig::generated(Kind::Postgres, 3300).await;
    rig.reconcile.page_size = PageSize::Auto;
    rig.run().await;
    rig.run_light().await;
    let before = rig.catalog.stats();
    for _ in 1..24 {
        let report = rig.run_light().await;
        assert_eq!((report.verdict, report.updated), (Verdict::Complete, 0));
    }
    let (asked, cached) = lists(&before, &rig.catalog.stats());
    assert_eq!(cached, asked, "all of them from the cache");
    // A day's hints are 288 more.
    assert!(asked * 24 / 23 + 288 <= 600, "{asked}");
    rig.drop().await;
}

#[tokio::test]
async fn an_old_page_from_the_cache_does_not_overwrite_what_an_event_was_answered() {
    for kind in KINDS {
        let rig = Rig::generated(kind, 60).await;
        rig.run().await;
        rig.run_light().await;
        rig.change_silently(30);
        let course = CourseKey::parse(&key(30)).unwrap();
        let stop = CancellationToken::new();
        rig.engine().refresh(vec![course], Purpose::Event, Policy::default(), &stop).await.unwrap();
        assert_eq!(rig.link(30).await, Some(url(30)), "{kind:?}: the event");
        let report = rig.run_light().await;
        assert_eq!((report.verdict, report.updated), (Verdict::Complete, 0), "{kind:?}");
        assert_eq!(rig.link(30).await, Some(url(30)), "{kind:?}: the light pass");
        rig.drop().await;
    }
}

#[tokio::test]
async fn a_full_pass_sees_what_the_cache_hides_and_counts_it_as_missed() {
    for kind in KINDS {
        let mut rig = Rig::generated(kind, 60).await;
        let first = rig.run().await;
        assert_eq!(
            (first.changed, first.missed_by_light),
            (60, 0),
            "{kind:?}: no light pass could have seen them"
        );
        rig.run_light().await;
        rig.change_silently(30);
        assert_eq!(rig.run_light().await.updated, 0, "{kind:?}: the cache hides it");
        let report = rig.run().await;
        assert_eq!((report.updated, report.changed, report.missed_by_light), (1, 1, 1), "{kind:?}");
        assert_eq!(rig.link(30).await, Some(url(30)), "{kind:?}");
        rig.reconcile.light_schedule = None;
        rig.change_silently(31);
        let report = rig.run().await;
        assert_eq!((report.changed, report.missed_by_light), (1, 0), "{kind:?}: there are none");
        rig.drop().await;
    }
}

#[tokio::test]
async fn a_list_that_breaks_off_makes_it_incomplete() {
    let mut rig = Rig::generated(Kind::Sqlite, 600).await;
    rig.reconcile.page_size = PageSize::Fixed(200);
    rig.run().await;
    rig.catalog.script(std::iter::once(Fault::Ok).chain((0..20).map(|_| Fault::Status(403))));
    let report = rig.run_light().await;
    assert_eq!(report.verdict, Verdict::Incomplete, "{report:?}");
    assert!(report.listed < 600 && !report.reasons.is_empty(), "{report:?}");
    rig.drop().await;
}

#[tokio::test]
async fn it_writes_no_row_of_a_run_that_is_as_it_was() {
    for kind in KINDS {
        let rig = Rig::generated(kind, 60).await;
        rig.run().await;
        let runs: Vec<_> = (0..60).map(|n| CourseKey::parse(&key(n)).unwrap().run_key()).collect();
        let before = rig.database.store.entries(&runs).await.unwrap();
        rig.catalog.put(&key(5), Some(&url(5)));
        assert_eq!(rig.run_light().await.settled_by_crawl, 59, "{kind:?}");
        let after = rig.database.store.entries(&runs).await.unwrap();
        let written: Vec<_> = after.iter().filter(|(run, entry)| before.get(run) != Some(entry)).collect();
        assert_eq!(written.len(), 1, "{kind:?}: {written:?}");
        assert_eq!(written[0].1.in_force(), Some(url(5).as_str()), "{kind:?}");
        rig.drop().await;
    }
}

#[tokio::test]
async fn it_clears_nothing() {
    for kind in KINDS {
        let mut rig = Rig::generated(kind, 60).await;
        rig.reconcile.absent = Absent::Clear;
        // A link that the LMS brought back after a clear.
        rig.catalog.put(&key(4), None);
        rig.run().await;
        rig.long_ago().await;
        rig.run().await;
        assert_eq!(rig.link(4).await, None, "{kind:?}");
        let back = format!("SET marketing_url = '{}' WHERE id = '{}'", url(4), key(4));
        rig.database.execute(&format!("UPDATE course_overviews_courseoverview {back}")).await;
        let before: BTreeMap<_, _> = rig.links().await;
        rig.catalog.put(&key(5), None);
        rig.catalog.remove(&key(6));
        let engine = rig.engine();
        // A null clears at once, where two are seen.
        let engine = Engine::new(engine.store().clone(), engine.catalog().clone(), Duration::ZERO);
        let pass = rig.pass_of(engine);
        for _ in 0..3 {
            let report = pass.run(rig.light(), &Silent, CancellationToken::new()).await.unwrap();
            assert_eq!((report.verdict, report.cleared), (Verdict::Complete, 0), "{kind:?}");
        }
        assert_eq!(rig.links().await, before, "{kind:?}");
        for _ in 0..2 {
            pass.run(rig.options(), &Silent, CancellationToken::new()).await.unwrap();
        }
        for number in 4..7 {
            assert_eq!(rig.link(number).await, None, "{kind:?}: a full one does");
        }
        rig.drop().await;
    }
}

#[tokio::test]
async fn where_more_has_changed_than_it_asks_for_it_says_so_and_the_next_goes_on() {
    let rig = Rig::generated(Kind::Postgres, 1200).await;
    rig.run().await;
    for number in 0..1100 {
        rig.catalog.put(&key(number), Some(&url(number)));
    }
    let report = rig.run_light().await;
    assert_eq!((report.verdict, report.updated), (Verdict::Incomplete, 1000), "{:?}", report.reasons);
    let report = rig.run_light().await;
    assert_eq!((report.verdict, report.updated), (Verdict::Complete, 100), "{:?}", report.reasons);
    rig.drop().await;
}

#[tokio::test]
async fn a_killed_full_pass_is_resumed_by_a_full_one_and_left_alone_by_a_light_one() {
    let rig = Rig::generated(Kind::Postgres, 60).await;
    let killed = rig.database.store.begin_pass(PassKind::Full, 16).await.unwrap();
    let mut row = killed.clone();
    row.report = format!("{{\"pass\": {}}}", killed.id);
    rig.database.store.save_pass(&mut row).await.unwrap();
    let light = rig.run_light().await;
    assert_eq!((light.kind, light.resumed), (PassKind::Light, 0));
    let full = rig.run().await;
    assert_eq!((full.pass, full.resumed), (Some(killed.id), 1));
    rig.drop().await;
}
