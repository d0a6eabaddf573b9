//! Where a message of the broker's meets the decoder: neither room knows the other.

use crate::broker::Received;
use crate::course_key::CourseKey;
use crate::event::{self, DecodeError, Decoded};

/// What a message says.
///
/// # Errors
/// Why it cannot be understood.
pub fn read(message: &Received) -> Result<Decoded, DecodeError> {
    event::decode(&event::Raw {
        body: &message.body,
        routing_key: &message.routing_key,
        content_type: message.content_type.as_deref(),
        header: &|name| message.header(name),
    })
}

/// The course that a message is about, if it can be told.
pub fn course(message: &Received) -> Option<CourseKey> {
    match read(message) {
        Ok(Decoded::Event(event)) => Some(event.course),
        _ => None,
    }
}
