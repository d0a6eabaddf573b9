//! Reads file, environment and flags into a [`Config`].

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use config::builder::{ConfigBuilder, DefaultState};
use config::{File as Source, FileFormat};

use super::address::mask;
use super::{Config, ConfigError};

/// What the names of our variables begin with.
const PREFIX: &str = "COURSE_SHARING_";
/// A configuration file is not longer.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// No secret is longer.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

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
            builder =
                builder.set_override(&key, value).map_err(|e| ConfigError(format!("configuration: {e}")))?;
        }
        for flag in flags {
            builder = with_flag(builder, flag).ok_or_else(|| {
                let key = key_of(flag);
                ConfigError(format!(
                    "--set {key:?}: expected section.key=value, as in --set catalog.timeout=5s"
                ))
            })?;
        }
        let config: Self = builder
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(|e| ConfigError(format!("configuration: {}", mask(&without_excerpt(&e.to_string())))))?;
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
    let failed = |why: String| ConfigError(format!("configuration: cannot read {}: {why}", path.display()));
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
            return Err(ConfigError(format!(
                "{plain} and {plain}_FILE are both set; leave one of them away"
            )));
        }
        let value = match plain {
            Some(_) => content(name, value)?,
            None => value
                .clone()
                .into_string()
                .map_err(|_| ConfigError(format!("{name}: its value is not UTF-8")))?,
        };
        let key = plain.unwrap_or(name)[PREFIX.len()..].to_ascii_lowercase().replacen("__", ".", 1);
        if !is_key(&key) {
            let name: String = name.chars().take(80).collect();
            return Err(ConfigError(format!(
                "{name}: expected COURSE_SHARING_<SECTION>__<KEY>, or that with _FILE"
            )));
        }
        Ok((key, value))
    };
    ours.iter().map(variable).collect()
}

/// The content of the file that the variable `name` names, less the line end that editors leave.
fn content(name: &str, path: &OsString) -> Result<String, ConfigError> {
    let unreadable = |error| ConfigError(format!("{name}: cannot read {path:?}: {error}"));
    let text = read_secret(Path::new(path)).map_err(unreadable)?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// The content of a file that holds a secret.
/// Only of a regular file: a pipe or a device could go on for ever.
fn read_secret(path: &Path) -> io::Result<String> {
    let is_file = |is_file: bool| {
        let why = || io::Error::new(ErrorKind::InvalidInput, "it is not a regular file");
        is_file.then_some(()).ok_or_else(why)
    };
    // Before it is opened, as opening a pipe waits for a writer; and after, as the path may name another file by then.
    is_file(std::fs::metadata(path)?.is_file())?;
    let file = File::open(path)?;
    is_file(file.metadata()?.is_file())?;
    let mut content = String::new();
    file.take(MAX_SECRET_BYTES + 1).read_to_string(&mut content)?;
    if content.len() as u64 > MAX_SECRET_BYTES {
        let why = format!("it is longer than {MAX_SECRET_BYTES} bytes, which no secret is");
        return Err(io::Error::new(ErrorKind::FileTooLarge, why));
    }
    Ok(content)
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
