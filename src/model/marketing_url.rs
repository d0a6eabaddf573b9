//! The one thing shown to learners: a URL that is fit to be shared, or none at all.

use std::sync::Arc;

use serde::Deserialize;
use url::Url;

use super::text::{KEPT, is_plain, shown};

/// Longer than any the Catalog makes (354 characters were seen), and what every browser and mail client takes.
const MAX_BYTES: usize = 2048;

/// An absolute URL of a course's page, exactly as the Catalog wrote it, that passed a [`UrlPolicy`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarketingUrl(Arc<str>);

/// Which URLs an operator lets learners be sent to: the section `marketing_url` of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UrlPolicy {
    /// Exact hosts, or `*.example.org` for every host below one; in the environment separated by commas. Empty: any host.
    pub allowed_hosts: Vec<String>,
    /// Whether `http:` will do where `https:` is expected.
    pub allow_http: bool,
}

/// The Catalog's partner has no marketing root: it then lists `course/<slug>`.
const NOT_ABSOLUTE: &str =
    "it is relative or no URL at all; does the Catalog's partner have a marketing site URL?";
/// Blanks, control characters, backslashes, quotes, angle brackets, anything that cannot be seen or turns the direction of
/// the text, or is beyond U+FFFF; or a percent sign in its host.
const CHARACTER: &str = "it has a character that no URL has, or that cannot be seen";

impl UrlPolicy {
    /// Takes the text as it is, byte for byte, if it may be shown to learners.
    ///
    /// # Errors
    /// The rule that it breaks, in a line.
    pub fn accept(&self, text: &str) -> Result<MarketingUrl, String> {
        if text.len() > MAX_BYTES {
            return Err(format!("it is longer than {MAX_BYTES} bytes"));
        }
        // Beyond U+FFFF, as the LMS's older tables (utf8mb3) cannot hold it, and one such URL would fail its batch. Written
        // as `%E2%80%AE` and the like in a path or a query what cannot be seen is harmless: browsers show it so.
        let odd = |c: char| {
            !is_plain(c) || c.is_whitespace() || c > '\u{FFFF}' || matches!(c, '<' | '>' | '"' | '\\' | '`')
        };
        if text.chars().any(odd) {
            return Err(CHARACTER.into());
        }
        let url = Url::parse(text).map_err(|_| NOT_ABSOLUTE)?;
        let slashes = text.get(url.scheme().len()..).is_some_and(|rest| rest.starts_with("://"));
        match url.scheme() {
            "https" if slashes => {}
            "http" if slashes && self.allow_http => {}
            "http" | "https" if !slashes => return Err(NOT_ABSOLUTE.into()),
            other => {
                return Err(format!("its scheme is {other:?}; marketing_url.allow_http decides about http"));
            }
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(NOT_ABSOLUTE)?;
        // As it is written, since the parser skips more slashes than two, and an empty user name.
        let authority = text[url.scheme().len()..].strip_prefix("://").unwrap_or_default();
        let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.is_empty() {
            return Err(NOT_ABSOLUTE.into());
        }
        // Decoded for the host, and then those that cannot be seen are dropped: the text would show another host.
        if authority.contains('%') {
            return Err(CHARACTER.into());
        }
        if authority.contains('@') {
            return Err("it carries a user name or password".into());
        }
        if !self.allowed_hosts.is_empty() && !self.allowed_hosts.iter().any(|rule| host_matches(rule, host)) {
            return Err(format!("its host {host:?} is not in marketing_url.allowed_hosts"));
        }
        if url.query_pairs().any(|(name, _)| name.get(..4).is_some_and(|n| n.eq_ignore_ascii_case("utm_"))) {
            return Err("it carries utm_ parameters, although the Catalog was asked for none".into());
        }
        Ok(MarketingUrl(text.into()))
    }
}

fn host_matches(rule: &str, host: &str) -> bool {
    match rule.strip_prefix("*.") {
        Some(parent) => host.len().checked_sub(parent.len() + 1).is_some_and(|dot| {
            dot > 0 && host.as_bytes()[dot] == b'.' && host[dot + 1..].eq_ignore_ascii_case(parent)
        }),
        None => rule.eq_ignore_ascii_case(host),
    }
}

impl MarketingUrl {
    /// The URL as text, as the Catalog wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A URL of the Catalog that must not be shared, and the rule that it breaks; as texts that can be kept and shown: short,
/// without a password, and without characters that change how the text around them looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedUrl {
    /// The URL, for people.
    pub url: String,
    /// Why it is refused, in a line.
    pub why: String,
}

impl RefusedUrl {
    /// `text` is the URL as the Catalog lists it.
    pub fn new(text: &str, why: &str) -> Self {
        Self { url: shown(&without_user(text)), why: shown(why) }
    }
}

/// The text without anything that may be a user name or a password.
fn without_user(text: &str) -> String {
    let names_nobody = |url: Url| url.username().is_empty() && url.password().is_none();
    // Only the beginning is shown, and a longer text need not be read whole.
    let end = text.char_indices().nth(4 * KEPT).map_or(text.len(), |(at, _)| at);
    let start = &text[..end];
    let (Some(slashes), Some(at)) = (start.find("//"), start.rfind('@')) else { return start.to_owned() };
    if at < slashes || Url::parse(text).is_ok_and(names_nobody) {
        return start.to_owned();
    }
    format!("{}***{}", &start[..slashes + 2], &start[at..])
}

/// The host of a URL that may come from anywhere (an overview, an old ledger row), lower-cased; none if it has
/// none. Two URLs of different hosts make a "re-hosted" link for the mass-change brake.
pub(crate) fn host_of(text: &str) -> Option<String> {
    Url::parse(text).ok()?.host_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn strict() -> UrlPolicy {
        UrlPolicy {
            allowed_hosts: vec!["www.campus.example".into(), "*.edu.example".into()],
            allow_http: false,
        }
    }

    #[test]
    fn a_good_url_is_kept_byte_for_byte() {
        for good in [
            "https://www.campus.example/course/a-b",
            "https://WWW.campus.example/Course/%7Ex?x=1",
            "https://a.b.edu.example/é",
            "https://a.b.edu.example?x=%20&y=a@b",
        ] {
            assert_eq!(strict().accept(good).unwrap().as_str(), good);
        }
        let any = UrlPolicy { allowed_hosts: vec![], allow_http: true };
        assert!(any.accept("http://localhost:8000/c").is_ok());
    }

    #[test]
    fn what_learners_must_not_see_is_refused_with_its_reason() {
        let cases = [
            ("course/acmex-cs100", NOT_ABSOLUTE),
            ("/course/x", NOT_ABSOLUTE),
            ("", NOT_ABSOLUTE),
            ("//www.campus.example/x", NOT_ABSOLUTE),
            ("https:/www.campus.example/x", NOT_ABSOLUTE),
            ("https:www.campus.example/x", NOT_ABSOLUTE),
            ("javascript:alert(1)", "its scheme is \"javascript\""),
            ("http://www.campus.example/x", "its scheme is \"http\""),
            ("https://evil.example/x", "its host \"evil.example\" is not"),
            ("https://edu.example/x", "its host \"edu.example\" is not"),
            ("https://notedu.example/x", "its host \"notedu.example\" is not"),
            ("https://u:p@www.campus.example/x", "user name or password"),
            ("https://@www.campus.example/x", "user name or password"),
            ("https://:@www.campus.example/x", "user name or password"),
            ("https:///www.c%61mpus.example/x", NOT_ABSOLUTE),
            ("https://www.campus.example/a b", CHARACTER),
            ("https://www.campus.example/\n", CHARACTER),
            ("https://www.campus.example/🎓", CHARACTER),
            ("https://www.campus.example/?utm_source=me", "utm_ parameters"),
            ("https://www.campus.example/?a=1&UTM_medium=x", "utm_ parameters"),
        ];
        for (text, why) in cases {
            let refused = strict().accept(text).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
        let long = format!("https://www.campus.example/{}", "x".repeat(2048));
        assert_eq!(strict().accept(&long).unwrap_err(), "it is longer than 2048 bytes");
    }

    #[test]
    fn what_cannot_be_seen_or_turns_the_text_is_refused() {
        let ranges = [
            '\u{202A}'..='\u{202E}',
            '\u{2066}'..='\u{2069}',
            '\u{200B}'..='\u{200F}',
            '\u{FEFF}'..='\u{FEFF}',
        ];
        for c in ranges.into_iter().flatten().chain(['\u{AD}', '\u{85}', '\u{7F}', '\u{2028}', '\u{2060}']) {
            for text in [
                format!("https://www.campus.example/gro.live{c}/c"),
                format!("https://www.cam{c}pus.example/c"),
                format!("https://www.campus.example/c?x={c}"),
            ] {
                assert_eq!(strict().accept(&text), Err(CHARACTER.to_owned()), "{text:?}");
            }
        }
        let hidden = "https://www.cam%E2%80%8Bpus.example/c";
        assert_eq!(strict().accept(hidden), Err(CHARACTER.to_owned()));
        let encoded = "https://www.campus.example/gro.live%E2%80%AE/c?x=%EF%BB%BF";
        assert_eq!(strict().accept(encoded).unwrap().as_str(), encoded);
    }

    proptest! {
        #[test]
        fn accepting_never_panics_and_never_changes_a_byte(text in "\\PC{0,80}|https?://[a-zé.:@/?&=%_\\[\\]0-9-]{0,60}") {
            for policy in [strict(), UrlPolicy { allowed_hosts: vec![], allow_http: true }] {
                if let Ok(url) = policy.accept(&text) {
                    prop_assert_eq!(url.as_str(), text.as_str());
                }
            }
        }
    }

    fn refused(text: &str) -> String {
        RefusedUrl::new(text, "it carries a password").url
    }

    #[test]
    fn a_password_is_not_kept() {
        assert_eq!(refused("https://me:hunter2@campus.example/a"), "https://***@campus.example/a");
        assert_eq!(refused("https://me:hunt/er@2@campus.example/a"), "https://***@campus.example/a");
        assert_eq!(refused("https://me:hun ter2@campus.example/a"), "https://***@campus.example/a");
        assert_eq!(refused("https://elsewhere.example/@me"), "https://elsewhere.example/@me");
        assert_eq!(refused("course/@me"), "course/@me");
    }

    #[test]
    fn what_would_change_the_text_around_it_is_escaped() {
        assert_eq!(refused("https://e.example/\u{202e}\n\0é"), "https://e.example/\\u{202e}\\u{a}\\u{0}é");
        assert_eq!(RefusedUrl::new("x", &"x".repeat(5000)).why.chars().count(), 301);
    }

    proptest! {
        #[test]
        fn whatever_it_is_it_fits_its_column(text in "(\\PC|\\p{C}){0,700}") {
            let shown = RefusedUrl::new(&text, "too long").url;
            prop_assert!(shown.chars().count() <= 301);
            prop_assert!(shown.chars().all(crate::model::text::is_plain));
        }
    }
}
