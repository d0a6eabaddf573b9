//! Stopping: softly at the first signal, at once at the second; and waits that a stop ends.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancels the returned token at the first SIGTERM or SIGINT; ends the process with 1 at the second.
///
/// # Errors
/// If the operating system does not let signals be listened to.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stopping = stop.clone();
    tokio::spawn(async move {
        let name = either(&mut terminate, &mut interrupt).await;
        tracing::info!(event = "worker.stopping", signal = name, "stopping; a second signal ends at once");
        stopping.cancel();
        let name = either(&mut terminate, &mut interrupt).await;
        tracing::warn!(event = "worker.killed", signal = name, "ended by a second signal; nothing is lost");
        std::process::exit(1);
    });
    Ok(stop)
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

/// Waits; false if told to stop meanwhile.
pub(super) async fn sleeps(period: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(period) => true,
        () = stop.cancelled() => false,
    }
}
