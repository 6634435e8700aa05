//! What the router is made of.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use cellmill_core::events::{self, ObjectCreated};
use cellmill_core::job::DEFAULT_WINDOW;
use cellmill_core::keys::ObjectKey;
use cellmill_core::messages::{POINTS, UPLOADS};
use cellmill_core::timing::Timing;
use cellmill_core::uploads::{PART_BYTES, PARTS_ABOVE};
use cellmill_queue::{Outgoing, Queue, QueueName};
use cellmill_store::uploads::{PartUploads, Sessions, SignDownloads, SignUploads, Signer};
use cellmill_store::{Head, Store};
use chrono::{DateTime, FixedOffset, Offset as _, Utc};

use crate::person::Identify;
use crate::routes::metrics::Metrics;

/// Is told of every upload that this api stored itself. On AWS the bucket tells, and nothing is to do.
#[async_trait::async_trait]
pub trait Notify: Send + Sync + 'static {
    /// The object is there, whole. After an error the uploader is asked to send again.
    async fn created(&self, key: &ObjectKey, head: &Head) -> Result<(), cellmill_queue::Error>;
}

/// Tells by the queue, with the event that a bucket would send.
#[derive(Clone, Debug)]
pub struct QueueNotify(pub Arc<dyn Queue>);

#[async_trait::async_trait]
impl Notify for QueueNotify {
    async fn created(&self, key: &ObjectKey, head: &Head) -> Result<(), cellmill_queue::Error> {
        let queue = match key {
            ObjectKey::Image(_) => UPLOADS_QUEUE,
            ObjectKey::Points(_) => POINTS_QUEUE,
            // Nothing listens to other objects.
            _ => return Ok(()),
        };
        let event = events::print(&ObjectCreated {
            key: key.to_path(),
            etag: Some(head.etag.clone()),
            size: Some(head.size),
            version_id: None,
            sequencer: None,
        });
        self.0.send(&queue, &[Outgoing::now(event)]).await
    }
}

const UPLOADS_QUEUE: QueueName = QueueName::from_static(UPLOADS);
pub(crate) const POINTS_QUEUE: QueueName = QueueName::from_static(POINTS);

/// Limits and rules, all with the defaults of the design.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The largest image, 256 MiB.
    pub max_image_bytes: u64,
    /// The largest CSV of points, 64 MiB.
    pub max_points_bytes: u64,
    /// The largest body of any other request, 1 MiB.
    pub max_body_bytes: u64,
    /// How long a signed URL may be used, 15 minutes.
    pub upload_ttl: Duration,
    /// A larger image is sent in parts, 32 MiB.
    pub parts_above: u64,
    /// The least length of a part, 8 MiB. S3 takes none below 5 MiB.
    pub part_bytes: u64,
    /// How long a body may pause, 30 s.
    pub body_pause: Duration,
    /// How many units of a job are out as hints at once.
    pub window: usize,
    /// When a unit counts as silent.
    pub timing: Timing,
    /// Where a day begins, for the ids of new batches. UTC.
    pub time_zone: FixedOffset,
    /// Names in `Host` that are answered beside addresses and `localhost`. None.
    pub hosts: Vec<String>,
    /// Serve the predecessor's workers, to this machine and where the store is a folder. Off.
    pub legacy_workers: bool,
    /// How long a look that `/metrics` took is told again, 10 s. `None`: the figures are not told here.
    pub metrics: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_image_bytes: 256 << 20,
            max_points_bytes: 64 << 20,
            max_body_bytes: 1 << 20,
            upload_ttl: Duration::from_mins(15),
            parts_above: PARTS_ABOVE,
            part_bytes: PART_BYTES,
            body_pause: Duration::from_secs(30),
            window: DEFAULT_WINDOW,
            timing: Timing::default(),
            time_zone: Utc.fix(),
            hosts: Vec::new(),
            legacy_workers: false,
            metrics: Some(Duration::from_secs(10)),
        }
    }
}

/// The other parts that the router stands on.
#[derive(Clone)]
pub struct ApiParts {
    pub store: Store,
    pub queue: Arc<dyn Queue>,
    /// Makes the URLs that uploads are sent to.
    pub signer: Arc<dyn SignUploads>,
    /// Takes large files in parts.
    pub multipart: Arc<dyn PartUploads>,
    /// Makes the URLs that images and files are read from. `None`: this api sends their bytes itself.
    pub downloads: Option<Arc<dyn SignDownloads>>,
    /// Verifies the tokens of uploads that this api takes itself. `None`: they go to the bucket.
    pub receiver: Option<Signer>,
    pub notify: Arc<dyn Notify>,
    pub identity: Arc<dyn Identify>,
    pub settings: Settings,
}

impl fmt::Debug for ApiParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The signer holds a secret.
        f.debug_struct("ApiParts")
            .field("store", &self.store)
            .field("queue", &self.queue)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// The state that every handler gets.
#[derive(Clone, Debug)]
pub(crate) struct App(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    parts: ApiParts,
    /// The milliseconds of the last case id.
    last_case_ms: AtomicI64,
    metrics: Metrics,
}

impl App {
    pub(crate) fn new(parts: ApiParts) -> Self {
        // Now is the start that the figures tell.
        cellmill_service::metrics::process(&mut cellmill_service::metrics::Page::default());
        Self(Arc::new(Inner {
            parts,
            last_case_ms: AtomicI64::new(0),
            metrics: Metrics::default(),
        }))
    }

    /// What this process counted.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The uploads in parts.
    pub(crate) fn sessions(&self) -> Sessions {
        Sessions {
            store: self.store.clone(),
            home: Arc::clone(&self.multipart),
        }
    }

    /// Milliseconds of now, later than those of every earlier call: two cases never share an id.
    pub(crate) fn fresh_ms(&self, now: DateTime<Utc>) -> i64 {
        let now = now.timestamp_millis();
        let next = |last: i64| Some(now.max(last + 1));
        let last = self
            .0
            .last_case_ms
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .expect("`next` always gives a number");
        now.max(last + 1)
    }
}

impl std::ops::Deref for App {
    type Target = ApiParts;
    fn deref(&self) -> &ApiParts {
        &self.0.parts
    }
}
