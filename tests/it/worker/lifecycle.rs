//! Starting and stopping.

use std::time::Duration;

use test_support::Signal;

use super::PAGE;
use crate::support::databases::Kind;
use crate::support::stage::{SOON, Stage, with_catalog, with_stage};
use crate::support::wait_until;
use stand_in::{Runs, Setup};

const KEY: &str = "course-v1:Acme+Life+1";
const APPLIED: &str = r#"course_sharing_events_total{outcome="applied",type="course-publish"}"#;

#[tokio::test]
async fn either_signal_ends_an_idle_worker_with_0() {
    with_stage(Kind::Sqlite, async |stage| {
        for signal in [Signal::Term, Signal::Int] {
            let mut worker = stage.worker(&[]).await;
            worker.signal(signal);
            let ended = worker.ended_within(Duration::from_secs(20)).await.expect(0);
            assert_eq!(ended.logged("worker.stopped").len(), 1, "{}", ended.stderr);
            assert!(ended.stdout.is_empty(), "{}", ended.stdout);
        }
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_may_open_no_more_files_closes_slow_connections() {
    with_stage(Kind::Sqlite, async |stage| {
        let worker = stage.worker(&[]).await;
        let port = worker.http().await;
        let open = std::fs::read_dir(format!("/proc/{}/fd", worker.id())).unwrap().count();
        let limit = format!("--nofile={0}:{0}", open + 20);
        let pid = worker.id().to_string();
        let set = std::process::Command::new("prlimit").args(["--pid", &pid, &limit]).status();
        assert!(set.unwrap().success(), "prlimit {limit}");
        let mut slow = Vec::new();
        for _ in 0..100 {
            slow.push(tokio::net::TcpStream::connect(port).await.unwrap());
        }
        worker.until_status("/healthz", 200, SOON).await;
        assert_eq!(worker.logged("http.accept_failed").len(), 1, "{}", worker.stderr());
        drop(slow);
        worker.stop().await.expect(0);
    })
    .await;
}

/// Starts a worker and stops it in the middle, again and again until all is done.
async fn stopped_under_load(stage: &Stage) {
    let keys = stage.catalog.state().setup.runs.keys();
    stage.rig.declare().await;
    for key in &keys {
        stage.database.insert_overview(key, None).await;
        stage.publish_course(key).await;
    }
    let linked = async || u32::try_from(stage.database.store.counts().await.unwrap().linked).unwrap();
    let count = u32::try_from(keys.len()).unwrap();
    let mut stopped = 0;
    while linked().await < count {
        let before = stage.catalog.stats().keys_asked;
        let worker = stage.worker(&[("amqp.prefetch", "20")]).await;
        wait_until(SOON, "it is in the middle of it", || async {
            stage.catalog.stats().keys_asked > before || linked().await == count
        })
        .await;
        worker.stop().await.expect(0);
        stopped += 1;
        let (waiting, delayed, dead) = stage.ready().await;
        let linked = linked().await;
        assert!(waiting + linked >= count, "{waiting} + {linked} of {count}");
        assert_eq!((delayed, dead), (0, 0));
    }
    assert!(stopped > 1, "it was stopped in the middle");
}

#[tokio::test]
async fn a_worker_stopped_under_load_ends_with_0_and_nothing_is_lost() {
    let latency = Duration::from_millis(300);
    for kind in [Kind::Sqlite, Kind::Postgres, Kind::Mysql] {
        let setup = Setup { runs: Runs::generated(150), latency, ..Setup::default() };
        with_catalog(kind, setup, async |stage| stopped_under_load(stage).await).await;
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once_with_1_and_nothing_is_lost() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.course(KEY, None, Some(PAGE)).await;
        stage.catalog.state().setup.latency = Duration::from_secs(12);
        let mut worker = stage.worker(&[]).await;
        stage.publish_course(KEY).await;
        wait_until(SOON, "a look-up", || async { stage.catalog.stats().requests > 0 }).await;
        worker.signal(Signal::Term);
        worker.until_logged("worker.stopping").await;
        assert!(worker.is_running(), "it finishes what is in hand");
        worker.signal(Signal::Int);
        let ended = worker.ended_within(Duration::from_secs(5)).await.expect(1);
        assert_eq!(ended.logged("worker.killed").len(), 1, "{}", ended.stderr);
        stage.wait_for_ready(1, 0, 0).await;
        assert_eq!(stage.database.link(KEY).await, Some(None));
    })
    .await;
}

#[tokio::test]
async fn what_is_in_hand_is_finished_before_it_ends() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.course(KEY, None, Some(PAGE)).await;
        stage.catalog.state().setup.latency = Duration::from_secs(2);
        let worker = stage.worker(&[]).await;
        stage.publish_course(KEY).await;
        wait_until(SOON, "a look-up", || async { stage.catalog.stats().requests > 0 }).await;
        worker.stop().await.expect(0);
        assert_eq!(stage.database.link(KEY).await.flatten().as_deref(), Some(PAGE));
        assert_eq!(stage.ready().await, (0, 0, 0));
    })
    .await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_1_and_named() {
    with_stage(Kind::Sqlite, async |stage| {
        let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let ended = stage.run_with(&[("http.listen", &address)], &["worker"]).await.expect(1);
        ended.says(&["http.listen", &address, "in use"]);
    })
    .await;
}

#[tokio::test]
async fn without_a_port_it_works_all_the_same() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.course(KEY, None, Some(PAGE)).await;
        stage.rig.declare().await;
        let worker = stage.start_worker(&[("http.listen", "off")]);
        stage.publish_course(KEY).await;
        stage.until_link(KEY, Some(PAGE)).await;
        assert!(worker.logged("http.listening").is_empty());
        worker.stop().await.expect(0);
    })
    .await;
}

#[tokio::test]
async fn every_job_of_the_worker_is_watched_and_failing_is_not_hanging() {
    with_stage(Kind::Sqlite, async |stage| {
        // Its heal fails each time, and ends.
        stage.database.execute("DROP TABLE course_sharing_ledger").await;
        let settings = [("heal.interval", "1s"), ("reconcile.schedule", "0 0 0 1 1 *")];
        let worker = stage.worker(&settings).await;
        wait_until(SOON, "heal fails", || async { !worker.logged("heal.failed").is_empty() }).await;
        let health = || async {
            let health = worker.until_status("/healthz", 200, SOON).await;
            serde_json::from_str::<serde_json::Value>(&health).unwrap()
        };
        let named = || async {
            let jobs = health().await["jobs"].clone();
            ["events", "gauges", "heal", "pass"]
                .iter()
                .all(|job| jobs[job]["limit_seconds"].as_u64() >= Some(90))
        };
        wait_until(SOON, "each job is named", named).await;
        worker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn the_port_shows_what_is_there() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.course(KEY, None, Some(PAGE)).await;
        let worker = stage.worker(&[]).await;
        stage.publish_course(KEY).await;
        worker.until_metric(APPLIED, 1.0).await;
        worker.until_status("/healthz", 200, SOON).await;
        worker.until_status("/readyz", 200, SOON).await;
        let encoded = KEY.replace('+', "%2B");
        let links = worker.until_status(&format!("/api/v1/share-links?course_id={encoded}"), 200, SOON).await;
        let links: serde_json::Value = serde_json::from_str(&links).unwrap();
        assert_eq!(links["links"][KEY], serde_json::json!({ "url": PAGE, "source": "marketing" }));
        let status = || async {
            let (_, status) = worker.get("/api/v1/status").await.unwrap();
            serde_json::from_str::<serde_json::Value>(&status).unwrap()
        };
        // Counted a moment ago, as counting has its price.
        let counted = || async {
            let overviews = &status().await["overviews"];
            overviews["linked"] == 1 && overviews["blank"] == 0
        };
        wait_until(SOON, "the status counts the link", counted).await;
        assert_eq!(status().await["queues"]["dead"], 0);
        worker.until_status("/", 200, SOON).await;
        worker.stop().await.expect(0);
    })
    .await;
}
