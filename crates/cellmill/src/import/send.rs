//! Sending: which files the server wants, and their bytes, several at a time, again when something passing went wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cellmill_api::views::{FileTree, UploadAnswer, UploadFile, UploadStatus};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use rayon::prelude::*;
use reqwest::Body;
use tokio::fs::File;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::io::ReaderStream;

use crate::client::{self, Client, SignedRequest};

use super::hash::{Fingerprint, PartHashes, fingerprint};
use super::plan::PlannedFile;
use super::progress::Progress;
use super::report::Outcome;

/// Files that are asked for at once: an answer for so many stays small, and no grant is old when its turn comes.
const CHUNK: usize = 200;
/// Pieces of a file on their way.
pub(super) const PIECE_BYTES: usize = 64 * 1024;
/// A grant that keeps being refused is not a matter of time.
pub(super) const MAX_FRESH_GRANTS: u32 = 3;

/// Sends files to one server.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    pub(super) client: Client,
    pub(super) progress: Progress,
    /// Uploads at a time, parts of large files among them.
    pub(super) parallel: usize,
    permits: Arc<Semaphore>,
}

/// What became of one file.
#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) file: PlannedFile,
    pub(super) bytes: u64,
    pub(super) delivery: Delivery,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    Sent {
        /// Other bytes lay under its key.
        replaces: bool,
        /// Some of its parts were there.
        resumed: Option<Resumed>,
    },
    StoredBefore,
    NotTaken {
        outcome: Outcome,
        code: String,
        reason: String,
    },
}

/// How much of a file in parts an earlier try had sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resumed {
    pub(super) n_there: u64,
    pub(super) n_parts: u64,
}

/// A hashed file with the server's answer.
pub(super) struct Asked {
    pub(super) file: PlannedFile,
    pub(super) upload: UploadFile,
    pub(super) parts: Option<PartHashes>,
    pub(super) grant: UploadAnswer,
}

impl Sender {
    pub(super) fn new(client: Client, progress: Progress, parallel: usize) -> Self {
        Self {
            client,
            progress,
            parallel,
            permits: Arc::new(Semaphore::new(parallel)),
        }
    }

    /// The right to have a body on its way.
    pub(super) async fn permit(&self) -> SemaphorePermit<'_> {
        let permit = self.permits.acquire().await;
        permit.expect("the semaphore is never closed")
    }

    /// Delivers the files. The stream ends with an error only when the server is gone for good.
    pub(super) fn deliver<'a>(
        &'a self,
        files: &'a [PlannedFile],
    ) -> impl Stream<Item = Result<Delivered, client::Error>> + 'a {
        let asked = stream::iter(files.chunks(CHUNK)).map(|chunk| self.ask(chunk.to_vec()));
        asked
            .buffered(2)
            .map_ok(|answers| stream::iter(answers.into_iter().map(Ok)))
            .try_flatten()
            .map_ok(|answer: Result<Asked, Box<Delivered>>| async {
                match answer {
                    Ok(asked) => self.finish(asked).await,
                    Err(delivered) => Ok(*delivered),
                }
            })
            .try_buffer_unordered(self.parallel)
    }

    /// Hashes some files and asks what to do with them. Files that cannot be read are delivered as failed.
    async fn ask(
        &self,
        files: Vec<PlannedFile>,
    ) -> Result<Vec<Result<Asked, Box<Delivered>>>, client::Error> {
        let hashed = tokio::task::spawn_blocking(move || {
            let hash = |file: PlannedFile| (fingerprint(&file.path), file);
            files.into_par_iter().map(hash).collect::<Vec<_>>()
        });
        let hashed = hashed.await.expect("hashing files panics nowhere");
        let mut answers = Vec::with_capacity(hashed.len());
        let mut readable = Vec::with_capacity(hashed.len());
        for (found, file) in hashed {
            match found {
                Ok(found) => readable.push((upload_of(&file, &found), found.parts, file)),
                Err(error) => {
                    self.progress.add(file.bytes);
                    answers.push(Err(Box::new(Delivered::unread(file, &error))));
                }
            }
        }
        let uploads: Vec<UploadFile> = readable.iter().map(|(it, ..)| it.clone()).collect();
        let grants = match uploads.len() {
            0 => Vec::new(),
            _ => patiently(|| self.client.ask_uploads(&uploads)).await?,
        };
        let asked = readable
            .into_iter()
            .zip(grants)
            .map(|((upload, parts, file), grant)| {
                Ok(Asked {
                    file,
                    upload,
                    parts,
                    grant,
                })
            });
        answers.extend(asked);
        Ok(answers)
    }

    async fn finish(&self, asked: Asked) -> Result<Delivered, client::Error> {
        let delivery = match asked.grant.status {
            UploadStatus::Send => self.put(&asked).await?,
            UploadStatus::SendParts => self.put_parts(&asked).await?,
            status => {
                self.progress.add(asked.upload.bytes);
                not_to_send(status, &asked.grant)
            }
        };
        Ok(Delivered {
            bytes: asked.upload.bytes,
            file: asked.file,
            delivery,
        })
    }

    /// Puts the bytes until the server has them, or says that it does not want them.
    async fn put(&self, asked: &Asked) -> Result<Delivery, client::Error> {
        let mut grant = asked.grant.clone();
        let mut n_grants = 0;
        let mut backoff = Backoff::default();
        loop {
            let error = match self.put_once(asked, &grant).await {
                Ok(None) => return Ok(sent(asked, None)),
                Ok(Some(trouble)) => return Ok(trouble),
                Err(error) => error,
            };
            if wants_fresh_grant(&error) && n_grants < MAX_FRESH_GRANTS {
                n_grants += 1;
                let file = std::slice::from_ref(&asked.upload);
                let fresh = patiently(|| self.client.ask_uploads(file)).await?;
                match fresh.into_iter().next() {
                    Some(fresh) if fresh.status == UploadStatus::Send => grant = fresh,
                    // An earlier try went through although its answer was lost.
                    Some(fresh) if fresh.status == UploadStatus::Stored => {
                        return Ok(sent(asked, None));
                    }
                    Some(fresh) => return Ok(not_to_send(fresh.status, &fresh)),
                    None => return Ok(refusal(&error)),
                }
            } else if !error.is_passing() {
                return Ok(refusal(&error));
            } else if !backoff.wait(&error).await {
                return match error {
                    client::Error::NotReachable { .. } => Err(error),
                    // The others may still get through: this may be about this file alone.
                    _ => Ok(failed("not_sent", &error)),
                };
            }
        }
    }

    /// One try. `Ok(Some)`: the file on this side is the trouble.
    async fn put_once(
        &self,
        asked: &Asked,
        grant: &UploadAnswer,
    ) -> Result<Option<Delivery>, client::Error> {
        let n_bytes = asked.upload.bytes;
        let opened = async {
            let file = File::open(&asked.file.path).await?;
            let length = file.metadata().await?.len();
            Ok::<_, std::io::Error>((file, length))
        };
        let file = match opened.await {
            Ok((file, length)) if length == n_bytes => file,
            Ok(_) => return Ok(Some(changed())),
            Err(error) => return Ok(Some(failed("unreadable", &error))),
        };
        let _permit = self.permit().await;
        let sent = Arc::new(AtomicU64::new(0));
        let (counter, progress) = (Arc::clone(&sent), self.progress.clone());
        let pieces = ReaderStream::with_capacity(file, PIECE_BYTES).inspect_ok(move |piece| {
            counter.fetch_add(piece.len() as u64, Ordering::Relaxed);
            progress.add(piece.len() as u64);
        });
        let body = Body::wrap_stream(pieces);
        let answer = self
            .client
            .put(&SignedRequest::of(grant), n_bytes, body)
            .await;
        if answer.is_err() {
            self.progress.take_back(sent.load(Ordering::Relaxed));
        }
        answer.map(|()| None)
    }
}

impl Delivered {
    fn unread(file: PlannedFile, error: &std::io::Error) -> Self {
        Self {
            bytes: file.bytes,
            file,
            delivery: failed("unreadable", error),
        }
    }
}

pub(super) fn sent(asked: &Asked, resumed: Option<Resumed>) -> Delivery {
    Delivery::Sent {
        replaces: asked.grant.replaces,
        resumed,
    }
}

/// Whether a refusal is about the signature's time, or may be about our own earlier try: then a new question
/// decides.
pub(super) fn wants_fresh_grant(error: &client::Error) -> bool {
    const HOPELESS: [&str; 2] = ["SignatureDoesNotMatch", "InvalidAccessKeyId"];
    match error.status() {
        Some(403) => error.code().is_none_or(|it| !HOPELESS.contains(&it)),
        // Something lies under the key, which may be what we sent.
        Some(412) => true,
        _ => error.code() == Some("ExpiredToken"),
    }
}

pub(super) fn upload_of(file: &PlannedFile, found: &Fingerprint) -> UploadFile {
    UploadFile {
        root: FileTree::Hospital,
        kind: file.kind,
        batch: file.batch.clone(),
        case: file.case.clone(),
        date: file.date.clone(),
        name: file.name.clone(),
        bytes: found.bytes,
        sha256: found.sha256.clone(),
        content_type: None,
        label_type: file.label_type.clone(),
        part: file.part,
    }
}

pub(super) fn not_to_send(status: UploadStatus, grant: &UploadAnswer) -> Delivery {
    let outcome = match status {
        UploadStatus::Stored => return Delivery::StoredBefore,
        UploadStatus::Conflict => Outcome::Conflict,
        UploadStatus::Refused | UploadStatus::Send | UploadStatus::SendParts => Outcome::Refused,
    };
    let code = || match outcome {
        Outcome::Conflict => "conflict".to_owned(),
        _ => "refused".to_owned(),
    };
    let reason = || match outcome {
        Outcome::Conflict => "other bytes lie under this key, and images never change".to_owned(),
        _ => "the server gives no reason".to_owned(),
    };
    Delivery::NotTaken {
        outcome,
        code: grant.code.clone().unwrap_or_else(code),
        reason: grant.reason.clone().unwrap_or_else(reason),
    }
}

/// What a refusal of the bytes themselves means.
pub(super) fn refusal(error: &client::Error) -> Delivery {
    let client::Error::Refused { status, body, .. } = error else {
        return failed("not_sent", error);
    };
    let outcome = match (status, &*body.code) {
        // The server or the storage found another sha256 than the one of a moment ago.
        (422, _) | (_, "BadDigest" | "XAmzContentChecksumMismatch") => return changed(),
        (409 | 412, _) => Outcome::Conflict,
        _ => Outcome::Refused,
    };
    let reason = match &body.hint {
        Some(hint) => format!("{}\nhint: {hint}", body.message),
        None => body.message.clone(),
    };
    Delivery::NotTaken {
        outcome,
        code: body.code.clone(),
        reason,
    }
}

pub(super) fn failed(code: &str, error: &dyn std::error::Error) -> Delivery {
    let reason = match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    Delivery::NotTaken {
        outcome: Outcome::Failed,
        code: code.to_owned(),
        reason,
    }
}

pub(super) fn changed() -> Delivery {
    Delivery::NotTaken {
        outcome: Outcome::Failed,
        code: "changed".to_owned(),
        reason: "the file changed while it was imported: import it again".to_owned(),
    }
}

/// Repeats a call while what goes wrong may pass.
pub(super) async fn patiently<T, F>(mut call: impl FnMut() -> F) -> Result<T, client::Error>
where
    F: Future<Output = Result<T, client::Error>>,
{
    let mut backoff = Backoff::default();
    loop {
        match call().await {
            Err(error) if error.is_passing() && backoff.wait(&error).await => {}
            answer => return answer,
        }
    }
}

/// Growing pauses, about half a minute in all: long enough for a server to be started again.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    left: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            next: Duration::from_millis(200),
            left: 10,
        }
    }
}

impl Backoff {
    const LONGEST: Duration = Duration::from_secs(5);

    /// Waits before the next try; `false` when there is none.
    pub(super) async fn wait(&mut self, error: &client::Error) -> bool {
        if self.left == 0 {
            return false;
        }
        let asked = match error {
            client::Error::Refused {
                retry_after_s: Some(seconds),
                ..
            } => Duration::from_secs(*seconds).min(Self::LONGEST),
            _ => Duration::ZERO,
        };
        tokio::time::sleep(self.next.max(asked)).await;
        self.next = (self.next * 2).min(Self::LONGEST);
        self.left -= 1;
        true
    }
}
