//! One line an event, for people: time, level, name, message, fields.

use std::fmt::{self, Write};

use chrono::SecondsFormat;
use serde_json::Value;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent};
use tracing_subscriber::registry::LookupSpan;

use super::fields::Fields;

use crate::clock;

const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

pub(super) struct Pretty;

impl<S> FormatEvent<S, JsonFields> for Pretty
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let fields = Fields::of(context, event);
        let level = event.metadata().level();
        let colours = writer.has_ansi_escapes();
        let paint = |style: &'static str| if colours { style } else { "" };
        let time = clock::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let (dim, bold, plain) = (paint(DIM), paint(BOLD), paint(PLAIN));
        write!(writer, "{dim}{time}{plain} {}{level:>5}{plain} ", paint(colour(level)))?;
        match &fields.event {
            Some(name) => write!(writer, "{bold}{}{plain}: ", Escaped(name))?,
            None => write!(writer, "{dim}{}{plain}: ", event.metadata().target())?,
        }
        write!(writer, "{}", Escaped(&fields.message))?;
        for (name, value) in &fields.rest {
            write!(writer, " {dim}{name}={plain}")?;
            match value {
                Value::String(text) if is_one_word(text) => write!(writer, "{}", Escaped(text))?,
                other => write!(writer, "{}", Escaped(&other.to_string()))?,
            }
        }
        writeln!(writer)
    }
}

fn colour(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

fn is_one_word(text: &str) -> bool {
    !text.is_empty() && !text.contains([' ', '"', '='])
}

/// Text without control characters, so that nothing from outside can start a line or speak to the terminal.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() || is_invisible(c) {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// Line and paragraph separators, and the marks that turn the direction of text around.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_speaks_to_the_terminal() {
        let text = Escaped("a\nb\x1b[31m\u{202e}é\u{9b}").to_string();
        assert_eq!(text, r"a\nb\u{1b}[31m\u{202e}é\u{9b}");
    }
}
