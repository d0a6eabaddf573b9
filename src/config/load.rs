//! Reads file, environment and flags, each over the one before.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::address::mask;
use super::sample::{self, PREFIX};
use super::settings::{Origin, Settings};
use super::{Config, ConfigError};

/// Where the configuration is, unless something else is said.
pub const DEFAULT_FILE: &str = "/etc/course-sharing/course-sharing.toml";
/// A configuration file is not longer.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// No secret is longer.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

impl Config {
    /// What [`Settings::read`] reads, as a configuration.
    ///
    /// # Errors
    /// The first thing that is wrong, naming the key, and the place it stands at.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        flags: &[String],
    ) -> Result<Self, ConfigError> {
        Settings::read(file, environment, flags)?.config()
    }
}

/// The file that is named by `--config`, or else by `COURSE_SHARING_CONFIG`. A variable that is empty counts as not set.
pub fn named_file(flag: Option<PathBuf>) -> Option<PathBuf> {
    let variable = || std::env::var_os("COURSE_SHARING_CONFIG").filter(|path| !path.is_empty());
    flag.or_else(|| variable().map(PathBuf::from))
}

/// The file that is named, or else [`DEFAULT_FILE`], unless there certainly is none: a file that cannot be looked for is
/// named in an error later.
pub fn file(flag: Option<PathBuf>) -> Option<PathBuf> {
    let default = PathBuf::from(DEFAULT_FILE);
    named_file(flag).or_else(|| default.try_exists().unwrap_or(true).then_some(default))
}

impl Settings {
    /// Reads `file` (if any), then `environment` (name and value of each variable), then `flags` (`section.key=value`),
    /// each over the one before.
    ///
    /// # Errors
    /// The first thing that is wrong, with the place it stands at. Whether the values can be used, [`Settings::config`]
    /// says.
    pub fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        flags: &[String],
    ) -> Result<Self, ConfigError> {
        let mut settings = Self::default();
        if let Some(path) = file {
            // Of any kind, as a shell may pass a pipe.
            let text = read(path, MAX_FILE_BYTES)
                .map_err(|error| ConfigError::new(format!("cannot read {}: {error}", path.display())))?;
            settings.read_toml(path, &text)?;
        }
        settings.read_rest(environment, flags)?;
        Ok(settings)
    }

    pub(super) fn read_rest(
        &mut self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        flags: &[String],
    ) -> Result<(), ConfigError> {
        for (name, key, value) in variables(environment)? {
            self.insert(&key, Origin::Variable(name), |key| key.literal(&value))?;
        }
        for flag in flags {
            let Some((key, value)) = flag.split_once('=').filter(|(key, _)| is_key(key)) else {
                let why = "expected section.key=value, as in --set catalog.timeout=5s";
                return Err(ConfigError::new(why).at(Some(format!("--set {:?}", key_of(flag)))));
            };
            self.set(key, value)?;
        }
        Ok(())
    }

    /// Reads the text of a TOML file.
    pub(super) fn read_toml(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        self.file = Some(path.to_owned());
        let at = |offset: usize| {
            let before = &text.as_bytes()[..offset.min(text.len())];
            Origin::File(path.to_owned(), before.iter().filter(|byte| **byte == b'\n').count() + 1)
        };
        let wrong = |offset: usize, why: &str| ConfigError::new(mask(why)).at(Some(at(offset).to_string()));
        let table = DeTable::parse(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            wrong(offset, &format!("this is not valid TOML: {}", error.message()))
        })?;
        for (section, keys) in table.get_ref() {
            let (name, start) = (section.get_ref(), section.span().start);
            let DeValue::Table(keys) = keys.get_ref() else {
                let name: String = name.chars().take(80).collect();
                let section = if sample::is_section(&name) { name.as_str() } else { "section" };
                return Err(wrong(
                    start,
                    &format!("{name} stands in no section; write [{section}] above it"),
                ));
            };
            if keys.is_empty() && !sample::is_section(name) {
                let name: String = name.chars().take(80).collect();
                return Err(wrong(start, &format!("there is no section [{name}]")));
            }
            for (key, value) in keys {
                let (name, origin) = (format!("{name}.{}", key.get_ref()), at(key.span().start));
                self.insert(&name, origin, |key| key.literal_of(value.get_ref()))?;
            }
        }
        Ok(())
    }
}

/// The text of a file, of `most` bytes at most.
fn read(path: &Path, most: u64) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(most + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("it is longer than {most} bytes")));
    }
    Ok(text)
}

/// Name, `section.key` and value for every variable of ours. Variables without `__` are left alone, as Kubernetes sets
/// some of its own (`COURSE_SHARING_SERVICE_HOST`) for a service of our name; but not those that lack an underscore.
fn variables(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String, String)>, ConfigError> {
    let (mut ours, others): (Vec<(String, OsString)>, Vec<_>) = environment
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .partition(|(name, _)| name[PREFIX.len()..].contains("__"));
    for (name, _) in &others {
        // The names of some keys end like this themselves.
        let plain = || sample::with_one_underscore(name.strip_suffix("_FILE")?);
        if let Some(key) = sample::with_one_underscore(name).or_else(plain) {
            let right = sample::variable(&key.to_string());
            let ending = &name[right.len() - 1..];
            let why = format!("two underscores stand between section and key: {right}{ending}");
            return Err(ConfigError::new(why).at(Some(name.clone())));
        }
    }
    ours.sort();
    let variable = |(name, value): &(String, OsString)| {
        let wrong = |why: &str| {
            let name = name.chars().take(80).collect();
            ConfigError::new(why).at(Some(name))
        };
        let plain = name.strip_suffix("_FILE").filter(|_| !sample::is_variable(name));
        if let Some(plain) = plain.filter(|plain| ours.iter().any(|(other, _)| other == plain)) {
            return Err(ConfigError::new(format!(
                "{plain} and {plain}_FILE are both set; leave one of them away"
            )));
        }
        let value = match plain {
            Some(_) => content(value).map_err(|why| wrong(&why))?,
            None => value.clone().into_string().map_err(|_| wrong("its value is not UTF-8"))?,
        };
        let key = plain.unwrap_or(name)[PREFIX.len()..].to_ascii_lowercase().replacen("__", ".", 1);
        if !is_key(&key) {
            return Err(wrong("expected COURSE_SHARING_<SECTION>__<KEY>, or that with _FILE"));
        }
        Ok((name.clone(), key, value))
    };
    ours.iter().map(variable).collect()
}

/// The content of the file at `path`, less the line end that editors leave.
fn content(path: &OsString) -> Result<String, String> {
    let text = read_secret(Path::new(path)).map_err(|error| format!("cannot read {path:?}: {error}"))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// The content of a file that holds a secret, or a certificate.
/// Only of a regular file: a pipe or a device could go on for ever.
pub(crate) fn read_secret(path: &Path) -> io::Result<String> {
    // Opening a pipe would wait for a writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    read(path, MAX_SECRET_BYTES)
}

/// True for `section.key`.
fn is_key(text: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    text.split_once('.').is_some_and(|(section, key)| is_word(section) && is_word(key))
}

/// A flag's key, as far as it looks like one: what is behind it may be a secret.
fn key_of(flag: &str) -> String {
    flag.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')).collect()
}
