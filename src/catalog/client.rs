//! What the rest of the program may ask of the Catalog.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use url::Url;

use crate::config;
use crate::model::course_key::{CourseKey, CourseKeyError};
use crate::model::extra_columns::AlsoColumn;
use crate::model::marketing_url::UrlPolicy;

use super::circuit_breaker::Circuit;
use super::error::{CatalogError, ClientError};
use super::observation::{Observation, listed_key, observation};
use super::rate_limiter::RateLimiter;
use super::request::Requests;
use super::retry_policy::Kind;
use super::token::Tokens;
use super::url::Urls;
use super::wire::Row;
use super::{Purpose, transport};

/// What [`Client::probe`] has found.
#[derive(Debug)]
pub struct Probed {
    /// The number of runs that the Catalog lists.
    pub runs: u64,
    /// By how much the Catalog's clock is ahead of ours, to the second, if it says.
    pub clock_ahead: Option<TimeDelta>,
}

/// The Catalog. Clones share connections, token and rate limiter; a process has one.
#[derive(Clone)]
pub struct Client {
    pub(super) requests: Arc<Requests>,
    pub(super) policy: Arc<UrlPolicy>,
    pub(super) urls: Arc<Urls>,
}

/// One page of the whole list.
#[derive(Debug)]
pub struct Page {
    /// The number of runs in the whole list, as the Catalog says.
    pub count: u64,
    /// Fewer than asked for at the end of the list, none past it.
    pub runs: Vec<ListedRun>,
    /// The length of the body.
    pub bytes: usize,
    /// From sending the request to the last byte, without waits and retries.
    pub elapsed: Duration,
}

/// One run of a page.
#[derive(Debug)]
pub struct ListedRun {
    /// Its key, or what is wrong with it.
    pub key: Result<CourseKey, CourseKeyError>,
    /// `Url`, `NoUrl`, `Refused`, or `Unknown` if the row cannot be used.
    pub observation: Observation,
    /// Columns of `sync.also` with a value that cannot be used.
    pub odd: Vec<AlsoColumn>,
}

impl Client {
    /// A client; connects to nothing yet. `also` as in `sync.also`.
    ///
    /// # Errors
    /// [`ClientError`]: TLS cannot be set up where it is needed, or `token_url` is there without id or secret.
    pub fn new(
        settings: &config::Catalog,
        policy: UrlPolicy,
        also: &[AlsoColumn],
    ) -> Result<Self, ClientError> {
        let is_tls = |url: &Url| url.scheme() == "https";
        let needs_tls = is_tls(&settings.url) || settings.token_url.as_ref().is_some_and(|url| is_tls(url));
        let http = transport::http(settings.concurrency, needs_tls)?;
        let tokens = match (&settings.token_url, &settings.client_id, &settings.client_secret) {
            (None, _, _) => None,
            (Some(url), Some(id), Some(secret)) => {
                Some(Tokens::new(http.clone(), (**url).clone(), id.clone(), secret.clone(), settings.timeout))
            }
            _ => return Err(ClientError::NoCredentials),
        };
        let requests = Requests {
            limiter: RateLimiter::new(settings.concurrency, settings.requests_per_hour),
            tokens,
            http,
            timeout: settings.timeout,
            max_body_bytes: settings.max_body_bytes,
            also: also.to_vec(),
            sent: AtomicU64::new(0),
        };
        let urls = Arc::new(Urls::new(&settings.url, settings.max_url_bytes, also));
        Ok(Self { requests: Arc::new(requests), policy: Arc::new(policy), urls })
    }

    /// The same Catalog, asked past its cache: it keeps whole answers by URL, and forgets them only when it sees a row of
    /// its own saved, which it does not see of everything.
    #[must_use]
    pub(crate) fn past_cache(&self) -> Self {
        Self { urls: Arc::new(self.urls.past_cache(rand::random())), ..self.clone() }
    }

    /// The runs from `offset` on, `limit` of them (at least one), with quick retries.
    ///
    /// # Errors
    /// The last failure. A single broken run of the page may cause a 500.
    pub async fn page(&self, offset: u64, limit: u32, purpose: Purpose) -> Result<Page, CatalogError> {
        let target = self.urls.page(offset, limit);
        let answered = self.requests.ask(&target, Kind::Page, purpose).await?;
        let run = |row: &Row| ListedRun {
            key: listed_key(row),
            observation: observation(&row.url, &row.also, &self.policy),
            odd: row.odd.clone(),
        };
        Ok(Page {
            count: answered.list.count,
            runs: answered.list.rows.iter().map(run).collect(),
            bytes: answered.bytes,
            elapsed: answered.elapsed,
        })
    }

    /// For `check`: fetches a token and a list of one run, in one attempt.
    pub async fn probe(&self) -> Result<Probed, CatalogError> {
        let target = self.urls.page(0, 1);
        let answered = self.requests.ask(&target, Kind::Probe, Purpose::Command).await?;
        Ok(Probed { runs: answered.list.count, clock_ahead: answered.clock_ahead })
    }

    /// What an event would meet now.
    pub fn circuit(&self) -> Circuit {
        self.requests.limiter.circuit()
    }

    /// Since when the Catalog fails, where requests are held back for that.
    pub fn failing_since(&self) -> Option<Instant> {
        self.requests.limiter.failing_since()
    }

    /// Requests in the last hour, if `catalog.requests_per_hour` is set, and that setting.
    pub fn budget(&self) -> (Option<u64>, u32) {
        self.requests.limiter.spent()
    }

    /// The bytes that the value of `keys=` may take in one request; see [`super::key_cost`].
    pub(crate) fn key_budget(&self) -> usize {
        self.urls.key_budget()
    }

    /// Requests sent to the Catalog so far, with retries and without those for tokens.
    pub fn requests(&self) -> u64 {
        self.requests.sent.load(Ordering::Relaxed)
    }
}
