//! A running api with the functions behind it, and a client.

use std::sync::Arc;
use std::time::Duration;

use cellmill_api::{ApiParts, LocalUser, QueueNotify, Settings, router, serve};
use cellmill_core::ids::sha256_hex;
use cellmill_core::messages::{POINTS, UPLOADS};
use cellmill_core::points::CsvLimits;
use cellmill_fn_ingest::Ingest;
use cellmill_fn_label::Label;
use cellmill_queue::{MemoryQueue, Queue, QueueName};
use cellmill_store::Store;
use cellmill_store::uploads::{ApiUploads, SignDownloads, Signer, StagedParts};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.bytes)))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |it| it.to_str().unwrap())
    }

    /// Status and code of an error, to compare both at once.
    pub(crate) fn error(&self) -> (u16, String) {
        (
            self.status,
            self.json()["code"].as_str().unwrap_or("no code").to_owned(),
        )
    }
}

pub(crate) struct Server {
    pub(crate) base: String,
    pub(crate) store: Store,
    pub(crate) queue: Arc<MemoryQueue>,
    ingest: Ingest,
    label: Label,
    client: reqwest::Client,
    _stop: oneshot::Sender<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::over(Store::memory(), Settings::default()).await
    }

    pub(crate) async fn over(store: Store, settings: Settings) -> Self {
        Self::with_downloads(store, settings, None).await
    }

    pub(crate) async fn with_downloads(
        store: Store,
        settings: Settings,
        downloads: Option<Arc<dyn SignDownloads>>,
    ) -> Self {
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
            notify: Arc::new(QueueNotify(Arc::<MemoryQueue>::clone(&queue))),
            identity: Arc::new(LocalUser),
            settings,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(serve(listener, router(parts), async move {
            let _ = stopped.await;
        }));
        let ingest = Ingest {
            store: store.clone(),
            queue: Arc::<MemoryQueue>::clone(&queue),
            limits: cellmill_vision::Limits::default(),
            budget: cellmill_vision::DecodeBudget::default(),
        };
        Self {
            base,
            label: Label::new(store.clone(), CsvLimits::default()),
            store,
            queue,
            ingest,
            client: client(),
            _stop: stop,
        }
    }

    /// Handles the messages of uploads and points until there are none.
    pub(crate) async fn work(&self) {
        while self.work_once(UPLOADS).await || self.work_once(POINTS).await {}
    }

    async fn work_once(&self, queue: &'static str) -> bool {
        let name = QueueName::parse(queue).unwrap();
        let visibility = Duration::from_mins(1);
        let messages = self
            .queue
            .receive(&name, 10, visibility, Duration::ZERO)
            .await
            .unwrap();
        for message in &messages {
            let end = match queue {
                UPLOADS => self.ingest.handle(&message.body).await,
                _ => self.label.handle(&message.body).await,
            };
            assert!(end.is_final(), "{end:?}: {}", message.body);
            self.queue
                .delete(&name, std::slice::from_ref(&message.receipt))
                .await
                .unwrap();
        }
        !messages.is_empty()
    }

    /// How many messages wait in a queue.
    pub(crate) async fn n_waiting(&self, queue: &str) -> u64 {
        let name = QueueName::parse(queue).unwrap();
        self.queue.depth(&name).await.unwrap().visible
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            bytes: response.bytes().await.unwrap().to_vec(),
        }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request("POST", path).json(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request("PUT", path).json(body)).await
    }

    /// Asks for one grant.
    pub(crate) async fn grant(&self, file: &Value) -> Value {
        let answer = self
            .post("/api/v1/uploads", &json!({ "files": [file] }))
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["files"][0].clone()
    }

    /// Sends bytes as a grant says.
    pub(crate) async fn send_granted(&self, grant: &Value, bytes: &[u8]) -> Answer {
        assert_eq!(grant["status"], "send", "{grant}");
        let mut request = self.request("PUT", grant["url"].as_str().unwrap());
        for (name, value) in grant["headers"].as_object().unwrap() {
            if name != "content-length" {
                request = request.header(name, value.as_str().unwrap());
            }
        }
        self.send(request.body(bytes.to_vec())).await
    }

    /// Uploads a file and lets the functions handle it. Gives its key.
    pub(crate) async fn upload(&self, file: &Value, bytes: &[u8]) -> String {
        let grant = self.grant(file).await;
        let answer = self.send_granted(&grant, bytes).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        self.work().await;
        grant["key"].as_str().unwrap().to_owned()
    }

    /// Sends text as it stands and reads the answer's status, perhaps before a body is sent.
    pub(crate) async fn raw(&self, text: &str) -> u16 {
        let mut stream = TcpStream::connect(self.base.trim_start_matches("http://"))
            .await
            .unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut head));
        read.await
            .expect("an answer comes without the body")
            .unwrap();
        std::str::from_utf8(&head[9..12]).unwrap().parse().unwrap()
    }
}

/// A client that follows no redirect.
fn client() -> reqwest::Client {
    // Built beside programs that speak TLS, `reqwest` wants to know with what, also for 127.0.0.1.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    builder.build().unwrap()
}

/// An image to upload to `img/`.
pub(crate) fn image(name: &str, bytes: &[u8]) -> Value {
    file("hospital", "image", "b1", "c1", name, bytes)
}

/// A doctor's CSV for an image of the same stem in `img/`.
pub(crate) fn points(name: &str, bytes: &[u8]) -> Value {
    let mut file = file("hospital", "points", "b1", "c1", name, bytes);
    file["date"] = json!("2019-7-22");
    file
}

pub(crate) fn file(
    root: &str,
    kind: &str,
    batch: &str,
    case: &str,
    name: &str,
    bytes: &[u8],
) -> Value {
    json!({
        "root": root, "kind": kind, "batch": batch, "case": case, "name": name,
        "bytes": bytes.len(), "sha256": sha256_hex(bytes),
    })
}

/// A BMP of 24 bits a pixel, all of one shade: the smallest honest photograph.
pub(crate) fn bmp(width: u32, height: u32, shade: u8) -> Vec<u8> {
    let row = (width * 3).next_multiple_of(4);
    let size = 54 + row * height;
    let mut bytes = b"BM".to_vec();
    for word in [
        size,
        0,
        54,
        40,
        width,
        height,
        1 | 24 << 16,
        0,
        row * height,
        2835,
        2835,
        0,
        0,
    ] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.resize(size as usize, shade);
    bytes
}

/// A text as it stands in a query or a path.
pub(crate) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
