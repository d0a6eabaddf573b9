//! What the database user may do: under the rights of ops/ROLLOUT.md everything works, one right less is named, and
//! one more is told.

use super::{checked, one_is_wrong, with_all_well};
use crate::support::databases::{Kind, TestDatabase};
use crate::support::stage::{Stage, with_stage};

const KEY: &str = "course-v1:Acme+Rights+1";
const URL: &str = "https://www.campus.example/course/rights";
const LMS: &str = "course_overviews_courseoverview";
const PAGE_SIZE: &str = "catalog_catalogintegration";
/// The configuration that needs every right there is.
const ALL_ON: [(&str, &str); 2] =
    [("reconcile.page_size", "lms"), ("sync.also", "eligible_for_financial_aid,language")];

/// One right of a GRANT statement, on one column where it has columns.
#[derive(Debug)]
struct Granted {
    right: String,
    column: Option<String>,
    on: String,
}

impl Granted {
    fn sql(&self) -> String {
        let column = self.column.as_ref().map(|column| format!(" ({column})")).unwrap_or_default();
        format!("{}{column} ON {}", self.right, self.on)
    }
}

/// Takes `GRANT SELECT (a, b), UPDATE (a) ON t, u TO somebody;` apart.
fn apart(sql: &str) -> Vec<Granted> {
    let Some(rest) = sql.strip_prefix("GRANT ") else { return Vec::new() };
    let (rights, rest) = rest.split_once(" ON ").unwrap();
    let (tables, _) = rest.split_once(" TO ").unwrap();
    let mut granted = Vec::new();
    let rights = rights.replace("), ", ")|");
    let rights = rights.split('|').flat_map(|right| {
        let of_columns = right.contains('(');
        right.split(if of_columns { "|" } else { ", " }).map(str::to_owned).collect::<Vec<_>>()
    });
    for right in rights {
        let (right, columns) = right.split_once(" (").unwrap_or((&right, ""));
        let columns: Vec<Option<String>> = match columns.trim_end_matches(')') {
            "" => vec![None],
            columns => columns.split(", ").map(|column| Some(column.to_owned())).collect(),
        };
        for column in columns {
            for on in tables.split(", ") {
                granted.push(Granted { right: right.to_owned(), column: column.clone(), on: on.to_owned() });
            }
        }
    }
    granted
}

/// The table of the LMS's by which its staff set the page size, and every right that any configuration needs.
async fn with_all_rights(database: &TestDatabase) {
    database
        .execute(&format!(
            "CREATE TABLE {PAGE_SIZE} (id integer PRIMARY KEY, page_size integer, changed_by_id integer)"
        ))
        .await;
    database.execute(&format!("INSERT INTO {PAGE_SIZE} VALUES (1, 50, NULL)")).await;
    for what in [PAGE_SIZE, "eligible_for_financial_aid"] {
        database.grant_on(what).await;
    }
}

#[tokio::test]
async fn each_right_that_is_missing_is_named_with_the_grant_to_run() {
    for kind in [Kind::Postgres, Kind::Mysql] {
        with_all_well(kind, async |stage| {
            with_all_rights(&stage.database).await;
            checked(stage, &ALL_ON).await.expect(0).says(&["ok    database"]);
            let user = stage.database.user.clone().unwrap();
            let granted: Vec<Granted> =
                stage.database.statements().iter().flat_map(|statement| apart(&statement.sql)).collect();
            // The LMS's columns, one to write, two of sync.also to read and to write, the page size's two, three of
            // each of ours, one each to forget blanks, dead letters, failures, old runs and old passes, our memory, and
            // what each server adds.
            let tables = migration::tables().count();
            let own = if kind == Kind::Postgres { 2 } else { 0 };
            assert_eq!(granted.len(), 3 + 1 + 4 + 2 + 3 * tables + 5 + 1 + own, "{granted:?}");
            for granted in granted {
                let at = if kind == Kind::Mysql { "@'%'" } else { "" };
                stage.database.execute(&format!("REVOKE {} FROM {user}{at}", granted.sql())).await;
                let on = granted.on.split('.').next_back().unwrap();
                let on = if granted.right == "CONNECT" { "DATABASE" } else { on };
                let mut words = vec![granted.right.as_str(), on, "GRANT"];
                words.extend(granted.column.as_deref());
                one_is_wrong(stage, &ALL_ON, "database", &words).await;
                stage.database.execute(&format!("GRANT {} TO {user}{at}", granted.sql())).await;
            }
            checked(stage, &ALL_ON).await.expect(0).says(&["ok    database"]);
        })
        .await;
    }
}

/// Fails unless `check` warns in these words, and ends well.
async fn warns(stage: &Stage, settings: &[(&str, &str)], words: &[&str]) {
    let ended = checked(stage, settings).await.expect(0);
    let line = ended.stdout.lines().find(|line| line.starts_with("warn  database"));
    let line = line.unwrap_or_else(|| panic!("no warning:\n{}", ended.stdout));
    for word in [words, &["ROLLOUT.md"]].concat() {
        assert!(line.contains(word), "no {word:?} in {line}");
    }
}

#[tokio::test]
async fn each_right_too_many_is_told() {
    for kind in [Kind::Postgres, Kind::Mysql] {
        with_all_well(kind, async |stage| {
            let (database, user) = (&stage.database, stage.database.user.clone().unwrap());
            checked(stage, &[]).await.expect(0).says(&["ok    database"]);
            with_all_rights(database).await;
            // Not needed under this configuration.
            warns(stage, &[], &["SELECT", PAGE_SIZE, "UPDATE (", "eligible_for_financial_aid"]).await;
            let at = if kind == Kind::Mysql { "@'%'" } else { "" };
            let more = [
                "DELETE ON course_sharing_lease",
                "UPDATE (social_sharing_url) ON course_overviews_courseoverview",
            ];
            for right in more {
                let (right_, table) = right.split_once(" ON ").unwrap();
                database.execute(&format!("GRANT {right} TO {user}{at}")).await;
                warns(stage, &ALL_ON, &[right_, table]).await;
                database.execute(&format!("REVOKE {right} FROM {user}{at}")).await;
            }
            let role = format!("{user}_r");
            database.execute(&format!("CREATE ROLE {role}")).await;
            database.execute(&format!("GRANT UPDATE ON {LMS} TO {role}")).await;
            database.execute(&format!("GRANT {role} TO {user}{at}")).await;
            if kind == Kind::Mysql {
                // There a role counts when it is active. MariaDB reads the first comment, MySQL the second.
                let sets = format!("SET DEFAULT ROLE {role} /*M! FOR */ /*!80000 TO */ {user}{at}");
                database.execute(&sets).await;
            }
            warns(stage, &ALL_ON, &["UPDATE on every column of", LMS]).await;
            let owned =
                if kind == Kind::Postgres { format!("DROP OWNED BY {role}; ") } else { String::new() };
            database.execute(&format!("{owned}DROP ROLE {role}")).await;
            checked(stage, &ALL_ON).await.expect(0).says(&["ok    database"]);
            warns(stage, &[("database.url", &database.owner_url)], &["ALL PRIVILEGES"]).await;
        })
        .await;
    }
}

#[tokio::test]
async fn every_command_works_under_the_least_rights() {
    for kind in [Kind::Postgres, Kind::Mysql] {
        with_stage(kind, async |stage| {
            with_all_rights(&stage.database).await;
            stage.course(KEY, None, Some(URL)).await;
            let run = async |arguments: &[&str]| stage.run_with(&ALL_ON, arguments).await.expect(0);
            run(&["migrate", "status"]).await.says(&["Applied"]);
            run(&["migrate", "--dry-run"]).await.says(&["nothing to do"]);
            let worker =
                stage.worker(&[("heal.interval", "1s"), ("reconcile.schedule", "* * * * * *")]).await;
            run(&["publish", "course-publish", KEY]).await;
            stage.until_link(KEY, Some(URL)).await;
            worker.until_status("/readyz", 200, crate::support::stage::SOON).await;
            worker.until_status("/api/v1/status", 200, crate::support::stage::SOON).await;
            stage.database.execute(&format!("UPDATE {LMS} SET marketing_url = NULL")).await;
            stage.until_link(KEY, Some(URL)).await;
            let ended = worker.stop().await.expect(0);
            assert!(!ended.stderr.to_lowercase().contains("denied"), "{}", ended.stderr);
            stage.database.execute(&format!("UPDATE {LMS} SET marketing_url = NULL")).await;
            run(&["heal"]).await.says(&["healed 1 "]);
            run(&["reconcile"]).await;
            run(&["reconcile", "--dry-run"]).await;
            run(&["reconcile", "--allow-mass-change"]).await;
            run(&["sync", KEY]).await.says(&["unchanged"]);
            run(&["share-link", KEY]).await.says(&[URL]);
            run(&["explain", KEY]).await.says(&[URL]);
            run(&["dead-letters", "list"]).await;
            run(&["check"]).await.says(&["ok    database"]);
        })
        .await;
    }
}
