//! The worker as a service: what systemd hears of it, and what it takes over at SIGHUP.

use std::os::unix::net::UnixDatagram;

use serde_json::Value;
use test_support::Signal;

use crate::support::databases::Kind;
use crate::support::process::Program;
use crate::support::stage::{SOON, with_stage};
use crate::support::wait_until;

/// The next message of these that says `words`; others in between are signs of life.
fn hears(systemd: &UnixDatagram, words: &str) -> String {
    let mut buffer = [0; 4096];
    for _ in 0..1000 {
        let length = systemd.recv(&mut buffer).unwrap_or_else(|error| panic!("no {words:?}: {error}"));
        let heard = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if heard.contains(words) {
            return heard;
        }
    }
    panic!("no {words:?} in 1000 messages");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn systemd_hears_of_it_and_a_hangup_takes_over_log_level_and_schedule() {
    with_stage(Kind::Sqlite, async |stage| {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("notify");
        let systemd = UnixDatagram::bind(&socket).unwrap();
        systemd.set_read_timeout(Some(SOON)).unwrap();
        let path = dir.path().join("course-sharing.toml");
        let file = path.to_str().unwrap();
        let configure = |text: &str| std::fs::write(&path, text).unwrap();
        configure("[log]\nlevel = \"warn,course_sharing::http=info\"\n[reconcile]\nschedule = \"off\"\n");
        let mut environment = stage.environment(&[]);
        environment.retain(|(name, _)| !name.contains("RECONCILE__SCHEDULE"));
        environment.push(("NOTIFY_SOCKET".to_owned(), socket.to_str().unwrap().to_owned()));
        environment.push(("WATCHDOG_USEC".to_owned(), "1000000".to_owned()));
        let worker = Program::start(&["worker", "--config", file], &environment);
        assert_eq!(hears(&systemd, "READY=1"), "READY=1");
        hears(&systemd, "WATCHDOG=1\nSTATUS=consuming events");

        // Refused: nothing changes, and it says what is wrong and where.
        configure("[log]\nlevel = \"info\"\n[reconcile]\nschedule = \"sometimes\"\n");
        worker.signal(Signal::Hup);
        hears(&systemd, "RELOADING=1");
        let refused = worker.until_logged("worker.reload_refused").await;
        let error = refused["error"].as_str().unwrap();
        assert!(error.contains(&format!("{file}:4: reconcile.schedule")), "{error}");
        hears(&systemd, "READY=1");

        configure(
            "[log]\nlevel = \"info\"\n[reconcile]\nschedule = \"* * * * * *\"\n[sync]\nmax_batch = 3\n",
        );
        worker.signal(Signal::Hup);
        let reloaded = worker.until_logged("worker.reloaded").await;
        assert_eq!(reloaded["needs_restart"], "sync.max_batch", "{reloaded}");
        worker.until_logged("reconcile.finished").await;
        wait_until(SOON, "the status has the new schedule", || async {
            let (_, status) = worker.get("/api/v1/status").await.unwrap();
            serde_json::from_str::<Value>(&status).unwrap()["next"]["full_pass"].is_string()
        })
        .await;
        let ended = worker.stop().await.expect(0);
        assert!(ended.logged("worker.started").is_empty(), "the level was warn");
        hears(&systemd, "STOPPING=1");
    })
    .await;
}
