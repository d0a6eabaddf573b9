//! `sync`: the engine of events, by hand.

use chrono::{TimeDelta, Utc};
use course_sharing::model::course_key::CourseKey;
use course_sharing::model::extra_columns::Also;
use course_sharing::store::{Entry, ObservedBy};

use crate::support::databases::Kind;
use crate::support::stage::with_stage;
use stand_in::Fault;

const KEY: &str = "course-v1:Acme+Sync+2026";
const URL: &str = "https://www.campus.example/course/sync";

#[tokio::test]
async fn each_course_has_a_line_with_its_outcome() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.course(KEY, None, Some(URL)).await;
        stage.database.insert_overview("course-v1:Acme+NotListed+1", None).await;
        stage.catalog.put("course-v1:Acme+NoOverview+1", Some(URL));
        stage.course("course-v1:Acme+NoPage+1", None, None).await;
        let courses = [
            KEY,
            "course-v1:Acme+NotListed+1",
            "course-v1:Acme+NoOverview+1",
            "course-v1:Acme+NoPage+1",
            "course-v1:Acme+Nowhere+1",
        ];
        let ended = stage.run(&[&["sync"], &courses[..]].concat()).await.expect(0);
        let words: Vec<_> = ended.stdout.lines().map(|line| line.split_whitespace().nth(1)).collect();
        // Nobody knows the last one; that it has no overview weighs more than that it is not listed.
        let expected = ["updated", "not_listed", "no_overview", "no_page", "no_overview"];
        assert_eq!(words, expected.map(Some), "{}", ended.stdout);
        assert_eq!(stage.database.link(KEY).await.flatten().as_deref(), Some(URL));
        stage.run(&["sync", KEY]).await.expect(0).says(&["unchanged"]);
    })
    .await;
}

#[tokio::test]
async fn what_the_catalog_cannot_say_is_3_and_changes_nothing() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.course(KEY, Some(URL), Some("course/sync")).await;
        stage.run(&["sync", KEY]).await.expect(0).says(&["refused", "relative"]);
        stage.catalog.script([Fault::Html200, Fault::Html200, Fault::Html200, Fault::Html200]);
        stage.catalog.off(true);
        stage.run(&["sync", KEY]).await.expect(3).says(&["unknown", "catalog.url"]);
        assert_eq!(stage.database.link(KEY).await.flatten().as_deref(), Some(URL));
    })
    .await;
}

#[tokio::test]
async fn a_reason_is_one_line_for_people_and_as_it_is_for_programs() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.course(KEY, None, Some(URL)).await;
        stage.run(&["sync", KEY]).await.expect(0);
        for sql in [
            "UPDATE course_overviews_courseoverview SET marketing_url = NULL",
            "CREATE TRIGGER two_lines BEFORE UPDATE ON course_overviews_courseoverview \
             WHEN NEW.marketing_url IS NOT NULL BEGIN SELECT RAISE(ABORT, 'two\nlines'); END",
        ] {
            stage.database.execute(sql).await;
        }
        for command in [&["heal"][..], &["sync", KEY]] {
            stage.run(command).await.expect(1).says(&[r"two\nlines"]);
            let ended = stage.run(&[command, &["--output", "json"]].concat()).await.expect(1).json();
            let why = ended["courses"][0]["why"].as_str().unwrap();
            assert!(why.contains("two\nlines"), "{ended:#}");
        }
    })
    .await;
}

/// What another worker wrote, whose clock was ahead: of an older URL, as if asked a moment from now.
fn ahead(url: &str) -> Entry {
    let observed_at = Utc::now() + TimeDelta::milliseconds(1500);
    Entry {
        run: CourseKey::parse(KEY).unwrap().run_key(),
        url: Some(url.to_owned()),
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
async fn a_run_whose_answer_the_ledger_refused_is_asked_for_again() {
    with_stage(Kind::Sqlite, async |stage| {
        let old = "https://www.campus.example/course/old";
        stage.course(KEY, Some(old), Some(URL)).await;
        stage.database.store.apply(vec![ahead(old)], vec![]).await.unwrap();
        stage.run(&["sync", KEY]).await.expect(0).says(&["updated"]);
        assert_eq!(stage.database.link(KEY).await.flatten().as_deref(), Some(URL));
    })
    .await;
}

#[tokio::test]
async fn an_event_whose_answer_the_ledger_refused_is_not_done() {
    with_stage(Kind::Sqlite, async |stage| {
        let old = "https://www.campus.example/course/old";
        stage.course(KEY, Some(old), Some(URL)).await;
        let worker = stage.worker(&[]).await;
        stage.database.store.apply(vec![ahead(old)], vec![]).await.unwrap();
        stage.publish_course(KEY).await;
        stage.until_link(KEY, Some(URL)).await;
        worker.until_metric("course_sharing_ledger_refused_total", 1.0).await;
        worker.stop().await.expect(0);
    })
    .await;
}
