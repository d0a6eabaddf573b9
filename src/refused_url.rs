//! A URL of the Catalog that must not be shared, as a text that can be kept and shown: short, without a password, and
//! without characters that change how the text around them looks.

use url::Url;

use crate::model::marketing_url::UrlRefused;

/// Characters kept of a text; the columns of our tables hold these and an ellipsis.
const KEPT: usize = 300;

/// What the Catalog lists, and the rule that it breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedUrl {
    /// The URL, for people: cut, with odd characters escaped.
    pub url: String,
    /// Why it is refused, in a line.
    pub why: String,
}

impl RefusedUrl {
    /// `text` is the URL as the Catalog lists it.
    pub fn new(text: &str, why: &UrlRefused) -> Self {
        Self { url: shown(&without_user(text)), why: shown(&why.to_string()) }
    }
}

/// A text from outside as one line of at most 301 characters.
pub fn shown(text: &str) -> String {
    let mut line = String::new();
    let mut room = KEPT;
    for c in text.chars() {
        let piece: String = if is_plain(c) { c.into() } else { c.escape_unicode().collect() };
        let Some(left) = room.checked_sub(piece.chars().count()) else {
            line.push('…');
            break;
        };
        room = left;
        line.push_str(&piece);
    }
    line
}

/// Whether a character is visible and does not change how its neighbours look.
fn is_plain(c: char) -> bool {
    let is_format = matches!(
        c,
        '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}'
    );
    !c.is_control() && !is_format
}

/// The text without anything that may be a user name or a password.
fn without_user(text: &str) -> String {
    let names_nobody = |url: Url| url.username().is_empty() && url.password().is_none();
    // Only the beginning is shown, and a longer text need not be read whole.
    let end = text.char_indices().nth(4 * KEPT).map_or(text.len(), |(at, _)| at);
    let start = &text[..end];
    let (Some(slashes), Some(at)) = (start.find("//"), start.rfind('@')) else { return start.to_owned() };
    if at < slashes || Url::parse(text).is_ok_and(names_nobody) {
        return start.to_owned();
    }
    format!("{}***{}", &start[..slashes + 2], &start[at..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(text: &str) -> String {
        RefusedUrl::new(text, &UrlRefused::Credentials).url
    }

    #[test]
    fn a_password_is_not_kept() {
        assert_eq!(url("https://me:hunter2@campus.example/a"), "https://***@campus.example/a");
        assert_eq!(url("https://me:hunt/er@2@campus.example/a"), "https://***@campus.example/a");
        assert_eq!(url("https://me:hun ter2@campus.example/a"), "https://***@campus.example/a");
        assert_eq!(url("https://elsewhere.example/@me"), "https://elsewhere.example/@me");
        assert_eq!(url("course/@me"), "course/@me");
    }

    #[test]
    fn what_would_change_the_text_around_it_is_escaped() {
        assert_eq!(url("https://e.example/\u{202e}\n\0é"), "https://e.example/\\u{202e}\\u{a}\\u{0}é");
        let why = UrlRefused::Scheme("x".repeat(5000));
        assert_eq!(RefusedUrl::new("x", &why).why.chars().count(), 301);
    }

    proptest! {
        #[test]
        fn whatever_it_is_it_fits_its_column(text in "(\\PC|\\p{C}){0,700}") {
            let shown = RefusedUrl::new(&text, &UrlRefused::TooLong).url;
            prop_assert!(shown.chars().count() <= 301);
            prop_assert!(shown.chars().all(is_plain));
        }
    }
}
