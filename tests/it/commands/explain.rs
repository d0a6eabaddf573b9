//! `explain`: why a course's link is as it is, also with the broker away.

use course_sharing::broker::Message;

use crate::support::databases::Kind;
use crate::support::stage::with_stage;

const KEY: &str = "course-v1:Acme+Explain+1";
const URL: &str = "https://www.campus.example/course/explain";

#[tokio::test]
async fn overview_ledger_pending_clear_and_dead_letter_are_told() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.course(KEY, None, Some(URL)).await;
        stage.rig.declare().await;
        stage.run(&["sync", KEY]).await.expect(0);
        stage.run(&["explain", KEY]).await.expect(0).says(&[KEY, URL]);
        stage.catalog.put(KEY, None);
        stage.run(&["sync", KEY]).await.expect(0);
        let body = format!(r#"{{"type": "course-publish", "course_id": "{KEY}"}}"#);
        let letter = Message::json(body.into_bytes());
        let letter = letter.with_header("x-course-sharing-reason", "for a test").unwrap();
        stage.rig.publisher.publish("", &stage.rig.topology.dead, &letter).await.unwrap();
        let worker = stage.worker(&[]).await;
        stage.until_letters(1).await;
        worker.stop().await.expect(0);
        stage.run(&["explain", KEY]).await.expect(0).says(&[URL, "no page", "for a test"]);
        let known = stage.run(&["explain", KEY, "--output", "json"]).await.expect(0).json();
        assert_eq!((&known["course_id"], &known["ledger"]["url"]), (&KEY.into(), &URL.into()), "{known:#}");
        assert_eq!(known["shared_link"]["source"], "marketing");
        assert_eq!(known["dead_letters"][0]["reason"], "for a test");
        assert!(known["ledger"]["pending_clear_since"].is_string(), "{known:#}");
    })
    .await;
}

#[tokio::test]
async fn what_nobody_knows_is_told_too_and_no_broker_is_needed() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.course(KEY, Some(URL), None).await;
        let settings = [("amqp.url", "amqp://someone:hunter2@127.0.0.1:1/%2f")];
        let ended = stage.run_with(&settings, &["explain", KEY]).await.expect(0);
        ended.says(&[URL]);
        ended.keeps_quiet_about("127.0.0.1:1");
        stage.run(&["explain", "course-v1:Acme+Nobody+1"]).await.expect(0).says(&["course-v1:Acme+Nobody+1"]);
        stage.run(&["explain", "no key"]).await.expect(2);
    })
    .await;
}
