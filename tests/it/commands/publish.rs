//! `publish`: as Studio would, and no claim without the broker's word.

use crate::support::databases::Kind;
use crate::support::stage::with_stage;

#[tokio::test]
async fn a_worker_acts_on_what_was_published() {
    with_stage(Kind::Sqlite, async |stage| {
        let keys = ["course-v1:Acme+P+1", "course-v1:Acme+P+2"];
        for key in keys {
            stage.course(key, None, Some("https://www.campus.example/course/p")).await;
        }
        let worker = stage.worker(&[]).await;
        let ended = stage.run(&["publish", "course-publish", keys[0]]).await.expect(0);
        ended.says(&["published course-publish", keys[0]]);
        let arguments = ["publish", "overview-recreated", keys[1], keys[1], "--output", "json"];
        let published = stage.run(&arguments).await.expect(0).json();
        assert_eq!(published["published"][1]["course_id"], keys[1], "{published:#}");
        let many: Vec<_> = ["publish", "course-publish"].into_iter().chain([keys[0]; 11]).collect();
        let ended = stage.run(&many).await.expect(0);
        assert_eq!(ended.stdout, "published 11 course-publish events\n");
        for key in keys {
            stage.until_link(key, Some("https://www.campus.example/course/p")).await;
        }
        worker.stop().await.expect(0);
    })
    .await;
}

#[tokio::test]
async fn an_exchange_that_leads_nowhere_is_1_and_named() {
    with_stage(Kind::Sqlite, async |stage| {
        let arguments = ["publish", "course-publish", "course-v1:Acme+P+1"];
        let exchange = stage.rig.config.exchange.clone();
        // Not there at all.
        let ended = stage.run(&arguments).await.expect(1);
        ended.says(&[&exchange]);
        assert!(!ended.stdout.contains("published"), "{ended:?}");
        // There, with no queue behind it for this key: a broker confirms that, and drops the message.
        stage.rig.declare().await;
        let settings = [("amqp.exchange", "amq.topic")];
        let ended = stage.run_with(&settings, &arguments).await.expect(1);
        ended.says(&["amq.topic", "course-publish"]);
        assert!(!ended.stdout.contains("published"), "{ended:?}");
    })
    .await;
}
