//! A disk that is full when SQLite commits: what was said to be written is there, and what was not is said to have
//! failed. The disk is a small tmpfs, for which the test has to be root.

use std::path::Path;

use course_sharing::config;
use course_sharing::store::{Entry, Store};
use migration::Direction;
use test_support::SmallDisk;

use super::entry;

async fn connect(path: &Path) -> Store {
    let url = format!("sqlite://{}/test.db?mode=rwc", path.display());
    let settings = config::Database { url: url.as_str().into(), max_connections: 2 };
    Store::connect(&settings).await.unwrap()
}

#[tokio::test]
async fn what_was_committed_before_while_and_after_the_disk_was_full_is_there_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(dir.path().join("disk"), 3_000).unwrap();
    if !disk.is_small() {
        eprintln!("not tested: a small file system cannot be mounted by this user");
        return;
    }
    let store = connect(disk.path()).await;
    let up = Direction::Up { create_overview_table: true, restore_trigger: false };
    migration::migrate(&store.connection(), up).await.unwrap();
    disk.fill(400_000).unwrap();
    let now = store.now().await.unwrap();
    let batch = |n: usize| -> Vec<Entry> {
        let url = format!("https://www.example.org/{}", "x".repeat(300));
        (0..50).map(|run| entry(&format!("course-v1:edX+Batch{n}+{run}"), Some(&url), now)).collect()
    };
    let (mut written, mut failed) = (Vec::new(), Vec::new());
    for n in 0..60 {
        if failed.len() == 20 {
            let _ = disk.free();
        }
        match store.apply(batch(n), vec![]).await {
            Ok(_) => written.push(n),
            Err(error) => {
                println!("{n}: {error:?}");
                failed.push(n);
            }
        }
    }
    assert!(failed.len() >= 20 && written.len() >= 10, "{} written, {} failed", written.len(), failed.len());
    // As another process sees it.
    let other = connect(disk.path()).await;
    for n in 0..60 {
        let runs: Vec<_> = batch(n).into_iter().map(|entry| entry.run).collect();
        let found = other.entries(&runs).await.unwrap().len();
        assert_eq!(found, if written.contains(&n) { 50 } else { 0 }, "batch {n}");
    }
    let _ = other.connection().close().await;
    let _ = store.connection().close().await;
}
