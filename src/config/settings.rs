//! Every key that is set, with the place that it is set at: by what an error names the place, and `config show` too.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, MapDeserializer};
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess};
use serde::forward_to_deserialize_any;

use super::mask::without_password;
use super::sample::{self, Key};
use super::value::Value;
use super::{Config, ConfigError};

/// What is shown of a secret.
const MASKED: &str = "***";

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

/// A value, and where it stands.
#[derive(Clone)]
pub(super) struct Setting {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// Every key that is set. No `Debug`, as there are secrets in it.
#[derive(Clone, Default)]
pub struct Settings {
    /// By `section.key`.
    pub(super) set: BTreeMap<String, Setting>,
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
    /// There is no such key.
    pub fn set(&mut self, key: &str, text: &str) -> Result<(), ConfigError> {
        self.insert(key, Value::Text(text.to_owned()), Origin::Flag)
    }

    /// Forgets `section.key`, so that it has its default.
    pub fn unset(&mut self, key: &str) {
        self.set.remove(key);
    }

    pub(super) fn insert(&mut self, key: &str, value: Value, origin: Origin) -> Result<(), ConfigError> {
        if !sample::keys().any(|known| known.is(key)) {
            return Err(unknown(key, &origin));
        }
        self.set.insert(key.to_owned(), Setting { value, origin });
        Ok(())
    }

    /// The configuration that follows.
    ///
    /// # Errors
    /// The first value that is wrong, with its key and its place.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let read = Config::deserialize(self).and_then(|config: Config| config.validate().map(|()| config));
        read.map_err(|error| {
            let setting = error.key.as_ref().and_then(|key| self.set.get(key));
            error.at(setting.map(|setting| setting.origin.to_string()))
        })
    }

    /// Every key there is, in the order of the sample.
    pub fn shown(&self) -> Vec<Shown> {
        let shown = |key: Key| {
            let name = key.to_string();
            let Some(Setting { value, origin }) = self.set.get(&name) else {
                return Shown { value: key.default.map(str::to_owned), key: name, origin: None };
            };
            let value = match value {
                _ if key.is_secret() => Value::Text(MASKED.to_owned()),
                Value::Text(text) if key.is_url() => Value::Text(without_password(text)),
                // A number in a variable is a text only because a variable can say nothing else.
                Value::Text(text) if !key.is_text() => {
                    return Shown { value: Some(key.literal(text)), key: name, origin: Some(origin.clone()) };
                }
                value => value.clone(),
            };
            Shown { value: Some(value.literal()), key: name, origin: Some(origin.clone()) }
        };
        sample::keys().map(shown).collect()
    }

    /// The sample, commented as it is, with everything that is set in its place.
    pub fn written(&self) -> String {
        sample::with(|key| {
            let setting = self.set.get(&key.to_string())?;
            Some(match &setting.value {
                Value::Text(text) => key.literal(text),
                value => value.literal(),
            })
        })
    }

    /// The keys that other settings have another value for.
    pub fn differing(&self, other: &Self) -> Vec<String> {
        let value = |settings: &Self, key: &str| settings.set.get(key).map(|setting| setting.value.clone());
        let keys = sample::keys().map(|key| key.to_string());
        keys.filter(|key| value(self, key) != value(other, key)).collect()
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

fn unknown(key: &str, origin: &Origin) -> ConfigError {
    let near = sample::nearest(key);
    let as_there = |key: &str| match origin {
        Origin::Variable(_) => sample::variable(key),
        _ => key.to_owned(),
    };
    let meant = near.map_or(String::new(), |near| format!("; did you mean {}?", as_there(&near)));
    ConfigError::new(format!("there is no key {key}{meant}")).at(Some(origin.to_string()))
}

/// The settings as a map of sections, each a map of keys.
impl<'de> Deserializer<'de> for &'de Settings {
    type Error = ConfigError;

    fn deserialize_any<V: serde::de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        let mut sections: BTreeMap<&str, Vec<(&str, &Value)>> = BTreeMap::new();
        for (key, setting) in &self.set {
            let (section, name) = key.split_once('.').unwrap_or((key, ""));
            sections.entry(section).or_default().push((name, &setting.value));
        }
        let sections = sections.into_iter().map(|(section, keys)| (section, Section { section, keys }));
        visitor.visit_map(MapDeserializer::new(sections))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Section<'de> {
    section: &'de str,
    keys: Vec<(&'de str, &'de Value)>,
}

impl<'de> IntoDeserializer<'de, ConfigError> for Section<'de> {
    type Deserializer = MapAccessDeserializer<Keys<'de>>;

    fn into_deserializer(self) -> Self::Deserializer {
        MapAccessDeserializer::new(Keys { section: self.section, keys: self.keys.into_iter(), current: None })
    }
}

/// The keys of a section. An error in one has its name.
struct Keys<'de> {
    section: &'de str,
    keys: std::vec::IntoIter<(&'de str, &'de Value)>,
    current: Option<(&'de str, &'de Value)>,
}

impl<'de> MapAccess<'de> for Keys<'de> {
    type Error = ConfigError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ConfigError> {
        self.current = self.keys.next();
        self.current.map(|(key, _)| seed.deserialize(key.into_deserializer())).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ConfigError> {
        let Some((key, value)) = self.current.take() else {
            return Err(ConfigError::new("a value was asked for before its key"));
        };
        seed.deserialize(value).map_err(|error| error.of(&format!("{}.{key}", self.section)))
    }
}
