//! What an operator may set: defaults, then a TOML file, then the environment, then flags; unknown keys refused.
//!
//! [`Config::load`] is the only reader of files and environment.

mod address;
mod load;
mod secret;
mod sections;
mod tls_files;
mod validate;
mod values;

pub use self::address::WebUrl;
pub use self::secret::without_password;
pub use self::sections::{
    Amqp, Catalog, Config, Database, Heal, Http, Lms, Log, MarketingUrl, Reconcile, Sync,
};
pub use self::tls_files::TlsFiles;
pub use self::values::{Absent, Every, Listen, LogFormat, PageSize, Schedule};

use std::ffi::OsString;

/// Why the program cannot start with what it was given; exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A `_FILE` variable whose file cannot be read.
    #[error("{variable}: cannot read {path:?}: {source}")]
    File {
        /// The variable's name.
        variable: String,
        /// What it names.
        path: OsString,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// Both `X` and `X_FILE` are set.
    #[error("{0} and {0}_FILE are both set; leave one of them away")]
    Both(String),
    /// The name of a variable that cannot be a key of ours.
    #[error("{0}: expected COURSE_SHARING_<SECTION>__<KEY>, or that with _FILE")]
    Name(String),
    /// A variable of ours whose value is not text.
    #[error("{0}: its value is not UTF-8")]
    NotText(String),
    /// A `--set` flag that is not `section.key=value`.
    #[error("--set {0:?}: expected section.key=value, as in --set catalog.timeout=5s")]
    Flag(String),
    /// An unknown key, a value of the wrong type, or a file that cannot be read.
    #[error("configuration: {0}")]
    Value(String),
    /// A value out of its bounds, or values that do not go together.
    #[error("configuration: {key}: {why}")]
    Invalid {
        /// `section.key`.
        key: &'static str,
        /// What is wrong and what would be right.
        why: String,
    },
}

#[cfg(test)]
mod tests;
