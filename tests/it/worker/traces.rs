//! The trace of one event, from whoever sent it to the committed row, as a collector gets it; and that of a pass.

use course_sharing::broker::Message;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};

use super::PAGE;
use crate::support::collector::{Collector, attribute, hex};
use crate::support::databases::Kind;
use crate::support::process::Program;
use crate::support::stage::{Stage, with_stage};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const KEY: &str = "course-v1:Acme+Traced+1";

fn start(stage: &Stage, command: &str, collector: std::net::SocketAddr) -> Program {
    let mut environment = stage.environment(&[]);
    environment.push(("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), format!("http://{collector}")));
    environment.push(("OTEL_METRICS_EXPORTER".to_owned(), "none".to_owned()));
    Program::start(&[command], &environment)
}

/// Everything below these spans.
fn below<'s>(spans: &'s [Span], roots: &[&'s Span]) -> Vec<&'s Span> {
    let mut found: Vec<&Span> = Vec::new();
    let mut parents: Vec<&[u8]> = roots.iter().map(|span| &span.span_id[..]).collect();
    while let Some(parent) = parents.pop() {
        for child in spans.iter().filter(|span| span.parent_span_id == parent) {
            parents.push(&child.span_id);
            found.push(child);
        }
    }
    found
}

#[track_caller]
fn named<'s>(spans: &[&'s Span], name: &str) -> &'s Span {
    let names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name:?} in {names:?}"))
}

fn text(value: &str) -> Value {
    Value::StringValue(value.to_owned())
}

fn is_request_to_the_catalog(span: &Span, stage: &Stage) {
    assert_eq!(span.kind(), SpanKind::Client);
    assert_eq!(attribute(&span.attributes, "http.request.method"), &text("GET"));
    assert_eq!(attribute(&span.attributes, "http.response.status_code"), &Value::IntValue(200));
    assert_eq!(attribute(&span.attributes, "server.address"), &text("127.0.0.1"));
    let port = stage.catalog.url().rsplit(':').next().unwrap().parse().unwrap();
    assert_eq!(attribute(&span.attributes, "server.port"), &Value::IntValue(port));
    let Value::StringValue(url) = attribute(&span.attributes, "url.full") else { panic!("no text") };
    assert!(url.starts_with(&format!("{}/api/v1/course_runs/?", stage.catalog.url())), "{url}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_can_be_followed_from_its_sender_to_the_commit() {
    with_stage(Kind::Postgres, async |stage| {
        let (collector, address) = Collector::start().await;
        stage.course(KEY, None, Some(PAGE)).await;
        stage.rig.declare().await;
        let worker = start(stage, "worker", address);
        let message = Message::json(format!(r#"{{"course_id": "{KEY}"}}"#).into_bytes());
        let sender = format!("00-{TRACE}-b7ad6b7169203331-01");
        stage.publish("course-publish", &message.with_header("traceparent", &sender).unwrap()).await;
        stage.until_link(KEY, Some(PAGE)).await;
        worker.stop().await.expect(0);

        let spans = collector.spans();
        let linked = |span: &&Span| span.links.iter().any(|link| hex(&link.trace_id) == TRACE);
        let processing: Vec<&Span> = spans.iter().filter(linked).collect();
        let (exchange, queue) = (&stage.rig.config.exchange, &stage.rig.config.queue);
        for span in &processing {
            assert_eq!(span.name, format!("process {exchange}:course-publish:{queue}"));
            assert_eq!(span.kind(), SpanKind::Consumer);
            assert_ne!(hex(&span.trace_id), TRACE, "linked, not continued");
            assert_eq!(attribute(&span.attributes, "messaging.system"), &text("rabbitmq"));
            assert_eq!(attribute(&span.attributes, "messaging.operation.type"), &text("process"));
            assert_eq!(attribute(&span.attributes, "messaging.batch.message_count"), &Value::IntValue(1));
        }
        let steps = below(&spans, &processing);
        for step in ["restore", "look_up", "plan", "apply", "commit", "settle"] {
            named(&steps, step);
        }
        let look_up = named(&steps, "look_up");
        is_request_to_the_catalog(named(&below(&spans, &[look_up]), "GET /api/v1/course_runs/"), stage);
        let commit = named(&below(&spans, &[named(&steps, "apply")]), "commit");
        assert_eq!(attribute(&commit.attributes, "db.system.name"), &text("postgresql"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_is_one_trace_with_its_pages_and_writes() {
    with_stage(Kind::Sqlite, async |stage| {
        let (collector, address) = Collector::start().await;
        stage.course(KEY, None, Some(PAGE)).await;
        start(stage, "reconcile", address).ended().await.expect(0);

        let spans = collector.spans();
        let roots: Vec<&Span> = spans.iter().filter(|span| span.parent_span_id.is_empty()).collect();
        let [pass] = roots[..] else { panic!("one root expected: {roots:?}") };
        assert_eq!(pass.name, "reconcile");
        let steps = below(&spans, &[pass]);
        let page = named(&steps, "page");
        is_request_to_the_catalog(named(&below(&spans, &[page]), "GET /api/v1/course_runs/"), stage);
        assert_eq!(attribute(&page.attributes, "offset"), &Value::IntValue(0));
        named(&below(&spans, &[named(&steps, "apply")]), "commit");
    })
    .await;
}
