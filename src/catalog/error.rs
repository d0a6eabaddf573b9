//! How a request to the Catalog can fail, with what to do about it; and how text from outside is quoted in errors, so that
//! it fits into a log line and shows no secret.

use std::time::{Duration, Instant};

use chrono::SecondsFormat;

use crate::clock;
use crate::model::text::{cut, escape};
use crate::telemetry::metrics::RequestOutcome;

/// Why there is no client: this machine has no certificate authorities, or none that can be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "TLS cannot be set up: install the system's certificate authorities (package ca-certificates), or name a PEM file of \
     them in SSL_CERT_FILE"
)]
pub struct ClientError(#[source] pub(super) reqwest::Error);

/// Why there is no usable answer. No variant holds a token, a secret or a URL with one.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// No connection, or one that closed before an answer came.
    #[error("{}; is catalog.url right, and is the Catalog up?", if *closed {
        "the Catalog closed the connection without an HTTP answer"
    } else {
        "there is no connection to the Catalog"
    })]
    Unreachable {
        /// There was a connection, and it closed without an answer: uWSGI does so with a URL too long for it.
        closed: bool,
        /// What the HTTP client says.
        source: Option<reqwest::Error>,
    },
    /// No complete answer within this time, at most `catalog.timeout`.
    #[error("the Catalog gave no complete answer within {:.1} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// An answer with a status other than 200. A caller gets another variant for 401 and 429.
    #[error("the Catalog answered {code}{}{}", quoted(said), advice(*code))]
    Status {
        /// The HTTP status.
        code: u16,
        /// The start of the body, or where a redirect leads.
        said: String,
        /// Its `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// A 429, or `catalog.requests_per_hour` used up.
    #[error("the Catalog, or catalog.requests_per_hour, allows no request until {}", time(*until))]
    Throttled {
        /// When the next request may go.
        until: Instant,
    },
    /// Not asked, as the circuit is open after failures in a row.
    #[error("the Catalog is not asked until {}, after failures in a row ({why})", time(*until))]
    CircuitOpen {
        /// When the next probe may go.
        until: Instant,
        /// The last of the failures.
        why: String,
    },
    /// 401, with a token that was fresh, or without any.
    #[error("the Catalog answered 401 {}", if *token {
        "to a fresh token: do Catalog and LMS share issuer and signing key, and do their clocks agree?"
    } else {
        "and no token is configured: set catalog.token_url, catalog.client_id and catalog.client_secret"
    })]
    Unauthorised {
        /// Whether there was a token.
        token: bool,
    },
    /// No token from the token endpoint.
    #[error("no token from catalog.token_url: {why}")]
    Token {
        /// What was wrong.
        why: String,
        /// Whether asking again may help.
        transient: bool,
        /// When the endpoint will be asked again, if it is left alone after failures.
        until: Option<Instant>,
    },
    /// An answer with status 200 that is not a list of runs.
    #[error("the Catalog's answer cannot be used: {0}")]
    Unreadable(#[from] Defect),
}

/// What is wrong with an answer of status 200.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// A web page, such as a login or maintenance page.
    #[error("it is HTML, perhaps a login or maintenance page: {0:?}")]
    Html(String),
    /// The connection ended before the body did.
    #[error("its body was cut off")]
    Cut,
    /// Over `catalog.max_body_bytes`.
    #[error("its body is larger than {0} bytes")]
    TooLarge(usize),
    /// Not JSON: where, and the start of the body.
    #[error("it is not JSON ({0}): {1:?}")]
    NotJson(String, String),
    /// JSON, but no list.
    #[error("it is JSON, but no list of runs: {0}")]
    Odd(String),
}

impl CatalogError {
    /// When a request may be sent again, if none was sent.
    pub fn reopens_at(&self) -> Option<Instant> {
        match self {
            Self::Throttled { until } | Self::CircuitOpen { until, .. } => Some(*until),
            Self::Token { until, .. } => *until,
            _ => None,
        }
    }

    /// True if a smaller page may succeed: one broken row makes a 500 of its page, and a page may be too slow or too large
    /// for something on the way. False for what no page size changes, such as no connection or a wrong address.
    pub(crate) fn may_succeed_smaller(&self) -> bool {
        match self {
            Self::Status { code, .. } => *code >= 500,
            Self::Unreachable { closed, .. } => *closed,
            Self::Unreadable(defect) => !matches!(defect, Defect::Html(_)),
            Self::Timeout(_) => true,
            Self::Throttled { .. }
            | Self::CircuitOpen { .. }
            | Self::Unauthorised { .. }
            | Self::Token { .. } => false,
        }
    }

    /// True if the Catalog will not answer this request, however often it is asked: it does not know the list or the
    /// filter, or does not let this user read it.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Status { code: 400 | 403..=406 | 410 | 414, .. })
    }

    /// What it counts as.
    pub(crate) fn outcome(&self) -> RequestOutcome {
        match self {
            Self::Unreachable { .. } => RequestOutcome::Unreachable,
            Self::Timeout(_) => RequestOutcome::Timeout,
            Self::Status { code: 500.., .. } => RequestOutcome::ServerError,
            Self::Status { code: 401 | 403, .. } | Self::Unauthorised { .. } | Self::Token { .. } => {
                RequestOutcome::Unauthorized
            }
            Self::Status { code: 429, .. } | Self::Throttled { .. } => RequestOutcome::Throttled,
            Self::Status { .. } => RequestOutcome::ClientError,
            Self::CircuitOpen { .. } => RequestOutcome::Shut,
            Self::Unreadable(_) => RequestOutcome::Unreadable,
        }
    }
}

fn advice(code: u16) -> &'static str {
    match code {
        300..=399 => ", which is never followed: a login page, or another scheme or host in catalog.url?",
        400 | 414 => "; if it is the length, lower catalog.max_url_bytes",
        403 => "; it knows this client and does not let it read: give its user the permission",
        404 => " for a list that each Catalog has: catalog.url is probably wrong",
        _ => "",
    }
}

fn quoted(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(" ({said})") }
}

/// A time of day and not what is left until then, as an error may be shown later.
fn time(moment: Instant) -> String {
    clock::time_of(moment).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The start of a body for a log line: one line of at most 120 characters, with control characters escaped and without
/// `secret`. Of a web page only its title.
pub(super) fn quote(body: &[u8], secret: Option<&str>) -> String {
    const LOOKED_AT: usize = 4096;
    const SHOWN: usize = 120;
    let mut text = String::from_utf8_lossy(&body[..body.len().min(LOOKED_AT)]).into_owned();
    if let Some(secret) = secret.filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "***");
    }
    if text.trim_start().starts_with('<') {
        let title = text.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
        text = title.map_or("an HTML page".to_owned(), |(title, _)| format!("an HTML page: {title}"));
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    cut(&escape(&words.join(" ")), SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_404_of_the_list_points_to_the_setting() {
        let error = CatalogError::Status { code: 404, said: String::new(), retry_after: None };
        assert!(error.to_string().contains("catalog.url is probably wrong"), "{error}");
    }

    #[test]
    fn a_smaller_page_may_succeed_where_the_page_is_to_blame() {
        let status = |code| CatalogError::Status { code, said: String::new(), retry_after: None };
        let unreachable = |closed| CatalogError::Unreachable { closed, source: None };
        let until = Instant::now();
        for error in [
            status(500),
            status(504),
            unreachable(true),
            CatalogError::Timeout(Duration::from_secs(20)),
            CatalogError::Unreadable(Defect::TooLarge(1)),
            CatalogError::Unreadable(Defect::Cut),
        ] {
            assert!(error.may_succeed_smaller(), "{error}");
        }
        for error in [
            status(404),
            status(403),
            unreachable(false),
            CatalogError::Unauthorised { token: true },
            CatalogError::Throttled { until },
            CatalogError::CircuitOpen { until, why: String::new() },
            CatalogError::Token { why: String::new(), transient: true, until: None },
            CatalogError::Unreadable(Defect::Html("<title>Log in</title>".to_owned())),
        ] {
            assert!(!error.may_succeed_smaller(), "{error}");
        }
    }

    #[test]
    fn of_a_web_page_only_the_title_is_quoted() {
        for (page, quoted) in [
            ("<html><title>\n502 Bad\tGateway\n</title><h1>Sorry", "an HTML page: 502 Bad Gateway"),
            ("<!DOCTYPE html><p>Log in", "an HTML page"),
            ("<title>Log in", "an HTML page"),
            ("\n<", "an HTML page"),
        ] {
            assert_eq!(quote(page.as_bytes(), None), quoted, "{page}");
        }
    }

    #[test]
    fn text_from_outside_is_one_short_line() {
        assert_eq!(
            quote(b"<html>\n  <title>Bad\x1b[31m\0</title>", None),
            "an HTML page: Bad\\u{1b}[31m\\u{0}"
        );
        assert_eq!(quote(&b"x".repeat(10_000), None).chars().count(), 121);
        assert_eq!(quote(b"\xff\xfe", None), "\u{fffd}\u{fffd}");
        assert_eq!(quote(b"", None), "");
    }

    #[test]
    fn a_body_that_echoes_the_token_is_quoted_without_it() {
        assert_eq!(quote(b"you sent JWT abc.def.ghi", Some("abc.def.ghi")), "you sent JWT ***");
    }
}
