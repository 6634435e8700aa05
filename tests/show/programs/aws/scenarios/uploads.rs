//! What a signed address does not allow is refused by the storage itself.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cellmill_tests::aws::client::http;
use cellmill_tests::aws::functions::configure;
use cellmill_tests::aws::{Door, Stack};
use cellmill_tests::show::Figures;
use cellmill_tests::show::http::{sha256_hex, text};
use cellmill_tests::show::place::say;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::resume;
use crate::lab::Lab;
use crate::material::{objects, photographs};

/// Seconds that an address is good for where it is to be over.
const SHORT: &str = "10";

/// The right to send one file.
struct Grant {
    url: String,
    headers: BTreeMap<String, String>,
}

/// What a storage said.
struct Said {
    status: StatusCode,
    text: String,
}

pub(super) async fn run(lab: &Lab<'_>, figures: &mut Figures) -> Result<()> {
    let place = lab.show.make_place("uploads")?;
    let folder = photographs(lab.show, 1, &place.join("data"))?;
    let all = objects(&folder)?;
    let image = all.into_iter().find(|it| it.0.starts_with("img/"));
    let (_, content) = image.context("the data has an image")?;

    let stack = lab.stack().await?;
    let door = Door::of_stack(&lab.show.program, &stack)?;
    refused(&door, &stack, figures, &content).await?;
    expired(&door, &stack, figures, &content).await?;
    stack.down().await?;
    resume::run(lab, figures).await
}

async fn refused(door: &Door, stack: &Stack, figures: &mut Figures, content: &[u8]) -> Result<()> {
    let longer = [content, b"more"].concat();
    let mut other = content.to_vec();
    if let Some(last) = other.last_mut() {
        *last ^= 1;
    }
    let grant = |name: &'static str| grant(door, name, content);

    let it = grant("key.png").await?;
    let elsewhere = Grant {
        url: it.url.replace("key.png", "other.png"),
        headers: it.headers,
    };
    ensure!(
        elsewhere.url.contains("other.png"),
        "the address names its key"
    );
    judge(figures, "tampered_key", &elsewhere.send(content).await?);

    let it = grant("length.png").await?;
    judge(figures, "wrong_length", &it.send(&longer).await?);

    let it = grant("sha.png").await?;
    judge(figures, "other_bytes", &it.send(&other).await?);

    let mut it = grant("type.png").await?;
    it.headers
        .insert("content-type".to_owned(), "text/html".to_owned());
    judge(figures, "other_type", &it.send(content).await?);

    let it = grant("twice.png").await?;
    let first = it.send(content).await?;
    figures.holds("uploads.taken_once", first.status.is_success());
    judge(figures, "replay", &it.send(content).await?);

    // The right was given before anything lay there.
    let late = self::grant(door, "over.png", &other).await?;
    let first = grant("over.png").await?.send(content).await?;
    ensure!(first.status.is_success(), "{}", first.text);
    judge(figures, "overwrite", &late.send(&other).await?);

    let names = ["key.png", "other.png", "length.png", "sha.png", "type.png"];
    let stored = stack.bucket().list("scratch/img/").await?;
    let n_stored = stored
        .iter()
        .filter(|it| names.iter().any(|name| it.key.ends_with(name)))
        .count();
    figures.exactly("uploads.refused_files_stored", n_stored, "files", 0);
    Ok(())
}

/// An address whose time is over, as the storage's clock says.
async fn expired(door: &Door, stack: &Stack, figures: &mut Figures, content: &[u8]) -> Result<()> {
    let api = stack.function("api");
    configure(&stack.unseen(), &api, &[("CELLMILL_UPLOAD_TTL_S", SHORT)]).await?;
    let it = grant(door, "late.png", content).await?;
    // Its time, and a second for the whole seconds that signatures count in.
    tokio::time::sleep(Duration::from_secs(SHORT.parse::<u64>()? + 2)).await;
    judge(figures, "expired", &it.send(content).await?);
    Ok(())
}

fn judge(figures: &mut Figures, name: &str, said: &Said) {
    let is_refused = said.status.is_client_error();
    let short: String = said.text.chars().take(200).collect();
    say(format_args!("  {name}: {} {short}", said.status));
    figures.holds(&format!("uploads.{name}_is_refused"), is_refused);
    figures.said(&format!("uploads.{name}_says"), json!(code(&said.text)), "");
}

/// `SignatureDoesNotMatch`, ... of the XML of S3.
fn code(text: &str) -> &str {
    let after = text.split_once("<Code>").map_or("", |it| it.1);
    after.split_once("</Code>").map_or("", |it| it.0)
}

async fn grant(door: &Door, name: &str, content: &[u8]) -> Result<Grant> {
    let file = json!({
        "root": "upload",
        "kind": "image",
        "batch": "show",
        "case": "uploads",
        "name": name,
        "bytes": content.len(),
        "sha256": sha256_hex(content),
    });
    let answer = door
        .post("/api/v1/uploads", &json!({ "files": [file] }))
        .await?;
    let granted = &answer["files"][0];
    ensure!(text(&granted["status"]) == "send", "not granted: {granted}");
    let headers = granted["headers"].as_object().into_iter().flatten();
    Ok(Grant {
        url: text(&granted["url"]),
        headers: headers
            .map(|(name, it)| (name.to_lowercase(), text(it)))
            .collect(),
    })
}

impl Grant {
    /// Sends the bytes with the headers that belong to the address, whatever they say of the length.
    async fn send(&self, content: &[u8]) -> Result<Said> {
        let mut request = http().put(&self.url);
        for (name, value) in self.headers.iter().filter(|it| it.0 != "content-length") {
            request = request.header(name, value);
        }
        let answer = request.body(content.to_vec()).send().await;
        let answer = answer.context("send to a signed address")?;
        Ok(Said {
            status: answer.status(),
            text: Value::to_string(&json!(answer.text().await.unwrap_or_default())),
        })
    }
}
