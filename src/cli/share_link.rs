//! `share-link`: the link that the LMS shares for each course, and where it comes from.

use std::collections::BTreeMap;

use serde_json::json;

use super::context::{Context, Output};
use super::exit::Exit;
use super::output;
use crate::model::course_key::CourseKey;
use crate::share_link;
use crate::store::MAX_ROWS;

pub(super) async fn run(context: &Context, courses: &[CourseKey]) -> anyhow::Result<Exit> {
    let store = context.store().await?;
    let mut links = BTreeMap::new();
    for courses in courses.chunks(MAX_ROWS) {
        for row in store.links(courses).await? {
            links.insert(row.course.to_string(), share_link::of(&row, &context.config.lms));
        }
    }
    let unknown: Vec<&str> =
        courses.iter().map(CourseKey::as_str).filter(|course| !links.contains_key(*course)).collect();
    match context.output {
        Output::Json => output::json(&json!({ "links": links, "unknown": unknown }))?,
        Output::Human => {
            let known = courses.iter().filter_map(|course| {
                let link = links.get(course.as_str())?;
                Some([course.to_string(), link.source.as_str().to_owned(), link.url.clone()])
            });
            let unknown =
                unknown.iter().map(|course| [(*course).to_owned(), "unknown".to_owned(), String::new()]);
            output::columns(&known.chain(unknown).collect::<Vec<_>>())?;
        }
    }
    Ok(if unknown.is_empty() { Exit::Done } else { Exit::Failed })
}
