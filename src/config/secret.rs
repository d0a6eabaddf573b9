//! URLs with passwords in them, fit to be shown.

use url::Url;

/// The URL with any user name kept and any password or query masked; for logs and error messages.
pub fn without_password(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut parsed) => {
            if parsed.password().is_some() {
                // Fails only for URLs that cannot have a password.
                let _ = parsed.set_password(Some("***"));
            }
            if parsed.query().is_some_and(|query| query.to_ascii_lowercase().contains("pass")) {
                parsed.set_query(Some("***"));
            }
            parsed.to_string()
        }
        Err(_) => "(not a URL)".to_owned(),
    }
}
