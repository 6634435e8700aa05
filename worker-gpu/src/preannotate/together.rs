//! Cells of several images through the network in one call.
//!
//! An image of one cell keeps a network as busy as little as one of fifty: whoever comes while others are on their way
//! waits for them, some tens of milliseconds at most. An image that is alone waits for nobody.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cellmill_worker::Cause;
use tokio::sync::oneshot;

use crate::compute::Compute;
use crate::models::Model;

/// How long the first of a batch waits for others that are on their way.
const MAX_WAIT: Duration = Duration::from_millis(30);
/// Bytes of pictures of one call: some thousand cells.
const MAX_BYTES: usize = 32 << 20;

/// One row of logits a picture.
type Rows = Vec<Vec<f32>>;

/// Collects pictures until a call is worth it. Clones share what waits.
#[derive(Clone, Debug)]
pub(super) struct Together {
    compute: Compute,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: Vec<Job>,
    /// Images that may still bring pictures.
    n_coming: usize,
    /// Images of each call so far, as far as a test has to see it.
    #[cfg(test)]
    calls: Vec<usize>,
    /// Calls that were made because somebody had waited long enough.
    #[cfg(test)]
    n_waited: usize,
}

#[derive(Debug)]
struct Job {
    model: Arc<Model>,
    pixels: Vec<u8>,
    n_pictures: usize,
    answer: oneshot::Sender<Result<Rows, String>>,
}

/// An image that is on its way; others may wait for it until this is dropped.
#[derive(Debug)]
pub(super) struct Coming(Together);

/// Why a call gave nothing, told to every image in it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct CallFailed(String);

impl Together {
    pub(super) fn new(compute: &Compute) -> Self {
        Self {
            compute: compute.clone(),
            waiting: Arc::default(),
        }
    }

    /// An image begins that may bring pictures.
    pub(super) fn coming(&self) -> Coming {
        self.lock().n_coming += 1;
        Coming(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that may panic is done while it is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Computes what waits, if something does. What comes while another call computes goes along with the next.
    fn flush(&self) {
        let it = self.clone();
        // A thread that waits for its turn: the calls are made one after the other.
        tokio::task::spawn_blocking(move || it.compute.run_small(|| it.call()));
    }

    fn call(&self) {
        let jobs = {
            let mut waiting = self.lock();
            let mut bytes = 0;
            let fits = waiting.jobs.iter().take_while(|it| {
                let is_first = bytes == 0;
                bytes += it.pixels.len();
                is_first || bytes <= MAX_BYTES
            });
            let n = fits.count();
            waiting.jobs.drain(..n).collect::<Vec<Job>>()
        };
        let mut rest = jobs;
        while let Some(first) = rest.first() {
            let model = Arc::clone(&first.model);
            let same = |it: &Job| Arc::ptr_eq(&it.model, &model);
            let (with, others): (Vec<Job>, Vec<Job>) = rest.into_iter().partition(same);
            #[cfg(test)]
            self.lock().calls.push(with.len());
            answer(&model, with);
            rest = others;
        }
        if !self.lock().jobs.is_empty() {
            self.call();
        }
    }

    fn is_somebody_waiting(&self) -> bool {
        let waiting = self.lock();
        let is_so = !waiting.jobs.is_empty();
        #[cfg(test)]
        let mut waiting = waiting;
        #[cfg(test)]
        {
            waiting.n_waited += usize::from(is_so);
        }
        is_so
    }

    #[cfg(test)]
    pub(super) fn calls(&self) -> Vec<usize> {
        self.lock().calls.clone()
    }
}

impl Coming {
    /// One row a picture; `pixels` are `n_pictures` of the model's side, one after the other.
    pub(super) async fn logits(
        self,
        model: &Arc<Model>,
        pixels: Vec<u8>,
        n_pictures: usize,
    ) -> Result<Rows, Cause> {
        if n_pictures == 0 {
            return Ok(Vec::new());
        }
        let together = self.0.clone();
        let (answer, rows) = oneshot::channel();
        let (is_first, is_full) = {
            let mut waiting = together.lock();
            waiting.jobs.push(Job {
                model: Arc::clone(model),
                pixels,
                n_pictures,
                answer,
            });
            let bytes: usize = waiting.jobs.iter().map(|it| it.pixels.len()).sum();
            (waiting.jobs.len() == 1, bytes >= MAX_BYTES)
        };
        // Here the last one on its way finds that nobody else is.
        drop(self);
        if is_full {
            together.flush();
        } else if is_first {
            tokio::spawn(async move {
                tokio::time::sleep(MAX_WAIT).await;
                if together.is_somebody_waiting() {
                    together.flush();
                }
            });
        }
        match rows.await {
            Ok(rows) => rows.map_err(|why| CallFailed(why).into()),
            Err(_) => Err(CallFailed("the network's thread ended".to_owned()).into()),
        }
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        let is_last = {
            let mut waiting = self.0.lock();
            waiting.n_coming -= 1;
            waiting.n_coming == 0 && !waiting.jobs.is_empty()
        };
        if is_last {
            self.0.flush();
        }
    }
}

/// One call for all of them, and to each its rows.
fn answer(model: &Model, mut jobs: Vec<Job>) {
    let pixels = match &mut jobs[..] {
        [alone] => std::mem::take(&mut alone.pixels),
        _ => jobs.iter().flat_map(|it| &it.pixels).copied().collect(),
    };
    let rows = model.logits(&pixels);
    let mut rows = rows
        .map(Vec::into_iter)
        .map_err(|it| cellmill_service::report(it.as_ref()));
    for job in jobs {
        let own = match &mut rows {
            Ok(rows) => Ok(rows.take(job.n_pictures).collect()),
            Err(why) => Err(why.clone()),
        };
        // An image whose message is not handled any more needs no answer.
        let _ = job.answer.send(own);
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;
    use crate::tests::{Lab, bench, painted, trained};

    async fn model() -> Arc<Model> {
        let lab = Lab::plain(8, &[301, 302]).await;
        lab.register(trained().await).await;
        bench().models.load(&lab.store, 100).await.unwrap()
    }

    fn picture(at: usize) -> Vec<u8> {
        painted(301 + at as u32 % 2, at, 32).data
    }

    #[tokio::test]
    async fn images_that_come_together_go_through_the_network_together() {
        let (model, together) = (model().await, Together::new(&bench().compute));
        let coming: Vec<Coming> = (0..5).map(|_| together.coming()).collect();
        let pixels = |at: usize| [picture(at), picture(at + 1)].concat();
        let asked = coming.into_iter().enumerate();
        let answers = join_all(asked.map(|(at, it)| it.logits(&model, pixels(at), 2))).await;
        assert_eq!(together.calls(), [5], "one call");
        for (at, rows) in answers.into_iter().enumerate() {
            let (rows, alone) = (rows.unwrap(), model.logits(&pixels(at)).unwrap());
            assert_eq!(rows.len(), 2);
            for (a, b) in rows.iter().flatten().zip(alone.iter().flatten()) {
                // The size of a batch moves the last bits.
                assert!((a - b).abs() < 1e-3, "to each its own: {rows:?} {alone:?}");
            }
        }
    }

    #[tokio::test]
    async fn an_image_alone_waits_for_nobody() {
        let (model, together) = (model().await, Together::new(&bench().compute));
        let gone = together.coming();
        drop(gone);
        let rows = together.coming().logits(&model, picture(1), 1).await;
        assert_eq!(rows.unwrap().len(), 1);
        assert_eq!((together.calls(), together.lock().n_waited), (vec![1], 0));
    }

    #[tokio::test]
    async fn nobody_waits_longer_than_told_for_one_that_does_not_come() {
        let (model, together) = (model().await, Together::new(&bench().compute));
        let slow = together.coming();
        let rows = together
            .coming()
            .logits(&model, picture(0), 1)
            .await
            .unwrap();
        assert_eq!((rows.len(), together.calls()), (1, vec![1]));
        assert_eq!(together.lock().n_waited, 1, "it hoped for the other");
        assert!(slow.logits(&model, picture(1), 1).await.is_ok());
        assert_eq!(together.calls(), [1, 1]);
    }

    #[tokio::test]
    async fn nothing_to_ask_is_answered_without_a_call() {
        let (model, together) = (model().await, Together::new(&bench().compute));
        let rows = together.coming().logits(&model, Vec::new(), 0).await;
        assert!(rows.unwrap().is_empty() && together.calls().is_empty());
    }
}
