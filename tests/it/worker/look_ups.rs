//! How the Catalog is asked: by key, sparingly, in words that it understands.

use super::PAGE;
use crate::support::databases::Kind;
use crate::support::stage::{SOON, with_catalog, with_stage};
use crate::support::wait_until;
use stand_in::{Auth, Fault, Runs, Setup};

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
        assert_eq!(stage.ready().await, (0, 0, 0));
    })
    .await;
}

#[tokio::test]
async fn of_many_events_about_one_course_one_waits_and_the_others_are_done() {
    with_stage(Kind::Sqlite, async |stage| {
        let (first, key) = ("course-v1:Acme+First+1", "course-v1:Acme+Many+1");
        stage.course(first, None, Some(PAGE)).await;
        stage.course(key, None, Some(PAGE)).await;
        let worker = stage.worker(&[("sync.min_interval", "3s")]).await;
        stage.publish_course(key).await;
        stage.until_link(key, Some(PAGE)).await;
        // From now on it waits for three seconds, and so does its last event; the link changes after all of them.
        for _ in 0..30 {
            stage.publish_course(key).await;
        }
        let coalesced = r#"course_sharing_events_total{outcome="coalesced",type="course-publish"}"#;
        worker.until_metric(coalesced, 29.0).await;
        let later = format!("{PAGE}/later");
        stage.catalog.put(key, Some(&later));
        stage.until_link(key, Some(&later)).await;
        assert_eq!(stage.catalog.stats().requests, 2, "{:?}", stage.catalog.stats().targets);
        worker.stop().await.expect(0);
        assert_eq!(stage.ready().await, (0, 0, 0));
    })
    .await;
}

#[tokio::test]
async fn a_hand_full_of_runs_looked_up_moments_ago_keeps_no_other_out() {
    with_stage(Kind::Sqlite, async |stage| {
        let key = |n: u32| format!("course-v1:Acme+Hot{n}+1");
        for n in 0..5 {
            stage.course(&key(n), None, Some(PAGE)).await;
        }
        let mut worker = stage.worker(&[("amqp.prefetch", "4"), ("sync.min_interval", "1h")]).await;
        for _ in 0..2 {
            for n in 0..4 {
                stage.publish_course(&key(n)).await;
                stage.until_link(&key(n), Some(PAGE)).await;
            }
        }
        stage.publish_course(&key(4)).await;
        stage.until_link(&key(4), Some(PAGE)).await;
        // They wait in the shortest delay queue; what comes meanwhile about the same courses waits with them.
        // The fourth was with them, or came when there was room again.
        wait_until(SOON, "a crowd is sent away", || async { stage.ready().await.1 >= 3 }).await;
        stage.publish_course(&key(0)).await;
        stage.publish_course(&key(0)).await;
        let coalesced = r#"course_sharing_events_total{outcome="coalesced",type="course-publish"}"#;
        wait_until(SOON, "one waits with another", || async {
            worker.metric(coalesced).await.is_some_and(|count| count >= 1.0)
        })
        .await;
        assert_eq!(stage.catalog.stats().keys_asked, 5, "{:?}", stage.catalog.stats().targets);
        worker.kill().await;
    })
    .await;
}

#[tokio::test]
async fn a_wrong_secret_and_a_403_count_as_unauthorized() {
    let setup = || Setup { runs: Runs::default(), auth: Some(Auth::default()), ..Setup::default() };
    for (settings, is_sent) in [(&[("catalog.client_secret", "not-the-secret")][..], false), (&[], true)] {
        with_catalog(Kind::Sqlite, setup(), async |stage| {
            let key = "course-v1:Acme+Shut+1";
            stage.course(key, None, Some(PAGE)).await;
            stage.catalog.script([Fault::Status(403)]);
            let worker = stage.worker(settings).await;
            stage.publish_course(key).await;
            let series = r#"course_sharing_catalog_requests_total{outcome="unauthorized"}"#;
            wait_until(SOON, series, || async { worker.metric(series).await >= Some(1.0) }).await;
            let timed = worker.metric("course_sharing_catalog_request_seconds_count").await;
            assert_eq!(timed > Some(0.0), is_sent, "a request that was not sent took no time");
            worker.stop().await.expect(0);
        })
        .await;
    }
}

#[tokio::test]
async fn an_answer_of_far_more_rows_than_were_asked_for_takes_no_more_memory_than_its_bytes() {
    with_stage(Kind::Sqlite, async |stage| {
        let key = "course-v1:Acme+Rows+1";
        stage.course(key, None, Some(PAGE)).await;
        let worker = stage.worker(&[]).await;
        let row = r#"{"key":"a/b/c","marketing_url":null},"#;
        let body = format!("{{\"count\":1,\"results\":[{}0]}}", row.repeat(800_000));
        assert!(body.len() > 28 << 20, "{}", body.len());
        stage.catalog.script([Fault::Body(body)]);
        stage.publish_course(key).await;
        // The same request is tried again, and answered well.
        stage.until_link(key, Some(PAGE)).await;
        // Its bytes are some 30 MiB; its rows, kept, were 320 MB.
        let peak = worker.peak_memory();
        assert!(peak < 160 << 20, "{} MiB", peak >> 20);
        worker.stop().await.expect(0);
    })
    .await;
}

#[tokio::test]
async fn the_age_of_the_oldest_event_is_measured_until_it_is_settled() {
    with_stage(Kind::Sqlite, async |stage| {
        let key = "course-v1:Acme+Old+1";
        stage.course(key, None, Some(PAGE)).await;
        stage.rig.declare().await;
        // Longer than from one measurement to the next. After it the Catalog answers.
        stage.catalog.script([Fault::Hang]);
        let worker = stage.worker(&[("catalog.timeout", "12s")]).await;
        let sent = chrono::Utc::now() - chrono::TimeDelta::hours(2);
        stage.rig.publish(&format!(r#"{{"course_id": "{key}", "time": "{}"}}"#, sent.to_rfc3339())).await;
        let oldest = "course_sharing_queue_oldest_seconds";
        let is_old =
            async || worker.metric(oldest).await.is_some_and(|age| (7_200.0..7_300.0).contains(&age));
        wait_until(SOON, "the event is two hours old", is_old).await;
        stage.until_link(key, Some(PAGE)).await;
        worker.until_metric(oldest, 0.0).await;
        worker.stop().await.expect(0);
    })
    .await;
}
