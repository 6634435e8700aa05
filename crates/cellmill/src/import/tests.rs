//! Sending, against a running api and against a storage that answers as it likes.

use std::path::Path;
use std::sync::Arc;

use cellmill_api::views::FileKind;
use cellmill_api::{ApiParts, LocalUser, QueueNotify, Settings, router, serve};
use cellmill_core::ids::sha256_hex;
use cellmill_queue::MemoryQueue;
use cellmill_store::Store;
use cellmill_store::uploads::{ApiUploads, Download, SignDownloads, Signer, StagedParts};
use futures::TryStreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::client::{Client, SignedRequest};

use super::hash::fingerprint_of_parts;
use super::plan::PlannedFile;
use super::progress::Progress;
use super::report::Outcome;
use super::send::{Asked, Delivered, Delivery, Resumed, Sender, upload_of};

const PART: usize = 1000;

/// An api over a memory store that wants files above [`PART`] in parts.
async fn api(downloads: Option<Arc<dyn SignDownloads>>) -> (Store, Client) {
    let store = Store::memory();
    let queue = Arc::new(MemoryQueue::default());
    let signer = Signer::of_home(&store).await.unwrap();
    let parts = ApiParts {
        store: store.clone(),
        queue: Arc::<MemoryQueue>::clone(&queue),
        signer: Arc::new(ApiUploads {
            signer: signer.clone(),
            endpoint: "/uploads".to_owned(),
        }),
        multipart: Arc::new(StagedParts {
            store: store.clone(),
            signer: signer.clone(),
            endpoint: "/uploads/parts".to_owned(),
        }),
        downloads,
        receiver: Some(signer),
        notify: Arc::new(QueueNotify(queue)),
        identity: Arc::new(LocalUser),
        settings: Settings {
            parts_above: PART as u64,
            part_bytes: PART as u64,
            ..Settings::default()
        },
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(serve(listener, router(parts), std::future::pending()));
    (store, client)
}

fn content(shade: u8) -> Vec<u8> {
    (0..3 * PART + 10)
        .map(|it| (it / PART) as u8 + shade)
        .collect()
}

fn planned(path: &Path, bytes: &[u8]) -> PlannedFile {
    std::fs::write(path, bytes).unwrap();
    PlannedFile {
        path: path.to_owned(),
        kind: FileKind::Image,
        batch: "b".to_owned(),
        case: "c".to_owned(),
        date: None,
        name: "a.bmp".to_owned(),
        bytes: bytes.len() as u64,
        key: "img/b/c/Images/a.bmp".to_owned(),
        subject: "b/c/a".to_owned(),
        label_type: None,
        part: None,
    }
}

/// What an import knows of a file once it has asked for it.
async fn asked(client: &Client, file: &PlannedFile) -> Asked {
    let found = fingerprint_of_parts(&file.path, PART as u64).unwrap();
    let upload = upload_of(file, &found);
    let mut grants = client
        .ask_uploads(std::slice::from_ref(&upload))
        .await
        .unwrap();
    Asked {
        file: file.clone(),
        upload,
        parts: found.parts,
        grant: grants.remove(0),
    }
}

fn sender(client: &Client) -> Sender {
    Sender::new(client.clone(), Progress::of_bytes(1, false), 3)
}

async fn deliver(client: &Client, file: &PlannedFile) -> Delivery {
    let sender = sender(client);
    let delivered = sender.deliver(std::slice::from_ref(file));
    let mut delivered: Vec<Delivered> = delivered.try_collect().await.unwrap();
    delivered.remove(0).delivery
}

/// Sends some parts as an import does that is killed after them.
async fn send_some(client: &Client, asked: &Asked, bytes: &[u8], numbers: &[u32]) {
    let id = asked.grant.upload.as_deref().unwrap();
    for number in numbers {
        let start = (*number as usize - 1) * PART;
        let part = &bytes[start..bytes.len().min(start + PART)];
        let wanted = cellmill_api::views::WantedPartBody {
            number: *number,
            sha256: sha256_hex(part),
        };
        let signed = client.sign_parts(id, vec![wanted]).await.unwrap().remove(0);
        let signed = SignedRequest {
            method: signed.method,
            url: signed.url,
            headers: signed.headers,
        };
        let body = part.to_vec();
        client
            .put(&signed, part.len() as u64, body.into())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_second_import_sends_only_what_is_missing() {
    let (store, client) = api(None).await;
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(1);
    let file = planned(&folder.path().join("a.bmp"), &bytes);
    let killed = asked(&client, &file).await;
    send_some(&client, &killed, &bytes, &[4, 2]).await;
    let resumed = Some(Resumed {
        n_there: 2,
        n_parts: 4,
    });
    let sent = |resumed| Delivery::Sent {
        replaces: false,
        resumed,
    };
    assert_eq!(deliver(&client, &file).await, sent(resumed));
    assert!(store.get_bytes(&file.key).await.unwrap() == bytes);
    assert_eq!(deliver(&client, &file).await, Delivery::StoredBefore);
}

/// A part with other bytes is there: its sender saw the file as it was then.
#[tokio::test]
async fn a_part_that_is_not_ours_is_sent_again() {
    let (store, client) = api(None).await;
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(1);
    let file = planned(&folder.path().join("a.bmp"), &bytes);
    let killed = asked(&client, &file).await;
    send_some(&client, &killed, &content(9), &[1]).await;
    send_some(&client, &killed, &bytes, &[2]).await;
    let Delivery::Sent { resumed, .. } = deliver(&client, &file).await else {
        panic!("it is not there");
    };
    assert_eq!(resumed.map(|it| it.n_there), Some(1));
    assert!(store.get_bytes(&file.key).await.unwrap() == bytes);
}

#[tokio::test]
async fn an_upload_that_was_given_up_meanwhile_begins_again() {
    let (store, client) = api(None).await;
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(1);
    let file = planned(&folder.path().join("a.bmp"), &bytes);
    let asked = asked(&client, &file).await;
    let id = asked.grant.upload.clone().unwrap();
    let id = cellmill_core::ids::UlidText::parse(&id).unwrap();
    store
        .delete(&cellmill_core::keys::ObjectKey::Upload(id))
        .await
        .unwrap();
    let delivery = sender(&client).put_parts(&asked).await.unwrap();
    assert!(matches!(delivery, Delivery::Sent { .. }), "{delivery:?}");
    assert!(store.get_bytes(&file.key).await.unwrap() == bytes);
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_sent_is_not_stored() {
    let (store, client) = api(None).await;
    let folder = tempfile::tempdir().unwrap();
    let file = planned(&folder.path().join("a.bmp"), &content(1));
    let asked = asked(&client, &file).await;
    for changed in [content(2), content(1)[1..].to_vec()] {
        std::fs::write(&file.path, changed).unwrap();
        let delivery = sender(&client).put_parts(&asked).await.unwrap();
        let Delivery::NotTaken { outcome, code, .. } = &delivery else {
            panic!("{delivery:?}");
        };
        assert_eq!((*outcome, &**code), (Outcome::Failed, "changed"));
    }
    assert_eq!(store.head(&file.key).await.unwrap(), None);
}

#[tokio::test]
async fn another_image_under_the_key_is_a_conflict() {
    let (store, client) = api(None).await;
    let folder = tempfile::tempdir().unwrap();
    let file = planned(&folder.path().join("a.bmp"), &content(1));
    let asked = asked(&client, &file).await;
    store
        .put_bytes(&file.key, "other", cellmill_store::Put::Create)
        .await
        .unwrap();
    let delivery = sender(&client).put_parts(&asked).await.unwrap();
    let Delivery::NotTaken { outcome, .. } = &delivery else {
        panic!("{delivery:?}");
    };
    assert_eq!(*outcome, Outcome::Conflict);
}

/// Answers every request with `answer`; gives its address, and the head of the first request.
async fn storage(answer: String) -> (String, tokio::sync::oneshot::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let _ = tell.send(String::from_utf8(head).unwrap());
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    (address, told)
}

fn http(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

#[derive(Debug)]
struct Elsewhere(String);

impl SignDownloads for Elsewhere {
    fn sign<'a, 'b, 'c>(
        &'a self,
        download: &'b Download,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<String, cellmill_store::Error>> + Send + 'c>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        let url = format!("{}/{}?signed", self.0, download.key);
        Box::pin(std::future::ready(Ok(url)))
    }
}

/// A signed address refuses what it was not signed for.
#[tokio::test]
async fn bytes_that_lie_elsewhere_are_asked_for_by_a_plain_new_request() {
    let (address, told) = storage(http("200 OK", "the bytes")).await;
    let (store, client) = api(Some(Arc::new(Elsewhere(address)))).await;
    let key = "img/b/c/Images/a.bmp";
    store
        .put_bytes(key, "x", cellmill_store::Put::Create)
        .await
        .unwrap();
    let record = cellmill_core::records::ImageRecord::expected(key.parse().unwrap());
    let record_key = cellmill_core::keys::ObjectKey::ImageRecord(key.parse().unwrap());
    store.create(&record_key, record).await.unwrap();
    assert_eq!(client.image_bytes(key).await.unwrap(), b"the bytes");
    let head = told.await.unwrap().to_lowercase();
    assert!(
        head.starts_with("get /img/b/c/images/a.bmp?signed "),
        "{head}"
    );
    let names: Vec<&str> = head
        .lines()
        .skip(1)
        .filter_map(|it| Some(it.split_once(':')?.0))
        .collect();
    assert!(
        names.iter().all(|it| ["accept", "host"].contains(it)),
        "{names:?}"
    );
}

#[tokio::test]
async fn a_refusal_of_the_storage_is_told_in_its_words_and_with_a_next_step() {
    let body = "<Error><Code>SignatureDoesNotMatch</Code><Message>It differs.</Message></Error>";
    let (address, _told) = storage(http("403 Forbidden", body)).await;
    let (_, client) = api(None).await;
    let signed = SignedRequest {
        method: "PUT".to_owned(),
        url: format!("{address}/key"),
        ..SignedRequest::default()
    };
    let error = client.put(&signed, 0, "".into()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the storage refused: It differs (SignatureDoesNotMatch)"
    );
    assert!(error.hint().is_some());
    assert!(!super::send::wants_fresh_grant(&error));
}
