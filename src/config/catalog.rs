//! `[catalog]`

use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;

use super::{ConfigError, WebUrl, bounds, duration::duration};

/// course-discovery, and how gently it is asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Catalog {
    /// The root; `/api/v1/course_runs/` is appended, a path in it is kept.
    pub url: WebUrl,
    /// The LMS's token endpoint, usually `<LMS>/oauth2/access_token`. None: no authentication.
    pub token_url: Option<WebUrl>,
    /// OAuth2 client id.
    pub client_id: Option<String>,
    /// OAuth2 client secret.
    pub client_secret: Option<SecretString>,
    /// Requests at once, over all uses.
    pub concurrency: usize,
    /// One request, from connecting to the last byte.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// Requests in any hour, over all uses. 0: no limit but what a 429 sets.
    pub requests_per_hour: u32,
    /// The request target in bytes (path and query), at most; `keys=` lists are cut to fit.
    pub max_url_bytes: usize,
    /// One answer's body in bytes, at most.
    pub max_body_bytes: usize,
}

impl Default for Catalog {
    fn default() -> Self {
        Self {
            #[expect(clippy::unwrap_used, reason = "a literal that parses")]
            url: "http://127.0.0.1:18381".parse().unwrap(),
            token_url: None,
            client_id: None,
            client_secret: None,
            concurrency: 2,
            timeout: Duration::from_secs(20),
            requests_per_hour: 0,
            max_url_bytes: 1300,
            max_body_bytes: 32 * 1024 * 1024,
        }
    }
}

impl Catalog {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let invalid = |key, why: &str| Err(ConfigError::Invalid { key, why: why.to_owned() });
        if self.url.query().is_some() {
            return invalid("catalog.url", "expected an http: or https: URL without a query");
        }
        if self.token_url.is_some() && (self.client_id.is_none() || self.client_secret.is_none()) {
            return invalid("catalog.token_url", "needs catalog.client_id and catalog.client_secret too");
        }
        bounds::number("catalog.concurrency", self.concurrency, 1..=64)?;
        let timeouts = Duration::from_millis(100)..=Duration::from_secs(10 * 60);
        bounds::duration("catalog.timeout", self.timeout, timeouts)?;
        bounds::number("catalog.requests_per_hour", self.requests_per_hour, 0..=1_000_000)?;
        // At least room for the fixed part of the query and a few keys of the usual length. A longer key is asked for
        // alone.
        bounds::number("catalog.max_url_bytes", self.max_url_bytes, 300..=65_536)?;
        bounds::number("catalog.max_body_bytes", self.max_body_bytes, 64 * 1024..=256 * 1024 * 1024)
    }
}
