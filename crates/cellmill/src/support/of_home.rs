//! What the home says: records as they are stored, messages that were given up, how full the disk is.

use std::path::Path;

use cellmill_core::events;
use cellmill_core::keys::ObjectKey;
use cellmill_core::messages::queue_names;
use cellmill_queue::letters::{self, OpenedLetter};
use cellmill_queue::{Queue, QueueName};
use cellmill_store::Store;
use cellmill_worker::Meter;
use serde_json::{Value, json};

use super::bundle::Material;
use super::of_server::{JobName, folder};

/// The messages of one queue that were given up.
const MAX_LETTERS: usize = 50;

pub(super) async fn gather(
    store: &Store,
    queue: &dyn Queue,
    jobs: &[JobName],
    material: &mut Material,
) {
    for (kind, dir) in jobs {
        let name = format!("{}/record.json", folder(*kind, dir));
        material.names.allow(dir.as_str());
        match store.read_json::<Value>(&ObjectKey::job(*kind, dir)).await {
            Ok(Some(record)) => material.json(name, "its record as it is stored", record.value),
            Ok(None) => material.leave_out(name, "there is no such job"),
            Err(error) => material.leave_out(name, cellmill_service::report(&error)),
        }
    }
    dead_letters(queue, material).await;
    match store.root() {
        Some(root) => disk(root, material).await,
        None => material.leave_out("disk.json", "the storage is a bucket"),
    }
}

/// Reasons and subjects; of the message itself only what is understood.
async fn dead_letters(queue: &dyn Queue, material: &mut Material) {
    let mut found = Vec::new();
    for name in queue_names() {
        let Ok(name) = QueueName::parse(&name) else {
            continue;
        };
        match letters::list(queue, &name, MAX_LETTERS).await {
            Ok(letters) => found.extend(letters.iter().map(|it| letter(it, material))),
            Err(error) => material.leave_out(
                format!("dead letters of {name}"),
                cellmill_service::report(&error),
            ),
        }
    }
    material.json("dead.json", "messages that were given up", found.into());
}

fn letter(it: &OpenedLetter, material: &mut Material) -> Value {
    let input = match events::parse(&it.body) {
        Ok(created) if !created.is_empty() => {
            let keys: Vec<String> = created.into_iter().map(|it| it.key).collect();
            for key in &keys {
                material.names.learn_key(key);
            }
            json!({ "keys_n": keys.len(), "input": keys })
        }
        _ => match serde_json::from_str::<Value>(&it.body) {
            // A hint: what kind, which directory, which unit.
            Ok(hint) if hint["dir"].is_string() => json!({
                "kind": hint["kind"], "dir": hint["dir"], "unit": hint["unit"],
            }),
            _ => json!({ "not_understood_bytes": it.body.len() }),
        },
    };
    json!({
        "id": it.id, "queue": it.queue, "reason": it.reason, "attempts": it.attempts,
        "sent_at": it.sent_at, "died_at": it.died_at, "message": input,
    })
}

/// How full the disk is, and how large the files of the queue are. The folder's secret is not looked at.
async fn disk(root: &Path, material: &mut Material) {
    let meter = Meter::new(root);
    let machine = tokio::task::spawn_blocking(move || meter.read()).await.ok();
    let mut sizes = serde_json::Map::new();
    if let Ok(entries) = std::fs::read_dir(root.join(".cellmill")) {
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let (true, Ok(meta)) = (name.starts_with("queue.sqlite"), entry.metadata()) {
                sizes.insert(name, meta.len().into());
            }
        }
    }
    let value = json!({ "machine": machine, "queue_file_bytes": sizes });
    material.json(
        "disk.json",
        "this machine, its disk, the queue's files",
        value,
    );
}
