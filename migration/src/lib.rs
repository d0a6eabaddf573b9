//! Our own tables, versioned, and the one column that we need on the LMS's table.
//!
//! Every step is planned as SQL text first and then executed as it was planned, so that what `--dry-run` prints
//! is what runs.

mod done;
mod overview;
mod planned;
pub mod restore_trigger;
mod steps;

pub use self::planned::{MigrateError, Planned};
pub use sea_orm_migration::sea_orm::DbErr;
pub use sea_orm_migration::{MigrationStatus, MigratorTrait, SchemaManager};

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, TransactionTrait};

use self::planned::execute;
use self::restore_trigger::Around;
use self::steps::{BLOCK, STEPS, Step};

/// The table in which the database remembers what has been done.
pub const MEMORY: &str = "course_sharing_migrations";

/// All migrations, oldest first.
pub struct Migrator;

/// The tables of ours that the program reads and writes, in the order in which they came; without [`MEMORY`].
pub fn tables() -> impl Iterator<Item = &'static str> {
    STEPS.iter().flat_map(|step| step.tables).copied().filter(|table| *table != BLOCK)
}

impl MigrationName for Step {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        execute_left(manager, (self.up)(manager.get_database_backend())).await
    }
    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        execute_left(manager, self.down(manager.get_database_backend())).await
    }
}

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        STEPS.map(|step| Box::new(step) as Box<dyn MigrationTrait>).into()
    }

    // The table is in the LMS's schema: it says whose it is.
    fn migration_table_name() -> DynIden {
        MEMORY.into_iden()
    }
}

/// Which way to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the newest schema. `create_overview_table` makes the LMS's table as well, for development.
    Up {
        /// Whether the LMS's table may be created where it is missing.
        create_overview_table: bool,
        /// Whether the LMS's table gets the restore trigger; one that it has stays.
        restore_trigger: bool,
    },
    /// Back to nothing of ours. The column on the LMS's table stays: its content is the LMS's.
    Down,
    /// Without the restore trigger; all else stays.
    NoRestoreTrigger,
}

/// The SQL that [`migrate`] would execute on this database now; empty if there is nothing to do.
pub async fn plan<C: ConnectionTrait>(db: &C, direction: Direction) -> Result<Vec<Planned>, DbErr>
where
    for<'c> &'c C: IntoSchemaManagerConnection<'c>,
{
    let backend = db.get_database_backend();
    let manager = SchemaManager::new(db);
    let known = Migrator::get_migration_with_status_read_only(db).await?;
    let applied =
        |name: &str| known.iter().any(|m| m.name() == name && m.status() == MigrationStatus::Applied);
    Ok(match direction {
        Direction::Up { create_overview_table, restore_trigger } => {
            let changes = STEPS.iter().any(|step| !applied(step.name));
            let trigger = Around::up(db, restore_trigger, changes).await?;
            let mut planned = overview::plan(&manager, create_overview_table).await?;
            planned.extend(trigger.before);
            for (place, step) in STEPS.iter().filter(|step| !applied(step.name)).enumerate() {
                let statements = (step.up)(backend);
                // Only the first of them may have been interrupted: a later one drops what does not exist yet.
                let left = if place == 0 { left(&manager, statements).await? } else { statements };
                planned.extend(left.into_iter().map(Planned::plain));
                planned.extend(remember(step.name).map(Planned::plain));
            }
            planned.extend(trigger.after);
            planned
        }
        Direction::Down => {
            let mut planned = Around::down(db).await?;
            for step in STEPS.iter().rev().filter(|step| applied(step.name)) {
                planned.extend(left(&manager, step.down(backend)).await?.into_iter().map(Planned::plain));
                let forget = format!("DELETE FROM {MEMORY} WHERE version = '{}'", step.name);
                planned.push(Planned::plain(forget));
            }
            planned
        }
        Direction::NoRestoreTrigger => Around::down(db).await?,
    })
}

/// What the migrator itself does beside each migration, so that one run by hand is known as run.
fn remember(name: &str) -> [String; 2] {
    let columns = "version varchar(255) NOT NULL PRIMARY KEY, applied_at bigint NOT NULL";
    [
        format!("CREATE TABLE IF NOT EXISTS {MEMORY} ({columns})"),
        format!("INSERT INTO {MEMORY} (version, applied_at) VALUES ('{name}', 0)"),
    ]
}

/// Brings the schema up or down; doing it twice changes nothing, and doing it again after it was killed does the rest.
/// Without the right to change tables, hand the output of [`plan`] to someone who has it.
pub async fn migrate<C>(db: &C, direction: Direction) -> Result<(), MigrateError>
where
    C: ConnectionTrait + TransactionTrait,
    for<'c> &'c C: IntoSchemaManagerConnection<'c>,
{
    match direction {
        Direction::Up { create_overview_table, restore_trigger } => {
            let changes = !Migrator::get_pending_migrations_read_only(db).await?.is_empty();
            let trigger = Around::up(db, restore_trigger, changes).await?;
            let planned = overview::plan(&SchemaManager::new(db), create_overview_table).await?;
            execute(db, &planned).await?;
            execute(db, &trigger.before).await?;
            let up = Migrator::up(db, None).await;
            // It comes back also where that failed.
            let after = execute(db, &trigger.after).await;
            up?;
            after
        }
        Direction::Down => {
            // Before the ledger that it reads.
            execute(db, &Around::down(db).await?).await?;
            Ok(Migrator::down(db, None).await?)
        }
        Direction::NoRestoreTrigger => execute(db, &Around::down(db).await?).await,
    }
}

async fn execute_left(manager: &SchemaManager<'_>, statements: Vec<String>) -> Result<(), DbErr> {
    for statement in left(manager, statements).await? {
        manager.get_connection().execute_unprepared(&statement).await?;
    }
    Ok(())
}

/// Those of the statements that have not been carried out yet.
async fn left(manager: &SchemaManager<'_>, statements: Vec<String>) -> Result<Vec<String>, DbErr> {
    let mut left = Vec::new();
    for statement in statements {
        if !done::is_done(manager, &statement).await? {
            left.push(statement);
        }
    }
    Ok(left)
}
