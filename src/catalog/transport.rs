//! Sends one request and reads the answer, with limits on time and size. Follows no redirect and retries nothing.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::header::{self, HeaderMap};
use reqwest::{RequestBuilder, Response, StatusCode, redirect};
use tracing::Span;
use tracing::field::Empty;
use url::Url;

use super::error::{CatalogError, ClientError, Defect, quote};

use crate::clock;
use crate::telemetry::traces;

const CONNECT: Duration = Duration::from_secs(3);
/// Shorter than the 5 s after which gunicorn and many proxies close idle connections.
const IDLE: Duration = Duration::from_secs(4);
/// No more is read of the body of an error.
const ERROR_BODY: usize = 4096;

/// An answer of any status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    /// Of an error only the start.
    pub(super) body: Vec<u8>,
}

/// An HTTP client for the Catalog and the LMS. One that needs no TLS trusts no certificate, and is made where the machine
/// has none.
pub(super) fn http(connections: usize, needs_tls: bool) -> Result<reqwest::Client, ClientError> {
    // An error says that the process has a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder();
    let builder = if needs_tls { builder } else { builder.tls_certs_only([]) };
    builder
        .user_agent(concat!("course-sharing/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(connections)
        .build()
        .map_err(ClientError)
}

/// Sends a request and reads the answer: at most `cap` bytes, within `limit` from connecting to the last byte. The body
/// of an error is read as far as it comes.
pub(super) async fn send(
    request: RequestBuilder,
    limit: Duration,
    cap: usize,
) -> Result<Answer, CatalogError> {
    let exchange = async {
        let response =
            request.header(header::ACCEPT, "application/json").send().await.map_err(not_answered)?;
        read(response, cap).await
    };
    tokio::time::timeout(limit, exchange).await.unwrap_or(Err(CatalogError::Timeout(limit)))
}

async fn read(mut response: Response, cap: usize) -> Result<Answer, CatalogError> {
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    if status != StatusCode::OK {
        while body.len() < ERROR_BODY
            && let Ok(Some(chunk)) = response.chunk().await
        {
            body.extend_from_slice(&chunk[..chunk.len().min(ERROR_BODY - body.len())]);
        }
        return Ok(Answer { status, headers, body });
    }
    while let Some(chunk) = response.chunk().await.map_err(|_| Defect::Cut)? {
        if body.len() + chunk.len() > cap {
            return Err(Defect::TooLarge(cap).into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, headers, body })
}

impl Answer {
    /// The body of an answer with status 200.
    ///
    /// # Errors
    /// [`CatalogError::Status`] for any other status. It quotes the body without `secret`.
    pub(super) fn into_body(self, secret: Option<&str>) -> Result<Vec<u8>, CatalogError> {
        if self.status == StatusCode::OK {
            return Ok(self.body);
        }
        let said = if self.status.is_redirection() { self.leads_to() } else { quote(&self.body, secret) };
        Err(CatalogError::Status { code: self.status.as_u16(), said, retry_after: self.retry_after() })
    }

    /// By how much the Catalog's clock is ahead of ours, to the second, if the answer says what time it is.
    pub(super) fn clock_ahead(&self) -> Option<TimeDelta> {
        let date = self.headers.get(header::DATE)?.to_str().ok()?;
        let date: DateTime<Utc> = httpdate::parse_http_date(date).ok()?.into();
        Some(date - clock::now())
    }

    /// `Retry-After`, in seconds or as a date.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let value = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?;
        retry_after(value, clock::now().into())
    }

    /// Only scheme and host: the rest may hold secrets.
    fn leads_to(&self) -> String {
        let location = self.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        let origin = location.and_then(|location| Some(Url::parse(location).ok()?.origin()));
        let to = origin.map_or(String::new(), |origin| format!(" to {}", origin.ascii_serialization()));
        quote(format!("a redirect{to}").as_bytes(), None)
    }
}

/// The span of one request, by OpenTelemetry's conventions for HTTP clients. None outside a trace. User name and password
/// of the URL are left out.
pub(super) fn span(method: &'static str, url: &Url) -> Span {
    if !traces::is_running() {
        return Span::none();
    }
    let mut shown = url.clone();
    // An error says that such a URL cannot have any.
    let _ = shown.set_username("").and_then(|()| shown.set_password(None));
    tracing::info_span!(
        "request",
        otel.name = format!("{method} {}", url.path()),
        otel.kind = "client",
        http.request.method = method,
        http.request.resend_count = Empty,
        http.response.status_code = Empty,
        url.full = shown.as_str(),
        url.template = url.path(),
        server.address = url.host_str().unwrap_or_default(),
        server.port = url.port_or_known_default().map(i64::from),
    )
}

pub(super) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

fn not_answered(error: reqwest::Error) -> CatalogError {
    // Without the URL, which is long and may hold a password.
    CatalogError::Unreachable { closed: !error.is_connect(), source: Some(error.without_url()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_comes_in_two_forms() {
        let now = httpdate::parse_http_date("Sun, 22 Nov 2026 16:00:00 GMT").unwrap();
        let seconds = |value| retry_after(value, now).map(|pause| pause.as_secs());
        assert_eq!(seconds("3597"), Some(3597));
        assert_eq!(seconds(" 5 "), Some(5));
        assert_eq!(seconds("Sun, 22 Nov 2026 16:01:00 GMT"), Some(60));
        assert_eq!(seconds("Sun, 22 Nov 2026 15:00:00 GMT"), Some(0), "in the past");
        assert_eq!(seconds("99999999999999999999999"), Some(u64::from(u32::MAX)));
        for nonsense in ["", "-5", "soon", "1.5"] {
            assert_eq!(seconds(nonsense), None, "{nonsense}");
        }
    }
}
