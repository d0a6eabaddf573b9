//! The three forms of a message: native JSON, and CloudEvents 1.0 structured and binary.
//!
//! The type in the message wins over the routing key, as a message can be published with a wrong key. The routing key
//! counts only where a native message has no type.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::fields::{self, join, member, missing, required_text, wrong};
use super::{DecodeError, Decoded, Event, EventKind};
use crate::model::course_key::{CourseKey, CourseKeyError};
use crate::model::text::cut;

/// The longest body that is read.
pub(super) const MAX_BODY_BYTES: usize = 64 * 1024;

/// How much of a text from outside is kept or shown.
const MAX_TEXT_CHARS: usize = 255;
const SHOWN_CHARS: usize = 80;

/// The prefixes of attribute names in the AMQP bindings of CloudEvents.
const ATTRIBUTE_PREFIXES: [&str; 3] = ["cloudEvents:", "cloudEvents_", "ce_"];

const AUTHORING: &str = "org.openedx.content_authoring.";

/// A message as it came, in plain values.
pub struct Raw<'a> {
    /// The body as it came.
    pub body: &'a [u8],
    /// The routing key it was first published with.
    pub routing_key: &'a str,
    /// The content type, with any parameters.
    pub content_type: Option<&'a str>,
    /// A header's text by its name, whatever the case of its letters.
    pub header: &'a dyn Fn(&str) -> Option<String>,
}

/// Reads a message.
pub fn decode(raw: &Raw) -> Result<Decoded, DecodeError> {
    let body = fields::parse(text(raw.body)?)?;
    if is_structured(raw, &body)? {
        return structured(&body);
    }
    match attribute(raw, "type") {
        Some(name) => binary(raw, &name, &body),
        None => native(raw, &body),
    }
}

fn text(body: &[u8]) -> Result<&str, DecodeError> {
    if body.is_empty() {
        return Err(DecodeError("the body is empty".to_owned()));
    }
    if body.len() > MAX_BODY_BYTES {
        let why = format!("the body has {} bytes, more than the {MAX_BODY_BYTES} allowed", body.len());
        return Err(DecodeError(why));
    }
    std::str::from_utf8(body)
        .map_err(|error| DecodeError(format!("the body is not UTF-8 (byte {})", error.valid_up_to())))
}

/// True if the content type says so, or if the body has all the members of a CloudEvent.
fn is_structured(raw: &Raw, body: &Value) -> Result<bool, DecodeError> {
    let media_type = raw.content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/cloudevents+json") {
        return Ok(true);
    }
    for name in ["specversion", "type", "data"] {
        if member(body, "", name)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn structured(body: &Value) -> Result<Decoded, DecodeError> {
    check_version(required_text(body, "", "specversion")?)?;
    let name = required_text(body, "", "type")?;
    let Some(about) = About::from_type(name)? else { return Ok(other_type(name)) };
    let data = member(body, "", "data")?.ok_or_else(|| missing("data"))?;
    about.read("data", data, optional(body, "time"), optional(body, "id"))
}

fn binary(raw: &Raw, name: &str, body: &Value) -> Result<Decoded, DecodeError> {
    if let Some(version) = attribute(raw, "specversion") {
        check_version(&version)?;
    }
    let Some(about) = About::from_type(name)? else { return Ok(other_type(name)) };
    about.read("", body, attribute(raw, "time").as_deref(), attribute(raw, "id").as_deref())
}

fn native(raw: &Raw, body: &Value) -> Result<Decoded, DecodeError> {
    let kind = match fields::text(body, "", "type")? {
        Some(name) => name.parse().map_err(|_| unknown_type(name))?,
        None => raw.routing_key.parse().map_err(|_| {
            let key = cut(raw.routing_key, SHOWN_CHARS);
            wrong("type", format!("is missing, and the routing key {key:?} is no type either"))
        })?,
    };
    About::native(kind).read("", body, optional(body, "time"), optional(body, "id"))
}

/// What a type of message means here, and where its data has the course key.
struct About {
    kind: EventKind,
    objects: &'static [&'static str],
    key: &'static str,
}

impl About {
    fn native(kind: EventKind) -> Self {
        Self { kind, objects: &[], key: "course_id" }
    }

    /// None for a known type that is not about a course run.
    fn from_type(name: &str) -> Result<Option<Self>, DecodeError> {
        if let Ok(kind) = name.parse() {
            return Ok(Some(Self::native(kind)));
        }
        let objects: &[&str] = match name.strip_prefix(AUTHORING) {
            Some("course.catalog_info.changed.v1") => &["catalog_info"],
            Some("course.created.v1" | "course.import.completed.v1" | "course.rerun.completed.v1") => {
                &["course"]
            }
            Some(other) if other.starts_with("library") || other.starts_with("content_library") => {
                return Ok(None);
            }
            _ => return Err(unknown_type(name)),
        };
        Ok(Some(Self { kind: EventKind::CoursePublish, objects, key: "course_key" }))
    }

    /// Reads the course key from `data`, whose path is `path`.
    fn read(
        &self,
        path: &str,
        mut data: &Value,
        time: Option<&str>,
        id: Option<&str>,
    ) -> Result<Decoded, DecodeError> {
        let mut path = path.to_owned();
        for object in self.objects {
            let below = join(&path, object);
            data = member(data, &path, object)?.ok_or_else(|| missing(&below))?;
            path = below;
        }
        match CourseKey::parse(required_text(data, &path, self.key)?) {
            Ok(course) => {
                let time = time.and_then(|text| DateTime::parse_from_rfc3339(text).ok());
                let time = time.map(|time| time.with_timezone(&Utc));
                let id = id.map(|id| id.chars().take(MAX_TEXT_CHARS).collect());
                Ok(Decoded::Event(Event { kind: self.kind, course, time, id }))
            }
            Err(error @ CourseKeyError::NotARun(_)) => Ok(Decoded::Ignored(error.to_string())),
            Err(error) => Err(DecodeError(error.to_string())),
        }
    }
}

fn unknown_type(name: &str) -> DecodeError {
    DecodeError(format!("unknown event type {:?}", cut(name, SHOWN_CHARS)))
}

fn other_type(name: &str) -> Decoded {
    Decoded::Ignored(format!("an event of type {:?}", cut(name, SHOWN_CHARS)))
}

/// `id` and `time` are optional and only inform, so one that cannot be read is ignored.
fn optional<'a>(body: &'a Value, name: &str) -> Option<&'a str> {
    body.get(name)?.as_str()
}

fn attribute(raw: &Raw, name: &str) -> Option<String> {
    ATTRIBUTE_PREFIXES.iter().find_map(|prefix| (raw.header)(&format!("{prefix}{name}")))
}

fn check_version(version: &str) -> Result<(), DecodeError> {
    if version == "1.0" {
        return Ok(());
    }
    Err(wrong("specversion", format!("is {:?}; expected \"1.0\"", cut(version, SHOWN_CHARS))))
}
