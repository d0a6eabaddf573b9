//! Which rows go: of runs that nobody has and that the Catalog has not listed for long, and of passes of long ago.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use course_sharing::store::{Entry, Failure, PassKind, PrunedRuns, Store, Verdict};

use super::{URL, entry, key};
use crate::support::databases::{KINDS, Kind, TestDatabase};

const OLD: i64 = 91;

fn run(name: &str) -> String {
    format!("course-v1:Acme+{name}+1")
}

fn seen(name: &str, now: DateTime<Utc>, days: i64) -> Entry {
    entry(&run(name), Some(URL), now - TimeDelta::days(days))
}

/// A pass that began and ended so many days ago.
async fn pass(store: &Store, database: &TestDatabase, verdict: Verdict, days: i64) -> i64 {
    let mut pass = store.begin_pass(PassKind::Full, 100).await.unwrap();
    pass.verdict = verdict;
    pass.finished_at = Some(pass.started_at);
    store.save_pass(&mut pass).await.unwrap();
    let at = (pass.started_at - TimeDelta::days(days)).format("%Y-%m-%d %H:%M:%S%.6f");
    let zone = if database.kind == Kind::Mysql { "" } else { "+00:00" };
    let at = format!("'{at}{zone}'");
    let sets = format!("started_at = {at}, progress_at = {at}, finished_at = {at}");
    database.execute(&format!("UPDATE course_sharing_reconcile SET {sets} WHERE id = {}", pass.id)).await;
    pass.id
}

async fn left(store: &Store, names: &[&str]) -> Vec<String> {
    let runs: Vec<_> = names.iter().map(|name| key(&run(name)).run_key()).collect();
    let entries = store.entries(&runs).await.unwrap();
    let is_left = |name: &&&str| entries.contains_key(&key(&run(name)).run_key());
    names.iter().filter(is_left).map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn rows_of_runs_that_nobody_has_go_after_ninety_days_without_a_listing() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let store = &database.store;
        let now = store.now().await.unwrap();
        const ALL: [&str; 6] = ["Gone", "Unlisted", "Kept", "Parent", "Young", "Again"];
        let rows = vec![
            seen("Gone", now, OLD),
            Entry {
                listed: false,
                cleared_at: Some(now - TimeDelta::days(OLD)),
                ..seen("Unlisted", now, OLD)
            },
            seen("Kept", now, OLD),
            seen("Parent", now, OLD),
            seen("Young", now, 89),
            seen("Again", now, OLD),
            Entry { run: key("ccx-v1:Acme+Parent+1+ccx@7").own_key(), ..seen("Parent", now, OLD) },
            Entry { run: key("ccx-v1:Acme+Gone+1+ccx@7").own_key(), ..seen("Gone", now, OLD) },
        ];
        store.apply(rows, vec![]).await.unwrap();
        database.insert_overview(&run("Kept"), Some(URL)).await;
        database.insert_overview("ccx-v1:Acme+Parent+1+ccx@7", Some(URL)).await;
        let failed = |at| Failure { at, why: "500".to_owned() };
        let failures = [("Gone", OLD), ("Young", 0)]
            .map(|(name, days)| (key(&run(name)).run_key(), failed(now - TimeDelta::days(days))));
        store.note_failures(HashMap::from(failures)).await.unwrap();

        assert_eq!(store.prune_runs(None).await.unwrap(), PrunedRuns::default(), "{kind:?}: no pass");
        pass(store, &database, Verdict::Complete, OLD + 1).await;
        pass(store, &database, Verdict::Incomplete, 0).await;
        assert_eq!(store.prune_runs(None).await.unwrap().runs, 0, "{kind:?}: no pass has shown it since");
        assert_eq!(left(store, &ALL).await, ALL, "{kind:?}");

        pass(store, &database, Verdict::Complete, 0).await;
        store.apply(vec![seen("Again", now, 0)], vec![]).await.unwrap();
        assert_eq!(store.prune_runs(None).await.unwrap().runs, 3, "{kind:?}");
        assert_eq!(left(store, &ALL).await, ["Kept", "Parent", "Young", "Again"], "{kind:?}");
        assert_eq!(database.count("course_sharing_ledger").await, 5, "{kind:?}");
        assert_eq!(database.count("course_sharing_failure").await, 1, "{kind:?}");
        assert_eq!(store.prune_runs(None).await.unwrap(), PrunedRuns::default(), "{kind:?}");
        database.drop().await;
    }
}

#[tokio::test]
async fn old_runs_go_in_batches_that_skip_what_stays() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let store = &database.store;
        let now = store.now().await.unwrap();
        pass(store, &database, Verdict::Complete, 0).await;
        let rows = (0..1_100).map(|n| seen(&format!("{n:04}"), now, OLD)).collect();
        store.apply(rows, vec![]).await.unwrap();
        for n in (0..1_100).step_by(10) {
            database.insert_overview(&run(&format!("{n:04}")), Some(URL)).await;
        }
        let mut batches = Vec::new();
        let mut after = None;
        loop {
            let batch = store.prune_runs(after.as_deref()).await.unwrap();
            batches.push(batch.runs);
            after = batch.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(batches, [450, 450, 90], "{kind:?}");
        assert_eq!(database.count("course_sharing_ledger").await, 110, "{kind:?}");
        database.drop().await;
    }
}

#[tokio::test]
async fn rows_of_passes_go_after_a_year_but_for_the_last_ones() {
    for kind in KINDS {
        let database = TestDatabase::new(kind).await;
        let store = &database.store;
        pass(store, &database, Verdict::Complete, 500).await;
        let complete = pass(store, &database, Verdict::Complete, 400).await;
        pass(store, &database, Verdict::Incomplete, 390).await;
        let ended = pass(store, &database, Verdict::Failed, 380).await;
        assert_eq!(store.prune_passes().await.unwrap(), 2, "{kind:?}: the last ones are all there is");
        let young = pass(store, &database, Verdict::Incomplete, 364).await;
        assert_eq!(store.prune_passes().await.unwrap(), 1, "{kind:?}");
        let left: Vec<i64> = store.last_passes(None, 9).await.unwrap().iter().map(|pass| pass.id).collect();
        assert_eq!(left, [young, complete], "{kind:?}: {ended} is gone");
        database.drop().await;
    }
}
