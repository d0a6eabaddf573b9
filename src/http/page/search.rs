//! The search by course id: a form, and what `explain` says of the course.

use std::fmt::Write;

use url::form_urlencoded;

use super::html::Text;
use super::parts::mark;
use super::verdict::Level;
use crate::course_key::CourseKey;
use crate::http::state::{Line, Shared};

/// Longer ids than any there are; what is beyond is not shown again.
const MAX_CHARS: usize = 300;

/// What was asked for, and what came of it.
pub(super) struct Search {
    /// As it was typed.
    asked: String,
    /// Label and text; else why there are none.
    found: Result<Vec<Line>, String>,
}

impl Search {
    /// The search that a query asks for, if it asks for one.
    pub(super) async fn run(shared: &Shared, query: &str) -> Option<Self> {
        let asked = asked(query)?;
        // A `+` that nobody encoded arrives as a blank, which no key has.
        let key = CourseKey::parse(&asked)
            .or_else(|error| CourseKey::parse(&asked.replace(' ', "+")).map_err(|_| error));
        let found = match key {
            Ok(course) => shared.explain(&course).await,
            Err(error) => Err(error.to_string()),
        };
        Some(Self { asked, found })
    }

    #[cfg(test)]
    pub(super) fn of(asked: &str, found: Result<Vec<Line>, String>) -> Self {
        Self { asked: asked.to_owned(), found }
    }

    /// What was found.
    pub(super) fn show(&self, page: &mut String) {
        page.push_str("<section class=found aria-labelledby=found><h2 id=found>What is known of it</h2>");
        match &self.found {
            Ok(lines) => {
                page.push_str("<dl>");
                for (label, text) in lines {
                    let _ = write!(page, "<dt>{}<dd>{}", Text(label), Text(text));
                }
                page.push_str("</dl>");
            }
            Err(why) => {
                let _ = write!(page, "<p class=note>{}{}</p>", mark(Level::Watch), Text(why));
            }
        }
        page.push_str("<p><a href=\"./\">Back to everything</a></p></section>");
    }
}

/// The form, with what was asked for last.
pub(super) fn form(page: &mut String, search: Option<&Search>) {
    let _ = write!(
        page,
        "<form role=search action=\"./\"><label for=course>Why is a course’s link as it is?</label>\
         <input id=course name=course value=\"{}\" placeholder=\"course-v1:…\" required maxlength={MAX_CHARS} \
         spellcheck=false autocapitalize=off autocomplete=off><button>Explain</button></form>",
        Text(search.map_or("", |search| &search.asked)),
    );
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
