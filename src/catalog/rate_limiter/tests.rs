//! The limits at given times, also with random input.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::RateLimiter;
use super::limits::{Admission, Feedback, Limits};
use crate::catalog::{CatalogError, Circuit, Purpose};

fn go(limits: &mut Limits, now: Instant, purpose: Purpose) -> bool {
    match limits.admit(now, purpose) {
        Admission::Go { probe } => probe,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_429_holds_everybody_back_for_as_long_as_it_says() {
    let now = Instant::now();
    let mut limits = Limits::new(2, 0);
    let probe = go(&mut limits, now, Purpose::Event);
    limits.report(probe, now, Feedback::Throttled(Some(Duration::from_secs(60))), 0.0);
    let until = now + Duration::from_secs(60);
    for purpose in [Purpose::Event, Purpose::Pass, Purpose::Command] {
        assert!(matches!(limits.admit(now, purpose), Admission::Throttled(then) if then == until));
    }
    assert_eq!(limits.circuit(now), Circuit::Throttled { until });
    go(&mut limits, until, Purpose::Event);
    assert_eq!(limits.circuit(until), Circuit::Closed);
}

#[test]
fn absurd_and_missing_retry_after_are_bounded() {
    let now = Instant::now();
    for (said, expected) in [(Some(u64::MAX), 3600), (Some(0), 1), (None, 1)] {
        let mut limits = Limits::new(1, 0);
        let probe = go(&mut limits, now, Purpose::Event);
        limits.report(probe, now, Feedback::Throttled(said.map(Duration::from_secs)), 0.0);
        assert_eq!(limits.throttled, Some(now + Duration::from_secs(expected)), "{said:?}");
    }
    let (mut limits, mut now) = (Limits::new(1, 0), now);
    for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 256] {
        let probe = go(&mut limits, now, Purpose::Pass);
        limits.report(probe, now, Feedback::Throttled(None), 0.0);
        let until = limits.throttled.unwrap();
        assert_eq!(until - now, Duration::from_secs(expected));
        now = until;
    }
}

#[test]
fn an_event_goes_before_the_pass() {
    let now = Instant::now();
    let mut limits = Limits::new(1, 0);
    let probe = go(&mut limits, now, Purpose::Pass);
    assert!(matches!(limits.admit(now, Purpose::Event), Admission::Busy));
    limits.urgent(true);
    limits.report(probe, now, Feedback::Healthy, 0.0);
    assert!(matches!(limits.admit(now, Purpose::Pass), Admission::Busy));
    let probe = go(&mut limits, now, Purpose::Event);
    limits.urgent(false);
    limits.report(probe, now, Feedback::Healthy, 0.0);
    go(&mut limits, now, Purpose::Pass);
}

#[test]
fn what_may_lie_in_the_request_neither_opens_nor_closes() {
    let now = Instant::now();
    let mut limits = Limits::new(1, 0);
    for round in 0..4 {
        let probe = go(&mut limits, now, Purpose::Pass);
        limits.report(probe, now, Feedback::Failing("x".into()), 1.0);
        for _ in 0..9 {
            let probe = go(&mut limits, now, Purpose::Pass);
            limits.report(probe, now, Feedback::Neutral, 1.0);
        }
        assert_eq!(limits.breaker.circuit(), Circuit::Closed, "{round}");
    }
    let probe = go(&mut limits, now, Purpose::Pass);
    limits.report(probe, now, Feedback::Failing("the fifth".into()), 1.0);
    assert!(matches!(limits.admit(now, Purpose::Event), Admission::Open { .. }));
    assert_eq!(limits.why, "the fifth");
}

#[tokio::test]
async fn a_permit_dropped_frees_its_place() {
    let limiter = RateLimiter::new(1, 0);
    drop(limiter.enter(Purpose::Event).await.unwrap());
    limiter.enter(Purpose::Event).await.unwrap().report(Feedback::Healthy);
}

#[tokio::test]
async fn events_fail_at_once_while_nothing_is_let_through_and_the_pass_waits() {
    let limiter = RateLimiter::new(1, 0);
    let second = Feedback::Throttled(Some(Duration::from_secs(1)));
    limiter.enter(Purpose::Event).await.unwrap().report(second);
    assert!(matches!(limiter.enter(Purpose::Event).await, Err(CatalogError::Throttled { .. })));
    limiter.enter(Purpose::Pass).await.unwrap().report(Feedback::Healthy);
    for _ in 0..5 {
        limiter.enter(Purpose::Command).await.unwrap().report(Feedback::Failing("down".into()));
    }
    assert!(matches!(limiter.enter(Purpose::Command).await, Err(CatalogError::CircuitOpen { .. })));
    let probe = limiter.enter(Purpose::Pass).await.unwrap();
    assert_eq!(limiter.circuit(), Circuit::HalfOpen);
    probe.report(Feedback::Healthy);
    assert_eq!(limiter.circuit(), Circuit::Closed);
}

#[tokio::test]
async fn an_event_overtakes_a_waiting_pass() {
    let limiter = std::sync::Arc::new(RateLimiter::new(1, 0));
    let held = limiter.enter(Purpose::Event).await.unwrap();
    let order = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for purpose in [Purpose::Pass, Purpose::Event, Purpose::Command] {
        let (limiter, order) = (limiter.clone(), order.clone());
        waiting.push(tokio::spawn(async move {
            let permit = limiter.enter(purpose).await.unwrap();
            order.lock().unwrap().push(purpose);
            permit.report(Feedback::Healthy);
        }));
        // The runtime of a test has one thread: the task runs until it waits.
        tokio::task::yield_now().await;
    }
    held.report(Feedback::Healthy);
    for task in waiting {
        task.await.unwrap();
    }
    assert_eq!(order.lock().unwrap().last(), Some(&Purpose::Pass));
}

fn any_feedback() -> impl Strategy<Value = Feedback> {
    prop_oneof![
        Just(Feedback::Healthy),
        Just(Feedback::Failing("bad".into())),
        Just(Feedback::Neutral),
        proptest::option::of(0u64..9999).prop_map(|s| Feedback::Throttled(s.map(Duration::from_secs))),
    ]
}

proptest! {
    /// Places are never exceeded nor lost, and no wait is longer than an hour.
    #[test]
    fn it_never_locks_up(
        places in 1usize..4, per_hour in 0u32..12,
        steps in proptest::collection::vec((any::<bool>(), 0u64..600, 0.0f64..1.0, any_feedback(), any::<bool>()), 0..150),
    ) {
        let (mut now, mut limits, mut out) = (Instant::now(), Limits::new(places, per_hour), Vec::new());
        for (send, seconds, chance, feedback, pass) in steps {
            now += Duration::from_secs(seconds);
            if !send {
                if let Some(probe) = out.pop() { limits.report(probe, now, feedback, chance); }
                continue;
            }
            match limits.admit(now, if pass { Purpose::Pass } else { Purpose::Event }) {
                Admission::Go { probe } => out.push(probe),
                Admission::Busy => prop_assert_eq!(out.len(), places),
                Admission::Throttled(until) | Admission::Open { until, .. } => {
                    prop_assert!(until > now && until <= now + Duration::from_secs(3600));
                }
            }
            prop_assert!(out.len() <= places);
        }
        for probe in out.drain(..) { limits.report(probe, now, Feedback::Healthy, 0.0); }
        now += Duration::from_secs(7200);
        go(&mut limits, now, Purpose::Pass);
    }
}
