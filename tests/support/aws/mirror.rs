//! A bucket as a folder, so that it can be compared with a root and verified like one.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::objects::Bucket;

/// Objects in memory at a time.
const AT_ONCE: usize = 500;

/// Copies every object to a file of its key. Says how many there were.
pub async fn mirror(bucket: &Bucket, folder: &Path) -> Result<usize> {
    let keys: Vec<String> = bucket
        .list("")
        .await?
        .into_iter()
        .map(|it| it.key)
        .collect();
    for some in keys.chunks(AT_ONCE) {
        for (key, bytes) in bucket.get_all(some.to_vec()).await? {
            ensure!(
                !key.split('/').any(|it| it == ".." || it.is_empty()),
                "{key} is no path of a file"
            );
            let path = folder.join(&key);
            let parent = path.parent().context("a file lies in a folder")?;
            std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
            std::fs::write(&path, bytes).with_context(|| path.display().to_string())?;
        }
    }
    Ok(keys.len())
}
