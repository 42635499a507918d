//! SIGTERM and SIGINT: the first asks for a graceful end, the second ends the process at once.

use std::future::Future;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit code of a process that a second signal ended: 128 and SIGINT, as shells have it.
const IMPATIENT_EXIT_CODE: i32 = 130;

/// Resolves at the first SIGTERM or SIGINT. From then on a second one ends the process at once.
///
/// # Errors
/// If the signals cannot be listened for.
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let name = either(&mut terminate, &mut interrupt).await;
        tracing::info!(signal = name, "shutting down; the same again ends at once");
        tokio::spawn(async move {
            either(&mut terminate, &mut interrupt).await;
            std::process::exit(IMPATIENT_EXIT_CODE);
        });
    })
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
