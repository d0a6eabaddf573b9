//! Each trap that a running course-discovery was seen to set, walked into by the real client.

#![allow(clippy::unwrap_used, reason = "the helpers are tests too, as far as failing goes")]

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use course_sharing::catalog::{CatalogError, Client, Defect, GateState, Observation, Purpose};
use course_sharing::config;
use course_sharing::course_key::{CourseKey, RunKey};
use course_sharing::marketing_url::UrlPolicy;
use futures_util::future::join_all;

use crate::stand_in::{
    Auth, Churn, Fault, Health, LineLimit, RetryAfter, Run, Runs, Setup, StandIn, Throttle,
};

const GOOD: &str = "https://www.campus.example/course/x";

fn key(text: &str) -> RunKey {
    CourseKey::parse(text).unwrap().run_key()
}

fn keys(runs: &Runs) -> Vec<RunKey> {
    // The recorded list has one custom course, which is no run of the Catalog's to look up.
    runs.keys().iter().filter(|text| !text.starts_with("ccx-")).map(|text| key(text)).collect()
}

fn settings(stand_in: &StandIn) -> config::Catalog {
    let mut settings = config::Catalog {
        url: stand_in.url().parse().unwrap(),
        timeout: Duration::from_secs(10),
        ..config::Catalog::default()
    };
    if let Some(auth) = &stand_in.state().setup.auth {
        settings.token_url = Some(stand_in.token_url().parse().unwrap());
        settings.client_id = Some(auth.client_id.clone());
        settings.client_secret = Some(auth.client_secret.clone().into());
    }
    settings
}

fn client_with(settings: &config::Catalog) -> Client {
    Client::new(settings, UrlPolicy { allowed_hosts: Vec::new(), allow_http: false }).unwrap()
}

async fn started(setup: Setup) -> (StandIn, Client) {
    let stand_in = StandIn::start(setup).await;
    let client = client_with(&settings(&stand_in));
    (stand_in, client)
}

async fn recorded() -> (StandIn, Client) {
    started(Setup::default()).await
}

fn few(urls: &[(&str, Option<&str>)]) -> Setup {
    let mut runs = Runs::default();
    for (key, url) in urls {
        runs.put(Run::new(key, *url));
    }
    Setup { runs, ..Setup::default() }
}

async fn look(client: &Client, text: &str) -> Observation {
    client.look_up(&[key(text)], Purpose::Event).await.remove(&key(text)).expect("every key has an entry")
}

/// The failure behind an `Unknown`.
async fn failure(client: &Client, text: &str) -> String {
    match look(client, text).await {
        Observation::Unknown(why) => why.to_string(),
        other => panic!("expected Unknown, got {other:?}"),
    }
}

fn count(found: &HashMap<RunKey, Observation>, which: fn(&Observation) -> bool) -> usize {
    found.values().filter(|observation| which(observation)).count()
}

async fn crawl(client: &Client, limit: u32) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let page = client.page(seen.len() as u64, limit, Purpose::Pass).await.unwrap();
        if page.runs.is_empty() {
            return seen;
        }
        assert_eq!(page.count, 241);
        seen.extend(page.runs.iter().map(|run| run.key.as_ref().unwrap().to_string()));
    }
}

async fn get(url: &str) -> (u16, serde_json::Value) {
    let response = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
        .get(url)
        .send()
        .await
        .unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
}

// Paging

#[tokio::test]
async fn a_crawl_sees_every_run_whatever_the_page_size() {
    let (stand_in, client) = recorded().await;
    let all: HashSet<String> = stand_in.state().setup.runs.keys().into_iter().collect();
    for limit in [20, 100, 241, 1000] {
        let seen = crawl(&client, limit).await;
        assert_eq!((seen.len(), seen.into_iter().collect::<HashSet<_>>()), (241, all.clone()));
    }
    assert!(stand_in.stats().targets.iter().all(|target| !target.contains("page_size")));
}

#[tokio::test]
async fn page_size_without_page_would_have_been_ignored() {
    let (stand_in, client) = recorded().await;
    let list = format!("{}/api/v1/course_runs/", stand_in.url());
    let (_, answer) = get(&format!("{list}?page_size=100")).await;
    assert_eq!(answer["results"].as_array().unwrap().len(), 20);
    assert_eq!(client.page(0, 100, Purpose::Pass).await.unwrap().runs.len(), 100);
}

#[tokio::test]
async fn a_limit_of_nothing_is_not_twenty_runs() {
    let (_stand_in, client) = recorded().await;
    assert_eq!(client.page(0, 0, Purpose::Pass).await.unwrap().runs.len(), 1);
}

#[tokio::test]
async fn past_the_end_there_is_nothing_and_the_count_is_right() {
    let (_stand_in, client) = recorded().await;
    let page = client.page(5000, 100, Purpose::Pass).await.unwrap();
    assert_eq!((page.count, page.runs.len()), (241, 0));
}

#[tokio::test]
async fn keys_are_paged_at_twenty_and_all_fifty_are_found() {
    let (stand_in, client) = recorded().await;
    let fifty: Vec<_> = keys(&stand_in.state().setup.runs).into_iter().take(50).collect();
    let found = client.look_up(&fifty, Purpose::Event).await;
    assert_eq!(found.len(), 50);
    assert_eq!(count(&found, |o| matches!(o, Observation::Url(_) | Observation::NoUrl)), 50);
    let encoded: Vec<_> = fifty.iter().map(|key| key.as_str().replace('+', "%2B")).collect();
    let url = format!("{}/api/v1/course_runs/?keys={}", stand_in.url(), encoded.join(","));
    let (_, answer) = get(&url).await;
    assert_eq!((answer["count"].as_u64(), answer["results"].as_array().unwrap().len()), (Some(50), 20));
}

#[tokio::test]
async fn all_recorded_runs_are_found_by_key_in_few_requests() {
    let (stand_in, client) = recorded().await;
    let all = keys(&stand_in.state().setup.runs);
    let found = client.look_up(&all, Purpose::Command).await;
    assert_eq!(found.len(), 240);
    assert_eq!(count(&found, |o| matches!(o, Observation::NoUrl)), 40);
    assert_eq!(count(&found, |o| matches!(o, Observation::Url(_))), 200);
    let stats = stand_in.stats();
    assert!(stats.requests <= 12 && stats.requests == client.requests(), "{}", stats.requests);
    assert!(stats.targets.iter().all(|target| target.len() <= 1300));
}

#[tokio::test]
async fn no_keys_ask_nothing() {
    let (stand_in, client) = recorded().await;
    assert!(client.look_up(&[], Purpose::Event).await.is_empty());
    assert_eq!(stand_in.stats().requests, 0, "an empty keys= means every run there is");
}

#[tokio::test]
async fn a_plus_in_a_query_stays_a_plus() {
    let (stand_in, client) = recorded().await;
    assert!(matches!(look(&client, "course-v1:deltaX+BIO102+2025_T2").await, Observation::Url(_)));
    let raw = format!("{}/api/v1/course_runs/?keys=course-v1:deltaX+BIO102+2025_T2", stand_in.url());
    let (status, answer) = get(&raw).await;
    assert_eq!((status, answer["count"].as_u64()), (200, Some(0)), "as a raw one would not");
}

#[tokio::test]
async fn keys_match_without_case_and_accents_but_only_the_exact_one_counts() {
    let (_stand_in, client) =
        started(few(&[("course-v1:AcmeX+a+1", Some(GOOD)), ("course-v1:ÉcoleX+Français+1", Some(GOOD))]))
            .await;
    assert!(matches!(look(&client, "course-v1:acmex+A+1").await, Observation::NotListed));
    assert!(matches!(look(&client, "course-v1:EcoleX+Francais+1").await, Observation::NotListed));
    assert!(matches!(look(&client, "course-v1:ÉcoleX+Français+1").await, Observation::Url(_)));
}

#[tokio::test]
async fn next_on_another_host_is_never_followed() {
    let elsewhere = StandIn::start(Setup::default()).await;
    let host = elsewhere.url().replace("http://", "");
    let (stand_in, client) = started(Setup { foreign_host: Some(host), ..Setup::default() }).await;
    assert_eq!(crawl(&client, 50).await.len(), 241);
    let all = keys(&stand_in.state().setup.runs);
    client.look_up(&all, Purpose::Event).await;
    assert_eq!(elsewhere.stats().requests, 0);
}

#[tokio::test]
async fn a_run_deleted_while_paging_makes_one_be_skipped_and_by_key_it_is_found() {
    let (stand_in, client) = recorded().await;
    let all = keys(&stand_in.state().setup.runs);
    stand_in.state().churn = Some(Churn::DeleteFirst);
    let mut seen = HashSet::new();
    for page in 0..5 {
        let page = client.page(page * 50, 50, Purpose::Pass).await.unwrap();
        seen.extend(page.runs.into_iter().filter_map(|run| run.key.ok()).map(|key| key.run_key()));
    }
    stand_in.state().churn = None;
    let unseen: Vec<_> = all.into_iter().filter(|key| !seen.contains(key)).collect();
    let found = client.look_up(&unseen, Purpose::Pass).await;
    assert!(count(&found, |o| !matches!(o, Observation::NotListed)) >= 3, "{found:?}");
}

// What stands in marketing_url

#[tokio::test]
async fn null_and_nothing_are_no_url_and_relative_is_unknown() {
    let (_stand_in, client) = started(few(&[
        ("o/null/r", None),
        ("o/empty/r", Some("")),
        ("o/relative/r", Some("course/x")),
        ("o/good/r", Some(GOOD)),
    ]))
    .await;
    assert!(matches!(look(&client, "o/null/r").await, Observation::NoUrl));
    assert!(matches!(look(&client, "o/empty/r").await, Observation::NoUrl));
    assert!(failure(&client, "o/relative/r").await.contains("relative"));
    assert!(matches!(look(&client, "o/good/r").await, Observation::Url(url) if url.as_str() == GOOD));
    assert!(matches!(look(&client, "o/absent/r").await, Observation::NotListed));
    let page = client.page(0, 10, Purpose::Pass).await.unwrap();
    let unknown = page.runs.iter().filter(|run| matches!(run.observation, Observation::Unknown(_)));
    assert_eq!((unknown.count(), page.runs.len()), (1, 4));
}

#[tokio::test]
async fn nobodys_utm_comes_along() {
    let (stand_in, client) = started(few(&[("o/good/r", Some(GOOD))])).await;
    assert!(matches!(look(&client, "o/good/r").await, Observation::Url(url) if url.as_str() == GOOD));
    let list = format!("{}/api/v1/course_runs/", stand_in.url());
    let (_, answer) = get(&list).await;
    assert!(answer["results"][0]["marketing_url"].as_str().unwrap().contains("utm_source="));
    assert_eq!(get(&format!("{list}?exclude_utm=true")).await.0, 500);
}

// Broken rows

#[tokio::test]
async fn one_broken_row_is_lost_alone() {
    let (stand_in, client) = recorded().await;
    let all: Vec<_> = keys(&stand_in.state().setup.runs).into_iter().take(60).collect();
    let broken = &all[17];
    stand_in.put_broken(broken.as_str(), Health::NoType);
    let found = client.look_up(&all, Purpose::Event).await;
    assert_eq!(found.len(), 60);
    assert_eq!(count(&found, |o| matches!(o, Observation::Unknown(_))), 1);
    assert!(matches!(found[broken], Observation::Unknown(_)));
    assert_eq!(client.gate(), GateState::Closed, "one row says nothing about the Catalog");
}

#[tokio::test]
async fn a_broken_row_makes_its_page_a_500_and_the_gate_stays_open_for_others() {
    let (stand_in, client) = recorded().await;
    stand_in.put_broken("course-v1:AcmeX+BIO110+2024_T2", Health::NoType);
    for _ in 0..6 {
        let error = client.page(0, 20, Purpose::Pass).await.unwrap_err();
        assert!(matches!(error, CatalogError::Status { code: 500, .. }), "{error}");
    }
    assert_eq!(client.page(20, 20, Purpose::Pass).await.unwrap().runs.len(), 20);
    assert_eq!(client.gate(), GateState::Closed);
}

#[tokio::test]
async fn a_run_with_an_odd_key_breaks_full_pages_but_not_ours() {
    let (stand_in, client) = recorded().await;
    stand_in.put_broken("course-v1:Acme X+a+b", Health::BadKey);
    let (status, _) = get(&format!("{}/api/v1/course_runs/?limit=300", stand_in.url())).await;
    assert_eq!(status, 500);
    let page = client.page(0, 300, Purpose::Pass).await.unwrap();
    assert_eq!((page.runs.len(), page.runs.iter().filter(|run| run.key.is_err()).count()), (242, 1));
}

#[tokio::test]
async fn an_ill_catalog_is_not_asked_for_every_run() {
    let (stand_in, client) = recorded().await;
    let all = keys(&stand_in.state().setup.runs);
    stand_in.script(std::iter::repeat_n(Fault::Status(500), 300));
    let found = client.look_up(&all, Purpose::Event).await;
    assert_eq!(count(&found, |o| matches!(o, Observation::Unknown(_))), 240);
    assert!(client.requests() <= 12, "{}", client.requests());
}

// Being let in

fn guarded() -> Setup {
    Setup { auth: Some(Auth::default()), ..Setup::default() }
}

#[tokio::test]
async fn a_token_is_fetched_once_and_used() {
    let (stand_in, client) = started(guarded()).await;
    assert_eq!(crawl(&client, 100).await.len(), 241);
    assert_eq!(client.probe().await.unwrap(), 241);
    assert_eq!(stand_in.stats().tokens, 1);
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_by_one() {
    let (stand_in, client) = started(guarded()).await;
    client.probe().await.unwrap();
    stand_in.revoke_tokens();
    let (one, two) = tokio::join!(client.page(0, 5, Purpose::Event), client.page(5, 5, Purpose::Event));
    assert_eq!((one.unwrap().runs.len(), two.unwrap().runs.len()), (5, 5));
    assert_eq!(stand_in.stats().tokens, 2, "one renewal for both");
}

#[tokio::test]
async fn a_short_lived_token_is_renewed_before_its_end() {
    let auth = Auth { expires_in: 0, ..Auth::default() };
    let (stand_in, client) = started(Setup { auth: Some(auth), ..Setup::default() }).await;
    // Over as soon as issued: refused, renewed once, refused again.
    assert!(matches!(client.probe().await, Err(CatalogError::Unauthorised { token: true })));
    assert_eq!(stand_in.stats().tokens, 2);
}

#[tokio::test]
async fn a_fresh_token_refused_fails_loudly_and_at_once() {
    let (stand_in, client) = started(guarded()).await;
    stand_in.refuse_all_tokens();
    let error = client.probe().await.unwrap_err();
    assert!(matches!(error, CatalogError::Unauthorised { token: true }), "{error}");
    assert_eq!((stand_in.stats().tokens, client.requests()), (2, 2));
    assert!(matches!(look(&client, "o/absent/r").await, Observation::Unknown(_)));
}

#[tokio::test]
async fn without_a_token_configured_a_401_says_so() {
    let stand_in = StandIn::start(guarded()).await;
    let mut settings = settings(&stand_in);
    settings.token_url = None;
    let error = client_with(&settings).probe().await.unwrap_err();
    assert!(error.to_string().contains("no token is configured"), "{error}");
}

#[tokio::test]
async fn a_wrong_secret_is_named_and_never_shown() {
    let stand_in = StandIn::start(guarded()).await;
    let mut settings = settings(&stand_in);
    settings.client_secret = Some("not-the-secret".to_owned().into());
    let client = client_with(&settings);
    let error = client.probe().await.unwrap_err();
    assert!(matches!(&error, CatalogError::Token { transient: false, .. }), "{error}");
    assert!(error.to_string().contains("invalid_client"), "{error}");
    assert!(!format!("{error} {error:?}").contains("not-the-secret"));
    assert!(failure(&client, "o/absent/r").await.contains("invalid_client"));
    assert_eq!(client.requests(), 0, "nothing is asked without a token");
}

#[tokio::test]
async fn a_token_endpoint_that_fails_is_left_alone_after_a_while() {
    let (stand_in, client) = started(guarded()).await;
    stand_in.token_script(std::iter::repeat_n(Fault::Status(503), 100));
    for _ in 0..20 {
        assert!(matches!(client.probe().await, Err(CatalogError::Token { .. })));
    }
    assert!(stand_in.stats().tokens <= 6, "{}", stand_in.stats().tokens);
    let Observation::Unknown(why) = look(&client, "o/absent/r").await else { panic!() };
    assert!(why.reopens_at().is_some(), "{why}");
}

#[tokio::test]
async fn no_error_shows_a_token_that_the_catalog_echoes() {
    let (stand_in, client) = started(guarded()).await;
    stand_in.echo();
    for fault in [Fault::Html200, Fault::Body("{\"count\": ".into()), Fault::Status(502), Fault::Status(403)]
    {
        stand_in.script([fault]);
        let error = client.probe().await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("***"), "the stand-in echoed it: {shown}");
        assert!(!shown.contains("eyJ"), "{shown}");
    }
}

#[tokio::test]
async fn the_probe_tells_the_failures_apart() {
    let (mut stand_in, client) = recorded().await;
    for (fault, words) in [
        (Fault::Status(403), "does not let it read"),
        (Fault::Status(404), "catalog.url is probably wrong"),
        (Fault::Html200, "login or maintenance page"),
        (Fault::Redirect("https://login.example/x?secret=1".into()), "a redirect to https://login.example)"),
        (Fault::Body("[]".into()), "no list of runs"),
        (Fault::Status(503), "answered 503"),
    ] {
        stand_in.script([fault.clone()]);
        let client = client_with(&settings(&stand_in));
        let error = client.probe().await.unwrap_err().to_string();
        assert!(error.contains(words), "{fault:?}: {error}");
        assert_eq!(client.requests(), 1, "{fault:?}");
    }
    stand_in.script([Fault::Throttled(RetryAfter::Seconds(3597))]);
    assert!(matches!(client.probe().await, Err(CatalogError::Throttled { .. })));
    let client = client_with(&settings(&stand_in));
    stand_in.unplug().await;
    assert!(matches!(client.probe().await, Err(CatalogError::Unreachable { closed: false, .. })));
    stand_in.plug().await;
    assert_eq!(client.probe().await.unwrap(), 241);
}

#[tokio::test]
async fn a_path_in_the_root_is_kept_and_a_wrong_one_is_a_404() {
    let (stand_in, client) = started(Setup { root: "/discovery".into(), ..Setup::default() }).await;
    assert_eq!(client.probe().await.unwrap(), 241);
    let mut settings = settings(&stand_in);
    settings.url.set_path("/nowhere");
    let client = client_with(&settings);
    assert!(matches!(client.probe().await, Err(CatalogError::Status { code: 404, .. })));
    assert!(failure(&client, "AcmeX/CS100/2013_Spring").await.contains("404"), "never NotListed");
}

#[tokio::test]
async fn a_redirect_is_never_followed_and_no_token_goes_there() {
    let elsewhere = StandIn::start(Setup::default()).await;
    let (stand_in, client) = started(guarded()).await;
    stand_in.script([Fault::Redirect(format!("{}/api/v1/course_runs/", elsewhere.url()))]);
    assert!(failure(&client, "AcmeX/CS100/2013_Spring").await.contains("redirect"));
    stand_in.token_script([Fault::Redirect(elsewhere.token_url())]);
    stand_in.revoke_tokens();
    assert!(failure(&client, "AcmeX/CS100/2013_Spring").await.contains("redirect"));
    assert_eq!((elsewhere.stats().requests, elsewhere.stats().tokens), (0, 0));
}

// Throttle and outage

#[tokio::test]
async fn a_429_shuts_the_gate_for_everybody() {
    for after in [RetryAfter::Seconds(600), RetryAfter::Date(600)] {
        let (stand_in, client) = recorded().await;
        stand_in.script([Fault::Throttled(after)]);
        assert!(matches!(client.page(0, 5, Purpose::Event).await, Err(CatalogError::Throttled { .. })));
        assert!(matches!(client.gate(), GateState::Throttled { .. }));
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
    assert!(matches!(look(&client, "AcmeX/CS100/2013_Spring").await, Observation::Url(_)));
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
        assert!(matches!(look(&client, "AcmeX/CS100/2013_Spring").await, Observation::Url(_)));
    }
    let Observation::Unknown(why) = look(&client, "AcmeX/CS100/2013_Spring").await else { panic!() };
    assert!(why.reopens_at().is_some());
    assert!(!waiting.is_finished(), "the pass waits");
    waiting.abort();
    assert_eq!(stand_in.stats().requests, 8);
}

#[tokio::test]
async fn an_outage_opens_the_breaker_and_its_end_closes_it() {
    let (mut stand_in, client) = recorded().await;
    stand_in.unplug().await;
    for _ in 0..5 {
        assert!(client.probe().await.is_err());
    }
    assert!(matches!(client.gate(), GateState::Open { .. }));
    let Observation::Unknown(why) = look(&client, "AcmeX/CS100/2013_Spring").await else { panic!() };
    assert!(why.reopens_at().is_some() && why.to_string().contains("no connection"), "{why}");
    assert_eq!(client.requests(), 5, "nothing goes through an open breaker");
    stand_in.plug().await;
    assert_eq!(client.page(0, 5, Purpose::Pass).await.unwrap().runs.len(), 5, "the pass waits for the probe");
    assert_eq!(client.gate(), GateState::Closed);
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

// On the wire

#[tokio::test]
async fn what_passes_is_asked_again() {
    let passing = [Fault::Status(500), Fault::Status(503), Fault::Html200, Fault::Cut, Fault::Close];
    let checks = passing.map(async |fault: Fault| {
        let (stand_in, client) = recorded().await;
        stand_in.script([fault.clone(), fault.clone()]);
        assert!(matches!(look(&client, "AcmeX/CS100/2013_Spring").await, Observation::Url(_)), "{fault:?}");
        assert_eq!(client.requests(), 3, "{fault:?}");
    });
    join_all(checks).await;
}

#[tokio::test]
async fn no_fault_ever_says_no_url_or_not_listed() {
    let odd = [
        Fault::Html200,
        Fault::Cut,
        Fault::Close,
        Fault::Status(500),
        Fault::Status(404),
        Fault::Status(403),
        Fault::Status(400),
        Fault::Body("null".into()),
        Fault::Body("{\"count\": 0}".into()),
        Fault::Body("{\"count\": 1, \"next\": null, \"results\": []}".into()),
        Fault::Body("{\"count\": 1, \"results\": [{\"key\": \"AcmeX/CS100/2013_Spring\"}]}".into()),
        Fault::Body("{\"count\": 0, \"results\": []} trailing".into()),
    ];
    let checks = odd.map(async |fault: Fault| {
        let (stand_in, client) = recorded().await;
        // All ways but this one are shut, so that the retries meet the same.
        stand_in.script(std::iter::repeat_n(fault.clone(), 4));
        stand_in.script(std::iter::repeat_n(Fault::Status(403), 4));
        let observation = look(&client, "AcmeX/CS100/2013_Spring").await;
        assert!(matches!(observation, Observation::Unknown(_)), "{fault:?}: {observation:?}");
    });
    join_all(checks).await;
}

#[tokio::test]
async fn a_url_too_long_is_halved_however_the_server_says_so() {
    for limit in [LineLimit::Gunicorn(800), LineLimit::Uwsgi(800)] {
        let (stand_in, client) = started(Setup { line_limit: limit, ..Setup::default() }).await;
        let all = keys(&stand_in.state().setup.runs);
        let found = client.look_up(&all, Purpose::Event).await;
        assert_eq!(
            count(&found, |o| matches!(o, Observation::Url(_) | Observation::NoUrl)),
            240,
            "{limit:?}"
        );
        assert_eq!(client.gate(), GateState::Closed);
        assert!(client.requests() <= 30, "{limit:?}: {}", client.requests());
    }
}

#[tokio::test]
async fn a_slow_drip_ends_at_the_time_limit() {
    let stand_in = StandIn::start(Setup::default()).await;
    let client = client_with(&config::Catalog { timeout: Duration::from_millis(300), ..settings(&stand_in) });
    stand_in.script([Fault::Drip(1, 50)]);
    assert!(matches!(client.probe().await, Err(CatalogError::Timeout(_))));
    stand_in.script([Fault::Hang]);
    assert!(matches!(client.probe().await, Err(CatalogError::Timeout(_))));
    stand_in.script([Fault::Drip(5000, 1)]);
    assert_eq!(client.probe().await.unwrap(), 241);
}

#[tokio::test]
async fn a_body_over_the_cap_is_not_read_to_its_end() {
    let stand_in = StandIn::start(Setup::default()).await;
    let client = client_with(&config::Catalog { max_body_bytes: 64 * 1024, ..settings(&stand_in) });
    stand_in.script([Fault::Big(64 * 1024 + 1)]);
    let error = client.page(0, 5, Purpose::Event).await.unwrap_err();
    assert!(matches!(error, CatalogError::Unreadable(Defect::TooLarge(_))), "{error}");
    assert_eq!(client.page(0, 241, Purpose::Event).await.unwrap().runs.len(), 241, "36 kB fit");
}

#[tokio::test]
async fn a_million_runs_are_served_and_read_page_by_page() {
    let (_stand_in, client) = started(Setup { runs: Runs::generated(1_000_000), ..Setup::default() }).await;
    let page = client.page(999_900, 1000, Purpose::Pass).await.unwrap();
    assert_eq!((page.count, page.runs.len()), (1_000_000, 100));
    assert!(matches!(look(&client, "course-v1:OrgX+C0765432+2026_T1").await, Observation::Url(_)));
}

#[tokio::test]
async fn chaos_never_invents_a_null_or_an_absence() {
    let (stand_in, client) = recorded().await;
    let all = keys(&stand_in.state().setup.runs);
    {
        let mut state = stand_in.state();
        let ratios = &mut state.faults.ratios;
        (ratios.server_error, ratios.html200, ratios.cut, ratios.close) = (0.1, 0.1, 0.1, 0.1);
        (ratios.foreign, ratios.relative) = (0.0, 0.2);
    }
    let found = client.look_up(&all, Purpose::Command).await;
    assert_eq!(found.len(), 240);
    assert_eq!(count(&found, |o| matches!(o, Observation::NotListed)), 0);
    assert!(count(&found, |o| matches!(o, Observation::NoUrl)) <= 40);
}
