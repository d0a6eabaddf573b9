//! As much of a JSON document as decoding needs: names that stand twice are seen, numbers and lists only named.
//!
//! `serde_json::Value` keeps the last of two equal names in silence, and a derived struct does not say which
//! field has the wrong type.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::DecodeError;

/// A JSON value; what is neither text nor object keeps only the name of its type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Text(String),
    Object(Vec<(String, Json)>),
    Other(&'static str),
}

impl Json {
    /// Reads one document; the parser allows objects 128 levels deep, which bounds the stack.
    pub(super) fn parse(text: &str) -> Result<Self, DecodeError> {
        serde_json::from_str(text).map_err(|error| {
            let said = error.to_string();
            let why = said.split(" at line ").next().unwrap_or_default().to_owned();
            DecodeError::NotJson { why, line: error.line(), column: error.column() }
        })
    }

    /// The member of that name; null is as good as absent. `path` is where this object stands.
    pub(super) fn member(&self, path: &str, name: &str) -> Result<Option<&Self>, DecodeError> {
        let Self::Object(members) = self else {
            return Err(wrong(path, format!("is {}; expected an object", self.type_name())));
        };
        let mut found = members.iter().filter(|(key, _)| key == name).map(|(_, value)| value);
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(wrong(&join(path, name), "is there twice".to_owned())),
            (None | Some(Self::Null), None) => Ok(None),
            (Some(value), None) => Ok(Some(value)),
        }
    }

    /// The text of that name, if there.
    pub(super) fn text(&self, path: &str, name: &str) -> Result<Option<&str>, DecodeError> {
        match self.member(path, name)? {
            None => Ok(None),
            Some(Self::Text(text)) => Ok(Some(text)),
            Some(other) => {
                Err(wrong(&join(path, name), format!("is {}; expected a string", other.type_name())))
            }
        }
    }

    fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Text(_) => "a string",
            Self::Object(_) => "an object",
            Self::Other(name) => name,
        }
    }
}

/// The error for a field that is not as it should be.
pub(super) fn wrong(path: &str, problem: String) -> DecodeError {
    let name = if path.is_empty() { "(body)" } else { path };
    DecodeError::Field { name: name.to_owned(), problem }
}

/// The path of a member of the object at `path`.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyJson)
    }
}

struct AnyJson;

impl<'de> Visitor<'de> for AnyJson {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other("a boolean"))
    }
    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Other("a number"))
    }
    fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Other("a number"))
    }
    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other("a number"))
    }
    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }
    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Json::Other("a list"))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Json, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = object.next_entry()? {
            members.push(member);
        }
        Ok(Json::Object(members))
    }
}
