//! The home is chosen by a URL.

use std::path::Path;
use std::sync::Arc;

use crate::{Error, MemoryQueue, Queue, Settings, SqliteQueue};

/// Opens the home that `url` names: `memory://` (one process, forgotten at its end) or `sqlite:///folder/file`
/// (several processes of one machine). The path is taken as it stands, without percent-decoding.
///
/// Blocks for the short time that opening a file takes: call it at start.
pub fn open(url: &str, settings: Settings) -> Result<Arc<dyn Queue>, Error> {
    if url == "memory://" {
        return Ok(Arc::new(MemoryQueue::new(settings)));
    }
    match url.strip_prefix("sqlite://") {
        Some(path) if path.starts_with('/') && !path.ends_with('/') => {
            Ok(Arc::new(SqliteQueue::open(Path::new(path), settings)?))
        }
        _ => Err(Error::Url {
            url: url.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            let error = open(url, Settings::default()).expect_err("the url is refused");
            assert!(error.to_string().contains(&format!("`{url}`")), "{error}");
        }
    }
}
