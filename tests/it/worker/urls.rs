//! A URL is never lost, and not knowing is no reason to clear.

use std::time::Duration;

use futures_util::future::join_all;

use super::PAGE;
use crate::support::databases::{KINDS, Kind};
use crate::support::stage::{Stage, with_stage};
use crate::support::wait_until;
use stand_in::Fault;

const KEY: &str = "course-v1:Acme+Keep+1";
const WIPE: &str = "UPDATE course_overviews_courseoverview SET marketing_url = NULL";

async fn known(stage: &Stage) {
    stage.course(KEY, None, Some(PAGE)).await;
    stage.run(&["sync", KEY]).await.expect(0).says(&["updated"]);
}

#[tokio::test]
async fn a_wiped_overview_has_its_link_back_while_the_catalog_is_away() {
    for kind in KINDS {
        with_stage(kind, async |stage| {
            known(stage).await;
            stage.catalog.off(true);
            let worker = stage.worker(&[]).await;
            for wiped in
                [WIPE, "UPDATE course_overviews_courseoverview SET marketing_url = 'https://stale.example/'"]
            {
                stage.database.execute(wiped).await;
                stage.run(&["publish", "overview-recreated", KEY]).await.expect(0);
                stage.until_link(KEY, Some(PAGE)).await;
            }
            // Deleted and made anew, as an LMS of old does.
            stage.database.execute("DELETE FROM course_overviews_courseoverview").await;
            stage.database.insert_overview(KEY, None).await;
            stage.run(&["publish", "overview-recreated", KEY]).await.expect(0);
            stage.until_link(KEY, Some(PAGE)).await;
            // Counted after the commit that shows the link.
            wait_until(Duration::from_secs(30), "three are counted", || async {
                worker.metric(r#"course_sharing_healed_total{cause="restore"}"#).await >= Some(3.0)
            })
            .await;
            worker.stop().await.expect(0);
        })
        .await;
    }
}

#[tokio::test]
async fn no_answer_but_a_url_overwrites_a_url_and_a_wiped_one_is_back_all_the_same() {
    let faults = [
        Fault::Html200,
        Fault::Status(500),
        Fault::Cut,
        Fault::Body(r#"{"count": 0, "results": null}"#.to_owned()),
        Fault::Body(format!(r#"{{"count": 1, "next": null, "results": [{{"key": "{KEY}"}}]}}"#)),
    ];
    join_all(faults.map(|fault| {
        with_stage(Kind::Sqlite, async move |stage| {
            known(stage).await;
            stage.database.execute(WIPE).await;
            stage.catalog.put(KEY, Some("https://www.campus.example/course/never-seen"));
            // More often than it asks again.
            stage.catalog.script(std::iter::repeat_n(fault.clone(), 100));
            let ended = stage.run(&["sync", KEY]).await.expect(3);
            assert_eq!(
                stage.database.link(KEY).await.flatten().as_deref(),
                Some(PAGE),
                "{fault:?} {ended:?}"
            );
        })
    }))
    .await;
}

#[tokio::test]
async fn a_url_not_fit_to_be_shared_overwrites_none() {
    with_stage(Kind::Sqlite, async |stage| {
        known(stage).await;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts.toml");
        std::fs::write(&path, "[marketing_url]\nallowed_hosts = [\"www.campus.example\"]\n").unwrap();
        let config = path.to_str().unwrap();
        for url in [
            "course/keep",
            "/course/keep",
            "//www.campus.example/course/keep",
            "http://www.campus.example/course/keep",
            "https://elsewhere.example/course/keep",
            "https://www.campus.example.evil.example/",
            "javascript:alert(1)",
            "",
        ] {
            stage.catalog.put(KEY, Some(url));
            let ended = stage.run(&["--config", config, "sync", KEY]).await;
            assert_eq!(stage.database.link(KEY).await.flatten().as_deref(), Some(PAGE), "{url:?}: {ended:?}");
        }
        stage.catalog.put(KEY, Some(&format!("{PAGE}/new")));
        stage.run(&["--config", config, "sync", KEY]).await.expect(0);
        assert_eq!(stage.database.link(KEY).await.flatten(), Some(format!("{PAGE}/new")));
    })
    .await;
}

#[tokio::test]
async fn a_null_clears_only_when_it_is_seen_again_after_the_time() {
    for kind in KINDS {
        with_stage(kind, async |stage| {
            known(stage).await;
            stage.catalog.put(KEY, None);
            let worker = stage.worker(&[]).await;
            let no_page = r#"course_sharing_events_total{outcome="no_page",type="course-publish"}"#;
            for seen in [1.0, 2.0] {
                stage.publish_course(KEY).await;
                worker.until_metric(no_page, seen).await;
                assert_eq!(
                    stage.database.link(KEY).await.flatten().as_deref(),
                    Some(PAGE),
                    "{kind:?} {seen}"
                );
            }
            worker.stop().await.expect(0);
            // The time is over, by the operator's word.
            let settings = [("sync.clear_after", "0s")];
            let worker = stage.worker(&settings).await;
            stage.publish_course(KEY).await;
            stage.until_link(KEY, None).await;
            // Gone for good: neither restore nor heal brings it back.
            stage.publish_course(KEY).await;
            worker.until_metric(no_page, 1.0).await;
            stage.run(&["heal"]).await.expect(0).says(&["healed 0 "]);
            assert_eq!(stage.database.link(KEY).await, Some(None));
            worker.stop().await.expect(0);
        })
        .await;
    }
}
