//! Images that are sent one by one, and labelled by a model before anybody looks.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::class_folders::ClassImage;
use crate::show::http::{Sent, Upload};
use crate::show::process::Mill;
use crate::show::wait::wait_until;

/// Sends an image that is to be labelled as this label type says; its key. It is named after its content.
pub async fn upload(
    mill: &Mill,
    label_type: &str,
    case: &str,
    image: &ClassImage,
) -> Result<String> {
    let content = fs::read(&image.path).with_context(|| image.path.display().to_string())?;
    let name = format!("{}.png", image.sha256);
    let file = Upload {
        root: "upload",
        batch: "new",
        case,
        date: None,
        name: &name,
        label_type: Some(label_type),
        content: &content,
    };
    match mill.client().upload(&file).await? {
        Sent::Stored(key) => Ok(key),
        Sent::Refused(code) => bail!("an image was refused: {code}"),
    }
}

/// The label of an image once the layer of a model is in it.
pub async fn pre_annotated(mill: &Mill, key: &str, mid: u64, limit: Duration) -> Result<Value> {
    let layer = format!("model/{mid}");
    let what = format!("{key} is pre-annotated");
    let pause = Duration::from_millis(20);
    wait_until(&what, limit, pause, async || {
        let label = mill
            .client()
            .get("/api/v1/image/label", &[("key", key)])
            .await;
        Ok(label
            .ok()
            .filter(|it| it["document"]["layers"][&layer].is_object()))
    })
    .await
}
