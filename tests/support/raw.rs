//! A publisher that writes its own frames, for messages that no client library would send.

use std::time::Duration;

use amq_protocol_uri::AMQPUri;
use anyhow::{Context, anyhow, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A broker on a busy machine takes more than 10 s to read headers as deep as [`DEEPEST`].
const LIMIT: Duration = Duration::from_secs(120);
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;

/// As many levels of [`nested`] as a frame carries, which is of 128 KiB by RabbitMQ's own limit.
pub const DEEPEST: u32 = 26_208;

/// Properties with a content type that is not UTF-8.
pub fn no_utf_8() -> Vec<u8> {
    vec![0x80, 0, 3, 0xff, 0xfe, b'x']
}

/// Properties with one header of arrays, each in the one before.
pub fn nested(levels: u32) -> Vec<u8> {
    let mut table = vec![1, b'h'];
    for inside in (0..levels).rev() {
        table.push(b'A');
        table.extend((5 * inside).to_be_bytes());
    }
    let mut properties = vec![0x20, 0];
    properties.extend((table.len() as u32).to_be_bytes());
    properties.extend(table);
    properties
}

/// Sends one message with these properties, as on the wire, and waits until the broker has confirmed it.
///
/// # Errors
/// If the broker does not take it.
pub async fn publish(
    url: &str,
    exchange: &str,
    routing_key: &str,
    properties: &[u8],
    body: &[u8],
) -> anyhow::Result<()> {
    let uri: AMQPUri = url.parse().map_err(|error| anyhow!("{error}"))?;
    let publishing = async {
        let mut wire = open(&uri).await?;
        wire.method(1, [60, 40], &[&[0, 0][..], &short(exchange), &short(routing_key), &[0]].concat())
            .await?;
        let size = (body.len() as u64).to_be_bytes();
        wire.frame(HEADER, 1, &[&[0, 60, 0, 0][..], &size, properties].concat()).await?;
        wire.frame(BODY, 1, body).await?;
        wire.until([60, 80]).await
    };
    tokio::time::timeout(LIMIT, publishing).await.context("the broker does not answer")??;
    Ok(())
}

/// A connection, its channel 1, and confirms on it.
async fn open(uri: &AMQPUri) -> anyhow::Result<Wire> {
    let mut wire = Wire(TcpStream::connect((uri.authority.host.as_str(), uri.authority.port)).await?);
    wire.0.write_all(b"AMQP\0\0\x09\x01").await?;
    wire.until([10, 10]).await?;
    let user = &uri.authority.userinfo;
    let response = format!("\0{}\0{}", user.username, user.password);
    let response = [&(response.len() as u32).to_be_bytes()[..], response.as_bytes()].concat();
    wire.method(0, [10, 11], &[&[0; 4][..], &short("PLAIN"), &response, &short("en_US")].concat()).await?;
    let tune = wire.until([10, 30]).await?;
    // No heartbeats: it is not for long.
    wire.method(0, [10, 31], &[&tune[4..10], &[0, 0]].concat()).await?;
    wire.method(0, [10, 40], &[&short(&uri.vhost)[..], &[0, 0]].concat()).await?;
    wire.until([10, 41]).await?;
    for (method, answer) in [([20, 10], [20, 11]), ([85, 10], [85, 11])] {
        wire.method(1, method, &[0]).await?;
        wire.until(answer).await?;
    }
    Ok(wire)
}

fn short(text: &str) -> Vec<u8> {
    [&[text.len() as u8][..], text.as_bytes()].concat()
}

struct Wire(TcpStream);

impl Wire {
    async fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) -> anyhow::Result<()> {
        let mut frame = vec![kind];
        frame.extend(channel.to_be_bytes());
        frame.extend((payload.len() as u32).to_be_bytes());
        frame.extend(payload);
        frame.push(0xce);
        Ok(self.0.write_all(&frame).await?)
    }

    async fn method(
        &mut self,
        channel: u16,
        [class, method]: [u8; 2],
        arguments: &[u8],
    ) -> anyhow::Result<()> {
        self.frame(METHOD, channel, &[&[0, class, 0, method][..], arguments].concat()).await
    }

    /// The next method, which has to be this one.
    async fn until(&mut self, [class, method]: [u8; 2]) -> anyhow::Result<Vec<u8>> {
        loop {
            let kind = self.0.read_u8().await?;
            let _channel = self.0.read_u16().await?;
            let mut payload = vec![0; self.0.read_u32().await? as usize + 1];
            self.0.read_exact(&mut payload).await?;
            if kind == METHOD {
                let is_it = payload.starts_with(&[0, class, 0, method]);
                ensure!(is_it, "no {class}.{method}: {}", String::from_utf8_lossy(&payload));
                return Ok(payload);
            }
        }
    }
}
