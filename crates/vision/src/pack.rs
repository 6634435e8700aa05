//! Many cells in one object: a zip whose entries can be read by byte range.
//!
//! Entries are stored, sorted by name and dated 1980-01-01, so equal cells give equal
//! bytes and the pack can be named by its content.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::ops::Range;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::bytes::{ByteOrder, Bytes};

/// Bytes at the end of a pack that hold its directory for some hundred cells, so that one
/// ranged read usually suffices: 46 bytes and a name of at most 255 for each.
pub const TAIL_BYTES: u64 = 64 * 1024;

const END_SIGNATURE: u32 = 0x0605_4B50;
const ENTRY_SIGNATURE: u32 = 0x0201_4B50;
const LOCAL_SIGNATURE: u32 = 0x0403_4B50;
const END_LEN: usize = 22;
const ENTRY_LEN: usize = 46;
const LOCAL_LEN: usize = 30;
/// The zip format without its 64-bit extension.
const MAX_ENTRIES: usize = 65_534;

/// Why a pack cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("pack would hold `{name}` twice")]
    DuplicateName { name: String },
    #[error("pack would hold {n_entries} entries, the limit is {MAX_ENTRIES}")]
    TooManyEntries { n_entries: usize },
    #[error("pack could not be written")]
    Write { source: zip::result::ZipError },
    #[error("pack is malformed: {what}")]
    Malformed { what: &'static str },
}

/// Writes a pack.
///
/// # Errors
/// Two entries of one name, or more than the format holds.
pub fn write_pack<B: AsRef<[u8]>>(
    entries: impl IntoIterator<Item = (String, B)>,
) -> Result<Vec<u8>, PackError> {
    let mut sorted = BTreeMap::new();
    for (name, body) in entries {
        if sorted.insert(name.clone(), body).is_some() {
            return Err(PackError::DuplicateName { name });
        }
    }
    if sorted.len() > MAX_ENTRIES {
        return Err(PackError::TooManyEntries {
            n_entries: sorted.len(),
        });
    }
    let size = sorted
        .iter()
        .map(|(name, body)| body.as_ref().len() + 2 * name.len() + ENTRY_LEN + LOCAL_LEN)
        .sum::<usize>();
    write_sorted(&sorted, Vec::with_capacity(size + END_LEN))
        .map_err(|source| PackError::Write { source })
}

fn write_sorted<B: AsRef<[u8]>>(
    entries: &BTreeMap<String, B>,
    out: Vec<u8>,
) -> zip::result::ZipResult<Vec<u8>> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let mut writer = ZipWriter::new(Cursor::new(out));
    for (name, body) in entries {
        writer.start_file(name.as_str(), options)?;
        writer.write_all(body.as_ref())?;
    }
    Ok(writer.finish()?.into_inner())
}

/// One entry of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackEntry {
    pub name: String,
    /// Bytes of the body.
    pub len: u64,
    /// CRC-32 of the body.
    pub crc: u32,
    local_at: u64,
}

impl PackEntry {
    /// The bytes of the object to fetch for this entry: its local header and its body.
    ///
    /// ```
    /// use cellmill_vision::pack::{PackIndex, write_pack};
    /// let pack = write_pack([("a.png".to_owned(), b"cell")])?;
    /// let index = PackIndex::of(&pack)?;
    /// let entry = index.get("a.png").expect("it was written");
    /// let range = entry.range();
    /// let fetched = &pack[range.start as usize..range.end as usize];
    /// assert_eq!(entry.body(fetched)?, b"cell");
    /// # Ok::<_, cellmill_vision::pack::PackError>(())
    /// ```
    pub const fn range(&self) -> Range<u64> {
        self.local_at..self.local_at + (LOCAL_LEN + self.name.len()) as u64 + self.len
    }

    /// The body out of the bytes of [`Self::range`].
    ///
    /// # Errors
    /// [`PackError::Malformed`] when the bytes are not this entry's.
    pub fn body<'a>(&self, fetched: &'a [u8]) -> Result<&'a [u8], PackError> {
        let malformed = PackError::Malformed {
            what: "the entry is not where the directory says",
        };
        let bytes = Bytes::new(fetched, ByteOrder::Little);
        let name = self.name.as_bytes();
        let is_ours = bytes.u32(0) == Some(LOCAL_SIGNATURE)
            && bytes.u16(26) == u16::try_from(name.len()).ok()
            && bytes.u16(28) == Some(0)
            && bytes.slice(LOCAL_LEN, name.len()) == Some(name);
        if !is_ours {
            return Err(malformed);
        }
        bytes
            .slice(LOCAL_LEN + name.len(), self.len as usize)
            .ok_or(malformed)
    }
}

/// What a pack holds and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackIndex {
    entries: Vec<PackEntry>,
}

/// What reading the tail of a pack gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TailRead {
    Complete(PackIndex),
    /// The directory begins before the tail: fetch this longer one and read again.
    NeedMore {
        range: Range<u64>,
    },
}

impl PackIndex {
    /// The first range to fetch of a pack of `size` bytes.
    pub const fn tail_range(size: u64) -> Range<u64> {
        size.saturating_sub(TAIL_BYTES)..size
    }

    /// Reads the directory out of the last bytes of a pack of `size` bytes.
    ///
    /// # Errors
    /// [`PackError::Malformed`] when this is no pack, or one with compressed entries.
    pub fn read_tail(tail: &[u8], size: u64) -> Result<TailRead, PackError> {
        let malformed = |what| PackError::Malformed { what };
        let bytes = Bytes::new(tail, ByteOrder::Little);
        let end_at = tail
            .len()
            .checked_sub(END_LEN)
            .ok_or(malformed("it is too short"))?;
        if bytes.u32(end_at) != Some(END_SIGNATURE) {
            return Err(malformed("its end record is missing"));
        }
        let fields = || {
            Some((
                bytes.u16(end_at + 10)?,
                bytes.u32(end_at + 12)?,
                bytes.u32(end_at + 16)?,
            ))
        };
        let (n_entries, len, at) = fields().ok_or(malformed("its end record is cut"))?;
        let (len, at) = (u64::from(len), u64::from(at));
        if at + len + END_LEN as u64 != size {
            return Err(malformed("its directory is not where the end record says"));
        }
        let tail_at = size - tail.len() as u64;
        if at < tail_at {
            return Ok(TailRead::NeedMore { range: at..size });
        }
        let directory = &tail[(at - tail_at) as usize..end_at];
        let entries = parse_directory(directory, usize::from(n_entries), at)?;
        Ok(TailRead::Complete(Self { entries }))
    }

    /// Reads the directory of a pack that is wholly in memory.
    ///
    /// # Errors
    /// As [`Self::read_tail`].
    pub fn of(pack: &[u8]) -> Result<Self, PackError> {
        match Self::read_tail(pack, pack.len() as u64)? {
            TailRead::Complete(index) => Ok(index),
            TailRead::NeedMore { .. } => Err(PackError::Malformed {
                what: "its directory begins before it",
            }),
        }
    }

    /// The entry of this name.
    pub fn get(&self, name: &str) -> Option<&PackEntry> {
        let idx = self
            .entries
            .binary_search_by(|it| it.name.as_str().cmp(name))
            .ok()?;
        self.entries.get(idx)
    }

    /// All entries, by name.
    pub fn entries(&self) -> &[PackEntry] {
        &self.entries
    }
}

fn parse_directory(
    directory: &[u8],
    n_entries: usize,
    directory_at: u64,
) -> Result<Vec<PackEntry>, PackError> {
    let bytes = Bytes::new(directory, ByteOrder::Little);
    let mut at = 0;
    let mut entries: Vec<PackEntry> = Vec::new();
    for _ in 0..n_entries {
        let (entry, next_at) = parse_entry(bytes, at).ok_or(PackError::Malformed {
            what: "its directory is damaged",
        })?;
        if entries.last().is_some_and(|it| it.name >= entry.name) {
            return Err(PackError::Malformed {
                what: "its entries are not sorted",
            });
        }
        if entry.range().end > directory_at {
            return Err(PackError::Malformed {
                what: "an entry reaches into its directory",
            });
        }
        entries.push(entry);
        at = next_at;
    }
    Ok(entries)
}

fn parse_entry(bytes: Bytes<'_>, at: usize) -> Option<(PackEntry, usize)> {
    let is_stored = bytes.u32(at)? == ENTRY_SIGNATURE && bytes.u16(at + 10)? == 0;
    let (packed_len, len) = (bytes.u32(at + 20)?, bytes.u32(at + 24)?);
    if !is_stored || packed_len != len {
        return None;
    }
    let name_len = usize::from(bytes.u16(at + 28)?);
    let rest_len = usize::from(bytes.u16(at + 30)?) + usize::from(bytes.u16(at + 32)?);
    let name = std::str::from_utf8(bytes.slice(at + ENTRY_LEN, name_len)?).ok()?;
    let entry = PackEntry {
        name: name.to_owned(),
        len: u64::from(len),
        crc: bytes.u32(at + 16)?,
        local_at: u64::from(bytes.u32(at + 42)?),
    };
    Some((entry, at + ENTRY_LEN + name_len + rest_len))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn index(pack: &[u8]) -> PackIndex {
        PackIndex::of(pack).unwrap()
    }

    #[test]
    fn equal_cells_give_equal_bytes_in_any_order() {
        let entries =
            [("b", "two"), ("a", "one"), ("c", "")].map(|(name, body)| (name.to_owned(), body));
        let pack = write_pack(entries.clone()).unwrap();
        assert_eq!(pack, write_pack(entries.into_iter().rev()).unwrap());
        assert!(index(&pack).entries().is_sorted_by_key(|it| &it.name));
    }

    #[test]
    fn ordinary_zip_readers_read_a_pack() {
        let pack = write_pack([("x/\u{e9}.png".to_owned(), b"body")]).unwrap();
        let mut archive = zip::ZipArchive::new(Cursor::new(pack)).unwrap();
        let mut body = Vec::new();
        std::io::copy(&mut archive.by_name("x/\u{e9}.png").unwrap(), &mut body).unwrap();
        assert_eq!(body, b"body");
    }

    #[test]
    fn a_name_given_twice_is_an_error() {
        let twice = [("a".to_owned(), b"1"), ("a".to_owned(), b"2")];
        assert!(matches!(
            write_pack(twice),
            Err(PackError::DuplicateName { .. })
        ));
    }

    #[test]
    fn a_short_tail_says_what_it_needs() {
        let pack = write_pack((0..50).map(|it| (format!("{it:03}"), vec![0; 100]))).unwrap();
        let size = pack.len() as u64;
        let TailRead::NeedMore { range } =
            PackIndex::read_tail(&pack[pack.len() - 60..], size).unwrap()
        else {
            panic!("60 bytes do not hold 50 entries")
        };
        let tail = &pack[range.start as usize..range.end as usize];
        assert_eq!(
            PackIndex::read_tail(tail, size).unwrap(),
            TailRead::Complete(index(&pack))
        );
    }

    #[test]
    fn a_damaged_pack_is_malformed() {
        let pack = write_pack([("a".to_owned(), vec![7; 100])]).unwrap();
        let size = pack.len() as u64;
        assert!(PackIndex::read_tail(&pack[..pack.len() - 1], size - 1).is_err());
        assert!(PackIndex::read_tail(b"", 0).is_err());
        let entry = index(&pack).entries()[0].clone();
        assert!(entry.body(&[0; 200]).is_err());
    }

    proptest! {
        #[test]
        fn every_entry_comes_back_by_its_range(
            cells in prop::collection::btree_map("[a-z0-9_.%-]{1,40}", prop::collection::vec(any::<u8>(), 0..300), 0..40),
        ) {
            let pack = write_pack(cells.clone()).unwrap();
            let index = index(&pack);
            prop_assert_eq!(index.entries().len(), cells.len());
            for (name, body) in &cells {
                let entry = index.get(name).unwrap();
                let range = entry.range();
                prop_assert_eq!(entry.body(&pack[range.start as usize..range.end as usize]).unwrap(), &body[..]);
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic(tail in prop::collection::vec(any::<u8>(), 0..200), size in 0u64..400) {
            let _ = PackIndex::read_tail(&tail, size.max(tail.len() as u64));
        }
    }
}
