//! A database that reads and does not write: a right taken away, a server that only reads. Each place that an operator
//! looks at says so, and why, and that it is over.

use serde_json::Value;

use super::PAGE;
use crate::support::databases::Kind;
use crate::support::process::Program;
use crate::support::stage::{SOON, Stage, with_stage};
use crate::support::wait_until;

const KEY: &str = "course-v1:Acme+Writes+1";
const LMS: &str = "course_overviews_courseoverview";
const WRITABLE: &str = "course_sharing_database_writable";
const READS_ONLY: &str = "reads, does not write: ";

/// Fails unless everything shows that the database does not write, and why.
async fn shown_everywhere(worker: &Program, why: &[&str]) {
    worker.until_metric(WRITABLE, 0.0).await;
    let refused = || async {
        let (status, body) = worker.get("/readyz").await.unwrap();
        status == 503 && body.contains(READS_ONLY)
    };
    wait_until(SOON, "/readyz says that it does not write", refused).await;
    let (_, ready) = worker.get("/readyz").await.unwrap();
    let status: Value = serde_json::from_str(&worker.get("/api/v1/status").await.unwrap().1).unwrap();
    assert_eq!(status["database"]["writable"], false, "{status}");
    let reason = status["database"]["why"].as_str().unwrap();
    let logged = worker.until_logged("database.read_only").await;
    for word in why {
        assert!(ready.contains(word), "no {word:?} in {ready}");
        assert!(reason.contains(word), "no {word:?} in {reason}");
        assert!(logged["error"].as_str().unwrap().contains(word), "no {word:?} in {logged}");
    }
    worker.until_page(SOON, &["<h1>", "The database reads, and does not write"]).await;
    // A restart would not help.
    worker.until_status("/healthz", 200, SOON).await;
}

async fn until_well(stage: &Stage, worker: &Program) {
    worker.until_metric(WRITABLE, 1.0).await;
    worker.until_status("/readyz", 200, SOON).await;
    stage.until_link(KEY, Some(PAGE)).await;
    worker.until_logged("database.writable").await;
}

#[tokio::test]
async fn a_right_that_is_taken_away_is_shown_everywhere_until_it_is_given_back() {
    for kind in [Kind::Postgres, Kind::Mysql] {
        with_stage(kind, async |stage| {
            stage.course(KEY, None, Some(PAGE)).await;
            let worker = stage.worker(&[("heal.interval", "1s")]).await;
            stage.publish_course(KEY).await;
            stage.until_link(KEY, Some(PAGE)).await;
            worker.until_metric(WRITABLE, 1.0).await;
            let (user, at) =
                (stage.database.user.clone().unwrap(), if kind == Kind::Mysql { "@'%'" } else { "" });
            let right = format!("UPDATE (marketing_url) ON {LMS}");
            stage.database.execute(&format!("REVOKE {right} FROM {user}{at}")).await;
            stage.database.execute(&format!("UPDATE {LMS} SET marketing_url = NULL")).await;
            shown_everywhere(&worker, &["UPDATE (marketing_url)", "GRANT", LMS]).await;
            stage.database.execute(&format!("GRANT {right} TO {user}{at}")).await;
            until_well(stage, &worker).await;
            worker.stop().await.expect(0);
        })
        .await;
    }
}

#[tokio::test]
async fn a_server_that_only_reads_is_found_at_the_start() {
    with_stage(Kind::Postgres, async |stage| {
        stage.course(KEY, None, Some(PAGE)).await;
        let user = stage.database.user.clone().unwrap();
        let role = format!("ALTER ROLE {user}");
        stage.database.execute(&format!("{role} SET default_transaction_read_only = on")).await;
        let worker = stage.worker(&[]).await;
        shown_everywhere(&worker, &["read-only transaction"]).await;
        let checked = stage.run(&["check"]).await.expect(1);
        checked.says(&["FAIL  database", READS_ONLY, "read-only transaction"]);
        stage.database.execute(&format!("{role} RESET default_transaction_read_only")).await;
        let sessions =
            format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'");
        stage.database.execute(&sessions).await;
        stage.publish_course(KEY).await;
        until_well(stage, &worker).await;
        worker.stop().await.expect(0);
    })
    .await;
}

#[tokio::test]
async fn a_commit_that_fails_is_shown_until_one_succeeds() {
    with_stage(Kind::Postgres, async |stage| {
        stage.course(KEY, None, Some(PAGE)).await;
        let worker = stage.worker(&[("heal.interval", "1s")]).await;
        worker.until_metric(WRITABLE, 1.0).await;
        // 58030 is an error of the server's disk; a code of a row's would be that row's trouble alone.
        let function = "CREATE FUNCTION no_commit() RETURNS trigger LANGUAGE plpgsql AS \
                        'BEGIN RAISE EXCEPTION USING ERRCODE = ''58030'', MESSAGE = ''the disk failed''; END'";
        stage.database.execute(function).await;
        let trigger = "CREATE CONSTRAINT TRIGGER no_commit AFTER UPDATE ON course_overviews_courseoverview \
                       DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION no_commit()";
        stage.database.execute(trigger).await;
        stage.publish_course(KEY).await;
        shown_everywhere(&worker, &["failed to commit", "the disk failed"]).await;
        assert_eq!(stage.database.link(KEY).await.flatten(), None);
        stage.database.execute(&format!("DROP TRIGGER no_commit ON {LMS}")).await;
        until_well(stage, &worker).await;
        worker.stop().await.expect(0);
    })
    .await;
}
