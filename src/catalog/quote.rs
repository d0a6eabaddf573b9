//! Quotes text from outside in errors, so that it fits into a log line and shows no secret.

use crate::model::text::cut;

/// The start of a body for a log line: one line of at most 120 characters, with control characters escaped and without
/// `secret`. Of a web page only its text.
pub(super) fn quote(body: &[u8], secret: Option<&str>) -> String {
    const LOOKED_AT: usize = 4096;
    const SHOWN: usize = 120;
    let mut text = String::from_utf8_lossy(&body[..body.len().min(LOOKED_AT)]).into_owned();
    if let Some(secret) = secret.filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "***");
    }
    if text.trim_start().starts_with('<') {
        text = format!("an HTML page: {}", visible_text(&text));
    }
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        for c in word.chars() {
            if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
        }
        if line.len() > 4 * SHOWN {
            break;
        }
    }
    cut(&line, SHOWN)
}

/// The text of a web page, without tags, styles and scripts.
fn visible_text(page: &str) -> String {
    let mut text = String::new();
    let mut rest = page;
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        text.push(' ');
        let name = tag.get(..6).unwrap_or(tag).to_ascii_lowercase();
        let end = if name.starts_with("style") {
            "</style"
        } else if name.starts_with("script") {
            "</script"
        } else if name.starts_with("!--") {
            "-->"
        } else {
            ""
        };
        let after = tag.find(end).map_or("", |at| &tag[at..]);
        rest = after.split_once('>').map_or("", |(_, rest)| rest);
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_web_page_only_the_text_is_quoted() {
        for (page, text) in [
            (
                "<html><head><title>502 Bad Gateway</title><style>h1 { color: red }</style></head><h1>Sorry",
                "502 Bad Gateway Sorry",
            ),
            ("<!DOCTYPE html><!-- a > b --><script>if (a < b) {}</script>Log in", "Log in"),
            ("<html", ""),
            ("<", ""),
            ("<é", ""),
        ] {
            let quoted = quote(page.as_bytes(), None);
            assert_eq!(quoted, format!("an HTML page: {text}").trim_end(), "{page}");
        }
    }

    #[test]
    fn text_from_outside_is_one_short_line() {
        assert_eq!(quote(b"<html>\n  <h1>Bad\x1b[31m\0</h1>", None), "an HTML page: Bad\\u{1b}[31m\\u{0}");
        assert_eq!(quote(&b"x".repeat(10_000), None).chars().count(), 121);
        assert_eq!(quote(b"\xff\xfe", None), "\u{fffd}\u{fffd}");
        assert_eq!(quote(b"", None), "");
    }

    #[test]
    fn a_body_that_echoes_the_token_is_quoted_without_it() {
        assert_eq!(quote(b"you sent JWT abc.def.ghi", Some("abc.def.ghi")), "you sent JWT ***");
    }
}
