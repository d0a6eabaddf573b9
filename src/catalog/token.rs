//! The token: OAuth2 client credentials at the LMS, renewed by one caller at a time, never shown.
//!
//! Read in the LMS's source: the form fields, `token_type=jwt`, and `expires_in` in seconds. The Catalog wants
//! `Authorization: JWT …`; `Bearer` it does not read.

use std::sync::{Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::Purpose;
use super::error::CatalogError;
use super::gate::{Admission, Gate, Verdict};
use super::transport::{self, Answer};

/// An answer with a token has one or two kilobytes.
const CAP: usize = 64 * 1024;
/// When the answer does not say; the LMS's default is an hour.
const UNSAID_LIFE: u64 = 300;
/// A token is renewed this long before its end, or a tenth of its life, if that is less.
const MARGIN: Duration = Duration::from_secs(60);
/// The words of RFC 6749, section 5.2. Nothing else is quoted from an endpoint that has just been sent a secret.
const ERRORS: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// Where tokens come from, and the one in use. No `Debug`: there is nothing in it to be shown.
pub(super) struct Tokens {
    http: reqwest::Client,
    url: Url,
    id: String,
    secret: SecretString,
    timeout: Duration,
    // The endpoint has a breaker of its own: it is another host, with another way to be down.
    gate: StdMutex<Gate>,
    held: tokio::sync::Mutex<Option<Token>>,
}

/// A token as a header.
#[derive(Clone)]
pub(super) struct Token {
    header: HeaderValue,
    renew_at: Instant,
    number: u64,
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

    /// The bare token, only to keep it out of what is quoted.
    pub(super) fn secret(&self) -> Option<&str> {
        self.header.to_str().ok()?.strip_prefix("JWT ")
    }
}

impl Tokens {
    /// None has been asked for yet.
    pub(super) fn new(
        http: reqwest::Client,
        url: Url,
        id: String,
        secret: SecretString,
        timeout: Duration,
    ) -> Self {
        let (gate, held) = (StdMutex::new(Gate::new(1, 0)), tokio::sync::Mutex::new(None));
        Self { http, url, id, secret, timeout, gate, held }
    }

    /// The token in use, or a new one when it is about to expire. Others wait while one caller fetches it.
    ///
    /// # Errors
    /// [`CatalogError::Token`].
    pub(super) async fn get(&self) -> Result<Token, CatalogError> {
        let mut held = self.held.lock().await;
        if let Some(token) = held.as_ref().filter(|token| Instant::now() < token.renew_at) {
            return Ok(token.clone());
        }
        let number = held.as_ref().map_or(0, |token| token.number) + 1;
        let token = self.fetch(number).await?;
        tracing::debug!("a new token for the Catalog has come");
        *held = Some(token.clone());
        Ok(token)
    }

    /// This token was refused: the next [`Self::get`] brings a new one, unless somebody has already renewed it.
    pub(super) async fn refused(&self, token: &Token) {
        if let Some(held) = self.held.lock().await.as_mut().filter(|held| held.number == token.number) {
            held.renew_at = Instant::now();
        }
    }

    async fn fetch(&self, number: u64) -> Result<Token, CatalogError> {
        let admission = self.gate().admit(Instant::now(), Purpose::Event);
        let ticket = match admission {
            Admission::Go(ticket) => ticket,
            // One fetch at a time: busy means that another was given up in the middle.
            Admission::Busy => return Err(failed("another request for one was given up", true)),
            Admission::Throttled(until) => {
                return Err(CatalogError::Token {
                    why: "it throttles (429)".into(),
                    transient: false,
                    until: Some(until),
                });
            }
            Admission::Shut { until, why, .. } => {
                let why = format!("it is left alone after failures in a row ({why})");
                return Err(CatalogError::Token { why, transient: false, until: Some(until) });
            }
        };
        let mut returned = Returned { gate: &self.gate, ticket: Some(ticket) };
        let result = self.exchange(number).await;
        returned.with(match &result {
            Ok(_) => Verdict::Good,
            Err((_, Some(pause))) => Verdict::Throttled(Some(*pause)),
            Err((error, None)) => Verdict::Bad(error.to_string()),
        });
        result.map_err(|(error, _)| error)
    }

    async fn exchange(&self, number: u64) -> Result<Token, (CatalogError, Option<Duration>)> {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &self.id),
            ("client_secret", self.secret.expose_secret()),
            ("token_type", "jwt"),
        ];
        let begun = Instant::now();
        let sent = transport::send(self.http.post(self.url.clone()).form(&form), self.timeout, CAP).await;
        let answer = sent.map_err(|error| (not_sent(&error), None))?;
        match answer.status() {
            200 => granted(&answer, begun, number).map_err(|error| (error, None)),
            429 => {
                let pause = answer.retry_after().unwrap_or(Duration::from_secs(1));
                Err((failed("it throttles (429)", true), Some(pause)))
            }
            status => Err((refusal(status, &answer), None)),
        }
    }

    fn gate(&self) -> std::sync::MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands the ticket back even when the future is dropped in the middle.
struct Returned<'a> {
    gate: &'a StdMutex<Gate>,
    ticket: Option<super::gate::Ticket>,
}

impl Returned<'_> {
    fn with(&mut self, verdict: Verdict) {
        if let Some(ticket) = self.ticket.take() {
            let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
            gate.report(ticket, Instant::now(), verdict, rand::random());
        }
    }
}

impl Drop for Returned<'_> {
    fn drop(&mut self) {
        self.with(Verdict::Nothing);
    }
}

fn granted(answer: &Answer, begun: Instant, number: u64) -> Result<Token, CatalogError> {
    let granted: Granted = serde_json::from_slice(answer.body()).map_err(|_| {
        failed("it answered 200 with something that is no token; is catalog.token_url right?", false)
    })?;
    let header = HeaderValue::try_from(format!("JWT {}", granted.access_token.trim()))
        .ok()
        .filter(|_| !granted.access_token.trim().is_empty());
    let Some(mut header) = header else {
        return Err(failed("it gave a token that fits no HTTP header", false));
    };
    header.set_sensitive(true);
    // No token is believed for more than a day; it also keeps the sum from running over.
    let life = Duration::from_secs(granted.expires_in.unwrap_or(UNSAID_LIFE).min(86_400));
    Ok(Token { header, renew_at: begun + (life - MARGIN.min(life / 10)), number })
}

fn refusal(status: u16, answer: &Answer) -> CatalogError {
    let named = serde_json::from_slice::<Refused>(answer.body()).ok();
    let named = named.and_then(|refused| ERRORS.into_iter().find(|known| *known == refused.error));
    let (what, transient) = match (status, named) {
        (_, Some("invalid_client")) => {
            ("invalid_client: are catalog.client_id and catalog.client_secret right?", false)
        }
        (_, Some(other)) => (other, false),
        (300..=399, None) => ("a redirect, which is never followed; is catalog.token_url right?", false),
        (404, None) => ("is catalog.token_url right?", false),
        (500.., None) => ("the LMS has a problem of its own", true),
        _ => ("no OAuth2 error; is catalog.token_url right?", false),
    };
    failed(&format!("it answered {status} ({what})"), transient)
}

fn not_sent(error: &CatalogError) -> CatalogError {
    match error {
        CatalogError::Timeout(limit) => {
            failed(&format!("it gave no whole answer within {:.1} s", limit.as_secs_f64()), true)
        }
        CatalogError::Unreachable { closed: true, .. } => {
            failed("it closed the connection without an answer", true)
        }
        CatalogError::Unreachable { .. } => failed("it cannot be reached; is the LMS up?", true),
        _ => failed("its answer was cut off or far too large", true),
    }
}

fn failed(why: &str, transient: bool) -> CatalogError {
    CatalogError::Token { why: why.to_owned(), transient, until: None }
}
