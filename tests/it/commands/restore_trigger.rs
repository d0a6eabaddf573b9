//! `migrate --restore-trigger`: on, shown, checked, replaced, and off again.

use sea_orm::ConnectionTrait;

use super::migrate::run;
use crate::support::certificates::Certificates;
use crate::support::databases::{KINDS, Kind, TestDatabase};
use crate::support::lms::Lms;
use crate::support::own_servers;

const RUN: &str = "course-v1:edX+DemoX+2026";
const URL: &str = "https://www.example.org/course/demo";
const ON: [&str; 2] = ["migrate", "--restore-trigger"];

/// A database whose ledger knows one run.
async fn knowing(kind: Kind) -> TestDatabase {
    let database = TestDatabase::new(kind).await;
    know(&database).await;
    database
}

async fn know(database: &TestDatabase) {
    database
        .execute(&format!(
            "INSERT INTO course_sharing_ledger (run_key, marketing_url, listed, observed_at, observed_by) VALUES \
             ('{RUN}', '{URL}', TRUE, '2026-11-22 10:00:00', 'event')"
        ))
        .await;
}

/// Whether a row that the LMS makes again has its link.
async fn restores(database: &TestDatabase) -> bool {
    let lms = Lms::of(database).await;
    lms.insert(RUN, None).await.unwrap();
    let link = database.link(RUN).await.flatten();
    lms.delete(RUN).await.unwrap();
    lms.leave(database).await;
    link.as_deref() == Some(URL)
}

#[tokio::test]
async fn it_is_made_only_when_asked_for_and_stays_until_the_way_down() {
    for kind in KINDS {
        let database = knowing(kind).await;
        run(&database, &["migrate"]).await.expect(0).says(&["nothing to do"]);
        run(&database, &["migrate", "status"]).await.expect(0).says(&["no restore trigger"]);
        assert!(!restores(&database).await, "{kind:?}");
        for _ in 0..2 {
            run(&database, &ON).await.expect(0).says(&["restore trigger"]);
            run(&database, &ON).await.expect(0).says(&["nothing to do"]);
            run(&database, &["migrate"]).await.expect(0).says(&["nothing to do"]);
            run(&database, &["migrate", "status"]).await.expect(0).says(&["restore trigger of version 1"]);
            assert!(restores(&database).await, "{kind:?}");
            let down = run(&database, &["migrate", "down", "--yes"]).await.expect(0);
            let (trigger, ledger) =
                (down.stdout.find("DROP TRIGGER"), down.stdout.find("course_sharing_lease"));
            assert!(trigger.unwrap() < ledger.unwrap(), "{kind:?}: {}", down.stdout);
            run(&database, &["migrate", "down", "--yes"]).await.expect(0).says(&["nothing to do"]);
            run(&database, &["migrate", "status"]).await.expect(0).says(&["no restore trigger"]);
            assert!(!restores(&database).await, "{kind:?}");
            run(&database, &["migrate"]).await.expect(0);
            know(&database).await;
        }
        database.drop().await;
    }
}

#[tokio::test]
async fn it_can_be_taken_away_alone() {
    for kind in KINDS {
        let database = knowing(kind).await;
        run(&database, &ON).await.expect(0);
        let off = ["migrate", "down", "--restore-trigger"];
        run(&database, &off).await.expect(0).says(&["DROP TRIGGER"]);
        run(&database, &off).await.expect(0).says(&["nothing to do"]);
        assert!(!restores(&database).await, "{kind:?}");
        run(&database, &["migrate", "status"]).await.expect(0).says(&["no restore trigger", "Applied"]);
        run(&database, &ON).await.expect(0);
        assert!(restores(&database).await, "{kind:?}: the ledger is still there");
        database.drop().await;
    }
}

#[tokio::test]
async fn a_dry_run_makes_nothing_and_what_it_prints_runs_as_it_is() {
    for kind in KINDS {
        let database = knowing(kind).await;
        let planned = run(&database, &[&ON[..], &["--dry-run"]].concat()).await.expect(0);
        run(&database, &["migrate", "status"]).await.expect(0).says(&["no restore trigger"]);
        let sql = match kind {
            // As the client does.
            Kind::Mysql => planned.stdout.replace("DELIMITER //\n", "").replace("//\nDELIMITER ;", ";"),
            _ => planned.stdout.clone(),
        };
        database.owner.connection().execute_unprepared(&sql).await.unwrap();
        run(&database, &["migrate", "status"]).await.expect(0).says(&["restore trigger of version 1"]);
        run(&database, &ON).await.expect(0).says(&["nothing to do"]);
        assert!(restores(&database).await, "{kind:?}");
        database.drop().await;
    }
}

#[tokio::test]
async fn without_the_lms_s_table_it_says_so() {
    for kind in KINDS {
        let database = TestDatabase::empty(kind).await;
        run(&database, &ON).await.expect(1).says(&["no table course_overviews_courseoverview"]);
        database.drop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_binary_log_has_statements_gets_none() {
    let log = ["--log-bin=binlog", "--server-id=1", "--binlog-format=MIXED"];
    let certificates = Certificates::new("nobody");
    let server = own_servers::mariadb_with(&certificates, &log).await;
    let database = TestDatabase::on(Kind::Mysql, Some(server.url())).await;
    know(&database).await;
    let log_has = async |format: &str| {
        database.execute(&format!("SET GLOBAL binlog_format = '{format}'")).await;
    };
    for format in ["MIXED", "STATEMENT"] {
        log_has(format).await;
        let words = [format, "binlog_format = ROW"];
        run(&database, &ON).await.expect(1).says(&words);
        run(&database, &["migrate", "status"]).await.expect(0).says(&["no restore trigger"]);
        assert!(!restores(&database).await, "{format}");
    }
    log_has("ROW").await;
    run(&database, &ON).await.expect(0);
    assert!(restores(&database).await);
    run(&database, &["check"]).await.says(&["; restore trigger of version 1"]);
    log_has("MIXED").await;
    run(&database, &["check"]).await.says(&["warn  database", "binlog_format = ROW"]);
}

/// What an operator or another version may have left.
fn leftovers(kind: Kind) -> Vec<Vec<String>> {
    let table = "course_overviews_courseoverview";
    let old = |name: &str| match kind {
        Kind::Sqlite => format!(
            "CREATE TRIGGER {name} AFTER INSERT ON {table} BEGIN UPDATE {table} SET marketing_url = 'old' WHERE id = NEW.id; END"
        ),
        Kind::Postgres => format!(
            "CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.marketing_url := ''old''; RETURN NEW; END'; \
             CREATE TRIGGER {name} BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()"
        ),
        Kind::Mysql => {
            format!(
                "CREATE TRIGGER {name} BEFORE INSERT ON {table} FOR EACH ROW SET NEW.marketing_url = 'old'"
            )
        }
    };
    let version_0 = vec![old("course_sharing_restore_v0")];
    let parts = match kind {
        Kind::Sqlite => vec![vec!["DROP TRIGGER course_sharing_restore_v1_insert".to_owned()]],
        Kind::Postgres => vec![
            vec![format!("DROP TRIGGER course_sharing_restore_v1 ON {table}")],
            vec![format!("ALTER TABLE {table} DISABLE TRIGGER course_sharing_restore_v1")],
        ],
        Kind::Mysql => vec![
            vec!["DROP TRIGGER course_sharing_restore_v1_insert".to_owned()],
            vec!["DROP FUNCTION course_sharing_restore_v1".to_owned()],
        ],
    };
    [vec![version_0], parts].concat()
}

#[tokio::test]
async fn one_that_is_old_or_incomplete_is_shown_and_replaced() {
    for kind in KINDS {
        let database = knowing(kind).await;
        run(&database, &ON).await.expect(0);
        for statements in leftovers(kind) {
            for sql in &statements {
                database.execute(sql).await;
            }
            let words = ["another version than 1", "course-sharing migrate --restore-trigger"];
            run(&database, &["migrate", "status"]).await.expect(0).says(&words);
            run(&database, &ON).await.expect(0).says(&["restore trigger"]);
            run(&database, &["migrate", "status"]).await.expect(0).says(&["restore trigger of version 1"]);
            assert!(restores(&database).await, "{kind:?}: {statements:?}");
        }
        database.drop().await;
    }
}

#[tokio::test]
async fn a_change_of_our_tables_takes_it_away_and_brings_it_back() {
    for kind in KINDS {
        let database = knowing(kind).await;
        run(&database, &ON).await.expect(0);
        // As a database of an earlier release, whose ledger is yet to change.
        database
            .execute("DELETE FROM course_sharing_migrations WHERE version = 'm20261130_000007_plain_ledger'")
            .await;
        database.change_tables("ALTER TABLE course_sharing_ledger ADD COLUMN held_by bigint").await;
        let done = run(&database, &["migrate"]).await.expect(0);
        let place =
            |words: &str| done.stdout.find(words).unwrap_or_else(|| panic!("no {words}: {}", done.stdout));
        let column = place("held_by");
        assert!(place("DROP TRIGGER") < column && column < place("CREATE TRIGGER"), "{}", done.stdout);
        run(&database, &["migrate", "status"]).await.expect(0).says(&["restore trigger of version 1"]);
        assert!(restores(&database).await, "{kind:?}");
        database.drop().await;
    }
}

#[tokio::test]
async fn one_statement_by_hand_puts_an_end_to_it() {
    let reference = include_str!("../../../ops/reference/restore-trigger.md");
    let (_, reference) = reference.split_once("## Removing it by hand").unwrap();
    for (kind, heading) in [(Kind::Postgres, "| PostgreSQL | `"), (Kind::Mysql, "| MySQL, MariaDB | `")] {
        let database = knowing(kind).await;
        run(&database, &ON).await.expect(0);
        let statement = reference.split(heading).nth(1).and_then(|rest| rest.split('`').next()).unwrap();
        database.execute(statement).await;
        assert!(!restores(&database).await, "{kind:?}");
        run(&database, &["migrate", "down", "--yes"]).await.expect(0);
        database.drop().await;
    }
}
