//! A publisher that writes its own frames, for messages that no client library would send.

use course_sharing::config::Amqp;
use lapin::uri::AMQPUri;
use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;

/// Properties with a content type that is not UTF-8.
pub(crate) fn no_utf_8() -> Vec<u8> {
    vec![0x80, 0, 3, 0xff, 0xfe, b'x']
}

/// Properties with one header of arrays, each in the one before; a frame of 128 KiB has room for some 26,000.
pub(crate) fn nested(levels: u32) -> Vec<u8> {
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
pub(crate) async fn publish(
    config: &Amqp,
    exchange: &str,
    routing_key: &str,
    properties: &[u8],
    body: &[u8],
) {
    let uri: AMQPUri = config.url.expose_secret().parse().unwrap();
    let stream = TcpStream::connect((uri.authority.host.as_str(), uri.authority.port)).await.unwrap();
    let mut wire = Wire(stream);
    wire.0.write_all(b"AMQP\0\0\x09\x01").await.unwrap();
    wire.until([10, 10]).await;
    let user = uri.authority.userinfo;
    let response = format!("\0{}\0{}", user.username, user.password);
    let response = [&(response.len() as u32).to_be_bytes()[..], response.as_bytes()].concat();
    wire.method(0, [10, 11], &[&[0; 4][..], &short("PLAIN"), &response, &short("en_US")].concat()).await;
    let tune = wire.until([10, 30]).await;
    wire.method(0, [10, 31], &[&tune[4..10], &[0, 0]].concat()).await;
    wire.method(0, [10, 40], &[&short(&uri.vhost)[..], &[0, 0]].concat()).await;
    wire.until([10, 41]).await;
    wire.method(1, [20, 10], &[0]).await;
    wire.until([20, 11]).await;
    wire.method(1, [85, 10], &[0]).await;
    wire.until([85, 11]).await;
    wire.method(1, [60, 40], &[&[0, 0][..], &short(exchange), &short(routing_key), &[0]].concat()).await;
    let size = (body.len() as u64).to_be_bytes();
    wire.frame(HEADER, 1, &[&[0, 60, 0, 0][..], &size, properties].concat()).await;
    wire.frame(BODY, 1, body).await;
    wire.until([60, 80]).await;
}

fn short(text: &str) -> Vec<u8> {
    [&[text.len() as u8][..], text.as_bytes()].concat()
}

struct Wire(TcpStream);

impl Wire {
    async fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let mut frame = vec![kind];
        frame.extend(channel.to_be_bytes());
        frame.extend((payload.len() as u32).to_be_bytes());
        frame.extend(payload);
        frame.push(0xce);
        self.0.write_all(&frame).await.unwrap();
    }

    async fn method(&mut self, channel: u16, [class, method]: [u8; 2], arguments: &[u8]) {
        self.frame(METHOD, channel, &[&[0, class, 0, method][..], arguments].concat()).await;
    }

    /// The next frame, which has to be this method; heartbeats aside.
    async fn until(&mut self, [class, method]: [u8; 2]) -> Vec<u8> {
        loop {
            let kind = self.0.read_u8().await.expect("a broker that stays");
            let _channel = self.0.read_u16().await.unwrap();
            let mut payload = vec![0; self.0.read_u32().await.unwrap() as usize + 1];
            self.0.read_exact(&mut payload).await.unwrap();
            if kind == METHOD {
                let said = String::from_utf8_lossy(&payload).into_owned();
                assert_eq!(payload[..4], [0, class, 0, method], "{said}");
                return payload;
            }
        }
    }
}
