//! What `/metrics` shows: names, units, labels and the zeros that are there from the start.

use chrono::DateTime;
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::clock;
use crate::telemetry::traces;

fn local() -> Instruments {
    Instruments::new(SdkMeterProvider::builder())
}

const KNOWN: [(&str, &str); 32] = [
    ("course_sharing_event_to_write_seconds", "histogram"),
    ("course_sharing_catalog_request_seconds", "histogram"),
    ("course_sharing_events_total", "counter"),
    ("course_sharing_catalog_requests_total", "counter"),
    ("course_sharing_overviews", "gauge"),
    ("course_sharing_blank", "gauge"),
    ("course_sharing_blank_age_seconds", "gauge"),
    ("course_sharing_blank_oldest_seconds", "gauge"),
    ("course_sharing_refused_urls", "gauge"),
    ("course_sharing_missed", "gauge"),
    ("course_sharing_hints_lag_seconds", "gauge"),
    ("course_sharing_healed_total", "counter"),
    ("course_sharing_ledger_refused_total", "counter"),
    ("course_sharing_pruned_total", "counter"),
    ("course_sharing_dead_letters", "gauge"),
    ("course_sharing_consumer_up", "gauge"),
    ("course_sharing_catalog_breaker", "gauge"),
    ("course_sharing_reconcile_last_success_timestamp_seconds", "gauge"),
    ("course_sharing_reconcile_last_verdict", "gauge"),
    ("course_sharing_reconcile_changes", "gauge"),
    ("course_sharing_database_up", "gauge"),
    ("course_sharing_database_writable", "gauge"),
    ("course_sharing_queue_messages", "gauge"),
    ("course_sharing_queue_oldest_seconds", "gauge"),
    ("course_sharing_reconcile_duration_seconds", "gauge"),
    ("course_sharing_reconcile_next_timestamp_seconds", "gauge"),
    ("course_sharing_heal_last_success_timestamp_seconds", "gauge"),
    ("course_sharing_catalog_budget_used", "gauge"),
    ("course_sharing_build_info", "gauge"),
    ("process_resident_memory_bytes", "gauge"),
    ("process_open_fds", "gauge"),
    ("process_cpu_seconds_total", "counter"),
];

/// Every kind of instrument is used.
fn use_all(ours: &Instruments) {
    ours.event("course-publish", EventOutcome::Applied, 1);
    ours.event_to_write("event", Duration::from_millis(3));
    ours.catalog_request(RequestOutcome::Ok, Some(Duration::from_millis(700)));
    ours.catalog_request(RequestOutcome::Shut, None);
    ours.overviews.set_of("linked", 1_234);
    ours.blanks([(Reason::NoPage, 4, Duration::from_secs(600))].into_iter());
    ours.reconcile_verdict.choose("refused");
    ours.database_up.set(1);
    ours.blank_oldest.set(90.0);
    ours.refused_urls.set(4);
    ours.hints_lag.set(301.0);
    ours.healed.add_of("heal", 3);
    ours.ledger_refused.add(2);
    ours.pruned.add_of("ledger", 5);
    ours.dead_letters.set(7);
    ours.consumer_up.set(1);
    ours.reconcile_success
        .set(clock::timestamp(DateTime::from_timestamp(1_795_363_200, 500_000_000).unwrap()));
    ours.reconcile_changes.set_of("held_back", 12);
    ours.queue_messages.set_of("events", 8);
    ours.reconcile_duration.set(61.0);
    ours.catalog_budget.set(0.25);
    ours.missed.set_of("light", 2);
    ours.links_to_write("heal", Duration::from_secs(59), 3);
}

#[test]
fn names_and_types_are_the_contracts() {
    let text = local().render();
    for (name, kind) in KNOWN {
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name} {kind} in\n{text}");
    }
    let ours = |line: &str| line.starts_with("# TYPE course_sharing_");
    let known = KNOWN.iter().filter(|(name, _)| name.starts_with("course_sharing_")).count();
    assert_eq!(text.lines().filter(|line| ours(line)).count(), known, "{text}");
}

#[test]
fn known_values_are_there_from_the_start() {
    let text = local().render();
    for line in [
        r#"course_sharing_events_total{outcome="dead_lettered",type="overview-recreated"} 0"#,
        r#"course_sharing_event_to_write_seconds_bucket{source="heal",le="86400"} 0"#,
        r#"course_sharing_event_to_write_seconds_count{source="light"} 0"#,
        "course_sharing_catalog_request_seconds_count 0",
        r#"course_sharing_healed_total{cause="restore"} 0"#,
        r#"course_sharing_pruned_total{table="reconcile"} 0"#,
        r#"course_sharing_overviews{state="blank"} 0"#,
        r#"course_sharing_catalog_breaker{state="closed"} 1"#,
        r#"course_sharing_catalog_breaker{state="open"} 0"#,
        r#"course_sharing_reconcile_changes{kind="pending"} 0"#,
        r#"course_sharing_blank{reason="not_in_catalog"} 0"#,
        r#"course_sharing_reconcile_last_verdict{verdict="refused"} 0"#,
        "course_sharing_consumer_up 0",
        "course_sharing_database_up 0",
        "course_sharing_dead_letters 0",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line} in\n{text}");
    }
}

#[test]
fn what_is_counted_is_shown() {
    let ours = local();
    use_all(&ours);
    let text = ours.render();
    for line in [
        r#"course_sharing_events_total{outcome="applied",type="course-publish"} "#,
        r#"course_sharing_event_to_write_seconds_bucket{source="event",le="0.005"} "#,
        r#"course_sharing_event_to_write_seconds_bucket{source="event",le="14400"} "#,
        r#"course_sharing_catalog_requests_total{outcome="ok"} "#,
        r#"course_sharing_catalog_request_seconds_bucket{le="60"} "#,
        "course_sharing_catalog_request_seconds_count 1\n",
        r#"course_sharing_catalog_requests_total{outcome="shut"} 1"#,
        r#"course_sharing_overviews{state="linked"} 1234"#,
        r#"course_sharing_blank{reason="no_page"} 4"#,
        r#"course_sharing_blank{reason="no_run"} 0"#,
        r#"course_sharing_blank_age_seconds{reason="no_page"} 600"#,
        r#"course_sharing_blank_age_seconds{reason="no_run"} 0"#,
        "course_sharing_blank_oldest_seconds 90",
        "course_sharing_refused_urls 4",
        "course_sharing_hints_lag_seconds 301",
        r#"course_sharing_reconcile_last_verdict{verdict="refused"} 1"#,
        r#"course_sharing_reconcile_last_verdict{verdict="complete"} 0"#,
        "course_sharing_database_up 1",
        r#"course_sharing_healed_total{cause="heal"} "#,
        r#"course_sharing_pruned_total{table="ledger"} "#,
        "course_sharing_dead_letters 7",
        "course_sharing_reconcile_last_success_timestamp_seconds 1795363200.5",
        r#"course_sharing_reconcile_changes{kind="held_back"} 12"#,
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    assert!(!text.contains("otel_scope") && !text.contains("target_info"), "{text}");
}

#[test]
fn what_is_measured_takes_the_place_of_the_empty_histogram() {
    let ours = local();
    ours.event_to_write("hint", Duration::from_secs(2));
    let text = ours.render();
    for source in ["event", "hint", "light", "full", "heal"] {
        let series = format!("course_sharing_event_to_write_seconds_count{{source=\"{source}\"}} ");
        let value = if source == "hint" { "1" } else { "0" };
        let found: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(&series)).collect();
        assert_eq!(found, [value], "{source} in\n{text}");
    }
    assert_eq!(text.matches("# TYPE course_sharing_event_to_write_seconds ").count(), 1);
}

#[test]
fn a_measurement_that_is_made_in_a_trace_leads_to_it() {
    let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
    let subscriber = tracing_subscriber::registry().with(traces::layer(&provider));
    let ours = local();
    ours.event_to_write("event", Duration::from_secs(2));
    let trace = tracing::subscriber::with_default(subscriber, || {
        tracing::info_span!("request").in_scope(|| {
            ours.catalog_request(RequestOutcome::Ok, Some(Duration::from_millis(700)));
            ours.event_to_write("hint", Duration::from_secs(2));
            traces::trace_id().unwrap()
        })
    });
    let text = ours.render_open_metrics();
    for line in [
        format!(
            r#"course_sharing_catalog_request_seconds_bucket{{le="1.0"}} 1 # {{trace_id="{trace}"}} 0.7 "#
        ),
        format!(
            r#"course_sharing_event_to_write_seconds_bucket{{source="hint",le="2.5"}} 1 # {{trace_id="{trace}"}} 2 "#
        ),
        r#"course_sharing_event_to_write_seconds_bucket{source="event",le="+Inf"} 1"#.to_owned() + "\n",
        "# TYPE course_sharing_catalog_requests counter\n".to_owned(),
        "course_sharing_catalog_requests_total{outcome=\"ok\"} 1\n".to_owned(),
        "course_sharing_consumer_up 0\n".to_owned(),
    ] {
        assert!(text.contains(&line), "{line} in\n{text}");
    }
    assert_eq!(text.matches("trace_id").count(), 2, "{text}");
    assert!(text.ends_with("\n# EOF\n"));
}

#[test]
fn the_breaker_is_in_one_state() {
    let ours = local();
    ours.catalog_breaker.choose("open");
    let text = ours.render();
    assert!(text.contains(r#"catalog_breaker{state="closed"} 0"#) && text.contains(r#"{state="open"} 1"#));
}
