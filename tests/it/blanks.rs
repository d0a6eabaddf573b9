//! Which overviews are blank, since when and why: kept alike on SQLite, PostgreSQL and MariaDB, on both of the LMS's
//! table shapes, and written only when something changes.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use course_sharing::model::course_key::CourseKey;
use course_sharing::model::extra_columns::Also;
use course_sharing::model::marketing_url::RefusedUrl;
use course_sharing::store::{Entry, Letter, LetterFilter, ObservedBy, Reason, Store, UrlRefusal};
use migration::Direction;
use strum::VariantArray;

use crate::support::databases::{KINDS, Kind, TestDatabase};
use crate::support::letters::letter;

const WAITING: Duration = Duration::from_secs(19_150);
const URL: &str = "https://www.example.org/course/demo";

fn key(text: &str) -> CourseKey {
    CourseKey::parse(text).unwrap()
}

/// What the Catalog said of a run: not listed, and never heard of before.
fn entry(course: &str, observed_at: DateTime<Utc>) -> Entry {
    Entry {
        run: key(course).run_key(),
        url: None,
        listed: false,
        pending_clear_since: None,
        cleared_at: None,
        changed_at: None,
        observed_at,
        observed_by: ObservedBy::Event,
        also: Also::NOTHING,
        refused: None,
    }
}

async fn reason(store: &Store, id: &str) -> Option<Reason> {
    store.blank(id).await.unwrap().map(|blank| blank.reason)
}

/// As if everything that is noted had been noted six hours ago.
async fn six_hours_pass(database: &TestDatabase) {
    let then = database.store.now().await.unwrap() - TimeDelta::hours(6);
    let then = match database.kind {
        Kind::Mysql => then.format("%Y-%m-%d %H:%M:%S%.6f").to_string(),
        _ => then.to_rfc3339(),
    };
    database.execute(&format!("UPDATE course_sharing_blank SET since = '{then}'")).await;
}

/// The three databases as they are now, and an LMS of 2016 whose table has got the column since.
async fn databases() -> Vec<TestDatabase> {
    let mut databases = Vec::new();
    for kind in KINDS {
        databases.push(TestDatabase::new(kind).await);
    }
    let old = TestDatabase::empty(Kind::Mysql).await;
    old.execute(include_str!("../fixtures/lms/course_overviews_2016.mysql.sql")).await;
    let up = Direction::Up { create_overview_table: false, restore_trigger: false };
    migration::migrate(&old.owner.connection(), up).await.unwrap();
    databases.push(old);
    databases
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn every_blank_overview_has_one_reason() {
    for database in databases().await {
        let store = &database.store;
        let now = store.now().await.unwrap();
        let run = |name: &str| format!("course-v1:edX+{name}+1");
        let in_force = |name| Entry { url: Some(URL.to_owned()), listed: true, ..entry(&run(name), now) };
        let what = RefusedUrl { url: "course/x".to_owned(), why: "it is relative".to_owned() };
        let refused = Some(UrlRefusal { what, since: now });
        let entries = vec![
            in_force("Restorable"),
            Entry { pending_clear_since: Some(now), ..in_force("Pending") },
            Entry { listed: true, pending_clear_since: Some(now), ..entry(&run("Null"), now) },
            Entry { listed: true, refused: refused.clone(), ..entry(&run("Refused"), now) },
            Entry { refused, ..in_force("Kept") },
            Entry { cleared_at: Some(now), ..in_force("Cleared") },
            Entry { listed: false, cleared_at: Some(now), ..in_force("Absent") },
            entry(&run("Waits"), now),
            Entry { observed_at: now + TimeDelta::hours(1), ..entry(&run("Replayed"), now) },
        ];
        store.apply(entries, vec![]).await.unwrap();
        let expected = [
            (run("Restorable"), Reason::Restorable),
            ("ccx-v1:edX+Restorable+1+ccx@5".to_owned(), Reason::Restorable),
            (run("Pending"), Reason::PendingClear),
            (run("Null"), Reason::NoPage),
            (run("Refused"), Reason::Refused),
            (run("Kept"), Reason::Restorable),
            (run("Cleared"), Reason::NoPage),
            (run("Absent"), Reason::NotInCatalog),
            (run("Waits"), Reason::NotListedYet),
            (run("Nobody"), Reason::NoAnswer),
            ("AcmeX/CS100/2013".to_owned(), Reason::NoAnswer),
            (run("Dead"), Reason::DeadLettered),
            (run("Replayed"), Reason::NotListedYet),
            ("library-v1:edX+Lib".to_owned(), Reason::NoRun),
            ("COURSE-V1:edX+Loud+1".to_owned(), Reason::NoRun),
            ("<script>alert(1)</script>".to_owned(), Reason::NoRun),
            ("a/b/c/d".to_owned(), Reason::NoRun),
        ];
        for (n, (id, _)) in expected.iter().enumerate() {
            database.insert_overview(id, (n % 2 == 0).then_some("")).await;
        }
        database.insert_overview(&run("Linked"), Some(URL)).await;
        store.note_blanks(WAITING).await.unwrap();
        let about = |n, name: &str| Letter { course_id: Some(run(name)), first_seen: now, ..letter(n) };
        store.keep_letters(&[about(1, "Dead"), about(2, "Replayed")]).await.unwrap();
        assert!(store.note_blanks(WAITING).await.unwrap() > 0);
        for (id, why) in &expected {
            assert_eq!(reason(store, id).await, Some(*why), "{:?}: {id}", database.kind);
        }
        assert_eq!(reason(store, &run("Linked")).await, None);
        let counted: i64 = store.blank_counts().await.unwrap().iter().map(|count| count.overviews).sum();
        assert_eq!(
            counted.unsigned_abs(),
            expected.len() as u64,
            "{:?}: each is counted once",
            database.kind
        );

        six_hours_pass(&database).await;
        assert!(store.note_blanks(WAITING).await.unwrap() > 0, "time alone changes reasons");
        assert_eq!(reason(store, &run("Waits")).await, Some(Reason::NotInCatalog), "{:?}", database.kind);
        assert_eq!(store.discard_letters(&LetterFilter::default()).await.unwrap(), 2, "{:?}", database.kind);
        store.note_blanks(WAITING).await.unwrap();
        assert_eq!(reason(store, &run("Dead")).await, Some(Reason::NoAnswer), "{:?}", database.kind);
        database.drop().await;
    }
}

#[tokio::test]
async fn what_is_noted_stays_as_long_as_it_is_true_and_no_longer() {
    for database in databases().await {
        let (store, kind) = (&database.store, database.kind);
        let [linked, deleted, blank] =
            ["course-v1:a+b+linked", "course-v1:a+b+deleted", "course-v1:a+b+blank"];
        for id in [linked, deleted, blank] {
            database.insert_overview(id, None).await;
        }
        assert_eq!(store.note_blanks(WAITING).await.unwrap(), 3, "{kind:?}");
        six_hours_pass(&database).await;
        let since = store.blank(blank).await.unwrap().unwrap().since;
        assert_eq!(store.note_blanks(WAITING).await.unwrap(), 0, "{kind:?}: nothing is written for nothing");
        let other = Some("course-v1:a+b+other".to_owned());
        store.keep_letters(&[Letter { course_id: other, ..letter(1) }]).await.unwrap();
        let none = store.note_blanks(WAITING).await.unwrap();
        assert_eq!(none, 0, "{kind:?}: a letter about a course that is not blank");

        database
            .execute(&format!(
                "UPDATE course_overviews_courseoverview SET marketing_url = '{URL}' WHERE id = '{linked}'"
            ))
            .await;
        database
            .execute(&format!("DELETE FROM course_overviews_courseoverview WHERE id = '{deleted}'"))
            .await;
        assert_eq!(store.note_blanks(WAITING).await.unwrap(), 2, "{kind:?}");
        assert_eq!(store.blank(linked).await.unwrap(), None, "{kind:?}");
        assert_eq!(store.blank(deleted).await.unwrap(), None, "{kind:?}");
        assert_eq!(store.blank(blank).await.unwrap().unwrap().since, since, "{kind:?}");

        store.apply(vec![entry(blank, store.now().await.unwrap())], vec![]).await.unwrap();
        store.note_blanks(WAITING).await.unwrap();
        let noted = store.blank(blank).await.unwrap().unwrap();
        assert_eq!((noted.since, noted.reason), (since, Reason::NotInCatalog), "{kind:?}: the time stays");
        database
            .execute(&format!("UPDATE course_overviews_courseoverview SET marketing_url = '{URL}'"))
            .await;
        store.note_blanks(WAITING).await.unwrap();
        assert!(store.blank_counts().await.unwrap().is_empty(), "{kind:?}");
        database.drop().await;
    }
}

#[tokio::test]
async fn ids_that_differ_in_case_or_accents_alone_are_two() {
    for database in databases().await {
        let (store, kind) = (&database.store, database.kind);
        let table = "course_overviews_courseoverview";
        let ids = ["course-v1:ecole+a+1", "course-v1:ECOLE+A+1", "course-v1:école+a+1"];
        if kind == Kind::Mysql {
            // The LMS's collation lets only one of them in; an LMS on a byte-wise one may have them all.
            database.execute(&format!("ALTER TABLE {table} MODIFY id varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL")).await;
        }
        for id in ids {
            database.insert_overview(id, None).await;
        }
        if kind == Kind::Mysql {
            // Back to where the database itself takes them for one.
            database.compare_ids_insensitively().await;
        }
        store.apply(vec![entry(ids[0], store.now().await.unwrap())], vec![]).await.unwrap();
        assert_eq!(store.note_blanks(WAITING).await.unwrap(), 3, "{kind:?}");
        let noted = [Reason::NotListedYet, Reason::NoAnswer, Reason::NoAnswer];
        for (id, why) in ids.iter().zip(noted) {
            assert_eq!(reason(store, id).await, Some(why), "{kind:?}: {id}");
        }
        let binary = if kind == Kind::Mysql { "BINARY " } else { "" };
        database
            .execute(&format!("UPDATE {table} SET marketing_url = '{URL}' WHERE {binary}id = '{}'", ids[1]))
            .await;
        assert_eq!(store.note_blanks(WAITING).await.unwrap(), 1, "{kind:?}");
        assert_eq!(reason(store, ids[1]).await, None, "{kind:?}");
        assert_eq!(reason(store, ids[0]).await, Some(Reason::NotListedYet), "{kind:?}");
        database.drop().await;
    }
}

#[tokio::test]
async fn the_oldest_come_first_and_only_as_many_as_asked_for() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let store = &database.store;
        for n in 0..5 {
            database.insert_overview(&format!("course-v1:a+old+{n}"), None).await;
        }
        store.note_blanks(WAITING).await.unwrap();
        six_hours_pass(&database).await;
        for id in ["course-v1:a+new+1", "library-v1:a+new"] {
            database.insert_overview(id, None).await;
        }
        store.note_blanks(WAITING).await.unwrap();
        let ids = async |reasons: &[Reason], limit| {
            let oldest = store.oldest_blanks(reasons, limit).await.unwrap();
            oldest.into_iter().map(|blank| blank.course_id).collect::<Vec<_>>()
        };
        assert_eq!(ids(&[Reason::NoRun], 9).await, ["library-v1:a+new"], "{kind:?}");
        let all = ids(Reason::VARIANTS, 9).await;
        assert_eq!(
            (all.len(), all[0].as_str(), all[4].as_str()),
            (7, "course-v1:a+old+0", "course-v1:a+old+4")
        );
        assert_eq!(ids(Reason::VARIANTS, 2).await, all[..2], "{kind:?}");
        let counts = store.blank_counts().await.unwrap();
        assert_eq!(
            counts.iter().map(|count| (count.reason, count.overviews)).collect::<Vec<_>>(),
            [(Reason::NoRun, 1), (Reason::NoAnswer, 6)],
            "{kind:?}"
        );
        assert!(counts[1].oldest < counts[0].oldest, "{kind:?}");
        database.drop().await;
    }
}
