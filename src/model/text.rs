//! Cuts texts from outside to a length before they are shown, logged or kept.

/// `text`, or its first `chars` characters and an ellipsis.
pub fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_fits_stays_and_a_longer_one_is_cut_at_a_character() {
        assert_eq!([cut("", 0), cut("é", 1), cut("éa", 1)], ["", "é", "é…"]);
    }
}
