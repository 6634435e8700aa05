//! Objects of a bucket, as the shows read and write them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::{Method, StatusCode};

use super::client::{Answer, Ask, Aws, encoded_key};

/// Objects read or written at once.
const PARALLEL: usize = 16;

/// One object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    pub bytes: u64,
    pub etag: String,
}

/// A bucket of an endpoint.
#[derive(Clone, Debug)]
pub struct Bucket {
    aws: Aws,
    name: String,
}

impl Bucket {
    pub fn new(aws: &Aws, name: &str) -> Self {
        Self {
            aws: aws.clone(),
            name: name.to_owned(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    async fn ask(&self, method: Method, key: &str, body: Vec<u8>) -> Result<Answer> {
        let ask = Ask {
            service: "s3",
            method,
            path: format!("/{}/{}", self.name, encoded_key(key)),
            body,
            ..Ask::default()
        };
        self.aws.send(ask).await
    }

    /// Makes the bucket, for tries without a stack.
    pub async fn make(&self) -> Result<()> {
        let ask = Ask {
            service: "s3",
            method: Method::PUT,
            path: format!("/{}", self.name),
            ..Ask::default()
        };
        self.aws.send(ask).await?.into_ok("make a bucket").map(drop)
    }

    pub async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<()> {
        let answer = self.ask(Method::PUT, key, bytes).await?;
        answer.into_ok(&format!("put {key}")).map(drop)
    }

    /// Puts many, some at a time.
    pub async fn put_all(
        &self,
        objects: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> Result<()> {
        stream::iter(objects)
            .map(|(key, bytes)| async move { self.put(&key, bytes).await })
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await
    }

    /// `None`: there is no such object.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let answer = self.ask(Method::GET, key, Vec::new()).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some(answer.into_ok(&format!("get {key}"))?.body))
    }

    /// All objects below a prefix with their content, some read at a time.
    pub async fn get_all(
        &self,
        keys: impl IntoIterator<Item = String>,
    ) -> Result<BTreeMap<String, Vec<u8>>> {
        stream::iter(keys)
            .map(|key| async move {
                let bytes = self.get(&key).await?;
                anyhow::Ok(bytes.map(|it| (key, it)))
            })
            .buffer_unordered(PARALLEL)
            .try_filter_map(|it| std::future::ready(Ok(it)))
            .try_collect()
            .await
    }

    pub async fn delete(&self, key: &str) -> Result<()> {
        let answer = self.ask(Method::DELETE, key, Vec::new()).await?;
        answer.into_ok(&format!("delete {key}")).map(drop)
    }

    /// Every object below a prefix, page by page, in the order of their keys.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        let mut listed = Vec::new();
        let mut after = None::<String>;
        loop {
            let mut query = vec![("list-type", "2".to_owned()), ("prefix", prefix.to_owned())];
            query.extend(after.take().map(|it| ("continuation-token", it)));
            let ask = Ask {
                service: "s3",
                path: format!("/{}", self.name),
                query,
                ..Ask::default()
            };
            let page = self.aws.send(ask).await?.into_ok("list a bucket")?.text();
            for entry in elements(&page, "Contents") {
                listed.push(Listed {
                    key: element(entry, "Key").context("a listed object has a key")?,
                    bytes: element(entry, "Size")
                        .and_then(|it| it.parse().ok())
                        .unwrap_or(0),
                    etag: element(entry, "ETag").unwrap_or_default(),
                });
            }
            match element(&page, "NextContinuationToken") {
                Some(token) => after = Some(token),
                None => return Ok(listed),
            }
        }
    }
}

/// What stands between the tags of each element of this name, none of which holds another one.
fn elements<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut found = Vec::new();
    let mut rest = xml;
    while let Some((_, after)) = rest.split_once(&open) {
        let Some((content, further)) = after.split_once(&close) else {
            break;
        };
        found.push(content);
        rest = further;
    }
    found
}

/// The text of the first element of this name.
pub(super) fn element(xml: &str, name: &str) -> Option<String> {
    elements(xml, name).first().map(|it| unescaped(it))
}

fn unescaped(text: &str) -> String {
    // `&amp;` last: what it stands for may look like another one.
    let plain = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#34;", "\"")
        .replace("&apos;", "'")
        .replace("&#39;", "'");
    plain.replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_with_its_escapes() {
        let xml = "<R><Contents><Key>img/a&amp;b+c.png</Key><Size>7</Size></Contents><Contents><Key>x</Key></Contents></R>";
        let keys: Vec<_> = elements(xml, "Contents")
            .iter()
            .filter_map(|it| element(it, "Key"))
            .collect();
        assert_eq!(keys, ["img/a&b+c.png", "x"]);
        assert_eq!(element(xml, "NextContinuationToken"), None);
    }
}
