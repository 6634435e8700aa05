//! Uploads that nobody ends are given up.

use cellmill_core::ids::UlidText;
use cellmill_core::keys::{ObjectKey, Prefix};
use cellmill_core::uploads::KEPT_FOR;
use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;

use super::Sessions;
use crate::Error;

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Uploads that are there.
    pub n_seen: u64,
    /// Those of which nothing moved for [`KEPT_FOR`], which are gone now.
    pub n_removed: u64,
}

/// Everything that lies there of one upload.
#[derive(Debug)]
struct Lying {
    upload: UlidText,
    newest: DateTime<Utc>,
    keys: Vec<String>,
}

impl Sessions {
    /// Gives up the uploads of which nothing moved for [`KEPT_FOR`], and forgets those that were completed as
    /// long ago. Meant to run at the start of a server and now and then.
    pub async fn sweep(&self, now: DateTime<Utc>) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        let mut listed = self.store.list(&Prefix::Uploads.to_path());
        let mut group: Option<Lying> = None;
        // In key order a session's document comes right before its parts.
        while let Some(object) = listed.try_next().await? {
            let Ok(Some(ObjectKey::Upload(upload) | ObjectKey::UploadPart { upload, .. })) =
                ObjectKey::parse(&object.key)
            else {
                continue;
            };
            match &mut group {
                Some(lying) if lying.upload == upload => {
                    lying.newest = lying.newest.max(object.last_modified);
                    lying.keys.push(object.key);
                }
                _ => {
                    let next = Lying {
                        upload,
                        newest: object.last_modified,
                        keys: vec![object.key],
                    };
                    if let Some(lying) = group.replace(next) {
                        self.judge(lying, now, &mut swept).await?;
                    }
                }
            }
        }
        if let Some(lying) = group {
            self.judge(lying, now, &mut swept).await?;
        }
        Ok(swept)
    }

    async fn judge(
        &self,
        lying: Lying,
        now: DateTime<Utc>,
        swept: &mut Swept,
    ) -> Result<(), Error> {
        swept.n_seen += 1;
        if now - lying.newest <= KEPT_FOR {
            return Ok(());
        }
        self.give_up(&lying.upload).await?;
        // Parts whose document went before them.
        for key in &lying.keys {
            self.store.delete(key).await?;
        }
        swept.n_removed += 1;
        Ok(())
    }
}
