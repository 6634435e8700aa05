//! The device of a worker with several slots: while a training has it, the others leave alone what would wait for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cellmill_core::keys::JobKind;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::inner::Inner;

/// Who holds the device for long, and since when urgent work asks for it.
#[derive(Debug)]
pub(crate) struct Device {
    free: Arc<Semaphore>,
    called: Mutex<Option<Instant>>,
}

impl Default for Device {
    fn default() -> Self {
        Self {
            free: Arc::new(Semaphore::new(1)),
            called: Mutex::default(),
        }
    }
}

/// Kept with the lease of a unit that others shall not wait behind.
pub(crate) type Held = OwnedSemaphorePermit;

/// The device is somebody else's for long.
#[derive(Debug)]
pub(crate) struct Busy;

/// An urgent hint is put off for so long; after a call for the device, trainings that are not urgent rest for twice that.
pub(crate) const URGENT_PAUSE: Duration = Duration::from_secs(2);

impl Inner {
    /// What a unit of this kind must hold before it is claimed. A training holds the device, and so does urgent work:
    /// the training that gave way for it does not come back in between.
    pub(crate) fn reserve(&self, kind: JobKind, is_urgent: bool) -> Result<Option<Held>, Busy> {
        let needs_device = |it: &Arc<dyn crate::Algorithm>| it.needs_device();
        if !self.algorithms.get(&kind).is_some_and(needs_device) {
            return Ok(None);
        }
        let is_training = kind == JobKind::Train;
        if is_training && !is_urgent && self.is_device_called() {
            return Err(Busy);
        }
        if is_training || is_urgent {
            let held = Arc::clone(&self.device.free).try_acquire_owned();
            return held.map(Some).map_err(|_| Busy);
        }
        if self.device.free.available_permits() == 0 {
            return Err(Busy);
        }
        Ok(None)
    }

    /// Waits for the device: for a unit that was claimed while its own slot gives it free.
    pub(crate) async fn await_device(&self, kind: JobKind) -> Option<Held> {
        let algorithm = self.algorithms.get(&kind)?;
        if !algorithm.needs_device() {
            return None;
        }
        Arc::clone(&self.device.free).acquire_owned().await.ok()
    }

    /// Urgent work waits for the device: the training that has it gives way at its next checkpoint.
    pub(crate) fn call_for_device(&self) {
        *self.called() = Some(Instant::now());
    }

    pub(crate) fn is_device_called(&self) -> bool {
        let called = *self.called();
        called.is_some_and(|at| at.elapsed() < 2 * URGENT_PAUSE)
    }

    fn called(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        let called = self.device.called.lock();
        called.unwrap_or_else(PoisonError::into_inner)
    }
}
