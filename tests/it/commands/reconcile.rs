//! `reconcile`: what a pass comes to, as a number, as one document, and in the database.

use std::time::Duration;

use crate::support::broker::SOON;
use crate::support::databases::{KINDS, Kind};
use crate::support::process::Program;
use crate::support::stage::{Stage, with_catalog, with_stage};
use crate::support::wait_until;
use stand_in::{Auth, Health, Runs, Setup};

fn key(number: u32) -> String {
    format!("course-v1:OrgX+C{number:07}+2026_T1")
}

fn generated(count: u32) -> Setup {
    Setup { runs: Runs::generated(count), ..Setup::default() }
}

/// Overviews of the first runs, each with a link on another host.
async fn overviews(stage: &Stage, count: u32) {
    for number in 0..count {
        let link = format!("https://old.example/{number}");
        stage.database.insert_overview(&key(number), Some(&link)).await;
    }
}

#[tokio::test]
async fn a_second_pass_finds_nothing_to_do_and_says_so_in_one_document() {
    for kind in KINDS {
        with_catalog(kind, Setup::default(), async |stage| {
            let listed = stage.catalog.state().setup.runs.keys();
            for key in &listed {
                stage.database.insert_overview(key, None).await;
            }
            let first = stage.run(&["reconcile", "--output", "json"]).await.expect(0).json();
            assert_eq!(first["verdict"], "complete", "{first:#}");
            let second = stage.run(&["reconcile", "--output", "json"]).await.expect(0).json();
            assert_eq!(second["updated"], 0, "{kind:?} {second:#}");
            for place in 0..listed.len() {
                let run = stage.catalog.state().setup.runs.at(place).unwrap();
                if !run.key.starts_with("ccx-") {
                    assert_eq!(stage.database.link(&run.key).await, Some(run.url), "{kind:?} {}", run.key);
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn it_begins_and_ends_with_a_line_of_its_own_on_stderr() {
    with_catalog(Kind::Sqlite, generated(30), async |stage| {
        overviews(stage, 2).await;
        let ended = stage.run(&["reconcile"]).await.expect(0);
        assert_eq!(ended.logged("reconcile.started").len(), 1, "{}", ended.stderr);
        assert_eq!(ended.logged("reconcile.finished").len(), 1, "{}", ended.stderr);
        assert!(!ended.stdout.contains("\"event\""), "{}", ended.stdout);
    })
    .await;
}

#[tokio::test]
async fn the_page_size_is_the_operators() {
    with_catalog(Kind::Sqlite, generated(30), async |stage| {
        let pages = async |settings: &[(&str, &str)], arguments: &[&str], limit: &str| {
            stage.catalog.state().stats.targets.clear();
            stage.run_with(settings, arguments).await.expect(0);
            let targets = stage.catalog.stats().targets;
            let pages: Vec<_> = targets.iter().filter(|target| target.contains("offset=")).collect();
            assert!(!pages.is_empty() && pages.iter().all(|page| page.contains(limit)), "{targets:?}");
        };
        pages(&[], &["reconcile", "--page-size", "7"], "limit=7&").await;
        pages(&[("reconcile.page_size", "11")], &["reconcile"], "limit=11&").await;
        pages(&[("reconcile.page_size", "11")], &["reconcile", "--page-size", "7"], "limit=7&").await;
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_tells_every_change_in_one_document_and_makes_none() {
    with_catalog(Kind::Sqlite, generated(30), async |stage| {
        overviews(stage, 5).await;
        for changed in [5, 0] {
            let ended = stage.run(&["reconcile", "--dry-run", "--output", "json"]).await.expect(0);
            let document = ended.json();
            assert_eq!(document["changes"].as_array().unwrap().len(), changed, "{document:#}");
            assert_eq!(document["report"]["dry_run"], true);
            if changed > 0 {
                let link = stage.database.link(&key(0)).await.flatten();
                assert_eq!(link.as_deref(), Some("https://old.example/0"));
                stage.run(&["reconcile"]).await.expect(0);
            }
        }
        stage.run(&["reconcile", "--dry-run"]).await.expect(0);
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_that_is_stopped_leaves_one_document_too() {
    with_catalog(Kind::Sqlite, generated(2000), async |stage| {
        overviews(stage, 5).await;
        stage.catalog.state().setup.latency = Duration::from_millis(200);
        let arguments = ["reconcile", "--dry-run", "--output", "json", "--page-size", "20"];
        let program = Program::start(&arguments, &stage.environment(&[]));
        wait_until(SOON, "a change is printed", || async { program.stdout().contains(&key(0)) }).await;
        let ended = program.stop().await.expect(1);
        assert!(!ended.json()["changes"].as_array().unwrap().is_empty());
        assert!(ended.json().get("report").is_none(), "{}", ended.stdout);
    })
    .await;
}

#[tokio::test]
async fn a_run_that_breaks_its_page_costs_itself_alone_and_makes_it_3() {
    with_catalog(Kind::Sqlite, generated(60), async |stage| {
        overviews(stage, 60).await;
        stage.catalog.put_broken(&key(30), Health::NoType);
        let settings = [("reconcile.max_change_ratio", "1.0")];
        let arguments = ["reconcile", "--page-size", "20", "--output", "json"];
        let report = stage.run_with(&settings, &arguments).await.expect(3).json();
        assert_eq!(report["verdict"], "incomplete", "{report:#}");
        for number in 0..60 {
            let link = stage.database.link(&key(number)).await.flatten().unwrap();
            assert_eq!(link.starts_with("https://old.example/"), number == 30, "{number} {link}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_catalog_that_answers_nonsense_is_a_failure_and_not_an_empty_catalogue() {
    with_catalog(Kind::Sqlite, generated(3), async |stage| {
        overviews(stage, 3).await;
        let elsewhere = format!("{}/elsewhere", stage.catalog.url());
        let settings = [("catalog.url", elsewhere.as_str()), ("reconcile.absent", "clear")];
        let ended = stage.run_with(&settings, &["reconcile", "--output", "json"]).await.expect(1);
        assert_eq!(ended.json()["verdict"], "failed", "{ended:?}");
        ended.says(&["404", "catalog.url"]);
        assert_eq!(stage.database.link(&key(0)).await.flatten().as_deref(), Some("https://old.example/0"));
    })
    .await;
}

#[tokio::test]
async fn a_pass_that_waits_for_a_catalog_can_be_stopped() {
    with_catalog(Kind::Sqlite, generated(3), async |stage| {
        overviews(stage, 3).await;
        stage.catalog.off(true);
        let pass = Program::start(&["reconcile", "--output", "json"], &stage.environment(&[]));
        pass.until_logged("catalog.circuit_opened").await;
        let ended = pass.stop().await.expect(1);
        assert!(!ended.stderr.contains("panicked"), "{ended:?}");
        assert_eq!(stage.database.link(&key(0)).await.flatten().as_deref(), Some("https://old.example/0"));
    })
    .await;
}

#[tokio::test]
async fn the_brake_is_4_holds_back_and_can_be_let_go() {
    with_catalog(Kind::Mysql, generated(40), async |stage| {
        overviews(stage, 39).await;
        stage.database.insert_overview(&key(39), None).await;
        let report = stage.run(&["reconcile", "--output", "json"]).await.expect(4).json();
        assert_eq!((&report["verdict"], &report["held_back"]), (&"refused".into(), &39.into()), "{report:#}");
        assert_eq!(stage.database.link(&key(0)).await.flatten().as_deref(), Some("https://old.example/0"));
        // The rest is applied.
        let link = stage.database.link(&key(39)).await.flatten().unwrap();
        assert!(link.starts_with("https://www.campus.example/"), "{link}");
        stage.run(&["reconcile", "--allow-mass-change"]).await.expect(0);
        for number in 0..40 {
            let link = stage.database.link(&key(number)).await.flatten().unwrap();
            assert!(link.starts_with("https://www.campus.example/"), "{number} {link}");
        }
    })
    .await;
}

#[tokio::test]
async fn without_database_or_schema_it_is_1_with_words_and_without_the_password() {
    with_stage(Kind::Sqlite, async |stage| {
        let settings = [("database.url", "postgres://someone:hunter2-of-postgres@127.0.0.1:1/lms")];
        let ended = stage.run_with(&settings, &["reconcile", "--output", "json"]).await.expect(1);
        ended.says(&["127.0.0.1:1"]);
        ended.keeps_quiet_about("hunter2");
        assert!(ended.stdout.is_empty());
        stage.database.execute("DROP TABLE course_sharing_ledger").await;
        stage.run(&["reconcile"]).await.expect(1).says(&["course_sharing_ledger", "migrate"]);
    })
    .await;
}

#[tokio::test]
async fn no_secret_is_said_when_the_token_fails() {
    let auth = Auth { client_secret: "hunter2-of-oauth".to_owned(), ..Auth::default() };
    let setup = Setup { auth: Some(auth), ..generated(3) };
    with_catalog(Kind::Sqlite, setup, async |stage| {
        overviews(stage, 3).await;
        stage.catalog.refuse_all_tokens();
        stage.catalog.echo();
        let ended = stage.run_with(&[("log.level", "trace")], &["reconcile", "--output", "json"]).await;
        assert!(matches!(ended.code, Some(1 | 3)), "{ended:?}");
        ended.keeps_quiet_about("hunter2");
        ended.keeps_quiet_about("eyJhbGci");
    })
    .await;
}
