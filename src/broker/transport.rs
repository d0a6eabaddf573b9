//! lapin's stream to the broker: the socket, TLS if it is used, and the [`Screen`].

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use lapin::tcp::AsyncTcpStream;

use super::screen::Screen;

/// The most that is read from the socket at once.
const CHUNK: usize = 16 * 1024;

/// tokio's runtime, with screened streams.
pub(super) type Kit = RuntimeParts<Tokio, Screening>;

/// The runtime of the caller.
pub(super) fn runtime() -> Runtime<Kit> {
    Runtime::new(RuntimeParts::new(Tokio::current(), Screening(Tokio::current())))
}

/// tokio's reactor, with screened streams.
#[derive(Clone, Debug)]
pub(super) struct Screening(Tokio);

/// A stream whose incoming frames are checked.
pub(super) struct Screened {
    wire: AsyncTcpStream<<Tokio as Reactor>::TcpStream>,
    screen: Screen,
    chunk: Box<[u8]>,
    /// Ready to be read, from `read` on.
    ready: Vec<u8>,
    read: usize,
}

impl Screened {
    /// Screens this stream; `frame_max` as in `amqp.url`.
    pub(super) fn new(wire: AsyncTcpStream<<Tokio as Reactor>::TcpStream>, frame_max: Option<u32>) -> Self {
        let chunk = vec![0; CHUNK].into_boxed_slice();
        Self { wire, screen: Screen::new(frame_max), chunk, ready: Vec::new(), read: 0 }
    }
}

impl AsyncRead for Screened {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        while this.read == this.ready.len() {
            this.ready.clear();
            this.read = 0;
            let count = ready!(Pin::new(&mut this.wire).poll_read(cx, &mut this.chunk))?;
            if count == 0 {
                return Poll::Ready(Ok(0));
            }
            this.screen.pass(&this.chunk[..count], &mut this.ready);
        }
        let count = buffer.len().min(this.ready.len() - this.read);
        buffer[..count].copy_from_slice(&this.ready[this.read..this.read + count]);
        this.read += count;
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Screened {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(cx, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write_vectored(cx, buffers)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_close(cx)
    }
}

impl Reactor for Screening {
    type TcpStream = Screened;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async move { Ok(Screened::new(AsyncTcpStream::Plain(connecting.await?), None)) }
    }
}
