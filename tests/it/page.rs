//! The pages in a real browser, on a real worker: what they say, how they look, that everybody can use them, and that
//! nothing from outside runs on them.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use course_sharing::broker::Message;
use course_sharing::store::{PassKind, Verdict};
use secrecy::ExposeSecret;
use serde_json::json;

use crate::support::browser::{Browser, with_browser};
use crate::support::databases::Kind;
use crate::support::process::Program;
use crate::support::proxy::in_front_of;
use crate::support::stage::{SOON, Stage, with_stage};
use stand_in::Fault;

const URL: &str = "https://www.campus.example/course/a-course-with-a-page";
const SCRIPT: &str = r#"<script>document.title="it ran"</script>"#;
const LISTED_WITHOUT: &str = "course-v1:CampusX+NoPage101+2026";
const UNKNOWN: &str = "course-v1:CampusX+Unlisted.The-Quite-Long-Name_Of_A_Course+2026_T3";
const DEAD: &str = "course-v1:CampusX+Dead+1";
const REFUSED: &str = "course-v1:CampusX+Relative+2026";
const LMS: &str = "course_overviews_courseoverview";
/// Width, colours, and what the picture's name ends with.
const LOOKS: [(u32, &str, &str); 3] =
    [(1100, "light", ""), (1100, "dark", "-dark"), (360, "light", "-phone")];
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

/// Fails if axe-core finds anything on one of the pages, or if one is too wide for a phone.
async fn everybody_can_use(browser: &Browser, home: &str) {
    let pages = ["", "blank", "blank?reason=no_page", "dead-letters", "runbook", "?course=CampusX"];
    for scheme in ["light", "dark"] {
        browser.look(1100, 900, scheme).await;
        for page in pages {
            browser.open(&format!("{home}{page}")).await;
            assert_eq!(browser.inaccessible().await, json!([]), "{page}");
        }
    }
    browser.look(360, 740, "light").await;
    for page in pages {
        browser.open(&format!("{home}{page}")).await;
        nothing_sticks_out(browser).await;
    }
}

/// A file that the worker serves.
async fn file(worker: &Program, path: &str) -> String {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("http://{}{path}", worker.http().await)).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    answer.text().await.unwrap()
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
            let headline = "5 links are blank, and 2 other things";
            worker.until_page(SOON, &["<h1>", headline]).await;
            browser.look(1100, 900, "light").await;
            browser.open(&home(&worker).await).await;
            let text = browser.text().await;
            assert!(text.contains(headline), "{text}");
            assert!(text.contains("course-sharing explain <course-id>"), "what to do: {text}");
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
            assert_eq!(browser.eval("return document.scripts.length").await, 1, "our own");
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
            everybody_can_use(browser, &home(&worker).await).await;
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
        let home = home(&worker).await;
        let explained = stage.run(&["explain", REFUSED]).await.expect(0);
        with_browser(async |browser| {
            browser.look(360, 740, "dark").await;
            browser.open(&home).await;
            browser.submit("course", REFUSED).await;
            let text = browser.text().await;
            for line in explained.stdout.lines().filter(|line| !line.starts_with("history")) {
                let said = line.split_once("  ").unwrap().1.trim();
                assert!(text.contains(said), "{said:?} in {text}");
            }
            assert!(text.contains("course/relative") && text.contains("is refused"), "{text}");
            assert_eq!(browser.eval("return document.scripts.length").await, 0, "what is read stays");
            nothing_sticks_out(browser).await;

            stage
                .database
                .execute(&format!("UPDATE {LMS} SET marketing_url = NULL WHERE id = '{MOVED}'"))
                .await;
            stage.run(&["heal"]).await.expect(0);
            browser.submit("course", MOVED).await;
            let history = row(browser, "heal").await;
            assert!(history.contains("blank") && history.contains(URL), "{history:?}");
            nothing_sticks_out(browser).await;
            browser.screenshot("search").await;

            browser.submit("course", "campusx+un").await;
            let text = browser.text().await;
            assert!(text.contains(UNKNOWN) && text.contains("ccx-v1:CampusX+Unlisted+2026+ccx@12"), "{text}");
            browser.submit("course", SCRIPT).await;
            assert!(browser.text().await.contains("<script>"));
            assert_ne!(browser.eval("return document.title").await, "it ran");
            browser.submit("course", "no such").await;
            let text = browser.text().await;
            assert!(text.contains("no course of the LMS has this in its key"), "{text}");
            assert_eq!(browser.errors().await, Vec::<serde_json::Value>::new());
            assert_eq!(browser.inaccessible().await, json!([]));

            reloads_until_it_is_paused(browser, &home).await;
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn the_command_and_the_port_explain_alike() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.course(MOVED, None, Some(URL)).await;
        stage.rig.declare().await;
        stage.run(&["sync", MOVED]).await.expect(0);
        let worker = stage.worker(&[]).await;
        let document = stage.run(&["explain", MOVED, "--output", "json"]).await.expect(0).json();
        assert_eq!(document["history"][0]["by"], "command");
        assert_eq!(document["history"][0]["to"], URL);
        let answer = file(&worker, "/api/v1/explain?course_id=course-v1:CampusX%2BMoved%2B2026").await;
        assert_eq!(serde_json::from_str::<serde_json::Value>(&answer).unwrap(), document);
        for query in ["", "?course_id=nonsense", "?course_id=a/b/c&course_id=a/b/d"] {
            assert_eq!(worker.get(&format!("/api/v1/explain{query}")).await.unwrap().0, 400, "{query}");
        }
    })
    .await;
}

/// The page's own timer waits for 20 s; here it is at hand.
async fn reloads_until_it_is_paused(browser: &Browser, home: &str) {
    let timer = "window.setInterval = work => { window.work = work; };";
    browser.cdp("Page.addScriptToEvaluateOnNewDocument", json!({ "source": timer })).await;
    browser.open(home).await;
    let mark = "document.querySelector('main').dataset.mark = 'old'";
    let turn = "return window.work().then(() => document.querySelector('main').dataset.mark ?? 'new')";
    let button = "document.querySelector('#reload button')";
    assert_eq!(browser.eval(&format!("{mark}; {turn}")).await, "new");
    browser.eval(&format!("{button}.click()")).await;
    assert_eq!(browser.eval(&format!("{mark}; {turn}")).await, "old", "paused");
    browser.open(home).await;
    assert_eq!(browser.eval(&format!("return {button}.textContent")).await, "Resume reloading", "still");
    browser.eval(&format!("{button}.click()")).await;
    browser.eval("document.querySelector('#course').focus()").await;
    assert_eq!(browser.eval(&format!("{mark}; {turn}")).await, "old", "somebody types");
    browser.eval("document.activeElement.blur()").await;
    assert_eq!(browser.eval(turn).await, "new");
}

#[tokio::test]
async fn it_works_without_javascript() {
    with_stage(Kind::Sqlite, async |stage| {
        let worker = worker(stage).await;
        let home = home(&worker).await;
        with_browser(async |browser| {
            browser.cdp("Emulation.setScriptExecutionDisabled", json!({ "value": true })).await;
            browser.open(&home).await;
            assert!(browser.source().await.contains("Reload</a>"));
            browser.submit("course", LISTED_WITHOUT).await;
            let source = browser.source().await;
            assert!(source.contains("the Catalog lists the run without a page"), "{source}");
            browser.open(&format!("{home}blank?reason=no_page")).await;
            browser.submit("part", "OLD").await;
            let source = browser.source().await;
            assert!(source.contains("None."), "of another reason: {source}");
            browser.open(&format!("{home}blank")).await;
            browser.submit("part", "OLD").await;
            let source = browser.source().await;
            assert!(source.contains("1 course,") && source.contains("CampusX%2FOld%2F2013"), "{source}");
        })
        .await;
        let csv = file(&worker, "/blank.csv").await;
        let rows: Vec<&str> = csv.lines().collect();
        assert_eq!((rows[0], rows.len()), ("course_id,blank_since,reason,rightly", 8), "{csv}");
        assert!(
            rows[1].starts_with(&format!("\"{LISTED_WITHOUT}\",")) && rows[1].ends_with("no_page,true"),
            "{csv}"
        );
        assert!(csv.contains("document.title=\"\"it ran\"\""), "{csv}");
        let csv = file(&worker, "/blank.csv?reason=no_answer&part=old").await;
        assert_eq!(csv.lines().count(), 2, "{csv}");
        let letters = file(&worker, "/dead-letters").await;
        assert!(letters.contains("its type is not known"), "{letters}");
        let runbook = file(&worker, "/runbook").await;
        assert!(runbook.contains("<h2 id=\"coursesharingdeadletters\">"), "{runbook}");
    })
    .await;
}

#[tokio::test]
async fn all_rows_come_by_pages_and_as_csv() {
    with_stage(Kind::Postgres, async |stage| {
        for n in 0..620 {
            stage.database.insert_overview(&format!("course-v1:CampusX+Blank{n:03}+2026"), None).await;
        }
        stage.database.store.note_blanks(Duration::from_secs(60)).await.unwrap();
        let worker = stage.worker(&[]).await;
        let (mut path, mut seen) = ("blank?part=blank".to_owned(), Vec::new());
        loop {
            let page = file(&worker, &format!("/{path}")).await;
            let links =
                page.split("./?course=").skip(1).map(|rest| rest[..rest.find('"').unwrap()].to_owned());
            seen.extend(links);
            let Some(next) = page.split("href=\"").find(|rest| rest.contains(">Next page<")) else { break };
            path = next[..next.find('"').unwrap()].replace("&#38;", "&");
            assert!(seen.len() <= 700, "it ends");
        }
        let mut distinct = seen.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!((seen.len(), distinct.len()), (620, 620));
        assert_eq!(file(&worker, "/blank.csv").await.lines().count(), 621);
    })
    .await;
}

/// What each state looks like, at a glance; and that everybody can use it.
#[tokio::test]
async fn six_states_are_told_apart() {
    with_stage(Kind::Mysql, async |stage| {
        stage.rig.declare().await;
        let runs: Vec<String> = (0..40).map(|n| format!("course-v1:CampusX+Fine{n}+2026")).collect();
        let shown = async |browser: &Browser, worker: &Program, state: &str, headline: &str| {
            worker.until_page(SOON, &["<h1>", headline]).await;
            browser.look(1100, 900, "light").await;
            browser.open(&home(worker).await).await;
            for (width, scheme, looks) in LOOKS {
                browser.look(width, 900, scheme).await;
                assert_eq!(browser.inaccessible().await, json!([]), "{state}{looks}");
                nothing_sticks_out(browser).await;
                browser.screenshot(&format!("{state}{looks}")).await;
            }
        };
        with_browser(async |browser| {
            let worker = stage.worker(&[]).await;
            shown(browser, &worker, "empty", "No pass over the Catalog has ended yet").await;
            for run in &runs {
                stage.course(run, Some(URL), Some(URL)).await;
            }
            stage.run(&["reconcile"]).await.expect(0);
            shown(browser, &worker, "healthy", "All links are right").await;
            stage.catalog.off(true);
            for run in &runs {
                stage.publish_course(run).await;
            }
            shown(browser, &worker, "catalog-out", "The Catalog fails").await;
            stage.catalog.off(false);
            for n in 0..12 {
                stage.rig.publish(&format!(r#"{{"type": "course-publish", "course": {n}}}"#)).await;
            }
            shown(browser, &worker, "dead-letters", "12 dead letters").await;
            let (user, at) = (stage.database.user.clone().unwrap(), "@'%'");
            let right = format!("UPDATE (marketing_url) ON {LMS}");
            stage.database.execute(&format!("REVOKE {right} FROM {user}{at}")).await;
            // So that there is something to write.
            stage.publish_course(&runs[0]).await;
            shown(browser, &worker, "writes-refused", "The database reads, and does not write").await;
            stage.database.execute(&format!("GRANT {right} TO {user}{at}")).await;
            worker.stop().await.expect(0);

            stage.catalog.script(vec![Fault::Hang; 20]);
            let event = |n: usize| format!(r#"{{"course_id": "{}", "id": "{n}"}}"#, runs[n % 40]);
            for n in 0..1_200 {
                stage.rig.publish(&event(n)).await;
            }
            let worker = stage.worker(&[("amqp.prefetch", "10")]).await;
            shown(browser, &worker, "backlog", "events wait to be taken").await;
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn it_loads_while_database_and_broker_are_out_and_says_what_is_still_known() {
    with_stage(Kind::Mysql, async |stage| {
        let (database, url) = in_front_of(&stage.database.url, 3306).await;
        let (broker, amqp) = in_front_of(stage.rig.config.url.expose_secret(), 5672).await;
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
