//! The traces of whatever can happen to a link, as a collector gets them: held against OpenTelemetry's conventions, and
//! searched as an operator would.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use course_sharing::broker::Message;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};

use super::PAGE;
use super::hints::time_is_up;
use crate::support::collector::{Collector, hex};
use crate::support::databases::Kind;
use crate::support::process::Program;
use crate::support::stage::{SOON, Stage, with_stage};
use crate::support::wait_until;
use stand_in::{Draft, Fault, Health};

const SENDER: &str = "0af7651916cd43dd8448eb211c80319c";
const CHANGED: &str = "course-v1:Acme+Changed+1";
const PARKED: &str = "course-v1:Acme+Parked+1";
const LOST: &str = "course-v1:Acme+Lost+1";
const HINTED: &str = "course-v1:Acme+Hinted+1";
const BROKEN: &str = "course-v1:Acme+Broken+1";

/// What one kind of span says, by the semantic conventions 1.44.0. Found by an attribute and its value, or any value.
struct Convention {
    is: (&'static str, &'static str),
    kind: SpanKind,
    always: &'static [&'static str],
    sometimes: &'static [&'static str],
}

const MESSAGING: &[&str] = &[
    "messaging.system",
    "messaging.operation.name",
    "messaging.operation.type",
    "messaging.destination.name",
];
const CONVENTIONS: [Convention; 6] = [
    Convention {
        is: ("messaging.operation.type", "process"),
        kind: SpanKind::Consumer,
        always: MESSAGING,
        sometimes: &[
            "messaging.batch.message_count",
            "messaging.message.id",
            "messaging.rabbitmq.destination.routing_key",
            "messaging.rabbitmq.message.delivery_tag",
        ],
    },
    Convention {
        is: ("messaging.operation.type", "send"),
        kind: SpanKind::Producer,
        always: MESSAGING,
        sometimes: &["messaging.message.id", "messaging.rabbitmq.destination.routing_key"],
    },
    Convention {
        is: ("messaging.operation.type", "settle"),
        kind: SpanKind::Client,
        always: MESSAGING,
        sometimes: &["messaging.batch.message_count"],
    },
    Convention {
        is: ("http.request.method", ""),
        kind: SpanKind::Client,
        always: &["http.request.method", "server.address", "server.port", "url.full", "url.template"],
        sometimes: &["http.request.resend_count", "http.response.status_code"],
    },
    Convention {
        is: ("db.system.name", ""),
        kind: SpanKind::Client,
        always: &["db.system.name", "db.operation.name", "db.query.summary"],
        sometimes: &["db.collection.name", "db.response.returned_rows", "db.response.status_code"],
    },
    Convention {
        is: ("process.executable.name", ""),
        kind: SpanKind::Internal,
        always: &["process.executable.name", "process.exit.code"],
        sometimes: &[],
    },
];
/// Those that are numbers.
const NUMBERS: [&str; 7] = [
    "messaging.batch.message_count",
    "messaging.rabbitmq.message.delivery_tag",
    "server.port",
    "http.request.resend_count",
    "http.response.status_code",
    "db.response.returned_rows",
    "process.exit.code",
];

/// All spans of one test.
struct Spans(Vec<Span>);

impl Spans {
    fn root<'s>(&'s self, mut span: &'s Span) -> &'s Span {
        while !span.parent_span_id.is_empty() {
            let parent = self.0.iter().find(|other| other.span_id == span.parent_span_id);
            span = parent.unwrap_or_else(|| panic!("no parent of {span:?}"));
        }
        span
    }

    /// The names of all spans below this one.
    fn below(&self, root: &Span) -> BTreeSet<&str> {
        let is_below = |span: &&Span| span.span_id != root.span_id && self.root(span).span_id == root.span_id;
        self.0.iter().filter(is_below).map(|span| span.name.as_str()).collect()
    }

    /// What a search by an attribute finds, in the order of time.
    fn with(&self, name: &str, value: &Value) -> Vec<&Span> {
        let mut found: Vec<&Span> = self.0.iter().filter(|span| get(span, name) == Some(value)).collect();
        found.sort_by_key(|span| span.start_time_unix_nano);
        found
    }

    #[track_caller]
    fn named(&self, name: &str) -> &Span {
        let found = self.0.iter().find(|span| span.name == name);
        found.unwrap_or_else(|| panic!("no {name:?} among {:?}", self.names()))
    }

    fn names(&self) -> BTreeSet<&str> {
        self.0.iter().map(|span| span.name.as_str()).collect()
    }
}

fn get<'s>(span: &'s Span, name: &str) -> Option<&'s Value> {
    span.attributes.iter().find(|attribute| attribute.key == name)?.value.as_ref()?.value.as_ref()
}

fn text(value: &str) -> Value {
    Value::StringValue(value.to_owned())
}

fn is_linked(span: &Span, trace: &[u8]) -> bool {
    span.links.iter().any(|link| link.trace_id == trace)
}

fn failed(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
}

fn start(stage: &Stage, arguments: &[&str], settings: &[(&str, &str)], collector: SocketAddr) -> Program {
    let mut environment = stage.environment(settings);
    environment.push(("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), format!("http://{collector}")));
    environment.push(("OTEL_METRICS_EXPORTER".to_owned(), "none".to_owned()));
    Program::start(arguments, &environment)
}

/// Lets all of it happen, and returns what the collector got.
async fn everything(stage: &Stage) -> Collector {
    let (collector, address) = Collector::start().await;
    stage.course(CHANGED, None, Some(PAGE)).await;
    stage.course(PARKED, None, Some(PAGE)).await;
    stage.course(HINTED, None, None).await;
    stage.rig.declare().await;
    start(stage, &["publish", "course-publish", CHANGED], &[], address).ended().await.expect(0);

    let worker = start(stage, &["worker"], &[], address);
    stage.until_link(CHANGED, Some(PAGE)).await;
    // An outage, and its end. The worker would know the event again that comes back before its time.
    stage.catalog.script([Fault::Status(403)]);
    let message = Message::json(format!(r#"{{"course_id": "{PARKED}", "id": "m-1"}}"#).into_bytes());
    let sender = format!("00-{SENDER}-b7ad6b7169203331-01");
    stage.publish("course-publish", &message.with_header("traceparent", &sender).unwrap()).await;
    stage.wait_for_ready(0, 1, 0).await;
    worker.stop().await.expect(0);
    assert_eq!(time_is_up(stage, 10).await, 1);
    let settings = [("heal.interval", "1s"), ("reconcile.delta_interval", "1s")];
    let worker = start(stage, &["worker"], &settings, address);
    stage.until_link(PARKED, Some(PAGE)).await;
    // A dead letter, and a heal.
    stage.publish("course-publish", &Message::json(format!("{LOST} is no JSON").into_bytes())).await;
    stage.until_letters(1).await;
    stage.database.execute("UPDATE course_overviews_courseoverview SET marketing_url = NULL").await;
    stage.until_link(CHANGED, Some(PAGE)).await;
    // A hint.
    stage.catalog.put(HINTED, Some(PAGE));
    let asked = async || stage.database.store.hint_position().await.unwrap().is_some();
    wait_until(SOON, "the Catalog was asked", asked).await;
    stage.catalog.save_draft(Draft::new(HINTED, Some(PAGE)));
    stage.until_link(HINTED, Some(PAGE)).await;
    worker.stop().await.expect(0);

    // A pass with a broken run.
    stage.catalog.put_broken(BROKEN, Health::NoType);
    start(stage, &["reconcile"], &[], address).ended().await.expect(0);
    collector
}

fn is_by_the_conventions(span: &Span) {
    let says = |(name, value): (&str, &str)| {
        get(span, name).is_some_and(|found| value.is_empty() || found == &text(value))
    };
    let convention = CONVENTIONS.iter().find(|convention| says(convention.is));
    let (always, sometimes) = convention.map_or((&[][..], &[][..]), |c| (c.always, c.sometimes));
    assert_eq!(span.kind(), convention.map_or(SpanKind::Internal, |c| c.kind), "{}", span.name);
    for name in always {
        assert!(get(span, name).is_some(), "{} has no {name}", span.name);
    }
    for attribute in &span.attributes {
        let name = attribute.key.as_str();
        let is_known = always.contains(&name) || sometimes.contains(&name);
        let is_of_a_failure = name == "error.type" && failed(span);
        assert!(is_known || is_of_a_failure || name.starts_with("course_sharing."), "{}: {name}", span.name);
        let is_number = matches!(get(span, name), Some(Value::IntValue(_)));
        assert!(!is_known || is_number == NUMBERS.contains(&name), "{}: {attribute:?}", span.name);
    }
    if let (Some(Value::StringValue(operation)), Some(Value::StringValue(destination))) =
        (get(span, "messaging.operation.name"), get(span, "messaging.destination.name"))
    {
        assert_eq!(span.name, format!("{operation} {destination}"));
    }
}

fn every_span_lies_within_its_root(spans: &Spans) {
    for span in &spans.0 {
        let root = spans.root(span);
        let times = |span: &Span| (span.start_time_unix_nano, span.end_time_unix_nano);
        let ((from, to), (begins, ends)) = (times(root), times(span));
        assert!(from <= begins && ends <= to, "{} outlives {}", span.name, root.name);
    }
}

fn each_process_is_named(collector: &Collector) {
    let mut instances: BTreeMap<String, String> = BTreeMap::new();
    for request in collector.bodies::<ExportTraceServiceRequest>("/v1/traces") {
        for resource in request.resource_spans {
            let says = |name: &str| {
                let attributes = &resource.resource.as_ref().unwrap().attributes;
                let found = attributes.iter().find(|attribute| attribute.key == name);
                match found.and_then(|attribute| attribute.value.as_ref()?.value.clone()) {
                    Some(Value::StringValue(text)) => text,
                    other => panic!("{name}: {other:?}"),
                }
            };
            instances.insert(says("service.instance.id"), says("service.version"));
        }
    }
    assert_eq!(instances.len(), 4, "one for each process: {instances:?}");
}

/// An event that changes a link: one trace, from the publisher's.
fn an_event_that_changes_a_link(spans: &Spans, stage: &Stage) {
    let [event] = spans.with("course_sharing.course_id", &text(CHANGED))[..] else { panic!("not one") };
    assert!(event.parent_span_id.is_empty());
    assert_eq!(get(event, "course_sharing.outcome"), Some(&text("applied")));
    assert_eq!(get(event, "course_sharing.attempt"), Some(&Value::IntValue(0)));
    assert!(matches!(get(event, "course_sharing.queue_waited"), Some(Value::DoubleValue(s)) if *s > 0.0));
    assert!(get(event, "messaging.message.id").is_some());
    let publishing = spans.named("course-sharing publish");
    assert!(is_linked(event, &publishing.trace_id));
    let exchange = &stage.rig.config.exchange;
    assert!(spans.below(publishing).contains(format!("send {exchange}:course-publish").as_str()));
    let ack = format!("ack {exchange}:{}", stage.rig.config.queue);
    let steps = ["restore", "restore links", "batch", "look_up", "write", "plan", "apply", "commit", &ack];
    for step in steps.into_iter().chain(["GET /api/v1/course_runs/"]) {
        assert!(spans.below(event).contains(step), "{step}: {:?}", spans.below(event));
    }
    let step = |name: &str| {
        let is_it = |span: &&Span| span.name == name && span.trace_id == event.trace_id;
        spans.0.iter().find(is_it).unwrap()
    };
    assert_eq!(get(step("write"), "course_sharing.rows_written"), Some(&Value::IntValue(1)));
    assert_eq!(get(step("look_up"), "course_sharing.keys_asked"), Some(&Value::IntValue(1)));
    assert_eq!(get(step("write links"), "db.response.returned_rows"), Some(&Value::IntValue(1)));
    let table = text("course_overviews_courseoverview");
    assert_eq!(get(step("write links"), "db.collection.name"), Some(&table));
    let Some(Value::ArrayValue(courses)) = get(step("batch"), "course_sharing.course_ids") else { panic!() };
    assert_eq!(courses.values[0].value, Some(text(CHANGED)));
}

/// One that is parked and comes back: a trace each time, linked to the one before and to the sender.
fn an_event_that_is_parked_and_comes_back(spans: &Spans) {
    let tries = spans.with("course_sharing.course_id", &text(PARKED));
    let [first, last] = tries[..] else { panic!("not twice: {tries:?}") };
    assert!(tries.iter().all(|span| hex(&span.links[0].trace_id) == SENDER));
    assert!(is_linked(last, &first.trace_id));
    assert_eq!(get(first, "course_sharing.outcome"), Some(&text("parked")));
    assert!(failed(first) && get(first, "course_sharing.reason").is_some());
    assert_eq!(get(last, "course_sharing.outcome"), Some(&text("applied")));
    assert_eq!(spans.with("messaging.message.id", &text("m-1")), tries);
}

/// A dead letter, up to its row.
fn a_dead_letter(spans: &Spans, stage: &Stage) {
    let [dead] = spans.with("course_sharing.outcome", &text("dead_lettered"))[..] else { panic!("not one") };
    assert!(failed(dead) && get(dead, "course_sharing.reason").is_some());
    let taken = spans.named(&format!("process {}", stage.rig.topology.dead));
    assert!(is_linked(taken, &dead.trace_id));
    assert!(spans.below(taken).contains("keep dead letters"), "{:?}", spans.below(taken));
}

/// A heal, a hint with its event, and a pass with a broken run.
fn a_heal_a_hint_and_a_pass(spans: &Spans) {
    let wrote = |span: &Span| matches!(get(span, "course_sharing.rows_written"), Some(Value::IntValue(rows)) if *rows > 0);
    let healing = |span: &&Span| span.name == "heal" && wrote(span);
    let heal = spans.0.iter().find(healing).unwrap();
    assert!(spans.below(heal).contains("write links"));
    let hinted = spans.with("course_sharing.course_id", &text(HINTED));
    let hints = |span: &&Span| span.name == "hints" && is_linked(hinted[0], &span.trace_id);
    let hints = spans.0.iter().find(hints).unwrap_or_else(|| panic!("no hints for {hinted:?}"));
    assert!(spans.below(hints).contains("GET /api/v1/courses/"));
    let pass = spans.named("reconcile");
    assert_eq!(spans.root(pass).name, "course-sharing reconcile");
    assert_eq!(get(pass, "course_sharing.broken_runs"), Some(&Value::IntValue(1)));
    assert_eq!(get(pass, "course_sharing.outcome"), Some(&text("complete")));
    let failing = |span: &&Span| span.name == "page" && failed(span);
    let page = spans.0.iter().find(failing).unwrap();
    assert_eq!(get(page, "error.type"), Some(&text("server_error")));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_a_link_is_a_trace_that_can_be_searched() {
    with_stage(Kind::Postgres, async |stage| {
        let collector = everything(stage).await;
        let spans = Spans(collector.spans());
        spans.0.iter().for_each(is_by_the_conventions);
        every_span_lies_within_its_root(&spans);
        each_process_is_named(&collector);
        an_event_that_changes_a_link(&spans, stage);
        an_event_that_is_parked_and_comes_back(&spans);
        a_dead_letter(&spans, stage);
        a_heal_a_hint_and_a_pass(&spans);
    })
    .await;
}
