//! Who is answered: probes and metrics always, all else by a token, or everyone where the configuration says so.

use std::path::Path;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{SHA256, digest};

use super::answer;
use crate::config::{self, ConfigError, read_secret};

/// Tokens in the file, at most.
const MAX_TOKENS: usize = 100;
/// Characters of a token.
const LENGTH: std::ops::RangeInclusive<usize> = 16..=256;
const TOKENS_FILE: &str = "http.tokens_file";
/// The answer to every request that needs a token, where none is configured.
pub(super) const LOCKED: &str = "http.listen is no loopback address, and nothing says who may ask, so only /healthz, \
                                 /readyz and /metrics are answered. Name a file with tokens (http.tokens_file), or say \
                                 that everyone who reaches the port may read everything (http.anonymous = true)";
/// For requests without a token.
const BEARER: &str = "Bearer realm=\"course-sharing\"";
/// For requests with another one.
const INVALID: &str = "Bearer realm=\"course-sharing\", error=\"invalid_token\"";
/// For browsers.
const BASIC: &str = "Basic realm=\"course-sharing\", charset=\"UTF-8\"";

/// A token's SHA-256. How long it takes to compare two says nothing about the tokens.
type Digest = [u8; 32];

/// Whose requests are answered. No `Debug`, as a digest of a poor token gives it away.
#[derive(Clone, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub(super) enum Access {
    /// Everybody's.
    Anonymous,
    /// Nobody's: the port can be reached from elsewhere, and nothing is said of who may.
    Locked,
    /// Those with one of these tokens.
    Tokens(Vec<Digest>),
}

impl Access {
    /// Reads the file with the tokens, if there is one.
    pub(super) fn read(http: &config::Http) -> Result<Self, ConfigError> {
        let is_loopback = http.listen.is_none_or(|address| address.ip().to_canonical().is_loopback());
        match &http.tokens_file {
            Some(path) => Ok(Self::Tokens(tokens(path)?)),
            None if http.anonymous || is_loopback => Ok(Self::Anonymous),
            None => Ok(Self::Locked),
        }
    }

    /// Whether a request with these headers is answered; else the answer that it gets.
    pub(super) fn check(&self, headers: &HeaderMap, path: &str) -> Result<(), Box<Response>> {
        match self {
            Self::Anonymous => Ok(()),
            Self::Locked => Err(Box::new(answer::error(StatusCode::FORBIDDEN, LOCKED))),
            Self::Tokens(known) => {
                if token(headers).is_some_and(|token| known.contains(&digest_of(&token))) {
                    return Ok(());
                }
                Err(Box::new(challenge(headers.contains_key(header::AUTHORIZATION), path)))
            }
        }
    }
}

/// 401. On a page it lets a browser ask for the token too; a script that asks the API must not make it do so.
fn challenge(given: bool, path: &str) -> Response {
    let (why, bearer) = if given {
        ("Authorization has no token that is known", INVALID)
    } else {
        ("this path needs a token: Authorization: Bearer <token>", BEARER)
    };
    let mut response = answer::error(StatusCode::UNAUTHORIZED, why);
    let headers = response.headers_mut();
    headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(bearer));
    if !path.starts_with("/api/") {
        headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(BASIC));
    }
    response
}

/// The token of the one `Authorization`: of Bearer, or the password of Basic.
fn token(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let login = String::from_utf8(BASE64_STANDARD.decode(rest).ok()?).ok()?;
    login.split_once(':').map(|(_, password)| password.to_owned())
}

fn digest_of(token: &str) -> Digest {
    let mut bytes = Digest::default();
    bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    bytes
}

fn tokens(path: &Path) -> Result<Vec<Digest>, ConfigError> {
    let text = read_secret(path).map_err(|error| {
        ConfigError::invalid(TOKENS_FILE, format!("cannot read {}: {error}", path.display()))
    })?;
    let place = path.display();
    digests(&text).map_err(|(line, why)| ConfigError::invalid(TOKENS_FILE, format!("{place}:{line}: {why}")))
}

/// The tokens of a file; else the line that is wrong, and why. No token stands in that.
fn digests(text: &str) -> Result<Vec<Digest>, (usize, String)> {
    let mut digests = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let token = line.trim();
        if token.is_empty() || token.starts_with('#') {
            continue;
        }
        if !LENGTH.contains(&token.len()) || !is_token(token) {
            let (least, most) = (LENGTH.start(), LENGTH.end());
            let why = format!("expected {least} to {most} letters, digits and -._~+/, then = if any");
            return Err((number + 1, why));
        }
        if digests.len() == MAX_TOKENS {
            return Err((number + 1, format!("there are more than {MAX_TOKENS} tokens")));
        }
        digests.push(digest_of(token));
    }
    if digests.is_empty() {
        return Err((1, "there is no token in it; make one with: openssl rand -hex 32".to_owned()));
    }
    Ok(digests)
}

/// Whether a text is what RFC 6750 calls a `b64token`.
fn is_token(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
    let body = text.trim_end_matches('=');
    !body.is_empty() && body.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef-._~+/==";

    fn access() -> Access {
        Access::Tokens(digests(&format!("# LMS\n\n{TOKEN}\r\n  fedcba9876543210 \n")).unwrap())
    }

    fn admits(values: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        access().check(&headers, "/").is_ok()
    }

    #[test]
    fn a_token_is_taken_from_bearer_and_basic_and_from_nothing_else() {
        let basic = |login: &str| format!("Basic {}", BASE64_STANDARD.encode(login));
        let (good, any_user) = (format!("Bearer {TOKEN}"), basic(&format!("anybody:{TOKEN}")));
        for value in [&good, &format!("bearer  {TOKEN}"), &any_user, &basic(":fedcba9876543210")] {
            assert!(admits(&[value]), "{value}");
        }
        for value in [
            "Bearer",
            "Bearer ",
            "Basic",
            "Basic ?",
            "Basic OTk5",
            &format!("Bearer {TOKEN}="),
            &format!("Bearer {}", &TOKEN[1..]),
            &format!("Token {TOKEN}"),
            TOKEN,
            &basic(TOKEN),
            &basic(&format!("{TOKEN}:")),
            "Bearer #",
            "",
        ] {
            assert!(!admits(&[value]), "{value}");
        }
        assert!(!admits(&[]));
        assert!(!admits(&[&good, &good]), "two headers");
    }

    #[test]
    fn a_file_that_is_wrong_is_refused_by_its_line_and_not_by_its_tokens() {
        let many = "0123456789abcdef\n".repeat(MAX_TOKENS + 1);
        for (text, line, word) in [
            ("", 1, "no token"),
            ("# nothing\n\n", 1, "no token"),
            ("0123456789abcdef\nshort\n", 2, "16 to 256"),
            ("0123456789abcdef ghi\n", 1, "16 to 256"),
            ("\n0123456789abcdéf\n", 2, "16 to 256"),
            ("================", 1, "16 to 256"),
            (&many, MAX_TOKENS + 1, "more than 100"),
        ] {
            let (at, why) = digests(text).unwrap_err();
            assert!(at == line && why.contains(word), "{at}: {why}");
        }
        assert_eq!(digests(&"0123456789abcdef\n".repeat(MAX_TOKENS)).unwrap().len(), MAX_TOKENS);
    }
}
