//! What is wrong with the configuration, and where.

use std::fmt;

/// Why the program cannot start with what it was given; exit code 2. It names the key, and the file and line, the
/// variable or the flag that it stands in.
#[derive(Debug)]
pub struct ConfigError {
    place: Option<String>,
    pub(super) key: Option<String>,
    why: String,
}

impl ConfigError {
    /// What is wrong, without the place.
    pub fn why(&self) -> &str {
        &self.why
    }

    pub(super) fn new(why: impl fmt::Display) -> Self {
        Self { place: None, key: None, why: why.to_string() }
    }

    /// What is wrong with the value of this key.
    pub(crate) fn invalid(key: &str, why: impl fmt::Display) -> Self {
        Self { key: Some(key.to_owned()), ..Self::new(why) }
    }

    /// The same, at this place.
    pub(super) fn at(self, place: Option<String>) -> Self {
        Self { place, ..self }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("configuration: ")?;
        for part in [&self.place, &self.key].into_iter().flatten() {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.why)
    }
}

impl std::error::Error for ConfigError {}
