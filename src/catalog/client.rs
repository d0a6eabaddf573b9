//! The face of the room: what the rest of the program may ask of the Catalog.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::also::AlsoColumn;
use crate::config;
use crate::course_key::{CourseKey, CourseKeyError, RunKey};
use crate::marketing_url::UrlPolicy;

use super::answers::{listed_key, observation};
use super::asking::Asker;
use super::door::Door;
use super::error::CatalogError;
use super::gate::GateState;
use super::observation::Observation;
use super::target::Targets;
use super::token::Tokens;
use super::verdict::Kind;
use super::wire::Row;
use super::{Purpose, look_up, transport};

/// The Catalog. Clones share connections, token and gate: a process has one.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    asker: Asker,
    targets: Targets,
    policy: UrlPolicy,
}

/// One stretch of the whole list.
#[derive(Debug)]
pub struct Page {
    /// How many runs the whole list has, as the Catalog says.
    pub count: u64,
    /// What came: fewer than asked for at the end, none past it.
    pub runs: Vec<ListedRun>,
    /// The body's length.
    pub bytes: usize,
    /// From sending the request to the last byte; without retries, and without waiting at the gate.
    pub elapsed: Duration,
}

/// One run of a page.
#[derive(Debug)]
pub struct ListedRun {
    /// Its key, or why it has none.
    pub key: Result<CourseKey, CourseKeyError>,
    /// `Url`, `NoUrl`, `Refused`, or `Unknown` with an odd row.
    pub observation: Observation,
    /// Columns of `sync.also` for which the row holds nothing usable.
    pub odd: Vec<AlsoColumn>,
}

impl Client {
    /// A client that has asked nothing yet; `also` as in `sync.also`.
    ///
    /// # Errors
    /// [`CatalogError::Unreachable`] if TLS cannot be set up; [`CatalogError::Token`] if `token_url` stands without
    /// id or secret.
    pub fn new(
        settings: &config::Catalog,
        policy: UrlPolicy,
        also: &[AlsoColumn],
    ) -> Result<Self, CatalogError> {
        let http = transport::http(settings.concurrency)?;
        let tokens = match (&settings.token_url, &settings.client_id, &settings.client_secret) {
            (None, _, _) => None,
            (Some(url), Some(id), Some(secret)) => {
                Some(Tokens::new(http.clone(), (**url).clone(), id.clone(), secret.clone(), settings.timeout))
            }
            _ => {
                let why = "catalog.client_id and catalog.client_secret are needed too".to_owned();
                return Err(CatalogError::Token { why, transient: false, until: None });
            }
        };
        let asker = Asker {
            door: Door::new(settings.concurrency, settings.requests_per_hour),
            tokens,
            http,
            timeout: settings.timeout,
            max_body_bytes: settings.max_body_bytes,
            also: also.to_vec(),
            sent: AtomicU64::new(0),
        };
        let targets = Targets::new(&settings.url, settings.max_url_bytes, also);
        Ok(Self(Arc::new(Inner { asker, targets, policy })))
    }

    /// What the Catalog says about each of these runs. Every key has an entry. It asks in as few requests as
    /// `catalog.max_url_bytes` allows, one after another.
    pub async fn look_up(&self, keys: &[RunKey], purpose: Purpose) -> HashMap<RunKey, Observation> {
        look_up::look_up(&self.0.asker, &self.0.targets, &self.0.policy, keys, purpose).await
    }

    /// The runs from `offset` on, `limit` of them (at least one), with quick retries.
    ///
    /// # Errors
    /// The last failure. A 500 may come of a single broken run in the page.
    pub async fn page(&self, offset: u64, limit: u32, purpose: Purpose) -> Result<Page, CatalogError> {
        let target = self.0.targets.page(offset, limit);
        let answered = self.0.asker.ask(&target, Kind::Page, purpose).await?;
        let run = |row: &Row| ListedRun {
            key: listed_key(row),
            observation: observation(&row.url, &row.also, &self.0.policy),
            odd: row.odd.clone(),
        };
        Ok(Page {
            count: answered.list.count,
            runs: answered.list.rows.iter().map(run).collect(),
            bytes: answered.bytes,
            elapsed: answered.elapsed,
        })
    }

    /// For `check`: a token, and a list of one run, in one attempt. How many runs there are.
    ///
    /// # Errors
    /// What is wrong, in words that say what to do about it.
    pub async fn probe(&self) -> Result<u64, CatalogError> {
        let target = self.0.targets.page(0, 1);
        Ok(self.0.asker.ask(&target, Kind::Probe, Purpose::Command).await?.list.count)
    }

    /// What an event would meet now.
    pub fn gate(&self) -> GateState {
        self.0.asker.door.state()
    }

    /// Requests in the last hour, if `catalog.requests_per_hour` is set, and that setting.
    pub fn budget(&self) -> (Option<u64>, u32) {
        self.0.asker.door.spent()
    }

    /// Bytes that the value of `keys=` may take in one request; see [`super::key_cost`].
    pub fn key_budget(&self) -> usize {
        self.0.targets.key_budget()
    }

    /// Requests sent to the Catalog so far, with retries and without the token endpoint's.
    pub fn requests(&self) -> u64 {
        self.0.asker.sent.load(Ordering::Relaxed)
    }
}
