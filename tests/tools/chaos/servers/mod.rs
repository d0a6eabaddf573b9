//! Throw-away servers on free ports, in a temporary directory, that end with us.

mod mariadb;
mod postgres;
mod rabbitmq;
mod small_disk;

use std::ops::Deref;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::bail;
use test_support::Signal;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

pub(crate) use self::mariadb::Mariadb;
pub(crate) use self::postgres::Postgres;
pub(crate) use self::rabbitmq::Rabbitmq;
pub(crate) use self::small_disk::SmallDisk;

/// A server's two ways to go down; which one is the seed's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Down {
    /// As an operator would do it.
    Orderly,
    /// As a power cut would do it.
    Crash,
}

/// A database server.
pub(crate) enum Database {
    /// PostgreSQL.
    Postgres(Postgres),
    /// MariaDB.
    Mariadb(Mariadb),
    /// SQLite needs none: where its files are.
    Sqlite(SmallDisk),
}

impl Database {
    /// Where it listens; SQLite does not.
    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Postgres(server) => server.port,
            Self::Mariadb(server) => server.port,
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
            Self::Postgres(_) | Self::Mariadb(_) => bail!("a server's disk is not ours to fill"),
        }
    }

    /// The URL of a database on it, for a user.
    pub(crate) fn url(&self, user: &str, database: &str) -> String {
        let scheme = match self {
            Self::Postgres(_) => "postgres",
            Self::Mariadb(_) => "mysql",
            Self::Sqlite(disk) => return format!("sqlite://{}/{database}.db?mode=rwc", disk.path.display()),
        };
        format!("{scheme}://{user}@127.0.0.1:{}/{database}", self.port())
    }

    /// Takes it down, and brings it up again.
    pub(crate) async fn restart(&mut self, down: Down) -> anyhow::Result<()> {
        match self {
            Self::Postgres(server) => server.restart(down).await,
            Self::Mariadb(server) => server.restart(down).await,
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

/// Whether something accepts connections there.
pub(super) async fn listens(port: u16) -> bool {
    tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
}

/// A directory for a server, its user's own.
fn directory(root: &Path, name: &str, owner: Option<(u32, u32)>) -> anyhow::Result<PathBuf> {
    let path = root.join(name);
    std::fs::create_dir(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))?;
    if let Some((user, group)) = owner {
        chown(&path, Some(user), Some(group))?;
    }
    Ok(path)
}

/// The signal for a way down, by what an orderly end is called there.
fn signal(down: Down, orderly: Signal, crash: Signal) -> Signal {
    match down {
        Down::Orderly => orderly,
        Down::Crash => crash,
    }
}
