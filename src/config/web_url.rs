//! `http:` and `https:` URLs. One may hold a user name and a password, so none is shown whole.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de::Error};
use url::Url;

use super::{address, secret::without_password};

/// An absolute `http:` or `https:` URL. `Display` and `Debug` mask its password; what it derefs to has it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebUrl(Url);

impl FromStr for WebUrl {
    type Err = String;

    /// # Errors
    /// What was expected; the text itself is not repeated.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match address::parse(text) {
            Some(url) if matches!(url.scheme(), "http" | "https") => Ok(Self(url)),
            _ => Err(format!("expected an http: or https: URL; {}", address::ENCODE)),
        }
    }
}

impl<'de> Deserialize<'de> for WebUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
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
