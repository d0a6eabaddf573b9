//! A PostgreSQL cluster of our own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::bail;
use sea_orm::Database as Connect;

use test_support::{Process, Signal, free_port, until};

use super::{Down, signal};
use crate::programs;

const PACKAGE: &str = "postgresql";
const UP: Duration = Duration::from_secs(60);

/// A running server; its superuser is `postgres`, without a password.
pub(crate) struct Postgres {
    /// Where it listens.
    pub(crate) port: u16,
    process: Process,
    program: PathBuf,
    home: PathBuf,
    owner: Option<(u32, u32)>,
}

impl Postgres {
    /// Makes and starts one below `root`, and waits until it answers.
    pub(crate) async fn start(root: &Path) -> anyhow::Result<Self> {
        let initdb = programs::find("initdb", PACKAGE)?;
        let program = programs::find("postgres", PACKAGE)?;
        let owner = programs::unprivileged("postgres")?;
        let home = super::directory(root, "postgres", owner)?;
        let port = free_port();

        let mut command = unprivileged(&initdb, owner, &home);
        command.arg("-D").arg(programs::seen(&home.join("data")));
        command.args(["-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-sync"]);
        let mut made = Process::start("initdb", &mut command, &home.join("out.log"))?;
        if !made.wait(UP).await?.success() {
            bail!("initdb failed:\n{}", made.last_words());
        }
        let process = launch(&program, &home, port, owner)?;
        let mut server = Self { port, process, program, home, owner };
        server.wait_until_up().await?;
        Ok(server)
    }

    /// Takes it down, and brings it up again.
    pub(super) async fn restart(&mut self, down: Down) -> anyhow::Result<()> {
        self.process.signal(signal(down, Signal::Int, Signal::Quit))?;
        self.process.wait(UP).await?;
        self.process = launch(&self.program, &self.home, self.port, self.owner)?;
        self.wait_until_up().await
    }

    async fn wait_until_up(&mut self) -> anyhow::Result<()> {
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", self.port);
        let process = &mut self.process;
        until("PostgreSQL answers", UP, async || match process.ended()? {
            Some(status) => bail!("PostgreSQL ended by itself: {status}\n{}", process.last_words()),
            None => Ok(Connect::connect(&url).await.is_ok()),
        })
        .await?;
        Ok(())
    }
}

fn launch(program: &Path, home: &Path, port: u16, owner: Option<(u32, u32)>) -> anyhow::Result<Process> {
    let mut command = unprivileged(program, owner, home);
    command.arg("-D").arg(programs::seen(&home.join("data")));
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-c", "unix_socket_directories="]);
    Process::start("PostgreSQL", &mut command, &home.join("out.log"))
}

pub(super) fn unprivileged(program: &Path, owner: Option<(u32, u32)>, home: &Path) -> Command {
    let mut command = programs::command(program, owner);
    command.current_dir(home).env("HOME", programs::seen(home)).env("LC_ALL", "C.UTF-8");
    command
}
