//! The fields of a JSON document, read so that an error names the field and what it should have been.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::DecodeError;

/// The fields that decide what a message means. [`Value`] silently keeps the last of two equal names; reading them
/// as a struct finds the second.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only read for the error")]
struct Decisive {
    specversion: Option<IgnoredAny>,
    r#type: Option<IgnoredAny>,
    course_id: Option<IgnoredAny>,
    course_key: Option<IgnoredAny>,
    data: Option<Box<Decisive>>,
    course: Option<Box<Decisive>>,
    catalog_info: Option<Box<Decisive>>,
}

/// Reads one document. The parser allows a depth of 128, which bounds the stack.
pub(super) fn parse(text: &str) -> Result<Value, DecodeError> {
    let body = serde_json::from_str(text).map_err(|error| {
        let said = error.to_string();
        let why = said.split(" at line ").next().unwrap_or_default();
        DecodeError(format!("the body is not JSON: {why} (line {}, column {})", error.line(), error.column()))
    })?;
    // Any other error is a field of the wrong type, which is reported when that field is read.
    if let Err(error) = serde_json::from_str::<Decisive>(text)
        && let Some((_, name)) = error.to_string().split_once("duplicate field `")
    {
        return Err(wrong(name.split('`').next().unwrap_or_default(), "is there twice".to_owned()));
    }
    Ok(body)
}

/// The member of that name; `null` counts as absent. `path` is where the object stands.
pub(super) fn member<'a>(
    object: &'a Value,
    path: &str,
    name: &str,
) -> Result<Option<&'a Value>, DecodeError> {
    let Value::Object(members) = object else {
        return Err(wrong(path, format!("is {}; expected an object", type_name(object))));
    };
    Ok(members.get(name).filter(|value| !value.is_null()))
}

/// The text of that name, if it is there.
pub(super) fn text<'a>(object: &'a Value, path: &str, name: &str) -> Result<Option<&'a str>, DecodeError> {
    match member(object, path, name)? {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(wrong(&join(path, name), format!("is {}; expected a string", type_name(other)))),
    }
}

/// The text of that name, required.
pub(super) fn required_text<'a>(object: &'a Value, path: &str, name: &str) -> Result<&'a str, DecodeError> {
    text(object, path, name)?.ok_or_else(|| missing(&join(path, name)))
}

/// The error for a field that is not as it should be.
pub(super) fn wrong(path: &str, problem: String) -> DecodeError {
    let name = if path.is_empty() { "(body)" } else { path };
    DecodeError(format!("field {name:?} {problem}"))
}

/// The error for a field that has to be there.
pub(super) fn missing(path: &str) -> DecodeError {
    wrong(path, "is missing".to_owned())
}

/// The path of a member of the object at `path`.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
