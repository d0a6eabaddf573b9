//! The statements of the store that only a pass needs, on the three databases.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use course_sharing::model::course_key::{CourseKey, RunKey};
use course_sharing::model::extra_columns::Also;
use course_sharing::store::{Coverage, Entry, ObservedBy, SeenSince};

use crate::support::databases::{KINDS, TestDatabase};

const RUN: &str = "course-v1:edX+DemoX+2026";
const CCX: &str = "ccx-v1:edX+DemoX+2026+ccx@1";
const URL: &str = "https://www.example.org/course/demo";

fn run(text: &str) -> RunKey {
    CourseKey::parse(text).unwrap().run_key()
}

fn entry(key: &str, url: Option<&str>, listed: bool, observed_at: DateTime<Utc>) -> Entry {
    Entry {
        run: run(key),
        url: url.map(str::to_owned),
        listed,
        pending_clear_since: None,
        cleared_at: None,
        changed_at: Some(observed_at),
        observed_at,
        observed_by: ObservedBy::Pass,
        also: Also::NOTHING,
        refused: None,
    }
}

#[tokio::test]
async fn what_a_pass_has_not_settled_is_counted_as_it_is_listed() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let store = &database.store;
        for id in [RUN, CCX, "a/b/c", "library-v1:a+b"] {
            database.insert_overview(id, None).await;
        }
        let t = store.now().await.unwrap();
        let seen = |at| SeenSince { began: at, listed: at };
        let coverage = async |since| {
            let Coverage { settled, ccx_settled, not_listed, unseen, .. } =
                store.coverage(since).await.unwrap();
            (settled, ccx_settled, not_listed, unseen)
        };
        assert_eq!(coverage(seen(t)).await, (0, 0, 0, 4), "{kind:?}");
        store.apply(vec![entry(RUN, Some(URL), true, t)], vec![]).await.unwrap();
        assert_eq!(coverage(seen(t)).await, (1, 1, 0, 2), "{kind:?}");
        assert_eq!(store.unseen(seen(t), None, 10).await.unwrap().len(), 2, "{kind:?}");
        store.apply(vec![entry("a/b/c", None, false, t)], vec![]).await.unwrap();
        assert_eq!(coverage(seen(t)).await, (1, 1, 1, 1), "{kind:?}");
        for (link, unlisted_links) in [("''", 0), ("'https://e.example/c'", 1), ("NULL", 0)] {
            let update = "UPDATE course_overviews_courseoverview SET marketing_url = ";
            database.execute(&format!("{update}{link} WHERE id = 'a/b/c'")).await;
            let now = store.coverage(seen(t)).await.unwrap();
            assert_eq!((now.not_listed, now.unlisted_links), (1, unlisted_links), "{kind:?} {link}");
        }
        let later = t + TimeDelta::seconds(1);
        assert_eq!(coverage(seen(later)).await, (0, 0, 0, 4), "{kind:?}");
        // What an event was told counts from the time on at which the list had been read.
        let event = Entry { observed_by: ObservedBy::Event, ..entry(RUN, Some(URL), true, later) };
        store.apply(vec![event], vec![]).await.unwrap();
        let read = |listed| SeenSince { began: t, listed };
        assert_eq!(coverage(read(later)).await, (1, 1, 1, 1), "{kind:?}");
        let found = store.count_listed(read(later)).await.unwrap();
        assert_eq!(found, 1, "{kind:?}");
        let after = later + TimeDelta::seconds(1);
        assert_eq!(coverage(read(after)).await, (0, 0, 1, 3), "{kind:?}");
        assert_eq!(store.count_listed(read(after)).await.unwrap(), 0, "{kind:?}");
        database.drop().await;
    }
}

#[tokio::test]
async fn only_absent_runs_with_a_link_are_cleared_and_their_urls_kept() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let store = &database.store;
        database.insert_overview("a/linked/1", Some(URL)).await;
        database.insert_overview("a/blank/1", None).await;
        let t = store.now().await.unwrap();
        let old = entry("a/old/1", Some(URL), false, t - TimeDelta::days(1));
        let by_event = Entry { observed_by: ObservedBy::Event, ..entry("a/event/1", Some(URL), false, t) };
        let entries = vec![
            entry("a/gone/1", Some(URL), false, t),
            entry("a/linked/1", None, false, t),
            entry("a/blank/1", None, false, t),
            entry("a/listed/1", Some(URL), true, t),
            old,
            by_event,
        ];
        store.apply(entries, vec![]).await.unwrap();
        assert_eq!(store.count_absent(t).await.unwrap(), 2, "{kind:?}");
        let absent = [("a/gone/1".to_owned(), Some(URL.to_owned())), ("a/linked/1".to_owned(), None)];
        assert_eq!(store.absent(t, 10).await.unwrap(), absent, "{kind:?}");
        assert_eq!(store.absent(t, 1).await.unwrap(), absent[..1], "{kind:?}");
        assert_eq!(store.clear_absent(t).await.unwrap(), 2, "{kind:?}");
        assert_eq!(store.copy_changes(t).await.unwrap().overviews, 1, "{kind:?}");
        assert_eq!(store.count_absent(t).await.unwrap(), 0, "{kind:?}");
        let gone = store.entries(&[run("a/gone/1")]).await.unwrap().remove(&run("a/gone/1")).unwrap();
        assert_eq!((gone.in_force(), gone.url.as_deref()), (None, Some(URL)), "{kind:?}");
        database.drop().await;
    }
}

#[tokio::test]
async fn a_lease_says_who_holds_it() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let store = &database.store;
        assert_eq!(store.holder("reconcile").await.unwrap(), None, "{kind:?}");
        assert!(store.acquire("reconcile", "a", Duration::from_secs(60)).await.unwrap(), "{kind:?}");
        assert_eq!(store.holder("reconcile").await.unwrap().unwrap().0, "a", "{kind:?}");
        store.release("reconcile", "a").await.unwrap();
        assert_eq!(store.holder("reconcile").await.unwrap(), None, "{kind:?}");
        database.drop().await;
    }
}

#[tokio::test]
async fn the_newest_row_of_the_lms_says_the_page_size() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let store = &database.store;
        assert!(store.lms_page_size().await.is_err(), "{kind:?}: no table");
        database.execute("CREATE TABLE catalog_catalogintegration (id integer, page_size integer)").await;
        database.grant_on("catalog_catalogintegration").await;
        assert_eq!(store.lms_page_size().await.unwrap(), None, "{kind:?}");
        database.execute("INSERT INTO catalog_catalogintegration VALUES (9, 250), (10, 70), (2, 5)").await;
        assert_eq!(store.lms_page_size().await.unwrap(), Some(70), "{kind:?}");
        database.drop().await;
    }
}
