//! `/_control/`: the hand from outside, for demo and process tests. It answers even when the Catalog is off.
//!
//! `PUT run {"key", "marketing_url", "broken": "bad_key" | "no_type"}` · `DELETE run {"key"}` ·
//! `PUT draft {"key", "marketing_url", "official_after_ms"}` · `POST publish` (all drafts) · `POST off` · `POST on` ·
//! `GET stats` · `POST revoke` · `POST faults {"script": ["500", …], "token_script", "ratios": {"cut": 0.1, …},
//! "seed", "latency_ms", "ms_per_run", "clock_ahead": SECONDS, "churn": "insert" | "delete" | "none"}`; what is left out stays.

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Deserialize;
use serde_json::json;

use super::faults::{Fault, Ratios};
use super::runs::{Health, Run};
use super::wire::{Reply, Request};
use super::{Churn, Draft, State};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Put {
    key: String,
    #[serde(default)]
    marketing_url: Option<String>,
    #[serde(default)]
    broken: Option<Broken>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PutDraft {
    key: String,
    #[serde(default)]
    marketing_url: Option<String>,
    #[serde(default)]
    official_after_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Broken {
    BadKey,
    NoType,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Orders {
    script: Vec<String>,
    token_script: Vec<String>,
    ratios: Option<Ratios>,
    seed: Option<u64>,
    latency_ms: Option<u64>,
    ms_per_run: Option<f64>,
    clock_ahead: Option<i64>,
    churn: Option<String>,
}

/// Does what is asked; 400 with the reason, if it cannot be understood.
pub(super) fn answer(state: &mut State, request: &Request) -> Reply {
    let done = match (request.method.as_str(), request.path()) {
        ("PUT", "/_control/run") => put(state, &request.body),
        ("DELETE", "/_control/run") => remove(state, &request.body),
        ("PUT", "/_control/draft") => draft(state, &request.body),
        ("POST", "/_control/publish") => {
            state.settle_drafts(true);
            Ok(json!({}))
        }
        ("POST", "/_control/off") => {
            state.off = true;
            Ok(json!({"off": true}))
        }
        ("POST", "/_control/on") => {
            state.off = false;
            Ok(json!({"off": false}))
        }
        ("POST", "/_control/revoke") => {
            state.doorkeeper.revoke();
            Ok(json!({}))
        }
        ("POST", "/_control/faults") => faults(state, &request.body),
        ("GET", "/_control/stats") => stats(state),
        _ => return Reply::detail(404, "There is no such control."),
    };
    done.map_or_else(|why| Reply::detail(400, &why), |body| Reply::json(200, &body))
}

fn put(state: &mut State, body: &[u8]) -> Result<serde_json::Value, String> {
    let put: Put = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let health = match put.broken {
        None => Health::Sound,
        Some(Broken::BadKey) => Health::BadKey,
        Some(Broken::NoType) => Health::NoType,
    };
    state.setup.runs.put(Run { health, ..Run::new(&put.key, put.marketing_url.as_deref()) });
    Ok(json!({"runs": state.setup.runs.count()}))
}

fn draft(state: &mut State, body: &[u8]) -> Result<serde_json::Value, String> {
    let put: PutDraft = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let official_after = put.official_after_ms.map_or(Duration::MAX, Duration::from_millis);
    let draft = Draft::new(&put.key, put.marketing_url.as_deref());
    state.save_draft(Draft { official_after, ..draft });
    Ok(json!({}))
}

fn remove(state: &mut State, body: &[u8]) -> Result<serde_json::Value, String> {
    let put: Put = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let removed = state.setup.runs.remove(&put.key);
    Ok(json!({"removed": removed, "runs": state.setup.runs.count()}))
}

fn stats(state: &State) -> Result<serde_json::Value, String> {
    let mut stats = serde_json::to_value(&state.stats).map_err(|error| error.to_string())?;
    stats["runs"] = json!(state.setup.runs.count());
    stats["off"] = json!(state.off);
    Ok(stats)
}

fn faults(state: &mut State, body: &[u8]) -> Result<serde_json::Value, String> {
    let orders: Orders = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let parse = |names: &[String]| -> Result<Vec<Fault>, String> {
        names.iter().map(|name| Fault::parse(name).ok_or(format!("there is no fault {name:?}"))).collect()
    };
    let (script, token_script) = (parse(&orders.script)?, parse(&orders.token_script)?);
    let churn = match orders.churn.as_deref() {
        None => state.churn,
        Some("insert") => Some(Churn::InsertFirst),
        Some("delete") => Some(Churn::DeleteFirst),
        Some("none") => None,
        Some(other) => return Err(format!("there is no churn {other:?}")),
    };
    state.churn = churn;
    state.faults.script.extend(script);
    state.token_faults.script.extend(token_script);
    if let Some(ratios) = orders.ratios {
        state.faults.ratios = ratios;
    }
    if let Some(seed) = orders.seed {
        state.chance = StdRng::seed_from_u64(seed);
    }
    if let Some(seconds) = orders.clock_ahead.filter(|seconds| seconds.unsigned_abs() < 1_000_000_000) {
        state.setup.clock_ahead = seconds;
    }
    if let Some(latency) = orders.latency_ms {
        state.setup.latency = Duration::from_millis(latency);
    }
    if let Some(latency) = orders.ms_per_run.filter(|ms| (0.0..60_000.0).contains(ms)) {
        state.setup.latency_per_run = Duration::from_secs_f64(latency / 1000.0);
    }
    Ok(json!({"script": state.faults.script.len()}))
}
