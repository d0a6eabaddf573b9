//! Messages that no client library would write: a frame at a time, over a bare socket.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A broker on a busy machine takes more than 10 s to read headers as deep as these.
const LIMIT: Duration = Duration::from_secs(120);
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const END: u8 = 0xCE;

/// What comes in one frame at most, by RabbitMQ's own limit; and what a content header has besides its properties.
const FRAME: usize = 131_072;
const FRAME_AROUND: usize = 8;
const BEFORE_PROPERTIES: usize = 12;

/// The flags of the properties that we write; in this order they follow.
const CONTENT_TYPE: u16 = 0x8000;
const HEADERS: u16 = 0x2000;
const DELIVERY_MODE: u16 = 0x1000;
const PERSISTENT: u8 = 2;

/// As class and method.
type Method = (u16, u16);

/// Properties with a header of arrays, one in the other, as deep as one frame can carry: some 26,000 levels.
pub(crate) fn as_deep_as_a_frame_carries() -> Vec<u8> {
    // Flags, the table's size, a name, and the delivery mode.
    const NAME: &[u8] = b"\x04deep";
    const LEVEL: usize = 5;
    let room = FRAME - FRAME_AROUND - BEFORE_PROPERTIES - 2 - 4 - NAME.len() - 1;
    let levels = room / LEVEL;
    let mut table = NAME.to_vec();
    for level in (0..levels).rev() {
        table.push(b'A');
        table.extend(((level * LEVEL) as u32).to_be_bytes());
    }
    let mut properties = (HEADERS | DELIVERY_MODE).to_be_bytes().to_vec();
    properties.extend((table.len() as u32).to_be_bytes());
    properties.extend(table);
    properties.push(PERSISTENT);
    properties
}

/// Properties whose content type is not UTF-8, as AMQP wants it.
pub(crate) fn not_utf8() -> Vec<u8> {
    let mut properties = (CONTENT_TYPE | DELIVERY_MODE).to_be_bytes().to_vec();
    properties.extend(b"\x04\xff\xfe\xfd\xfc");
    properties.push(PERSISTENT);
    properties
}

/// Publishes one message with these properties, and waits until the broker has confirmed it.
///
/// # Errors
/// If the broker does not take it.
pub(crate) async fn publish(port: u16, exchange: &str, properties: &[u8], body: &[u8]) -> anyhow::Result<()> {
    let publishing = async {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
        open(&mut socket).await?;
        let publish = [&[0, 0][..], &short(exchange), &short("course-publish"), &[0]].concat();
        send_method(&mut socket, 1, (60, 40), &publish).await?;
        let size = (body.len() as u64).to_be_bytes();
        let header = [&[0, 60, 0, 0][..], &size, properties].concat();
        send(&mut socket, HEADER, 1, &header).await?;
        send(&mut socket, BODY, 1, body).await?;
        expect(&mut socket, (60, 80)).await
    };
    tokio::time::timeout(LIMIT, publishing).await.context("the broker does not answer")??;
    Ok(())
}

/// A connection, its channel 1, and confirms on it.
async fn open(socket: &mut TcpStream) -> anyhow::Result<()> {
    socket.write_all(b"AMQP\x00\x00\x09\x01").await?;
    expect(socket, (10, 10)).await?;
    let login = b"\0guest\0guest";
    let size = (login.len() as u32).to_be_bytes();
    let start = [&[0; 4][..], &short("PLAIN"), &size, login, &short("en_US")].concat();
    send_method(socket, 0, (10, 11), &start).await?;
    let mut tuned = expect(socket, (10, 30)).await?;
    // No heartbeats: it is not for long.
    if let Some(heartbeat) = tuned.get_mut(6..8) {
        heartbeat.fill(0);
    }
    send_method(socket, 0, (10, 31), &tuned).await?;
    send_method(socket, 0, (10, 40), &[&short("/")[..], &[0, 0]].concat()).await?;
    expect(socket, (10, 41)).await?;
    send_method(socket, 1, (20, 10), &[0]).await?;
    expect(socket, (20, 11)).await?;
    send_method(socket, 1, (85, 10), &[0]).await?;
    expect(socket, (85, 11)).await?;
    Ok(())
}

async fn send_method(
    socket: &mut TcpStream,
    channel: u16,
    method: Method,
    arguments: &[u8],
) -> anyhow::Result<()> {
    let payload = [&method.0.to_be_bytes()[..], &method.1.to_be_bytes(), arguments].concat();
    send(socket, METHOD, channel, &payload).await
}

async fn send(socket: &mut TcpStream, kind: u8, channel: u16, payload: &[u8]) -> anyhow::Result<()> {
    let mut frame = vec![kind];
    frame.extend(channel.to_be_bytes());
    frame.extend((payload.len() as u32).to_be_bytes());
    frame.extend(payload);
    frame.push(END);
    Ok(socket.write_all(&frame).await?)
}

/// The arguments of the next method, which must be this one.
async fn expect(socket: &mut TcpStream, wanted: Method) -> anyhow::Result<Vec<u8>> {
    loop {
        let kind = socket.read_u8().await?;
        let _channel = socket.read_u16().await?;
        let mut payload = vec![0; socket.read_u32().await? as usize];
        socket.read_exact(&mut payload).await?;
        socket.read_u8().await?;
        if kind != METHOD {
            continue;
        }
        let Some((method, arguments)) = payload.split_at_checked(4) else { bail!("a method of no name") };
        let came = (u16::from_be_bytes([method[0], method[1]]), u16::from_be_bytes([method[2], method[3]]));
        if came != wanted {
            bail!("the broker says {came:?} instead of {wanted:?}: {}", String::from_utf8_lossy(arguments));
        }
        return Ok(arguments.to_vec());
    }
}

fn short(text: &str) -> Vec<u8> {
    let mut short = vec![text.len() as u8];
    short.extend(text.as_bytes());
    short
}
