//! `migrate`: up, down, status and the SQL of it, on the three databases.

use sea_orm::{ConnectionTrait, DbBackend, Statement, TransactionTrait};

use crate::support::databases::{KINDS, Kind, TestDatabase};
use crate::support::process::{Ended, Program, on_terminal};
use stand_in::{Runs, Setup, StandIn};

const OVERVIEWS_2016: &str = include_str!("../../fixtures/lms/course_overviews_2016.mysql.sql");
const TABLES: [&str; 5] = [
    "course_sharing_ledger",
    "course_sharing_reconcile",
    "course_sharing_lease",
    "course_sharing_blank",
    "course_sharing_dead_letter",
];

pub(super) async fn run(database: &TestDatabase, arguments: &[&str]) -> Ended {
    let environment = [("COURSE_SHARING_DATABASE__URL".to_owned(), database.owner_url.clone())];
    Program::start(arguments, &environment).ended().await
}

/// A database as an LMS of 2016 has it: without the column.
async fn old(kind: Kind) -> TestDatabase {
    let database = TestDatabase::empty(kind).await;
    if kind == Kind::Mysql {
        database.execute(OVERVIEWS_2016).await;
    } else {
        let columns = "id varchar(255) PRIMARY KEY, social_sharing_url text";
        database.execute(&format!("CREATE TABLE course_overviews_courseoverview ({columns})")).await;
    }
    database
}

/// Fails unless a command that needs the whole schema works.
async fn is_whole(database: &TestDatabase) {
    run(database, &["heal"]).await.expect(0).says(&["healed 0 "]);
}

#[tokio::test]
async fn up_down_up_on_each_database() {
    for kind in KINDS {
        let database = old(kind).await;
        run(&database, &["heal"]).await.expect(1).says(&["marketing_url", "migrate"]);
        run(&database, &["migrate", "status"]).await.expect(0).says(&["Pending"]);
        for _ in 0..2 {
            run(&database, &["migrate", "up"]).await.expect(0);
            run(&database, &["migrate"]).await.expect(0).says(&["nothing to do"]);
            run(&database, &["migrate", "status"]).await.expect(0).says(&["Applied"]);
            is_whole(&database).await;
            run(&database, &["migrate", "down", "--yes"]).await.expect(0);
            run(&database, &["migrate", "down", "--yes"]).await.expect(0).says(&["nothing to do"]);
            run(&database, &["heal"]).await.expect(1).says(&["course_sharing_ledger", "migrate"]);
        }
        // The column is the LMS's: it stays, with what is in it.
        database.execute("SELECT marketing_url FROM course_overviews_courseoverview").await;
        database.drop().await;
    }
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_what_it_prints_runs_as_it_is() {
    for kind in KINDS {
        let database = old(kind).await;
        let ended = run(&database, &["migrate", "--dry-run"]).await.expect(0);
        let status = run(&database, &["migrate", "status"]).await.expect(0);
        status.says(&["Pending"]);
        for table in TABLES {
            assert!(ended.stdout.contains(table), "{}", ended.stdout);
        }
        // As whoever has the right to would do it.
        for statement in ended.stdout.split(";\n").filter(|statement| !statement.trim().is_empty()) {
            database.execute(statement).await;
        }
        is_whole(&database).await;
        run(&database, &["migrate", "status"]).await.expect(0).says(&["Applied"]);
        run(&database, &["migrate"]).await.expect(0).says(&["nothing to do"]);
        is_whole(&database).await;
        database.drop().await;
    }
}

#[tokio::test]
async fn a_dry_run_of_the_way_down_changes_nothing_and_runs_as_it_is() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let ended = run(&database, &["migrate", "down", "--dry-run"]).await.expect(0);
        is_whole(&database).await;
        for table in TABLES {
            assert!(ended.stdout.contains(table), "{}", ended.stdout);
        }
        for statement in ended.stdout.split(";\n").filter(|statement| !statement.trim().is_empty()) {
            database.execute(statement).await;
        }
        run(&database, &["heal"]).await.expect(1).says(&["course_sharing_ledger", "migrate"]);
        run(&database, &["migrate"]).await.expect(0);
        is_whole(&database).await;
        database.drop().await;
    }
}

#[tokio::test]
async fn what_the_lms_s_table_will_have_to_bear_is_said_beforehand() {
    for (kind, words) in [
        (Kind::Sqlite, &["SQLite", "milliseconds"][..]),
        (Kind::Postgres, &["ACCESS EXCLUSIVE", "milliseconds", "5 s at most", "SET lock_timeout = '5s';"]),
        (Kind::Mysql, &["INSTANT", "milliseconds", "5 s at most", "SET SESSION lock_wait_timeout = 5;"]),
    ] {
        let database = old(kind).await;
        let ended = run(&database, &["migrate", "--dry-run"]).await.expect(0);
        for word in [&["-- The LMS's table course_overviews_courseoverview gets"], words].concat() {
            assert!(ended.stdout.contains(word), "{kind:?}: no {word:?} in {}", ended.stdout);
        }
        // The same words stand before the deed.
        let done = run(&database, &["migrate"]).await.expect(0);
        assert_eq!(done.stdout, ended.stdout, "{kind:?}");
        // Where the column is there already, the LMS's table is left alone.
        run(&database, &["migrate", "down", "--yes"]).await.expect(0);
        let again = run(&database, &["migrate"]).await.expect(0);
        assert!(!again.stdout.contains("courseoverview"), "{kind:?}: {}", again.stdout);
        database.drop().await;
    }
}

#[tokio::test]
async fn the_way_down_is_gone_when_somebody_has_said_so_and_each_form_is_one_document() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let environment = [("COURSE_SHARING_DATABASE__URL".to_owned(), database.owner_url.clone())];
    let ended = run(&database, &["migrate", "down"]).await.expect(2);
    ended.says(&["drops this program's tables", "--yes"]);
    assert!(ended.stdout.is_empty(), "{}", ended.stdout);
    for (answer, code) in [("n\n", 1), ("\n", 1)] {
        let ended = on_terminal(&["migrate", "down"], &environment, answer).await;
        assert!(ended.code == Some(code) && ended.stdout.contains("nothing was done"), "{ended:?}");
    }
    is_whole(&database).await;
    let json = async |arguments: &[&str]| {
        run(&database, &[&["migrate"], arguments, &["--output", "json"]].concat()).await.expect(0).json()
    };
    let planned = json(&["down", "--dry-run"]).await;
    let steps = planned["steps"].as_array().unwrap().len();
    assert!(planned["dry_run"] == true && steps > 5, "{planned:#}");
    let status = json(&["status"]).await;
    assert_eq!(status["migrations"][0]["status"], "Applied", "{status:#}");
    assert_eq!(json(&["down", "--yes"]).await["steps"].as_array().unwrap().len(), steps);
    assert_eq!(json(&["down"]).await["steps"].as_array().unwrap().len(), 0);
    database.drop().await;
}

async fn is_mariadb(database: &TestDatabase) -> bool {
    let version = Statement::from_string(DbBackend::MySql, "SELECT VERSION()");
    let row = database.owner.connection().query_one_raw(version).await.unwrap().unwrap();
    row.try_get_by_index::<String>(0).unwrap().contains("MariaDB")
}

/// By changing its catalogue, by building the table again while others write, while they wait, and by a copy.
#[tokio::test]
async fn the_column_comes_to_tables_of_every_kind() {
    for change in [
        "ROW_FORMAT = DYNAMIC",
        "ROW_FORMAT = COMPRESSED",
        "ADD FULLTEXT (short_description)",
        "ENGINE = Aria",
    ] {
        let database = old(Kind::Mysql).await;
        if change.contains("Aria") && !is_mariadb(&database).await {
            database.drop().await;
            continue;
        }
        database.execute(&format!("ALTER TABLE course_overviews_courseoverview {change}")).await;
        let planned = run(&database, &["migrate", "--dry-run"]).await.expect(0);
        planned.says(&["rows", "MB", " s on a slow disk"]);
        run(&database, &["migrate"]).await.expect(0);
        is_whole(&database).await;
        database.drop().await;
    }
}

/// The statements of a dry run, in their order.
fn statements(ended: &Ended) -> Vec<String> {
    let statements = ended.stdout.split(";\n").map(str::trim);
    statements
        .filter(|statement| statement.lines().any(|line| !line.starts_with("--")))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn a_migration_that_was_killed_between_any_two_statements_can_be_run_again() {
    for kind in KINDS {
        let database = old(kind).await;
        let all = statements(&run(&database, &["migrate", "--dry-run"]).await.expect(0));
        database.drop().await;
        for carried_out in 1..all.len() {
            let database = old(kind).await;
            for statement in &all[..carried_out] {
                database.execute(statement).await;
            }
            let left = statements(&run(&database, &["migrate", "--dry-run"]).await.expect(0));
            assert!(left.len() <= all.len(), "{kind:?} after {carried_out}: {left:?}");
            run(&database, &["migrate"]).await.expect(0);
            run(&database, &["migrate"]).await.expect(0).says(&["nothing to do"]);
            is_whole(&database).await;
            database.drop().await;
        }
    }
}

#[tokio::test]
async fn the_way_down_that_was_killed_between_any_two_statements_can_be_run_again() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let all = statements(&run(&database, &["migrate", "down", "--dry-run"]).await.expect(0));
        for carried_out in 1..all.len() {
            for statement in &all[..carried_out] {
                database.execute(statement).await;
            }
            run(&database, &["migrate", "down", "--yes"]).await.expect(0);
            run(&database, &["migrate", "down", "--yes"]).await.expect(0).says(&["nothing to do"]);
            run(&database, &["migrate"]).await.expect(0);
            is_whole(&database).await;
        }
        database.drop().await;
    }
}

#[tokio::test]
async fn a_transaction_that_keeps_the_table_makes_migrate_give_up_and_change_nothing() {
    for kind in KINDS {
        let database = old(kind).await;
        let owner = database.owner.connection();
        let long = owner.begin().await.unwrap();
        let using = match kind {
            // A reader does not stand in its way there.
            Kind::Sqlite => "UPDATE course_overviews_courseoverview SET social_sharing_url = NULL",
            _ => "SELECT id FROM course_overviews_courseoverview",
        };
        long.execute_unprepared(using).await.unwrap();
        let ended = run(&database, &["migrate"]).await.expect(1);
        assert!(ended.stderr.contains("nothing has changed"), "{kind:?}: {}", ended.stderr);
        assert!(ended.stderr.contains("innodb_trx"), "{kind:?}: {}", ended.stderr);
        long.rollback().await.unwrap();
        run(&database, &["migrate", "status"]).await.expect(0).says(&["Pending"]);
        run(&database, &["migrate"]).await.expect(0);
        is_whole(&database).await;
        database.drop().await;
    }
}

#[tokio::test]
async fn the_lms_s_table_is_made_only_when_asked_for() {
    for kind in KINDS {
        let database = TestDatabase::empty(kind).await;
        run(&database, &["migrate"]).await.expect(0);
        run(&database, &["heal"]).await.expect(1).says(&["course_overviews_courseoverview"]);
        run(&database, &["migrate", "--create-overview-table"]).await.expect(0);
        is_whole(&database).await;
        database.drop().await;
    }
}

#[tokio::test]
async fn a_catalog_is_not_needed_and_an_empty_overview_table_is_no_fault() {
    let database = TestDatabase::new(Kind::Sqlite).await;
    let catalog = StandIn::start(Setup { runs: Runs::default(), ..Setup::default() }).await;
    let environment = [
        ("COURSE_SHARING_DATABASE__URL".to_owned(), database.owner_url.clone()),
        ("COURSE_SHARING_CATALOG__URL".to_owned(), catalog.url()),
    ];
    Program::start(&["migrate", "status"], &environment).ended().await.expect(0);
    assert_eq!(catalog.stats().requests, 0);
    database.drop().await;
}
