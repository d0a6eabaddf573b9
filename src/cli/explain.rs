//! `explain`: why a course's link is as it is, who changed it when, and everything else that is known of the course.

use super::context::{Context, Output};
use super::exit::Exit;
use super::output;
use crate::model::course_key::CourseKey;
use crate::status::Explanation;

pub(super) async fn run(context: &Context, course: &CourseKey) -> anyhow::Result<Exit> {
    let (store, lms) = (context.store().await?, &context.config.lms);
    let explanation = Explanation::read(&store, course).await?;
    match context.output {
        Output::Json => output::json(&explanation.document(lms))?,
        Output::Human => {
            let lines = explanation.lines(lms).into_iter().chain(explanation.history_lines());
            output::columns(&lines.map(|(label, text)| [label.to_owned(), text]).collect::<Vec<_>>())?;
        }
    }
    Ok(Exit::Done)
}
