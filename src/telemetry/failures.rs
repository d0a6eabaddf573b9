//! How failures are logged: each with all its causes, in one line, and a state that lasts only when it begins and when
//! it ends.

use std::sync::atomic::{AtomicBool, Ordering};

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

/// Whether something is failing. Starts as not failing.
#[derive(Debug, Default)]
pub struct Latch(AtomicBool);

impl Latch {
    /// Notes a failure. True for the first one since the last success: log it.
    pub fn fails(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }

    /// Notes a success. True for the first one after a failure: log the recovery.
    pub fn recovers(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
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

    #[test]
    fn only_changes_are_logged() {
        let latch = Latch::default();
        assert!(!latch.recovers());
        assert!(latch.fails() && !latch.fails());
        assert!(latch.recovers() && !latch.recovers());
        assert!(latch.fails());
    }
}
