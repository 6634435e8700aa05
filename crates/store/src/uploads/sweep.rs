//! Uploads that nobody ends are given up.

use cellmill_core::ids::UlidText;
use cellmill_core::keys::{ObjectKey, Prefix};
use cellmill_core::uploads::KEPT_FOR;
use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;

use super::Sessions;
use crate::{Error, Listed, Store};

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Uploads that are there.
    pub n_seen: u64,
    /// Those of which nothing moved for [`KEPT_FOR`], which are gone now.
    pub n_removed: u64,
}

/// An upload that nobody has ended, or one that was completed long ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOver {
    /// Which one.
    pub upload: UlidText,
    /// The last time that anything of it was written.
    pub newest: DateTime<Utc>,
    /// Its document and its parts, as far as the store keeps them: a bucket keeps parts apart.
    pub keys: Vec<String>,
    /// What those hold together.
    pub bytes: u64,
}

/// The uploads of which nothing moved for [`KEPT_FOR`], and how many there are in all. Looks, and removes nothing.
pub async fn left_over(store: &Store, now: DateTime<Utc>) -> Result<(Vec<LeftOver>, u64), Error> {
    let (mut found, mut n_seen) = (Vec::new(), 0);
    let mut listed = store.list(&Prefix::Uploads.to_path());
    let mut group: Option<LeftOver> = None;
    let mut judge = |lying: LeftOver| {
        n_seen += 1;
        if now - lying.newest > KEPT_FOR {
            found.push(lying);
        }
    };
    // In key order a session's document comes right before its parts.
    while let Some(object) = listed.try_next().await? {
        let Ok(Some(ObjectKey::Upload(upload) | ObjectKey::UploadPart { upload, .. })) =
            ObjectKey::parse(&object.key)
        else {
            continue;
        };
        match &mut group {
            Some(lying) if lying.upload == upload => lying.add(object),
            _ => {
                let mut next = LeftOver {
                    upload,
                    newest: object.last_modified,
                    keys: Vec::new(),
                    bytes: 0,
                };
                next.add(object);
                if let Some(lying) = group.replace(next) {
                    judge(lying);
                }
            }
        }
    }
    if let Some(lying) = group {
        judge(lying);
    }
    Ok((found, n_seen))
}

impl LeftOver {
    fn add(&mut self, object: Listed) {
        self.newest = self.newest.max(object.last_modified);
        self.bytes += object.size;
        self.keys.push(object.key);
    }
}

impl Sessions {
    /// Gives up the uploads of which nothing moved for [`KEPT_FOR`], and forgets those that were completed as
    /// long ago.
    pub async fn sweep(&self, now: DateTime<Utc>) -> Result<Swept, Error> {
        let (found, n_seen) = left_over(&self.store, now).await?;
        for it in &found {
            self.remove(&it.upload, &it.keys).await?;
        }
        let n_removed = found.len() as u64;
        Ok(Swept { n_seen, n_removed })
    }

    /// Gives an upload up that was found left over, with the parts whose document went before them. Once more does
    /// nothing more.
    pub async fn remove(&self, upload: &UlidText, keys: &[String]) -> Result<(), Error> {
        self.give_up(upload).await?;
        for key in keys {
            self.store.delete(key).await?;
        }
        Ok(())
    }
}
