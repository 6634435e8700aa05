//! Loose pictures of an earlier data set that can be used again.

use bytes::Bytes;
use cellmill_store::Store;
use cellmill_vision::{Limits, decode, read_source};
use cellmill_worker::Failure;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::plan::Cut;
use super::rows::Source;

/// An image of more cells is decoded in any case, so that its pictures never lie in memory all at once.
const MAX_CELLS: usize = 1024;
/// Pictures are small: the wait for storage is what reading them costs.
const PARALLEL_READS: usize = 16;

/// The pictures of all cuts, in their order, when each of them is there, intact and cut from these very
/// bytes of the image; else `None`, and the image has to be decoded.
pub(super) async fn all(
    store: &Store,
    source: &Source<'_>,
    cuts: &[&Cut],
) -> Result<Option<Vec<Bytes>>, Failure> {
    if cuts.len() > MAX_CELLS {
        return Ok(None);
    }
    let read = |cut: Cut| async move {
        let key = source.cell_key(source.name(&cut));
        match store.get_bytes(&key).await {
            Ok(bytes) => Ok(Some(bytes).filter(|it| is_cut_of(it, &source.image.sha256, &cut))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(Failure::of_store(format!("could not read `{key}`"), error)),
        }
    };
    let cuts: Vec<Cut> = cuts.iter().map(|it| **it).collect();
    let Some((&first, others)) = cuts.split_first() else {
        return Ok(Some(Vec::new()));
    };
    // A new image has none: one look says so.
    let Some(picture) = read(first).await? else {
        return Ok(None);
    };
    let mut pictures = vec![picture];
    // Ends at the first miss: the stream is dropped with what it still had to read.
    let mut rest = stream::iter(others.to_vec())
        .map(read)
        .buffered(PARALLEL_READS);
    while let Some(picture) = rest.try_next().await? {
        match picture {
            Some(picture) => pictures.push(picture),
            None => return Ok(None),
        }
    }
    Ok(Some(pictures))
}

fn is_cut_of(png: &[u8], source_sha256: &str, cut: &Cut) -> bool {
    read_source(png).is_some_and(|it| it == source_sha256)
        && decode(
            png,
            &Limits {
                min_side: 1,
                ..Limits::default()
            },
        )
        .is_ok_and(|it| (it.image.width, it.image.height) == (cut.crop.width(), cut.crop.height()))
}
