//! Reading many documents in the order of their keys.

use cellmill_core::document::Document;
use cellmill_core::keys::ObjectKey;
use cellmill_store::{Error, Store, Versioned};
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};

/// How many documents of one request are read at a time.
pub(super) const READS_AT_ONCE: usize = 16;

/// The documents below `prefixes`, in that order, that come behind the key `after`.
///
/// `pick` says by the key alone whether a document is wanted. One that can't be read is logged and left
/// out: it must not hide the others.
pub(super) fn documents<'a, D, F>(
    store: &'a Store,
    prefixes: &[String],
    after: Option<&str>,
    pick: F,
) -> BoxStream<'a, Result<Versioned<D>, Error>>
where
    D: Document + 'a,
    F: Fn(&ObjectKey) -> bool + Send + 'a,
{
    let listings: Vec<_> = prefixes
        .iter()
        .map(|prefix| match after {
            Some(after) => store.list_from(prefix, after),
            None => store.list(prefix),
        })
        .collect();
    stream::iter(listings)
        .flatten()
        .try_filter_map(move |listed| {
            let key = ObjectKey::parse(&listed.key).ok().flatten();
            std::future::ready(Ok(key.filter(|key| pick(key))))
        })
        .map_ok(move |key| async move { read_or_skip(store, &key).await })
        .try_buffered(READS_AT_ONCE)
        .try_filter_map(|document| std::future::ready(Ok(document)))
        .boxed()
}

/// Reads a document; `None` when there is none, or none that can be understood.
pub(super) async fn read_or_skip<D: Document>(
    store: &Store,
    key: &ObjectKey,
) -> Result<Option<Versioned<D>>, Error> {
    match store.read(key).await {
        Err(error @ (Error::Malformed { .. } | Error::TooNew { .. })) => {
            tracing::error!("{}", cellmill_service::report(&error));
            Ok(None)
        }
        read => read,
    }
}
