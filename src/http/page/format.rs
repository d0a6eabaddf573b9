//! Numbers, times and ids as text for the page.

use std::borrow::Borrow;
use std::fmt::Display;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use url::form_urlencoded::byte_serialize;

use super::{App, Links};
use crate::clock;
use crate::model::text::is_plain;

/// What every page has beside its own: when it was made, its path in the list of pages, and where it leads.
pub(super) struct Frame {
    pub(super) now: DateTime<Utc>,
    pub(super) path: &'static str,
    pub(super) links: Links,
}

impl Frame {
    pub(super) fn new(app: &App, path: &'static str) -> Self {
        Self { now: clock::now(), path, links: app.links.clone() }
    }

    /// A time of day to the minute, with the day unless it is today.
    pub(super) fn moment(&self, at: &DateTime<Utc>) -> String {
        let form = if at.date_naive() == self.now.date_naive() { "%H:%M" } else { "%-d %b %H:%M" };
        at.format(form).to_string()
    }

    /// How long ago that was.
    pub(super) fn ago(&self, at: &DateTime<Utc>) -> String {
        span(self.now - at)
    }

    /// How long it is until then.
    pub(super) fn ahead(&self, at: &DateTime<Utc>) -> String {
        span(*at - self.now)
    }
}

/// A time to the second.
pub(super) fn exact(at: &DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The page with U+FFFD in place of characters that are invisible or change how their neighbours look: with them one id
/// would look like another.
pub(super) fn visible(page: &str) -> String {
    page.chars().map(|c| if c == '\n' || is_plain(c) { c } else { '\u{fffd}' }).collect()
}

/// The parts of an id or a URL, between which the line may break.
pub(super) fn parts(id: &str) -> impl Iterator<Item = &str> {
    id.split_inclusive([':', '+', '/', '_', '.', '-', '@'])
}

/// A text as the value of a query parameter.
pub(super) fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

/// A length of time in its two largest units.
pub(super) fn span(length: TimeDelta) -> String {
    let seconds = length.num_seconds().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, 0) => format!("{hours} h"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        (_, 0, _) => format!("{days} d"),
        (_, _, _) => format!("{days} d {hours} h"),
    }
}

/// A number with a comma before every third digit from the right.
pub(super) fn number(n: impl Borrow<u64>) -> String {
    let digits = n.borrow().to_string();
    let comma = |at: usize| if at > 0 && (digits.len() - at).is_multiple_of(3) { "," } else { "" };
    digits.chars().enumerate().map(|(at, digit)| format!("{}{digit}", comma(at))).collect()
}

/// A number and its noun: `one` for one, else `many`.
pub(super) fn plural(n: impl Borrow<u64>, one: impl Display, many: impl Display) -> String {
    match n.borrow() {
        1 => format!("1 {one}"),
        n => format!("{} {many}", number(n)),
    }
}

/// The first digits of a trace's id.
pub(super) fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// A text with a capital letter at its beginning.
pub(super) fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or(String::new(), |first| first.to_uppercase().chain(rest).collect())
}

/// A word of the tables as people write it.
pub(super) fn words(word: &str) -> String {
    word.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_stay_the_same(n: u64) {
            prop_assert_eq!(number(n).replace(',', ""), n.to_string());
        }

        #[test]
        fn the_parts_of_an_id_are_all_of_it(id: String) {
            prop_assert_eq!(parts(&id).collect::<String>(), id);
        }
    }

    #[test]
    fn what_is_not_seen_is_shown() {
        assert_eq!(visible("a\u{200b}b\u{202e}\r\n"), "a\u{fffd}b\u{fffd}\u{fffd}\n");
    }

    #[test]
    fn ids_break_between_their_parts() {
        assert_eq!(parts("a:b+<c>").collect::<Vec<_>>(), ["a:", "b+", "<c>"]);
    }

    #[test]
    fn spans_and_moments_are_short() {
        for (seconds, shown) in [
            (-5, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3_600, "1 h"),
            (3_660, "1 h 1 min"),
            (90_000, "1 d 1 h"),
            (86_400, "1 d"),
        ] {
            assert_eq!(span(TimeDelta::seconds(seconds)), shown);
        }
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let frame = Frame { now, path: "./", links: Links::default() };
        assert_eq!(frame.moment(&(now - TimeDelta::hours(1))), "07:00");
        assert_eq!(frame.moment(&(now - TimeDelta::hours(9))), "14 Jan 23:00");
        assert_eq!([1, 999, 1_000, 1_234_567].map(number), ["1", "999", "1,000", "1,234,567"]);
    }
}
