//! `heal`: last-known URLs back to overviews that lost them.

use super::{Context, Exit, output};

pub(super) async fn run(context: &Context) -> anyhow::Result<Exit> {
    let healed = context.store().await?.heal().await?;
    output::print(&format!("healed {healed} overviews\n"))?;
    Ok(Exit::Done)
}
