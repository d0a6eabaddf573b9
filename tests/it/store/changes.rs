//! The history of links: a row for each link that a write changes, by what changed it, in the same transaction.

use chrono::TimeDelta;
use course_sharing::model::extra_columns::{Also, AlsoColumn};
use course_sharing::store::{ChangedBy, Entry, Store};

use super::{RUN, URL, entry, key};
use crate::support::databases::{KINDS, Kind, TestDatabase};

const NEW: &str = "https://www.example.org/course/new";
const CCX: &str = "ccx-v1:edX+DemoX+2026+ccx@7";

type Change = (Option<String>, Option<String>, ChangedBy);

fn change(old: Option<&str>, new: Option<&str>, by: ChangedBy) -> Change {
    (old.map(str::to_owned), new.map(str::to_owned), by)
}

/// The history of a link, the oldest first.
async fn history(store: &Store, id: &str) -> Vec<Change> {
    let changes = store.changes(id, 20).await.unwrap();
    changes.into_iter().rev().map(|row| (row.old_url, row.new_url, row.changed_by)).collect()
}

/// What the LMS does when it saves an overview.
async fn wipe(database: &TestDatabase, id: &str) {
    let set = "UPDATE course_overviews_courseoverview SET marketing_url = ''";
    database.execute(&format!("{set} WHERE id = '{id}'")).await;
}

#[tokio::test]
async fn each_change_leaves_a_row_by_what_made_it_and_what_stays_leaves_none() {
    use ChangedBy::{Command, Event, FullPass, Heal, Hint};
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let store = &database.store;
        let by = |by| store.clone().writing_as(by);
        database.insert_overview(RUN, None).await;
        database.insert_overview(CCX, None).await;
        let now = store.now().await.unwrap();
        let at = |seconds| now + TimeDelta::seconds(seconds);

        let courses = || vec![key(RUN), key(CCX)];
        by(Event).apply(vec![entry(RUN, Some(URL), at(0))], courses()).await.unwrap();
        by(Event).apply(vec![entry(RUN, Some(URL), at(1))], courses()).await.unwrap();
        by(Hint).apply(vec![entry(RUN, Some(NEW), at(2))], vec![key(RUN)]).await.unwrap();
        wipe(&database, RUN).await;
        assert_eq!(by(Event).restore(&[key(RUN)]).await.unwrap().len(), 2, "{kind:?}: its custom course too");
        assert!(by(Event).restore(&[key(RUN)]).await.unwrap().is_empty(), "{kind:?}");
        wipe(&database, RUN).await;
        assert_eq!(store.heal().await.unwrap().overviews, 1, "{kind:?}");
        assert_eq!(store.heal().await.unwrap().overviews, 0, "{kind:?}");
        let null = Entry { pending_clear_since: Some(at(3)), ..entry(RUN, Some(NEW), at(3)) };
        let clear =
            Entry { cleared_at: Some(at(4)), changed_at: Some(at(4)), observed_at: at(4), ..null.clone() };
        for answer in [null, clear] {
            store.apply(vec![answer], vec![key(RUN)]).await.unwrap();
        }
        assert_eq!(by(FullPass).copy_changes(at(4)).await.unwrap().overviews, 1, "{kind:?}: the custom one");
        let linked = change(None, Some(URL), Event);
        let of_run = [
            linked.clone(),
            change(Some(URL), Some(NEW), Hint),
            change(None, Some(NEW), Event),
            change(None, Some(NEW), Heal),
            change(Some(NEW), None, Command),
        ];
        assert_eq!(history(store, RUN).await, of_run, "{kind:?}");
        let of_ccx = [linked, change(Some(URL), Some(NEW), Event), change(Some(NEW), None, FullPass)];
        assert_eq!(history(store, CCX).await, of_ccx, "{kind:?}");
        let newest = store.changes(RUN, 2).await.unwrap();
        assert_eq!(newest.len(), 2, "{kind:?}");
        assert!(newest[0].changed_at > newest[1].changed_at && newest[0].new_url.is_none(), "{kind:?}");
        database.drop().await;
    }
}

#[tokio::test]
async fn a_link_that_is_not_written_leaves_no_row_and_a_long_one_is_cut() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let store = &database.store;
        let long = format!("https://www.example.org/{}", "é".repeat(9_000));
        for (id, link) in [(RUN, None), ("a/b/c", Some(long.as_str()))] {
            database.insert_overview(id, link).await;
        }
        database.reject_link(RUN).await;
        let now = store.now().await.unwrap();
        let entries = vec![entry(RUN, Some(URL), now), entry("a/b/c", Some(NEW), now)];
        store.apply(entries.clone(), vec![key(RUN), key("a/b/c")]).await.unwrap_err();
        assert_eq!(database.count("course_sharing_change").await, 0, "{kind:?}: all or nothing");
        store.apply(entries, vec![]).await.unwrap();
        let healed = store.heal().await.unwrap();
        assert_eq!((healed.overviews, healed.rejected.len()), (1, 1), "{kind:?}");
        assert!(history(store, RUN).await.is_empty(), "{kind:?}");
        let [(old, new, by)] = &history(store, "a/b/c").await[..] else { panic!("{kind:?}: one") };
        assert_eq!(old.as_ref().unwrap().chars().count(), 2_048, "{kind:?}");
        assert_eq!((new.as_deref(), *by), (Some(NEW), ChangedBy::Heal), "{kind:?}");
        database.drop().await;
    }
}

#[tokio::test]
async fn a_row_that_is_written_for_another_column_has_no_history() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        database.grant_on("eligible_for_financial_aid").await;
        let store = database.store.clone().with_also(&[AlsoColumn::Language]);
        database.insert_overview(RUN, Some(URL)).await;
        let also = Also { language: Some("de".to_owned()), ..Also::NOTHING };
        let now = store.now().await.unwrap();
        let answer = Entry { also, ..entry(RUN, Some(URL), now) };
        let applied = store.apply(vec![answer], vec![key(RUN)]).await.unwrap();
        assert_eq!(applied.overviews, 1, "{kind:?}");
        assert!(history(&store, RUN).await.is_empty(), "{kind:?}");
        database
            .execute("UPDATE course_overviews_courseoverview SET language = 'en', marketing_url = NULL")
            .await;
        assert_eq!(store.heal().await.unwrap().overviews, 1, "{kind:?}");
        assert_eq!(history(&store, RUN).await.len(), 1, "{kind:?}");
        database.execute("UPDATE course_overviews_courseoverview SET language = 'en'").await;
        assert_eq!(store.heal().await.unwrap().overviews, 1, "{kind:?}: no link differs");
        assert_eq!(history(&store, RUN).await.len(), 1, "{kind:?}");
        database.drop().await;
    }
}

#[tokio::test]
async fn old_changes_go_and_those_beyond_the_newest() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let store = &database.store;
        let now = store.now().await.unwrap();
        let zone = if kind == Kind::Mysql { "" } else { "+00:00" };
        let rows = (0..1_200).map(|n| {
            let at = (now - TimeDelta::days(n / 12)).format("%Y-%m-%dT%H:%M:%S%.f");
            format!("('course-v1:a+b+{n}', '{at}{zone}', 'https://e/x', 'event')")
        });
        let rows = rows.collect::<Vec<_>>().join(", ");
        let columns = "(course_id, changed_at, new_url, changed_by)";
        database.execute(&format!("INSERT INTO course_sharing_change {columns} VALUES {rows}")).await;
        let prune = async |days, count| store.prune_changes(TimeDelta::days(days), count).await.unwrap();
        assert_eq!(prune(90, 1_200).await, 120, "{kind:?}: of days 90 to 99");
        assert_eq!(prune(90, 1_200).await, 0, "{kind:?}");
        assert_eq!(prune(90, 500).await, 1_080 - 504, "{kind:?}: a moment goes or stays as a whole");
        assert_eq!(database.count("course_sharing_change").await, 504, "{kind:?}");
        database.drop().await;
    }
}
