//! Sending a large file in parts: only those that are missing, several at a time, until the whole is there.

use std::io::SeekFrom;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cellmill_api::views::{
    SignedPartView, UploadAnswer, UploadState, UploadStatus, UploadView, WantedPartBody,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::Body;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use crate::client::{self, SignedRequest};

use super::hash::{PartHashes, fingerprint_of_parts};
use super::send::{
    Asked, Backoff, Delivery, MAX_FRESH_GRANTS, PIECE_BYTES, Resumed, Sender, changed, failed,
    not_to_send, patiently, refusal, sent, wants_fresh_grant,
};

/// Parts that are signed at once: at 1 MiB/s these are sent before the signature of the last one expires.
const SIGNED_AT_ONCE: usize = 64;

/// A part to send.
#[derive(Clone, Debug)]
struct Part {
    number: u32,
    start: u64,
    bytes: u64,
    sha256: String,
}

/// Why a round of sending stopped.
enum Stop {
    /// The file is done with, one way or the other.
    Ended(Delivery),
    /// The upload is not what we thought: look again, and go on from there.
    Again(client::Error),
    /// The server is gone for good.
    Lost(client::Error),
}

/// A round: one look at what is there, and the sending of the rest.
struct Round<'a> {
    sender: &'a Sender,
    asked: &'a Asked,
    id: &'a str,
    /// What the bar was moved by.
    counted: Arc<AtomicU64>,
}

impl Sender {
    /// Sends parts until the server has the file, or says that it does not want it.
    pub(super) async fn put_parts(&self, asked: &Asked) -> Result<Delivery, client::Error> {
        let mut grant = asked.grant.clone();
        let mut resumed = None;
        let mut n_rounds = 0;
        loop {
            let round = Round {
                sender: self,
                asked,
                id: grant.upload.as_deref().unwrap_or_default(),
                counted: Arc::default(),
            };
            let stop = match round.run(&grant, &mut resumed).await {
                Ok(()) => return Ok(sent(asked, resumed)),
                Err(stop) => stop,
            };
            self.progress
                .take_back(round.counted.load(Ordering::Relaxed));
            let error = match stop {
                Stop::Ended(delivery) => return Ok(delivery),
                Stop::Lost(error) => return Err(error),
                Stop::Again(error) => error,
            };
            n_rounds += 1;
            if n_rounds > MAX_FRESH_GRANTS {
                return Ok(refusal(&error));
            }
            let file = std::slice::from_ref(&asked.upload);
            let fresh = patiently(|| self.client.ask_uploads(file)).await?;
            match fresh.into_iter().next() {
                Some(fresh) if fresh.status == UploadStatus::SendParts => grant = fresh,
                // An earlier try, or somebody else, stored the same bytes.
                Some(fresh) if fresh.status == UploadStatus::Stored => {
                    self.progress.add(asked.upload.bytes);
                    return Ok(sent(asked, resumed));
                }
                Some(fresh) => return Ok(not_to_send(fresh.status, &fresh)),
                None => return Ok(refusal(&error)),
            }
        }
    }
}

impl Round<'_> {
    async fn run(&self, grant: &UploadAnswer, resumed: &mut Option<Resumed>) -> Result<(), Stop> {
        let client = &self.sender.client;
        let view = patiently(|| client.upload(self.id)).await;
        let view = view.map_err(Stop::of_call)?;
        if view.state == UploadState::Open {
            let part_bytes = grant.part_bytes.unwrap_or(view.part_bytes);
            let parts = self.parts(part_bytes).await?;
            let missing = missing(&parts, &view);
            let n_missing: u64 = missing.iter().map(|it| it.bytes).sum();
            // What is there counts as done.
            self.count(self.asked.upload.bytes.saturating_sub(n_missing));
            if resumed.is_none() && missing.len() < parts.len() {
                *resumed = Some(Resumed {
                    n_there: (parts.len() - missing.len()) as u64,
                    n_parts: parts.len() as u64,
                });
            }
            self.send(missing).await?;
        }
        let stored = patiently(|| client.complete_upload(self.id)).await;
        stored.map_err(Stop::of_call)?;
        Ok(())
    }

    /// The parts of the file, hashed. They were hashed with the whole, unless the server wants another length.
    async fn parts(&self, part_bytes: u64) -> Result<Vec<Part>, Stop> {
        let known = self.asked.parts.clone();
        let hashes = match known.filter(|it| it.part_bytes == part_bytes) {
            Some(known) => known,
            None => self.hash(part_bytes).await?,
        };
        let whole = self.asked.upload.bytes;
        let starts = (0..).step_by(part_bytes.max(1) as usize);
        let parts = (1..).zip(starts).zip(hashes.sha256);
        Ok(parts
            .map(|((number, start), sha256)| Part {
                number,
                start,
                bytes: part_bytes.min(whole - start),
                sha256,
            })
            .collect())
    }

    async fn hash(&self, part_bytes: u64) -> Result<PartHashes, Stop> {
        let path = self.asked.file.path.clone();
        let hashed =
            tokio::task::spawn_blocking(move || fingerprint_of_parts(&path, part_bytes)).await;
        let found = hashed.expect("hashing a file panics nowhere");
        let found = found.map_err(|it| Stop::Ended(failed("unreadable", &it)))?;
        let is_same = found.sha256 == self.asked.upload.sha256;
        match found.parts.filter(|_| is_same) {
            Some(parts) => Ok(parts),
            None => Err(Stop::Ended(changed())),
        }
    }

    async fn send(&self, missing: Vec<Part>) -> Result<(), Stop> {
        let chunks: Vec<Vec<Part>> = missing
            .chunks(SIGNED_AT_ONCE)
            .map(<[Part]>::to_vec)
            .collect();
        stream::iter(chunks)
            .then(|parts| async move {
                let signed = self.sign(&parts).await?;
                let pairs = parts.into_iter().zip(signed);
                Ok(stream::iter(pairs.map(Ok)))
            })
            .try_flatten()
            .map_ok(|(part, signed)| self.put(part, signed))
            .try_buffer_unordered(self.sender.parallel)
            .try_collect::<()>()
            .await
    }

    async fn sign(&self, parts: &[Part]) -> Result<Vec<SignedRequest>, Stop> {
        let wanted = || {
            let wanted = parts.iter().map(|it| WantedPartBody {
                number: it.number,
                sha256: it.sha256.clone(),
            });
            wanted.collect()
        };
        let client = &self.sender.client;
        let signed = patiently(|| client.sign_parts(self.id, wanted())).await;
        let signed = signed.map_err(Stop::of_call)?;
        Ok(signed.into_iter().map(request_of).collect())
    }

    /// Sends one part until it is there.
    async fn put(&self, part: Part, mut signed: SignedRequest) -> Result<(), Stop> {
        let mut n_grants = 0;
        let mut backoff = Backoff::default();
        loop {
            let error = match self.put_once(&part, &signed).await? {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if error.status() == Some(404) {
                return Err(Stop::Again(error));
            }
            if wants_fresh_grant(&error) && n_grants < MAX_FRESH_GRANTS {
                n_grants += 1;
                let fresh = self.sign(std::slice::from_ref(&part)).await?;
                signed = fresh.into_iter().next().unwrap_or(signed);
            } else if !error.is_passing() {
                return Err(Stop::of_call(error));
            } else if !backoff.wait(&error).await {
                return Err(match error {
                    client::Error::NotReachable { .. } => Stop::Lost(error),
                    _ => Stop::Ended(failed("not_sent", &error)),
                });
            }
        }
    }

    /// One try. The outer error is the file's, the inner one the connection's or the server's.
    async fn put_once(
        &self,
        part: &Part,
        signed: &SignedRequest,
    ) -> Result<Result<(), client::Error>, Stop> {
        let _permit = self.sender.permit().await;
        let opened = async {
            let mut file = File::open(&self.asked.file.path).await?;
            let length = file.metadata().await?.len();
            file.seek(SeekFrom::Start(part.start)).await?;
            Ok::<_, std::io::Error>((file, length))
        };
        let file = match opened.await {
            Ok((file, length)) if length == self.asked.upload.bytes => file,
            Ok(_) => return Err(Stop::Ended(changed())),
            Err(error) => return Err(Stop::Ended(failed("unreadable", &error))),
        };
        let sent = Arc::new(AtomicU64::new(0));
        let (of_part, of_round) = (Arc::clone(&sent), Arc::clone(&self.counted));
        let progress = self.sender.progress.clone();
        let pieces = ReaderStream::with_capacity(file.take(part.bytes), PIECE_BYTES);
        let pieces = pieces.inspect_ok(move |piece| {
            let n = piece.len() as u64;
            of_part.fetch_add(n, Ordering::Relaxed);
            of_round.fetch_add(n, Ordering::Relaxed);
            progress.add(n);
        });
        let body = Body::wrap_stream(pieces);
        let answer = self.sender.client.put(signed, part.bytes, body).await;
        if answer.is_err() {
            let n = sent.load(Ordering::Relaxed);
            self.counted.fetch_sub(n, Ordering::Relaxed);
            self.sender.progress.take_back(n);
        }
        Ok(answer)
    }

    fn count(&self, n: u64) {
        self.counted.fetch_add(n, Ordering::Relaxed);
        self.sender.progress.add(n);
    }
}

impl Stop {
    /// What an answer of the server to a call about the upload means.
    fn of_call(error: client::Error) -> Self {
        const LOOK_AGAIN: [&str; 3] = ["parts_missing", "upload_forgotten", "upload_complete"];
        let is_stale =
            error.status() == Some(404) || error.code().is_some_and(|it| LOOK_AGAIN.contains(&it));
        match error {
            error if is_stale => Self::Again(error),
            error @ client::Error::NotReachable { .. } => Self::Lost(error),
            error @ client::Error::Refused { .. } => Self::Ended(refusal(&error)),
            error => Self::Ended(failed("not_sent", &error)),
        }
    }
}

/// The parts that are not there, or not as they should be.
fn missing(parts: &[Part], view: &UploadView) -> Vec<Part> {
    let is_there = |part: &Part| {
        view.parts.iter().any(|it| {
            it.number == part.number
                && it.bytes == part.bytes
                && it.sha256.as_ref().is_none_or(|it| *it == part.sha256)
        })
    };
    parts.iter().filter(|it| !is_there(it)).cloned().collect()
}

fn request_of(part: SignedPartView) -> SignedRequest {
    SignedRequest {
        method: part.method,
        url: part.url,
        headers: part.headers,
    }
}
