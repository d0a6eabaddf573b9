//! A TCP proxy in front of a server, whose connections can be cut, silenced or made slow at will.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Passes bytes on to a port.
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) port: u16,
    faults: Arc<Faults>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Faults {
    /// Counts the cuts.
    cut: watch::Sender<u64>,
    /// Counts the silences.
    silence: watch::Sender<u64>,
    /// Milliseconds that a new connection waits before it reaches the server.
    delay: AtomicU64,
}

impl Proxy {
    /// One in front of a local port.
    pub(crate) async fn start(to: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let faults = Arc::new(Faults::default());
        let shared = Arc::clone(&faults);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, SocketAddr::from(([127, 0, 0, 1], to)), Arc::clone(&shared)));
            }
        });
        Ok(Self { port, faults, task })
    }

    /// Cuts every connection there is now; says how many there were. New ones are let in.
    pub(crate) fn cut(&self) -> usize {
        let open = self.faults.cut.receiver_count();
        self.faults.cut.send_modify(|cuts| *cuts += 1);
        open
    }

    /// Every connection there is now becomes a black hole: it stays open, takes what the client sends, and answers
    /// nothing. The server's side ends, as where its machine was replaced. New connections are passed on.
    pub(crate) fn silence(&self) {
        self.faults.silence.send_modify(|silences| *silences += 1);
    }

    /// New connections wait this long before they reach the server.
    pub(crate) fn delay(&self, how_long: Duration) {
        let millis = u64::try_from(how_long.as_millis()).unwrap_or(u64::MAX);
        self.faults.delay.store(millis, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn pass_on(mut client: TcpStream, to: SocketAddr, faults: Arc<Faults>) {
    let (mut cut, mut silence) = (faults.cut.subscribe(), faults.silence.subscribe());
    let delay = Duration::from_millis(faults.delay.load(Ordering::Relaxed));
    tokio::time::sleep(delay).await;
    let Ok(mut server) = TcpStream::connect(to).await else { return };
    // Both halves close as the sockets are dropped, in the middle of a frame if it comes to that.
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
        _ = cut.changed() => return,
        _ = silence.changed() => drop(server),
    }
    let mut nowhere = tokio::io::sink();
    tokio::select! {
        // Ends when the client gives the connection up.
        _ = tokio::io::copy(&mut client, &mut nowhere) => {}
        _ = cut.changed() => {}
    }
}
