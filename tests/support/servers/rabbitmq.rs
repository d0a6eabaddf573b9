//! A RabbitMQ node of our own: own name, ports, cookie, data, and an epmd that no other node is in.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Down, UP, certificates, programs, signal};
use crate::{Process, Signal, free_port, until};

const PACKAGE: &str = "rabbitmq-server";
/// It shares the machine with everything that it is to be tested with.
const SMALL: &str =
    "log.file.level = warning\nvm_memory_high_watermark.relative = 0.3\ndisk_free_limit.absolute = 50MB\n";
const DOWN: Duration = Duration::from_secs(60);

/// A running node.
pub struct Rabbitmq {
    /// Where it speaks AMQP.
    pub port: u16,
    tls: bool,
    node: Process,
    home: PathBuf,
    program: PathBuf,
    distribution_port: u16,
    epmd_port: u16,
    // After the node in order of fields, so that it is dropped after it.
    _epmd: Process,
}

impl Rabbitmq {
    /// Starts one below `root` and waits until it speaks AMQP. With a folder of certificates it speaks TLS only, and
    /// takes the name in a client's certificate for its user.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn start(root: &Path, tls: Option<&Path>) -> anyhow::Result<Self> {
        let program = programs::find("rabbitmq-server", PACKAGE)?;
        let epmd = programs::find("epmd", PACKAGE)?;
        let home = super::directory(root, "rabbitmq", None)?;
        let (port, distribution_port, epmd_port) = (free_port(), free_port(), free_port());
        let (way, plugins) = match tls {
            Some(folder) => {
                (tls_only(port, certificates(folder, &home, None)?), "rabbitmq_auth_mechanism_ssl")
            }
            None => (format!("listeners.tcp.1 = 127.0.0.1:{port}\n"), ""),
        };
        std::fs::write(home.join("rabbitmq.conf"), way + SMALL)?;
        std::fs::write(home.join("enabled_plugins"), format!("[{plugins}].\n"))?;
        let cookie = home.join(".erlang.cookie");
        std::fs::write(&cookie, format!("{:016x}", rand::random::<u64>()))?;
        std::fs::set_permissions(&cookie, std::fs::Permissions::from_mode(0o400))?;

        let mut command = programs::command(&epmd, None);
        command.args(["-port", &epmd_port.to_string(), "-address", "127.0.0.1"]);
        let epmd = Process::start("epmd", &mut command, &home.join("epmd.log"))?;
        until("epmd listens", UP, async || Ok(super::listens(epmd_port).await)).await?;

        let node = launch(&program, &home, distribution_port, epmd_port)?;
        let tls = tls.is_some();
        let mut server = Self { port, tls, node, home, program, distribution_port, epmd_port, _epmd: epmd };
        server.wait_until_up().await?;
        Ok(server)
    }

    /// The URL of its default virtual host, at a port that may be a proxy's.
    pub fn url_at(port: u16) -> String {
        format!("amqp://guest:guest@127.0.0.1:{port}/%2f")
    }

    /// The URL of its default virtual host.
    pub fn url(&self) -> String {
        Self::url_at(self.port)
    }

    /// Takes it down.
    pub async fn stop(&mut self, down: Down) -> anyhow::Result<()> {
        self.node.signal(signal(down, Signal::Term, Signal::Kill))?;
        self.node.wait(DOWN).await?;
        Ok(())
    }

    /// Brings it up again, and waits until it speaks AMQP.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        self.node = launch(&self.program, &self.home, self.distribution_port, self.epmd_port)?;
        self.wait_until_up().await
    }

    /// Freezes it: its sockets stay open and say nothing.
    pub fn freeze(&mut self) -> anyhow::Result<()> {
        self.node.signal(Signal::Stop)
    }

    /// Lets it go on.
    pub fn thaw(&mut self) -> anyhow::Result<()> {
        self.node.signal(Signal::Cont)
    }

    /// A policy, as operators have them for all queues: a message that has been delivered so often is given up. For
    /// queues of this prefix alone, as others share the broker.
    pub async fn limit_deliveries(&self, prefix: &str, limit: u32) -> anyhow::Result<()> {
        let rabbitmqctl = programs::find("rabbitmqctl", PACKAGE)?;
        let mut command = programs::command(&rabbitmqctl, None);
        self.environment(&mut command);
        let (pattern, limit) = (format!("^{prefix}\\."), format!("{{\"delivery-limit\": {limit}}}"));
        command.args(["set_policy", "--apply-to", "queues", prefix, &pattern, &limit]);
        let mut process = Process::start("rabbitmqctl", &mut command, &self.home.join("rabbitmqctl.log"))?;
        let status = process.wait(UP).await?;
        anyhow::ensure!(status.success(), "rabbitmqctl ended with {status}:\n{}", process.last_words());
        Ok(())
    }

    fn environment(&self, command: &mut Command) {
        environment(command, &self.home, self.distribution_port, self.epmd_port);
    }

    async fn wait_until_up(&mut self) -> anyhow::Result<()> {
        let (port, tls) = (self.port, self.tls);
        let node = &mut self.node;
        let up = until("RabbitMQ speaks AMQP", UP, async || match node.ended()? {
            Some(status) => bail!("RabbitMQ ended by itself: {status}\n{}", node.last_words()),
            None => Ok(if tls { super::listens(port).await } else { speaks_amqp(port).await }),
        });
        up.await.with_context(|| format!("its logs are in {}", self.home.display()))?;
        Ok(())
    }
}

fn tls_only(port: u16, [authority, certificate, key]: [String; 3]) -> String {
    format!(
        "listeners.tcp = none\nlisteners.ssl.1 = 127.0.0.1:{port}\nssl_options.cacertfile = {authority}\n\
         ssl_options.certfile = {certificate}\nssl_options.keyfile = {key}\nssl_options.verify = verify_peer\n\
         ssl_options.fail_if_no_peer_cert = true\nauth_mechanisms.1 = EXTERNAL\n\
         ssl_cert_login_from = common_name\n"
    )
}

fn launch(program: &Path, home: &Path, distribution: u16, epmd: u16) -> anyhow::Result<Process> {
    let mut command = programs::command(program, None);
    environment(&mut command, home, distribution, epmd);
    Process::start("RabbitMQ", &mut command, &home.join("out.log"))
}

/// By which the node and whoever administers it find each other.
fn environment(command: &mut Command, home: &Path, distribution: u16, epmd: u16) {
    command.current_dir(home);
    let home = programs::seen(home);
    command
        .env("HOME", &home)
        .env("ERL_EPMD_PORT", epmd.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        // Named after the port, so that two runs at once stay apart.
        .env("RABBITMQ_NODENAME", format!("test{epmd}@localhost"))
        .env("RABBITMQ_DIST_PORT", distribution.to_string())
        .env("RABBITMQ_MNESIA_BASE", home.join("data"))
        .env("RABBITMQ_LOG_BASE", home.join("log"))
        .env("RABBITMQ_CONFIG_FILE", home.join("rabbitmq.conf"))
        .env("RABBITMQ_CONF_ENV_FILE", home.join("none"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", home.join("enabled_plugins"))
        .env("RABBITMQ_PID_FILE", home.join("pid"))
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none");
}

/// Whether the broker greets: it listens some time before it does.
async fn speaks_amqp(port: u16) -> bool {
    let greeting = async {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
        socket.write_all(b"AMQP\x00\x00\x09\x01").await?;
        socket.read_u8().await
    };
    matches!(tokio::time::timeout(Duration::from_secs(2), greeting).await, Ok(Ok(1)))
}
