//! The sample, `ops/course-sharing.toml`: every key there is, at its default, with a comment. It is what an operator
//! reads, what `init` fills in, and where names, kinds and defaults of keys are known from. A test holds it against
//! [`super::Config`].
//!
//! A variable or a flag can only say a text, so what a text means is known from the key; and the same is true of a file.
//! Values are texts as a TOML file has them, each on one line.

use std::fmt;
use std::sync::LazyLock;

use toml::Spanned;
use toml::de::{DeArray, DeValue};

const EXPECTED: &str = "expected a text in quotes, a number, true, false or a list of texts";
const SAMPLE: &str = include_str!("../../ops/course-sharing.toml");
/// What the names of our variables begin with.
pub(super) const PREFIX: &str = "COURSE_SHARING_";

/// A key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    section: &'static str,
    name: &'static str,
    /// What follows it in the sample: its default, or an example.
    pub(super) value: &'static str,
    /// Its default, as a TOML file has it, if it has one.
    pub(super) default: Option<&'static str>,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.section, self.name)
    }
}

impl Key {
    /// Whether this is `section.key`.
    pub(super) fn is(&self, key: &str) -> bool {
        key.split_once('.') == Some((self.section, self.name))
    }

    /// Whether nothing of its value may be shown.
    pub(super) fn is_secret(&self) -> bool {
        self.name.ends_with("_secret")
    }

    /// Whether its value is a URL, in which a password may stand.
    pub(super) fn is_url(&self) -> bool {
        self.name.ends_with("url")
    }
}

/// The lines of the sample, each with the key on it.
fn lines() -> impl Iterator<Item = (&'static str, Option<Key>)> {
    let mut section = "";
    SAMPLE.lines().map(move |line| {
        section = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')).unwrap_or(section);
        // One without a default stands in a comment.
        let bare = line.strip_prefix("# ");
        let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let pair = bare.unwrap_or(line).split_once(" = ").filter(|(name, _)| is_name(name));
        let default = |value| bare.is_none().then_some(value);
        (line, pair.map(|(name, value)| Key { section, name, value, default: default(value) }))
    })
}

/// Every key there is, in the order of the sample.
pub(super) fn keys() -> impl Iterator<Item = Key> {
    static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| lines().filter_map(|(_, key)| key).collect());
    KEYS.iter().copied()
}

/// Whether there is such a section.
pub(super) fn is_section(name: &str) -> bool {
    keys().any(|key| key.section == name)
}

/// The sample with other values: those that `value` gives, as a TOML file has them.
pub(super) fn with(value: impl Fn(&Key) -> Option<String>) -> String {
    let text = lines().map(|(line, key)| match key.and_then(|key| Some((key.name, value(&key)?))) {
        Some((name, value)) => format!("{name} = {value}\n"),
        None => format!("{line}\n"),
    });
    text.collect()
}

/// The name of the variable for `section.key`.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase().replacen('.', "__", 1))
}

/// Whether this is the variable of a key.
pub(super) fn is_variable(name: &str) -> bool {
    keys().any(|key| variable(&key.to_string()) == name)
}

/// The key whose variable this would be with a second underscore between section and key.
pub(super) fn with_one_underscore(variable: &str) -> Option<Key> {
    let rest = variable.strip_prefix(PREFIX)?.to_ascii_lowercase();
    keys()
        .find(|key| rest.strip_prefix(key.section).and_then(|rest| rest.strip_prefix('_')) == Some(key.name))
}

/// The key that was probably meant.
pub(super) fn nearest(text: &str) -> Option<String> {
    let text: String = text.chars().take(80).collect();
    let misspelt = keys()
        .map(|key| (strsim::damerau_levenshtein(&key.to_string(), &text), key))
        .filter(|(distance, _)| *distance <= 3)
        .min_by_key(|(distance, _)| *distance);
    // The right name in the wrong section.
    let elsewhere = || keys().find(|key| text.rsplit('.').next() == Some(key.name));
    misspelt.map(|(_, key)| key).or_else(elsewhere).map(|key| key.to_string())
}

impl Key {
    /// What a text means for this key.
    pub(super) fn literal(&self, text: &str) -> Result<String, String> {
        match self.value.as_bytes().first() {
            Some(b'"') => Ok(quoted(text)),
            Some(b'[') => Ok(list(&elements(text)?)),
            Some(b't' | b'f') => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Ok("true".to_owned()),
                "false" | "no" | "off" | "0" => Ok("false".to_owned()),
                _ => Err(format!("{text:?} is neither true nor false")),
            },
            _ if self.value.contains('.') => match text.parse::<f64>() {
                // Rust has NaN where TOML has nan.
                Ok(number) => Ok(format!("{number:?}").to_lowercase()),
                Err(_) => Err(format!("{text:?} is no number")),
            },
            _ => match text.parse::<i128>() {
                Ok(number) => Ok(number.to_string()),
                Err(_) => Err(format!("{text:?} is no whole number")),
            },
        }
    }

    /// What a value in a file means for this key.
    pub(super) fn literal_of(&self, value: &DeValue<'_>) -> Result<String, String> {
        match value {
            DeValue::Array(values) if self.value.starts_with('[') => texts(values).map(|texts| list(&texts)),
            DeValue::Array(_) => Err("expected one value, not a list".to_owned()),
            value => self.literal(&text(value)?),
        }
    }
}

/// A value in a file, as a variable would have it.
fn text(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Ok(number.to_string()),
            Err(_) => Err("the number is too large".to_owned()),
        },
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Boolean(value) => Ok(value.to_string()),
        DeValue::Array(_) | DeValue::Datetime(_) | DeValue::Table(_) => Err(EXPECTED.to_owned()),
    }
}

fn texts(values: &DeArray<'_>) -> Result<Vec<String>, String> {
    values.iter().map(|value| text(value.get_ref())).collect()
}

/// A list that stands in one text: as in a TOML file or in JSON, or its elements with commas between.
fn elements(text: &str) -> Result<Vec<String>, String> {
    let text = text.trim();
    if !text.starts_with('[') {
        let elements = text.split(',').map(str::trim).filter(|element| !element.is_empty());
        return Ok(elements.map(str::to_owned).collect());
    }
    let wrong = || format!("{text} is no list; write it like a, b or [\"a\", \"b\"]");
    match DeValue::parse(text).map(Spanned::into_inner) {
        Ok(DeValue::Array(values)) => texts(&values).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

fn list(elements: &[String]) -> String {
    let elements: Vec<_> = elements.iter().map(|element| quoted(element)).collect();
    format!("[{}]", elements.join(", "))
}

/// A text in quotes. JSON's are TOML's too, but for one control character.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\x7f', "\\u007F")
}
