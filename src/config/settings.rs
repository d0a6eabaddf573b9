//! Every key that is set, with the place that it is set at: by what an error names the place, and `config show` too.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::address::{mask, without_password};
use super::sample::{self, Key};
use super::{Amqp, Catalog, Config, ConfigError, Database, Lms, Log, Reconcile, Sync};

/// What is shown of a secret.
const MASKED: &str = "\"***\"";

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In the configuration file, on this line.
    File(PathBuf, usize),
    /// In the variable of this name, or in the file that it names.
    Variable(String),
    /// In a `--set`.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag => f.write_str("--set"),
        }
    }
}

/// A value as a TOML file has it, on one line, and where it stands.
#[derive(Clone)]
struct Setting {
    literal: String,
    origin: Origin,
}

/// Every key that is set. No `Debug`, as there are secrets in it.
#[derive(Clone, Default)]
pub struct Settings {
    /// By `section.key`.
    set: BTreeMap<String, Setting>,
    /// The configuration file, if there is one.
    pub(super) file: Option<PathBuf>,
}

/// A key as `config show` shows it.
#[derive(Debug)]
pub struct Shown {
    /// `section.key`.
    pub key: String,
    /// What is in effect, as a TOML file has it, with secrets masked; none if it is not set and has no default.
    pub value: Option<String>,
    /// Where it was set; none for a default.
    pub origin: Option<Origin>,
}

impl Settings {
    /// Whether nobody has configured anything. A variable that says where to listen is what the image sets for everybody.
    pub fn is_empty(&self) -> bool {
        let by_image = |(key, setting): (&String, &Setting)| {
            key == "http.listen" && matches!(setting.origin, Origin::Variable(_))
        };
        self.set.iter().all(by_image) && self.file.is_none()
    }

    /// Whether `section.key` is set anywhere.
    pub fn is_set(&self, key: &str) -> bool {
        self.set.contains_key(key)
    }

    /// Sets `section.key`, as a flag does.
    ///
    /// # Errors
    /// There is no such key, or the text can be none of its values.
    pub fn set(&mut self, key: &str, text: &str) -> Result<(), ConfigError> {
        self.insert(key, Origin::Flag, |key| key.literal(text))
    }

    /// Forgets `section.key`, so that it has its default.
    pub fn unset(&mut self, key: &str) {
        self.set.remove(key);
    }

    pub(super) fn insert(
        &mut self,
        key: &str,
        origin: Origin,
        literal: impl FnOnce(&Key) -> Result<String, String>,
    ) -> Result<(), ConfigError> {
        let known = sample::keys().find(|known| known.is(key)).ok_or_else(|| unknown(key, &origin))?;
        let literal = literal(&known)
            .map_err(|why| ConfigError::invalid(key, mask(&why)).at(Some(origin.to_string())))?;
        self.set.insert(key.to_owned(), Setting { literal, origin });
        Ok(())
    }

    /// What is in effect: what is set, or else the default.
    fn literal(&self, key: &Key) -> Option<&str> {
        self.set.get(&key.to_string()).map(|setting| setting.literal.as_str()).or(key.default)
    }

    /// The configuration that follows.
    ///
    /// # Errors
    /// The first value that is wrong, with its key and its place.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let set: Vec<_> =
            sample::keys().filter_map(|key| Some((key.to_string(), self.literal(&key)?))).collect();
        let text: String = set.iter().map(|(key, literal)| format!("{key} = {literal}\n")).collect();
        let read = toml::from_str(&text).map_err(|error| {
            // A key is on the line of its number.
            let start = error.span().map_or(0, |span| span.start);
            let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count();
            let key = set.get(line).map_or("", |(key, _)| key);
            ConfigError::invalid(key, mask(error.message()))
        });
        read.and_then(|config: Config| config.validate().map(|()| config)).map_err(|error| {
            let setting = error.key.as_ref().and_then(|key| self.set.get(key));
            error.at(setting.map(|setting| setting.origin.to_string()))
        })
    }

    /// Every key there is, in the order of the sample.
    pub fn shown(&self) -> Vec<Shown> {
        let shown = |key: Key| Shown {
            key: key.to_string(),
            value: self.literal(&key).map(|literal| masked(&key, literal)),
            origin: self.set.get(&key.to_string()).map(|setting| setting.origin.clone()),
        };
        sample::keys().map(shown).collect()
    }

    /// The sample, commented as it is, with everything that is set in its place.
    pub fn written(&self) -> String {
        sample::with(|key| Some(self.set.get(&key.to_string())?.literal.clone()))
    }

    /// The keys that other settings have another value for.
    pub fn differing(&self, other: &Self) -> Vec<String> {
        let differ = |key: &Key| self.literal(key) != other.literal(key);
        sample::keys().filter(differ).map(|key| key.to_string()).collect()
    }

    /// Takes these keys over from other settings.
    pub fn take_over(&mut self, other: &Self, keys: &[&str]) {
        for key in keys {
            match other.set.get(*key) {
                Some(setting) => drop(self.set.insert((*key).to_owned(), setting.clone())),
                None => drop(self.set.remove(*key)),
            }
        }
    }
}

fn masked(key: &Key, literal: &str) -> String {
    match literal.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        _ if key.is_secret() => MASKED.to_owned(),
        // What is escaped in it stays so.
        Some(url) if key.is_url() => format!("\"{}\"", without_password(url)),
        _ => literal.to_owned(),
    }
}

fn unknown(key: &str, origin: &Origin) -> ConfigError {
    let key: String = key.chars().take(80).collect();
    let near = sample::nearest(&key);
    let as_there = |key: &str| match origin {
        Origin::Variable(_) => sample::variable(key),
        _ => key.to_owned(),
    };
    let meant = near.map_or(String::new(), |near| format!("; did you mean {}?", as_there(&near)));
    ConfigError::new(format!("there is no key {key}{meant}")).at(Some(origin.to_string()))
}

/// Where nothing is set: what the sample says.
impl Default for Config {
    #[expect(clippy::unwrap_used, reason = "a test reads the sample")]
    fn default() -> Self {
        Settings::default().config().unwrap()
    }
}

macro_rules! default {
    ($($section:ident: $Section:ident),+) => {$(
        impl Default for $Section {
            fn default() -> Self {
                Config::default().$section
            }
        }
    )+};
}
default!(amqp: Amqp, catalog: Catalog, database: Database, lms: Lms, log: Log, reconcile: Reconcile, sync: Sync);
