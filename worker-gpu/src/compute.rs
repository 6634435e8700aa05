//! The device of this process, and the turn on it.

use std::sync::Arc;
use std::time::Duration;

use cellmill_nets::{Device, OpenDevice};
use cellmill_worker::{Context, Failure};
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How often a unit that waits for its turn looks whether it should stop.
const LOOK: Duration = Duration::from_millis(500);

/// The device and the threads that networks compute with. One training or prediction has it at a time: two at once
/// take as long as one after the other, and twice the memory. Units of other kinds go on beside it.
#[derive(Clone, Debug)]
pub(crate) struct Compute {
    device: OpenDevice,
    threads: Arc<ThreadPool>,
    /// A thread for small work that must not wait for a training to end.
    aside: Arc<ThreadPool>,
    /// The same for networks: what is found aside waits for no call, and no call for what is still to be found.
    small: Arc<ThreadPool>,
    turn: Arc<Semaphore>,
}

/// Where a network computes that several may want at once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Threads<'a> {
    /// On all threads, beside whoever has the turn.
    All(&'a Compute),
    /// On the one that small work has.
    Small(&'a Compute),
}

impl Threads<'_> {
    pub(crate) fn run<R: Send>(self, work: impl FnOnce() -> R + Send) -> R {
        match self {
            Self::All(it) => it.run(work),
            Self::Small(it) => it.run_small(work),
        }
    }
}

impl Compute {
    /// `threads` 0: one for each core.
    pub(crate) fn new(device: OpenDevice, threads: usize) -> Result<Self, ThreadPoolBuildError> {
        Ok(Self {
            device,
            threads: Arc::new(pool("compute", threads)?),
            aside: Arc::new(pool("aside", 1)?),
            small: Arc::new(pool("small", 1)?),
            turn: Arc::new(Semaphore::new(1)),
        })
    }

    pub(crate) const fn device(&self) -> &OpenDevice {
        &self.device
    }

    pub(crate) fn is_processor(&self) -> bool {
        self.device.device() == Device::Cpu
    }

    pub(crate) fn n_threads(&self) -> usize {
        self.threads.current_num_threads()
    }

    /// Waits until no other unit computes. The turn ends when the answer is dropped.
    pub(crate) async fn turn(
        &self,
        context: &mut Context,
    ) -> Result<OwnedSemaphorePermit, Failure> {
        let mut turn = Box::pin(Arc::clone(&self.turn).acquire_owned());
        loop {
            context.check_stop()?;
            if let Ok(held) = tokio::time::timeout(LOOK, &mut turn).await {
                return Ok(held.expect("nobody closes the semaphore"));
            }
            context.report(0.0, "waits for the device");
        }
    }

    /// Computes on the threads of the device. Only for whoever has the turn: a thread that waits for others takes up
    /// whatever else was given to them, and two works that lock the same model would wait for each other.
    pub(crate) fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.threads.install(work)
    }

    /// Computes something small on a thread of its own, whoever has the turn.
    pub(crate) fn run_aside<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.aside.install(work)
    }

    /// Computes with a network on a thread of its own, whoever has the turn; calls are made one after the other.
    pub(crate) fn run_small<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.small.install(work)
    }
}

fn pool(name: &'static str, threads: usize) -> Result<ThreadPool, ThreadPoolBuildError> {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(move |at| format!("{name}-{at}"))
        .build()
}

#[cfg(test)]
mod tests {
    use cellmill_core::job::JobParameters;
    use futures::FutureExt as _;

    use super::*;
    use crate::tests::{Lab, bench, training};

    #[tokio::test]
    async fn one_unit_computes_at_a_time() {
        let compute = bench().compute;
        let lab = Lab::plain(8, &[301, 302]).await;
        let unit = lab.unit(JobParameters::Train(training(&[301, 302])), 0, 1);
        let context = || Context::unsupervised(lab.store.clone(), &unit);
        let (mut first, mut second) = (context(), context());
        let held = compute.turn(&mut first).await.unwrap();
        assert!(compute.turn(&mut second).now_or_never().is_none());
        drop(held);
        assert!(compute.turn(&mut second).await.is_ok());
    }
}
