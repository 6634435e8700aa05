//! Objects as answers: streamed, whole or by range, with their ETag; or the signed address to read them from.

use std::ops::Range;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cellmill_core::keys::ObjectKey;
use cellmill_store::uploads::Download;
use cellmill_store::{Head, Store};
use futures::{Stream, StreamExt as _, stream};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, RANGE,
};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::Error;
use crate::parts::App;

/// How long a signed address is good: long enough to follow it at once, too short to be passed around.
const SIGNED_FOR: Duration = Duration::from_mins(1);

/// A range is read in pieces of this size, so that its length costs no memory.
const PIECE: u64 = 1 << 20;

/// How a browser may treat the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// May be shown in the page.
    Inline,
    /// Is only ever saved: its content was not checked, or is nothing to show.
    Attachment,
}

/// Answers with an object's bytes, or with where to get them. `content_type` comes from our records, never from the
/// bytes' sender.
pub(crate) async fn send_object(
    app: &App,
    key: &ObjectKey,
    content_type: &'static str,
    disposition: Disposition,
    headers: &HeaderMap,
) -> Result<Response, Error> {
    let store = &app.store;
    let Some(head) = store.head(key).await? else {
        return Err(Error::not_found(format!("object `{key}`")));
    };
    let etag = format!("\"{}\"", head.etag.trim_matches('"'));
    let mut response = if is_known(headers, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else if let Some(downloads) = &app.downloads {
        let download = Download {
            key: key.to_path(),
            content_type: content_type.to_owned(),
            is_attachment: disposition == Disposition::Attachment,
            ttl: SIGNED_FOR,
        };
        return see_other(&downloads.sign(&download).await?);
    } else {
        send_bytes(store, key, &head, headers).await?
    };
    let out = response.headers_mut();
    out.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    out.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    out.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    // Whatever the bytes are, they run no script and load nothing in our name.
    out.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox"),
    );
    if disposition == Disposition::Attachment {
        out.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    }
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        out.insert(ETAG, etag);
    }
    Ok(response)
}

/// The address is for whoever asked, now: nobody may keep it for the next one who asks.
fn see_other(url: &str) -> Result<Response, Error> {
    let location = HeaderValue::from_str(url).map_err(Error::internal)?;
    let headers = [
        (LOCATION, location),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}

async fn send_bytes(
    store: &Store,
    key: &ObjectKey,
    head: &Head,
    headers: &HeaderMap,
) -> Result<Response, Error> {
    let range = headers.get(RANGE).and_then(|it| it.to_str().ok());
    let Some(range) = range.and_then(|it| AskedRange::parse(it, head.size)) else {
        let (head, bytes) = store.get_stream(key).await?;
        let length = [(CONTENT_LENGTH, HeaderValue::from(head.size))];
        return Ok((length, Body::from_stream(bytes)).into_response());
    };
    let AskedRange::Satisfiable(range) = range else {
        return Err(Error::Range { size: head.size });
    };
    let length = range.end - range.start;
    let content_range = format!("bytes {}-{}/{}", range.start, range.end - 1, head.size);
    let body = Body::from_stream(read_range(store.clone(), key.clone(), range));
    let headers = [
        (CONTENT_LENGTH, length.to_string()),
        (CONTENT_RANGE, content_range),
    ];
    Ok((StatusCode::PARTIAL_CONTENT, headers, body).into_response())
}

fn read_range(
    store: Store,
    key: ObjectKey,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes, cellmill_store::Error>> {
    let starts = range.clone().step_by(PIECE as usize);
    stream::iter(starts).then(move |start| {
        let (store, key) = (store.clone(), key.clone());
        let piece = start..range.end.min(start + PIECE);
        async move { store.get_range(&key, piece).await }
    })
}

fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(','))
        .any(|it| matches!(it.trim(), "*") || it.trim().trim_start_matches("W/") == etag)
}

#[derive(Debug, PartialEq, Eq)]
enum AskedRange {
    Satisfiable(Range<u64>),
    Unsatisfiable,
}

impl AskedRange {
    /// One range in bytes. Anything else is ignored, as the standard allows: the whole object is sent.
    fn parse(text: &str, size: u64) -> Option<Self> {
        let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
        let (first, last) = (first.trim(), last.trim());
        let range = if first.is_empty() {
            let n_last: u64 = last.parse().ok()?;
            size.saturating_sub(n_last)..size
        } else {
            let first: u64 = first.parse().ok()?;
            let end = match last {
                "" => size,
                last => last.parse::<u64>().ok()?.checked_add(1)?.min(size),
            };
            first..end
        };
        if range.start >= range.end {
            return Some(Self::Unsatisfiable);
        }
        Some(Self::Satisfiable(range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_understood_and_several_are_not() {
        let of_10 = |text| AskedRange::parse(text, 10);
        assert_eq!(of_10("bytes=2-4"), Some(AskedRange::Satisfiable(2..5)));
        assert_eq!(of_10("bytes=2-"), Some(AskedRange::Satisfiable(2..10)));
        assert_eq!(of_10("bytes=-3"), Some(AskedRange::Satisfiable(7..10)));
        assert_eq!(of_10("bytes=-30"), Some(AskedRange::Satisfiable(0..10)));
        assert_eq!(of_10("bytes=0-99"), Some(AskedRange::Satisfiable(0..10)));
        assert_eq!(of_10("bytes=10-"), Some(AskedRange::Unsatisfiable));
        assert_eq!(of_10("bytes=-0"), Some(AskedRange::Unsatisfiable));
        for ignored in ["bytes=1-2,4-5", "lines=1-2", "bytes=", "bytes=a-b"] {
            assert_eq!(of_10(ignored), None, "{ignored}");
        }
    }
}
