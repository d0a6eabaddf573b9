//! What the ledger vouches for by blocks: a night without a change writes no row for a run, and nothing that has
//! changed hides behind a block.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use course_sharing::also::Also;
use course_sharing::course_key::{CourseKey, RunKey};
use course_sharing::marketing_url::UrlPolicy;
use course_sharing::store::{Block, Entry, Verdict};

use super::rig::Rig;
use crate::support::databases::{KINDS, Kind};

const TABLE: &str = "course_overviews_courseoverview";

fn key(number: u32) -> String {
    format!("course-v1:OrgX+C{number:07}+2026_T1")
}

fn run(key: &str) -> RunKey {
    CourseKey::parse(key).unwrap().run_key()
}

/// When each ledger row was last written.
async fn written(rig: &Rig) -> BTreeMap<String, String> {
    let text = if rig.database.kind == Kind::Mysql { "char(40)" } else { "text" };
    let sql = format!("SELECT run_key, CAST(observed_at AS {text}) AS at FROM course_sharing_ledger");
    let rows = rig.rows(&sql).await;
    rows.iter().map(|row| (row.try_get("", "run_key").unwrap(), row.try_get("", "at").unwrap())).collect()
}

async fn entry(rig: &Rig, key: &str) -> Entry {
    rig.database.store.entries(&[run(key)]).await.unwrap().remove(&run(key)).unwrap()
}

/// Keys of rows written between these two looks.
fn changed(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    after.iter().filter(|(key, at)| before.get(*key) != Some(at)).map(|(key, _)| key.clone()).collect()
}

#[tokio::test]
async fn a_pass_that_finds_nothing_new_writes_no_row_of_a_run_and_all_are_seen() {
    for kind in KINDS {
        let mut rig = Rig::generated(kind, 600).await;
        rig.run().await;
        let (before, first) = (written(&rig).await, entry(&rig, &key(300)).await);
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
        assert_eq!(changed(&before, &written(&rig).await), Vec::<String>::new(), "{kind:?}");
        let again = entry(&rig, &key(300)).await;
        assert!(again.observed_at > first.observed_at, "{kind:?}: seen by its block");
        assert_eq!((again.observed_by.as_str(), &again.url), ("pass", &first.url), "{kind:?}");
        rig.drop().await;
    }
}

#[tokio::test]
async fn one_change_costs_its_own_block() {
    for kind in KINDS {
        let rig = Rig::generated(kind, 1500).await;
        rig.run().await;
        let before = written(&rig).await;
        rig.catalog.put(&key(700), Some("https://www.campus.example/course/other"));
        rig.catalog.put("course-v1:OrgX+C0000300+2026_T2", Some("https://www.campus.example/course/new"));
        rig.catalog.remove(&key(1100));
        let report = rig.run().await;
        assert_eq!((report.verdict, report.updated), (Verdict::Complete, 1), "{kind:?}");
        assert_eq!((report.listed, report.without_overview), (1500, 1), "{kind:?}");
        assert_eq!((report.settled_by_crawl, report.not_listed), (1499, 1), "{kind:?}");
        let changed = changed(&before, &written(&rig).await);
        assert!(changed.contains(&key(700)) && changed.len() < 900, "{kind:?}: {}", changed.len());
        rig.assert_links_are_as_listed().await;
        rig.drop().await;
    }
}

#[tokio::test]
async fn what_was_wiped_cleared_or_changed_by_an_event_is_found_in_a_block_too() {
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
            observed_by: "event".to_owned(),
            changed_at: Some(now),
            block: None,
            ..entry(&rig, &key(20)).await
        };
        store.apply(vec![event], vec![CourseKey::parse(&key(20)).unwrap()]).await.unwrap();
        let (planned, changes) = rig.dry_run().await;
        let before = written(&rig).await;
        let report = rig.run().await;
        assert_eq!((report.verdict, report.updated, report.cleared), (Verdict::Complete, 2, 1), "{kind:?}");
        assert_eq!((planned.updated, planned.cleared, changes.len()), (2, 1, 3), "{kind:?}");
        assert_eq!(rig.database.link(&key(200)).await, Some(None), "{kind:?}: it came back after a clear");
        assert_eq!(changed(&before, &written(&rig).await), [key(20), key(200)], "{kind:?}");
        rig.assert_links_are_as_listed().await;
        rig.drop().await;
    }
}

#[tokio::test]
async fn a_url_that_the_policy_no_longer_accepts_is_not_vouched_for() {
    let mut rig = Rig::generated(Kind::Sqlite, 100).await;
    rig.run().await;
    rig.policy = UrlPolicy { allowed_hosts: vec!["elsewhere.example".to_owned()], ..UrlPolicy::default() };
    let report = rig.run().await;
    let came = (report.verdict, report.refused, report.unsettled);
    assert_eq!(came, (Verdict::Complete, 100, 0), "{:?}", report.reasons);
    rig.drop().await;
}

#[tokio::test]
async fn an_answer_older_than_the_last_look_at_its_block_is_not_written() {
    for kind in KINDS {
        let rig = Rig::generated(kind, 0).await;
        let store = &rig.database.store;
        let t = store.now().await.unwrap();
        let url = |edition: &str| Some(format!("https://www.campus.example/course/{edition}"));
        let known = |edition: &str, seconds: i64, block| Entry {
            run: run("a/b/c"),
            url: url(edition),
            listed: true,
            pending_clear_since: None,
            cleared_at: None,
            changed_at: Some(t),
            held: None,
            observed_at: t + TimeDelta::seconds(seconds),
            observed_by: "event".to_owned(),
            block,
            also: Also::NOTHING,
            refused: None,
        };
        store.apply(vec![known("first", 0, Some(7))], vec![]).await.unwrap();
        store.note_blocks(&[Block { digest: 7, runs: 1 }], t + TimeDelta::seconds(60)).await.unwrap();
        assert_eq!(store.whole_blocks().await.unwrap(), [7], "{kind:?}");
        store.apply(vec![known("late", 59, None)], vec![]).await.unwrap();
        let entry = entry(&rig, "a/b/c").await;
        assert_eq!(
            (entry.url, entry.block),
            (url("first"), Some(7)),
            "{kind:?}: asked before the block was seen"
        );
        assert_eq!(entry.observed_at, t + TimeDelta::seconds(60), "{kind:?}");
        store.apply(vec![known("newer", 61, None)], vec![]).await.unwrap();
        let entry = self::entry(&rig, "a/b/c").await;
        assert_eq!((entry.url, entry.block), (url("newer"), None), "{kind:?}");
        assert!(store.whole_blocks().await.unwrap().is_empty(), "{kind:?}: a row is missing");
        rig.drop().await;
    }
}
