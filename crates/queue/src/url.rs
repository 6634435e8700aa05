//! The home is chosen by a URL.

use std::sync::Arc;

use crate::{Error, MemoryQueue, Queue, Settings};

/// Opens the home that `url` names: `memory://` (one process, forgotten at its end) or, with the features of
/// their names, `sqlite:///folder/file` (several processes of one machine) and `sqs://prefix` (feature `aws`: the
/// queues `<prefix>-<name>` of SQS). The path is taken as it stands, without percent-decoding.
///
/// Blocks for the short time that opening a file takes: call it at start.
pub fn open(url: &str, settings: Settings) -> Result<Arc<dyn Queue>, Error> {
    if url == "memory://" {
        return Ok(Arc::new(MemoryQueue::new(settings)));
    }
    #[cfg(feature = "aws")]
    if let Some(prefix) = url.strip_prefix("sqs://").filter(|it| is_prefix(it)) {
        return Ok(Arc::new(crate::SqsQueue::new(prefix, settings)));
    }
    let path = url.strip_prefix("sqlite://");
    match path.filter(|it| it.starts_with('/') && !it.ends_with('/')) {
        Some(path) => open_file(url, path, settings),
        None => Err(Error::Url {
            url: url.to_owned(),
        }),
    }
}

#[cfg(feature = "sqlite")]
fn open_file(_: &str, path: &str, settings: Settings) -> Result<Arc<dyn Queue>, Error> {
    Ok(Arc::new(crate::SqliteQueue::open(path.as_ref(), settings)?))
}

#[cfg(not(feature = "sqlite"))]
fn open_file(url: &str, _: &str, _: Settings) -> Result<Arc<dyn Queue>, Error> {
    Err(Error::LeftOut {
        url: url.to_owned(),
    })
}

/// SQS takes names of 80 letters, digits, `-` and `_`; the longest of ours takes 22 of them.
#[cfg(feature = "aws")]
fn is_prefix(text: &str) -> bool {
    (1..=50).contains(&text.len())
        && text
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "sqlite")]
    #[tokio::test]
    async fn urls_choose_the_home() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/queue.sqlite", folder.path().display());
        assert!(
            format!("{:?}", open(&url, Settings::default()).unwrap()).starts_with("SqliteQueue")
        );
        assert!(
            format!("{:?}", open("memory://", Settings::default()).unwrap())
                .starts_with("MemoryQueue")
        );
    }

    #[test]
    fn other_urls_are_refused_by_name() {
        for url in [
            "",
            "memory",
            "sqlite://",
            "sqlite:///",
            "sqlite://relative/file",
            "amqp://host/q",
            "sqs://",
            "sqs://a/b",
        ] {
            let error = open(url, Settings::default()).expect_err("the url is refused");
            assert!(error.to_string().contains(&format!("`{url}`")), "{error}");
        }
    }
}
