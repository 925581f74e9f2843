//! A sandbox for callers without a runtime: it runs on a thread of its own.

use std::ops::Deref;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::Sandbox;
use crate::config::Config;
use crate::server::AnyError;

/// A [`Sandbox`] (it derefs to one) and the thread that it runs on. Both end when it is dropped.
pub struct SandboxThread {
    sandbox: Sandbox,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl SandboxThread {
    pub fn start(config: Config) -> Result<Self, AnyError> {
        let (send, receive) = mpsc::channel();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let thread = std::thread::Builder::new().name("sandbox".into()).spawn(move || {
            runtime.block_on(async {
                // A receiver that is gone has nobody to serve.
                if send.send(Sandbox::start(config).await).is_ok() {
                    stopped.cancelled().await;
                }
            });
            runtime.shutdown_timeout(Duration::from_secs(1));
        })?;
        let sandbox = receive.recv()??;
        Ok(Self { sandbox, stop, thread: Some(thread) })
    }
}

impl Deref for SandboxThread {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl Drop for SandboxThread {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
