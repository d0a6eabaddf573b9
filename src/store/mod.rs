//! The only module with SQL, through SeaORM, for SQLite, PostgreSQL, MySQL and MariaDB.
//!
//! The ledger decides. Every write of a link is one statement that copies the ledger's URL to overviews that
//! differ from it (`update_links.rs`); restoring, applying and healing differ only in which overviews they copy to.

mod absent;
mod blanks;
mod changes;
mod choice;
mod clock;
mod coverage;
mod custom_courses;
mod dead_letters;
mod error;
mod failures;
mod halving;
mod heal;
mod hints;
mod keys;
mod lease;
mod ledger;
mod lms_page_size;
mod overviews;
mod passes;
mod pool;
mod prune;
mod restore_trigger;
mod rights;
mod schema;
mod statement;
mod timeout;
mod update_links;
mod writable;
mod write;

pub use self::blanks::{Blank, BlankCount, BlankFilter, Reason};
pub use self::changes::{ChangedBy, LinkChange};
pub use self::coverage::{Coverage, SeenSince};
pub use self::dead_letters::{Letter, LetterFilter, LetterHead};
pub use self::error::{Refusal, StoreError};
pub use self::failures::{Failure, RefusedCourse};
pub use self::halving::Halving;
pub use self::heal::{Healed, Rejected};
pub use self::hints::HintPosition;
pub use self::lease::LeaseRow;
pub use self::ledger::{Entry, ObservedBy, UrlRefusal};
pub use self::overviews::{Counts, Overview, Snapshot};
pub use self::passes::{PassKind, PassRow, Verdict};
pub use self::prune::PrunedRuns;
pub(crate) use self::rights::{Need, Rights, needs};
pub use self::schema::SchemaProblem;
pub use self::timeout::Timeouts;
pub use self::writable::{ReadOnly, Writes};
pub use self::write::Applied;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sea_orm::{DatabaseConnection, DbBackend};
use secrecy::ExposeSecret;

use self::clock::DatabaseClock;
use self::error::wants_tls;
use self::pool::{Pools, root_cause};
use self::timeout::Db;
use crate::config;
use crate::model::extra_columns::AlsoColumn;

/// The most rows in one statement: below every database's limit of parameters.
pub const MAX_ROWS: usize = 500;

/// The database, shared by everything in the process; cheap to clone.
#[derive(Clone)]
pub struct Store {
    db: Db,
    clock: Arc<DatabaseClock>,
    also: Arc<[AlsoColumn]>,
    by: ChangedBy,
}

impl Store {
    /// Opens the pool and its first connection.
    ///
    /// # Errors
    /// [`StoreError::Connect`], with the URL less its password.
    pub async fn connect(settings: &config::Database) -> Result<Self, StoreError> {
        Self::open(settings, false).await
    }

    /// Makes the pool and connects when first used, so that a worker can start before its database.
    ///
    /// # Errors
    /// [`StoreError::Connect`] for a URL that no driver understands.
    pub async fn connect_lazy(settings: &config::Database) -> Result<Self, StoreError> {
        Self::open(settings, true).await
    }

    async fn open(settings: &config::Database, lazy: bool) -> Result<Self, StoreError> {
        let url = settings.url.expose_secret();
        let pools = match Pools::open(settings, lazy).await {
            Ok(pools) => pools,
            Err(error) if wants_tls(&error) => return Err(StoreError::PlainLogin),
            Err(error) => {
                let source = root_cause(url, error).await;
                return Err(StoreError::Connect { url: config::without_password(url), source });
            }
        };
        Ok(Self { db: Db::new(pools), clock: Arc::default(), also: Arc::new([]), by: ChangedBy::default() })
    }

    /// The time on the database's clock, to the microsecond, or a little earlier; costs a statement once a minute.
    pub async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        self.clock.now(&self.db).await
    }

    /// The same store, which reads and writes these columns of overviews too; each is there once. Without this it
    /// touches none of them.
    #[must_use]
    pub fn with_also(self, columns: &[AlsoColumn]) -> Self {
        Self { also: columns.into(), ..self }
    }

    /// Whether the database writes, as far as is known.
    pub fn writes(&self) -> &Writes {
        &self.db.writes
    }

    /// The same store with other limits on how long work may take.
    #[must_use]
    pub fn with_timeouts(self, timeouts: Timeouts) -> Self {
        Self { db: self.db.with_timeouts(timeouts), ..self }
    }

    /// SeaORM's pool as it is now, which has no limits: for migrations and for tests.
    pub fn connection(&self) -> DatabaseConnection {
        self.db.connection()
    }

    pub(crate) fn backend(&self) -> DbBackend {
        self.db.backend()
    }
}
