//! How failures are logged: each with all its causes, in one line, and a state that lasts only when it begins and when
//! it ends.

use std::sync::atomic::{AtomicBool, Ordering};

/// Why telemetry cannot be set up. All are faults of configuration, but the last.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log.level` is not in the language of `RUST_LOG`.
    #[error("log.level {level:?}: {why}")]
    Level {
        /// The value.
        level: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// An `OTEL_*` variable has a value that cannot be used.
    #[error("OpenTelemetry ({signal}): the OTEL_EXPORTER_OTLP_* variables cannot be used")]
    Exporter {
        /// `traces` or `metrics`.
        signal: &'static str,
        /// What the exporter says about them.
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// An endpoint that is no URL; without the text, which may hold a password.
    #[error("OpenTelemetry ({signal}): OTEL_EXPORTER_OTLP_ENDPOINT, or the one of {signal}: {why}")]
    Endpoint {
        /// `traces` or `metrics`.
        signal: &'static str,
        /// What was expected.
        why: String,
    },
    /// Telemetry was set up twice.
    #[error("telemetry is set up already")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

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
    pub(crate) fn fails(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }

    /// Notes a success. True for the first one after a failure: log the recovery.
    pub(crate) fn recovers(&self) -> bool {
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
