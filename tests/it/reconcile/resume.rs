//! A pass that is killed is taken up where it stood; two never run at once.

use std::time::Duration;

use course_sharing::pass::{PassError, Progress, Report, Silent, Status, Wanted};
use course_sharing::store::{PassKind, Store, Verdict};
use tokio_util::sync::CancellationToken;

use super::rig::Rig;
use crate::support::databases::{KINDS, Kind};
use crate::support::process::Program;
use crate::support::stage::{SOON, with_catalog};
use crate::support::wait_until;
use stand_in::{Runs, Setup};

/// Says when half of the list is behind.
struct Half(CancellationToken);

impl Progress for Half {
    fn at(&self, status: &Status<'_>) {
        if status.position * 2 >= status.report.count_after {
            self.0.cancel();
        }
    }
}

#[tokio::test]
async fn a_killed_pass_is_taken_up_and_as_good_as_a_whole_one() {
    for kind in KINDS {
        let rig = Rig::generated(kind, 1000).await;
        // Slow enough for the row to be written on the way.
        rig.catalog.state().setup.latency = Duration::from_millis(80);
        let half = CancellationToken::new();
        let progress = Half(half.clone());
        let pass = rig.pass();
        tokio::select! {
            report = pass.run(rig.options(), &progress, CancellationToken::new()) => panic!("{report:?}"),
            () = half.cancelled() => {}
        }
        drop(pass);
        let row = rig.database.store.last_passes(None, 1).await.unwrap().remove(0);
        assert!(row.finished_at.is_none() && row.position > 0, "{kind:?}: {row:?}");
        // The dead pass's lease, run out at once.
        rig.database.execute("DELETE FROM course_sharing_lease").await;
        rig.catalog.state().setup.latency = Duration::ZERO;
        let requests = rig.catalog.stats().requests;
        let report = rig.run().await;
        assert_eq!((report.verdict, report.resumed, report.pass), (Verdict::Complete, 1, Some(row.id)));
        let rest = rig.catalog.stats().requests - requests;
        assert!(rest < 60, "{kind:?}: {rest} requests for the rest");
        assert_eq!(report.unsettled, 0, "{kind:?}");
        assert_eq!(rig.links().await.values().flatten().count(), 1000, "{kind:?}");
        rig.assert_links_are_as_listed().await;
        assert_eq!(rig.run().await.resumed, 0, "{kind:?}: it has ended");
        rig.drop().await;
    }
}

#[tokio::test]
async fn a_process_that_is_killed_half_way_is_followed_by_one_that_does_the_rest() {
    for kind in KINDS {
        let setup =
            Setup { runs: Runs::generated(1000), latency: Duration::from_millis(100), ..Setup::default() };
        with_catalog(kind, setup, async |stage| {
            let keys: Vec<String> = stage.catalog.state().setup.runs.keys().into_iter().collect();
            for key in &keys {
                stage.database.insert_overview(key, None).await;
            }
            let command = ["reconcile", "--page-size", "20", "--output", "json"];
            let mut first = Program::start(&command, &stage.environment(&[]));
            let store = &stage.database.store;
            wait_until(SOON, "half of the list is behind", || async {
                store.last_passes(None, 1).await.unwrap().first().is_some_and(|row| row.position >= 400)
            })
            .await;
            first.kill().await;
            let row = store.last_passes(None, 1).await.unwrap().remove(0);
            assert!(row.finished_at.is_none() && row.position < 1000, "{kind:?}: {row:?}");
            let told: Report = serde_json::from_str(&row.report).unwrap();
            assert_eq!(
                told.listed,
                row.position.unsigned_abs(),
                "{kind:?}: nothing is counted that is not done"
            );
            // The dead pass's lease, run out at once.
            stage.database.execute("DELETE FROM course_sharing_lease").await;
            stage.catalog.state().setup.latency = Duration::ZERO;
            let requests = stage.catalog.stats().requests;
            let report = stage.run(&command).await.expect(0).json();
            let report: Report = serde_json::from_value(report).unwrap();
            let asked = stage.catalog.stats().requests - requests;
            assert_eq!((report.verdict, report.resumed, report.pass), (Verdict::Complete, 1, Some(row.id)));
            assert_eq!(asked, report.requests - told.requests, "{kind:?}");
            // The last page is full, so that one more finds the end.
            assert!(asked <= (1000 - row.position.unsigned_abs()).div_ceil(20) + 1, "{kind:?}: {asked}");
            assert_eq!((report.listed, report.count_after, report.settled_by_crawl), (1000, 1000, 1000));
            assert_eq!((report.unsettled, report.settled_by_key, report.without_overview), (0, 0, 0));
            for place in 0..1000 {
                let run = stage.catalog.state().setup.runs.at(place).unwrap();
                assert_eq!(stage.database.link(&run.key).await, Some(run.url), "{kind:?}");
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_stopped_pass_leaves_its_row_and_no_lease() {
    for kind in KINDS {
        let mut rig = Rig::generated(kind, 200).await;
        let stop = CancellationToken::new();
        let progress = Half(stop.clone());
        let stopped = rig.pass().run(rig.options(), &progress, stop).await;
        assert!(matches!(stopped, Err(PassError::Stopped)), "{kind:?} {stopped:?}");
        let row = rig.database.store.last_passes(None, 1).await.unwrap().remove(0);
        assert_eq!((row.verdict.as_str(), row.finished_at), ("running", None), "{kind:?}");
        assert!(row.position >= 100, "{kind:?} {}", row.position);
        let report = rig.run().await;
        assert_eq!((report.verdict, report.resumed, report.settled_by_crawl), (Verdict::Complete, 1, 200));
        assert_eq!((report.listed, report.seen_twice, report.updated), (200, 0, 200), "{kind:?}");

        rig.reconcile.resume_within = Duration::ZERO;
        let stop = CancellationToken::new();
        let progress = Half(stop.clone());
        let _ = rig.pass().run(rig.options(), &progress, stop).await;
        assert_eq!(rig.run().await.resumed, 0, "{kind:?}: too old");
        rig.drop().await;
    }
}

async fn run_if(rig: &Rig, wanted: Wanted) -> Option<Report> {
    let stop = CancellationToken::new();
    rig.pass().run_if(wanted, Duration::ZERO, rig.options(), &Silent, stop).await.unwrap()
}

#[tokio::test]
async fn the_rest_of_a_pass_is_taken_up_and_no_new_one_begins() {
    for kind in KINDS {
        let rig = Rig::generated(kind, 200).await;
        let rest = async || run_if(&rig, Wanted::Rest).await;
        assert_eq!(rest().await, None, "{kind:?}: there was none yet");
        rig.dry_run().await;
        assert_eq!(rest().await, None, "{kind:?}: a dry run has no rest");
        let stop = CancellationToken::new();
        let progress = Half(stop.clone());
        let stopped = rig.pass().run(rig.options(), &progress, stop).await;
        assert!(matches!(stopped, Err(PassError::Stopped)), "{kind:?} {stopped:?}");
        let report = rest().await.unwrap();
        assert_eq!((report.verdict, report.resumed, report.listed), (Verdict::Complete, 1, 200), "{kind:?}");
        assert_eq!(rest().await, None, "{kind:?}: it has ended");
        assert_eq!(rig.database.store.last_passes(None, 10).await.unwrap().len(), 1, "{kind:?}");
        rig.drop().await;
    }
}

/// Few changes that are made at the end, and more than the brake lets through.
#[tokio::test]
async fn what_waited_for_the_end_of_a_killed_pass_is_met_again_by_the_next() {
    for kind in KINDS {
        for (changes, verdict, updated, held_back) in
            [(3, Verdict::Complete, 3, 0), (60, Verdict::Refused, 0, 60)]
        {
            let rig = Rig::generated(kind, 200).await;
            rig.run().await;
            let before = rig.links().await;
            for number in 0..changes {
                let key = format!("course-v1:OrgX+C{number:07}+2026_T1");
                rig.catalog.put(&key, Some(&format!("https://new.example/{number}")));
            }
            let stop = CancellationToken::new();
            let progress = Half(stop.clone());
            let stopped = rig.pass().run(rig.options(), &progress, stop).await;
            assert!(matches!(stopped, Err(PassError::Stopped)), "{kind:?} {stopped:?}");
            assert_eq!(rig.links().await, before, "{kind:?}");
            let report = rig.run().await;
            assert_eq!((report.verdict, report.resumed), (verdict, 1), "{kind:?} {:?}", report.reasons);
            assert_eq!((report.updated, report.held_back), (updated, held_back), "{kind:?}");
            let settled = report.settled_by_crawl + report.settled_by_key;
            assert_eq!(
                (settled, report.unsettled, report.held.len() as u64),
                (200, 0, held_back),
                "{kind:?}"
            );
            rig.drop().await;
        }
    }
}

/// The row of a pass that broke off, having been taken up so often.
async fn leave_a_pass(store: &Store, resumed: u32) {
    let mut row = store.begin_pass(PassKind::Full, 20).await.unwrap();
    let report = Report { pass: Some(row.id), started_at: row.started_at, resumed, ..Report::default() };
    row.report = serde_json::to_string(&report).unwrap();
    store.save_pass(&mut row).await.unwrap();
}

#[tokio::test]
async fn a_pass_that_breaks_off_again_and_again_is_left_for_the_next() {
    let rig = Rig::generated(Kind::Sqlite, 10).await;
    leave_a_pass(&rig.database.store, 12).await;
    assert_eq!(run_if(&rig, Wanted::Rest).await, None);
    rig.drop().await;
}

#[tokio::test]
async fn a_worker_that_starts_takes_up_what_its_predecessor_left() {
    let setup = Setup { runs: Runs::generated(50), ..Setup::default() };
    with_catalog(Kind::Sqlite, setup, async |stage| {
        let store = &stage.database.store;
        leave_a_pass(store, 0).await;
        // Not due for months, or hours at least.
        let worker = stage.worker(&[("reconcile.schedule", "0 0 0 1 1 *")]).await;
        wait_until(SOON, "the pass has ended", || async {
            store.last_passes(None, 1).await.unwrap()[0].finished_at.is_some()
        })
        .await;
        worker.stop().await.expect(0);
        let passes = store.last_passes(None, 10).await.unwrap();
        let report: Report = serde_json::from_str(&passes[0].report).unwrap();
        assert_eq!((passes.len(), report.verdict, report.resumed), (1, Verdict::Complete, 1));
    })
    .await;
}

#[tokio::test]
async fn while_one_pass_runs_another_is_refused() {
    let rig = Rig::generated(Kind::Sqlite, 10).await;
    let store = &rig.database.store;
    let hold = || async { store.acquire("reconcile", "another", Duration::from_secs(30)).await.unwrap() };
    assert!(hold().await);
    let alive = async {
        for _ in 0..60 {
            assert!(hold().await);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    tokio::select! {
        refused = rig.try_run(rig.options(), &Silent) => {
            assert!(matches!(refused, Err(PassError::Taken { .. })), "{refused:?}");
        }
        () = alive => panic!("it should have been refused"),
    }
    rig.drop().await;
}

#[tokio::test]
async fn a_pass_that_ends_while_another_waits_to_see_was_the_one_pass() {
    let rig = Rig::generated(Kind::Sqlite, 10).await;
    let store = &rig.database.store;
    assert!(store.acquire("reconcile", "another", Duration::from_secs(30)).await.unwrap());
    let ends = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        store.release("reconcile", "another").await.unwrap();
    };
    let (refused, ()) = tokio::join!(rig.try_run(rig.options(), &Silent), ends);
    assert!(matches!(refused, Err(PassError::Taken { .. })), "{refused:?}");
    assert_eq!(rig.run().await.verdict, Verdict::Complete, "and it leaves no lease behind");
    rig.drop().await;
}

/// A worker that has found no pass for the time that is due, and comes to the lease when another has made it.
#[tokio::test]
async fn a_pass_that_another_worker_made_while_this_one_was_about_to_begin_is_not_made_again() {
    let rig = Rig::generated(Kind::Sqlite, 10).await;
    let store = &rig.database.store;
    let since = store.now().await.unwrap();
    // The other one is alive, so that this one waits; then it makes the pass, and is killed before it gives the lease back.
    assert!(store.acquire("reconcile", "another", Duration::from_secs(6)).await.unwrap());
    let mut row = store.begin_pass(PassKind::Full, 20).await.unwrap();
    let ends = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        row.verdict = Verdict::Complete;
        row.finished_at = Some(store.now().await.unwrap());
        store.save_pass(&mut row).await.unwrap();
    };
    let (ended, ()) = tokio::join!(run_if(&rig, Wanted::NoneSince(since)), ends);
    assert_eq!(ended, None);
    assert_eq!(store.last_passes(None, 10).await.unwrap().len(), 1);
    let later = store.now().await.unwrap();
    let next = run_if(&rig, Wanted::NoneSince(later)).await;
    assert_eq!(next.unwrap().verdict, Verdict::Complete, "and it leaves no lease behind");
    rig.drop().await;
}

#[tokio::test]
async fn a_dead_pass_keeps_others_out_only_until_its_lease_runs_out() {
    let rig = Rig::generated(Kind::Sqlite, 10).await;
    assert!(rig.database.store.acquire("reconcile", "dead", Duration::from_secs(2)).await.unwrap());
    assert_eq!(rig.run().await.verdict, Verdict::Complete);
    rig.drop().await;
}
