//! A TCP proxy in front of the broker, whose connections can be cut at will.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Passes bytes on to a port until told to cut.
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) port: u16,
    cut: Arc<watch::Sender<u64>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// One in front of a local port.
    pub(crate) async fn start(to: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let cut = Arc::new(watch::Sender::new(0));
        let cuts = Arc::clone(&cut);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, SocketAddr::from(([127, 0, 0, 1], to)), cuts.subscribe()));
            }
        });
        Ok(Self { port, cut, task })
    }

    /// Cuts every connection there is now; says how many there were. New ones are let in.
    pub(crate) fn cut(&self) -> usize {
        let open = self.cut.receiver_count();
        self.cut.send_modify(|cuts| *cuts += 1);
        open
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn pass_on(mut client: TcpStream, to: SocketAddr, mut cut: watch::Receiver<u64>) {
    let Ok(mut server) = TcpStream::connect(to).await else { return };
    // Both halves close as the sockets are dropped, in the middle of a frame if it comes to that.
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        _ = cut.changed() => {}
    }
}
