//! URLs of servers: read only where nothing in them can be part of a password, and only with parameters that are used.
//! One may hold a user name and a password, so none is shown whole.

use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;
use std::str::FromStr;

use lapin::uri::{AMQPScheme, AMQPUri, SASLMechanism};
use url::Url;

use super::error::ConfigError;

/// What an error about such a URL ends with.
pub(super) const ENCODE: &str =
    "in a user name or password, percent-encode every character but letters and digits (/ is %2F, @ is %40)";

/// Reads the URL of a server.
///
/// A password with `/`, `?` or `#` in it, not encoded, ends the host for the parser: what is behind it, up to the
/// `@`, is then a path, a query or a fragment. So there must be neither an `@` behind the host nor a fragment.
pub(super) fn parse(text: &str) -> Option<Url> {
    if text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let (_, rest) = text.split_once("//")?;
    let behind_host = rest.find(['/', '?', '#']).map_or("", |at| &rest[at..]);
    (!behind_host.contains('@') && url.fragment().is_none()).then_some(url)
}

/// Refuses a parameter that nobody reads, by its name.
pub(super) fn known_parameters(url: &Url, known: &[&str]) -> Result<(), String> {
    for (name, _) in url.query_pairs() {
        // `options[name]=value` of PostgreSQL, among others.
        if !known.contains(&name.split('[').next().unwrap_or_default()) {
            let name: String = name.chars().take(40).collect();
            return Err(format!("nothing reads its parameter {name:?}; known are {}", known.join(", ")));
        }
    }
    Ok(())
}

/// An absolute `http:` or `https:` URL. `Display` and `Debug` mask its password; what it derefs to has it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebUrl(Url);

impl WebUrl {
    /// Whether it may be shown as it is.
    pub(super) fn is_without_login(&self) -> bool {
        self.0.username().is_empty() && self.0.password().is_none()
    }
}

impl FromStr for WebUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match parse(text) {
            Some(url) if matches!(url.scheme(), "http" | "https") => Ok(Self(url)),
            _ => Err(format!("expected an http: or https: URL; {ENCODE}")),
        }
    }
}

impl Deref for WebUrl {
    type Target = Url;

    fn deref(&self) -> &Url {
        &self.0
    }
}

/// A [`WebUrl`] with a place for the id of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceUrl(String);

impl TraceUrl {
    const PLACE: &str = "{trace_id}";

    /// The URL of this trace.
    pub fn of(&self, trace_id: &str) -> String {
        self.0.replace(Self::PLACE, trace_id)
    }
}

impl FromStr for TraceUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let place = Self::PLACE;
        let url: WebUrl = text.replace(place, "0").parse()?;
        if !text.contains(place) || !url.is_without_login() {
            return Err(format!(
                "expected {place} where the id of a trace is to be, and no user name or password"
            ));
        }
        // As it is written: a parser would encode the braces.
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(self.0.as_str()))
    }
}

impl fmt::Debug for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&without_password(self.0.as_str()), f)
    }
}

/// What is read of the query, by lapin or here.
const PARAMETERS: &[&str] =
    &["heartbeat", "frame_max", "channel_max", "auth_mechanism", "cacertfile", "certfile", "keyfile"];

/// Certificates in PEM files. They are read at each connecting, so that renewed ones are taken up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Authorities that the broker's certificate may come from, beside the system's.
    pub authorities: Option<PathBuf>,
    /// Our certificate, with those between it and its authority, and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

impl TlsFiles {
    /// The files with certificates that the URL of a broker names.
    pub(super) fn named_in(text: &str) -> Result<Self, ConfigError> {
        // Here, as the library quotes a URL that it cannot read, with the password in it; and it takes one without
        // a host for this machine's.
        let url = parse(text).filter(|url| url.host_str().is_some_and(|host| !host.is_empty()));
        let read = match (url, text.parse::<AMQPUri>()) {
            (Some(url), Ok(uri)) => Self::of(&url, &uri),
            _ => Err(format!(
                "expected a URL like amqp://user:password@host:5672/%2f, or amqps: for TLS; {ENCODE}"
            )),
        };
        read.map_err(|why| ConfigError::invalid("amqp.url", why))
    }

    /// Takes them out of the URL, which `uri` is the library's reading of.
    fn of(url: &Url, uri: &AMQPUri) -> Result<Self, String> {
        known_parameters(url, PARAMETERS)?;
        let file = |wanted: &str| {
            let value = url.query_pairs().find(|(name, _)| name == wanted).map(|(_, value)| value);
            value.map(|value| PathBuf::from(&*value))
        };
        let certificate = match (file("certfile"), file("keyfile")) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            _ => return Err("certfile and keyfile go together".to_owned()),
        };
        let files = Self { authorities: file("cacertfile"), certificate };
        if uri.scheme == AMQPScheme::AMQP && files != Self::default() {
            return Err("cacertfile, certfile and keyfile need amqps:".to_owned());
        }
        let query = &uri.query;
        if query.auth_mechanism == Some(SASLMechanism::External) && files.certificate.is_none() {
            return Err("auth_mechanism=external needs certfile and keyfile".to_owned());
        }
        if query.heartbeat.is_some_and(|seconds| !(1..=600).contains(&seconds)) {
            return Err("heartbeat is out of bounds; expected 1 to 600".to_owned());
        }
        if query.frame_max.is_some_and(|bytes| !(4096..=1_048_576).contains(&bytes)) {
            return Err("frame_max is out of bounds; expected 4096 to 1048576".to_owned());
        }
        Ok(files)
    }
}

/// The URL with any user name kept and any password masked, and a query that may hold one; for logs and error
/// messages. It goes by the text, not by a parser: a password with `/`, `?`, `#` or `@` in it, not encoded, ends for
/// a parser where it should not, and the rest of it would be shown.
pub(crate) fn without_password(url: &str) -> String {
    let is_scheme =
        |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    let shown = match url.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) && (rest.starts_with("//") || !rest.contains('@')) => {
            mask(url)
        }
        _ => return "(not a URL)".to_owned(),
    };
    match shown.split_once('?') {
        Some((before, query)) if may_hold_a_secret(query) => format!("{before}?***"),
        _ => shown,
    }
}

/// A text that may quote a URL, with everything masked from the first `:` after `//` to the last `@`.
pub(super) fn mask(text: &str) -> String {
    let masked = || {
        let from = text.find("//")? + 2;
        let colon = from + text[from..].find(':')? + 1;
        let at = text.rfind('@').filter(|at| colon <= *at)?;
        Some(format!("{}***{}", &text[..colon], &text[at..]))
    };
    masked().unwrap_or_else(|| text.to_owned())
}

fn may_hold_a_secret(query: &str) -> bool {
    let query = query.to_ascii_lowercase();
    ["pass", "secret", "token"].iter().any(|word| query.contains(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_password_that_breaks_a_url_is_refused() {
        for bad in ["1/x", "?x", "#x", "p\\x", "1?x", "1#x", "p x", "p\tx", "x/y"] {
            for scheme in ["amqp", "mysql", "https"] {
                assert!(parse(&format!("{scheme}://user:{bad}@host/x")).is_none(), "{scheme} {bad}");
            }
        }
        for good in ["amqp://u:p@h:5672/%2f?heartbeat=5", "https://h/a/b", "mysql://u:p%40@[::1]/db"] {
            assert!(parse(good).is_some(), "{good}");
        }
    }

    proptest! {
        #[test]
        fn a_url_that_is_read_has_its_whole_password_before_its_host(password in "\\PC{0,12}") {
            if let Some(url) = parse(&format!("amqp://user:{password}@host/x")) {
                prop_assert_eq!((url.host_str(), url.path(), url.query()), (Some("host"), "/x", None));
            }
        }
    }

    fn files(text: &str) -> Result<TlsFiles, String> {
        TlsFiles::of(&Url::parse(text).unwrap(), &text.parse().unwrap())
    }

    #[test]
    fn certificates_are_taken_from_the_query() {
        let url = "amqps://h/%2f?auth_mechanism=external&cacertfile=%2Fa.pem&certfile=/b.pem&keyfile=/c.pem";
        let expected = TlsFiles {
            authorities: Some("/a.pem".into()),
            certificate: Some(("/b.pem".into(), "/c.pem".into())),
        };
        assert_eq!(files(url), Ok(expected));
        assert_eq!(files("amqp://h/?heartbeat=5&frame_max=4096&channel_max=9"), Ok(TlsFiles::default()));
    }

    #[test]
    fn a_parameter_without_use_is_refused_by_name() {
        for (url, words) in [
            ("amqps://h/?cacert=/a.pem", "\"cacert\""),
            ("amqps://h/?verify=verify_peer", "\"verify\""),
            ("amqp://h/?connection_timeout=5", "\"connection_timeout\""),
            ("amqps://h/?certfile=/b.pem", "keyfile"),
            ("amqps://h/?keyfile=/b.pem", "certfile"),
            ("amqp://h/?cacertfile=/a.pem", "amqps:"),
            ("amqps://h/?auth_mechanism=external", "certfile"),
            ("amqp://h/?heartbeat=0", "1 to 600"),
            ("amqp://h/?frame_max=1", "4096"),
        ] {
            let why = files(url).unwrap_err();
            assert!(why.contains(words), "{url}: {why}");
        }
    }

    #[test]
    fn urls_are_shown_as_far_as_they_are_no_secret() {
        for (url, shown) in [
            ("amqp://u:hush@h/x", "amqp://u:***@h/x"),
            ("amqp://u:hu@s/h#?:@h:5672/x", "amqp://u:***@h:5672/x"),
            ("amqp://u:1/ush@h/x", "amqp://u:***@h/x"),
            ("mysql://h:3306/edxapp?ssl-mode=REQUIRED", "mysql://h:3306/edxapp?ssl-mode=REQUIRED"),
            ("postgres://u@h/db?password=hush", "postgres://u@h/db?***"),
            ("sqlite::memory:", "sqlite::memory:"),
            ("sqlite:///tmp/a@b.db?mode=rwc", "sqlite:///tmp/a@b.db?mode=rwc"),
            ("http://[::1]:8080/", "http://[::1]:8080/"),
            ("u:hush@h", "(not a URL)"),
            ("hush and more: //u@h", "(not a URL)"),
            ("hush", "(not a URL)"),
            ("", "(not a URL)"),
        ] {
            assert_eq!(without_password(url), shown, "{url}");
        }
    }

    proptest! {
        #[test]
        fn no_part_of_a_password_is_shown(password in "\\PC{1,20}") {
            let url = format!("amqp://user:{password}@host/x");
            prop_assert_eq!(without_password(&url), "amqp://user:***@host/x");
            prop_assert_eq!(mask(&format!("invalid: \"{url}\"")), "invalid: \"amqp://user:***@host/x\"");
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,40}|[a-z:/@?é]{0,20}") {
            let _ = without_password(&text);
        }
    }
}
