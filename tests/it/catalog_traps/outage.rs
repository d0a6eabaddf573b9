//! 429, budget and circuit breaker: which requests wait, which fail at once, and which are not sent.

use super::*;
use crate::support::wait_until;

#[tokio::test]
async fn a_429_stops_all_requests() {
    for after in [RetryAfter::Seconds(600), RetryAfter::Date(600)] {
        let (stand_in, client) = recorded().await;
        stand_in.script([Fault::Throttled(after)]);
        assert!(matches!(client.page(0, 5, Purpose::Event).await, Err(CatalogError::Throttled { .. })));
        assert!(matches!(client.circuit(), Circuit::Throttled { .. }));
        let Observation::Unknown(why) = look(&client, "AcmeX/CS100/2013_Spring").await else { panic!() };
        let left = why.reopens_at().unwrap().saturating_duration_since(std::time::Instant::now());
        assert!(left > Duration::from_secs(500) && left <= Duration::from_secs(601), "{left:?}");
        assert_eq!(stand_in.stats().requests, 1, "nothing was sent after it");
    }
}

#[tokio::test]
async fn a_short_429_is_waited_for() {
    let (stand_in, client) = recorded().await;
    stand_in.script([Fault::Throttled(RetryAfter::Seconds(1)), Fault::Throttled(RetryAfter::Nothing)]);
    assert!(matches!(look(&client, "AcmeX/CS100/2013_Spring").await, Observation::Url(..)));
    assert_eq!(client.requests(), 3);
}

#[tokio::test]
async fn the_pass_waits_out_a_throttle() {
    let throttle = Some(Throttle { requests: 2, window: Duration::from_secs(2) });
    let (stand_in, client) = started(Setup { throttle, ..Setup::default() }).await;
    assert_eq!(crawl(&client, 60).await.len(), 241);
    assert!(stand_in.stats().throttled >= 2);
}

#[tokio::test]
async fn the_budget_is_kept_and_events_have_a_share_of_their_own() {
    let stand_in = StandIn::start(Setup::default()).await;
    let client = client_with(&config::Catalog { requests_per_hour: 8, ..settings(&stand_in) });
    for page in 0..6 {
        client.page(page * 5, 5, Purpose::Pass).await.unwrap();
    }
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.page(0, 5, Purpose::Pass).await.map(|_| ()) }
    });
    for _ in 0..2 {
        assert!(matches!(look(&client, "AcmeX/CS100/2013_Spring").await, Observation::Url(..)));
    }
    let Observation::Unknown(why) = look(&client, "AcmeX/CS100/2013_Spring").await else { panic!() };
    assert!(why.reopens_at().is_some());
    assert!(!waiting.is_finished(), "the pass waits");
    waiting.abort();
    assert_eq!(stand_in.stats().requests, 8);
}

#[tokio::test]
async fn an_outage_opens_the_circuit_and_its_end_closes_it() {
    let (mut stand_in, client) = recorded().await;
    stand_in.unplug().await;
    for _ in 0..5 {
        assert!(client.probe().await.is_err());
    }
    assert!(matches!(client.circuit(), Circuit::Open { .. }));
    let Observation::Unknown(why) = look(&client, "AcmeX/CS100/2013_Spring").await else { panic!() };
    assert!(why.reopens_at().is_some() && why.to_string().contains("no connection"), "{why}");
    assert_eq!(client.requests(), 5, "nothing goes through an open circuit");
    stand_in.plug().await;
    assert_eq!(client.page(0, 5, Purpose::Pass).await.unwrap().rows.len(), 5, "the pass waits for the probe");
    assert_eq!(client.circuit(), Circuit::Closed);
}

#[tokio::test]
async fn at_most_so_many_requests_at_once() {
    let latency = Duration::from_millis(20);
    let (stand_in, client) = started(Setup { latency, ..Setup::default() }).await;
    let asks = (0..8).map(|page| {
        let client = client.clone();
        tokio::spawn(async move { client.page(page * 5, 5, Purpose::Event).await.map(|_| ()) })
    });
    for ask in asks.collect::<Vec<_>>() {
        ask.await.unwrap().unwrap();
    }
    assert_eq!(stand_in.stats().most_at_once, 2);
}

#[tokio::test]
async fn a_pass_outlasts_an_outage_and_events_do_not_wait_for_it() {
    let (mut stand_in, client) = recorded().await;
    stand_in.unplug().await;
    let page = tokio::spawn({
        let client = client.clone();
        async move { client.page(0, 5, Purpose::Pass).await.map(|page| page.rows.len()) }
    });
    let is_open = || async { matches!(client.circuit(), Circuit::Open { .. }) };
    wait_until(Duration::from_secs(60), "the retries of the page open the circuit", is_open).await;
    let error = client.page(0, 5, Purpose::Event).await.unwrap_err();
    assert!(error.reopens_at().is_some(), "{error}");
    stand_in.plug().await;
    assert_eq!(page.await.unwrap().unwrap(), 5);
}
