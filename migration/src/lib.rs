//! Our own tables, versioned, and the one column that we need on the LMS's table.
//!
//! Every step is planned as SQL text first and then executed as it was planned, so that what `--dry-run` prints
//! is what runs.

mod m20261122_000001_ledger;
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
pub(crate) trait Planned {
    /// The migration's name, by which the database remembers it.
    const NAME: &'static str;
    /// The statements that make the change.
    fn up(backend: DbBackend) -> Vec<String>;
    /// The statements that take it back.
    fn down(backend: DbBackend) -> Vec<String>;
}

struct Step<P>(std::marker::PhantomData<P>);

impl<P: Planned> MigrationName for Step<P> {
    fn name(&self) -> &str {
        P::NAME
    }
}

#[async_trait::async_trait]
impl<P: Planned + Send + Sync> MigrationTrait for Step<P> {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        execute(manager, &P::up(manager.get_database_backend())).await
    }
    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        execute(manager, &P::down(manager.get_database_backend())).await
    }
}

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![step::<m20261122_000001_ledger::Migration>()]
    }

    // The table is in the LMS's schema: it says whose it is.
    fn migration_table_name() -> DynIden {
        MEMORY.into_iden()
    }
}

fn step<P: Planned + Send + Sync + 'static>() -> Box<dyn MigrationTrait> {
    Box::new(Step::<P>(std::marker::PhantomData))
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
    type M = m20261122_000001_ledger::Migration;
    Ok(match direction {
        Direction::Up { create_overview_table } => {
            let mut sql = overview::plan(&SchemaManager::new(db), create_overview_table).await?;
            if !applied(M::NAME) {
                sql.extend(M::up(backend));
                sql.extend(remember(M::NAME));
            }
            sql
        }
        Direction::Down if applied(M::NAME) => {
            let mut sql = M::down(backend);
            sql.push(format!("DELETE FROM {MEMORY} WHERE version = '{}'", M::NAME));
            sql
        }
        Direction::Down => Vec::new(),
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
