//! Logs, traces and metrics; every instrument is declared here, once.

pub mod metrics;
