//! Decodes a message into an [`Event`]. Pure, so that every malformed message can be a unit test.
//!
//! An event only says which run may be stale. So two kinds are enough for all types of messages.

mod decode;
mod fields;

use chrono::{DateTime, Utc};
use serde_json::json;
use strum::{Display, EnumString, IntoStaticStr};

use crate::model::course_key::CourseKey;

pub use self::decode::{Raw, decode};

/// What happened to a course, as far as its link is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum EventKind {
    /// Studio published or changed the course.
    CoursePublish,
    /// The LMS recreated the overview, perhaps without its URL.
    OverviewRecreated,
}

impl EventKind {
    /// The name, both as type and as routing key.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A message that asks for a course to be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The course, with its key as the LMS writes it.
    pub course: CourseKey,
    /// When the course was edited, by the sender's clock. Neither unique nor in order. None if the message does not
    /// say it or it cannot be read.
    pub time: Option<DateTime<Utc>>,
    /// The sender's id of this message. Two messages about one change have two ids. At most 255 characters are kept.
    pub id: Option<String>,
}

impl Event {
    /// The event as a body in the native form, which [`decode`] reads.
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

/// What a valid message asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// Check a course.
    Event(Event),
    /// Nothing: it is about something without a share link. Says why, in one line.
    Ignored(String),
}

/// Why a message cannot be decoded. Its `Display` becomes the reason of the dead letter: one short line, in which text
/// from outside is cut and escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(String);

#[cfg(test)]
mod tests;
