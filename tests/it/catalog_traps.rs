//! Each trap that a running course-discovery was seen to set, walked into by the real client.

#![allow(clippy::unwrap_used, reason = "the helpers are tests too, as far as failing goes")]

mod broken_rows;
mod changes;
mod let_in;
mod outage;
mod paging;
mod values;
mod wire;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use course_sharing::catalog::{CatalogError, Circuit, Client, Defect, Observation, Purpose};
use course_sharing::config;
use course_sharing::model::course_key::{CourseKey, RunKey};
use course_sharing::model::marketing_url::UrlPolicy;
use futures_util::future::join_all;

use stand_in::{Auth, Churn, Fault, Health, LineLimit, RetryAfter, Run, Runs, Setup, StandIn, Throttle};

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
    Client::new(settings, UrlPolicy { allowed_hosts: Vec::new(), allow_http: false }, &[]).unwrap()
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
        if page.rows.is_empty() {
            return seen;
        }
        assert_eq!(page.count, 241);
        seen.extend(page.rows.iter().map(|run| run.key.as_ref().unwrap().to_string()));
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
