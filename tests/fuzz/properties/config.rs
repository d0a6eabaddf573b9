//! The configuration from texts alone, so that a fuzzer needs no file; see [`crate::fuzzing`].

use std::ffi::OsString;
use std::path::Path;

use super::{Config, ConfigError, Settings};

/// As [`Config::load`], with the content of the file.
pub(crate) fn load(
    toml: &str,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    flags: &[String],
) -> Result<Config, ConfigError> {
    let mut settings = Settings::default();
    settings.read_toml(Path::new("configuration.toml"), toml)?;
    settings.read_rest(environment, flags)?;
    settings.config()
}
