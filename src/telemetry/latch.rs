//! Logs a state once when it begins and once when it ends, instead of each time that it is seen.

use std::sync::atomic::{AtomicBool, Ordering};

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

    #[test]
    fn only_changes_are_logged() {
        let latch = Latch::default();
        assert!(!latch.recovers());
        assert!(latch.fails() && !latch.fails());
        assert!(latch.recovers() && !latch.recovers());
        assert!(latch.fails());
    }
}
