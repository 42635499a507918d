//! A thread for the store's writes: SQLite's own thread waits for the next statement of a batch, and what makes that
//! statement leave must not wait behind whatever else the process is at.

use std::future::Future;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// The thread. Dropped, it drops what it is at.
pub(crate) struct Thread(Option<Runtime>);

impl Thread {
    /// # Errors
    /// If the operating system gives no thread.
    pub(crate) fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(1)
            .thread_name("amends-sqlite")
            .enable_time()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        match &self.0 {
            Some(runtime) => runtime.spawn(work),
            // Not before it is dropped.
            None => tokio::spawn(work),
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // It may be dropped by a task, and a task must not block.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
