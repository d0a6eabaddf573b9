//! One question, from the gate through token and transport to a parsed list, again and again while that makes
//! sense.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::header::AUTHORIZATION;
use tracing::field::Empty;
use tracing::{Instrument, Span};
use url::Url;

use crate::also::AlsoColumn;
use crate::telemetry::{context, metrics};

use super::Purpose;
use super::door::Door;
use super::error::CatalogError;
use super::gate::GateState;
use super::target::Target;
use super::token::{Token, Tokens};
use super::transport;
use super::verdict::{Course, Kind, Next};
use super::wire::{self, List};

/// What every question needs.
pub(super) struct Asker {
    /// In front of every request.
    pub(super) door: Door,
    /// None: no authentication.
    pub(super) tokens: Option<Tokens>,
    /// For the Catalog; tokens have their own.
    pub(super) http: reqwest::Client,
    /// `catalog.timeout`.
    pub(super) timeout: Duration,
    /// `catalog.max_body_bytes`.
    pub(super) max_body_bytes: usize,
    /// `sync.also`.
    pub(super) also: Vec<AlsoColumn>,
    /// Requests sent to the Catalog.
    pub(super) sent: AtomicU64,
}

/// A list, and what it took.
pub(super) struct Answered {
    /// What came.
    pub(super) list: List,
    /// The body's length.
    pub(super) bytes: usize,
    /// From sending the request to the last byte, without waits and retries.
    pub(super) elapsed: Duration,
}

impl Asker {
    /// Asks until there is a list, or no point in asking on: some thirty seconds at most, to which waiting at the
    /// gate, or for a token, on behalf of a pass is not counted.
    ///
    /// # Errors
    /// Why the last attempt failed, or why there was none.
    pub(super) async fn ask(
        &self,
        target: &Target,
        kind: Kind,
        purpose: Purpose,
    ) -> Result<Answered, CatalogError> {
        let mut course = Course::new(kind);
        loop {
            let permit =
                self.door.enter(purpose).await.inspect_err(|_| metrics::catalog_request_unsent("shut"))?;
            let begun = Instant::now();
            let mut token = None;
            let error = match self.attempt(target, course.limit(self.timeout), &mut token).await {
                Ok(answered) => {
                    permit.report(super::gate::Verdict::Good);
                    return Ok(answered);
                }
                Err(error) => error,
            };
            let (verdict, next) = course.after(&error, begun.elapsed());
            permit.report(verdict);
            if !self.worth_another(next, purpose, &mut course, &token).await {
                return Err(self.last_word(error, token.is_some()));
            }
            tracing::debug!(error = %error, "the Catalog is asked again");
        }
    }

    /// Waits as `next` says. False if there is no other attempt after all.
    async fn worth_another(
        &self,
        next: Next,
        purpose: Purpose,
        course: &mut Course,
        token: &Option<Token>,
    ) -> bool {
        match next {
            Next::GiveUp => false,
            Next::Now => true,
            Next::Renew => match (&self.tokens, token) {
                (Some(tokens), Some(token)) => {
                    tokens.refused(token).await;
                    true
                }
                _ => false,
            },
            // The gate knows better than a back-off: the pass waits there, all others are told at once.
            Next::Later(_) if self.door.state() != GateState::Closed => course.waits_at_the_gate(),
            // It waits at the gate.
            Next::Unthrottled if purpose == Purpose::Pass => course.waits_unthrottled(),
            Next::Tokenless(until) => {
                let now = Instant::now();
                let until = until.unwrap_or(now);
                let waits = purpose == Purpose::Pass && course.waits_for_a_token(now, until);
                if waits {
                    tokio::time::sleep_until(until.into()).await;
                }
                waits
            }
            Next::Later(pause) => {
                if let Some(pause) = pause {
                    tokio::time::sleep(pause).await;
                }
                pause.is_some()
            }
            Next::Unthrottled => {
                let GateState::Throttled { until } = self.door.state() else { return true };
                let fits = course.can_wait(until.saturating_duration_since(Instant::now()));
                if fits {
                    tokio::time::sleep_until(until.into()).await;
                }
                fits
            }
        }
    }

    async fn attempt(
        &self,
        target: &Target,
        limit: Duration,
        used: &mut Option<Token>,
    ) -> Result<Answered, CatalogError> {
        if let Some(tokens) = &self.tokens {
            let refused = |error: &CatalogError| {
                if error.is_refused_token() {
                    metrics::catalog_request_unsent(error.outcome());
                }
            };
            *used = Some(tokens.get().await.inspect_err(refused)?);
        }
        let span = span(&target.url);
        let begun = Instant::now();
        self.sent.fetch_add(1, Ordering::Relaxed);
        let result = self.exchange(target, limit, used.as_ref()).instrument(span.clone()).await;
        let elapsed = begun.elapsed();
        let outcome = result.as_ref().map_or_else(CatalogError::outcome, |_| "ok");
        if result.is_err() {
            span.record("error.type", outcome).record("otel.status_code", "ERROR");
        }
        metrics::catalog_request(outcome, elapsed);
        let (list, bytes) = result?;
        Ok(Answered { list, bytes, elapsed })
    }

    async fn exchange(
        &self,
        target: &Target,
        limit: Duration,
        token: Option<&Token>,
    ) -> Result<(List, usize), CatalogError> {
        let mut request = self.http.get(target.url.clone());
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token.header());
        }
        if let Some(traceparent) = context::traceparent() {
            request = request.header(context::TRACEPARENT, traceparent);
        }
        let secret = token.and_then(Token::secret);
        let answer = transport::send(request, limit, self.max_body_bytes).await?;
        Span::current().record("http.response.status_code", i64::from(answer.status()));
        let body = answer.into_body(secret)?;
        Ok((wire::list(&body, target.rows, secret)?.only(&self.also), body.len()))
    }

    /// The failure as callers know it: 401 and 429 have names of their own.
    fn last_word(&self, error: CatalogError, token: bool) -> CatalogError {
        match error {
            CatalogError::Status { code: 401, .. } => CatalogError::Unauthorised { token },
            CatalogError::Status { code: 429, .. } => match self.door.state() {
                GateState::Throttled { until } => CatalogError::Throttled { until },
                _ => CatalogError::Throttled { until: Instant::now() },
            },
            other => other,
        }
    }
}

/// One request, in the words of the conventions for HTTP clients; numbers are `i64`, as any other becomes text on its
/// way. Whoever is in the URL stays out of the trace.
fn span(url: &Url) -> Span {
    let mut shown = url.clone();
    // An error says that such a URL can have none, which is as good.
    let _ = shown.set_username("").and_then(|()| shown.set_password(None));
    tracing::info_span!(
        "GET",
        otel.name = "GET /api/v1/course_runs/",
        otel.kind = "client",
        http.request.method = "GET",
        http.response.status_code = Empty,
        url.full = shown.as_str(),
        server.address = url.host_str().unwrap_or_default(),
        server.port = url.port_or_known_default().map(i64::from),
        error.type = Empty,
        otel.status_code = Empty,
    )
}
