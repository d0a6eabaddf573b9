//! What an operator may set: defaults, then a TOML file, then the environment, then flags; unknown keys refused.
//!
//! [`Config::load`] is the only reader of files and environment.

mod address;
mod load;
mod sections;
mod validate;
mod values;

pub(crate) use self::address::without_password;
pub use self::address::{TlsFiles, WebUrl};
pub use self::sections::{
    Amqp, Catalog, Config, Database, Heal, Http, Lms, Log, MarketingUrl, Reconcile, Sync,
};
pub use self::values::{Absent, LogFormat, PageSize, Schedule};

/// Why the program cannot start with what it was given; exit code 2. It names the key, and the file or variable that it
/// stands in.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    fn invalid(key: &str, why: impl std::fmt::Display) -> Self {
        Self(format!("configuration: {key}: {why}"))
    }
}

#[cfg(test)]
mod tests;
