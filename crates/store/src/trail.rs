//! The `write` of a stamp: whose writes a document has seen lately.
//!
//! Its first word is the ULID of the newest write. A lost answer is read back, and in between others may
//! have swapped again; so that we still recognise our write below theirs, the tails of the last few earlier
//! writes follow, newest first. Without them a decision whose answer was lost would be taken twice.

use ulid::Ulid;

/// How many earlier writes are remembered. A read-back follows a lost answer at once: a document that
/// sixteen others swap in between is not expected. If one is, the decision is taken anew from what it says.
const REMEMBERED: usize = 15;

/// Characters kept of an earlier ULID: its last 50 bits, all random.
const TAIL: usize = 10;

/// One intended write.
#[derive(Clone, Debug)]
pub(crate) struct WriteId(String);

impl WriteId {
    /// `id` was made for this write alone.
    pub(crate) fn new(id: Ulid) -> Self {
        Self(id.to_string())
    }

    /// The `write` of a document that this write turns into the next one.
    pub(crate) fn after(&self, previous: Option<&str>) -> String {
        let earlier = previous.unwrap_or_default().split_ascii_whitespace();
        let mut trail = self.0.clone();
        for word in earlier.take(REMEMBERED) {
            trail.push(' ');
            trail.push_str(tail(word));
        }
        trail
    }

    /// Whether a document that says `write` holds this write, on top or below later ones.
    pub(crate) fn is_in(&self, write: &str) -> bool {
        write
            .split_ascii_whitespace()
            .any(|word| tail(word) == tail(&self.0))
    }
}

fn tail(word: &str) -> &str {
    let start = word.len().saturating_sub(TAIL);
    word.get(start..).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> WriteId {
        WriteId::new(Ulid::generate())
    }

    #[test]
    fn a_write_is_recognised_under_fifteen_later_ones_and_no_more() {
        let ours = fresh();
        let mut write = ours.after(None);
        for _ in 0..REMEMBERED {
            assert!(ours.is_in(&write), "{write}");
            write = fresh().after(Some(&write));
        }
        assert!(ours.is_in(&write));
        assert_eq!(write.len(), 26 + REMEMBERED * (TAIL + 1));

        write = fresh().after(Some(&write));
        assert!(!ours.is_in(&write));
    }

    #[test]
    fn a_foreign_or_empty_write_is_not_ours() {
        let ours = fresh();
        assert!(!ours.is_in(""));
        assert!(!ours.is_in(&fresh().after(None)));
        assert!(!ours.is_in("é written by hand"));
    }
}
