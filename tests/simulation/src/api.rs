//! The real router, in a process of its own.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use cellmill_api::{ApiParts, LocalUser, QueueNotify, Settings, router};
use cellmill_queue::Queue;
use cellmill_store::Store;
use cellmill_store::uploads::{ApiUploads, Signer, StagedParts};
use futures::future::BoxFuture;
use http::Request;
use http_body_util::{BodyExt as _, Collected, Full};
use tower_service::Service as _;

use crate::machine::Process;
use crate::roles::Homes;

/// Status and body.
type Answer = BoxFuture<'static, (u16, Bytes)>;

/// The api in a process that runs.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) process: Arc<Process>,
    pub(crate) store: Store,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) answer: Arc<dyn Fn(Request<Full<Bytes>>) -> Answer + Send + Sync>,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Api").field(&self.process).finish()
    }
}

impl Api {
    /// The api over the homes as the process sees them.
    pub(crate) fn new(process: &Arc<Process>, homes: &Homes) -> Self {
        let (store, queue) = (process.store(&homes.store), homes.queue(process));
        let signer = Signer::with_secret([7; 32]);
        let parts = ApiParts {
            store: store.clone(),
            queue: Arc::clone(&queue),
            signer: Arc::new(ApiUploads {
                signer: signer.clone(),
                endpoint: "/uploads".to_owned(),
            }),
            multipart: Arc::new(StagedParts {
                store: store.clone(),
                signer: signer.clone(),
                endpoint: "/uploads/parts".to_owned(),
            }),
            downloads: None,
            receiver: Some(signer),
            notify: Arc::new(QueueNotify(Arc::clone(&queue))),
            identity: Arc::new(LocalUser),
            settings: Settings {
                window: process.world.plan.window,
                ..Settings::default()
            },
        };
        let router = router(parts);
        let answer = move |request: Request<Full<Bytes>>| -> Answer {
            let mut router = router.clone();
            Box::pin(async move {
                let Ok(answer) = router.call(request).await;
                let status = answer.status().as_u16();
                let body = answer.into_body().collect().await;
                (status, body.map(Collected::to_bytes).unwrap_or_default())
            })
        };
        Self {
            process: Arc::clone(process),
            store,
            queue,
            answer: Arc::new(answer),
        }
    }
}
