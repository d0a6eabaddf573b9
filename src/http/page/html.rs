//! Text, times and numbers as HTML. Whatever is shown goes through here, so that nothing from outside can be markup.

use std::fmt::{self, Display, Formatter, Write};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// A text as it is, to be written between tags or into a quoted attribute.
pub(super) struct Text<'t>(pub(super) &'t str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // A right-to-left override or the like would show one id as another.
                '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    f.write_char('\u{fffd}')?;
                }
                c if c.is_control() => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A course's id, which may be broken where its parts end.
pub(super) struct Id<'t>(pub(super) &'t str);

impl Display for Id<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for part in self.0.split_inclusive([':', '+', '/', '_', '.', '-', '@']) {
            write!(f, "{}<wbr>", Text(part))?;
        }
        Ok(())
    }
}

/// A moment, to the minute: with the day, unless it is today.
pub(super) struct Moment {
    pub(super) at: DateTime<Utc>,
    pub(super) now: DateTime<Utc>,
}

impl Display for Moment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let exact = self.at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let form = if self.at.date_naive() == self.now.date_naive() { "%H:%M" } else { "%-d %b %H:%M" };
        write!(f, "<time datetime=\"{exact}\">{}</time>", self.at.format(form))
    }
}

/// How long ago something was, or how long it took, in its two largest units.
pub(super) struct Span(pub(super) TimeDelta);

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let seconds = self.0.num_seconds().max(0);
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{seconds} s"),
            (0, 0, _) => write!(f, "{minutes} min"),
            (0, _, 0) => write!(f, "{hours} h"),
            (0, _, _) => write!(f, "{hours} h {minutes} min"),
            (_, 0, _) => write!(f, "{days} d"),
            (_, _, _) => write!(f, "{days} d {hours} h"),
        }
    }
}

/// A number with its thousands told apart.
pub(super) struct Number(pub(super) u64);

impl Display for Number {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (n, digit) in digits.chars().enumerate() {
            if n > 0 && (digits.len() - n).is_multiple_of(3) {
                f.write_char(',')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

/// `one` for one, else `many`.
pub(super) fn plural(n: u64, one: &'static str, many: &'static str) -> &'static str {
    if n == 1 { one } else { many }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_text_can_leave_its_place(text: String) {
            let shown = Text(&text).to_string();
            prop_assert!(!shown.contains(['<', '>', '"', '\'']) && !shown.chars().any(char::is_control));
            let bare = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"].iter().fold(shown, |s, e| s.replace(e, ""));
            prop_assert!(!bare.contains('&'));
        }

        #[test]
        fn numbers_stay_the_same(n: u64) {
            prop_assert_eq!(Number(n).to_string().replace(',', ""), n.to_string());
        }
    }

    #[test]
    fn ids_break_between_their_parts() {
        assert_eq!(Id("a:b+<c>").to_string(), "a:<wbr>b+<wbr>&lt;c&gt;<wbr>");
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
            assert_eq!(Span(TimeDelta::seconds(seconds)).to_string(), shown);
        }
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let today = Moment { at: now - TimeDelta::hours(1), now }.to_string();
        assert_eq!(today, "<time datetime=\"2027-01-15T07:00:00Z\">07:00</time>");
        let before = Moment { at: now - TimeDelta::hours(9), now }.to_string();
        assert_eq!(before, "<time datetime=\"2027-01-14T23:00:00Z\">14 Jan 23:00</time>");
        assert_eq!(
            [1, 999, 1_000, 1_234_567].map(|n| Number(n).to_string()),
            ["1", "999", "1,000", "1,234,567"]
        );
    }
}
