//! One request to the Catalog: token, rate limiter, transport and reading, attempted again as the retry policy says.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::header::AUTHORIZATION;
use serde_json::value::RawValue;
use tracing::{Instrument, Span};

use crate::model::extra_columns::AlsoColumn;
use crate::model::marketing_url::UrlPolicy;
use crate::telemetry::metrics::{self, RequestOutcome};
use crate::telemetry::traces;

use super::Purpose;
use super::circuit_breaker::Circuit;
use super::error::CatalogError;
use super::rate_limiter::{Feedback, RateLimiter};
use super::retry_policy::{Attempts, Kind, Next};
use super::token::{Token, Tokens};
use super::transport;
use super::url::Target;
use super::wire::{self, Page};

/// Sends requests to the Catalog.
pub(super) struct Requests {
    /// In front of every request.
    pub(super) limiter: RateLimiter,
    /// None: no authentication.
    pub(super) tokens: Option<Tokens>,
    pub(super) http: reqwest::Client,
    /// `catalog.timeout`.
    pub(super) timeout: Duration,
    /// `catalog.max_body_bytes`.
    pub(super) max_body_bytes: usize,
    /// Which URLs may be shared.
    pub(super) policy: UrlPolicy,
    /// `sync.also`.
    pub(super) also: Vec<AlsoColumn>,
    /// The number of requests sent, without those for tokens.
    pub(super) sent: AtomicU64,
}

/// Reads a row.
type Read<'r, T> = &'r (dyn Fn(&RawValue) -> T + Sync);

impl Requests {
    /// Asks for runs as [`Self::ask_for`].
    pub(super) async fn ask(
        &self,
        target: &Target,
        kind: Kind,
        purpose: Purpose,
    ) -> Result<Page, CatalogError> {
        self.ask_for(target, kind, purpose, &|raw| wire::run(raw, &self.policy, &self.also)).await
    }

    /// Asks until there is an answer, or another attempt makes no sense: thirty seconds at most, not counting a pass's
    /// waits for the rate limiter and for a token.
    pub(super) async fn ask_for<T>(
        &self,
        target: &Target,
        kind: Kind,
        purpose: Purpose,
        read: Read<'_, T>,
    ) -> Result<Page<T>, CatalogError> {
        let (mut attempts, mut resends) = (Attempts::new(kind), 0);
        loop {
            let begun = Instant::now();
            let token = match self.token().await {
                Ok(token) => token,
                Err(error) => {
                    let (_, next) = attempts.after(&error, begun.elapsed());
                    if self.wait(next, purpose, &mut attempts, None).await {
                        continue;
                    }
                    return Err(error);
                }
            };
            let entered = self.limiter.enter(purpose).await;
            let permit =
                entered.inspect_err(|_| metrics::get().catalog_request(RequestOutcome::Shut, None))?;
            let begun = Instant::now();
            let limit = attempts.pauses.limit(self.timeout);
            let error = match self.send(target, limit, resends, token.as_ref(), read).await {
                Ok(answered) => {
                    permit.report(Feedback::Healthy);
                    return Ok(answered);
                }
                Err(error) => error,
            };
            let (feedback, next) = attempts.after(&error, begun.elapsed());
            permit.report(feedback);
            if !self.wait(next, purpose, &mut attempts, token.as_ref()).await {
                return Err(self.last_error(error, token.is_some()));
            }
            resends += 1;
            tracing::debug!(error = %error, "the Catalog is asked again");
        }
    }

    /// Waits as `next` says. False if there is no other attempt.
    async fn wait(
        &self,
        next: Next,
        purpose: Purpose,
        attempts: &mut Attempts,
        token: Option<&Token>,
    ) -> bool {
        let is_pass = purpose == Purpose::Pass;
        let until = match next {
            Next::GiveUp => return false,
            Next::Now => return true,
            Next::Renew => {
                let (Some(tokens), Some(token)) = (&self.tokens, token) else { return false };
                tokens.refused(token).await;
                return true;
            }
            // The rate limiter holds a pass back, and fails all others at once.
            Next::After(_) if self.limiter.circuit() != Circuit::Closed => return attempts.restart(),
            Next::AfterThrottle if is_pass => return attempts.may_be_throttled_again(),
            Next::After(pause) => pause.map(|pause| Instant::now() + pause),
            Next::AfterThrottle => {
                let Circuit::Throttled { until } = self.limiter.circuit() else { return true };
                let pause = until.saturating_duration_since(Instant::now());
                attempts.pauses.take(pause).map(|_| until)
            }
            Next::AfterToken(until) => {
                let now = Instant::now();
                let until = until.unwrap_or(now);
                (is_pass && attempts.waits_for_token(now, until)).then_some(until)
            }
        };
        if let Some(until) = until {
            tokio::time::sleep_until(until.into()).await;
        }
        until.is_some()
    }

    async fn token(&self) -> Result<Option<Token>, CatalogError> {
        let Some(tokens) = &self.tokens else { return Ok(None) };
        let token = tokens.get().await.inspect_err(|error| {
            // Not where the endpoint is down, or left alone.
            if matches!(error, CatalogError::Token { transient: false, until: None, .. }) {
                metrics::get().catalog_request(error.outcome(), None);
            }
        });
        token.map(Some)
    }

    async fn send<T>(
        &self,
        target: &Target,
        limit: Duration,
        resends: i64,
        token: Option<&Token>,
        read: Read<'_, T>,
    ) -> Result<Page<T>, CatalogError> {
        let span = transport::span("GET", &target.url);
        if resends > 0 {
            span.record("http.request.resend_count", resends);
        }
        let begun = Instant::now();
        self.sent.fetch_add(1, Ordering::Relaxed);
        let exchange = async {
            let mut request = self.http.get(target.url.clone());
            if let Some(token) = token {
                request = request.header(AUTHORIZATION, token.header());
            }
            if let Some(traceparent) = traces::traceparent() {
                request = request.header(traces::TRACEPARENT, traceparent);
            }
            let secret = token.and_then(Token::secret);
            let answer = transport::send(request, limit, self.max_body_bytes).await?;
            Span::current().record("http.response.status_code", i64::from(answer.status.as_u16()));
            let clock_ahead = answer.clock_ahead();
            let page = wire::read(&answer.into_body(secret)?, target.rows, secret, read)?;
            Ok(Page { clock_ahead, elapsed: begun.elapsed(), ..page })
        };
        let result = exchange.instrument(span.clone()).await;
        let outcome = result.as_ref().map_or_else(CatalogError::outcome, |_| RequestOutcome::Ok);
        if let Err(error) = &result {
            traces::fail(&span, &error_type(error, outcome), error);
        }
        // Within the span, to which the measurement then leads.
        span.in_scope(|| metrics::get().catalog_request(outcome, Some(begun.elapsed())));
        result
    }

    /// The error for the caller: 401 and 429 have variants of their own.
    fn last_error(&self, error: CatalogError, token: bool) -> CatalogError {
        match error {
            CatalogError::Status { code: 401, .. } => CatalogError::Unauthorised { token },
            CatalogError::Status { code: 429, .. } => {
                let until = self.limiter.circuit().until();
                CatalogError::Throttled { until: until.unwrap_or_else(Instant::now) }
            }
            other => other,
        }
    }
}

/// The status where that is what is wrong, as the conventions have it.
fn error_type(error: &CatalogError, outcome: RequestOutcome) -> Cow<'static, str> {
    match error {
        CatalogError::Status { code, .. } => code.to_string().into(),
        _ => <&str>::from(outcome).into(),
    }
}
