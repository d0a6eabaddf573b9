//! The gate with the clock in hand, also by chance.

use super::*;
use proptest::prelude::*;

fn go(gate: &mut Gate, now: Instant, purpose: Purpose) -> Ticket {
    match gate.admit(now, purpose) {
        Admission::Go(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_429_shuts_it_for_everybody_for_as_long_as_it_says() {
    let now = Instant::now();
    let mut gate = Gate::new(2, 0);
    let ticket = go(&mut gate, now, Purpose::Event);
    gate.report(ticket, now, Verdict::Throttled(Some(Duration::from_secs(60))), 0.0);
    let until = now + Duration::from_secs(60);
    for purpose in [Purpose::Event, Purpose::Pass, Purpose::Command] {
        assert!(matches!(gate.admit(now, purpose), Admission::Throttled(then) if then == until));
    }
    assert_eq!(gate.state(now), GateState::Throttled { until });
    go(&mut gate, until, Purpose::Event);
    assert_eq!(gate.state(until), GateState::Closed);
}

#[test]
fn absurd_and_missing_retry_after_are_bounded() {
    let now = Instant::now();
    for (said, expected) in [(Some(u64::MAX), 3600), (Some(0), 1), (None, 1)] {
        let mut gate = Gate::new(1, 0);
        let ticket = go(&mut gate, now, Purpose::Event);
        gate.report(ticket, now, Verdict::Throttled(said.map(Duration::from_secs)), 0.0);
        assert_eq!(gate.throttled(), Some(now + Duration::from_secs(expected)), "{said:?}");
    }
    let (mut gate, mut now) = (Gate::new(1, 0), now);
    for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 256] {
        let ticket = go(&mut gate, now, Purpose::Pass);
        gate.report(ticket, now, Verdict::Throttled(None), 0.0);
        let until = gate.throttled().unwrap();
        assert_eq!(until - now, Duration::from_secs(expected));
        now = until;
    }
}

#[test]
fn an_event_goes_before_the_pass() {
    let now = Instant::now();
    let mut gate = Gate::new(1, 0);
    let ticket = go(&mut gate, now, Purpose::Pass);
    assert!(matches!(gate.admit(now, Purpose::Event), Admission::Busy));
    gate.urgent(true);
    gate.report(ticket, now, Verdict::Good, 0.0);
    assert!(matches!(gate.admit(now, Purpose::Pass), Admission::Busy));
    let ticket = go(&mut gate, now, Purpose::Event);
    gate.urgent(false);
    gate.report(ticket, now, Verdict::Good, 0.0);
    go(&mut gate, now, Purpose::Pass);
}

#[test]
fn what_lies_in_the_question_neither_opens_nor_closes() {
    let now = Instant::now();
    let mut gate = Gate::new(1, 0);
    for round in 0..4 {
        let ticket = go(&mut gate, now, Purpose::Pass);
        gate.report(ticket, now, Verdict::Bad("x".into()), 1.0);
        for _ in 0..9 {
            let ticket = go(&mut gate, now, Purpose::Pass);
            gate.report(ticket, now, Verdict::Nothing, 1.0);
        }
        assert_eq!(gate.phase(), Phase::Closed, "{round}");
    }
    let ticket = go(&mut gate, now, Purpose::Pass);
    gate.report(ticket, now, Verdict::Bad("the fifth".into()), 1.0);
    assert!(matches!(gate.admit(now, Purpose::Event), Admission::Shut { why, .. } if why == "the fifth"));
}

#[test]
fn a_request_that_never_left_costs_nothing() {
    let now = Instant::now();
    let mut gate = Gate::new(1, 1);
    let ticket = go(&mut gate, now, Purpose::Event);
    gate.report(ticket, now, Verdict::Unsent, 0.0);
    let ticket = go(&mut gate, now, Purpose::Event);
    gate.report(ticket, now, Verdict::Good, 0.0);
    assert!(matches!(gate.state(now), GateState::Throttled { .. }));
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Good),
        Just(Verdict::Bad("bad".into())),
        Just(Verdict::Nothing),
        Just(Verdict::Unsent),
        proptest::option::of(0u64..9999).prop_map(|s| Verdict::Throttled(s.map(Duration::from_secs))),
    ]
}

proptest! {
    /// Places are never exceeded nor lost, and whoever is told to wait may go at the time named, at most an
    /// hour on, unless something else has happened since.
    #[test]
    fn it_never_locks_up(
        places in 1usize..4, per_hour in 0u32..12,
        steps in proptest::collection::vec((any::<bool>(), 0u64..600, 0.0f64..1.0, any_verdict(), any::<bool>()), 0..150),
    ) {
        let (mut now, mut gate, mut out) = (Instant::now(), Gate::new(places, per_hour), Vec::new());
        for (send, seconds, chance, verdict, pass) in steps {
            now += Duration::from_secs(seconds);
            if !send {
                if let Some(ticket) = out.pop() { gate.report(ticket, now, verdict, chance); }
                continue;
            }
            match gate.admit(now, if pass { Purpose::Pass } else { Purpose::Event }) {
                Admission::Go(ticket) => out.push(ticket),
                Admission::Busy => prop_assert_eq!(out.len(), places),
                Admission::Throttled(until) | Admission::Shut { until, .. } => {
                    prop_assert!(until > now && until <= now + Duration::from_secs(3600));
                }
            }
            prop_assert!(out.len() <= places);
        }
        for ticket in out.drain(..) { gate.report(ticket, now, Verdict::Good, 0.0); }
        now += Duration::from_secs(7200);
        prop_assert!(matches!(gate.admit(now, Purpose::Pass), Admission::Go(_)));
    }
}
