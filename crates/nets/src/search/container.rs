//! Several files in one: a mark, how many there are, how long each is, and their bytes.

use crate::state::FileError;

const MARK: &[u8; 8] = b"CMSEARCH";
/// Trials of a search are tens.
const MAX_PARTS: u64 = 1000;

pub(super) fn join(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut all = MARK.to_vec();
    all.extend((parts.len() as u64).to_le_bytes());
    for part in parts {
        all.extend((part.len() as u64).to_le_bytes());
    }
    all.extend(parts.iter().flatten());
    all
}

/// The parts that [`join`] was given; a cut or longer file is refused.
pub(super) fn split(all: &[u8]) -> Result<Vec<&[u8]>, FileError> {
    read(all).ok_or_else(|| FileError::Malformed {
        reason: "it is no checkpoint of a search".to_owned(),
    })
}

fn read(all: &[u8]) -> Option<Vec<&[u8]>> {
    let mut rest = all.strip_prefix(MARK)?;
    let n = number(&mut rest).filter(|it| *it <= MAX_PARTS)?;
    let lengths: Option<Vec<u64>> = (0..n).map(|_| number(&mut rest)).collect();
    let mut parts = Vec::new();
    for length in lengths? {
        let (part, behind) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        parts.push(part);
        rest = behind;
    }
    rest.is_empty().then_some(parts)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (number, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(u64::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_and_anything_else_is_refused() {
        let parts = [vec![1, 2, 3], vec![], vec![9; 300]];
        let all = join(&parts);
        assert_eq!(split(&all).unwrap(), parts);
        for cut in 0..all.len() {
            assert!(split(&all[..cut]).is_err(), "{cut}");
        }
        assert!(split(&[&all[..], &[0]].concat()).is_err());
        let mut many = all;
        many[8..16].fill(0xff);
        assert!(split(&many).is_err());
    }
}
