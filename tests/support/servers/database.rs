//! A PostgreSQL or a MariaDB of our own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, ensure};

use super::{Down, Owner, UP, certificates, directory, programs, signal};
use crate::database::Kind;
use crate::{Process, Signal, free_port, until};

/// A running server; its superuser has no password.
pub struct DatabaseServer {
    /// Which of the two.
    pub kind: Kind,
    /// Where it listens.
    pub port: u16,
    process: Process,
    recipe: Recipe,
}

/// What starts it, and starts it again.
struct Recipe {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    home: Home,
}

/// Where its files are, and whose they are.
struct Home {
    path: PathBuf,
    owner: Owner,
}

impl DatabaseServer {
    /// Makes and starts a PostgreSQL below `root`, and waits until it answers. With a folder of certificates it takes
    /// nothing but TLS.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn postgres(root: &Path, tls: Option<&Path>) -> anyhow::Result<Self> {
        const PACKAGE: &str = "postgresql";
        let (initdb, program) = (programs::find("initdb", PACKAGE)?, programs::find("postgres", PACKAGE)?);
        let home = Home::below(root, "postgres", programs::unprivileged("postgres")?)?;
        let (data, port) = (home.seen("data"), free_port());
        let mut command = home.command(&initdb);
        command.args(["-D", &data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-sync"]);
        home.run("initdb", command).await?;

        let mut settings = vec!["unix_socket_directories=".to_owned()];
        if let Some(folder) = tls {
            std::fs::write(home.path.join("data/pg_hba.conf"), "hostssl all all 127.0.0.1/32 trust\n")?;
            let [_, certificate, key] = certificates(folder, &home.path, home.owner)?;
            let files = [format!("ssl_cert_file={certificate}"), format!("ssl_key_file={key}")];
            settings.extend(["ssl=on".to_owned()].into_iter().chain(files));
        }
        let mut arguments =
            ["-D", &data, "-h", "127.0.0.1", "-p", &port.to_string()].map(str::to_owned).to_vec();
        arguments.extend(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
        Self::start(Kind::Postgres, port, Recipe { name: "PostgreSQL", program, arguments, home }).await
    }

    /// Makes and starts a MariaDB below `root`, with `more` options, and waits until it answers. With a folder of
    /// certificates it speaks TLS as well.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn mariadb(root: &Path, tls: Option<&Path>, more: &[&str]) -> anyhow::Result<Self> {
        const PACKAGE: &str = "mariadb-server";
        let install = programs::find("mariadb-install-db", PACKAGE)?;
        let program = programs::find("mariadbd", PACKAGE)?;
        let home = Home::below(root, "mariadb", programs::unprivileged("mysql")?)?;
        let port = free_port();
        // A MariaDB that starts removes other servers' temporary tables from a folder that they share.
        directory(&home.path, "tmp", home.owner)?;
        let data = format!("--datadir={}", home.seen("data"));
        let mut command = home.command(&install);
        command.env("TMPDIR", home.seen("tmp")).args([
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            &data,
        ]);
        home.run("mariadb-install-db", command).await?;

        // A file that is not ours must not configure it; the socket's path must be short.
        let mut arguments = vec![
            "--no-defaults".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            "--skip-name-resolve".to_owned(),
            "--innodb-buffer-pool-size=64M".to_owned(),
            format!("--port={port}"),
            data,
        ];
        for (option, file) in [("socket", "socket"), ("pid-file", "pid"), ("tmpdir", "tmp")] {
            arguments.push(format!("--{option}={}", home.seen(file)));
        }
        if let Some(folder) = tls {
            let files = certificates(folder, &home.path, home.owner)?;
            let options = ["ssl-ca", "ssl-cert", "ssl-key"].into_iter().zip(files);
            arguments.extend(options.map(|(option, file)| format!("--{option}={file}")));
        }
        arguments.extend(more.iter().map(|&option| option.to_owned()));
        Self::start(Kind::Mysql, port, Recipe { name: "MariaDB", program, arguments, home }).await
    }

    async fn start(kind: Kind, port: u16, recipe: Recipe) -> anyhow::Result<Self> {
        let mut server = Self { kind, port, process: recipe.launch()?, recipe };
        server.wait_until_up().await?;
        Ok(server)
    }

    /// The URL of its superuser, without a path.
    pub fn url(&self) -> String {
        let scheme = if self.kind == Kind::Postgres { "postgres://postgres" } else { "mysql://root" };
        format!("{scheme}@127.0.0.1:{}", self.port)
    }

    /// Takes it down, and brings it up again.
    ///
    /// # Errors
    /// If it does not go down, or not come up.
    pub async fn restart(&mut self, down: Down) -> anyhow::Result<()> {
        self.process.signal(match self.kind {
            Kind::Postgres => signal(down, Signal::Int, Signal::Quit),
            _ => signal(down, Signal::Term, Signal::Kill),
        })?;
        self.process.wait(UP).await?;
        self.process = self.recipe.launch()?;
        self.wait_until_up().await
    }

    async fn wait_until_up(&mut self) -> anyhow::Result<()> {
        let (kind, url, name) = (self.kind, self.url(), self.recipe.name);
        let process = &mut self.process;
        until(&format!("{name} answers"), UP, async || match process.ended()? {
            Some(status) => bail!("{name} ended by itself: {status}\n{}", process.last_words()),
            None => Ok(kind.connect(&url).await.is_ok()),
        })
        .await?;
        Ok(())
    }
}

impl Recipe {
    fn launch(&self) -> anyhow::Result<Process> {
        let mut command = self.home.command(&self.program);
        Process::start(self.name, command.args(&self.arguments), &self.home.path.join("out.log"))
    }
}

impl Home {
    fn below(root: &Path, name: &str, owner: Owner) -> anyhow::Result<Self> {
        Ok(Self { path: directory(root, name, owner)?, owner })
    }

    /// A file in it, as the server sees it.
    fn seen(&self, file: &str) -> String {
        programs::seen(&self.path.join(file)).display().to_string()
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = programs::command(program, self.owner);
        command.current_dir(&self.path).env("HOME", programs::seen(&self.path)).env("LC_ALL", "C.UTF-8");
        command
    }

    /// Runs what makes the files.
    async fn run(&self, name: &str, mut command: Command) -> anyhow::Result<()> {
        let mut made = Process::start(name, &mut command, &self.path.join("out.log"))?;
        let ended = made.wait(UP).await?;
        ensure!(ended.success(), "{name} failed:\n{}", made.last_words());
        Ok(())
    }
}
