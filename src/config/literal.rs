//! Values as a TOML file has them, each on one line. A variable or a flag can only say a text, so what a text means is
//! known from the key; and the same is true of a file.

use toml::Spanned;
use toml::de::{DeArray, DeValue};

use super::sample::Key;

const EXPECTED: &str = "expected a text in quotes, a number, true, false or a list of texts";

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
