//! A TCP proxy in front of a server: a wire that can be cut, frozen, lost, silenced or made slow at will.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Passes connections on to one address. Ends with its handle.
pub struct Proxy {
    address: SocketAddr,
    wire: watch::Sender<Wire>,
    task: JoinHandle<()>,
}

/// What becomes of connections; each of the counts is the fate of those that were there before it.
#[derive(Clone, Copy, Default)]
struct Wire {
    cuts: u32,
    losses: u32,
    silences: u32,
    frozen: bool,
    delay: Duration,
}

impl Proxy {
    /// Listens on a free port of this machine for connections to `target`.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn start(target: impl ToSocketAddrs + Clone + Send + Sync + 'static) -> anyhow::Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), target).await
    }

    /// The same at this address, as of a server that was away and comes.
    ///
    /// # Errors
    /// If somebody else listens there.
    pub async fn start_at(
        address: SocketAddr,
        target: impl ToSocketAddrs + Clone + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let wire = watch::Sender::default();
        let watched = wire.clone();
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(pass_on(near, target.clone(), watched.subscribe()));
            }
        });
        Ok(Self { address, wire, task })
    }

    /// Where to connect to instead of the target.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port of that.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Ends all connections; whether there was any. New ones are served.
    pub fn cut(&self) -> bool {
        let is_used = self.wire.receiver_count() > 0;
        self.wire.send_modify(|wire| wire.cuts += 1);
        is_used
    }

    /// Keeps all connections open, accepts new ones, and lets nothing through, as a dead network does.
    pub fn freeze(&self) {
        self.wire.send_modify(|wire| wire.frozen = true);
    }

    /// Lets everything through again, what has piled up first.
    pub fn resume(&self) {
        self.wire.send_modify(|wire| wire.frozen = false);
    }

    /// Keeps the connections there are open for ever, and lets nothing through them; new ones are served.
    pub fn lose(&self) {
        self.wire.send_modify(|wire| wire.losses += 1);
    }

    /// Every connection there is becomes a black hole: it stays open, takes what the client sends, and answers nothing.
    /// The server's side ends, as where its machine was replaced. New ones are served.
    pub fn silence(&self) {
        self.wire.send_modify(|wire| wire.silences += 1);
    }

    /// New connections wait this long before they reach the server.
    pub fn delay(&self, how_long: Duration) {
        self.wire.send_modify(|wire| wire.delay = how_long);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

/// One connection. Both ends close as the sockets are dropped, in the middle of a frame if it comes to that.
async fn pass_on(mut near: TcpStream, target: impl ToSocketAddrs, wire: watch::Receiver<Wire>) {
    let at_first = *wire.borrow();
    let (mut cut, mut silence) = (wire.clone(), wire.clone());
    let cut = cut.wait_for(|wire| wire.cuts != at_first.cuts);
    let passing = async {
        tokio::time::sleep(at_first.delay).await;
        let Ok(mut far) = TcpStream::connect(target).await else { return };
        let (from_near, to_near) = near.split();
        let (from_far, to_far) = far.split();
        let both = async {
            tokio::join!(copy(from_near, to_far, wire.clone()), copy(from_far, to_near, wire.clone()))
        };
        tokio::select! {
            _ = both => return,
            _ = silence.wait_for(|wire| wire.silences != at_first.silences) => drop(far),
        }
        // Ends when the client gives the connection up.
        let _ = tokio::io::copy(&mut near, &mut tokio::io::sink()).await;
    };
    tokio::select! {
        () = passing => {}
        _ = cut => {}
    }
}

/// One direction of one connection, until its end, which is passed on as well.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut wire: watch::Receiver<Wire>,
) {
    let mut buffer = vec![0; 16 * 1024];
    let losses = wire.borrow().losses;
    loop {
        let read = from.read(&mut buffer).await;
        if wire.wait_for(|wire| !wire.frozen && wire.losses == losses).await.is_err() {
            return;
        }
        match read {
            Ok(read @ 1..) if to.write_all(&buffer[..read]).await.is_ok() => {}
            _ => break,
        }
    }
    let _ = to.shutdown().await;
}
