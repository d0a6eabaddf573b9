//! What events write while a pass runs: the newer answer counts, whoever asked.

use std::sync::Mutex;

use chrono::{DateTime, TimeDelta, Utc};
use course_sharing::model::course_key::CourseKey;
use course_sharing::pass::{Progress, Silent, Status};
use course_sharing::store::{Entry, ObservedBy, Store, Verdict};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::rig::Rig;
use crate::support::databases::KINDS;
use crate::support::stage::SOON;
use crate::support::wait_until;
use stand_in::{Fault, RetryAfter};

fn course(number: u32) -> CourseKey {
    CourseKey::parse(&format!("course-v1:OrgX+C{number:07}+2026_T1")).unwrap()
}

async fn entry(store: &Store, number: u32) -> Entry {
    let run = course(number).run_key();
    store.entries(std::slice::from_ref(&run)).await.unwrap().remove(&run).unwrap()
}

/// Writes what an event writes whose answer is a null, or this URL, to a question asked now.
async fn event(store: &Store, number: u32, url: Option<&str>) {
    event_at(store, store.now().await.unwrap(), number, url).await;
}

async fn event_at(store: &Store, now: DateTime<Utc>, number: u32, url: Option<&str>) {
    let known = entry(store, number).await;
    let entry = Entry {
        url: url.map(str::to_owned).or(known.url.clone()),
        pending_clear_since: url.is_none().then_some(now),
        observed_at: now,
        observed_by: ObservedBy::Event,
        ..known
    };
    store.apply(vec![entry], vec![course(number)]).await.unwrap();
}

/// Writes what events were told when the pass has read the beginning of the list.
struct Events(Mutex<Option<Store>>);

impl Progress for Events {
    fn at(&self, _: &Status<'_>) {
        let Some(store) = self.0.lock().unwrap().take() else { return };
        block_in_place(|| {
            Handle::current().block_on(async {
                event(&store, 560, None).await;
                event(&store, 570, Some("https://www.campus.example/course/soon-taken-back")).await;
            });
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_list_shows_after_an_event_was_answered_something_else_is_right_in_the_end() {
    for kind in KINDS {
        let rig = Rig::generated(kind, 600).await;
        rig.insert_overviews(&["ccx-v1:OrgX+C0000570+2026_T1+ccx@1".to_owned()]).await;
        rig.run().await;
        let store = &rig.database.store;
        let report = rig.try_run(rig.options(), &Events(Mutex::new(Some(store.clone())))).await.unwrap();
        assert_eq!((report.verdict, report.unsettled), (Verdict::Complete, 0), "{kind:?}");
        assert_eq!(report.settled_by_crawl + report.settled_by_key, 600, "{kind:?}");
        assert_eq!((report.ccx_by_parent, report.not_listed, report.overviews), (1, 0, 601), "{kind:?}");
        for number in [560, 570] {
            let entry = entry(store, number).await;
            assert_eq!((entry.pending_clear_since, entry.observed_by), (None, ObservedBy::Pass), "{kind:?}");
        }
        rig.assert_links_are_as_listed().await;
        rig.drop().await;
    }
}

#[tokio::test]
async fn a_page_that_was_asked_for_before_an_event_and_answered_after_it_does_not_settle_its_run() {
    for kind in KINDS {
        let mut rig = Rig::generated(kind, 60).await;
        rig.at_once = 1;
        rig.run().await;
        rig.catalog.put(course(3).as_str(), Some("https://www.campus.example/course/new"));
        let before = rig.catalog.stats().requests;
        rig.catalog.script([Fault::Throttled(RetryAfter::Seconds(2))]);
        let store = &rig.database.store;
        let told = async {
            wait_until(SOON, "the pass waits at the gate", || async {
                rig.catalog.stats().requests > before
            })
            .await;
            event(store, 3, Some("https://www.campus.example/course/old")).await;
        };
        let (report, ()) = tokio::join!(rig.try_run(rig.options(), &Silent), told);
        let report = report.unwrap();
        assert_eq!((report.verdict, report.unsettled), (Verdict::Complete, 0), "{kind:?}");
        assert_eq!((report.settled_by_crawl, report.settled_by_key), (59, 1), "{kind:?}");
        rig.assert_links_are_as_listed().await;
        rig.drop().await;
    }
}

/// The clock of another worker is ahead: the ledger refuses what the list showed, and what comes by key at first.
#[tokio::test]
async fn a_run_whose_answer_the_ledger_refused_is_asked_for_again() {
    for kind in KINDS {
        for has_overview in [true, false] {
            let rig = Rig::generated(kind, 60).await;
            rig.run().await;
            if !has_overview {
                let delete = "DELETE FROM course_overviews_courseoverview WHERE id";
                rig.database.execute(&format!("{delete} = '{}'", course(3))).await;
            }
            let (store, new) = (&rig.database.store, "https://www.campus.example/course/new");
            let ahead = store.now().await.unwrap() + TimeDelta::seconds(2);
            event_at(store, ahead, 3, Some("https://www.campus.example/course/old")).await;
            rig.catalog.put(course(3).as_str(), Some(new));
            let report = rig.run().await;
            assert_eq!((report.verdict, report.unsettled), (Verdict::Complete, 0), "{kind:?}");
            assert!(rig.catalog.stats().keys_asked > 0, "{kind:?}");
            let entry = entry(store, 3).await;
            assert_eq!((entry.in_force(), entry.observed_by.as_str()), (Some(new), "pass"), "{kind:?}");
            rig.assert_links_are_as_listed().await;
            rig.drop().await;
        }
    }
}
