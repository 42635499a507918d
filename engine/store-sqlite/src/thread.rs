//! A thread for the store's writes: SQLite's own thread waits for the next statement of a batch, and what makes that
//! statement leave must not wait behind whatever else the process is at.

use std::future::Future;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// The thread. Dropped, it drops what it is at.
pub(crate) struct Thread {
    handle: Handle,
    /// There until it is dropped.
    runtime: Option<Runtime>,
}

impl Thread {
    /// # Errors
    /// If the operating system gives no thread.
    pub(crate) fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("amends-sqlite")
            .enable_time()
            .build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.handle.spawn(work)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // Whoever drops it may be a task, and a task must not block.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
