//! A Catalog that behaves as a running course-discovery was seen to, oddities included, for tests, demo and benches.
//!
//! It speaks HTTP by itself, on a bare socket, since half of what matters happens below any framework: answers cut
//! in the middle, connections closed without one, a byte at a time.
//!
//! `runs`: what is listed · `query`, `list`: paging and `keys=` · `auth`: tokens and throttle · `faults`: what goes
//! wrong · `server`: one connection · `control`: the hand from outside, `/_control/` · `wire`: bytes.

#![allow(
    dead_code,
    unused_imports,
    reason = "included by the tests and by an example, and each uses a part of it"
)]

mod auth;
mod control;
mod faults;
mod list;
mod query;
mod runs;
mod server;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use tokio::task::JoinHandle;

pub(crate) use self::auth::{Auth, Throttle};
pub(crate) use self::faults::{Fault, Faults, Ratios, RetryAfter};
pub(crate) use self::runs::{Health, Run, Runs};

/// How long a request line the server in front takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineLimit {
    /// Any.
    None,
    /// gunicorn: an HTML 400 above so many bytes of request line; 4,094 by default.
    Gunicorn(usize),
    /// uWSGI's http with its default buffer: above so many bytes of target the connection is closed, without a word.
    Uwsgi(usize),
}

/// What changes behind the back of whoever pages, after each page served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Churn {
    /// A run is inserted before all others: the next page repeats one.
    InsertFirst,
    /// The first run is deleted: the next page skips one.
    DeleteFirst,
}

/// How to start one.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// Port 0: any free one.
    pub(crate) listen: SocketAddr,
    /// What is listed.
    pub(crate) runs: Runs,
    /// None: anyone may read.
    pub(crate) auth: Option<Auth>,
    /// Requests an hour.
    pub(crate) throttle: Option<Throttle>,
    /// Each connection ends after one answer, without having said so: whoever keeps it will find it closed.
    pub(crate) hangs_up: bool,
    /// The server in front.
    pub(crate) line_limit: LineLimit,
    /// The host that `next` and `previous` name, instead of the one that was asked.
    pub(crate) foreign_host: Option<String>,
    /// How long an answer takes.
    pub(crate) latency: Duration,
    /// And how much longer for each run in it; some 5 ms in a running one.
    pub(crate) latency_per_run: Duration,
    /// For faults by chance.
    pub(crate) seed: u64,
    /// Path of the root, as `/sub`; empty for none.
    pub(crate) root: String,
}

impl Default for Setup {
    /// The recorded 241 runs behind gunicorn, open to all.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            runs: Runs::recorded(),
            auth: None,
            throttle: None,
            hangs_up: false,
            line_limit: LineLimit::Gunicorn(4094),
            foreign_host: None,
            latency: Duration::ZERO,
            latency_per_run: Duration::ZERO,
            seed: 1,
            root: String::new(),
        }
    }
}

/// What it has been asked so far.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub(crate) struct Stats {
    /// Requests to the Catalog, whatever they were answered; without the token endpoint and `/_control/`.
    pub(crate) requests: u64,
    /// Of these: lists.
    pub(crate) lists: u64,
    /// Of these: single runs.
    pub(crate) singles: u64,
    /// Keys in all `keys=` together.
    pub(crate) keys_asked: u64,
    /// Requests to the token endpoint.
    pub(crate) tokens: u64,
    /// Requests answered 429 by the throttle.
    pub(crate) throttled: u64,
    /// The largest number of Catalog requests at once.
    pub(crate) most_at_once: u64,
    /// The last thousand request targets, oldest first.
    pub(crate) targets: VecDeque<String>,
    #[serde(skip)]
    at_once: u64,
}

/// Everything that a request can see or change.
pub(crate) struct State {
    /// As started, as far as it was not changed since.
    pub(crate) setup: Setup,
    /// Faults to come.
    pub(crate) faults: Faults,
    /// Faults of the token endpoint.
    pub(crate) token_faults: Faults,
    /// Runs come and go after each page.
    pub(crate) churn: Option<Churn>,
    /// Answers quote the request's `Authorization`, as a debug page may.
    pub(crate) echo: bool,
    /// Every connection is closed without an answer, but for `/_control/`.
    pub(crate) off: bool,
    pub(crate) stats: Stats,
    doorkeeper: auth::Doorkeeper,
    chance: StdRng,
    churned: u64,
}

/// A stand-in that runs until it is dropped.
pub(crate) struct StandIn {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: Option<JoinHandle<()>>,
}

impl StandIn {
    /// Starts one; it listens when this returns.
    pub(crate) async fn start(setup: Setup) -> Self {
        let listener = server::bind(setup.listen).await;
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = State {
            chance: StdRng::seed_from_u64(setup.seed),
            setup,
            faults: Faults::default(),
            token_faults: Faults::default(),
            churn: None,
            echo: false,
            off: false,
            stats: Stats::default(),
            doorkeeper: auth::Doorkeeper::default(),
            churned: 0,
        };
        let state = Arc::new(Mutex::new(state));
        let accepting = Some(server::accept(listener, Arc::clone(&state)));
        Self { address, state, accepting }
    }

    /// The root, for `catalog.url`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}{}", self.address, self.state().setup.root)
    }

    /// For `catalog.token_url`.
    pub(crate) fn token_url(&self) -> String {
        format!("http://{}/oauth2/access_token", self.address)
    }

    /// To look at or change anything. Not to be held over an `.await`.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// A copy of the counters.
    pub(crate) fn stats(&self) -> Stats {
        self.state().stats.clone()
    }

    /// Adds a run, or changes the one with this very key.
    pub(crate) fn put(&self, key: &str, url: Option<&str>) {
        self.state().setup.runs.put(Run::new(key, url));
    }

    /// The same, with these values for what `sync.also` may ask for.
    pub(crate) fn put_also(&self, key: &str, url: Option<&str>, financial_aid: Value, language: Value) {
        self.state().setup.runs.put(Run { financial_aid, language, ..Run::new(key, url) });
    }

    /// Adds a run that breaks the answers that it is in.
    pub(crate) fn put_broken(&self, key: &str, health: Health) {
        self.state().setup.runs.put(Run { health, ..Run::new(key, Some("https://www.campus.example/b")) });
    }

    /// Takes a run away.
    pub(crate) fn remove(&self, key: &str) {
        self.state().setup.runs.remove(key);
    }

    /// What the next requests meet, one each; then all is well again.
    pub(crate) fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.script.extend(faults);
    }

    /// The same for the token endpoint.
    pub(crate) fn token_script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().token_faults.script.extend(faults);
    }

    /// Closes every connection without an answer, or ends that.
    pub(crate) fn off(&self, off: bool) {
        self.state().off = off;
    }

    /// All tokens issued so far are refused from now on.
    pub(crate) fn revoke_tokens(&self) {
        self.state().doorkeeper.revoke();
    }

    /// No token is good enough any more, not even a fresh one; as with a wrong signing key.
    pub(crate) fn refuse_all_tokens(&self) {
        self.state().doorkeeper.refuse_all();
    }

    /// Bodies of faults quote the request's `Authorization` from now on, as a debug page may.
    pub(crate) fn echo(&self) {
        self.state().echo = true;
    }

    /// Stops listening: connections are refused, and those there are end.
    pub(crate) async fn unplug(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            let _ = accepting.await;
        }
    }

    /// Listens again, at the same address.
    pub(crate) async fn plug(&mut self) {
        if self.accepting.is_none() {
            let listener = server::bind(self.address).await;
            self.accepting = Some(server::accept(listener, Arc::clone(&self.state)));
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
