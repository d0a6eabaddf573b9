//! `reconcile`: one pass, now. (being built)

use super::{Context, Exit, ReconcileArgs};

pub(super) async fn run(_context: &Context, _args: &ReconcileArgs) -> anyhow::Result<Exit> {
    Ok(Exit::Done)
}
