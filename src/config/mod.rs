//! What an operator may set: defaults, then a TOML file, then the environment, then flags; unknown keys refused.
//!
//! One section a file. [`Config::load`] is the only reader of files and environment.

mod address;
mod amqp;
mod bounds;
mod catalog;
mod database;
mod duration;
mod environment;
mod http;
mod list;
mod lms;
mod log;
mod marketing_url;
mod reconcile;
mod secret;
mod sync;
mod tls_files;
mod web_url;

pub use self::amqp::Amqp;
pub use self::catalog::Catalog;
pub use self::database::Database;
pub use self::duration::Every;
pub use self::environment::EnvironmentError;
pub use self::http::{Http, Listen};
pub use self::lms::Lms;
pub use self::log::{Log, LogFormat};
pub use self::marketing_url::MarketingUrl;
pub use self::reconcile::{Absent, PageSize, Reconcile, Schedule};
use self::secret::mask;
pub use self::secret::without_password;
pub use self::sync::{Heal, Sync};
pub use self::tls_files::TlsFiles;
pub use self::web_url::WebUrl;

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A configuration file is not longer.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Everything that can be set, section by section. Its `Debug` shows no secret.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The LMS's database, with our own tables beside the LMS's.
    pub database: Database,
    /// RabbitMQ.
    pub amqp: Amqp,
    /// course-discovery.
    pub catalog: Catalog,
    /// What the LMS is set to, as far as links depend on it.
    pub lms: Lms,
    /// Which URLs may be shown to learners.
    pub marketing_url: MarketingUrl,
    /// How events are worked off.
    pub sync: Sync,
    /// The pass over the whole Catalog.
    pub reconcile: Reconcile,
    /// Copying last-known URLs back.
    pub heal: Heal,
    /// The worker's port.
    pub http: Http,
    /// Log lines.
    pub log: Log,
}

/// Why the program cannot start with what it was given; exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The environment holds something that cannot be used.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// A `--set` flag that is not `section.key=value`.
    #[error("--set {0:?}: expected section.key=value, as in --set catalog.timeout=5s")]
    Flag(String),
    /// An unknown key, a value of the wrong type, or a file that cannot be read.
    #[error("configuration: {0}")]
    Value(String),
    /// Values that are each fine and do not go together.
    #[error("configuration: {key}: {why}")]
    Invalid {
        /// `section.key`.
        key: &'static str,
        /// What is wrong and what would be right.
        why: String,
    },
}

impl Config {
    /// Reads `file` (if any), then `environment` (name and value of each variable), then `flags`
    /// (`section.key=value`), each over the one before.
    ///
    /// # Errors
    /// The first thing that is wrong, naming the key, and the file or variable it stands in.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        flags: &[String],
    ) -> Result<Self, ConfigError> {
        let mut builder = config::Config::builder();
        if let Some(path) = file {
            let text = read(path)?;
            builder = builder.add_source(config::File::from_str(&text, config::FileFormat::Toml));
        }
        Self::build(builder, environment, flags)
    }

    /// As [`Self::load`], with the content of the file.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn from_toml(
        toml: &str,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        flags: &[String],
    ) -> Result<Self, ConfigError> {
        let toml = config::File::from_str(toml, config::FileFormat::Toml);
        Self::build(config::Config::builder().add_source(toml), environment, flags)
    }

    fn build(
        mut builder: config::ConfigBuilder<config::builder::DefaultState>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        flags: &[String],
    ) -> Result<Self, ConfigError> {
        for (key, value) in environment::values(environment)? {
            builder = builder.set_override(&key, value).map_err(|e| ConfigError::Value(e.to_string()))?;
        }
        for flag in flags {
            let wrong = || ConfigError::Flag(key_of(flag));
            let (key, value) = flag.split_once('=').filter(|(key, _)| is_key(key)).ok_or_else(wrong)?;
            builder = builder.set_override(key, value).map_err(|_| wrong())?;
        }
        let config: Self = builder
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(|e| ConfigError::Value(mask(&without_excerpt(&e.to_string()))))?;
        config.validate()?;
        Ok(config)
    }

    /// The file named by `--config`, or else by `COURSE_SHARING_CONFIG`.
    pub fn file(flag: Option<PathBuf>) -> Option<PathBuf> {
        flag.or_else(|| std::env::var_os("COURSE_SHARING_CONFIG").map(PathBuf::from))
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.database.validate()?;
        self.amqp.validate()?;
        self.catalog.validate()?;
        self.lms.validate()?;
        self.marketing_url.validate()?;
        self.sync.validate()?;
        self.reconcile.validate()?;
        self.heal.validate()?;
        Ok(())
    }
}

/// The text of a configuration file: of any kind, as a shell may pass a pipe, and of 1 MiB at most.
fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |why: String| ConfigError::Value(format!("cannot read {}: {why}", path.display()));
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(failed(format!("it is longer than {MAX_FILE_BYTES} bytes")));
    }
    Ok(text)
}

/// True for `section.key`. Anything more is an expression to the library: a number in brackets makes a list of that
/// length.
fn is_key(text: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    text.split_once('.').is_some_and(|(section, key)| is_word(section) && is_word(key))
}

/// A flag's key, as far as it looks like one: what is behind it may be a secret.
fn key_of(flag: &str) -> String {
    flag.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')).collect()
}

/// What the TOML parser says, less the line that it quotes: there may be a secret in it.
fn without_excerpt(said: &str) -> String {
    let quotes =
        |line: &&str| line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').starts_with('|');
    said.lines().filter(|line| !quotes(line)).map(str::trim).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests;
