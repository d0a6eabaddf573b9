//! URLs of servers: read only where nothing in them can be part of a password, and only with parameters that are used.
//! One may hold a user name and a password, so none is shown whole.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::str::FromStr;

use url::Url;

use super::secret::without_password;

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

impl FromStr for WebUrl {
    type Err = String;

    /// # Errors
    /// What was expected; the text itself is not repeated.
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

impl DerefMut for WebUrl {
    fn deref_mut(&mut self) -> &mut Url {
        &mut self.0
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
}
