//! What must hold for any bytes from outside. The fuzz targets in `tests/fuzz` call these functions, and a test plays
//! the corpus that they have found. Built for tests and for fuzzing only.
//!
//! Each function takes the raw input of the fuzzer and panics where a property does not hold.

use std::ffi::OsString;
use std::fmt::{Debug, Display};

use secrecy::ExposeSecret;
use url::Url;

use crate::config::{Config, fuzzing, without_password};
use crate::event::{Decoded, EventKind, Raw, decode};
use crate::model::course_key::{CourseKey, MAX_CHARS};
use crate::model::marketing_url::{UrlPolicy, host_of};

pub use crate::catalog::fuzzing::{retry_after, wire};
pub use crate::http::fuzzing::share_links_query;

/// A fuzz target: its name, which is also its folder in the corpus, and its property.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 7] = [
    ("config", config),
    ("course_key", course_key),
    ("decode", decode_event),
    ("marketing_url", marketing_url),
    ("retry_after", retry_after),
    ("share_links_query", share_links_query),
    ("wire", wire),
];

/// No error message is longer than this, whatever it quotes.
const MAX_MESSAGE_BYTES: usize = 4_000;
/// A password that is in no input by chance.
const SECRET: &str = "hush-3f9c1a";

/// An error is one short line: it ends in logs, headers and on the page.
pub(crate) fn is_short_line(message: &dyn Display) {
    let text = message.to_string();
    assert!(text.len() <= MAX_MESSAGE_BYTES, "{} bytes: {text:?}", text.len());
    assert!(!text.contains(char::is_control), "a control character: {text:?}");
}

/// A key that was read is read again as the same key, and belongs to one run.
pub fn course_key(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let key = match CourseKey::parse(text) {
        Ok(key) => key,
        Err(error) => return is_short_line(&error),
    };
    assert!(text.starts_with(key.as_str()), "the key is not the start of {text:?}");
    assert!(key.as_str().chars().count() <= MAX_CHARS);
    assert!(!key.as_str().contains(|c: char| c.is_control() || c.is_whitespace()), "{key:?}");
    assert_eq!(CourseKey::parse(key.as_str()).as_ref(), Ok(&key));
    assert_eq!(key.to_string(), key.as_str());
    let run = key.run_key();
    let of_run = CourseKey::parse(run.as_str()).expect("a run's key is a course's key");
    assert_eq!(of_run.run_key(), run);
    assert!(!of_run.is_ccx());
    assert_eq!(key.is_ccx(), key.as_str() != run.as_str());
}

/// An event that was read is written and read again as the same event. The input is
/// `routing key NUL content type NUL headers, a line "name=value" each, NUL body`.
pub fn decode_event(data: &[u8]) {
    let mut parts = data.splitn(4, |byte| *byte == 0);
    let mut text = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (routing_key, content_type, headers) = (text(), text(), text());
    let header = |name: &str| {
        let mut pairs = headers.lines().filter_map(|line| line.split_once('='));
        pairs.find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let raw = Raw {
        body: parts.next().unwrap_or_default(),
        routing_key: &routing_key,
        content_type: (!content_type.is_empty()).then_some(content_type.as_str()),
        header: &header,
    };
    match decode(&raw) {
        Ok(Decoded::Event(event)) => {
            let body = event.to_json();
            let again = decode(&Raw {
                body: &body,
                routing_key: EventKind::CoursePublish.as_str(),
                content_type: Some("application/json"),
                header: &|_| None,
            });
            assert_eq!(again, Ok(Decoded::Event(event)), "{}", String::from_utf8_lossy(&body));
        }
        Ok(Decoded::Ignored(ignored)) => is_short_line(&ignored),
        Err(error) => is_short_line(&error),
    }
}

/// A URL that was accepted is kept byte for byte, hides nothing from the reader and keeps the policy. The first byte
/// chooses the policy.
pub fn marketing_url(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let hosts: &[&str] = if choice & 1 == 0 { &[] } else { &["www.campus.example", "*.edu.example"] };
    let policy = UrlPolicy {
        allowed_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        allow_http: choice & 2 != 0,
    };
    let url = match policy.accept(text) {
        Ok(url) => url,
        Err(error) => return is_short_line(&error),
    };
    assert_eq!(url.as_str(), text);
    assert!(text.len() <= 2048);
    assert!(!text.contains(|c: char| c.is_control() || c.is_whitespace() || c > '\u{FFFF}'), "{text:?}");
    assert!(!text.contains(is_invisible), "{text:?}");
    let Ok(parsed) = Url::parse(text) else { panic!("accepted, and no URL: {text:?}") };
    assert!(parsed.scheme() == "https" || (policy.allow_http && parsed.scheme() == "http"), "{text:?}");
    let host = host_of(text).unwrap_or_default();
    assert!(!host.is_empty(), "{text:?}");
    let below = |parent: &str| host.strip_suffix(parent).is_some_and(|name| !name.is_empty());
    assert!(hosts.is_empty() || host == "www.campus.example" || below(".edu.example"), "{text:?}: {host}");
    let authority = text.split("//").nth(1).and_then(|rest| rest.split(['/', '?', '#']).next());
    let authority = authority.unwrap_or_default();
    assert!(!authority.is_empty() && !authority.contains(['@', '%']), "{text:?}");
}

/// Characters that change how the text around them is shown, or are not shown at all.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

/// Whatever is configured, loading ends with a value that can be worked with or with a short error, and a password
/// is never shown. The input is `TOML NUL environment NUL flags`, the last two a line each; with one more NUL and a text
/// behind it, that is the rest of a password instead.
pub fn config(data: &[u8]) {
    let mut parts = data.splitn(4, |byte| *byte == 0);
    let mut text = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (toml, environment, flags, tail) = (text(), text(), text(), text());
    // A `_FILE` would read a file of this machine.
    let environment: Vec<(OsString, OsString)> = environment
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| !name.ends_with("_FILE"))
        .map(|(name, value)| (format!("COURSE_SHARING_{name}").into(), value.into()))
        .collect();
    let flags: Vec<String> = flags.lines().map(str::to_owned).collect();
    if !tail.is_empty() {
        return a_password_is_never_shown(&tail);
    }
    match fuzzing::load(&toml, environment, &flags) {
        Ok(config) => {
            is_workable(&config);
            assert!(format!("{config:?}").len() < 64 * 1024 + 2 * data.len());
        }
        Err(error) => assert!(error.to_string().len() <= MAX_MESSAGE_BYTES + 8 * data.len()),
    }
}

/// `tail` is the rest of the password, however odd.
fn a_password_is_never_shown(tail: &str) {
    const URLS: [(&str, &str); 3] =
        [("amqp.url", "amqp"), ("database.url", "postgres"), ("catalog.url", "https")];
    let (key, scheme) = URLS[tail.len() % URLS.len()];
    let url = format!("{scheme}://user:{SECRET}{tail}@host.example/x");
    shows_no_secret(&without_password(&url));
    match fuzzing::load("", [], &[format!("{key}={url}")]) {
        Ok(config) => shows_no_secret(&config),
        Err(error) => shows_no_secret(&error.to_string()),
    }
}

fn shows_no_secret(shown: &dyn Debug) {
    let shown = format!("{shown:?}");
    assert!(!shown.contains(SECRET), "{shown}");
}

/// What the worker does with these numbers must not overflow.
fn is_workable(config: &Config) {
    let now = std::time::Instant::now();
    let mut times = vec![config.catalog.timeout];
    if let Some(period) = config.heal.interval {
        times.push(period);
    }
    assert!(times.iter().all(|time| now.checked_add(*time * 2).is_some()), "{times:?}");
    assert!(config.database.max_connections < 100_000, "{}", config.database.max_connections);
    assert!(Url::parse(config.amqp.url.expose_secret()).is_ok());
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_property_holds_for_its_corpus() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
        for (name, property) in TARGETS {
            let mut inputs: Vec<_> =
                fs::read_dir(corpus.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
            inputs.sort();
            assert!(!inputs.is_empty(), "{name} has no corpus");
            for input in inputs {
                // The name of the file stands above the panic, if there is one.
                eprintln!("{}", input.display());
                property(&fs::read(&input).unwrap());
            }
        }
        let folders = fs::read_dir(&corpus).unwrap().count();
        assert_eq!(folders, TARGETS.len(), "a folder of the corpus has no target");
    }
}
