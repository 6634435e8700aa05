//! Reads where a bucket hands out the bytes: the api answers with a signed address and sends none itself.

use std::sync::Arc;

use cellmill_api::Settings;
use cellmill_store::Store;
use cellmill_store::uploads::{Download, SignDownloads};

use crate::server::{Server, bmp, escaped, image};

/// Signs nothing, and says what it was asked.
#[derive(Debug)]
struct Shown;

#[async_trait::async_trait]
impl SignDownloads for Shown {
    async fn sign(&self, download: &Download) -> Result<String, cellmill_store::Error> {
        let Download {
            key,
            content_type,
            is_attachment,
            ttl,
        } = download;
        let seconds = ttl.as_secs();
        Ok(format!(
            "https://bucket.test/{key}?type={content_type}&save={is_attachment}&s={seconds}"
        ))
    }
}

#[tokio::test]
async fn bytes_are_read_from_the_bucket_by_a_short_signed_address() {
    let server =
        Server::with_downloads(Store::memory(), Settings::default(), Some(Arc::new(Shown))).await;
    let bytes = bmp(20, 10, 7);
    let key = server.upload(&image("a.bmp", &bytes), &bytes).await;
    let path = format!("/api/v1/image/bytes?key={}", escaped(&key));
    let answer = server.get(&path).await;
    assert_eq!((answer.status, answer.bytes.len()), (303, 0));
    assert_eq!(
        answer.header("location"),
        "https://bucket.test/img/b1/c1/Images/a.bmp?type=image/bmp&save=false&s=60"
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    let thumbnail = format!("/api/v1/image/thumbnail?key={}", escaped(&key));
    let thumbnail = server.get(&thumbnail).await;
    assert_eq!(thumbnail.status, 303);
    assert!(thumbnail.header("location").contains("type=image/jpeg"));

    let head = server.store.head(&key).await.unwrap().unwrap();
    let known = server.request("GET", &path);
    let known = known.header(
        "if-none-match",
        format!("\"{}\"", head.etag.trim_matches('"')),
    );
    assert_eq!(server.send(known).await.status, 304);
    server.store.delete(&key).await.unwrap();
    assert_eq!(server.get(&path).await.error().0, 404);
}
