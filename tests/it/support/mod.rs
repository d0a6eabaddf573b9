//! What tests share: a broker with names of their own, databases of their own, wires to cut, the program as a process,
//! and waiting for a state.

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

/// Waits until `state` is true, looking every 20 ms; panics after `limit`, saying `what` did not come true.
pub(crate) async fn wait_until<F: Future<Output = bool>>(
    limit: Duration,
    what: &str,
    mut state: impl FnMut() -> F,
) {
    let waiting = async {
        while !state().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(limit, waiting).await.is_err() {
        panic!("not within {limit:?}: {what}");
    }
}
