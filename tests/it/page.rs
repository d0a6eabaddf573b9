//! The page at `/` in a real browser, on a real worker: what it says, how it looks, and that nothing on it runs.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use course_sharing::broker::Message;
use course_sharing::store::{PassKind, Verdict};
use secrecy::ExposeSecret;
use serde_json::json;

use crate::support::browser::{Browser, with_browser};
use crate::support::databases::Kind;
use crate::support::process::Program;
use crate::support::proxy::{Proxy, by, free_address};
use crate::support::stage::{SOON, Stage, with_stage};

const URL: &str = "https://www.campus.example/course/a-course-with-a-page";
const SCRIPT: &str = r#"<script>document.title="it ran"</script>"#;
const LISTED_WITHOUT: &str = "course-v1:CampusX+NoPage101+2026";
const UNKNOWN: &str = "course-v1:CampusX+Unlisted.The-Quite-Long-Name_Of_A_Course+2026_T3";
const DEAD: &str = "course-v1:CampusX+Dead+1";
const REFUSED: &str = "course-v1:CampusX+Relative+2026";
const MOVED: &str = "course-v1:CampusX+Moved+2026";

/// A worker some weeks old, on which some things are wrong.
async fn worker(stage: &Stage) -> Program {
    for n in 0..40 {
        stage.course(&format!("course-v1:CampusX+Fine{n}+2026"), Some(URL), Some(URL)).await;
    }
    stage.course(LISTED_WITHOUT, None, None).await;
    stage.course(REFUSED, None, Some("course/relative")).await;
    stage.course(MOVED, Some(URL), Some(URL)).await;
    for id in [UNKNOWN, DEAD, SCRIPT, "ccx-v1:CampusX+Unlisted+2026+ccx@12", "CampusX/Old/2013"] {
        stage.database.insert_overview(id, None).await;
    }
    stage.rig.declare().await;
    stage.run(&["sync", LISTED_WITHOUT, UNKNOWN, REFUSED, MOVED]).await.expect(0);
    stage.catalog.put(MOVED, Some("http://me:hunter2@elsewhere.example/course/moved"));
    stage.run(&["sync", MOVED]).await.expect(0);
    use Verdict::{Complete, Failed, Incomplete, Refused};
    for (n, verdict) in (0..).zip([Refused, Complete, Incomplete, Complete, Failed, Complete]) {
        let mut pass = stage.database.store.begin_pass(PassKind::Full, 100).await.unwrap();
        pass.started_at = Utc::now() - TimeDelta::hours(24 * (6 - n) - 19);
        pass.finished_at = Some(pass.started_at + TimeDelta::seconds(300 + 100 * n));
        pass.verdict = verdict;
        (pass.updated, pass.cleared) = (3 + n * n * 7 % 41, n % 3);
        pass.held_back = if verdict == Refused { 120 } else { 0 };
        stage.database.store.save_pass(&mut pass).await.unwrap();
    }
    let letter = format!(r#"{{"type": "course-deleted", "course_id": "{DEAD}"}}"#);
    let letter = Message::json(letter.into_bytes());
    let why = "its type is not known: course-deleted";
    let headers = [("x-course-sharing-reason", why), ("x-course-sharing-first-seen", "2026-11-21T10:00:00Z")];
    let letter =
        headers.into_iter().fold(letter, |letter, (name, value)| letter.with_header(name, value).unwrap());
    stage.rig.publisher.publish("", &stage.rig.topology.dead, &letter).await.unwrap();
    stage.database.store.note_blanks(Duration::from_secs(19_150)).await.unwrap();
    for (id, hours) in [(UNKNOWN, 51), (LISTED_WITHOUT, 700), ("CampusX/Old/2013", 3)] {
        let since = (Utc::now() - TimeDelta::hours(hours)).format("%Y-%m-%d %H:%M:%S");
        let set = format!("UPDATE course_sharing_blank SET since = '{since}' WHERE course_id = '{id}'");
        stage.database.execute(&set).await;
    }
    let worker = stage.worker(&[]).await;
    worker.until_metric(r#"course_sharing_blank{reason="dead_lettered"}"#, 1.0).await;
    worker.until_metric(r#"course_sharing_blank{reason="no_page"}"#, 1.0).await;
    worker
}

async fn home(worker: &Program) -> String {
    format!("http://{}/", worker.http().await)
}

/// The text of the row in which a course stands.
async fn row(browser: &Browser, course: &str) -> String {
    let find = format!(
        "return [...document.querySelectorAll('tbody tr')].find(row => row.innerText.includes({}))?.innerText ?? ''",
        json!(course)
    );
    browser.eval(&find).await.as_str().unwrap().to_owned()
}

/// Fails if the page is wider than the window, or anything on it.
async fn nothing_sticks_out(browser: &Browser) {
    let wider = browser
        .eval(
            "const wide = document.documentElement.clientWidth; \
             return [...document.querySelectorAll('body *')] \
                 .filter(e => e.getBoundingClientRect().right > wide + 0.5) \
                 .map(e => e.outerHTML.slice(0, 80)).concat(document.documentElement.scrollWidth > wide ? ['page'] : [])",
        )
        .await;
    assert_eq!(wider, json!([]), "wider than the window");
}

#[tokio::test]
async fn what_is_wrong_is_seen_at_a_glance() {
    with_stage(Kind::Mysql, async |stage| {
        let worker = worker(stage).await;
        with_browser(async |browser| {
            browser.look(1100, 900, "light").await;
            browser.open(&home(&worker).await).await;
            let text = browser.text().await;
            assert!(text.contains("5 links are blank, and 2 other things"), "{text}");
            assert!(text.contains("41 linked") && text.contains("1 dead letter"), "{text}");
            assert!(text.contains("2 URLs in the Catalog must not be shared"), "{text}");
            assert!(text.contains("course/relative") && !text.contains("hunter2"), "{text}");
            for (course, reason) in [
                (UNKNOWN, "not in catalog"),
                (DEAD, "dead lettered"),
                (REFUSED, "refused"),
                (LISTED_WITHOUT, "no page"),
                ("CampusX/Old/2013", "no answer"),
                (SCRIPT, "no run"),
            ] {
                let row = row(browser, course).await;
                assert!(row.contains(reason), "{course} is {row:?} in {text}");
            }
            assert_ne!(browser.eval("return document.title").await, "it ran");
            assert_eq!(browser.eval("return document.scripts.length").await, 0);
            browser.screenshot("light").await;

            let ground = "return getComputedStyle(document.body).backgroundColor";
            let light = browser.eval(ground).await;
            browser.look(1100, 900, "dark").await;
            assert_eq!(
                (light, browser.eval(ground).await),
                (json!("rgb(251, 250, 248)"), json!("rgb(23, 22, 20)"))
            );
            browser.screenshot("dark").await;

            for width in [320, 360, 768, 1100] {
                browser.look(width, 740, "light").await;
                nothing_sticks_out(browser).await;
                if width == 360 {
                    browser.screenshot("phone").await;
                }
            }
            assert_eq!(browser.errors().await, Vec::<serde_json::Value>::new());
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_search_tells_what_explain_tells() {
    with_stage(Kind::Sqlite, async |stage| {
        let worker = worker(stage).await;
        let explained = stage.run(&["explain", DEAD]).await.expect(0);
        with_browser(async |browser| {
            browser.look(360, 740, "dark").await;
            browser.open(&home(&worker).await).await;
            assert!(browser.source().await.contains("http-equiv=\"refresh\""), "it loads itself anew");
            browser.submit("course", DEAD).await;
            let text = browser.text().await;
            for line in explained.stdout.lines() {
                let said = line.split_once("  ").unwrap().1.trim();
                assert!(text.contains(said), "{said:?} in {text}");
            }
            assert!(text.contains("its type is not known"), "{text}");
            assert!(!browser.source().await.contains("http-equiv"), "what is read stays");
            nothing_sticks_out(browser).await;
            browser.screenshot("search").await;
            browser.submit("course", REFUSED).await;
            let text = browser.text().await;
            assert!(text.contains("course/relative") && text.contains("is refused"), "{text}");
            browser.screenshot("refused").await;

            browser.submit("course", SCRIPT).await;
            let text = browser.text().await;
            assert!(text.contains("is not a course key") && text.contains("<script>"), "{text}");
            assert_ne!(browser.eval("return document.title").await, "it ran");
            nothing_sticks_out(browser).await;
            assert_eq!(browser.errors().await, Vec::<serde_json::Value>::new());
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn it_works_without_javascript() {
    with_stage(Kind::Sqlite, async |stage| {
        let worker = worker(stage).await;
        with_browser(async |browser| {
            browser.cdp("Emulation.setScriptExecutionDisabled", json!({ "value": true })).await;
            browser.open(&home(&worker).await).await;
            browser.submit("course", LISTED_WITHOUT).await;
            let source = browser.source().await;
            assert!(source.contains("the Catalog lists the run without a page"), "{source}");
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn it_loads_while_database_and_broker_are_out_and_says_what_is_still_known() {
    with_stage(Kind::Mysql, async |stage| {
        let (at_database, at_broker) = (free_address().await, free_address().await);
        let (url, target) = by(&stage.database.url, at_database, 3306);
        let database = Proxy::start_at(at_database, target).await;
        let (amqp, target) = by(stage.rig.config.url.expose_secret(), at_broker, 5672);
        let broker = Proxy::start_at(at_broker, target).await;
        stage.course("course-v1:CampusX+Fine+2026", Some(URL), Some(URL)).await;
        let worker = stage.worker(&[("database.url", &url), ("amqp.url", &amqp)]).await;
        worker.until_metric(r#"course_sharing_overviews{state="linked"}"#, 1.0).await;
        worker.until_page(SOON, &["<b>1</b> linked"]).await;
        database.freeze();
        broker.freeze();
        let limit = Duration::from_secs(9);
        let said = [
            "The database does not answer, and 2 other things",
            "The broker does not answer",
            "<b>1</b> linked",
            "shown is what was known at",
        ];
        worker.until_page(limit, &said).await;
        let searched = worker.get("/?course=course-v1:CampusX%2BFine%2B2026");
        let (status, page) = tokio::time::timeout(limit, searched).await.unwrap().unwrap();
        assert!(status == 200 && page.contains("no answer within"), "{page}");
        database.resume();
        broker.resume();
    })
    .await;
}
