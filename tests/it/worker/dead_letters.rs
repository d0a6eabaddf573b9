//! Dead letters become rows: each once, whole, and none is lost or counted to death while the database is out.

use course_sharing::broker::{Message, Received};
use course_sharing::store::{Letter, LetterFilter};
use sea_orm::ConnectionTrait;
use test_support::raw;

use crate::support::databases::{KINDS, Kind};
use crate::support::letters::letter;
use crate::support::stage::{SOON, Stage, with_broker, with_stage};
use crate::support::virtual_host::VirtualHost;
use crate::support::wait_until;

async fn bury(stage: &Stage, body: Vec<u8>) {
    let letter = Message::json(body).with_header("x-course-sharing-reason", "for a test").unwrap();
    stage.rig.publisher.publish("", &stage.rig.topology.dead, &letter).await.unwrap();
}

async fn until_waiting(stage: &Stage, count: u32) {
    let what = format!("{count} wait in the queue");
    wait_until(SOON, &what, || async { stage.rig.ready().await.2 == count }).await;
}

#[tokio::test]
async fn what_was_in_the_queue_before_is_taken_over_whole_whatever_it_is() {
    for kind in KINDS {
        with_stage(kind, async |stage| {
            stage.rig.declare().await;
            let nul = b"\0 and \xff".to_vec();
            let long = [&b"{"[..], &vec![b'x'; 2 * 1024 * 1024]].concat();
            for body in [nul.clone(), Vec::new(), long.clone()] {
                bury(stage, body).await;
            }
            let dead = &stage.rig.topology.dead;
            stage.rig.publish_raw("", dead, &raw::nested(raw::DEEPEST), b"deep").await;
            stage.rig.publish_raw("", dead, &raw::no_utf_8(), b"garbled").await;
            let worker = stage.worker(&[]).await;
            stage.until_letters(5).await;
            worker.until_metric("course_sharing_dead_letters", 5.0).await;
            until_waiting(stage, 0).await;
            worker.stop().await.expect(0);
            let letters = stage.dead_letters().await;
            let bodies: Vec<&[u8]> = letters.iter().map(|letter| letter.body.as_slice()).collect();
            assert!(bodies == [&nul[..], b"", &long[..], b"deep", b"garbled"], "{kind:?}");
            assert_eq!(letters[0].reason.as_deref(), Some("for a test"));
            assert!(letters[3].unreadable.as_deref().unwrap().contains("nested"));
        })
        .await;
    }
}

#[tokio::test]
async fn a_letter_that_is_taken_over_twice_is_one_row() {
    for kind in KINDS {
        with_stage(kind, async |stage| {
            let reason = "é".repeat(200);
            let letter = Letter { routing_key: "with a \0".to_owned(), reason, ..letter(1) };
            let store = &stage.database.store;
            store.keep_letters(&[letter.clone(), letter.clone()]).await.unwrap();
            let later = Letter { reason: "later".to_owned(), ..letter.clone() };
            store.keep_letters(&[later, Letter { digest: "f".repeat(64), ..letter }]).await.unwrap();
            let kept = store.letters(&LetterFilter::default(), 0, 9).await.unwrap();
            assert_eq!(kept.len(), 2, "{kind:?}: {kept:?}");
            assert!(kept[0].reason == "later" && kept[1].reason.starts_with("éé"), "{kept:?}");
            assert_eq!(kept[0].routing_key, "with a ?");
        })
        .await;
    }
}

/// A worker that is killed between the copy's confirmation and the acknowledgement gives the message up again.
#[tokio::test]
async fn a_message_that_is_given_up_again_is_one_row_with_the_last_reason() {
    for kind in KINDS {
        with_stage(kind, async |stage| {
            stage.rig.declare().await;
            for (sender, reason, first_seen) in [
                ("1", "old", "2026-01-02T00:00:00Z"),
                ("1", "new", "2026-01-03T00:00:00Z"),
                ("2", "other", "2026-01-04T00:00:00Z"),
            ] {
                let mut message = Message::json(b"{".to_vec());
                for (name, value) in [
                    ("ce_id", sender),
                    ("x-course-sharing-reason", reason),
                    ("x-course-sharing-first-seen", first_seen),
                ] {
                    message = message.with_header(name, value).unwrap();
                }
                stage.rig.publisher.publish("", &stage.rig.topology.dead, &message).await.unwrap();
            }
            let worker = stage.worker(&[]).await;
            until_waiting(stage, 0).await;
            worker.stop().await.expect(0);
            let letters = stage.dead_letters().await;
            let kept: Vec<_> =
                letters.iter().map(|l| (l.reason.as_deref().unwrap(), l.first_seen.to_rfc3339())).collect();
            let (new, other) =
                ("2026-01-03T00:00:00+00:00".to_owned(), "2026-01-04T00:00:00+00:00".to_owned());
            assert_eq!(kept, [("new", new), ("other", other)], "{kind:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_body_too_large_for_the_database_is_cut_and_not_replayed() {
    for kind in KINDS {
        with_stage(kind, async |stage| {
            let store = &stage.database.store;
            let body = vec![b'x'; 17 * 1024 * 1024];
            store.keep_letters(&[Letter { body, ..letter(1) }, letter(2)]).await.unwrap();
            let heads = store.letters(&LetterFilter::default(), 0, 9).await.unwrap();
            assert_eq!(heads[0].body_bytes, 17 * 1024 * 1024, "{kind:?}");
            let letters = stage.dead_letters().await;
            assert_eq!((letters[0].body.len(), &*letters[1].body), (64 * 1024, &b"{}"[..]));
            let id = heads[0].id.to_string();
            let ended = stage.run(&["dead-letters", "replay", "--id", &id]).await.expect(1);
            ended.says(&["replayed 0 of 2", "only the beginning of its body"]);
        })
        .await;
    }
}

#[tokio::test]
async fn while_the_database_does_not_take_them_they_wait_and_are_not_redelivered_again_and_again() {
    with_stage(Kind::Postgres, async |stage| {
        let away = async |from: &str, to: &str| {
            let sql = format!("ALTER TABLE {from} RENAME TO {to}");
            stage.database.owner.connection().execute_unprepared(&sql).await.unwrap();
        };
        let worker = stage.worker(&[]).await;
        bury(stage, b"before".to_vec()).await;
        stage.until_letters(1).await;
        away("course_sharing_dead_letter", "elsewhere").await;
        for n in 0..10 {
            bury(stage, n.to_string().into_bytes()).await;
        }
        worker.until_logged("dead_letter.waiting").await;
        // Four are with the worker, unacknowledged, and the others where they were.
        until_waiting(stage, 6).await;
        away("elsewhere", "course_sharing_dead_letter").await;
        stage.until_letters(11).await;
        until_waiting(stage, 0).await;
        let ended = worker.stop().await.expect(0);
        assert_eq!(ended.logged("dead_letter.waiting").len(), 1, "{}", ended.stderr);
        assert_eq!(ended.logged("dead_letter.recovered").len(), 1, "{}", ended.stderr);
    })
    .await;
}

#[tokio::test]
async fn the_oldest_are_discarded_by_age_and_by_number() {
    for kind in KINDS {
        with_stage(kind, async |stage| {
            let store = &stage.database.store;
            let letters: Vec<Letter> = (0..9).map(letter).collect();
            store.keep_letters(&letters).await.unwrap();
            let left = async || {
                let heads = store.letters(&LetterFilter::default(), 0, 9).await.unwrap();
                heads.iter().map(|head| head.reason.clone()).collect::<String>()
            };
            assert_eq!(store.discard_old_letters(chrono::TimeDelta::days(90), 9).await.unwrap(), 0);
            let old =
                "UPDATE course_sharing_dead_letter SET taken_at = '2026-01-01 00:00:00' WHERE reason = '4'";
            stage.database.execute(old).await;
            assert_eq!(store.discard_old_letters(chrono::TimeDelta::days(90), 7).await.unwrap(), 3);
            assert_eq!(left().await, "235678", "{kind:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn looking_changes_nothing_where_a_policy_gives_a_message_up_after_two_redeliveries() {
    const COURSE: &str = "course-v1:Acme+Looked-At+1";
    let host = VirtualHost::with_delivery_limit(2);
    with_broker(Kind::Sqlite, &host.url, async |stage| {
        let worker = stage.worker(&[]).await;
        for n in 0..3 {
            let body = format!(r#"{{"type": "course-publish", "course_id": "{COURSE}", "id": "{n}"}}"#);
            bury(stage, body.into_bytes()).await;
        }
        stage.until_letters(3).await;
        let before = stage.dead_letters().await;
        for _ in 0..6 {
            for arguments in [&["dead-letters", "list"][..], &["dead-letters", "show", "--all"]] {
                stage.run(arguments).await.expect(0).says(&["3 of 3"]);
            }
            stage.run(&["explain", COURSE]).await.expect(0).says(&["for a test"]);
            let page = format!("/?course={}", COURSE.replace('+', "%2B"));
            for (path, words) in [("/", "<html"), (page.as_str(), "for a test")] {
                let (status, body) = worker.get(path).await.unwrap();
                assert!(status == 200 && body.contains(words), "{path}: {status} {body}");
            }
        }
        worker.stop().await.expect(0);
        let after = stage.dead_letters().await;
        let shown = |letters: &[Received]| format!("{letters:?}");
        assert_eq!(shown(&after), shown(&before));
        // The same where they still wait in the queue, as no worker runs.
        bury(stage, b"waiting".to_vec()).await;
        until_waiting(stage, 1).await;
        for _ in 0..6 {
            stage
                .run(&["dead-letters", "list"])
                .await
                .expect(0)
                .says(&["3 of 3", "1 more waits in the queue"]);
            stage.run(&["explain", COURSE]).await.expect(0);
        }
        let worker = stage.worker(&[]).await;
        stage.until_letters(4).await;
        worker.stop().await.expect(0);
        assert_eq!(stage.dead_letters().await.last().unwrap().body, b"waiting");
    })
    .await;
}
