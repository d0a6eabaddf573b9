//! Texts from outside, fit to be shown, logged or kept: short, in one line, and without characters that change how the
//! text around them looks.

/// Characters kept of a text by [`shown`]; the columns of our tables hold these and an ellipsis.
pub(crate) const KEPT: usize = 300;

/// `text`, or its first `chars` characters and an ellipsis.
pub fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A number of things, as in `1 course` and `2 courses`.
pub fn counted(number: u64, thing: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{s}")
}

/// The text without control characters and those that are not seen, so that nothing from outside can start a line or
/// control a terminal.
pub fn escape(text: &str) -> String {
    let escaped = |c: char| if is_plain(c) { c.into() } else { c.escape_default().collect::<String>() };
    text.chars().map(escaped).collect()
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

/// Whether a character is visible and does not change how its neighbours look. Not so are Unicode's
/// `Default_Ignorable_Code_Point`, its line separators, and the interlinear marks.
pub(crate) fn is_plain(c: char) -> bool {
    let is_format = matches!(
        c,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}'
            | '\u{FFF0}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}'
    );
    !c.is_control() && !is_format
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_fits_stays_and_a_longer_one_is_cut_at_a_character() {
        assert_eq!([cut("", 0), cut("é", 1), cut("éa", 1)], ["", "é", "é…"]);
    }

    #[test]
    fn one_thing_is_not_several() {
        assert_eq!([0, 1, 2].map(|n| counted(n, "link")), ["0 links", "1 link", "2 links"]);
    }

    #[test]
    fn nothing_from_outside_controls_the_terminal() {
        assert_eq!(escape("a\nb\x1b[31m\u{202e}é\u{9b}"), r"a\nb\u{1b}[31m\u{202e}é\u{9b}");
    }
}
