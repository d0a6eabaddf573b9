//! How the Catalog is asked: by key, sparingly, in words that it understands.

use super::PAGE;
use crate::stand_in::{Runs, Setup};
use crate::support::databases::Kind;
use crate::support::stage::{with_catalog, with_stage};

#[tokio::test]
async fn a_request_asks_by_key_for_two_fields_without_anybodys_utm() {
    with_stage(Kind::Sqlite, async |stage| {
        let key = "course-v1:ÉcoleX+Look+2026";
        stage.course(key, None, Some(PAGE)).await;
        let worker = stage.worker(&[]).await;
        stage.publish_course(key).await;
        stage.until_link(key, Some(PAGE)).await;
        worker.stop().await.expect(0);
        let targets = stage.catalog.stats().targets;
        assert_eq!(targets.len(), 1, "{targets:?}");
        let target = &targets[0];
        for part in [
            "/api/v1/course_runs/?",
            "keys=course-v1:%C3%89coleX%2BLook%2B2026",
            "limit=",
            "exclude_utm=1",
            "fields=key",
            "marketing_url",
        ] {
            assert!(target.contains(part), "no {part} in {target}");
        }
    })
    .await;
}

#[tokio::test]
async fn many_events_for_one_run_share_a_look_up() {
    with_stage(Kind::Sqlite, async |stage| {
        let key = "course-v1:Acme+Burst+1";
        stage.course(key, None, Some(PAGE)).await;
        stage.rig.declare().await;
        let child = |number: u32| format!("ccx-v1:Acme+Burst+1+ccx@{number}");
        for number in 0..20 {
            stage.database.insert_overview(&child(number), None).await;
            stage.publish_course(&child(number)).await;
            stage.publish_course(key).await;
        }
        let worker = stage.worker(&[("sync.min_interval", "2s")]).await;
        for number in 0..20 {
            stage.until_link(&child(number), Some(PAGE)).await;
        }
        stage.until_link(key, Some(PAGE)).await;
        // Whoever comes first is asked for at once; all others share the next.
        assert!(stage.catalog.stats().keys_asked <= 2, "{:?}", stage.catalog.stats().targets);
        worker.stop().await.expect(0);
    })
    .await;
}

#[tokio::test]
async fn events_for_many_runs_share_requests_of_bounded_length() {
    let setup = Setup { runs: Runs::generated(200), ..Setup::default() };
    with_catalog(Kind::Sqlite, setup, async |stage| {
        stage.rig.declare().await;
        let keys = stage.catalog.state().setup.runs.keys();
        for key in &keys {
            stage.database.insert_overview(key, None).await;
            stage.publish_course(key).await;
        }
        let worker = stage.worker(&[]).await;
        let applied = r#"course_sharing_events_total{outcome="applied",type="course-publish"}"#;
        worker.until_metric(applied, 200.0).await;
        let stats = stage.catalog.stats();
        assert!(stats.requests < 60, "{} requests for 200 runs", stats.requests);
        assert!(stats.most_at_once <= 2, "{}", stats.most_at_once);
        assert!(stats.targets.iter().all(|target| target.len() <= 1300));
        assert_eq!(stats.keys_asked, 200);
        worker.stop().await.expect(0);
        assert_eq!(stage.rig.ready().await, (0, 0, 0));
    })
    .await;
}
