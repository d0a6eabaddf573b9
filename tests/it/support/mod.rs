//! What tests share with one another, and not with the tools: a broker with names of their own, databases with the least
//! rights, the program as a process, and waiting for a state. What tools need too is in `test_support`.

pub(crate) mod broker;
pub(crate) mod browser;
pub(crate) mod certificates;
pub(crate) mod collector;
pub(crate) mod databases;
pub(crate) mod grants;
pub(crate) mod letters;
pub(crate) mod lms;
pub(crate) mod own_servers;
pub(crate) mod process;
pub(crate) mod project;
pub(crate) mod proxy;
pub(crate) mod stage;
pub(crate) mod virtual_host;

use std::time::Duration;

use test_support::until;

/// Waits until `state` is true; panics after `limit`, saying `what` did not come true.
pub(crate) async fn wait_until<F: Future<Output = bool>>(
    limit: Duration,
    what: &str,
    mut state: impl FnMut() -> F,
) {
    until(what, limit, async || Ok(state().await)).await.unwrap();
}
