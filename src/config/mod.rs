//! What an operator may set: defaults, then a TOML file, then the environment, then flags; unknown keys refused.
//!
//! [`Settings::read`] is the only reader of files and environment.

mod address;
mod error;
#[cfg(any(test, fuzzing))]
#[path = "../../tests/fuzz/properties/config.rs"]
pub(crate) mod fuzzing;
mod load;
mod sample;
mod sections;
mod settings;
mod validate;
mod values;

pub(crate) use self::address::without_password;
pub use self::address::{TlsFiles, TraceUrl, WebUrl};
pub use self::error::ConfigError;
pub(crate) use self::load::read_secret;
pub use self::load::{DEFAULT_FILE, file, named_file};
pub use self::sections::{Amqp, Catalog, Config, Database, Heal, Http, Lms, Log, Reconcile, Sync};
pub use self::settings::{Origin, Settings, Shown};
pub use self::values::{Absent, LogFormat, PageSize, Schedule};

#[cfg(test)]
mod tests;
