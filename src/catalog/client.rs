//! What the rest of the program may ask of the Catalog.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use url::Url;

use crate::config;
use crate::model::extra_columns::AlsoColumn;
use crate::model::marketing_url::UrlPolicy;

use super::circuit_breaker::Circuit;
use super::error::{CatalogError, ClientError};
use super::rate_limiter::RateLimiter;
use super::request::Requests;
use super::retry_policy::Kind;
use super::token::Tokens;
use super::url::Urls;
use super::wire::Page;
use super::{Purpose, transport};

/// The Catalog. Clones share connections, token and rate limiter; a process has one.
#[derive(Clone)]
pub struct Client {
    pub(super) requests: Arc<Requests>,
    pub(super) urls: Arc<Urls>,
}

impl Client {
    /// A client; connects to nothing yet. `also` as in `sync.also`.
    ///
    /// # Errors
    /// TLS cannot be set up where it is needed.
    pub fn new(
        settings: &config::Catalog,
        policy: UrlPolicy,
        also: &[AlsoColumn],
    ) -> Result<Self, ClientError> {
        let is_tls = |url: &Url| url.scheme() == "https";
        let needs_tls = is_tls(&settings.url) || settings.token_url.as_ref().is_some_and(|url| is_tls(url));
        let http = transport::http(settings.concurrency, needs_tls)?;
        let requests = Requests {
            limiter: RateLimiter::new(settings.concurrency, settings.requests_per_hour),
            tokens: Tokens::new(http.clone(), settings),
            http,
            timeout: settings.timeout,
            max_body_bytes: settings.max_body_bytes,
            policy,
            also: also.to_vec(),
            sent: AtomicU64::new(0),
        };
        let urls = Arc::new(Urls::new(&settings.url, settings.max_url_bytes, also));
        Ok(Self { requests: Arc::new(requests), urls })
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
        self.requests.ask(&self.urls.page(offset, limit), Kind::Page, purpose).await
    }

    /// For `check`: fetches a token and a list of one run, in one attempt.
    pub async fn probe(&self) -> Result<Page, CatalogError> {
        self.requests.ask(&self.urls.page(0, 1), Kind::Probe, Purpose::Command).await
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
