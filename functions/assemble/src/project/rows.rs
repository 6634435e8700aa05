//! The rows of a data set's cellslist.csv, a few thousand at a time.

use cellmill_core::formats::{CellsList, CellsListRow};
use cellmill_core::ids::Dir;
use cellmill_core::keys::{DatasetFile, ObjectKey};
use cellmill_store::Store;

use crate::{Error, failed};

/// Bytes of one read: some twenty thousand rows.
const READ: u64 = 8 * 1024 * 1024;

/// Reads all parts of the table in constant memory.
pub(super) struct Rows {
    ddir: Dir,
    part: u32,
    at: u64,
    header: Vec<u8>,
    /// The beginning of a row whose end was not read yet.
    rest: Vec<u8>,
    is_over: bool,
}

impl Rows {
    pub(super) fn open(ddir: &Dir) -> Self {
        Self {
            ddir: ddir.clone(),
            part: 0,
            at: 0,
            header: Vec::new(),
            rest: Vec::new(),
            is_over: false,
        }
    }

    /// The next rows; `None` when there are no more.
    pub(super) async fn next(&mut self, store: &Store) -> Result<Option<Vec<CellsListRow>>, Error> {
        while !self.is_over {
            let key = ObjectKey::Dataset(
                self.ddir.clone(),
                DatasetFile::CellsList { part: self.part },
            );
            let head = store
                .head(&key)
                .await
                .map_err(|it| failed(&self.ddir, it))?;
            let Some(head) = head else {
                self.is_over = true;
                break;
            };
            if self.at >= head.size {
                self.part += 1;
                (self.at, self.header, self.rest) = (0, Vec::new(), Vec::new());
                continue;
            }
            let range = self.at..(self.at + READ).min(head.size);
            let bytes = store
                .get_range(&key, range.clone())
                .await
                .map_err(|it| failed(&self.ddir, it))?;
            self.at = range.end;
            let text = self.whole_rows(&bytes, range.end == head.size);
            if text.is_empty() {
                continue;
            }
            let rows = CellsList::new(&text[..]).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            return rows.map(Some).map_err(|error| Error::Unusable {
                reason: format!(
                    "`{key}` can't be read: {}",
                    cellmill_service::report(&error)
                ),
            });
        }
        Ok(None)
    }

    /// The header and all rows that ended with these bytes. No field holds a line end: ids and names can't.
    fn whole_rows(&mut self, bytes: &[u8], is_last: bool) -> Vec<u8> {
        let mut text = std::mem::take(&mut self.rest);
        text.extend_from_slice(bytes);
        let end = match text.iter().rposition(|&it| it == b'\n') {
            _ if is_last => text.len(),
            Some(at) => at + 1,
            None => 0,
        };
        self.rest = text.split_off(end);
        if self.header.is_empty() {
            let end = text
                .iter()
                .position(|&it| it == b'\n')
                .map_or(0, |at| at + 1);
            self.header = text[..end].to_vec();
            return text;
        }
        if text.is_empty() {
            return text;
        }
        let mut whole = self.header.clone();
        whole.append(&mut text);
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_cut_by_a_read_are_put_together() {
        let table = b"a,b\n1,2\n3,4\n5,6\n";
        for cut in 1..table.len() {
            let dir = Dir::parse("DkxD9Kjl").unwrap();
            let mut rows = Rows::open(&dir);
            let first = rows.whole_rows(&table[..cut], false);
            let second = rows.whole_rows(&table[cut..], true);
            let lines = |text: &[u8]| -> Vec<String> {
                let text = String::from_utf8(text.to_vec()).unwrap();
                text.lines().skip(1).map(str::to_owned).collect()
            };
            let all = [lines(&first), lines(&second)].concat();
            assert_eq!(all, ["1,2", "3,4", "5,6"], "cut at {cut}");
        }
    }
}
