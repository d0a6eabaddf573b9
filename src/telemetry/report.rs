//! How an error is told: `Display` of an error does not print its source, so that one reporter can print the chain.

/// An error with all its causes, in one line. Some libraries print their cause in their own words too: what is there
/// already is not said again.
pub fn report(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Saying(&'static str, #[source] Option<Box<Saying>>);

    #[test]
    fn each_cause_is_said_once() {
        let refused = Saying("connection refused", None);
        let with_it = Saying("io: connection refused", Some(Box::new(refused)));
        let outer = Saying("cannot connect", Some(Box::new(with_it)));
        assert_eq!(report(&outer), "cannot connect: io: connection refused");
    }
}
