//! Pictures of cells out of packs, by byte range, in bounded memory.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use cellmill_core::formats::InputPack;
use cellmill_vision::Limits;
use cellmill_worker::{Context, Failure};
use tokio::sync::mpsc::{Receiver, channel};
use tokio_util::task::AbortOnDropHandle;

use super::source::{Cell, Fetched, Source};
use crate::compute::Compute;

/// A cell to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The caller's number of it.
    pub(crate) at: usize,
    pub(crate) pack: &'a InputPack,
    /// Its name in the pack.
    pub(crate) name: &'a str,
}

/// A cell that was read.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    /// [`Wanted::at`].
    pub(crate) at: usize,
    /// The file as it lies in the pack.
    pub(crate) png: Bytes,
    /// `side * side * 3` bytes for each side that was asked for.
    pub(crate) pixels: Vec<Vec<u8>>,
}

/// Reads cells pack by pack, in the order in which the packs are first wanted; within a pack by place. A picture that
/// is missing or broken is told to the context and left out.
///
/// While the caller works on some cells the next ones are fetched and decoded: one batch is ready and one is being made
/// at most. Dropping the reader ends that.
#[derive(Debug)]
pub(crate) struct CellReader {
    source: Source,
    packs: VecDeque<(InputPack, Vec<Cell>)>,
    coming: Option<Coming>,
    times: ReadTimes,
}

#[derive(Debug)]
struct Coming {
    batches: Receiver<Result<Fetched, Failure>>,
    reading: AbortOnDropHandle<()>,
}

/// Where the time of reading went, beside what the caller did meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadTimes {
    /// Waiting for the store.
    pub(crate) reading: Duration,
    pub(crate) decoding: Duration,
}

impl CellReader {
    pub(crate) fn new<'a>(
        compute: &Compute,
        limits: &Limits,
        sides: &[u32],
        wanted: impl IntoIterator<Item = Wanted<'a>>,
    ) -> Self {
        let mut packs: VecDeque<(InputPack, Vec<Cell>)> = VecDeque::new();
        let mut places = std::collections::HashMap::new();
        for Wanted { at, pack, name } in wanted {
            let place = *places.entry(pack.key.as_str()).or_insert_with(|| {
                packs.push_back((pack.clone(), Vec::new()));
                packs.len() - 1
            });
            let name = name.to_owned();
            packs[place].1.push(Cell { at, name });
        }
        Self {
            source: Source::new(compute, limits, sides),
            packs,
            coming: None,
            times: ReadTimes::default(),
        }
    }

    /// The next cells, `None` after the last ones. May be empty.
    pub(crate) async fn next(
        &mut self,
        context: &Context,
    ) -> Result<Option<Vec<Picture>>, Failure> {
        context.check_stop()?;
        let (source, packs) = (&self.source, &mut self.packs);
        let coming = self.coming.get_or_insert_with(|| {
            let (sender, batches) = channel(1);
            let store = context.store().clone();
            let reading = source.clone().run(store, std::mem::take(packs), sender);
            Coming {
                batches,
                reading: AbortOnDropHandle::new(tokio::spawn(reading)),
            }
        });
        let Some(fetched) = coming.batches.recv().await else {
            // Of nothing that a panic left out may anybody think that it was read.
            let ended = (&mut coming.reading).await;
            self.coming = None;
            return match ended {
                Ok(()) => Ok(None),
                Err(error) => Err(Failure::permanent("cells could not be read", error)),
            };
        };
        let fetched = fetched?;
        self.times.reading += fetched.reading;
        self.times.decoding += fetched.decoding;
        for (name, code, reason) in fetched.rejected {
            context.rejected(name, code, reason);
        }
        Ok(Some(fetched.pictures))
    }

    /// Of what was handed out so far.
    pub(crate) const fn times(&self) -> ReadTimes {
        self.times
    }
}

#[cfg(test)]
mod tests {
    use cellmill_core::job::JobParameters;

    use super::*;
    use crate::tests::{Lab, bench, training};

    #[tokio::test]
    async fn the_next_cells_are_read_while_the_caller_works() {
        let lab = Lab::plain(60, &[301, 302]).await;
        let unit = lab.unit(JobParameters::Train(training(&[301, 302])), 0, 1);
        let context = Context::unsupervised(lab.store.clone(), &unit);
        let bench = bench();
        let wanted = lab.pieces.iter().flat_map(|piece| {
            let cells = piece.cells.iter().enumerate();
            cells.map(|(at, cell)| Wanted {
                at,
                pack: &piece.packs[0],
                name: &cell.name,
            })
        });
        let mut reader = CellReader::new(&bench.compute, &bench.limits, &[16], wanted);
        assert_eq!(
            reader.next(&context).await.unwrap().map(|it| it.len()),
            Some(0)
        );
        let ready = |reader: &CellReader| reader.coming.as_ref().unwrap().batches.len();
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            while ready(&reader) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        waited
            .await
            .expect("the next batch is made without being asked for");
        let mut n = 0;
        while let Some(pictures) = reader.next(&context).await.unwrap() {
            n += pictures.len();
        }
        assert_eq!(n, 60);
        assert!(reader.times().decoding > Duration::ZERO);
    }
}
