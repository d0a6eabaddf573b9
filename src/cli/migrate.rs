//! `migrate`: this program's tables, and the column in the LMS's table.

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use migration::{Direction, MigrateError, Migrator, MigratorTrait, Planned, restore_trigger};
use sea_orm::DatabaseConnection;
use serde_json::json;

use super::context::{Context, Output};
use super::exit::Exit;
use super::output::{self, say};
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What to do
    #[arg(value_enum, default_value_t = Action::Up)]
    action: Action,
    /// Print the SQL for this database, and run nothing
    #[arg(long)]
    dry_run: bool,
    /// Also create the LMS's table if it is missing: for development only
    #[arg(long)]
    create_overview_table: bool,
    /// Also give the LMS's table the trigger by which a row that is made again or saved has its link at once; with
    /// `down`, take away that trigger only
    #[arg(long)]
    restore_trigger: bool,
    /// With `down`: drop the tables without asking
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Action {
    /// Bring the tables to the newest schema
    Up,
    /// Drop this program's tables; the LMS's table stays as it is
    Down,
    /// Show which migrations are applied
    Status,
}

pub(super) async fn run(context: &Context, args: &Arguments) -> anyhow::Result<Exit> {
    let store = Store::connect(&context.config.database).await?;
    let db = &store.connection();
    let direction = match args.action {
        Action::Up => Direction::Up {
            create_overview_table: args.create_overview_table,
            restore_trigger: args.restore_trigger,
        },
        Action::Down if args.restore_trigger => Direction::NoRestoreTrigger,
        Action::Down => Direction::Down,
        Action::Status => return status(context, db).await,
    };
    if args.restore_trigger
        && args.action == Action::Up
        && !args.create_overview_table
        && let Some(why) = restore_trigger::obstacle(db).await.context("cannot look at the schema")?
    {
        anyhow::bail!(why);
    }
    let planned = migration::plan(db, direction).await.context("cannot look at the schema")?;
    if direction == Direction::Down && !args.dry_run && !planned.is_empty() {
        let what = "this drops this program's tables, with every URL that it knows";
        if let Err(exit) = output::allowed(args.yes, what)? {
            return Ok(exit);
        }
    }
    if context.output == Output::Human {
        planned.iter().try_for_each(|step| output::print(&step.to_string()))?;
    }
    if !args.dry_run && !planned.is_empty() {
        migration::migrate(db, direction).await.map_err(explained)?;
    }
    print(context, args.dry_run, &planned)?;
    Ok(Exit::Done)
}

/// Prints what was done, or would be; for people the SQL stands there already.
fn print(context: &Context, dry_run: bool, planned: &[Planned]) -> anyhow::Result<()> {
    match context.output {
        Output::Human if planned.is_empty() => say!("nothing to do"),
        Output::Human => {}
        Output::Json => {
            let one = |step: &Planned| json!({ "sql": step.sql, "notes": step.note });
            let steps: Vec<_> = planned.iter().map(one).collect();
            output::json(&json!({ "dry_run": dry_run, "steps": steps }))?;
        }
    }
    Ok(())
}

/// Which migrations are applied.
async fn status(context: &Context, db: &DatabaseConnection) -> anyhow::Result<Exit> {
    let migrations =
        Migrator::get_migration_with_status_read_only(db).await.context("cannot read migrations")?;
    let mut rows: Vec<_> = migrations.iter().map(|m| [m.name().to_owned(), m.status().to_string()]).collect();
    let trigger = restore_trigger::state(db).await.context("cannot look for the restore trigger")?;
    match context.output {
        Output::Human => {
            rows.push(["restore trigger".to_owned(), trigger.to_string()]);
            output::columns(&rows)?;
        }
        Output::Json => {
            let one = |[name, status]: &[String; 2]| json!({ "name": name, "status": status });
            let migrations: Vec<_> = rows.iter().map(one).collect();
            output::json(&json!({ "migrations": migrations, "restore_trigger": trigger.to_string() }))?;
        }
    }
    Ok(Exit::Done)
}

/// Adds what to do, unless the error says so itself.
fn explained(error: MigrateError) -> anyhow::Error {
    match error {
        MigrateError::Db(_) => anyhow::Error::from(error).context(
            "the migration failed; without the right to change tables, hand the SQL of --dry-run to someone who has it",
        ),
        error => error.into(),
    }
}
