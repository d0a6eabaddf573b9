//! Messages to systemd, where it has started the worker (`Type=notify`): that the worker is ready, that it is alive
//! (`WatchdogSec=`), what it does, and that it stops. The protocol is a datagram of lines; where there is no
//! `NOTIFY_SOCKET`, nothing is sent.

use std::env;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::shutdown::sleeps;
use crate::status::Health;

/// How often the status is sent where there is no watchdog.
const STATUS: Duration = Duration::from_secs(10);

/// Sends the worker's state until `stop`.
pub(super) async fn report(health: Arc<Health>, stop: CancellationToken) {
    if let Some(manager) = Manager::from_env(|name| env::var(name).ok()) {
        manager.report(&health, &stop).await;
    }
}

/// Says that the configuration is being read again, or that it has been.
pub fn reloading(done: bool) {
    if let Some(manager) = Manager::from_env(|name| env::var(name).ok()) {
        manager.send(if done { "READY=1" } else { "RELOADING=1" });
    }
}

struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    /// Between two signs of life: half of what systemd waits for one.
    pause: Duration,
}

impl Manager {
    fn from_env(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let path = variable("NOTIFY_SOCKET")?;
        let address = match path.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(path),
        };
        let socket = UnixDatagram::unbound().ok()?;
        // systemd reads slowly while it is busy; a lost sign of life is followed by another.
        socket.set_nonblocking(true).ok()?;
        let is_ours = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let micros = variable("WATCHDOG_USEC").filter(|_| is_ours).and_then(|micros| micros.parse().ok());
        let pause = micros.map_or(STATUS, |micros: u64| Duration::from_micros(micros.max(2) / 2));
        Some(Self { socket, address: address.ok()?, pause: pause.min(STATUS) })
    }

    /// A broker that is out is no reason for a restart, so the watchdog is fed as long as every job turns.
    async fn report(&self, health: &Health, stop: &CancellationToken) {
        self.send("READY=1");
        loop {
            let verdict = health.verdict(Instant::now());
            let alive = if verdict.overdue().is_empty() { "WATCHDOG=1\n" } else { "" };
            self.send(&format!("{alive}STATUS={}", verdict.in_a_line()));
            if !sleeps(self.pause, stop).await {
                return self.send("STOPPING=1");
            }
        }
    }

    fn send(&self, lines: &str) {
        if let Err(error) = self.socket.send_to_addr(lines.as_bytes(), &self.address) {
            tracing::debug!(event = "systemd.unreachable", %error, "systemd did not get a message");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn systemd_hears_that_the_worker_is_ready_alive_and_stopping() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let systemd = UnixDatagram::bind(&path).unwrap();
        let variables = |name: &str| match name {
            "NOTIFY_SOCKET" => Some(path.to_str().unwrap().to_owned()),
            "WATCHDOG_USEC" => Some("3000000".to_owned()),
            _ => None,
        };
        let manager = Manager::from_env(variables).unwrap();
        assert_eq!(manager.pause, Duration::from_millis(1500));
        let (health, stop) = (Arc::new(Health::new(Instant::now())), CancellationToken::new());
        stop.cancel();
        manager.report(&health, &stop).await;
        let mut buffer = [0; 1000];
        let mut heard = || {
            let length = systemd.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        assert_eq!(
            [heard(), heard(), heard()],
            ["READY=1", "WATCHDOG=1\nSTATUS=no connection to the broker for 0 s", "STOPPING=1"]
        );
    }

    #[test]
    fn without_a_socket_nothing_is_sent() {
        assert!(Manager::from_env(|_| None).is_none());
    }
}
