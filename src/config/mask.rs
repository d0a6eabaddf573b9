//! URLs and quotations of them, less the passwords in them: for logs, errors and whatever else is shown.

/// The URL with any user name kept and any password masked, and a query that may hold one; for logs and error
/// messages. It goes by the text, not by a parser: a password with `/`, `?`, `#` or `@` in it, not encoded, ends for
/// a parser where it should not, and the rest of it would be shown.
pub(crate) fn without_password(url: &str) -> String {
    let is_scheme =
        |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    let shown = match url.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) && (rest.starts_with("//") || !rest.contains('@')) => {
            mask(url)
        }
        _ => return "(not a URL)".to_owned(),
    };
    match shown.split_once('?') {
        Some((before, query)) if may_hold_a_secret(query) => format!("{before}?***"),
        _ => shown,
    }
}

/// A text that may quote a URL, with everything masked from the first `:` after `//` to the last `@`.
pub(super) fn mask(text: &str) -> String {
    let masked = || {
        let from = text.find("//")? + 2;
        let colon = from + text[from..].find(':')? + 1;
        let at = text.rfind('@').filter(|at| colon <= *at)?;
        Some(format!("{}***{}", &text[..colon], &text[at..]))
    };
    masked().unwrap_or_else(|| text.to_owned())
}

fn may_hold_a_secret(query: &str) -> bool {
    let query = query.to_ascii_lowercase();
    ["pass", "secret", "token"].iter().any(|word| query.contains(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn urls_are_shown_as_far_as_they_are_no_secret() {
        for (url, shown) in [
            ("amqp://u:hush@h/x", "amqp://u:***@h/x"),
            ("amqp://u:hu@s/h#?:@h:5672/x", "amqp://u:***@h:5672/x"),
            ("amqp://u:1/ush@h/x", "amqp://u:***@h/x"),
            ("mysql://h:3306/edxapp?ssl-mode=REQUIRED", "mysql://h:3306/edxapp?ssl-mode=REQUIRED"),
            ("postgres://u@h/db?password=hush", "postgres://u@h/db?***"),
            ("sqlite::memory:", "sqlite::memory:"),
            ("sqlite:///tmp/a@b.db?mode=rwc", "sqlite:///tmp/a@b.db?mode=rwc"),
            ("http://[::1]:8080/", "http://[::1]:8080/"),
            ("u:hush@h", "(not a URL)"),
            ("hush and more: //u@h", "(not a URL)"),
            ("hush", "(not a URL)"),
            ("", "(not a URL)"),
        ] {
            assert_eq!(without_password(url), shown, "{url}");
        }
    }

    proptest! {
        #[test]
        fn no_part_of_a_password_is_shown(password in "\\PC{1,20}") {
            let url = format!("amqp://user:{password}@host/x");
            prop_assert_eq!(without_password(&url), "amqp://user:***@host/x");
            prop_assert_eq!(mask(&format!("invalid: \"{url}\"")), "invalid: \"amqp://user:***@host/x\"");
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,40}|[a-z:/@?é]{0,20}") {
            let _ = without_password(&text);
        }
    }
}
