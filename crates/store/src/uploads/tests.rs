//! Uploads in parts, in the homes that keep the parts themselves.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use cellmill_core::keys::ObjectKey;
use cellmill_core::uploads::{KEPT_FOR, UploadSession, session_id};
use chrono::{DateTime, TimeDelta, Utc};
use futures::stream;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::{Put, Store};

const KEY: &str = "up/large.tif";
const PART: usize = 1000;

fn sessions(store: Store) -> Sessions {
    let home = StagedParts {
        store: store.clone(),
        signer: Signer::with_secret([7; 32]),
        endpoint: "/parts".to_owned(),
    };
    Sessions {
        store,
        home: Arc::new(home),
    }
}

fn hash_of(bytes: &[u8]) -> Sha256Hex {
    Sha256Hex::of(Sha256::new_with_prefix(bytes))
}

fn content() -> Vec<u8> {
    (0..PART * 3 + 10).map(|it| (it / 7) as u8).collect()
}

fn wish(bytes: &[u8]) -> NewSession {
    NewSession {
        key: KEY.to_owned(),
        bytes: bytes.len() as u64,
        sha256: hash_of(bytes),
        content_type: "image/tiff".to_owned(),
        part_bytes: PART as u64,
        create_only: true,
        by: "test".to_owned(),
    }
}

/// Sends a part as its signed URL allows.
async fn send(
    sessions: &Sessions,
    session: &UploadSession,
    number: u32,
    bytes: &[u8],
) -> Result<Received, UploadRefusal> {
    let wanted = [(number, hash_of(bytes))];
    let expires = DateTime::<Utc>::MAX_UTC;
    let signed = sessions.sign(&session.id(), &wanted, expires).await?;
    let token = signed[0].url.strip_prefix("/parts/").unwrap();
    let grant = Signer::with_secret([7; 32]).verify_part(token, Utc::now())?;
    let body = stream::iter([Ok::<_, Infallible>(Bytes::copy_from_slice(bytes))]);
    receive_part(&sessions.store, &grant, body).await
}

async fn send_all(sessions: &Sessions, session: &UploadSession, bytes: &[u8]) {
    for (part, number) in bytes.chunks(PART).zip(1..) {
        send(sessions, session, number, part).await.unwrap();
    }
}

async fn n_objects(store: &Store, prefix: &str) -> usize {
    use futures::TryStreamExt as _;
    let listed: Vec<_> = store.list(prefix).try_collect().await.unwrap();
    listed.len()
}

#[tokio::test]
async fn a_large_file_comes_in_parts_across_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    for store in [
        Store::memory(),
        Store::open_folder(folder.path()).await.unwrap(),
    ] {
        let bytes = content();
        let parts: Vec<&[u8]> = bytes.chunks(PART).collect();
        let before = sessions(store.clone());
        let session = before.open(&wish(&bytes)).await.unwrap();
        assert_eq!(session.n_parts(), 4);
        send(&before, &session, 4, parts[3]).await.unwrap();
        send(&before, &session, 2, parts[1]).await.unwrap();
        drop(before);

        // Nothing but the store lives on.
        let after = sessions(store.clone());
        let again = after.open(&wish(&bytes)).await.unwrap();
        assert_eq!(again, session);
        let (_, there) = after.find(&session.id()).await.unwrap();
        let numbers: Vec<u32> = there.iter().map(|it| it.number).collect();
        assert_eq!(numbers, [2, 4]);
        let early = after.complete(&session.id()).await;
        assert!(
            matches!(
                early,
                Err(UploadRefusal::PartsMissing {
                    n_missing: 2,
                    first: 1,
                    n_parts: 4,
                    ..
                })
            ),
            "{early:?}"
        );
        assert_eq!(store.head(KEY).await.unwrap(), None, "nothing shows early");
        send(&after, &session, 1, parts[0]).await.unwrap();
        send(&after, &session, 3, parts[2]).await.unwrap();
        let (_, received) = after.complete(&session.id()).await.unwrap();
        assert_eq!(received, Received::Stored);
        assert!(store.get_bytes(KEY).await.unwrap() == bytes);
        assert_eq!(n_objects(&store, "uploads").await, 1, "the session alone");

        let (_, received) = after.complete(&session.id()).await.unwrap();
        assert_eq!(received, Received::AlreadyThere);
        let late = send(&after, &session, 1, parts[0]).await;
        assert!(
            matches!(late, Err(UploadRefusal::Complete { .. })),
            "{late:?}"
        );
    }
}

#[tokio::test]
async fn a_part_is_what_was_signed() {
    let all = sessions(Store::memory());
    let bytes = content();
    let session = all.open(&wish(&bytes)).await.unwrap();
    let short = send(&all, &session, 1, &bytes[..PART - 1]).await;
    assert!(
        matches!(short, Err(UploadRefusal::TooShort { .. })),
        "{short:?}"
    );
    let long = send(&all, &session, 4, &bytes[..PART]).await;
    assert!(
        matches!(long, Err(UploadRefusal::TooLong { .. })),
        "{long:?}"
    );
    for number in [0, 5] {
        let none = send(&all, &session, number, &bytes[..PART]).await;
        assert!(
            matches!(none, Err(UploadRefusal::NoSuchPart { .. })),
            "{none:?}"
        );
    }
    assert_eq!(n_objects(&all.store, "uploads").await, 1);
}

/// Each part is what its sender said, and yet the whole is another file.
#[tokio::test]
async fn a_whole_of_another_hash_is_never_seen_and_its_parts_go() {
    let all = sessions(Store::memory());
    let bytes = content();
    let session = all.open(&wish(&bytes)).await.unwrap();
    send_all(&all, &session, &bytes).await;
    send(&all, &session, 2, &[0; PART]).await.unwrap();
    let refused = all.complete(&session.id()).await;
    assert!(
        matches!(refused, Err(UploadRefusal::OtherContent { .. })),
        "the later part counts: {refused:?}"
    );
    assert_eq!(all.store.head(KEY).await.unwrap(), None);
    let (_, parts) = all.find(&session.id()).await.unwrap();
    assert!(parts.is_empty());
    send_all(&all, &session, &bytes).await;
    all.complete(&session.id()).await.unwrap();
}

#[tokio::test]
async fn two_senders_of_one_file_make_one_object() {
    let all = sessions(Store::memory());
    let bytes = content();
    let wish = wish(&bytes);
    let opened = futures::future::join_all((0..8).map(|_| all.open(&wish))).await;
    let session = all.open(&wish).await.unwrap();
    for other in opened {
        assert_eq!(other.unwrap().id(), session.id());
    }
    tokio::join!(
        send_all(&all, &session, &bytes),
        send_all(&all, &session, &bytes)
    );
    let id = session.id();
    let completed = futures::future::join_all((0..8).map(|_| all.complete(&id))).await;
    for it in completed {
        it.unwrap();
    }
    assert!(all.store.get_bytes(KEY).await.unwrap() == bytes);
}

#[tokio::test]
async fn what_lies_there_stays_or_goes_as_the_session_says() {
    let all = sessions(Store::memory());
    let bytes = content();
    all.store
        .put_bytes(KEY, "before", Put::Create)
        .await
        .unwrap();
    let session = all.open(&wish(&bytes)).await.unwrap();
    send_all(&all, &session, &bytes).await;
    let refused = all.complete(&session.id()).await;
    assert!(
        matches!(refused, Err(UploadRefusal::Exists { .. })),
        "{refused:?}"
    );
    assert_eq!(all.store.get_bytes(KEY).await.unwrap(), "before");

    let replacing = NewSession {
        create_only: false,
        ..wish(&bytes)
    };
    let again = all.open(&replacing).await.unwrap();
    assert_eq!(again.id(), session.id());
    all.complete(&session.id()).await.unwrap();
    assert!(all.store.get_bytes(KEY).await.unwrap() == bytes);
    all.store.delete(KEY).await.unwrap();
    let gone = all.complete(&session.id()).await;
    assert!(
        matches!(gone, Err(UploadRefusal::Forgotten { .. })),
        "{gone:?}"
    );
    let reopened = all.open(&wish(&bytes)).await.unwrap();
    assert_eq!(reopened.stored_at, None);
    send_all(&all, &reopened, &bytes).await;
    let (_, received) = all.complete(&session.id()).await.unwrap();
    assert_eq!(received, Received::Stored);
}

#[tokio::test]
async fn an_upload_that_nobody_ends_is_swept_a_week_later() {
    let all = sessions(Store::memory());
    let bytes = content();
    let session = all.open(&wish(&bytes)).await.unwrap();
    send(&all, &session, 1, &bytes[..PART]).await.unwrap();
    let orphan = ObjectKey::UploadPart {
        upload: session_id("another", 0, ""),
        number: 1,
        sha256: hash_of(b"").to_string(),
    };
    all.store.put_bytes(&orphan, "", Put::Create).await.unwrap();

    let swept = all.sweep(Utc::now()).await.unwrap();
    assert_eq!((swept.n_seen, swept.n_removed), (2, 0));
    let later = Utc::now() + KEPT_FOR + TimeDelta::seconds(1);
    let swept = all.sweep(later).await.unwrap();
    assert_eq!((swept.n_seen, swept.n_removed), (2, 2));
    assert_eq!(n_objects(&all.store, "uploads").await, 0);
}

#[tokio::test]
async fn giving_up_twice_is_giving_up_once() {
    let all = sessions(Store::memory());
    let bytes = content();
    let session = all.open(&wish(&bytes)).await.unwrap();
    send(&all, &session, 1, &bytes[..PART]).await.unwrap();
    all.give_up(&session.id()).await.unwrap();
    all.give_up(&session.id()).await.unwrap();
    assert_eq!(n_objects(&all.store, "uploads").await, 0);
    let gone = send(&all, &session, 1, &bytes[..PART]).await;
    assert!(
        matches!(gone, Err(UploadRefusal::NoSession { .. })),
        "{gone:?}"
    );
}
