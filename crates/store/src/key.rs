//! What may name an object.

use std::borrow::Cow;

use cellmill_core::keys::ObjectKey;
use object_store::path::Path;

use crate::Error;

/// Something that names an object by its full key.
///
/// Keys are built and parsed only in `cellmill_core::keys`; text is accepted too because listings,
/// signed uploads and events hand keys over as text, which went through `ObjectKey` when it was made.
pub trait AsKey {
    /// The key as it stands in the bucket, without a leading slash.
    fn as_key(&self) -> Cow<'_, str>;
}

impl AsKey for ObjectKey {
    fn as_key(&self) -> Cow<'_, str> {
        Cow::Owned(self.to_path())
    }
}

impl AsKey for str {
    fn as_key(&self) -> Cow<'_, str> {
        Cow::Borrowed(self)
    }
}

impl AsKey for String {
    fn as_key(&self) -> Cow<'_, str> {
        Cow::Borrowed(self)
    }
}

impl<K: AsKey + ?Sized> AsKey for &K {
    fn as_key(&self) -> Cow<'_, str> {
        (**self).as_key()
    }
}

/// The path of a key, byte for byte: `Path::from` would percent-encode, `Path::parse` does not.
/// A slash at either end is refused, as `Path` would drop it and name another object.
pub(crate) fn path_of(key: &(impl AsKey + ?Sized)) -> Result<Path, Error> {
    let text = key.as_key();
    if text.is_empty() || text.starts_with('/') || text.ends_with('/') {
        return Err(Error::BadKey {
            key: text.into_owned(),
            source: "a key is not empty and has no slash at its ends".into(),
        });
    }
    Path::parse(&*text).map_err(|source| Error::BadKey {
        key: text.into_owned(),
        source: source.into(),
    })
}

/// The path of a prefix: whole segments, a slash at the end allowed, empty for everything.
pub(crate) fn prefix_of(prefix: &str) -> Result<Path, Error> {
    Path::parse(prefix).map_err(|source| Error::BadKey {
        key: prefix.to_owned(),
        source: source.into(),
    })
}
