//! `migrate`: the project's own tables, and the column on the LMS's.

use anyhow::Context as _;
use migration::{Direction, MigrateError, Migrator, MigratorTrait};

use super::{Context, Exit, MigrateAction, MigrateArgs, output};
use crate::store::Store;

pub(super) async fn run(context: &Context, args: &MigrateArgs) -> anyhow::Result<Exit> {
    let store = Store::connect(&context.config.database).await?;
    let db = &store.connection();
    let direction = match args.action {
        MigrateAction::Up => Direction::Up { create_overview_table: args.create_overview_table },
        MigrateAction::Down => Direction::Down,
        MigrateAction::Status => {
            let migrations =
                Migrator::get_migration_with_status_read_only(db).await.context("cannot read migrations")?;
            let rows: Vec<_> =
                migrations.iter().map(|m| [m.name().to_owned(), m.status().to_string()]).collect();
            output::columns(&rows)?;
            return Ok(Exit::Done);
        }
    };
    let planned = migration::plan(db, direction).await.context("cannot look at the schema")?;
    if planned.is_empty() {
        eprintln!("nothing to do");
        return Ok(Exit::Done);
    }
    for step in &planned {
        output::print(&step.to_string())?;
    }
    if !args.dry_run
        && let Some(alter) = migration::migrate(db, direction).await.map_err(explained)?
    {
        eprintln!("the LMS's table got its column by: {alter}");
    }
    Ok(Exit::Done)
}

/// What says by itself what to do is left alone.
fn explained(error: MigrateError) -> anyhow::Error {
    match error {
        MigrateError::Db(_) => anyhow::Error::from(error).context(
            "the migration failed; without the right to change tables, hand the SQL of --dry-run to someone who has it",
        ),
        error => error.into(),
    }
}
