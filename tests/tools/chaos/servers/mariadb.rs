//! A MariaDB server of our own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use sea_orm::Database as Connect;

use super::postgres::unprivileged;
use test_support::{Process, Signal, free_port, until};

use super::{Down, signal};
use crate::programs;

const PACKAGE: &str = "mariadb-server";
const UP: Duration = Duration::from_secs(60);

/// A running server; its superuser is `root`, without a password.
pub(crate) struct Mariadb {
    /// Where it listens.
    pub(crate) port: u16,
    process: Process,
    program: PathBuf,
    home: PathBuf,
    owner: Option<(u32, u32)>,
}

impl Mariadb {
    /// Makes and starts one below `root`, and waits until it answers.
    pub(crate) async fn start(root: &Path) -> anyhow::Result<Self> {
        let install = programs::find("mariadb-install-db", PACKAGE)?;
        let program = programs::find("mariadbd", PACKAGE)?;
        let owner = programs::unprivileged("mysql")?;
        let home = super::directory(root, "mariadb", owner)?;
        let port = free_port();

        // A MariaDB that starts removes other servers' temporary tables from a folder that they share.
        let temporary = super::directory(&home, "tmp", owner)?;
        let mut command = unprivileged(&install, owner, &home);
        command.env("TMPDIR", programs::seen(&temporary));
        command.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        command.arg(format!("--datadir={}", programs::seen(&home.join("data")).display()));
        let mut made = Process::start("mariadb-install-db", &mut command, &home.join("out.log"))?;
        if !made.wait(UP).await?.success() {
            bail!("mariadb-install-db failed:\n{}", made.last_words());
        }
        let process = launch(&program, &home, port, owner)?;
        let mut server = Self { port, process, program, home, owner };
        server.wait_until_up().await?;
        Ok(server)
    }

    /// Takes it down, and brings it up again.
    pub(super) async fn restart(&mut self, down: Down) -> anyhow::Result<()> {
        self.process.signal(signal(down, Signal::Term, Signal::Kill))?;
        self.process.wait(UP).await?;
        self.process = launch(&self.program, &self.home, self.port, self.owner)?;
        self.wait_until_up().await
    }

    async fn wait_until_up(&mut self) -> anyhow::Result<()> {
        let url = format!("mysql://root@127.0.0.1:{}/mysql", self.port);
        let process = &mut self.process;
        until("MariaDB answers", UP, async || match process.ended()? {
            Some(status) => bail!("MariaDB ended by itself: {status}\n{}", process.last_words()),
            None => Ok(Connect::connect(&url).await.is_ok()),
        })
        .await?;
        Ok(())
    }
}

fn launch(program: &Path, home: &Path, port: u16, owner: Option<(u32, u32)>) -> anyhow::Result<Process> {
    let mut command = unprivileged(program, owner, home);
    // A file that is not ours must not configure it; the socket's path must be short.
    command.args([
        "--no-defaults",
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        "--innodb-buffer-pool-size=64M",
    ]);
    command.arg(format!("--port={port}"));
    for (option, file) in [("datadir", "data"), ("socket", "socket"), ("pid-file", "pid"), ("tmpdir", "tmp")]
    {
        command.arg(format!("--{option}={}", programs::seen(&home.join(file)).display()));
    }
    Process::start("MariaDB", &mut command, &home.join("out.log"))
}
