//! `explain`: why a course's link is as it is.

use super::{Context, Exit, output};
use crate::model::course_key::CourseKey;
use crate::model::text::escape;
use crate::status::Explanation;

pub(super) async fn run(context: &Context, course: &CourseKey) -> anyhow::Result<Exit> {
    let store = context.store().await?;
    let explanation = Explanation::read(&store, course).await?;
    let rows: Vec<_> = explanation
        .lines(&context.config.lms)
        .into_iter()
        .map(|(label, text)| [label.to_owned(), escape(&text)])
        .collect();
    output::columns(&rows)?;
    Ok(Exit::Done)
}
