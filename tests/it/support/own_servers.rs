//! Servers of a test's own, with TLS: in a folder of their own, on free ports, ended with the test.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use test_support::free_port;

use super::certificates::{Certificates, folder};
use super::wait_until;

/// A broker takes its time to boot on a machine that has other things to do.
const UP: Duration = Duration::from_secs(120);

/// A process with all that it has started; ended when this is dropped.
struct Group(Child);

impl Group {
    fn start(command: &mut Command, log: &Path) -> Self {
        let out = std::fs::File::create(log).unwrap();
        let command = command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        Self(command.process_group(0).spawn().unwrap())
    }
}

impl Group {
    fn signal(&self, signal: &str) {
        // With -s, as dash takes no negative number behind -KILL.
        let kill = format!("kill -s {signal} -- -{}", self.0.id());
        // It may have ended by itself.
        let _ = Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal("KILL");
        let _ = self.0.wait();
    }
}

/// The signal that ends a server in an orderly way, and what starts it again.
type Again = (&'static str, Box<dyn Fn() -> Group>);

/// A running server.
pub(crate) struct OwnServer {
    pub(crate) port: u16,
    // In this order: the servers end before their folder goes.
    processes: Vec<Group>,
    /// Of a database.
    again: Option<Again>,
    _dir: tempfile::TempDir,
}

impl OwnServer {
    /// Ends a database as an operator would, and starts it again.
    pub(crate) async fn restart(&mut self) {
        let (signal, start) = self.again.as_ref().expect("a database");
        for process in &mut self.processes {
            process.signal(signal);
            let ended = tokio::task::block_in_place(|| process.0.wait());
            ended.unwrap();
        }
        self.processes = vec![start()];
        until_it_listens("the database, again", self.port).await;
    }
}

async fn until_it_listens(what: &str, port: u16) {
    wait_until(UP, what, || async { tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() })
        .await;
}

/// A RabbitMQ that speaks TLS only, and takes the name in a client's certificate for its user.
pub(crate) async fn rabbitmq(certificates: &Certificates) -> OwnServer {
    let dir = tempfile::tempdir().unwrap();
    let (port, distribution, epmd) = (free_port(), free_port(), free_port());
    let home = dir.path();
    let configuration = format!(
        "listeners.tcp = none\nlisteners.ssl.1 = 127.0.0.1:{port}\nssl_options.cacertfile = {}\n\
         ssl_options.certfile = {}\nssl_options.keyfile = {}\nssl_options.verify = verify_peer\n\
         ssl_options.fail_if_no_peer_cert = true\nauth_mechanisms.1 = EXTERNAL\n\
         ssl_cert_login_from = common_name\ndisk_free_limit.absolute = 50MB\n",
        certificates.path("ca.pem"),
        certificates.path("server.pem"),
        certificates.path("server.key"),
    );
    std::fs::write(home.join("rabbitmq.conf"), configuration).unwrap();
    std::fs::write(home.join("enabled_plugins"), "[rabbitmq_auth_mechanism_ssl].\n").unwrap();
    let cookie = home.join(".erlang.cookie");
    std::fs::write(&cookie, format!("{:016x}", rand::random::<u64>())).unwrap();
    std::fs::set_permissions(&cookie, std::fs::Permissions::from_mode(0o400)).unwrap();
    let mut names = Command::new("epmd");
    names.args(["-port", &epmd.to_string(), "-address", "127.0.0.1"]);
    let names = Group::start(&mut names, &home.join("epmd.log"));
    until_it_listens("epmd", epmd).await;
    // Not the script of Debian's in the path, which changes to a user that may not read this folder.
    let debian = Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
    let mut node = Command::new(if debian.exists() { debian } else { Path::new("rabbitmq-server") });
    node.current_dir(home)
        .env("HOME", home)
        .env("ERL_EPMD_PORT", epmd.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODENAME", format!("tls{epmd}@localhost"))
        .env("RABBITMQ_DIST_PORT", distribution.to_string())
        .env("RABBITMQ_MNESIA_BASE", home.join("data"))
        .env("RABBITMQ_LOG_BASE", home.join("log"))
        .env("RABBITMQ_CONFIG_FILE", home.join("rabbitmq.conf"))
        .env("RABBITMQ_CONF_ENV_FILE", home.join("none"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", home.join("enabled_plugins"))
        .env("RABBITMQ_PID_FILE", home.join("pid"))
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none");
    let node = Group::start(&mut node, &home.join("out.log"));
    until_it_listens("RabbitMQ with TLS", port).await;
    OwnServer { port, processes: vec![node, names], again: None, _dir: dir }
}

/// A MariaDB with TLS, and with a database `edxapp` for `root`, who has no password.
pub(crate) async fn mariadb(certificates: &Certificates) -> OwnServer {
    mariadb_with(certificates, &[]).await
}

/// The same with these options.
pub(crate) async fn mariadb_with(certificates: &Certificates, more: &[&str]) -> OwnServer {
    let dir = tempfile::tempdir().unwrap();
    let (home, port) = (dir.path(), free_port());
    let data = folder(home, "data");
    let user = Command::new("id").arg("-un").output().unwrap().stdout;
    let user = format!("--user={}", String::from_utf8(user).unwrap().trim());
    let place = format!("--datadir={}", data.display());
    // A MariaDB that starts removes other servers' temporary tables from a folder that they share.
    let temporary = folder(home, "tmp");
    let made = Command::new("mariadb-install-db")
        .env("TMPDIR", &temporary)
        .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", &user, &place])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::create_dir(data.join("edxapp")).unwrap();
    let mut options = vec![
        "--no-defaults".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
        "--skip-name-resolve".to_owned(),
        "--innodb-buffer-pool-size=32M".to_owned(),
        format!("--port={port}"),
        user,
        place,
    ];
    for (option, path) in [
        ("socket", home.join("socket").display().to_string()),
        ("pid-file", home.join("pid").display().to_string()),
        ("tmpdir", temporary.display().to_string()),
        ("ssl-ca", certificates.path("ca.pem")),
        ("ssl-cert", certificates.path("server.pem")),
        ("ssl-key", certificates.path("server.key")),
    ] {
        options.push(format!("--{option}={path}"));
    }
    options.extend(more.iter().map(|option| (*option).to_owned()));
    let log = home.join("out.log");
    let start = move || Group::start(Command::new("mariadbd").args(&options), &log);
    let processes = vec![start()];
    until_it_listens("MariaDB with TLS", port).await;
    OwnServer { port, processes, again: Some(("TERM", Box::new(start))), _dir: dir }
}

/// A PostgreSQL that takes nothing but TLS, with a superuser `postgres` who has no password.
pub(crate) async fn postgres(certificates: &Certificates) -> OwnServer {
    let dir = tempfile::tempdir().unwrap();
    let (home, port) = (dir.path(), free_port());
    let (data, owner) = (home.join("data"), unprivileged());
    for file in ["server.pem", "server.key"] {
        std::fs::copy(certificates.path(file), home.join(file)).unwrap();
    }
    std::fs::set_permissions(home.join("server.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    if let Some((user, group)) = owner {
        for path in [home.to_owned(), home.join("server.pem"), home.join("server.key")] {
            chown(path, Some(user), Some(group)).unwrap();
        }
    }
    let (folder, of) = (home.to_owned(), data.clone());
    let program = move |name: &str| {
        let mut command = Command::new(postgres_program(name));
        command.current_dir(&folder).env("HOME", &folder).env("LC_ALL", "C.UTF-8").arg("-D").arg(&of);
        if let Some((user, group)) = owner {
            command.uid(user).gid(group);
        }
        command
    };
    let made = program("initdb").args(["-U", "postgres", "--auth=trust", "--no-sync"]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::write(data.join("pg_hba.conf"), "hostssl all all 127.0.0.1/32 trust\n").unwrap();
    let files = ["server.pem", "server.key"].map(|file| home.join(file).display().to_string());
    let settings = [
        "unix_socket_directories=".to_owned(),
        "ssl=on".to_owned(),
        format!("ssl_cert_file={}", files[0]),
        format!("ssl_key_file={}", files[1]),
    ];
    let log = home.join("out.log");
    let start = move || {
        let mut server = program("postgres");
        server.args(["-h", "127.0.0.1", "-p", &port.to_string()]);
        for setting in &settings {
            server.args(["-c", setting]);
        }
        Group::start(&mut server, &log)
    };
    let processes = vec![start()];
    until_it_listens("PostgreSQL with TLS", port).await;
    OwnServer { port, processes, again: Some(("INT", Box::new(start))), _dir: dir }
}

/// User and group to run PostgreSQL as where the test is root: it does not start as root.
fn unprivileged() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| -> u32 {
        let out = Command::new("id").args(arguments).output().unwrap().stdout;
        String::from_utf8(out).unwrap().trim().parse().unwrap()
    };
    (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])))
}

/// Debian keeps the programs of the server out of the path.
fn postgres_program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let found = versions.map(|version| version.unwrap().path().join("bin").join(name));
    found.filter(|path| path.exists()).max().unwrap_or_else(|| PathBuf::from(name))
}
