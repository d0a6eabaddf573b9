//! Throw-away servers on free ports, in a folder that is given, that end with us.

mod database;
pub mod programs;
mod rabbitmq;

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::database::DatabaseServer;
pub use self::rabbitmq::Rabbitmq;
use crate::Signal;

/// A server takes its time on a machine that has other things to do.
const UP: Duration = Duration::from_secs(120);

/// A server's two ways to go down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Down {
    /// As an operator would do it.
    Orderly,
    /// As a power cut would do it.
    Crash,
}

/// User and group that a server runs as; none for ours.
type Owner = Option<(u32, u32)>;

/// Whether something accepts connections there.
async fn listens(port: u16) -> bool {
    tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
}

/// A directory for a server, its user's own.
fn directory(root: &Path, name: &str, owner: Owner) -> anyhow::Result<PathBuf> {
    let path = root.join(name);
    std::fs::create_dir(&path)?;
    give(&path, 0o700, owner)?;
    Ok(path)
}

/// Copies of `ca.pem`, `server.pem` and `server.key` for the server alone, and where it sees them.
fn certificates(from: &Path, home: &Path, owner: Owner) -> anyhow::Result<[String; 3]> {
    let files = ["ca.pem", "server.pem", "server.key"];
    for file in files {
        std::fs::copy(from.join(file), home.join(file))?;
        give(&home.join(file), 0o600, owner)?;
    }
    Ok(files.map(|file| programs::seen(&home.join(file)).display().to_string()))
}

fn give(path: &Path, mode: u32, owner: Owner) -> anyhow::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    if let Some((user, group)) = owner {
        chown(path, Some(user), Some(group))?;
    }
    Ok(())
}

/// The signal for a way down, by what an orderly end is called there.
fn signal(down: Down, orderly: Signal, crash: Signal) -> Signal {
    match down {
        Down::Orderly => orderly,
        Down::Crash => crash,
    }
}
