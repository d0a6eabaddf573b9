//! `check`: each thing that can be wrong before the first event comes, named, with what to do about it.

mod broker;
mod catalog;
mod database;
mod restore_trigger;
mod rights;

use crate::support::databases::Kind;
use crate::support::process::Ended;
use crate::support::stage::{Stage, with_catalog};
use stand_in::{Auth, Runs, Setup};

/// Never to be said.
const SECRET: &str = "hunter2-of-everything";

/// A stage on which all is well.
async fn with_all_well(kind: Kind, test: impl AsyncFnOnce(&Stage)) {
    let auth = Auth { client_secret: SECRET.to_owned(), ..Auth::default() };
    let setup = Setup { runs: Runs::generated(3), auth: Some(auth), ..Setup::default() };
    with_catalog(kind, setup, test).await;
}

/// Runs `check` and fails unless this part, and no other, is wrong, in these words.
async fn one_is_wrong(stage: &Stage, settings: &[(&str, &str)], part: &str, words: &[&str]) {
    let ended = checked(stage, settings).await.expect(1);
    for line in ended.stdout.lines() {
        let is_wrong = line.split_whitespace().nth(1) == Some(part);
        assert_eq!(line.starts_with("FAIL"), is_wrong, "{part}:\n{}", ended.stdout);
        for word in words.iter().filter(|_| is_wrong) {
            assert!(line.contains(word), "no {word:?} in {line}");
        }
    }
    assert!(ended.stdout.contains("FAIL"), "{}", ended.stdout);
}

async fn checked(stage: &Stage, settings: &[(&str, &str)]) -> Ended {
    let ended = stage.run_with(settings, &["check"]).await;
    ended.keeps_quiet_about(SECRET);
    ended.keeps_quiet_about("eyJhbGci");
    ended
}

#[tokio::test]
async fn all_well_is_a_line_for_each_part() {
    for kind in [Kind::Sqlite, Kind::Postgres, Kind::Mysql] {
        with_all_well(kind, async |stage| {
            let ended = checked(stage, &[]).await.expect(0);
            for part in ["configuration", "database", "broker", "token", "catalog"] {
                let found = ended.stdout.lines().filter(|line| line.starts_with(&format!("ok    {part}")));
                assert_eq!(found.count(), 1, "{part}:\n{}", ended.stdout);
            }
            // It looked, and declared nothing.
            let connection = stage.rig.connection().await;
            assert!(stage.rig.topology.verify(&connection).await.is_err());
            connection.close().await;
        })
        .await;
    }
}
