//! What the Catalog has that cannot be used, of one run: a URL that must not be shared, and a row that it cannot show.

use serde_json::json;

use super::PAGE;
use crate::support::broker::SOON;
use crate::support::databases::{KINDS, Kind};
use crate::support::stage::with_stage;
use crate::support::wait_until;
use stand_in::Health;

const KEY: &str = "course-v1:Acme+Odd+1";

#[tokio::test]
async fn an_event_about_a_refused_url_is_settled_once_the_ledger_has_it() {
    for kind in KINDS {
        with_stage(kind, async |stage| {
            stage.course(KEY, None, Some("https://me:hunter2@www.campus.example/\u{202e}gnp")).await;
            let worker = stage.worker(&[]).await;
            stage.publish_course(KEY).await;
            let refused = r#"course_sharing_events_total{outcome="refused",type="course-publish"}"#;
            worker.until_metric(refused, 1.0).await;
            let explained = stage.run(&["explain", KEY]).await.expect(0);
            explained.says(&["is refused", "refused URL", "***@www.campus.example", "refused since"]);
            explained.keeps_quiet_about("hunter2");
            explained.keeps_quiet_about("\u{202e}");
            worker.until_metric("course_sharing_refused_urls", 1.0).await;
            worker.until_metric(r#"course_sharing_blank{reason="refused"}"#, 1.0).await;
            let (_, status) = worker.get("/api/v1/status").await.unwrap();
            let status: serde_json::Value = serde_json::from_str(&status).unwrap();
            assert_eq!(status["refused"]["overviews"], json!(1), "{status:#}");
            assert_eq!(status["refused"]["oldest"][0]["course_id"], json!(KEY), "{status:#}");
            assert_eq!(status["blank"]["reasons"]["refused"]["right"], json!(false), "{status:#}");

            // Mended: the next event takes it.
            stage.catalog.put(KEY, Some(PAGE));
            stage.publish_course(KEY).await;
            stage.until_link(KEY, Some(PAGE)).await;
            // A bad one again: the good one stays.
            stage.catalog.put(KEY, Some("course/relative"));
            stage.publish_course(KEY).await;
            worker.until_metric(refused, 2.0).await;
            assert_eq!(stage.database.link(KEY).await.flatten().as_deref(), Some(PAGE), "{kind:?}");
            assert!(stage.dead_letters().await.is_empty(), "{kind:?}");
            worker.stop().await.expect(0);
        })
        .await;
    }
}

#[tokio::test]
async fn a_run_that_the_catalog_cannot_show_is_explained_by_what_came() {
    for kind in KINDS {
        with_stage(kind, async |stage| {
            stage.database.insert_overview(KEY, None).await;
            stage.catalog.put_broken(KEY, Health::NoType);
            stage.run(&["sync", KEY]).await.expect(3);
            let explained = stage.run(&["explain", KEY]).await.expect(0);
            explained.says(&["could not say", "answered 500", "failed look-up"]);
            stage.catalog.put(KEY, Some(PAGE));
            stage.run(&["sync", KEY]).await.expect(0);
            stage.run(&["explain", KEY]).await.expect(0).keeps_quiet_about("failed look-up");
            stage.run(&["reconcile"]).await.expect(0);
            assert_eq!(stage.database.count("course_sharing_failure").await, 0, "{kind:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn an_outage_leaves_a_few_failures_and_not_one_for_each_event() {
    with_stage(Kind::Sqlite, async |stage| {
        let keys: Vec<String> = (0..60).map(|number| format!("course-v1:Acme+Out{number}+1")).collect();
        for key in &keys {
            stage.course(key, None, Some(PAGE)).await;
        }
        stage.catalog.state().faults.ratios.server_error = 1.0;
        let worker = stage.worker(&[]).await;
        for key in &keys {
            stage.publish_course(key).await;
        }
        let parked = || async {
            let metric = r#"course_sharing_events_total{outcome="parked",type="course-publish"}"#;
            worker.metric(metric).await >= Some(60.0)
        };
        wait_until(SOON, "all events are parked", parked).await;
        let noted = stage.database.count("course_sharing_failure").await;
        assert!(noted <= 10, "{noted}");
        worker.stop().await.expect(0);
    })
    .await;
}
