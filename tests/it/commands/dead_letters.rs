//! `dead-letters`: look, send again, remove; by course, by reason, all of them; and never one too many.

use course_sharing::broker::Message;

use crate::support::databases::{KINDS, Kind};
use crate::support::process::on_terminal;
use crate::support::stage::{Stage, with_stage};

const KEY: &str = "course-v1:Acme+D+1";
const OTHER: &str = "course-v1:Acme+D+2";

/// Three letters: about [`KEY`], about [`OTHER`], and about nothing at all.
async fn three_letters(stage: &Stage) {
    let worker = stage.worker(&[]).await;
    for course in [KEY, OTHER] {
        let body = format!(r#"{{"type": "course-vanish", "course_id": "{course}"}}"#);
        stage.publish("course-publish", &Message::json(body.into_bytes())).await;
    }
    let nothing =
        Message::json(b"\x1b[31m no JSON".to_vec()).with_header("traceparent", "00-aa-bb-01").unwrap();
    stage.publish("overview-recreated", &nothing).await;
    stage.until_letters(3).await;
    worker.stop().await.expect(0);
}

#[tokio::test]
async fn letters_are_listed_and_shown_by_filter_and_stay() {
    with_stage(Kind::Sqlite, async |stage| {
        three_letters(stage).await;
        let ended = stage.run(&["dead-letters", "list"]).await.expect(0);
        assert_eq!(ended.stdout.lines().count(), 3, "{}", ended.stdout);
        ended.says(&["course-vanish", "not JSON", "course-publish", "overview-recreated"]);
        assert!(!ended.stdout.contains('\x1b'), "the terminal is left alone");
        let of = async |filter: &[&str], count: usize| {
            let ended = stage.run(&[&["dead-letters", "list"], filter].concat()).await.expect(0);
            assert_eq!(ended.stdout.lines().count(), count, "{filter:?}: {}", ended.stdout);
        };
        of(&["--all"], 3).await;
        of(&["--course", KEY], 1).await;
        of(&["--reason", "course-vanish"], 2).await;
        of(&["--reason", "course-vanish", "--course", OTHER], 1).await;
        of(&["--course", "course-v1:Acme+D+3"], 0).await;
        let json = async |arguments: &[&str]| {
            stage.run(&[&["dead-letters"], arguments, &["--output", "json"]].concat()).await.expect(0).json()
        };
        let listed = json(&["list", "--course", KEY]).await;
        assert_eq!((&listed["total"], &listed["waiting"]), (&3.into(), &0.into()), "{listed:#}");
        let letters = listed["dead_letters"].as_array().unwrap();
        assert!(letters.len() == 1 && letters[0]["course_id"] == KEY, "{listed:#}");
        assert_eq!(json(&["list", "--reason", "nothing"]).await["dead_letters"].as_array().unwrap().len(), 0);
        let shown = json(&["show"]).await;
        let bodies: Vec<_> = shown["dead_letters"].as_array().unwrap().iter().map(|l| &l["body"]).collect();
        assert!(bodies.contains(&&"\u{1b}[31m no JSON".into()) && bodies.len() == 3, "{shown:#}");
        let ended = stage.run(&["dead-letters", "show", "--reason", "not JSON"]).await.expect(0);
        ended.says(&["no JSON", "00-aa-bb-01", "overview-recreated"]);
        assert!(!ended.stdout.contains('\x1b'), "{}", ended.stdout);
        assert_eq!(stage.dead_letters().await.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn letters_are_discarded_by_filter_and_nothing_else_is() {
    with_stage(Kind::Sqlite, async |stage| {
        three_letters(stage).await;
        for action in ["discard", "replay"] {
            stage.run(&["dead-letters", action]).await.expect(2).says(&["--all"]);
        }
        stage.run(&["dead-letters", "discard", "--course", KEY]).await.expect(0).says(&["discarded 1 of 3"]);
        let left = stage.dead_letters().await;
        assert_eq!(left.len(), 2);
        assert!(left.iter().all(|letter| !String::from_utf8_lossy(&letter.body).contains(KEY)));
        let all = ["dead-letters", "discard", "--all"];
        // Nobody is there to be asked.
        stage.run(&all).await.expect(2).says(&["this removes 2 dead letters, for ever", "--yes"]);
        let no = on_terminal(&all, &stage.environment(&[]), "n\n").await;
        assert!(no.code == Some(1) && no.stdout.contains("Go on? [y/N]"), "{no:?}");
        assert_eq!(stage.dead_letters().await.len(), 2);
        let yes = on_terminal(&all, &stage.environment(&[]), "y\n").await;
        assert!(yes.code == Some(0) && yes.stdout.contains("discarded 2 of 2"), "{yes:?}");
        stage.run(&[&all[..], &["--yes"]].concat()).await.expect(0).says(&["discarded 0 of 0"]);
        stage.wait_for_ready(0, 0, 0).await;
    })
    .await;
}

#[tokio::test]
async fn a_letter_has_a_number_by_which_it_alone_is_meant() {
    for kind in KINDS {
        with_stage(kind, async |stage| {
            three_letters(stage).await;
            let ended = stage.run(&["dead-letters", "list", "--course", OTHER]).await.expect(0);
            let id = ended.stdout.split_whitespace().next().unwrap();
            stage.run(&["dead-letters", "show", "--id", id]).await.expect(0).says(&[OTHER, "1 of 3"]);
            let none = stage.run(&["dead-letters", "discard", "--id", id, "--reason", "JSON"]).await;
            none.expect(0).says(&["discarded 0 of 3"]);
            let percent = stage.run(&["dead-letters", "list", "--reason", "%"]).await;
            percent.expect(0).says(&["0 of 3"]);
            stage.run(&["dead-letters", "discard", "--id", id]).await.expect(0).says(&["discarded 1 of 3"]);
            let ended = stage.run(&["dead-letters", "list", "--all"]).await.expect(0);
            assert!(ended.stdout.contains(KEY) && !ended.stdout.contains(OTHER), "{}", ended.stdout);
            stage.run(&["dead-letters", "replay", "--course", KEY]).await.expect(0).says(&["1 of 2"]);
            stage.wait_for_ready(1, 0, 1).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_letter_that_no_worker_has_taken_over_is_counted_and_left_alone() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.rig.declare().await;
        let letter = Message::json(b"{}".to_vec());
        stage.rig.publisher.publish("", &stage.rig.topology.dead, &letter).await.unwrap();
        for _ in 0..3 {
            let ended = stage.run(&["dead-letters", "list"]).await.expect(0);
            ended.says(&["0 of 0 dead letters", "1 more waits in the queue"]);
        }
        stage.run(&["dead-letters", "discard", "--all"]).await.expect(0).says(&["discarded 0 of 0"]);
        stage.wait_for_ready(0, 0, 1).await;
    })
    .await;
}

#[tokio::test]
async fn letters_are_sent_again_as_if_never_tried() {
    with_stage(Kind::Sqlite, async |stage| {
        three_letters(stage).await;
        let ended = stage.run(&["dead-letters", "replay", "--reason", "not JSON"]).await.expect(0);
        ended.says(&["replayed 1 of 3"]);
        stage.wait_for_ready(1, 0, 2).await;
        // Nobody understands it now either: it comes back, once.
        let worker = stage.worker(&[]).await;
        stage.until_letters(3).await;
        let letters = stage.dead_letters().await;
        let again = letters.iter().find(|letter| letter.body.ends_with(b"no JSON")).unwrap();
        assert_eq!(again.routing_key, "overview-recreated");
        assert_eq!(again.header("traceparent").as_deref(), Some("00-aa-bb-01"));
        worker.stop().await.expect(0);
    })
    .await;
}

#[tokio::test]
async fn without_a_broker_letters_are_shown_and_discarded_and_a_replay_keeps_them() {
    with_stage(Kind::Sqlite, async |stage| {
        three_letters(stage).await;
        let settings = [("amqp.url", "amqp://someone:hunter2@127.0.0.1:1/%2f")];
        let run = async |action: &str, code: i32, words: &[&str]| {
            let ended = stage.run_with(&settings, &["dead-letters", action, "--course", KEY]).await;
            let ended = ended.expect(code);
            ended.says(words);
            ended.keeps_quiet_about("hunter2");
        };
        run("list", 0, &[KEY, "1 of 3", "127.0.0.1:1"]).await;
        run("replay", 1, &["stays", "127.0.0.1:1"]).await;
        run("discard", 0, &["discarded 1 of 3"]).await;
        stage.until_letters(2).await;
    })
    .await;
}

#[tokio::test]
async fn a_closed_pipe_ends_the_list_in_silence() {
    with_stage(Kind::Sqlite, async |stage| {
        three_letters(stage).await;
        let program = env!("CARGO_BIN_EXE_course-sharing");
        let mut shell = tokio::task::spawn_blocking({
            let environment = stage.environment(&[]);
            let line = format!("'{program}' dead-letters show 2>&1 >&- | head -n 20");
            move || std::process::Command::new("sh").args(["-c", &line]).envs(environment).output().unwrap()
        });
        let output = (&mut shell).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!said.contains("panicked"), "{said}");
    })
    .await;
}
