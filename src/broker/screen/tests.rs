//! Frames from the broker, and what is passed on to lapin.

use super::*;
use proptest::prelude::*;

/// A frame with this payload.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind, 0, 1];
    frame.extend((payload.len() as u32).to_be_bytes());
    frame.extend(payload);
    frame.push(FRAME_END);
    frame
}

/// A content header for a body of seven bytes.
fn content_header(properties: &[u8]) -> Vec<u8> {
    let mut payload = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    payload.extend(properties);
    frame(HEADER, &payload)
}

/// Properties that are these headers alone.
fn only_headers(table: &[u8]) -> Vec<u8> {
    let mut properties = HAS_HEADERS.to_be_bytes().to_vec();
    properties.extend((table.len() as u32).to_be_bytes());
    properties.extend(table);
    properties
}

/// A header `h` of arrays, one in the other.
fn nested(levels: usize) -> Vec<u8> {
    let mut table = vec![1, b'h'];
    for level in 0..levels {
        table.push(b'A');
        table.extend((5 * (levels - 1 - level) as u32).to_be_bytes());
    }
    table
}

fn passed(frames: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Screen::new(None).pass(frames, &mut out);
    out
}

/// The headers of a screened content header, which lapin can read now.
fn read(header: &[u8]) -> FieldTable {
    let properties = &header[FRAME_START + BEFORE_PROPERTIES..header.len() - 1];
    let (rest, properties) = parse_properties(properties).expect("what lapin can read");
    assert!(rest.is_empty());
    properties.headers().clone().unwrap_or_default()
}

fn why(header: &[u8]) -> String {
    match read(header).inner().get(UNREADABLE) {
        Some(AMQPValue::LongString(why)) => why.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_lapin_can_read_is_unchanged() {
    for properties in [vec![0, 0], only_headers(&[]), only_headers(&nested(MAX_DEPTH - 1))] {
        let header = content_header(&properties);
        assert_eq!(passed(&header), header);
    }
    let others = [frame(3, b"body"), frame(8, b""), frame(METHOD, b"\0\x0a\0\x0a")].concat();
    assert_eq!(passed(&others), others);
}

#[test]
fn nested_headers_of_any_depth_are_replaced() {
    for levels in [MAX_DEPTH, 1500, 26_000] {
        let properties = only_headers(&nested(levels));
        let body = frame(3, b"{\"a\": 1}");
        let out = passed(&[content_header(&properties), body.clone()].concat());
        let header = out.strip_suffix(&*body).expect("the body as it was");
        assert!(why(header).contains("nested more than 32 levels"), "{}", why(header));
        assert_eq!(header[FRAME_START..FRAME_START + BEFORE_PROPERTIES][11], 7, "the body's size stays");
        let Some(AMQPValue::ByteArray(kept)) = read(header).inner().get(PROPERTIES).cloned() else {
            panic!("no properties")
        };
        assert!(properties.starts_with(kept.as_slice()), "{levels}");
        assert_eq!(kept.len(), properties.len().min(MAX_KEPT));
    }
}

#[test]
fn what_is_not_utf_8_is_replaced() {
    let content_type = [&HAS_CONTENT_TYPE.to_be_bytes()[..], b"\x02\xff\xfe"].concat();
    let name = only_headers(b"\x01\xffV");
    let unknown_type = only_headers(b"\x01hz");
    let cut = only_headers(b"\x01hS\0\0\xff\xffabc");
    for properties in [content_type, name, unknown_type, cut, vec![0x20, 0, 0, 0, 0, 9]] {
        assert!(why(&passed(&content_header(&properties))).contains("not UTF-8"), "{properties:?}");
    }
}

#[test]
fn a_header_larger_than_a_frame_may_be_is_replaced_by_one_that_fits() {
    let value = [b"\x01hS", &80_000_u32.to_be_bytes()[..], &[b'x'; 80_000]].concat();
    let header = content_header(&only_headers(&value));
    assert_eq!(passed(&header), header);
    // channel_max, frame_max, heartbeat
    let tune = frame(METHOD, &[0, 10, 0, 30, 0, 0, 0, 0, 0x20, 0, 0, 60]);
    let out = passed(&[tune.clone(), header].concat());
    let header = out.strip_prefix(&*tune).unwrap();
    assert!(why(header).contains("more than 8192 bytes (80"), "{}", why(header));
    let huge = content_header(&vec![0; 2 * MAX_FRAME]);
    let out = passed(&[huge, frame(8, b"")].concat());
    assert!(out.ends_with(&frame(8, b"")) && out.len() < 100_000);
}

#[test]
fn names_in_a_delivery_become_readable() {
    let deliver = |exchange: &[u8], key: &[u8]| {
        let mut payload = b"\0\x3c\0\x3c\x03tag\0\0\0\0\0\0\0\x01\0".to_vec();
        for text in [exchange, key] {
            payload.push(text.len() as u8);
            payload.extend(text);
        }
        frame(METHOD, &payload)
    };
    assert_eq!(passed(&deliver(b"\xffx", b"k\xc3")), deliver(b"?x", b"k?"));
    let sound = deliver("caf\u{e9}".as_bytes(), b"course-publish");
    assert_eq!(passed(&sound), sound);
}

proptest! {
    #[test]
    fn in_whatever_pieces_it_comes_and_whatever_it_is_lapin_can_read_it(
        properties in prop::collection::vec(any::<u8>(), 2..60),
        table in prop::collection::vec(prop::sample::select(b"\0\x01\x02AFSxVtIlhz\xff".to_vec()), 0..60),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..9),
    ) {
        for properties in [properties, only_headers(&table)] {
            let frames = [content_header(&properties), frame(3, b"1234567"), frame(8, b"")].concat();
            let whole = passed(&frames);
            read(&whole[..whole.len() - 8 - 15]);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(frames.len())).collect();
            cuts.sort_unstable();
            let (mut screen, mut out, mut from) = (Screen::new(None), Vec::new(), 0);
            for to in cuts.into_iter().chain([frames.len()]) {
                screen.pass(&frames[from..to], &mut out);
                from = to;
            }
            prop_assert_eq!(out, whole);
        }
    }
}
