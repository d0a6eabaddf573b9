//! Every form of message that the contract allows ends as the committed row, byte for byte, on each database.

use course_sharing::broker::Message;
use serde_json::{Value, json};
use test_support::raw;

use super::PAGE;
use crate::support::databases::{KINDS, Kind};
use crate::support::stage::{Stage, with_stage};

const AUTHORING: &str = "org.openedx.content_authoring";

/// A message, the routing key it is sent by, and the course it is about.
struct Case {
    course: String,
    routing_key: &'static str,
    message: Message,
}

fn body(value: &Value) -> Message {
    Message::json(value.to_string().into_bytes())
}

fn structured(kind: &str, data: &Value) -> Message {
    let event = json!({
        "specversion": "1.0", "type": kind, "source": "openedx/cms/web", "id": "1", "minorversion": 0,
        "time": "2026-11-22T16:00:00Z", "data": data,
    });
    body(&event).with_content_type("application/cloudevents+json; charset=utf-8").unwrap()
}

fn binary(prefix: &str, kind: &str, data: &Value) -> Message {
    let mut message = body(data);
    for (name, value) in [("specversion", "1.0"), ("type", kind), ("id", "1"), ("source", "openedx/cms/web")]
    {
        message = message.with_header(&format!("{prefix}{name}"), value).unwrap();
    }
    message
}

/// Each form once, each about a course of its own.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |routing_key, message: &dyn Fn(&str) -> Message| {
        let course = format!("course-v1:Acme+Form{}+2026", cases.len());
        let message = message(&course);
        cases.push(Case { course, routing_key, message });
    };
    add("course-publish", &|c| body(&json!({"type": "course-publish", "course_id": c})));
    add("overview-recreated", &|c| body(&json!({"type": "overview-recreated", "course_id": c})));
    add("course-publish", &|c| body(&json!({"course_id": c})));
    add("overview-recreated", &|c| body(&json!({"course_id": c, "more": [1, {"x": null}]})));
    add("course-publish", &|c| {
        body(
            &json!({"type": "overview-recreated", "course_id": c, "id": "7", "time": "2026-11-22T16:00:00Z"}),
        )
    });
    for name in ["course-publish", "overview-recreated"] {
        add("course-publish", &|c| structured(name, &json!({"course_id": c})));
        add("course-publish", &|c| binary("ce_", name, &json!({"course_id": c})));
    }
    let catalog_info = format!("{AUTHORING}.course.catalog_info.changed.v1");
    let data = |c: &str| json!({"catalog_info": {"course_key": c, "name": "A course"}});
    add("course-publish", &|c| structured(&catalog_info, &data(c)));
    for prefix in ["cloudEvents:", "cloudEvents_", "ce_"] {
        add("course-publish", &|c| binary(prefix, &catalog_info, &data(c)));
    }
    for name in ["created", "import.completed", "rerun.completed"] {
        let kind = format!("{AUTHORING}.course.{name}.v1");
        let data = |c: &str| json!({"course": {"course_key": c}});
        add("course-publish", &|c| structured(&kind, &data(c)));
        add("overview-recreated", &|c| binary("ce_", &kind, &data(c)));
    }
    cases
}

async fn all_forms(kind: Kind) {
    with_stage(kind, async |stage| {
        let cases = cases();
        for Case { course, .. } in &cases {
            stage.course(course, None, Some(&format!("{PAGE}/{course}?q=%C3%89+é"))).await;
        }
        let worker = stage.worker(&[]).await;
        for Case { routing_key, message, .. } in &cases {
            stage.publish(routing_key, message).await;
        }
        for Case { course, .. } in &cases {
            stage.until_link(course, Some(&format!("{PAGE}/{course}?q=%C3%89+é"))).await;
        }
        worker.stop().await.expect(0);
        stage.wait_for_ready(0, 0, 0).await;
    })
    .await;
}

#[tokio::test]
async fn every_form_ends_as_the_row_on_sqlite() {
    all_forms(Kind::Sqlite).await;
}

#[tokio::test]
async fn every_form_ends_as_the_row_on_postgresql() {
    all_forms(Kind::Postgres).await;
}

#[tokio::test]
async fn every_form_ends_as_the_row_on_mariadb() {
    all_forms(Kind::Mysql).await;
}

async fn publish(stage: &Stage, course: &str) {
    stage.publish("course-publish", &body(&json!({"course_id": course}))).await;
}

#[tokio::test]
async fn every_form_of_key_has_its_row() {
    for kind in KINDS {
        with_stage(kind, async |stage| {
            let keys = [
                ("course-v1:ÉcoleX+Français_101+2026.T1~a", "ecole"),
                ("course-v1:学校+コース+2026", "school"),
                ("Org/Course-1.x/2016_T1", "old"),
                ("course-v1:Acme+Parent+2026", "parent"),
            ];
            for (key, slug) in keys {
                stage.course(key, None, Some(&format!("{PAGE}/{slug}"))).await;
            }
            let child = "ccx-v1:Acme+Parent+2026+ccx@7";
            stage.database.insert_overview(child, None).await;
            let worker = stage.worker(&[]).await;
            for (key, slug) in keys {
                publish(stage, key).await;
                stage.until_link(key, Some(&format!("{PAGE}/{slug}"))).await;
            }
            // A custom course is not in the Catalog, and has its parent's page.
            publish(stage, child).await;
            stage.until_link(child, Some(&format!("{PAGE}/parent"))).await;
            assert!(!stage.catalog.stats().targets.iter().any(|target| target.contains("ccx")), "{kind:?}");
            worker.stop().await.expect(0);
        })
        .await;
    }
}

#[tokio::test]
async fn keys_that_differ_only_in_case_or_accent_are_two_courses() {
    // MariaDB holds one of each pair only, and finds it by the other's key.
    with_stage(Kind::Mysql, async |stage| {
        let (small, large) = ("course-v1:acme+case+1", "course-v1:ACME+Case+1");
        stage.database.insert_overview(small, None).await;
        stage.catalog.put(small, Some(&format!("{PAGE}/small")));
        stage.catalog.put(large, Some(&format!("{PAGE}/large")));
        stage.course("course-v1:EcoleX+a+1", None, Some(&format!("{PAGE}/plain"))).await;
        stage.catalog.put("course-v1:ÉcoleX+a+1", Some(&format!("{PAGE}/accent")));
        let worker = stage.worker(&[]).await;
        for key in [large, "course-v1:ÉcoleX+a+1", small, "course-v1:EcoleX+a+1"] {
            publish(stage, key).await;
        }
        stage.until_link(small, Some(&format!("{PAGE}/small"))).await;
        stage.until_link("course-v1:EcoleX+a+1", Some(&format!("{PAGE}/plain"))).await;
        // The other two have no overview: they wait for one.
        stage.wait_for_ready(0, 2, 0).await;
        assert_eq!(stage.database.link(small).await.flatten(), Some(format!("{PAGE}/small")));
        worker.stop().await.expect(0);
    })
    .await;
}

#[tokio::test]
async fn messages_that_no_client_can_read_are_dead_letters_at_once_and_the_good_ones_are_applied() {
    with_stage(Kind::Sqlite, async |stage| {
        let course = "course-v1:Acme+Behind+1";
        stage.course(course, None, Some(&format!("{PAGE}/behind"))).await;
        let worker = stage.worker(&[]).await;
        // The deepest that a frame of 128 KiB can carry, and a content type that is not UTF-8.
        for properties in [raw::nested(raw::DEEPEST), raw::no_utf_8()] {
            let exchange = &stage.rig.config.exchange;
            stage.rig.publish_raw(exchange, "course-publish", &properties, b"{}").await;
        }
        publish(stage, course).await;
        stage.until_link(course, Some(&format!("{PAGE}/behind"))).await;
        stage.until_letters(2).await;
        let ended = worker.stop().await.expect(0);
        // However many lines they make.
        let letters = ended
            .logged("event.dead_lettered")
            .iter()
            .map(|line| line["letters"].as_u64().unwrap())
            .sum::<u64>();
        assert_eq!(letters, 2, "{}", ended.stderr);
        assert_eq!(ended.logged("consumer.detached").len(), 0, "{}", ended.stderr);
        let ended = stage.run(&["dead-letters", "show", "--reason", "nested more than"]).await.expect(0);
        ended.says(&["course-publish", "properties:"]);
        stage.run(&["dead-letters", "discard", "--reason", "not UTF-8"]).await.expect(0).says(&["1 of 2"]);
        stage.run(&["dead-letters", "discard", "--all", "--yes"]).await.expect(0).says(&["1 of 1"]);
    })
    .await;
}
