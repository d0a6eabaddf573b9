//! The restore trigger: whatever the LMS inserts or saves has the ledger's link in the same transaction, and whatever is
//! wrong with what the trigger needs, the LMS's statement goes through as it was.

use std::time::Duration;

use migration::Direction;
use sea_orm::{ConnectionTrait, TransactionTrait};

use course_sharing::store::Entry;

use super::custom_courses::all_pairs;
use super::{RUN, URL, entry, key};
use crate::support::databases::{KINDS, Kind, TestDatabase};
use crate::support::lms::Lms;
use crate::support::wait_until;

const STALE: &str = "https://stale.example/x";

/// A database with the trigger, and the LMS beside it.
async fn with_trigger(kind: Kind) -> (TestDatabase, Lms) {
    let database = TestDatabase::new(kind).await;
    let up = Direction::Up { create_overview_table: false, restore_trigger: true };
    migration::migrate(&database.owner.connection(), up).await.unwrap();
    let lms = Lms::of(&database).await;
    (database, lms)
}

async fn leave(database: TestDatabase, lms: Lms) {
    lms.leave(&database).await;
    database.drop().await;
}

#[tokio::test]
async fn a_row_has_the_ledgers_link_however_the_lms_writes_it() {
    for kind in KINDS {
        let (database, lms) = with_trigger(kind).await;
        let now = database.store.now().await.unwrap();
        let old_style = "AcmeX/CS100/2013_Spring";
        let rows = [RUN, old_style].map(|run| entry(run, Some(URL), now));
        database.store.apply(rows.to_vec(), vec![]).await.unwrap();
        for run in [RUN, old_style] {
            for link in [None, Some(""), Some(STALE), Some(URL)] {
                lms.insert(run, link).await.unwrap();
                assert_eq!(database.link(run).await, Some(Some(URL.to_owned())), "{kind:?}: {link:?}");
                lms.save(run, link).await.unwrap();
                assert_eq!(database.link(run).await, Some(Some(URL.to_owned())), "{kind:?}: {link:?}");
                lms.touch(run).await.unwrap();
                lms.delete(run).await.unwrap();
            }
        }
        leave(database, lms).await;
    }
}

#[tokio::test]
async fn what_the_ledger_does_not_know_or_has_cleared_stays_as_the_lms_writes_it() {
    for kind in KINDS {
        let (database, lms) = with_trigger(kind).await;
        let now = database.store.now().await.unwrap();
        let (cleared, no_page, unknown) = ("a/b/cleared", "a/b/no_page", "a/b/unknown");
        let null = Entry { pending_clear_since: Some(now), ..entry(cleared, Some(URL), now) };
        let clear = Entry { cleared_at: Some(now), ..null.clone() };
        for rows in [vec![null], vec![clear], vec![entry(no_page, None, now)]] {
            database.store.apply(rows, vec![]).await.unwrap();
        }
        for run in [cleared, no_page, unknown, "library-v1:a+b", "ccx-v1:broken"] {
            for link in [None, Some(STALE)] {
                let wanted = Some(link.map(str::to_owned));
                lms.insert(run, link).await.unwrap();
                assert_eq!(database.link(run).await, wanted, "{kind:?}: {run} {link:?}");
                lms.save(run, link).await.unwrap();
                lms.touch(run).await.unwrap();
                assert_eq!(database.link(run).await, wanted, "{kind:?}: {run} {link:?}");
                lms.delete(run).await.unwrap();
            }
        }
        leave(database, lms).await;
    }
}

#[tokio::test]
async fn keys_are_compared_byte_for_byte() {
    for kind in KINDS {
        let (database, lms) = with_trigger(kind).await;
        let now = database.store.now().await.unwrap();
        let run = "course-v1:École+DemoX+2026";
        database.store.apply(vec![entry(run, Some(URL), now)], vec![]).await.unwrap();
        for (id, link) in [
            (run, Some(URL)),
            ("course-v1:Ecole+DemoX+2026", None),
            ("course-v1:école+demox+2026", None),
            ("COURSE-V1:École+DemoX+2026", None),
            ("ccx-v1:École+DemoX+2026+ccx@1", Some(URL)),
            ("ccx-v1:Ecole+DemoX+2026+ccx@1", None),
            ("CCX-V1:École+DemoX+2026+ccx@1", None),
            ("ccx-v1:École+DemoX+2026+CCX@1", None),
        ] {
            lms.insert(id, None).await.unwrap();
            assert_eq!(database.link(id).await, Some(link.map(str::to_owned)), "{kind:?}: {id}");
            lms.save(id, None).await.unwrap();
            assert_eq!(database.link(id).await, Some(link.map(str::to_owned)), "{kind:?}: {id}");
            lms.delete(id).await.unwrap();
        }
        leave(database, lms).await;
    }
}

#[tokio::test]
async fn it_chooses_for_custom_courses_as_the_program_does() {
    for kind in KINDS {
        let (database, lms) = with_trigger(kind).await;
        let store = &database.store;
        let pairs = all_pairs(store.now().await.unwrap());
        let rows = pairs.iter().flat_map(|(_, parent, own)| [parent.clone(), own.clone()]).flatten();
        store.apply(rows.collect(), vec![]).await.unwrap();
        for (ccx, parent, own) in &pairs {
            let chosen = Entry::choose(parent.as_ref(), own.as_ref()).and_then(Entry::in_force);
            for link in [None, Some(STALE)] {
                let wanted = Some(chosen.or(link).map(str::to_owned));
                if link.is_none() {
                    lms.insert(ccx.as_str(), link).await.unwrap();
                } else {
                    lms.save(ccx.as_str(), link).await.unwrap();
                }
                assert_eq!(database.link(ccx.as_str()).await, wanted, "{kind:?}: {ccx} {link:?}");
            }
        }
        assert_eq!(store.heal().await.unwrap().overviews, 0, "{kind:?}: heal would choose otherwise");
        leave(database, lms).await;
    }
}

#[tokio::test]
async fn what_the_program_writes_passes_clears_included() {
    for kind in KINDS {
        let (database, lms) = with_trigger(kind).await;
        let store = &database.store;
        let ccx = "ccx-v1:edX+DemoX+2026+ccx@1";
        let first = store.now().await.unwrap();
        let at = |second| first + chrono::TimeDelta::seconds(second);
        let both = || vec![key(RUN), key(ccx)];
        for id in [RUN, ccx] {
            lms.insert(id, Some(STALE)).await.unwrap();
        }
        for (second, url) in [(1, URL), (2, "https://www.example.org/course/moved")] {
            store.apply(vec![entry(RUN, Some(url), at(second))], both()).await.unwrap();
            for id in [RUN, ccx] {
                assert_eq!(database.link(id).await.flatten().as_deref(), Some(url), "{kind:?}: {id}");
            }
        }
        let null = Entry { pending_clear_since: Some(at(3)), ..entry(RUN, Some(URL), at(3)) };
        store.apply(vec![null.clone()], both()).await.unwrap();
        lms.save(RUN, None).await.unwrap();
        assert!(database.link(RUN).await.flatten().is_some(), "{kind:?}: a clear is pending");
        let clear = Entry { cleared_at: Some(at(4)), observed_at: at(4), ..null };
        store.apply(vec![clear], both()).await.unwrap();
        for id in [RUN, ccx] {
            assert_eq!(database.link(id).await, Some(None), "{kind:?}: {id}");
            lms.save(id, None).await.unwrap();
            assert_eq!(database.link(id).await, Some(None), "{kind:?}: {id}");
        }
        store.apply(vec![entry(RUN, Some(URL), at(5))], both()).await.unwrap();
        lms.save(RUN, Some(STALE)).await.unwrap();
        assert_eq!(database.link(RUN).await.flatten().as_deref(), Some(URL), "{kind:?}");
        assert_eq!(store.heal().await.unwrap().overviews, 0, "{kind:?}");
        leave(database, lms).await;
    }
}

/// What can be done to that which the trigger needs, and statements that take it back.
#[expect(clippy::too_many_lines, reason = "a table")]
fn troubles(kind: Kind) -> Vec<(&'static str, Vec<&'static str>)> {
    let rename = "ALTER TABLE course_sharing_ledger RENAME TO elsewhere";
    let back = "ALTER TABLE elsewhere RENAME TO course_sharing_ledger";
    let other = ["CREATE TABLE course_sharing_ledger (a int)", "DROP TABLE course_sharing_ledger"];
    let mut all = vec![
        ("renamed", vec![rename, back]),
        ("another table of its name", vec![rename, other[0], other[1], back]),
        (
            "a column of another name",
            vec![
                "ALTER TABLE course_sharing_ledger RENAME COLUMN cleared_at TO gone",
                "ALTER TABLE course_sharing_ledger RENAME COLUMN gone TO cleared_at",
            ],
        ),
    ];
    match kind {
        // No column that its triggers read can be dropped there.
        Kind::Sqlite => {}
        Kind::Postgres => all.extend([
            (
                "a view that reads nothing in its place",
                vec![
                    rename,
                    "CREATE VIEW course_sharing_ledger AS SELECT 1/0 AS run_key, '' AS marketing_url, TRUE AS listed, NULL AS cleared_at",
                    "DROP VIEW course_sharing_ledger",
                    back,
                ],
            ),
            (
                "too narrow a column of the LMS's",
                vec![
                    "ALTER TABLE course_overviews_courseoverview ALTER marketing_url TYPE varchar(23)",
                    "ALTER TABLE course_overviews_courseoverview ALTER marketing_url TYPE text",
                ],
            ),
        ]),
        Kind::Mysql => all.extend([
            (
                "a view of nothing in its place",
                vec![
                    "CREATE TABLE nothing (a int)",
                    rename,
                    "CREATE VIEW course_sharing_ledger AS SELECT * FROM nothing",
                    "DROP TABLE nothing",
                    "DROP VIEW course_sharing_ledger",
                    back,
                ],
            ),
            (
                "too narrow a column of the LMS's",
                vec![
                    "ALTER TABLE course_overviews_courseoverview MODIFY marketing_url varchar(23)",
                    "ALTER TABLE course_overviews_courseoverview MODIFY marketing_url longtext",
                ],
            ),
        ]),
    }
    all
}

/// The LMS's statements go through, and the row is as the LMS writes it, or as the ledger knows it.
async fn goes_through(database: &TestDatabase, lms: &Lms, what: &str) {
    for link in [None, Some(STALE)] {
        let written = |found: Option<Option<String>>| {
            let found = found.unwrap();
            found.as_deref() == link || found.as_deref() == Some(URL)
        };
        let failed = |error| panic!("{:?}, {what}: {error}", database.kind);
        lms.insert(RUN, link).await.unwrap_or_else(failed);
        assert!(written(database.link(RUN).await), "{:?}, {what}: inserted {link:?}", database.kind);
        lms.save(RUN, link).await.unwrap_or_else(failed);
        assert!(written(database.link(RUN).await), "{:?}, {what}: saved {link:?}", database.kind);
        lms.touch(RUN).await.unwrap_or_else(failed);
        lms.delete(RUN).await.unwrap_or_else(failed);
    }
}

async fn restores(database: &TestDatabase, lms: &Lms, what: &str) {
    lms.insert(RUN, None).await.unwrap();
    let link = database.link(RUN).await.flatten();
    assert_eq!(link.as_deref(), Some(URL), "{:?}: after {what}", database.kind);
    lms.delete(RUN).await.unwrap();
}

#[tokio::test]
async fn whatever_is_wrong_with_the_ledger_the_lms_writes_as_if_there_were_no_trigger() {
    for kind in KINDS {
        let (database, lms) = with_trigger(kind).await;
        let now = database.store.now().await.unwrap();
        database.store.apply(vec![entry(RUN, Some(URL), now)], vec![]).await.unwrap();
        for (what, statements) in troubles(kind) {
            restores(&database, &lms, "nothing").await;
            for (place, sql) in statements.iter().enumerate() {
                database.change_tables(sql).await;
                if place + 1 < statements.len() {
                    goes_through(&database, &lms, what).await;
                }
            }
            restores(&database, &lms, what).await;
        }
        database.execute("DROP TABLE course_sharing_ledger").await;
        goes_through(&database, &lms, "dropped").await;
        leave(database, lms).await;
    }
}

#[tokio::test]
async fn a_ledger_that_may_not_be_read_is_as_none() {
    for kind in [Kind::Postgres, Kind::Mysql] {
        let (database, lms) = with_trigger(kind).await;
        let now = database.store.now().await.unwrap();
        database.store.apply(vec![entry(RUN, Some(URL), now)], vec![]).await.unwrap();
        let (reader, name) = (format!("{}_r", database.name), &database.name);
        if kind == Kind::Postgres {
            database.execute(&format!("CREATE ROLE {reader}")).await;
            let owner = format!("ALTER FUNCTION course_sharing_restore_v1() OWNER TO {reader}");
            for may in ["GRANT USAGE, CREATE ON SCHEMA public TO", "GRANT SELECT ON course_sharing_ledger TO"]
            {
                database.execute(&format!("{may} {reader}")).await;
            }
            database.execute(&owner).await;
            restores(&database, &lms, "a change of its owner").await;
            database.execute(&format!("REVOKE SELECT ON course_sharing_ledger FROM {reader}")).await;
        } else {
            let up = Direction::Up { create_overview_table: false, restore_trigger: true };
            database.execute(&format!("CREATE USER {reader} IDENTIFIED BY 'x'")).await;
            database.execute(&format!("GRANT ALL ON {name}.* TO {reader}")).await;
            // Where the server writes a binary log.
            database.execute(&format!("GRANT SUPER ON *.* TO {reader}")).await;
            migration::migrate(&database.owner.connection(), Direction::Down).await.unwrap();
            let db = sea_orm::Database::connect(database.url_of(&reader, "x")).await.unwrap();
            migration::migrate(&db, up).await.unwrap();
            db.close().await.unwrap();
            database.store.apply(vec![entry(RUN, Some(URL), now)], vec![]).await.unwrap();
            restores(&database, &lms, "making it as another user").await;
            database.execute(&format!("REVOKE SELECT ON {name}.* FROM {reader}")).await;
        }
        goes_through(&database, &lms, "unreadable").await;
        migration::migrate(&database.owner.connection(), Direction::Down).await.unwrap();
        if kind == Kind::Postgres {
            database.execute(&format!("DROP OWNED BY {reader}")).await;
        }
        database.execute(&format!("DROP USER {reader}")).await;
        leave(database, lms).await;
    }
}

#[tokio::test]
async fn a_ledger_that_somebody_has_locked_holds_nobody_up_on_postgresql() {
    let (database, lms) = with_trigger(Kind::Postgres).await;
    let lock = database.owner.connection().begin().await.unwrap();
    lock.execute_unprepared("LOCK TABLE course_sharing_ledger IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let goes_on = goes_through(&database, &lms, "locked");
    tokio::time::timeout(Duration::from_secs(60), goes_on).await.unwrap();
    lock.rollback().await.unwrap();
    leave(database, lms).await;
}

#[tokio::test]
async fn a_row_of_the_ledger_that_is_being_written_holds_nobody_up() {
    for kind in [Kind::Postgres, Kind::Mysql] {
        let (database, lms) = with_trigger(kind).await;
        let now = database.store.now().await.unwrap();
        database.store.apply(vec![entry(RUN, Some(URL), now)], vec![]).await.unwrap();
        let writing = database.owner.connection().begin().await.unwrap();
        writing
            .execute_unprepared("UPDATE course_sharing_ledger SET marketing_url = 'https://e/new'")
            .await
            .unwrap();
        tokio::time::timeout(Duration::from_secs(30), restores(&database, &lms, "a lock")).await.unwrap();
        writing.rollback().await.unwrap();
        leave(database, lms).await;
    }
}

#[tokio::test]
async fn a_save_that_waited_for_the_program_takes_what_the_program_wrote() {
    for kind in [Kind::Postgres, Kind::Mysql] {
        let (database, lms) = with_trigger(kind).await;
        let now = database.store.now().await.unwrap();
        lms.insert(RUN, None).await.unwrap();
        database.store.apply(vec![entry(RUN, Some(URL), now)], vec![key(RUN)]).await.unwrap();
        let writing = database.owner.connection().begin().await.unwrap();
        for table in ["course_sharing_ledger", "course_overviews_courseoverview"] {
            let sql = format!("UPDATE {table} SET marketing_url = 'https://e/new'");
            writing.execute_unprepared(&sql).await.unwrap();
        }
        let saving = tokio::spawn(async move { lms.save(RUN, Some(STALE)).await.map(|()| lms) });
        let waits = match kind {
            Kind::Postgres => {
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%stale.example%'"
            }
            _ => "SELECT 1 FROM information_schema.PROCESSLIST WHERE INFO LIKE 'UPDATE%stale.example%'",
        };
        let db = &database.owner.connection();
        let is_waiting = || async {
            let sql = sea_orm::Statement::from_string(db.get_database_backend(), waits);
            db.query_one_raw(sql).await.unwrap().is_some()
        };
        wait_until(Duration::from_secs(30), "the save waits for the row", is_waiting).await;
        writing.commit().await.unwrap();
        let lms = saving.await.unwrap().unwrap();
        assert_eq!(database.link(RUN).await.flatten().as_deref(), Some("https://e/new"), "{kind:?}");
        leave(database, lms).await;
    }
}
