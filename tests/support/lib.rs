//! What the integration tests share with bench, certificate and demo: each thing that two of them need is here, once.
//!
//! `process`, `program`: what is started · `http`: how it is asked · `proxy`: the wire to it · `raw`: messages of no client ·
//! `database`, `servers`, `small_disk`: what it works on · `ports`: where there is room

#![allow(clippy::disallowed_methods, reason = "it has no part in the program's time")]

pub mod database;
pub mod http;
pub mod process;
pub mod program;
pub mod proxy;
pub mod raw;
pub mod servers;

mod ports;
mod small_disk;

use std::time::{Duration, Instant};

use anyhow::Context;

pub use self::ports::free_port;
pub use self::process::{Process, Signal};
pub use self::proxy::Proxy;
pub use self::small_disk::SmallDisk;

/// Asks `state` every 20 ms until it says yes; how long that took. Asking takes at most half of the time.
///
/// # Errors
/// If it has not said so within `limit`; `what` says what did not come true.
pub async fn until(
    what: &str,
    limit: Duration,
    state: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<Duration> {
    until_every(Duration::from_millis(20), what, limit, state).await
}

/// The same, with another pause between two questions.
///
/// # Errors
/// As [`until`].
pub async fn until_every(
    pause: Duration,
    what: &str,
    limit: Duration,
    mut state: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<Duration> {
    let since = Instant::now();
    let waiting = async {
        loop {
            let asked = Instant::now();
            if state().await? {
                return anyhow::Ok(since.elapsed());
            }
            tokio::time::sleep(pause.max(asked.elapsed())).await;
        }
    };
    tokio::time::timeout(limit, waiting).await.with_context(|| format!("{what}: not within {limit:?}"))?
}
