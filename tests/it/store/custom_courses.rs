//! Whose URL a custom course takes: its parent's or that of a listing of its own. SQL and Rust choose alike.

use std::time::Duration;

use chrono::{DateTime, Utc};
use course_sharing::model::course_key::CourseKey;
use course_sharing::model::marketing_url::RefusedUrl;
use course_sharing::store::{Entry, Reason, SeenSince, UrlRefusal};

use super::{entry, key};
use crate::support::databases::{KINDS, Kind, TestDatabase};

const STALE: &str = "https://stale.example/x";

/// A row of the ledger in one of its five states, or none.
fn row(run: &str, state: usize, at: DateTime<Utc>) -> Option<Entry> {
    let url = format!("https://e.example/{}", run.replace(['+', ':', '@'], "-"));
    let entry = |url: Option<&str>| Entry { run: key(run).own_key(), ..entry(run, url, at) };
    Some(match state {
        0 => return None,
        1 => entry(Some(&url)),
        2 => Entry { listed: false, ..entry(Some(&url)) },
        3 => Entry { pending_clear_since: Some(at), cleared_at: Some(at), ..entry(Some(&url)) },
        4 => entry(None),
        _ => Entry { listed: false, ..entry(None) },
    })
}

/// A custom course for each pair of states, with what its parent and itself have in the ledger.
pub(super) fn all_pairs(at: DateTime<Utc>) -> Vec<(CourseKey, Option<Entry>, Option<Entry>)> {
    let pairs = (0..6).flat_map(|parent| (0..6).map(move |own| (parent, own)));
    pairs
        .map(|(parent, own)| {
            let run = format!("course-v1:Org+P{parent}_{own}+1");
            let ccx = format!("ccx-v1:Org+P{parent}_{own}+1+ccx@7");
            (key(&ccx), row(&run, parent, at), row(&ccx, own, at))
        })
        .collect()
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn every_statement_chooses_as_the_rule_says() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let store = &database.store;
        let now = store.now().await.unwrap();
        let pairs = all_pairs(now);
        let rows =
            pairs.iter().flat_map(|(_, parent, own)| [parent.clone(), own.clone()]).flatten().collect();
        store.apply(rows, vec![]).await.unwrap();
        for (ccx, _, _) in &pairs {
            database.insert_overview(ccx.as_str(), None).await;
        }
        let since = SeenSince { began: now, listed: now };
        let coverage = store.coverage(since).await.unwrap();
        let in_force = |parent: &Option<Entry>, own: &Option<Entry>| {
            Entry::choose(parent.as_ref(), own.as_ref()).and_then(Entry::in_force).map(str::to_owned)
        };
        let linked = pairs.iter().filter(|(_, parent, own)| in_force(parent, own).is_some()).count();
        let sum = coverage.settled + coverage.ccx_settled + coverage.not_listed + coverage.unseen;
        assert_eq!((sum, coverage.settled), (36, 0), "{kind:?}: {coverage:?}");
        let unseen = store.unseen(since, None, 100).await.unwrap().len();
        assert_eq!(unseen as u64, coverage.unseen, "{kind:?}");

        store.note_blanks(Duration::from_secs(60)).await.unwrap();
        for (ccx, parent, own) in &pairs {
            let reason = store.blank(ccx.as_str()).await.unwrap().unwrap().reason;
            let wanted = match Entry::choose(parent.as_ref(), own.as_ref()) {
                None => Reason::NoAnswer,
                Some(entry) if entry.in_force().is_some() => Reason::Restorable,
                Some(entry) if entry.listed => Reason::NoPage,
                Some(_) => Reason::NotListedYet,
            };
            assert_eq!(reason, wanted, "{kind:?} {ccx}");
        }

        assert_eq!(store.heal().await.unwrap().overviews, linked as u64, "{kind:?}");
        for (ccx, parent, own) in &pairs {
            assert_eq!(database.link(ccx.as_str()).await.flatten(), in_force(parent, own), "{kind:?} {ccx}");
        }
        // A clear is copied by what has been observed, and by nothing else.
        database
            .execute(&format!("UPDATE course_overviews_courseoverview SET marketing_url = '{STALE}'"))
            .await;
        let courses = pairs.iter().map(|(ccx, _, _)| ccx.clone()).collect();
        store.apply(vec![], courses).await.unwrap();
        for (ccx, parent, own) in &pairs {
            let chosen = Entry::choose(parent.as_ref(), own.as_ref());
            let wanted = match chosen {
                Some(entry) if entry.cleared_at.is_some() => None,
                _ => in_force(parent, own).or(Some(STALE.to_owned())),
            };
            assert_eq!(database.link(ccx.as_str()).await.flatten(), wanted, "{kind:?} {ccx}");
        }
        database.drop().await;
    }
}

#[tokio::test]
async fn a_refused_url_of_a_listing_of_its_own_is_counted_where_the_course_follows_that() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let store = &database.store;
        let now = store.now().await.unwrap();
        let what = RefusedUrl { url: "course/x".to_owned(), why: "it is relative".to_owned() };
        let refused = |run: &str| {
            let refused = Some(UrlRefusal { what: what.clone(), since: now });
            Entry { run: key(run).own_key(), refused, ..entry(run, None, now) }
        };
        // One without a parent on the list, one whose parent has no page, and one whose parent's URL is refused.
        let [alone, bare, theirs] = [1, 2, 3].map(|n| format!("ccx-v1:Org+C{n}+1+ccx@7"));
        let [unlisted, no_page, parent] = [1, 2, 3].map(|n| format!("course-v1:Org+C{n}+1"));
        let unlisted = Entry { listed: false, ..entry(&unlisted, None, now) };
        let mut rows: Vec<Entry> = [&alone, &bare, &parent].map(|id| refused(id)).into();
        rows.extend([unlisted, entry(&no_page, None, now)]);
        store.apply(rows, vec![]).await.unwrap();
        for id in [&alone, &bare, &theirs, &parent] {
            database.insert_overview(id, None).await;
        }
        let found = store.refusals(9).await.unwrap();
        let found: Vec<&str> = found.iter().map(|found| found.course_id.as_str()).collect();
        assert_eq!(found, [alone.as_str(), parent.as_str()], "{kind:?}");
        assert_eq!(store.refusal_count().await.unwrap(), 2, "{kind:?}");
        store.note_blanks(Duration::from_secs(60)).await.unwrap();
        assert_eq!(store.blank(&alone).await.unwrap().unwrap().reason, Reason::Refused, "{kind:?}");
        assert_eq!(store.blank(&bare).await.unwrap().unwrap().reason, Reason::NoPage, "{kind:?}");
        database.drop().await;
    }
}

#[tokio::test]
async fn the_custom_courses_of_a_run_are_found_byte_for_byte() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let theirs = ["ccx-v1:Org+a_b+1+ccx@1", "ccx-v1:Org+a_b+1+ccx@23", "ccx-v1:École+x.y~z+1+ccx@1"];
        let others = [
            "ccx-v1:Org+axb+1+ccx@1",
            "ccx-v1:Org+a_b+12+ccx@1",
            "ccx-v1:Org+a_b+1+ccx@x",
            "course-v1:Org+a_b+1",
            "ccx-v1:Orga+a_b+1+ccx@1",
        ];
        for id in theirs.into_iter().chain(others) {
            database.insert_overview(id, None).await;
        }
        if kind != Kind::Mysql {
            database.insert_overview("ccx-v1:ORG+A_B+1+ccx@1", None).await;
        }
        let runs = ["course-v1:Org+a_b+1", "course-v1:École+x.y~z+1", "Org/a_b/1", "course-v1:Ecole+x.y~z+1"];
        let mut found = database.store.custom_courses_of(&runs.map(key)).await.unwrap();
        found.sort();
        let mut wanted = theirs.map(key);
        wanted.sort();
        assert_eq!(found, wanted, "{kind:?}");
        assert!(database.store.custom_courses_of(&[key("course-v1:No+C+1")]).await.unwrap().is_empty());
        database.drop().await;
    }
}
