//! Bytes and headers become an [`Event`], or a reason why not; pure, so that every odd message is a unit test.
//!
//! An event says only which run may be stale. Two kinds are enough, however many types the outside has.

mod decode;
mod json;

use std::fmt;

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::course_key::{CourseKey, CourseKeyError};

pub use self::decode::{MAX_BODY_BYTES, Raw, decode};

/// What happened to a course, as far as its link can suffer from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// Studio published or changed the course.
    CoursePublish,
    /// The LMS made the overview anew, perhaps without its URL.
    OverviewRecreated,
}

impl EventKind {
    /// Both kinds, for code that has to name them all (bindings, metrics).
    pub const ALL: [Self; 2] = [Self::CoursePublish, Self::OverviewRecreated];

    /// The type and routing key on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CoursePublish => "course-publish",
            Self::OverviewRecreated => "overview-recreated",
        }
    }

    /// The kind of that name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One message that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// To which course, as the LMS writes its key.
    pub course: CourseKey,
    /// When the course was edited, by the sender's clock; neither unique nor in order. None if it was not said
    /// or could not be read.
    pub time: Option<DateTime<Utc>>,
    /// The sender's id of this sending; two sendings of one change have two. At most 255 characters are kept.
    pub id: Option<String>,
}

impl Event {
    /// The event as a message body in the native form, which [`decode`] reads back.
    pub fn to_json(&self) -> Vec<u8> {
        let mut body = json!({ "type": self.kind.as_str(), "course_id": self.course.as_str() });
        if let Some(id) = &self.id {
            body["id"] = id.as_str().into();
        }
        if let Some(time) = self.time {
            body["time"] = time.to_rfc3339().into();
        }
        body.to_string().into_bytes()
    }
}

/// What a message turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// Something to act on.
    Event(Event),
    /// A sound message about something that has no share link.
    Ignored(Ignored),
}

/// Why a sound message asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignored {
    /// One line that reads alone.
    pub why: String,
}

/// Why a message cannot be understood. Its `Display` is the reason the dead letter carries: one short line, with
/// text from outside cut and escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No body.
    #[error("the body is empty")]
    Empty,
    /// More than [`MAX_BODY_BYTES`].
    #[error("the body has {0} bytes, more than the 65536 allowed")]
    TooLarge(usize),
    /// The body is no text.
    #[error("the body is not UTF-8 (byte {0})")]
    NotUtf8(usize),
    /// The body is no JSON document.
    #[error("the body is not JSON: {why} (line {line}, column {column})")]
    NotJson {
        /// What the parser says.
        why: String,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// A type that is none of ours.
    #[error("unknown event type {0:?}")]
    UnknownType(String),
    /// A field is missing, there twice, or of the wrong type.
    #[error("field {name:?} {problem}")]
    Field {
        /// The path of the field, with dots; `(body)` for the whole document.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The key is none.
    #[error("{0}")]
    Key(CourseKeyError),
}

#[cfg(test)]
mod tests;
