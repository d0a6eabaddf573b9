//! `heal`: gives overviews that lost their link the last URL known.

use super::{Context, Exit, output};
use crate::model::text::escape;
use crate::store::Healed;

pub(super) async fn run(context: &Context) -> anyhow::Result<Exit> {
    let Healed { overviews, rejected } = context.store().await?.heal().await?;
    output::print(&format!("healed {overviews} overviews\n"))?;
    let rows: Vec<_> = rejected
        .iter()
        .map(|row| [row.course.to_string(), "rejected".to_owned(), escape(&row.why)])
        .collect();
    output::columns(&rows)?;
    Ok(if rejected.is_empty() { Exit::Done } else { Exit::Failed })
}
