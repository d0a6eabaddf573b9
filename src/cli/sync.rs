//! `sync`: looks these runs up in the Catalog and updates their links, now. `heal`: gives overviews that lost their link
//! the last URL known.

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::context::{Context, Output};
use super::exit::Exit;
use super::output;
use crate::catalog::Purpose;
use crate::engine::{Outcome, Policy};
use crate::model::course_key::CourseKey;
use crate::model::text::counted;
use crate::store::Healed;
use crate::telemetry::traces;

pub(super) async fn run(context: &Context, courses: &[CourseKey]) -> anyhow::Result<Exit> {
    traces::about(&Span::current(), courses.iter());
    let engine = context.engine().await?;
    engine.store().restore(courses).await?;
    let (policy, never) = (Policy::default(), CancellationToken::new());
    let observed = engine.refresh(courses.to_vec(), Purpose::Command, policy, &never).await?;
    let outcomes = observed.into_outcomes();
    let mut rows = Vec::with_capacity(courses.len());
    let (mut unknown, mut rejected) = (false, false);
    for course in courses {
        let outcome = outcomes.get(course).with_context(|| format!("{course} was not looked up"))?;
        let why = match outcome {
            Outcome::Unknown(why) => {
                unknown = true;
                why.to_string()
            }
            // The Catalog has answered: the text says what to correct there.
            Outcome::Refused(refused) => format!("{}: {}", refused.url, refused.why),
            Outcome::Rejected(why) => {
                rejected = true;
                why.clone()
            }
            Outcome::Superseded => {
                unknown = true;
                "a newer answer is in the ledger already; run it again".to_owned()
            }
            _ => String::new(),
        };
        rows.push([course.to_string(), outcome.as_str().to_owned(), why]);
    }
    match context.output {
        Output::Human => output::columns(&rows)?,
        Output::Json => output::json(&json!({ "courses": rows.iter().map(document).collect::<Vec<_>>() }))?,
    }
    Ok(match (rejected, unknown) {
        (true, _) => Exit::Failed,
        (false, true) => Exit::Incomplete,
        (false, false) => Exit::Done,
    })
}

fn document([course, outcome, why]: &[String; 3]) -> Value {
    let why = Some(why).filter(|why| !why.is_empty());
    json!({ "course_id": course, "outcome": outcome, "why": why })
}

pub(super) async fn heal(context: &Context) -> anyhow::Result<Exit> {
    let Healed { overviews, rejected } = context.store().await?.heal().await?;
    let rows: Vec<_> =
        rejected.iter().map(|row| [row.course.to_string(), "rejected".to_owned(), row.why.clone()]).collect();
    match context.output {
        Output::Human => {
            output::print(&format!("healed {}\n", counted(overviews, "overview")))?;
            output::columns(&rows)?;
        }
        Output::Json => {
            let rejected: Vec<_> = rows.iter().map(document).collect();
            output::json(&json!({ "healed": overviews, "courses": rejected }))?;
        }
    }
    Ok(if rejected.is_empty() { Exit::Done } else { Exit::Failed })
}
