//! Makes what the broker sends safe for lapin to read.
//!
//! RabbitMQ accepts message properties that lapin cannot read: text that is not UTF-8 ends the connection, and headers
//! nested some hundred levels deep overflow the stack of lapin's thread, as its parser is recursive. Either would happen
//! again at each delivery. So each content header is checked first, without recursion. One that lapin cannot read is
//! replaced by one that says so and has the original bytes. The body is unchanged, and the message arrives like any other.
//! Nothing is replaced on the way to the broker.

use lapin::BasicProperties;
use lapin::protocol::basic::parse_properties;
use lapin::types::{AMQPType, AMQPValue, FieldTable};

use super::headers::{PROPERTIES, UNREADABLE, encoded, long as text};

/// Levels of nested tables and arrays; RabbitMQ's own headers need three.
const MAX_DEPTH: usize = 32;
/// The bytes that are kept of a content header that is replaced.
const MAX_KEPT: usize = 32 * 1024;
/// AMQP's smallest frame_max.
const FRAME_MIN: usize = 4096;
/// The largest content header that is passed on, if the broker's frame_max is not lower.
const MAX_FRAME: usize = 1024 * 1024;

/// Type, channel and size.
const FRAME_START: usize = 7;
const FRAME_END: u8 = 0xCE;
const METHOD: u8 = 1;
const HEADER: u8 = 2;
/// Class, weight and body size, before the properties of a content header.
const BEFORE_PROPERTIES: usize = 12;
/// Flags of the properties.
const HAS_CONTENT_TYPE: u16 = 1 << 15;
const HAS_CONTENT_ENCODING: u16 = 1 << 14;
const HAS_HEADERS: u16 = 1 << 13;

/// Reads the stream of frames, which may come in any pieces.
#[derive(Debug)]
pub(super) struct Screen {
    state: State,
    /// The largest frame that lapin accepts, as agreed with the broker in the handshake.
    frame_max: usize,
}

#[derive(Debug)]
enum State {
    /// Before a frame or in its first bytes.
    Start(Vec<u8>),
    /// In a frame that needs no check; so many of its bytes are missing.
    Passing(usize),
    /// In a frame that is checked when it is complete; so many of its bytes are missing.
    Holding(Vec<u8>, usize),
}

impl Screen {
    /// The screen of one connection; `frame_max` as in `amqp.url`.
    pub(super) fn new(frame_max: Option<u32>) -> Self {
        Self { state: State::Start(Vec::new()), frame_max: limited(frame_max.unwrap_or(0) as usize) }
    }

    /// Takes bytes from the broker, and appends to `out` what lapin may read.
    pub(super) fn pass(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        while !input.is_empty() {
            match &mut self.state {
                State::Start(start) => {
                    input = &input[take(input, FRAME_START - start.len(), start)..];
                    let Some((kind, size)) = frame_start(start) else { continue };
                    let start = std::mem::take(start);
                    self.state = if kind == HEADER || (kind == METHOD && size < FRAME_MIN) {
                        State::Holding(start, size + 1)
                    } else {
                        out.extend(start);
                        State::Passing(size + 1)
                    };
                }
                State::Passing(left) => {
                    let taken = take(input, *left, out);
                    input = &input[taken..];
                    *left -= taken;
                    if *left == 0 {
                        self.state = State::Start(Vec::new());
                    }
                }
                State::Holding(frame, left) => {
                    let taken = input.len().min(*left);
                    // One byte more than the limit marks a larger one.
                    take(&input[..taken], MAX_FRAME + 1 - frame.len(), frame);
                    input = &input[taken..];
                    *left -= taken;
                    if *left == 0 {
                        let frame = std::mem::take(frame);
                        self.state = State::Start(Vec::new());
                        self.check(frame, out);
                    }
                }
            }
        }
    }

    fn check(&mut self, mut frame: Vec<u8>, out: &mut Vec<u8>) {
        if frame[0] == METHOD {
            self.check_method(&mut frame);
        } else if let Some(why) = self.unreadable(&frame) {
            frame = replaced(&frame, &why, self.frame_max);
        }
        out.extend(frame);
    }

    fn check_method(&mut self, frame: &mut [u8]) {
        match frame.get(FRAME_START..FRAME_START + 4) {
            // Connection.Tune: channel_max, frame_max, heartbeat.
            Some([0, 10, 0, 30]) => {
                let frame_max = frame.get(FRAME_START + 6..FRAME_START + 10).map_or(0, long);
                self.frame_max = self.frame_max.min(limited(frame_max));
            }
            // Basic.Deliver: consumer tag, delivery tag, redelivered, exchange, routing key.
            Some([0, 60, 0, 60]) => {
                let tag = usize::from(frame.get(FRAME_START + 4).copied().unwrap_or_default());
                let exchange = FRAME_START + 4 + 1 + tag + 8 + 1;
                let routing_key =
                    exchange + 1 + usize::from(frame.get(exchange).copied().unwrap_or_default());
                make_readable(frame, exchange);
                make_readable(frame, routing_key);
            }
            _ => {}
        }
    }

    /// Why lapin cannot read this content header, if it cannot.
    fn unreadable(&self, frame: &[u8]) -> Option<String> {
        let properties = frame.get(FRAME_START + BEFORE_PROPERTIES..frame.len() - 1)?;
        if frame.len() > self.frame_max {
            return Some(format!("its properties need a frame of more than {} bytes", self.frame_max));
        }
        if headers(properties).is_some_and(|headers| depth(headers) > MAX_DEPTH) {
            return Some(format!("its headers are nested more than {MAX_DEPTH} levels deep"));
        }
        match parse_properties(properties) {
            Ok(([], _)) => None,
            _ => Some("a property is not UTF-8, or its headers are malformed".to_owned()),
        }
    }
}

/// A frame_max within the limits of this module; zero means no limit.
fn limited(frame_max: usize) -> usize {
    if frame_max == 0 { MAX_FRAME } else { frame_max.clamp(FRAME_MIN, MAX_FRAME) }
}

/// Copies at most `limit` bytes of `from`, and returns how many.
fn take(from: &[u8], limit: usize, to: &mut Vec<u8>) -> usize {
    let taken = from.len().min(limit);
    to.extend(&from[..taken]);
    taken
}

/// Type and payload size of a frame, once its first seven bytes have come.
fn frame_start(start: &[u8]) -> Option<(u8, usize)> {
    (start.len() == FRAME_START).then(|| (start[0], long(&start[3..])))
}

fn long(bytes: &[u8]) -> usize {
    bytes.iter().take(4).fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// Replaces what is not UTF-8 in the short text at `at`.
fn make_readable(frame: &mut [u8], at: usize) {
    let Some(length) = frame.get(at).copied() else { return };
    let Some(text) = frame.get_mut(at + 1..at + 1 + usize::from(length)) else { return };
    if std::str::from_utf8(text).is_err() {
        text.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
    }
}

/// The table of headers in the properties, without its length, if there is one.
fn headers(properties: &[u8]) -> Option<&[u8]> {
    let flags = u16::from_be_bytes([*properties.first()?, *properties.get(1)?]);
    let mut rest = &properties[2..];
    for flag in [HAS_CONTENT_TYPE, HAS_CONTENT_ENCODING] {
        if flags & flag != 0 {
            rest = rest.get(1 + usize::from(*rest.first()?)..)?;
        }
    }
    if flags & HAS_HEADERS == 0 {
        return None;
    }
    let length = rest.get(..4).map(long)?;
    Some(&rest[4..rest.len().min(4 + length)])
}

/// How deep lapin's parser would go in this table before its end or the first error.
fn depth(table: &[u8]) -> usize {
    // The end of each open table or array, and whether it is a table, whose values have names.
    let mut open = vec![(table.len(), true)];
    let (mut at, mut deepest) = (0, 1);
    while let Some(&(end, named)) = open.last() {
        if at >= end {
            open.pop();
            continue;
        }
        if named {
            at += 1 + usize::from(table[at]);
        }
        let Some(kind) = table.get(at).and_then(|id| AMQPType::from_id(char::from(*id))) else { break };
        at += 1;
        let length = table.get(at..at + 4).map(long);
        match (kind, length) {
            (AMQPType::FieldTable | AMQPType::FieldArray, Some(length)) => {
                at += 4;
                open.push((table.len().min(at + length), kind == AMQPType::FieldTable));
                deepest = deepest.max(open.len());
            }
            (AMQPType::LongString | AMQPType::ByteArray, Some(length)) => at += 4 + length,
            (kind, _) => match fixed_size(kind) {
                Some(size) => at += size,
                None => break,
            },
        }
    }
    deepest
}

fn fixed_size(kind: AMQPType) -> Option<usize> {
    Some(match kind {
        AMQPType::Void => 0,
        AMQPType::Boolean | AMQPType::ShortShortInt | AMQPType::ShortShortUInt => 1,
        AMQPType::ShortInt | AMQPType::ShortUInt => 2,
        AMQPType::LongInt | AMQPType::LongUInt | AMQPType::Float => 4,
        AMQPType::DecimalValue => 5,
        AMQPType::LongLongInt | AMQPType::LongLongUInt | AMQPType::Double | AMQPType::Timestamp => 8,
        _ => return None,
    })
}

/// Replaces a content header that cannot be read. Class, weight and body size stay; two headers say why and hold the
/// properties, as far as `frame_max` allows.
fn replaced(frame: &[u8], why: &str, frame_max: usize) -> Vec<u8> {
    let payload = &frame[FRAME_START..frame.len() - 1];
    let properties = &payload[BEFORE_PROPERTIES..];
    let around = 256 + why.len();
    let kept = MAX_KEPT.min(frame_max - around).min(properties.len());
    let cut = if kept < properties.len() { format!(" ({} bytes)", properties.len()) } else { String::new() };
    let mut headers = FieldTable::default();
    headers.insert(UNREADABLE.into(), text(&format!("{why}{cut}")));
    headers.insert(PROPERTIES.into(), AMQPValue::ByteArray(properties[..kept].to_vec().into()));
    let properties = encoded(&BasicProperties::default().with_headers(headers));

    let mut new = frame[..3].to_vec();
    new.extend(((BEFORE_PROPERTIES + properties.len()) as u32).to_be_bytes());
    new.extend(&payload[..BEFORE_PROPERTIES]);
    new.extend(properties);
    new.push(FRAME_END);
    new
}

#[cfg(test)]
mod tests;
