//! The functions that run for every event, by themselves: decode, batch, plan.

#![expect(clippy::unwrap_used, reason = "a bench that cannot make its input ends")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use course_sharing::catalog::Observation;
use course_sharing::engine::{Question, plan};
use course_sharing::event::{Event, EventKind, Raw, decode};
use course_sharing::model::course_key::{CourseKey, RunKey};
use course_sharing::model::extra_columns::Also;
use course_sharing::model::marketing_url::UrlPolicy;
use course_sharing::store::{Entry, ObservedBy};
use course_sharing::worker::batcher::{Batcher, Limits, Supersedes};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

/// Deliveries in hand at once, by default.
const PREFETCH: usize = 500;

fn run(number: usize) -> RunKey {
    CourseKey::parse(&format!("course-v1:OrgX+C{number:07}+2026_T1")).unwrap().run_key()
}

fn decoding(criterion: &mut Criterion) {
    let course = CourseKey::parse("course-v1:edX+DemoX+2026").unwrap();
    let time = "2026-11-22T16:00:00Z".parse().unwrap();
    let native = Event { kind: EventKind::CoursePublish, course, time: Some(time), id: Some("a".repeat(36)) };
    let structured = br#"{"specversion": "1.0", "id": "6d3f", "source": "openedx/cms/web",
        "type": "org.openedx.content_authoring.course.catalog_info.changed.v1", "time": "2026-11-22T16:00:00Z",
        "data": {"catalog_info": {"course_key": "course-v1:edX+DemoX+2026", "name": "Demonstration"}}}"#;
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(1));
    for (name, body, content_type) in [
        ("native", native.to_json(), "application/json"),
        ("cloudevents", structured.to_vec(), "application/cloudevents+json"),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let raw = Raw {
                    body: black_box(&body),
                    routing_key: "course-publish",
                    content_type: Some(content_type),
                    header: &|_| None,
                };
                decode(&raw).unwrap()
            });
        });
    }
    group.finish();
}

/// A job that waits by itself, whatever else waits.
struct Alone;

impl Supersedes for Alone {
    fn supersedes(&self, _: &Self) -> bool {
        false
    }
}

fn batching(criterion: &mut Criterion) {
    let limits = Limits { events: 200, key_bytes: 1_200, min_interval: Duration::from_secs(5) };
    let mut group = criterion.benchmark_group("batch");
    group.throughput(Throughput::Elements(PREFETCH as u64));
    for (name, distinct) in [("distinct runs", PREFETCH), ("ten runs", 10)] {
        let runs: Vec<RunKey> = (0..PREFETCH).map(|n| run(n % distinct)).collect();
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || (Batcher::new(limits), runs.clone()),
                |(mut batcher, runs)| {
                    let now = Instant::now();
                    for run in runs {
                        black_box(batcher.push(run, 36, Alone));
                    }
                    while let Some(batch) = batcher.next(now) {
                        batcher.done(batch.iter().map(|(run, _)| run));
                    }
                    batcher
                },
                BatchSize::SmallInput,
            );
        });
    }
    // What the worker does after every delivery while others wait for their time.
    let mut full = Batcher::new(limits);
    let now = Instant::now();
    for n in 0..PREFETCH {
        black_box(full.push(run(n), 36, Alone));
    }
    while let Some(batch) = full.next(now) {
        full.done(batch.iter().map(|(run, _)| run));
    }
    for n in 0..PREFETCH {
        black_box(full.push(run(n), 36, Alone));
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("nothing due of a full hand", |bencher| {
        bencher.iter(|| (full.next(black_box(now)).is_none(), full.wake_at()));
    });
    group.finish();
}

fn planning(criterion: &mut Criterion) {
    let asked_at = "2026-11-22T16:00:00Z".parse().unwrap();
    let question = Question { asked_at, by: ObservedBy::Event, clear_after: Duration::from_secs(900) };
    let key = run(1);
    let known = Entry {
        run: key.clone(),
        url: Some("https://www.campus.example/course/orgx-c0000001".to_owned()),
        listed: true,
        pending_clear_since: None,
        cleared_at: None,
        changed_at: None,
        observed_at: "2026-11-21T16:00:00Z".parse().unwrap(),
        observed_by: ObservedBy::Event,
        also: Also::NOTHING,
        refused: None,
    };
    let url = UrlPolicy::default().accept("https://www.campus.example/course/orgx-c0000001").unwrap();
    let mut group = criterion.benchmark_group("plan");
    group.throughput(Throughput::Elements(1));
    let observations = [
        ("the same URL", Observation::Url(url, Also::NOTHING)),
        ("no URL", Observation::NoUrl(Also::NOTHING)),
    ];
    for (name, observation) in observations {
        group.bench_function(name, |bencher| {
            bencher.iter(|| plan(&key, Some(black_box(&known)), black_box(&observation), question));
        });
    }
    group.finish();
}

criterion_group!(hot, decoding, batching, planning);
criterion_main!(hot);
