//! The search by course id: what was asked for, and what `explain` says about that course.

use url::form_urlencoded;

use crate::http::App;
use crate::model::course_key::CourseKey;
use crate::status::Line;

/// More than any id has; the rest is dropped.
pub(super) const MAX_CHARS: usize = 300;

/// A search and its result.
pub(super) struct Search {
    /// As it was typed.
    pub(super) asked: String,
    /// Label and text; else why there are none.
    pub(super) found: Result<Vec<Line>, String>,
}

impl Search {
    /// The search that a query asks for, if it asks for one.
    pub(super) async fn run(app: &App, query: &str) -> Option<Self> {
        let asked = asked(query)?;
        // A `+` that was not encoded arrives as a space, which no key has.
        let key = CourseKey::parse(&asked)
            .or_else(|error| CourseKey::parse(&asked.replace(' ', "+")).map_err(|_| error));
        let found = match key {
            Ok(course) => app.explain(course).await,
            Err(error) => Err(error.to_string()),
        };
        Some(Self { asked, found })
    }
}

fn asked(query: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let (_, asked) = pairs.find(|(name, _)| name == "course")?;
    let asked: String = asked.trim().chars().take(MAX_CHARS).collect();
    (!asked.is_empty()).then_some(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_asks_for_one_course_or_none() {
        assert_eq!(asked("a=b&course=course-v1%3Aa%2Bb%2Bc"), Some("course-v1:a+b+c".to_owned()));
        assert_eq!(asked("course=a+b"), Some("a b".to_owned()));
        assert_eq!(
            (asked(""), asked("course="), asked("course=%20"), asked("%ff=%00")),
            (None, None, None, None)
        );
        assert_eq!(
            asked(&format!("course={}", "é".repeat(9_999))).map(|text| text.chars().count()),
            Some(MAX_CHARS)
        );
    }
}
