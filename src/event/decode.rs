//! The three forms of a message: native JSON, and CloudEvents 1.0 structured and binary.
//!
//! The type that the message itself states wins over the routing key: a message can be sent on by a wrong key,
//! while its author knew what it is. The routing key counts only where a native message states no type.

use chrono::{DateTime, Utc};

use super::json::{Json, join, wrong};
use super::{DecodeError, Decoded, Event, EventKind, Ignored};
use crate::course_key::{CourseKey, CourseKeyError};

/// The longest body that is read.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// How much of a text from outside is kept or shown.
const MAX_TEXT_CHARS: usize = 255;
const SHOWN_CHARS: usize = 80;

/// The prefixes that AMQP bindings of CloudEvents have put before an attribute's name.
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
///
/// # Errors
/// [`DecodeError`] says in one line why the message cannot be understood; asking again will not help.
pub fn decode(raw: &Raw) -> Result<Decoded, DecodeError> {
    let body = Json::parse(text(raw.body)?)?;
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
        return Err(DecodeError::Empty);
    }
    if body.len() > MAX_BODY_BYTES {
        return Err(DecodeError::TooLarge(body.len()));
    }
    std::str::from_utf8(body).map_err(|error| DecodeError::NotUtf8(error.valid_up_to()))
}

/// True if the content type says so, or the body has all that makes a CloudEvent.
fn is_structured(raw: &Raw, body: &Json) -> Result<bool, DecodeError> {
    let media_type = raw.content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/cloudevents+json") {
        return Ok(true);
    }
    for name in ["specversion", "type", "data"] {
        if body.member("", name)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn structured(body: &Json) -> Result<Decoded, DecodeError> {
    check_version(body.text("", "specversion")?.ok_or_else(|| missing("specversion"))?)?;
    let name = body.text("", "type")?.ok_or_else(|| missing("type"))?;
    let about = match subject(name)? {
        Subject::Course(about) => about,
        Subject::Other => return Ok(ignored(format!("an event of type {:?}", excerpt(name)))),
    };
    let data = body.member("", "data")?.ok_or_else(|| missing("data"))?;
    finish(&about, "data", data, lenient(body, "time").and_then(instant), lenient(body, "id"))
}

fn binary(raw: &Raw, name: &str, body: &Json) -> Result<Decoded, DecodeError> {
    if let Some(version) = attribute(raw, "specversion") {
        check_version(&version)?;
    }
    let about = match subject(name)? {
        Subject::Course(about) => about,
        Subject::Other => return Ok(ignored(format!("an event of type {:?}", excerpt(name)))),
    };
    let (time, id) = (attribute(raw, "time"), attribute(raw, "id"));
    finish(&about, "", body, time.as_deref().and_then(instant), id.as_deref())
}

fn native(raw: &Raw, body: &Json) -> Result<Decoded, DecodeError> {
    let kind = match body.text("", "type")? {
        Some(name) => EventKind::from_name(name).ok_or_else(|| DecodeError::UnknownType(excerpt(name)))?,
        None => EventKind::from_name(raw.routing_key).ok_or_else(|| {
            let key = excerpt(raw.routing_key);
            wrong("type", format!("is missing, and the routing key {key:?} is no type either"))
        })?,
    };
    let about = About { kind, key: &["course_id"] };
    finish(&about, "", body, lenient(body, "time").and_then(instant), lenient(body, "id"))
}

/// A type that is about a course run: what it means here, and where in its data the key stands.
struct About {
    kind: EventKind,
    key: &'static [&'static str],
}

enum Subject {
    Course(About),
    Other,
}

fn subject(name: &str) -> Result<Subject, DecodeError> {
    if let Some(kind) = EventKind::from_name(name) {
        return Ok(Subject::Course(About { kind, key: &["course_id"] }));
    }
    let key: &[&str] = match name.strip_prefix(AUTHORING) {
        Some("course.catalog_info.changed.v1") => &["catalog_info", "course_key"],
        Some("course.created.v1" | "course.import.completed.v1" | "course.rerun.completed.v1") => {
            &["course", "course_key"]
        }
        Some(other) if other.starts_with("library") || other.starts_with("content_library") => {
            return Ok(Subject::Other);
        }
        _ => return Err(DecodeError::UnknownType(excerpt(name))),
    };
    Ok(Subject::Course(About { kind: EventKind::CoursePublish, key }))
}

fn finish(
    about: &About,
    path: &str,
    data: &Json,
    time: Option<DateTime<Utc>>,
    id: Option<&str>,
) -> Result<Decoded, DecodeError> {
    let (mut data, mut path) = (data, path.to_owned());
    let [objects @ .., name] = about.key else { return Err(missing(&path)) };
    for object in objects {
        let here = join(&path, object);
        data = data.member(&path, object)?.ok_or_else(|| missing(&here))?;
        path = here;
    }
    let key = data.text(&path, name)?.ok_or_else(|| missing(&join(&path, name)))?;
    match CourseKey::parse(key) {
        Ok(course) => {
            let id = id.map(|id| id.chars().take(MAX_TEXT_CHARS).collect());
            Ok(Decoded::Event(Event { kind: about.kind, course, time, id }))
        }
        Err(error @ CourseKeyError::NotARun(_)) => Ok(ignored(error.to_string())),
        Err(error) => Err(DecodeError::Key(error)),
    }
}

/// `id` and `time` only inform: what is wrong with them is not worth a dead letter.
fn lenient<'a>(body: &'a Json, name: &str) -> Option<&'a str> {
    body.text("", name).ok().flatten()
}

fn instant(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc))
}

fn attribute(raw: &Raw, name: &str) -> Option<String> {
    ATTRIBUTE_PREFIXES.iter().find_map(|prefix| (raw.header)(&format!("{prefix}{name}")))
}

fn check_version(version: &str) -> Result<(), DecodeError> {
    if version == "1.0" {
        return Ok(());
    }
    Err(wrong("specversion", format!("is {:?}; expected \"1.0\"", excerpt(version))))
}

fn missing(path: &str) -> DecodeError {
    wrong(path, "is missing".to_owned())
}

fn ignored(why: String) -> Decoded {
    Decoded::Ignored(Ignored { why })
}

fn excerpt(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS).collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}
