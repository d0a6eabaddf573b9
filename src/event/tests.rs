//! Every form of message, every reason for a dead letter, and random bytes.

use proptest::prelude::*;

use super::decode::MAX_BODY_BYTES;
use super::*;

const JSON: Option<&str> = Some("application/json");
const CLOUD: Option<&str> = Some("application/cloudevents+json; charset=UTF-8");
const COURSE: &str = "course-v1:edX+DemoX+2026";

fn read(
    body: impl AsRef<[u8]>,
    routing_key: &str,
    content_type: Option<&str>,
    headers: &[(&str, &str)],
) -> Result<Decoded, DecodeError> {
    let header = |name: &str| {
        let found = headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| (*value).to_owned())
    };
    decode(&Raw { body: body.as_ref(), routing_key, content_type, header: &header })
}

fn event(decoded: Result<Decoded, DecodeError>) -> Event {
    match decoded {
        Ok(Decoded::Event(event)) => event,
        other => panic!("expected an event, not {other:?}"),
    }
}

fn reason(body: impl AsRef<[u8]>) -> String {
    read(body, "course-publish", JSON, &[]).unwrap_err().to_string()
}

#[test]
fn native_messages_are_read() {
    let body = format!(
        r#"{{"type": "overview-recreated", "course_id": "{COURSE}", "id": "a", "time": "2026-11-22T17:00:00+01:00", "new": [1]}}"#
    );
    let read_back = event(read(body, "course-publish", None, &[]));
    assert_eq!(read_back.kind, EventKind::OverviewRecreated, "the stated type wins over the routing key");
    assert_eq!(read_back.course.as_str(), COURSE);
    assert_eq!(read_back.id.as_deref(), Some("a"));
    assert_eq!(read_back.time.unwrap().to_rfc3339(), "2026-11-22T16:00:00+00:00");

    let short = event(read(format!(r#"{{"course_id":"{COURSE}"}}"#), "overview-recreated", JSON, &[]));
    assert_eq!((short.kind, short.id, short.time), (EventKind::OverviewRecreated, None, None));
}

#[test]
fn what_only_informs_may_be_wrong() {
    for extra in [r#""time":"soon""#, r#""time":5,"id":[]"#, r#""time":null,"id":null"#] {
        let read = event(read(format!(r#"{{"course_id":"{COURSE}",{extra}}}"#), "course-publish", JSON, &[]));
        assert_eq!((read.time, read.id), (None, None));
    }
}

/// Each type of CloudEvent with its data.
fn cloud_events() -> Vec<(String, String, EventKind)> {
    let authoring = |name| format!("org.openedx.content_authoring.course.{name}.v1");
    let in_course = format!(r#"{{"course":{{"course_key":"{COURSE}"}}}}"#);
    let in_info = format!(r#"{{"catalog_info":{{"course_key":"{COURSE}","name":"x"}}}}"#);
    let plain = format!(r#"{{"course_id":"{COURSE}"}}"#);
    vec![
        (authoring("catalog_info.changed"), in_info, EventKind::CoursePublish),
        (authoring("created"), in_course.clone(), EventKind::CoursePublish),
        (authoring("import.completed"), in_course.clone(), EventKind::CoursePublish),
        (authoring("rerun.completed"), in_course, EventKind::CoursePublish),
        ("course-publish".to_owned(), plain.clone(), EventKind::CoursePublish),
        ("overview-recreated".to_owned(), plain, EventKind::OverviewRecreated),
    ]
}

#[test]
fn structured_cloud_events_are_read() {
    for (name, data, kind) in cloud_events() {
        let body = format!(
            r#"{{"specversion":"1.0","id":"i","source":"openedx/cms/web","type":"{name}","time":"2026-11-22T16:00:00Z","data":{data}}}"#
        );
        for content_type in [CLOUD, JSON, None, Some("Application/CloudEvents+JSON")] {
            let read = event(read(&body, "elsewhere", content_type, &[]));
            assert_eq!((read.kind, read.course.as_str()), (kind, COURSE));
            assert_eq!(read.id.as_deref(), Some("i"));
            assert!(read.time.is_some());
        }
    }
}

#[test]
fn binary_cloud_events_are_read() {
    for (name, data, kind) in cloud_events() {
        for prefix in ["cloudEvents:", "cloudEvents_", "ce_", "CE_", "cloudevents:"] {
            let (of_type, of_id, of_time) =
                (format!("{prefix}type"), format!("{prefix}id"), format!("{prefix}time"));
            let headers = [(&*of_type, &*name), (&*of_id, "i"), (&*of_time, "2026-11-22T16:00:00.5Z")];
            let read = event(read(&data, "elsewhere", JSON, &headers));
            assert_eq!((read.kind, read.course.as_str()), (kind, COURSE));
            assert_eq!(read.id.as_deref(), Some("i"));
            assert!(read.time.is_some());
        }
    }
}

#[test]
fn what_is_no_course_run_is_ignored() {
    for key in ["library-v1:edX+Lib", "lib:edX:Lib", "block-v1:a+b+c+type@video+block@d"] {
        let read = read(format!(r#"{{"course_id":"{key}"}}"#), "course-publish", JSON, &[]);
        assert!(matches!(&read, Ok(Decoded::Ignored(ignored)) if ignored.contains(key)), "{read:?}");
    }
    let name = "org.openedx.content_authoring.content_library.updated.v1";
    let read = read("{}", "course-publish", JSON, &[("ce_type", name)]);
    assert!(matches!(&read, Ok(Decoded::Ignored(ignored)) if ignored.contains(name)), "{read:?}");
}

#[test]
fn what_cannot_be_understood_is_named() {
    for (body, said) in [
        ("", "the body is empty"),
        ("{\"course_id\":\n x}", r#"the body is not JSON: expected value (line 2, column 2)"#),
        ("{} {}", "the body is not JSON: trailing characters (line 1, column 4)"),
        ("[]", r#"field "(body)" is a list; expected an object"#),
        ("\"x\"", r#"field "(body)" is a string; expected an object"#),
        ("{}", r#"field "course_id" is missing"#),
        (r#"{"course_id":null}"#, r#"field "course_id" is missing"#),
        (r#"{"course_id":5}"#, r#"field "course_id" is a number; expected a string"#),
        (r#"{"course_id":"a/b/c","course_id":"a/b/d"}"#, r#"field "course_id" is there twice"#),
        (r#"{"course_id":"a/b/c","x":NaN}"#, "the body is not JSON: expected value (line 1, column 26)"),
        (
            r#"{"specversion":"1.0","type":"course-publish","data":{"course_id":"a/b/c","course_id":null}}"#,
            r#"field "course_id" is there twice"#,
        ),
        (r#"{"type":true}"#, r#"field "type" is a boolean; expected a string"#),
        (r#"{"type":"course\n-deleted"}"#, r#"unknown event type "course\n-deleted""#),
        (
            r#"{"specversion":"0.3","type":"course-publish","data":{}}"#,
            r#"field "specversion" is "0.3"; expected "1.0""#,
        ),
        (
            r#"{"specversion":"1.0","type":"course-publish","data":{"course_id":[]}}"#,
            r#"field "data.course_id" is a list; expected a string"#,
        ),
        (
            r#"{"specversion":"1.0","type":"org.openedx.content_authoring.course.created.v1","data":{"course":{}}}"#,
            r#"field "data.course.course_key" is missing"#,
        ),
        (
            r#"{"specversion":"1.0","type":"org.openedx.content_authoring.course.created.v1","data":{"course":"x"}}"#,
            r#"field "data.course" is a string; expected an object"#,
        ),
        (r#"{"course_id":"course-v1:a b+c+d"}"#, r#""course-v1:a b+c+d" is not a course key"#),
    ] {
        let reason = reason(body);
        assert!(reason.starts_with(said), "{reason:?} does not begin with {said:?}");
    }
    assert_eq!(reason(b"{\"a\":\"\xff\"}"), "the body is not UTF-8 (byte 6)");
    assert_eq!(
        reason(vec![b' '; MAX_BODY_BYTES + 1]),
        "the body has 65537 bytes, more than the 65536 allowed"
    );
    let lost = read(r#"{"course_id":"a/b/c"}"#, "course-sharing.events", JSON, &[]).unwrap_err();
    assert!(lost.to_string().contains("the routing key \"course-sharing.events\" is no type"), "{lost}");
    assert_eq!(read("{}", "x", CLOUD, &[]).unwrap_err().to_string(), r#"field "specversion" is missing"#);
}

#[test]
fn depth_does_not_reach_the_stack() {
    let depth = MAX_BODY_BYTES / 2 - 1;
    let lists = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for body in [lists, "[".repeat(depth), "{\"a\":".repeat(depth / 3)] {
        assert!(reason(body).contains("recursion limit exceeded"));
    }
}

#[test]
fn a_body_of_the_greatest_length_is_read() {
    let mut body = format!(r#"{{"course_id":"{COURSE}","pad":""#);
    body.push_str(&"x".repeat(MAX_BODY_BYTES - body.len() - 2));
    body.push_str("\"}");
    assert_eq!(body.len(), MAX_BODY_BYTES);
    event(read(body, "course-publish", JSON, &[]));
}

proptest! {
    #[test]
    fn no_bytes_panic_and_every_reason_is_short(
        body in prop::collection::vec(any::<u8>(), 0..200),
        key in ".{0,300}",
        header in prop::option::of(".{0,300}"),
    ) {
        let headers: Vec<(&str, &str)> = header.iter().map(|value| ("ce_type", value.as_str())).collect();
        if let Err(error) = read(&body, &key, CLOUD, &headers) {
            prop_assert!(error.to_string().chars().count() < 1000);
        }
    }

    #[test]
    fn no_document_panics_and_every_reason_is_one_line(
        name in ".{0,20}", value in ".{0,300}", kind in prop::option::of(".{0,300}"), shape in 0..4,
    ) {
        let value = match shape {
            0 => serde_json::json!(value),
            1 => serde_json::json!({ &name: value }),
            2 => serde_json::json!([value]),
            _ => serde_json::json!(null),
        };
        let body = serde_json::json!({ "type": kind, "course_id": value, &name: 1 }).to_string();
        if let Err(error) = read(body, "course-publish", JSON, &[]) {
            prop_assert!(!error.to_string().contains(['\n', '\r', '\0']), "{error}");
        }
    }

    #[test]
    fn what_is_written_is_read_back(
        publish: bool,
        org in "[a-zA-Zé_-]{1,9}",
        id in prop::option::of(".{1,40}"),
        seconds in prop::option::of(0i64..4_000_000_000),
    ) {
        let sent = Event {
            kind: if publish { EventKind::OverviewRecreated } else { EventKind::CoursePublish },
            course: CourseKey::parse(&format!("course-v1:{org}+C+R")).unwrap(),
            time: seconds.and_then(|s| DateTime::from_timestamp(s, 0)),
            id,
        };
        prop_assert_eq!(event(read(sent.to_json(), "elsewhere", JSON, &[])), sent);
    }
}
