//! A pass over a Catalog in which nothing, or one thing, has changed since the last one.

use std::collections::BTreeMap;

use chrono::DateTime;
use course_sharing::model::course_key::{CourseKey, RunKey};
use course_sharing::model::marketing_url::UrlPolicy;
use course_sharing::store::{Entry, ObservedBy, Verdict};

use super::rig::Rig;
use crate::support::databases::{KINDS, Kind};

const TABLE: &str = "course_overviews_courseoverview";

fn key(number: u32) -> String {
    format!("course-v1:OrgX+C{number:07}+2026_T1")
}

fn run(key: &str) -> RunKey {
    CourseKey::parse(key).unwrap().run_key()
}

/// What each ledger row says, but for when it was seen.
async fn said(rig: &Rig) -> BTreeMap<String, Entry> {
    let keys: Vec<RunKey> = rig.listed().keys().map(|key| run(key)).collect();
    let entries = rig.database.store.entries(&keys).await.unwrap();
    let timeless = |entry: Entry| Entry { observed_at: DateTime::UNIX_EPOCH, ..entry };
    entries.into_iter().map(|(run, entry)| (run.as_str().to_owned(), timeless(entry))).collect()
}

async fn entry(rig: &Rig, key: &str) -> Entry {
    rig.database.store.entries(&[run(key)]).await.unwrap().remove(&run(key)).unwrap()
}

/// Keys of rows that say something else between these two looks.
fn changed(before: &BTreeMap<String, Entry>, after: &BTreeMap<String, Entry>) -> Vec<String> {
    after.iter().filter(|(key, entry)| before.get(*key) != Some(entry)).map(|(key, _)| key.clone()).collect()
}

#[tokio::test]
async fn a_pass_that_finds_nothing_new_notes_only_when_it_has_seen_each_run() {
    for kind in KINDS {
        let mut rig = Rig::generated(kind, 600).await;
        rig.run().await;
        let (before, first) = (said(&rig).await, entry(&rig, &key(300)).await);
        // However it is paged.
        rig.reconcile.page_size = course_sharing::config::PageSize::Fixed(97);
        let report = rig.run().await;
        assert_eq!(
            (report.verdict, report.updated, report.seen_twice),
            (Verdict::Complete, 0, 0),
            "{kind:?}"
        );
        assert_eq!(
            (report.settled_by_crawl, report.settled_by_key, report.unsettled),
            (600, 0, 0),
            "{kind:?}"
        );
        assert_eq!(said(&rig).await, before, "{kind:?}");
        let again = entry(&rig, &key(300)).await;
        assert!(again.observed_at > first.observed_at, "{kind:?}");
        rig.drop().await;
    }
}

#[tokio::test]
async fn one_change_among_many_is_found_and_nothing_else_is_changed() {
    for kind in KINDS {
        let rig = Rig::generated(kind, 1500).await;
        rig.run().await;
        let before = said(&rig).await;
        rig.catalog.put(&key(700), Some("https://www.campus.example/course/other"));
        let new = "course-v1:OrgX+C0000300+2026_T2".to_owned();
        rig.catalog.put(&new, Some("https://www.campus.example/course/new"));
        rig.catalog.remove(&key(1100));
        let report = rig.run().await;
        assert_eq!((report.verdict, report.updated), (Verdict::Complete, 1), "{kind:?}");
        assert_eq!((report.listed, report.without_overview), (1500, 1), "{kind:?}");
        assert_eq!((report.settled_by_crawl, report.not_listed), (1499, 1), "{kind:?}");
        assert_eq!(changed(&before, &said(&rig).await), [new, key(700)], "{kind:?}");
        rig.assert_links_are_as_listed().await;
        rig.drop().await;
    }
}

#[tokio::test]
async fn what_was_wiped_cleared_or_changed_by_an_event_is_found() {
    for kind in KINDS {
        let rig = Rig::generated(kind, 300).await;
        rig.catalog.put(&key(200), None);
        // A null is final when it has been seen twice.
        rig.run().await;
        rig.long_ago().await;
        rig.run().await;
        let set = async |number: u32, link: &str| {
            let id = key(number);
            rig.database
                .execute(&format!("UPDATE {TABLE} SET marketing_url = {link} WHERE id = '{id}'"))
                .await;
        };
        set(10, "NULL").await;
        set(200, "'https://www.campus.example/course/back'").await;
        let (store, now) = (&rig.database.store, rig.database.store.now().await.unwrap());
        let event = Entry {
            url: Some("https://www.campus.example/course/odd".to_owned()),
            observed_at: now,
            observed_by: ObservedBy::Event,
            changed_at: Some(now),
            ..entry(&rig, &key(20)).await
        };
        store.apply(vec![event], vec![CourseKey::parse(&key(20)).unwrap()]).await.unwrap();
        let (planned, changes) = rig.dry_run().await;
        let before = said(&rig).await;
        let report = rig.run().await;
        assert_eq!((report.verdict, report.updated, report.cleared), (Verdict::Complete, 2, 1), "{kind:?}");
        assert_eq!((planned.updated, planned.cleared, changes.len()), (2, 1, 3), "{kind:?}");
        assert_eq!(rig.database.link(&key(200)).await, Some(None), "{kind:?}: it came back after a clear");
        let changed = changed(&before, &said(&rig).await);
        assert!(changed.contains(&key(20)) && !changed.contains(&key(10)), "{kind:?}: {changed:?}");
        rig.assert_links_are_as_listed().await;
        rig.drop().await;
    }
}

#[tokio::test]
async fn a_url_that_the_policy_no_longer_accepts_is_refused() {
    let mut rig = Rig::generated(Kind::Sqlite, 100).await;
    rig.run().await;
    rig.policy = UrlPolicy { allowed_hosts: vec!["elsewhere.example".to_owned()], ..UrlPolicy::default() };
    let report = rig.run().await;
    let came = (report.verdict, report.refused, report.unsettled);
    assert_eq!(came, (Verdict::Complete, 100, 0), "{:?}", report.reasons);
    rig.drop().await;
}
