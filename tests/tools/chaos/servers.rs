//! What scenarios work on: throw-away servers, which they share or have for themselves.

use std::ops::Deref;

use anyhow::bail;
use test_support::SmallDisk;
use test_support::database::Kind;
use test_support::servers::{DatabaseServer, Down};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Where a database is.
pub(crate) enum Database {
    /// On PostgreSQL or MariaDB.
    Server(DatabaseServer),
    /// SQLite needs none: where its files are.
    Sqlite(SmallDisk),
}

impl Database {
    /// Where it listens; SQLite does not.
    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Server(server) => server.port,
            Self::Sqlite(_) => 0,
        }
    }

    /// The disk that SQLite's files are on.
    ///
    /// # Errors
    /// If this is a server.
    pub(crate) fn disk(&self) -> anyhow::Result<&SmallDisk> {
        match self {
            Self::Sqlite(disk) => Ok(disk),
            Self::Server(_) => bail!("a server's disk is not ours to fill"),
        }
    }

    /// The URL of a database on it, for a user.
    pub(crate) fn url(&self, user: &str, database: &str) -> String {
        let scheme = match self {
            Self::Server(server) if server.kind == Kind::Postgres => "postgres",
            Self::Server(_) => "mysql",
            Self::Sqlite(disk) => {
                return format!("sqlite://{}/{database}.db?mode=rwc", disk.path().display());
            }
        };
        format!("{scheme}://{user}@127.0.0.1:{}/{database}", self.port())
    }

    /// Takes it down, and brings it up again.
    pub(crate) async fn restart(&mut self, down: Down) -> anyhow::Result<()> {
        match self {
            Self::Server(server) => server.restart(down).await,
            Self::Sqlite(_) => Ok(()),
        }
    }
}

/// A server lent to a scenario: to use beside others, or to harm alone.
pub(crate) enum Lent<'a, S> {
    /// To use.
    Shared(RwLockReadGuard<'a, S>),
    /// To harm.
    Alone(RwLockWriteGuard<'a, S>),
}

impl<'a, S> Lent<'a, S> {
    /// Waits until it can be had.
    pub(crate) async fn of(server: &'a RwLock<S>, to_harm: bool) -> Self {
        if to_harm { Self::Alone(server.write().await) } else { Self::Shared(server.read().await) }
    }

    /// The server, to be harmed.
    ///
    /// # Errors
    /// If it was lent for use only.
    pub(crate) fn victim(&mut self) -> anyhow::Result<&mut S> {
        match self {
            Self::Alone(server) => Ok(server),
            Self::Shared(_) => bail!("this scenario shares its server and must not harm it"),
        }
    }
}

impl<S> Deref for Lent<'_, S> {
    type Target = S;
    fn deref(&self) -> &S {
        match self {
            Self::Shared(server) => server,
            Self::Alone(server) => server,
        }
    }
}
