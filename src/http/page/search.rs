//! The search: what `explain` says about a course, or the courses that have a text in their key.

use url::form_urlencoded;

use super::App;
use crate::model::course_key::CourseKey;
use crate::status::Line;
use crate::store::{LinkChange, Store};

/// More than any id has; the rest is dropped.
pub(super) const MAX_CHARS: usize = 300;
/// Courses that are shown.
const SHOWN: usize = 20;

/// A search and its result.
pub(super) struct Search {
    /// As it was typed.
    pub(super) asked: String,
    /// What was found; else why nothing was.
    pub(super) found: Result<Found, String>,
}

/// What was found.
pub(super) enum Found {
    /// What is known of one course, and the last changes of its link.
    Course(Vec<Line>, Vec<LinkChange>),
    /// The first courses with the text in their key, each with whether it has a link, and whether there are more.
    Courses(Vec<(String, bool)>, bool),
}

impl Search {
    /// The search that a query asks for, if it asks for one.
    pub(super) async fn run(app: &App, query: &str) -> Option<Self> {
        let asked = text(query, "course")?;
        // A `+` that was not encoded arrives as a space, which no key has.
        let with_pluses = asked.replace(' ', "+");
        let key = CourseKey::parse(&asked).or_else(|_| CourseKey::parse(&with_pluses));
        let found = match key {
            Ok(course) => {
                let explained = app.explain(course).await;
                explained.map(|explained| Found::Course(explained.lines(&app.lms), explained.history))
            }
            Err(_) => courses(app, with_pluses).await,
        };
        Some(Self { asked, found })
    }
}

async fn courses(app: &App, part: String) -> Result<Found, String> {
    let limit = SHOWN as u64 + 1;
    let find = move |store: Store| async move { store.find_overviews(&part, limit).await };
    let found = app.ask(find).await?;
    if found.is_empty() {
        return Err("no course of the LMS has this in its key".to_owned());
    }
    let more = found.len() > SHOWN;
    let shown = found.into_iter().take(SHOWN).map(|(id, link)| (id, link.is_some()));
    Ok(Found::Courses(shown.collect(), more))
}

/// A parameter of a query, if there is anything in it.
pub(super) fn text(query: &str, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let (_, text) = pairs.find(|(key, _)| key == name)?;
    let text: String = text.trim().chars().take(MAX_CHARS).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_asks_for_one_course_or_none() {
        let asked = |query: &str| text(query, "course");
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
