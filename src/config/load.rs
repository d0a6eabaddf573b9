//! Reads file, environment and flags into a [`Config`].

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use config::builder::{ConfigBuilder, DefaultState};
use config::{File as Source, FileFormat};

use super::secret::{mask, read_file};
use super::{Config, ConfigError};

/// What the names of our variables begin with.
const PREFIX: &str = "COURSE_SHARING_";
/// A configuration file is not longer.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

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
        let text = file.map(read).transpose()?.unwrap_or_default();
        Self::from_toml(&text, environment, flags)
    }

    /// As [`Self::load`], with the content of the file.
    pub(crate) fn from_toml(
        toml: &str,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        flags: &[String],
    ) -> Result<Self, ConfigError> {
        let mut builder = config::Config::builder().add_source(Source::from_str(toml, FileFormat::Toml));
        for (key, value) in variables(environment)? {
            builder = builder.set_override(&key, value).map_err(|e| ConfigError::Value(e.to_string()))?;
        }
        for flag in flags {
            builder = with_flag(builder, flag).ok_or_else(|| ConfigError::Flag(key_of(flag)))?;
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
}

/// The text of a configuration file: of any kind, as a shell may pass a pipe, and of 1 MiB at most.
fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |why: String| ConfigError::Value(format!("cannot read {}: {why}", path.display()));
    let mut text = String::new();
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(failed(format!("it is longer than {MAX_FILE_BYTES} bytes")));
    }
    Ok(text)
}

/// `(section.key, value)` for every variable of ours. Variables without `__` are left alone, as Kubernetes sets
/// some of its own (`COURSE_SHARING_SERVICE_HOST`) for a service of our name.
fn variables(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, ConfigError> {
    let mut ours: Vec<(String, OsString)> = environment
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.strip_prefix(PREFIX).is_some_and(|rest| rest.contains("__")))
        .collect();
    ours.sort();
    let variable = |(name, value): &(String, OsString)| {
        let plain = name.strip_suffix("_FILE");
        if let Some(plain) = plain.filter(|plain| ours.iter().any(|(other, _)| other == plain)) {
            return Err(ConfigError::Both(plain.to_owned()));
        }
        let value = match plain {
            Some(_) => content(name, value)?,
            None => value.clone().into_string().map_err(|_| ConfigError::NotText(name.clone()))?,
        };
        let key = plain.unwrap_or(name)[PREFIX.len()..].to_ascii_lowercase().replacen("__", ".", 1);
        if !is_key(&key) {
            return Err(ConfigError::Name(name.chars().take(80).collect()));
        }
        Ok((key, value))
    };
    ours.iter().map(variable).collect()
}

/// The content of the file that the variable `name` names, less the line end that editors leave.
fn content(name: &str, path: &OsString) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::File { variable: name.to_owned(), path: path.clone(), source };
    let text = read_file(Path::new(path)).map_err(unreadable)?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// None: `flag` is not `section.key=value`.
fn with_flag(builder: ConfigBuilder<DefaultState>, flag: &str) -> Option<ConfigBuilder<DefaultState>> {
    let (key, value) = flag.split_once('=').filter(|(key, _)| is_key(key))?;
    builder.set_override(key, value).ok()
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
