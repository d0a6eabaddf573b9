//! A Catalog that behaves as a running course-discovery was seen to, oddities included, for tests, demo and benches.
//!
//! It speaks HTTP by itself, on a bare socket, since half of what matters happens below any framework: answers cut
//! in the middle, connections closed without one, a byte at a time.
//!
//! `runs`: what is listed · `query`, `list`: paging and `keys=` · `courses`: what changed, by way of drafts · `auth`: tokens and throttle · `faults`: what goes
//! wrong · `server`: one connection · `control`: the hand from outside, `/_control/` · `wire`: bytes.

#![allow(clippy::disallowed_methods, reason = "a server of its own")]

mod auth;
mod control;
mod courses;
mod faults;
mod list;
mod query;
mod runs;
mod server;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use tokio::task::JoinHandle;

pub use self::auth::{Auth, Throttle};
pub use self::courses::Draft;
pub use self::faults::{Fault, Faults, Ratios, RetryAfter};
pub use self::runs::{Health, Run, Runs};

/// How long a request line the server in front takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineLimit {
    /// Any.
    None,
    /// gunicorn: an HTML 400 above so many bytes of request line; 4,094 by default.
    Gunicorn(usize),
    /// uWSGI's http with its default buffer: above so many bytes of target the connection is closed, without a word.
    Uwsgi(usize),
}

/// What changes behind the back of whoever pages, after each page served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Churn {
    /// A run is inserted before all others: the next page repeats one.
    InsertFirst,
    /// The first run is deleted: the next page skips one.
    DeleteFirst,
}

/// How to start one.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Port 0: any free one.
    pub listen: SocketAddr,
    /// What is listed.
    pub runs: Runs,
    /// None: anyone may read.
    pub auth: Option<Auth>,
    /// Requests an hour.
    pub throttle: Option<Throttle>,
    /// Each connection ends after one answer, without having said so: whoever keeps it will find it closed.
    pub hangs_up: bool,
    /// The server in front.
    pub line_limit: LineLimit,
    /// The host that `next` and `previous` name, instead of the one that was asked.
    pub foreign_host: Option<String>,
    /// How long an answer takes.
    pub latency: Duration,
    /// And how much longer for each run in it, unless it comes from the cache; some 5 ms in a running one.
    pub latency_per_run: Duration,
    /// Seconds by which its clock is ahead.
    pub clock_ahead: i64,
    /// For faults by chance.
    pub seed: u64,
    /// Path of the root, as `/sub`; empty for none.
    pub root: String,
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
            clock_ahead: 0,
            seed: 1,
            root: String::new(),
        }
    }
}

/// What it has been asked so far.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Stats {
    /// Requests to the Catalog, whatever they were answered; without the token endpoint and `/_control/`.
    pub requests: u64,
    /// Of these: lists of runs.
    pub lists: u64,
    /// Of these: lists of courses.
    pub courses: u64,
    /// Of these: lists that came from the page cache.
    pub cached: u64,
    /// Of these: single runs.
    pub singles: u64,
    /// Keys in all `keys=` together.
    pub keys_asked: u64,
    /// Requests to the token endpoint.
    pub tokens: u64,
    /// Requests answered 429 by the throttle.
    pub throttled: u64,
    /// The largest number of Catalog requests at once.
    pub most_at_once: u64,
    /// The last thousand request targets, oldest first.
    pub targets: VecDeque<String>,
    #[serde(skip)]
    at_once: u64,
}

/// Everything that a request can see or change.
pub struct State {
    /// As started, as far as it was not changed since.
    pub setup: Setup,
    /// Faults to come.
    pub faults: Faults,
    /// Faults of the token endpoint.
    pub token_faults: Faults,
    /// What every request for courses meets.
    pub courses_fault: Option<Fault>,
    /// Runs come and go after each page.
    pub churn: Option<Churn>,
    /// Answers quote the request's `Authorization`, as a debug page may.
    pub echo: bool,
    /// Every connection is closed without an answer, but for `/_control/`.
    pub off: bool,
    pub stats: Stats,
    doorkeeper: auth::Doorkeeper,
    chance: StdRng,
    churned: u64,
    courses: courses::Courses,
    /// Pages by their whole URL, with the global stamp at which they were made.
    cache: HashMap<String, ((u64, u64), wire::Reply)>,
}

/// A stand-in that runs until it is dropped.
pub struct StandIn {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: Option<JoinHandle<()>>,
}

impl StandIn {
    /// Starts one; it listens when this returns.
    pub async fn start(setup: Setup) -> Self {
        let listener = server::bind(setup.listen).await;
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = State {
            chance: StdRng::seed_from_u64(setup.seed),
            setup,
            faults: Faults::default(),
            token_faults: Faults::default(),
            courses_fault: None,
            churn: None,
            echo: false,
            off: false,
            stats: Stats::default(),
            doorkeeper: auth::Doorkeeper::default(),
            churned: 0,
            courses: courses::Courses::default(),
            cache: HashMap::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let accepting = Some(server::accept(listener, Arc::clone(&state)));
        Self { address, state, accepting }
    }

    /// The root, for `catalog.url`.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.address, self.state().setup.root)
    }

    /// For `catalog.token_url`.
    pub fn token_url(&self) -> String {
        format!("http://{}/oauth2/access_token", self.address)
    }

    /// To look at or change anything. Not to be held over an `.await`.
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// A copy of the counters.
    pub fn stats(&self) -> Stats {
        self.state().stats.clone()
    }

    /// Saves a draft, which the course's stamp shows at once and the official run later.
    pub fn save_draft(&self, draft: Draft) {
        self.state().save_draft(draft);
    }

    /// All that waits happens now: stamps are committed, and the official runs become as their drafts are.
    pub fn publish_drafts(&self) {
        self.state().settle_drafts(true);
    }

    /// Empties the page cache.
    pub fn empty_cache(&self) {
        self.state().cache.clear();
    }

    /// Adds an official run, or changes the one with this very key. No stamp moves.
    pub fn put(&self, key: &str, url: Option<&str>) {
        self.state().setup.runs.put(Run::new(key, url));
    }

    /// The same, with these values for what `sync.also` may ask for.
    pub fn put_also(&self, key: &str, url: Option<&str>, financial_aid: Value, language: Value) {
        self.state().setup.runs.put(Run { financial_aid, language, ..Run::new(key, url) });
    }

    /// Adds a run that breaks the answers that it is in.
    pub fn put_broken(&self, key: &str, health: Health) {
        self.state().setup.runs.put(Run { health, ..Run::new(key, Some("https://www.campus.example/b")) });
    }

    /// Takes a run away.
    pub fn remove(&self, key: &str) {
        self.state().setup.runs.remove(key);
    }

    /// What the next requests meet, one each; then all is well again.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.script.extend(faults);
    }

    /// The same for the token endpoint.
    pub fn token_script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().token_faults.script.extend(faults);
    }

    /// Closes every connection without an answer, or ends that.
    pub fn off(&self, off: bool) {
        self.state().off = off;
    }

    /// All tokens issued so far are refused from now on.
    pub fn revoke_tokens(&self) {
        self.state().doorkeeper.revoke();
    }

    /// No token is good enough any more, not even a fresh one; as with a wrong signing key.
    pub fn refuse_all_tokens(&self) {
        self.state().doorkeeper.refuse_all();
    }

    /// Bodies of faults quote the request's `Authorization` from now on, as a debug page may.
    pub fn echo(&self) {
        self.state().echo = true;
    }

    /// Stops listening: connections are refused, and those there are end.
    pub async fn unplug(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            let _ = accepting.await;
        }
    }

    /// Listens again, at the same address.
    pub async fn plug(&mut self) {
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
