//! Our own tables, versioned, and the one column that we need on the LMS's table.
//!
//! Every step is planned as SQL text first and then executed as it was planned, so that what `--dry-run` prints
//! is what runs.

mod columns;
mod m20261122_000001_ledger;
mod m20261122_000003_blocks;
mod m20261122_000004_also;
mod overview;

pub use sea_orm_migration::sea_orm::DbErr;
pub use sea_orm_migration::{MigrationStatus, MigratorTrait, SchemaManager};

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

/// The table in which the database remembers what has been done.
const MEMORY: &str = "course_sharing_migrations";

/// All migrations, oldest first.
pub struct Migrator;

/// A migration that can say beforehand what it will execute.
struct Step {
    /// By which the database remembers it.
    name: &'static str,
    /// The statements that make the change.
    up: fn(DbBackend) -> Vec<String>,
    /// The statements that take it back.
    down: fn(DbBackend) -> Vec<String>,
}

/// Oldest first. A step that has been released stays as it is.
fn all() -> Vec<Step> {
    vec![m20261122_000001_ledger::STEP, m20261122_000003_blocks::STEP, m20261122_000004_also::STEP]
}

impl MigrationName for Step {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        execute(manager, &(self.up)(manager.get_database_backend())).await
    }
    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        execute(manager, &(self.down)(manager.get_database_backend())).await
    }
}

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        all().into_iter().map(|step| Box::new(step) as Box<dyn MigrationTrait>).collect()
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
    },
    /// Back to nothing of ours. The column on the LMS's table stays: its content is the LMS's.
    Down,
}

/// The SQL that [`migrate`] would execute on this database now, a statement each; empty if there is nothing to do.
///
/// # Errors
/// Those of the database; nothing is written.
pub async fn plan<C: ConnectionTrait>(db: &C, direction: Direction) -> Result<Vec<String>, DbErr>
where
    for<'c> &'c C: IntoSchemaManagerConnection<'c>,
{
    let backend = db.get_database_backend();
    let known = Migrator::get_migration_with_status_read_only(db).await?;
    let applied =
        |name: &str| known.iter().any(|m| m.name() == name && m.status() == MigrationStatus::Applied);
    Ok(match direction {
        Direction::Up { create_overview_table } => {
            let mut sql = overview::plan(&SchemaManager::new(db), create_overview_table).await?;
            for step in all().iter().filter(|step| !applied(step.name)) {
                sql.extend((step.up)(backend));
                sql.extend(remember(step.name));
            }
            sql
        }
        Direction::Down => {
            let mut sql = Vec::new();
            for step in all().iter().rev().filter(|step| applied(step.name)) {
                sql.extend((step.down)(backend));
                sql.push(format!("DELETE FROM {MEMORY} WHERE version = '{}'", step.name));
            }
            sql
        }
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

/// Brings the schema up or down; doing it twice changes nothing.
///
/// # Errors
/// Those of the database; without the right to change tables, hand the output of [`plan`] to someone who has it.
pub async fn migrate<C>(db: &C, direction: Direction) -> Result<(), DbErr>
where
    C: ConnectionTrait,
    for<'c> &'c C: IntoSchemaManagerConnection<'c>,
{
    match direction {
        Direction::Up { create_overview_table } => {
            let manager = SchemaManager::new(db);
            execute(&manager, &overview::plan(&manager, create_overview_table).await?).await?;
            Migrator::up(db, None).await
        }
        Direction::Down => Migrator::down(db, None).await,
    }
}

async fn execute(manager: &SchemaManager<'_>, statements: &[String]) -> Result<(), DbErr> {
    for statement in statements {
        manager.get_connection().execute_unprepared(statement).await?;
    }
    Ok(())
}
