//! The token for the Catalog: OAuth2 client credentials at the LMS, renewed by one caller at a time, never shown.
//!
//! As in the source of the LMS: the form fields, `token_type=jwt`, and `expires_in` in seconds. The Catalog reads
//! `Authorization: JWT …` and not `Bearer`.

use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;
use tracing::{Instrument, Span};
use url::Url;

use super::error::CatalogError;
use super::rate_limiter::bounded_pause;
use super::transport::{self, Answer};
use crate::config;
use crate::telemetry::traces;

/// An answer with a token has one or two kilobytes; no more than this is read.
const CAP: usize = 64 * 1024;
/// Seconds, when the answer does not say it; the LMS's default is an hour.
const UNSAID_LIFE: u64 = 300;
/// A token is renewed this long before its end, or a tenth of its life, if that is less.
const MARGIN: Duration = Duration::from_secs(60);
/// Failures in a row after which the endpoint is left alone for a while.
const FAILURES: u32 = 5;
/// The first such pause. It doubles with each failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The errors of RFC 6749, section 5.2. Nothing else is quoted from an endpoint that was just sent a secret.
const ERRORS: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// Where tokens come from, and the one in use. Without `Debug`, as nothing in it may be shown.
pub(super) struct Tokens {
    http: reqwest::Client,
    url: Url,
    id: String,
    secret: SecretString,
    timeout: Duration,
    // Held while a token is fetched, so that one caller fetches it and the others wait.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// Failures in a row.
    failures: u32,
    /// When the endpoint may be asked again, and why not before.
    not_before: Option<(Instant, String)>,
}

/// A token as a header.
#[derive(Clone)]
pub(super) struct Token {
    header: HeaderValue,
    renew_at: Instant,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<u64>,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
}

impl Token {
    /// For `Authorization`, marked as sensitive.
    pub(super) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    /// The token itself, to keep it out of quotes.
    pub(super) fn secret(&self) -> Option<&str> {
        self.header.to_str().ok()?.strip_prefix("JWT ")
    }
}

impl Tokens {
    /// Asks for none yet. None where no endpoint is configured.
    pub(super) fn new(http: reqwest::Client, settings: &config::Catalog) -> Option<Self> {
        let url = Url::clone(settings.token_url.as_ref()?);
        // No configuration has an endpoint without these.
        let (id, secret) = (settings.client_id.clone()?, settings.client_secret.clone()?);
        Some(Self { http, url, id, secret, timeout: settings.timeout, state: Mutex::default() })
    }

    /// The token in use, or a new one when it is about to expire.
    pub(super) async fn get(&self) -> Result<Token, CatalogError> {
        let mut state = self.state.lock().await;
        if let Some(token) = state.token.as_ref().filter(|token| Instant::now() < token.renew_at) {
            return Ok(token.clone());
        }
        if let Some((until, why)) = state.not_before.as_ref().filter(|(until, _)| Instant::now() < *until) {
            let why = format!("it is not asked for a while, after failures ({why})");
            return Err(CatalogError::Token { why, transient: false, until: Some(*until) });
        }
        match self.fetch().await {
            Ok(token) => {
                tracing::debug!("a new token for the Catalog has come");
                *state = State { token: Some(token.clone()), ..State::default() };
                Ok(token)
            }
            Err(error) => {
                state.failures += 1;
                let pause = || pause_after(state.failures).map(|pause| Instant::now() + pause);
                let until = error.reopens_at().or_else(pause);
                state.not_before = until.map(|until| (until, error.to_string()));
                Err(error)
            }
        }
    }

    /// This token was refused: the next [`Self::get`] fetches a new one, unless that has already happened.
    pub(super) async fn refused(&self, token: &Token) {
        let mut state = self.state.lock().await;
        if let Some(held) = state.token.as_mut().filter(|held| held.header == token.header) {
            held.renew_at = Instant::now();
        }
    }

    async fn fetch(&self) -> Result<Token, CatalogError> {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &self.id),
            ("client_secret", self.secret.expose_secret()),
            ("token_type", "jwt"),
        ];
        let begun = Instant::now();
        let span = transport::span("POST", &self.url);
        let exchange = async {
            let sent = transport::send(self.http.post(self.url.clone()).form(&form), self.timeout, CAP);
            let answer = sent.await.map_err(|error| not_sent(&error))?;
            Span::current().record("http.response.status_code", i64::from(answer.status.as_u16()));
            match answer.status.as_u16() {
                200 => granted(&answer, begun),
                status => Err(refusal(status, &answer)),
            }
        };
        let token = exchange.instrument(span.clone()).await;
        token.inspect_err(|error| traces::fail(&span, error.outcome().into(), error))
    }
}

/// How long the endpoint is left alone after so many failures in a row. With jitter, as other processes do the same.
fn pause_after(failures: u32) -> Option<Duration> {
    let doublings = failures.checked_sub(FAILURES)?.min(16);
    let pause = (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE);
    Some(pause.mul_f64(0.5 + 0.5 * rand::random::<f64>()))
}

fn granted(answer: &Answer, begun: Instant) -> Result<Token, CatalogError> {
    let granted: Granted = serde_json::from_slice(&answer.body)
        .map_err(|_| failed("it answered 200 without a token; is catalog.token_url right?", false))?;
    let header = HeaderValue::try_from(format!("JWT {}", granted.access_token.trim()))
        .ok()
        .filter(|_| !granted.access_token.trim().is_empty());
    let Some(mut header) = header else {
        return Err(failed("its token does not fit into an HTTP header", false));
    };
    header.set_sensitive(true);
    // At most a day, which also keeps the sum from overflowing.
    let life = Duration::from_secs(granted.expires_in.unwrap_or(UNSAID_LIFE).min(86_400));
    Ok(Token { header, renew_at: begun + (life - MARGIN.min(life / 10)) })
}

fn refusal(status: u16, answer: &Answer) -> CatalogError {
    if status == 429 {
        let pause = bounded_pause(answer.retry_after().unwrap_or_default());
        let (why, until) = ("it throttles (429)".to_owned(), Some(Instant::now() + pause));
        return CatalogError::Token { why, transient: true, until };
    }
    let named = serde_json::from_slice::<Refused>(&answer.body).ok();
    let named = named.and_then(|refused| ERRORS.into_iter().find(|known| *known == refused.error));
    let what = match (status, named) {
        (_, Some("invalid_client")) => {
            "invalid_client: are catalog.client_id and catalog.client_secret right?"
        }
        (_, Some(other)) => other,
        (300..=399, None) => "a redirect, which is never followed; is catalog.token_url right?",
        (500.., None) => "the LMS has an internal error",
        _ => "no OAuth2 error; is catalog.token_url right?",
    };
    failed(&format!("it answered {status} ({what})"), status >= 500 && named.is_none())
}

fn not_sent(error: &CatalogError) -> CatalogError {
    let why = match error {
        CatalogError::Timeout(_) => "it gave no complete answer within catalog.timeout",
        CatalogError::Unreachable { closed: true, .. } => "it closed the connection without an answer",
        CatalogError::Unreachable { .. } => "it cannot be reached; is the LMS up?",
        _ => "its answer was cut off or too large",
    };
    failed(why, true)
}

fn failed(why: &str, transient: bool) -> CatalogError {
    CatalogError::Token { why: why.to_owned(), transient, until: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_begin_with_the_fifth_failure_and_grow_to_five_minutes() {
        assert!((0..5).all(|failures| pause_after(failures).is_none()));
        for (failures, longest) in [(5, 1), (6, 2), (7, 4), (13, 256), (14, 300), (u32::MAX, 300)] {
            let (pause, longest) = (pause_after(failures).unwrap(), Duration::from_secs(longest));
            assert!(pause <= longest && pause >= longest / 2, "{failures}: {pause:?}");
        }
    }
}
