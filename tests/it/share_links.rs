//! `GET /api/v1/share-links` of a real worker on a real database: the LMS's own cases, keys that differ in case alone,
//! and one SQL statement whatever the number of courses.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::support::databases::Kind;
use crate::support::process::Program;
use crate::support::stage::{SOON, Stage, with_stage};
use crate::support::wait_until;

const CASES: &str = include_str!("../fixtures/lms/share-link-cases.csv");
const TABLE: &str = "course_overviews_courseoverview";

async fn asked(worker: &Program, courses: &[String]) -> Value {
    let query: String = courses.iter().fold(String::new(), |mut query, course| {
        let _ = write!(query, "course_id={}&", course.replace('+', "%2B"));
        query
    });
    let (status, body) = worker.get(&format!("/api/v1/share-links?{query}")).await.unwrap();
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

async fn set(stage: &Stage, course: &str, column: &str, value: &str) {
    let binary = if stage.database.kind == Kind::Mysql { "BINARY " } else { "" };
    stage
        .database
        .execute(&format!("UPDATE {TABLE} SET {column} = {value} WHERE {binary}id = '{course}'"))
        .await;
}

#[tokio::test]
async fn the_lms_s_own_cases_come_out_the_same() {
    with_stage(Kind::Mysql, async |stage| {
        for (custom, site) in [("true", "true"), ("true", "false"), ("false", "true"), ("false", "false")] {
            let settings = [
                ("lms.custom_course_urls", custom),
                ("lms.marketing_site", site),
                ("lms.root_url", "https://lms.example"),
            ];
            let worker = stage.worker(&settings).await;
            let flags = format!("{custom},{site},");
            let cases = CASES.lines().skip(1).enumerate().filter(|(_, case)| case.starts_with(&flags));
            for (number, case) in cases {
                let [_, _, social, marketing, expected] = case.split(',').collect::<Vec<_>>()[..] else {
                    panic!("{case}");
                };
                for empty in ["NULL", "''"] {
                    let course = format!("course-v1:Acme+Case{number}{}+1", empty.len());
                    stage.database.insert_overview(&course, None).await;
                    for (column, url) in [("social_sharing_url", social), ("marketing_url", marketing)] {
                        let value = if url.is_empty() { empty.to_owned() } else { format!("'{url}'") };
                        set(stage, &course, column, &value).await;
                    }
                    let about = format!("https://lms.example/courses/{course}/about");
                    let expected = if expected == "ABOUT" { &about } else { expected };
                    let answer = asked(&worker, std::slice::from_ref(&course)).await;
                    assert_eq!(answer["links"][&course]["url"], expected, "{case} {empty}");
                }
            }
            worker.stop().await.expect(0);
        }
    })
    .await;
}

#[tokio::test]
async fn a_key_in_other_letters_is_unknown_and_its_link_is_not_given() {
    with_stage(Kind::Mysql, async |stage| {
        let there = "course-v1:École+Links+1".to_owned();
        stage.database.insert_overview(&there, Some("https://www.campus.example/c")).await;
        let others = ["course-v1:ecole+links+1", "course-v1:ÉCOLE+LINKS+1"].map(str::to_owned);
        let worker = stage.worker(&[]).await;
        let answer = asked(&worker, &[&others[..], std::slice::from_ref(&there)].concat()).await;
        let link = json!({ "url": "https://www.campus.example/c", "source": "marketing" });
        assert_eq!(answer["links"], json!({ there: link }));
        assert_eq!(answer["unknown"], json!(others));
        worker.stop().await.expect(0);
    })
    .await;
}

/// What the database's own log has of this user's statements with this text in them.
async fn logged(stage: &Stage, text: &str) -> Vec<String> {
    let user = stage.database.user.as_deref().unwrap();
    let sql = format!(
        "SELECT CONVERT(argument USING utf8mb4) AS sent FROM mysql.general_log \
         WHERE user_host LIKE '{user}[%' AND command_type IN ('Query', 'Execute') AND argument LIKE '%{text}%'"
    );
    let db = &stage.database.owner.connection();
    let statement = sea_orm::Statement::from_string(sea_orm::DbBackend::MySql, sql);
    let rows = sea_orm::ConnectionTrait::query_all_raw(db, statement).await.unwrap();
    rows.iter().map(|row| row.try_get("", "sent").unwrap()).collect()
}

#[tokio::test]
async fn a_hundred_courses_are_one_statement_in_the_database_s_own_log() {
    with_stage(Kind::Mysql, async |stage| {
        let courses: Vec<String> = (0..100).map(|n| format!("course-v1:Acme+Logged+{n:03}")).collect();
        for course in &courses[..60] {
            stage.database.insert_overview(course, Some("https://www.campus.example/c")).await;
        }
        let worker = stage.worker(&[]).await;
        // The log is the server's; other tests' statements are other users'.
        let on = "SET GLOBAL log_output = 'TABLE,FILE'";
        let was = ["SET GLOBAL general_log = OFF", "SET GLOBAL log_output = 'FILE'"];
        for sql in [on, "SET GLOBAL general_log = ON"] {
            stage.database.execute(sql).await;
        }
        let answer = asked(&worker, &courses).await;
        wait_until(SOON, "the statement is in the log", || async {
            !logged(stage, "Logged").await.is_empty()
        })
        .await;
        let sent = logged(stage, "Logged").await;
        for sql in was {
            stage.database.execute(sql).await;
        }
        assert_eq!(sent.len(), 1, "{sent:#?}");
        assert!(courses.iter().all(|course| sent[0].contains(course.as_str())), "{}", sent[0]);
        assert!(sent[0].starts_with("SELECT"), "{}", sent[0]);
        assert_eq!(answer["links"].as_object().unwrap().len(), 60);
        assert_eq!(answer["unknown"].as_array().unwrap().len(), 40);
        worker.stop().await.expect(0);
    })
    .await;
}
