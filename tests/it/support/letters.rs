//! Dead letters as rows, made without a broker.

use course_sharing::store::Letter;

/// A letter of this number, unlike any other, about nothing.
pub(crate) fn letter(number: u32) -> Letter {
    Letter {
        digest: format!("{number:064}"),
        body: b"{}".to_vec(),
        body_sha256: "e".repeat(64),
        properties: vec![0, 0],
        routing_key: "course-publish".to_owned(),
        content_type: None,
        reason: number.to_string(),
        course_id: None,
        understood: false,
        attempt: 0,
        first_seen: chrono::Utc::now(),
        ..Letter::default()
    }
}
