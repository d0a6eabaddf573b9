//! The store on SQLite, PostgreSQL and MariaDB: the same words, the same outcome, the LMS's own collation included.

mod black_hole;
mod changes;
mod clock;
mod custom_courses;
mod disk_full;
mod passes;
mod prune;
mod races;
mod restart;
mod restore_trigger;
mod upgrade;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use course_sharing::model::course_key::CourseKey;
use course_sharing::model::extra_columns::Also;
use course_sharing::store::{Counts, Entry, ObservedBy, PassKind, SchemaProblem, SeenSince, Verdict};
use migration::Direction;
use sea_orm::{ConnectionTrait, Statement};

use crate::support::databases::{KINDS, Kind, TestDatabase};

const RUN: &str = "course-v1:edX+DemoX+2026";
const URL: &str = "https://www.example.org/course/demo";

fn key(text: &str) -> CourseKey {
    CourseKey::parse(text).unwrap()
}

fn entry(run: &str, url: Option<&str>, observed_at: DateTime<Utc>) -> Entry {
    Entry {
        run: key(run).run_key(),
        url: url.map(str::to_owned),
        listed: true,
        pending_clear_since: None,
        cleared_at: None,
        changed_at: Some(observed_at),
        observed_at,
        observed_by: ObservedBy::Event,
        also: Also::NOTHING,
        refused: None,
    }
}

#[tokio::test]
async fn migrations_go_up_and_down_and_say_beforehand_what_they_do() {
    for kind in KINDS {
        let database = TestDatabase::empty(kind).await;
        let db = &database.owner.connection();
        let up = Direction::Up { create_overview_table: true, restore_trigger: false };
        let planned = migration::plan(db, up).await.unwrap();
        // On PostgreSQL the LMS's table has an index more.
        let steps = if kind == Kind::Postgres { 49 } else { 48 };
        assert_eq!(planned.len(), steps, "{kind:?}: {planned:?}");
        for step in &planned {
            database.execute(&step.sql).await;
        }
        for table in [
            "course_sharing_change",
            "course_sharing_failure",
            "course_sharing_hint",
            "course_sharing_blank",
            "course_sharing_dead_letter",
            "course_sharing_lease",
            "course_sharing_reconcile",
            "course_sharing_ledger",
            "course_overviews_courseoverview",
            "course_sharing_migrations",
        ] {
            database.execute(&format!("DROP TABLE {table}")).await;
        }
        for _ in 0..2 {
            migration::migrate(db, up).await.unwrap();
            assert!(migration::plan(db, up).await.unwrap().is_empty(), "{kind:?}");
            database.store.check_schema().await.unwrap();
            assert_eq!(migration::plan(db, Direction::Down).await.unwrap().len(), 18);
            migration::migrate(db, Direction::Down).await.unwrap();
            assert!(migration::plan(db, Direction::Down).await.unwrap().is_empty());
            assert!(matches!(
                database.store.check_schema().await,
                Err(SchemaProblem::NoTable("course_sharing_ledger"))
            ));
        }
        database.drop().await;
    }
}

#[tokio::test]
async fn the_column_is_added_to_the_lms_table_of_2016_and_its_absence_is_named() {
    let database = TestDatabase::empty(Kind::Mysql).await;
    assert!(matches!(database.store.check_schema().await, Err(SchemaProblem::NoOverviewTable)));
    database.execute(include_str!("../fixtures/lms/course_overviews_2016.mysql.sql")).await;
    assert!(matches!(database.store.check_schema().await, Err(SchemaProblem::NoColumn("marketing_url"))));
    let db = &database.owner.connection();
    let up = Direction::Up { create_overview_table: false, restore_trigger: false };
    migration::migrate(db, up).await.unwrap();
    database.store.check_schema().await.unwrap();
    migration::migrate(db, Direction::Down).await.unwrap();
    assert!(
        matches!(database.store.check_schema().await, Err(SchemaProblem::NoTable(_))),
        "the column stays"
    );
    database.drop().await;
}

#[tokio::test]
async fn each_table_of_ours_that_is_missing_is_named() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'course\\_sharing\\_%' ESCAPE '\\' \
               AND name <> 'course_sharing_migrations'";
    let rows = Statement::from_string(sea_orm::DbBackend::Sqlite, sql);
    let rows = database.owner.connection().query_all_raw(rows).await.unwrap();
    let tables: Vec<String> = rows.iter().map(|row| row.try_get("", "name").unwrap()).collect();
    assert!(tables.len() >= 7, "{tables:?}");
    for table in tables {
        database.execute(&format!("ALTER TABLE {table} RENAME TO elsewhere")).await;
        let found = database.store.check_schema().await;
        assert!(matches!(found, Err(SchemaProblem::NoTable(named)) if named == table), "{table}: {found:?}");
        database.execute(&format!("ALTER TABLE elsewhere RENAME TO {table}")).await;
        database.store.check_schema().await.unwrap();
    }
    database.drop().await;
}

#[tokio::test]
async fn a_wiped_overview_is_restored_and_a_changed_one_written() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let store = &database.store;
        database.insert_overview(RUN, None).await;
        let now = store.now().await.unwrap();
        let applied = store.apply(vec![entry(RUN, Some(URL), now)], vec![key(RUN)]).await.unwrap();
        assert_eq!(applied.overviews, 1, "{kind:?}");
        let again = store.apply(vec![entry(RUN, Some(URL), now)], vec![key(RUN)]).await.unwrap();
        assert_eq!(again.overviews, 0, "{kind:?}: doing it twice changes nothing");

        for wiped in
            ["NULL", "''", "'https://www.example.org/course/DEMO'", "'https://www.example.org/course/demo '"]
        {
            database
                .execute(&format!("UPDATE course_overviews_courseoverview SET marketing_url = {wiped}"))
                .await;
            assert_eq!(store.restore(&[key(RUN)]).await.unwrap(), [key(RUN)], "{kind:?} {wiped}");
            assert_eq!(store.restore(&[key(RUN)]).await.unwrap(), [], "{kind:?} {wiped}");
            assert_eq!(database.link(RUN).await, Some(Some(URL.to_owned())));
        }
        let snapshot = store.snapshots(&[key(RUN)]).await.unwrap().remove(0);
        assert_eq!(snapshot.overview.unwrap().marketing_url.as_deref(), Some(URL));
        assert_eq!(snapshot.entry.unwrap().observed_at, now, "{kind:?}: times survive to the microsecond");
        assert_eq!(store.counts().await.unwrap(), Counts { linked: 1, blank: 0 });
        database.drop().await;
    }
}

#[tokio::test]
async fn keys_that_differ_only_in_case_or_accents_are_never_confused() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        if kind == Kind::Mysql {
            // The LMS's collation lets only one of them in; an LMS on a byte-wise one may have both.
            database.execute("ALTER TABLE course_overviews_courseoverview MODIFY id varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL").await;
        }
        let (lower, upper, accent) = ("course-v1:ecole+a+1", "course-v1:ECOLE+A+1", "course-v1:école+a+1");
        for id in [lower, upper, accent] {
            database.insert_overview(id, None).await;
        }
        if kind == Kind::Mysql {
            // Back to an insensitive comparison in every query of ours, as the column's collation is what counts.
            database.compare_ids_insensitively().await;
        }
        let now = database.store.now().await.unwrap();
        let entries = [(lower, "https://e/lower"), (upper, "https://e/upper"), (accent, "https://e/accent")];
        let entries: Vec<Entry> = entries.iter().map(|(run, url)| entry(run, Some(url), now)).collect();
        database.store.apply(entries[..1].to_vec(), vec![key(lower)]).await.unwrap();
        assert_eq!(database.link(lower).await.unwrap().as_deref(), Some("https://e/lower"), "{kind:?}");
        assert_eq!(database.link(upper).await.unwrap(), None, "{kind:?}");
        assert_eq!(database.link(accent).await.unwrap(), None, "{kind:?}");
        database.store.apply(entries, vec![]).await.unwrap();
        assert_eq!(database.store.heal().await.unwrap().overviews, 2, "{kind:?}");
        for (run, url) in
            [(lower, "https://e/lower"), (upper, "https://e/upper"), (accent, "https://e/accent")]
        {
            assert_eq!(database.link(run).await.unwrap().as_deref(), Some(url), "{kind:?}");
            let links = database.store.links(&[key(run)]).await.unwrap();
            assert_eq!(links.len(), 1, "{kind:?}");
            assert_eq!(links[0].marketing_url.as_deref(), Some(url), "{kind:?}");
        }
        database.drop().await;
    }
}

#[tokio::test]
async fn custom_courses_take_their_parents_url() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let ccx = "ccx-v1:edX+DemoX+2026+ccx@7";
        database.insert_overview(ccx, None).await;
        database.insert_overview("ccx-v1:edX+DemoX+2027+ccx@7", None).await;
        database.insert_overview("AcmeX/CS100/2013", None).await;
        let now = database.store.now().await.unwrap();
        let seen = |at| SeenSince { began: at, listed: at };
        let applied = database.store.apply(vec![entry(RUN, Some(URL), now)], vec![key(ccx)]).await.unwrap();
        assert_eq!(applied.overviews, 1, "{kind:?}");
        database.execute("UPDATE course_overviews_courseoverview SET marketing_url = NULL").await;
        assert_eq!(database.store.heal().await.unwrap().overviews, 1, "{kind:?}");
        assert_eq!(database.link(ccx).await.unwrap().as_deref(), Some(URL));
        let unseen = database.store.unseen(seen(now), None, 10).await.unwrap();
        let unseen: Vec<&str> = unseen.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(unseen.len(), 2, "{kind:?}: {unseen:?}");
        let rest = database.store.unseen(seen(now), Some(unseen[0]), 10).await.unwrap();
        assert_eq!(rest.len(), 1);
        assert_eq!(
            database.store.unseen(seen(now + TimeDelta::microseconds(1)), None, 10).await.unwrap().len(),
            3,
            "{kind:?}"
        );
        database.drop().await;
    }
}

#[tokio::test]
async fn an_older_answer_never_overwrites_a_newer_one() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let store = &database.store;
        database.insert_overview(RUN, None).await;
        let now = store.now().await.unwrap();
        let before = now - TimeDelta::microseconds(1);
        store.apply(vec![entry(RUN, Some("https://e/new"), now)], vec![key(RUN)]).await.unwrap();
        store.apply(vec![entry(RUN, Some("https://e/old"), before)], vec![key(RUN)]).await.unwrap();
        assert_eq!(database.link(RUN).await.unwrap().as_deref(), Some("https://e/new"), "{kind:?}");
        let kept = store.entries(&[key(RUN).run_key()]).await.unwrap();
        assert_eq!(kept[&key(RUN).run_key()].url.as_deref(), Some("https://e/new"), "{kind:?}");
        database.drop().await;
    }
}

#[tokio::test]
async fn what_is_seen_again_gets_its_new_time_unless_it_was_written_since_it_was_read() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let store = &database.store;
        let now = store.now().await.unwrap();
        let at = |seconds| now + TimeDelta::seconds(seconds);
        let runs: Vec<String> = (0..600).map(|n| format!("course-v1:edX+Run{n}+1")).collect();
        let rows = runs.iter().map(|run| entry(run, Some(URL), at(0))).collect();
        store.apply(rows, vec![]).await.unwrap();
        let newer = entry(&runs[7], Some("https://e/newer"), at(5));
        store.apply(vec![newer.clone()], vec![]).await.unwrap();
        let again = |run: &String| (at(0), Entry { observed_at: at(9), ..entry(run, Some(URL), at(0)) });
        let unconfirmed = store.confirm(runs.iter().map(again).collect()).await.unwrap();
        let names: Vec<&str> = unconfirmed.iter().map(|entry| entry.run.as_str()).collect();
        assert!(names.contains(&runs[7].as_str()) && names.len() <= 500, "{kind:?}: {}", names.len());
        let keys: Vec<_> = runs.iter().map(|run| key(run).run_key()).collect();
        let kept = store.entries(&keys).await.unwrap();
        assert_eq!(kept[&keys[7]], newer, "{kind:?}");
        for key in keys.iter().filter(|key| **key != keys[7]) {
            let (url, observed_at) = (kept[key].url.as_deref(), kept[key].observed_at);
            assert_eq!((url, observed_at), (Some(URL), at(9)), "{kind:?}");
        }
        assert_eq!(store.confirm(Vec::new()).await.unwrap(), [], "{kind:?}");
        database.drop().await;
    }
}

#[tokio::test]
async fn a_clear_is_written_over_the_null_it_was_decided_on_and_over_nothing_else() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let store = &database.store;
        database.insert_overview(RUN, Some(URL)).await;
        let t = store.now().await.unwrap();
        let at = |minutes| t + TimeDelta::minutes(minutes);
        let pending = Entry { pending_clear_since: Some(t), ..entry(RUN, Some(URL), t) };
        store.apply(vec![pending.clone()], vec![key(RUN)]).await.unwrap();
        assert_eq!(database.link(RUN).await.unwrap().as_deref(), Some(URL), "{kind:?}: pending");

        let clear =
            |now| Entry { cleared_at: Some(now), observed_at: now, changed_at: Some(now), ..pending.clone() };
        store.apply(vec![entry(RUN, Some(URL), at(10))], vec![key(RUN)]).await.unwrap();
        store.apply(vec![clear(at(20))], vec![key(RUN)]).await.unwrap();
        assert_eq!(
            database.link(RUN).await.unwrap().as_deref(),
            Some(URL),
            "{kind:?}: a URL was seen in between"
        );

        let again = Some(at(30));
        let null = Entry { observed_at: at(30), pending_clear_since: again, ..pending.clone() };
        store.apply(vec![null], vec![]).await.unwrap();
        let clear = Entry { pending_clear_since: again, ..clear(at(40)) };
        store.apply(vec![clear], vec![key(RUN)]).await.unwrap();
        assert_eq!(database.link(RUN).await, Some(None), "{kind:?}: cleared");
        let kept = store.entries(&[key(RUN).run_key()]).await.unwrap().remove(&key(RUN).run_key()).unwrap();
        assert_eq!(
            (kept.url.as_deref(), kept.in_force()),
            (Some(URL), None),
            "{kind:?}: the URL is not lost"
        );
        assert_eq!(store.heal().await.unwrap().overviews, 0, "{kind:?}");
        database
            .execute("UPDATE course_overviews_courseoverview SET marketing_url = 'https://e/stale'")
            .await;
        assert_eq!(store.heal().await.unwrap().overviews, 0, "{kind:?}: healing never blanks a link");
        database.drop().await;
    }
}

#[tokio::test]
async fn a_lease_has_one_holder_until_it_ends() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let store = &database.store;
        let minute = Duration::from_secs(60);
        assert!(store.acquire("reconcile", "a", minute).await.unwrap(), "{kind:?}");
        assert!(!store.acquire("reconcile", "b", minute).await.unwrap(), "{kind:?}");
        assert!(store.acquire("reconcile", "a", minute).await.unwrap(), "{kind:?}: renewed");
        assert!(store.acquire("heal", "b", minute).await.unwrap(), "{kind:?}: another job");
        store.release("reconcile", "a").await.unwrap();
        assert!(store.acquire("reconcile", "b", minute).await.unwrap(), "{kind:?}");
        assert!(store.release("reconcile", "a").await.is_err(), "{kind:?}: taken over");
        store.release("reconcile", "b").await.unwrap();
        database.drop().await;
    }
}

#[tokio::test]
async fn what_changed_in_the_ledger_is_copied_and_a_pass_ends_with_its_verdict() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let store = &database.store;
        let mut pass = store.begin_pass(PassKind::Full, 100).await.unwrap();
        let other = "course-v1:edX+Other+1";
        for id in [RUN, other, "ccx-v1:edX+Other+1+ccx@1"] {
            database.insert_overview(id, Some(URL)).await;
        }
        let now = store.now().await.unwrap();
        let null = Entry { pending_clear_since: Some(now), ..entry(other, Some(URL), now) };
        store.apply(vec![null.clone()], vec![]).await.unwrap();
        let clear = Entry { cleared_at: Some(now), ..null };
        store.apply(vec![entry(RUN, Some("https://new/demo"), now), clear], vec![]).await.unwrap();
        assert_eq!(database.link(RUN).await.unwrap().as_deref(), Some(URL));
        assert_eq!(store.copy_changes(pass.started_at).await.unwrap().overviews, 3, "{kind:?}");
        assert_eq!(database.link(RUN).await.unwrap().as_deref(), Some("https://new/demo"), "{kind:?}");
        assert_eq!(database.link("ccx-v1:edX+Other+1+ccx@1").await, Some(None), "{kind:?}");
        pass.verdict = Verdict::Complete;
        pass.finished_at = Some(store.now().await.unwrap());
        store.save_pass(&mut pass).await.unwrap();
        assert_eq!(store.last_passes(None, 5).await.unwrap()[0].verdict, Verdict::Complete, "{kind:?}");
        database.drop().await;
    }
}
