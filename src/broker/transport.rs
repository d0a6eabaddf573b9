//! lapin's stream to the broker: the socket, TLS with the certificates of `amqp.url` if it is used, and the [`Screen`].

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use lapin::tcp::{AsyncTcpStream, OwnedIdentity, OwnedTLSConfig};

use super::screen::Screen;
use crate::config::TlsFiles;

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

/// Four times the size of an operating system's list of authorities.
const MAX_BYTES: u64 = 1024 * 1024;

/// Reads the files that the URL names.
pub(super) fn tls(files: &TlsFiles) -> io::Result<OwnedTLSConfig> {
    let mut config = OwnedTLSConfig::default();
    if let Some(path) = &files.authorities {
        config.cert_chain = Some(pem("cacertfile", path)?);
    }
    if let Some((certificate, key)) = &files.certificate {
        let chain = pem("certfile", certificate)?.into_bytes();
        let key = pem("keyfile", key)?.into_bytes();
        config.identity = Some(OwnedIdentity::PKCS8 { pem: chain, key });
    }
    Ok(config)
}

fn pem(parameter: &str, path: &Path) -> io::Result<String> {
    let read = || {
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let mut text = String::new();
        File::open(path)?.take(MAX_BYTES).read_to_string(&mut text)?;
        if !text.contains("-----BEGIN") {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it has nothing in PEM format"));
        }
        Ok(text)
    };
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("{parameter} {} cannot be used: {error}", path.display()))
    };
    read().map_err(named)
}
