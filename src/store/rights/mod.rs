//! What the database user may do, beside what the program needs: too little stops it in the middle of its work, too
//! much is a risk that nobody asked for.
//!
//! Each database tells in its own way what it allows (`mysql.rs`, `postgres.rs`); the verdict on it is one and pure.

mod grants;
mod judge;
mod mysql;
mod needs;
mod postgres;

use sea_orm::DbBackend;

pub use self::needs::{Need, Needs};

use self::judge::judge;
use super::{Store, StoreError};

/// The right that stands for all others.
const ALL: &str = "ALL PRIVILEGES";

/// A right that the user has, as the database tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    /// In capitals, as in GRANT.
    right: String,
    on: On,
    /// None: on all columns.
    columns: Vec<String>,
}

/// What a right is on.
#[derive(Debug, Clone, PartialEq, Eq)]
enum On {
    /// Every table of our database and perhaps of others; in words.
    Everything(String),
    /// One table of our database.
    Table(String),
    /// Something that is none of our business; in words.
    Elsewhere(String),
}

/// The verdict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// What the program needs and the user may not do.
    pub missing: Vec<Need>,
    /// What the user may do and the program never does, in words, as in `DELETE on auth_user`.
    pub beyond: Vec<String>,
    /// The user, as a GRANT names it.
    pub user: String,
}

impl Rights {
    /// The statements that give the user what is missing.
    pub fn grants(&self) -> Vec<String> {
        self.missing.iter().map(|need| format!("GRANT {need} TO {}", self.user)).collect()
    }
}

impl Store {
    /// Looks at what the user of this connection may do. Nobody is asked on SQLite, where a file's owner may do all.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn rights(&self, needs: &Needs) -> Result<Rights, StoreError> {
        match self.backend() {
            DbBackend::MySql => {
                let (user, held) = self.mysql_rights().await?;
                Ok(judge(needs.list(), &held, user))
            }
            DbBackend::Postgres => self.postgres_rights(needs).await,
            _ => Ok(Rights::default()),
        }
    }
}
