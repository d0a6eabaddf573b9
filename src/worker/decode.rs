//! Decodes messages of the broker. The modules `broker` and `event` do not know each other.

use crate::broker::Received;
use crate::event::{self, DecodeError, Decoded};
use crate::model::course_key::CourseKey;

/// What a message says, or why it cannot be understood.
pub fn read(message: &Received) -> Result<Decoded, DecodeError> {
    event::decode(&event::Raw {
        body: &message.body,
        routing_key: &message.routing_key,
        content_type: message.content_type.as_deref(),
        header: &|name| message.header(name),
    })
}

/// The course that a message is about, if the message can be understood.
pub fn course(message: &Received) -> Option<CourseKey> {
    match read(message) {
        Ok(Decoded::Event(event)) => Some(event.course),
        _ => None,
    }
}

/// The course that a message is about or, where the message cannot be understood, the first key in its text. Old keys
/// (`ORG/COURSE/RUN`) are not found there, as they look like paths.
pub fn named(message: &Received) -> Option<CourseKey> {
    course(message).or_else(|| named_in(&String::from_utf8_lossy(&message.body)))
}

fn named_in(text: &str) -> Option<CourseKey> {
    let words = text.split(|c: char| c.is_whitespace() || "\"'`<>{}[](),;\\".contains(c));
    let mut keys = words.filter_map(|word| {
        let at = ["course-v1:", "ccx-v1:"].into_iter().filter_map(|form| word.find(form)).min()?;
        CourseKey::parse(&word[at..]).ok()
    });
    keys.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_what_cannot_be_understood() {
        for text in [
            r#"{"type": "nonsense", "course_id": "course-v1:a+b+c"}"#,
            r#"{"course_id": "course-v1:a+b+c""#,
            "key=course-v1:a+b+c; more",
            "course-v1: course-v1:x <b>course-v1:a+b+c</b>",
        ] {
            assert_eq!(named_in(text), CourseKey::parse("course-v1:a+b+c").ok(), "{text}");
        }
        for text in ["", "library-v1:a+b", "a/b/c", "course-v1:a+b", "\u{0}course-v1:"] {
            assert_eq!(named_in(text), None, "{text}");
        }
    }
}
