//! A value as it was written, in a file, a variable or a flag, and how it is read into the type of its key. A variable
//! can only say a text, so a text is read as a number, a truth value or a list where the key has one.

use std::fmt;

use serde::Deserializer;
use serde::de::value::SeqDeserializer;
use serde::de::{Error, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use toml::de::DeValue;

use super::ConfigError;

/// A value as it was written. No `Debug`: it may be a secret.
#[derive(Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    List(Vec<String>),
}

impl Value {
    /// The value that a TOML file has. Fails with what a value has to be.
    pub(super) fn from_toml(value: &DeValue<'_>) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected a text in quotes, a number, true, false or a list of texts";
        Ok(match value {
            DeValue::String(text) => Self::Text(text.clone().into_owned()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map(Self::Integer)
                .map_err(|_| "the number is too large")?,
            DeValue::Float(number) => number.as_str().parse().map(Self::Float).map_err(|_| EXPECTED)?,
            DeValue::Boolean(value) => Self::Bool(*value),
            DeValue::Array(elements) => {
                let text = |value: &DeValue<'_>| match Self::from_toml(value)? {
                    Self::List(_) => Err(EXPECTED),
                    value => Ok(value.to_string()),
                };
                Self::List(elements.iter().map(|value| text(value.get_ref())).collect::<Result<_, _>>()?)
            }
            DeValue::Datetime(_) | DeValue::Table(_) => return Err(EXPECTED),
        })
    }

    /// As a TOML file has it.
    pub(super) fn literal(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::List(list) => {
                format!("[{}]", list.iter().map(|e| quoted(e)).collect::<Vec<_>>().join(", "))
            }
            other => other.to_string(),
        }
    }
}

/// A text in TOML's quotes.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// A list that stands in one text: as in a TOML file or in JSON, or its elements with commas between.
pub(super) fn list_in(text: &str) -> Result<Vec<String>, String> {
    let text = text.trim();
    if !text.starts_with('[') {
        let elements = text.split(',').map(str::trim).filter(|element| !element.is_empty());
        return Ok(elements.map(str::to_owned).collect());
    }
    match DeValue::parse(text).ok().and_then(|value| Value::from_toml(value.get_ref()).ok()) {
        Some(Value::List(list)) => Ok(list),
        _ => Err(format!("{text} is no list; write it like a, b or [\"a\", \"b\"]")),
    }
}

/// As a variable would have it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::List(list) => f.write_str(&list.join(", ")),
        }
    }
}

/// Numbers of every width, which differ in nothing but their names.
macro_rules! whole_numbers {
    ($($method:ident),+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
            let Value::Text(text) = self else { return self.deserialize_any(visitor) };
            match (text.parse(), text.parse()) {
                (Ok(number), _) => visitor.visit_u64(number),
                (_, Ok(number)) => visitor.visit_i64(number),
                _ => Err(ConfigError::custom(format!("{text:?} is no whole number"))),
            }
        }
    )+};
}

impl<'de> Deserializer<'de> for &'de Value {
    type Error = ConfigError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        match self {
            Value::Text(text) => visitor.visit_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::List(list) => visitor.visit_seq(SeqDeserializer::new(list.iter().map(String::as_str))),
        }
    }

    whole_numbers!(
        deserialize_i8,
        deserialize_i16,
        deserialize_i32,
        deserialize_i64,
        deserialize_u8,
        deserialize_u16,
        deserialize_u32,
        deserialize_u64
    );

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        let Value::Text(text) = self else { return self.deserialize_any(visitor) };
        let number = text.parse().map_err(|_| ConfigError::custom(format!("{text:?} is no number")))?;
        visitor.visit_f64(number)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        let Value::Text(text) = self else { return self.deserialize_any(visitor) };
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => visitor.visit_bool(true),
            "false" | "no" | "off" | "0" => visitor.visit_bool(false),
            _ => Err(ConfigError::custom(format!("{text:?} is neither true nor false"))),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        match self {
            Value::List(_) => Err(ConfigError::custom("expected one text, not a list")),
            value => visitor.visit_string(value.to_string()),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        visitor.visit_enum(self.to_string().into_deserializer())
    }

    forward_to_deserialize_any! {
        f32 i128 u128 char bytes byte_buf unit unit_struct newtype_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}
