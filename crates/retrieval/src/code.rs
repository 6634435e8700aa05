//! Binary codes and how far two of them are apart.

use std::fmt;
use std::str::FromStr;

/// A code of 1 to 64 bits, written as so many `0` and `1`, the first bit first (FORMATS D.1).
///
/// ```
/// use cellmill_retrieval::Code;
/// let code: Code = "0110".parse().unwrap();
/// assert_eq!(code.distance(&"1111".parse().unwrap()), Ok(2));
/// assert!(code.distance(&"11".parse().unwrap()).is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code {
    length: u8,
    /// The first bit of the text is the highest of the `length` lowest bits; all above are 0.
    bits: u64,
}

/// Why a text or number is no code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Codes have 1 to 64 bits.
    #[error("a code has {length} bits, the limits are 1 and {}", Code::MAX_BITS)]
    Length {
        /// The bits given.
        length: usize,
    },
    /// A code is written in zeros and ones.
    #[error("a code holds `{found}` at place {place}, only `0` and `1` are allowed")]
    Digit {
        /// The character.
        found: char,
        /// Its place, from 0.
        place: usize,
    },
    /// The number has bits above the length.
    #[error("a code of {length} bits can't hold {bits:#x}")]
    Bits {
        /// The length given.
        length: usize,
        /// The number given.
        bits: u64,
    },
}

/// Codes of different lengths come from different networks: no distance between them means anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("codes of {ours} and {theirs} bits can't be compared")]
pub struct LengthsDiffer {
    /// Bits of the code asked.
    pub ours: usize,
    /// Bits of the other.
    pub theirs: usize,
}

impl Code {
    /// The longest code.
    pub const MAX_BITS: usize = 64;

    /// A code of `length` bits from a number whose lowest bit is the last of the text.
    pub fn try_new(bits: u64, length: usize) -> Result<Self, CodeError> {
        if !(1..=Self::MAX_BITS).contains(&length) {
            return Err(CodeError::Length { length });
        }
        if length < Self::MAX_BITS && bits >> length != 0 {
            return Err(CodeError::Bits { length, bits });
        }
        Ok(Self {
            length: length as u8,
            bits,
        })
    }

    /// How many bits it has.
    pub const fn n_bits(&self) -> usize {
        self.length as usize
    }

    /// The bits as a number; the last bit of the text is the lowest.
    pub const fn bits(&self) -> u64 {
        self.bits
    }

    /// In how many bits the two differ (Hamming distance).
    pub const fn distance(&self, other: &Self) -> Result<u32, LengthsDiffer> {
        if self.length != other.length {
            return Err(LengthsDiffer {
                ours: self.n_bits(),
                theirs: other.n_bits(),
            });
        }
        Ok((self.bits ^ other.bits).count_ones())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0width$b}", self.bits, width = self.n_bits())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({self})")
    }
}

impl FromStr for Code {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        let length = text.chars().count();
        if !(1..=Self::MAX_BITS).contains(&length) {
            return Err(CodeError::Length { length });
        }
        let mut bits = 0;
        for (place, found) in text.chars().enumerate() {
            let bit = match found {
                '0' => 0,
                '1' => 1,
                _ => return Err(CodeError::Digit { found, place }),
            };
            bits = bits << 1 | bit;
        }
        Self::try_new(bits, length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_1_to_64_zeros_and_ones_are_a_code() {
        assert_eq!("".parse::<Code>(), Err(CodeError::Length { length: 0 }));
        assert_eq!(
            "0".repeat(65).parse::<Code>(),
            Err(CodeError::Length { length: 65 })
        );
        assert_eq!(
            "0102".parse::<Code>(),
            Err(CodeError::Digit {
                found: '2',
                place: 3
            })
        );
        assert_eq!("1".repeat(64).parse::<Code>().unwrap().bits(), u64::MAX);
        assert_eq!(
            Code::try_new(4, 2),
            Err(CodeError::Bits { length: 2, bits: 4 })
        );
    }

    #[test]
    fn lengths_must_match_even_when_the_numbers_do() {
        let (short, long): (Code, Code) = ("01".parse().unwrap(), "001".parse().unwrap());
        assert_eq!(
            short.distance(&long),
            Err(LengthsDiffer { ours: 2, theirs: 3 })
        );
        assert_ne!(short, long);
    }

    proptest! {
        #[test]
        fn a_code_reads_back_from_its_text(text in "[01]{1,64}") {
            prop_assert_eq!(text.parse::<Code>().unwrap().to_string(), text);
        }

        #[test]
        fn the_distance_is_the_number_of_characters_that_differ(pairs in prop::collection::vec((0..2u8, 0..2u8), 1..=64)) {
            let text = |pick: fn(&(u8, u8)) -> u8| pairs.iter().map(|it| char::from(b'0' + pick(it))).collect::<String>();
            let (a, b): (Code, Code) = (text(|it| it.0).parse().unwrap(), text(|it| it.1).parse().unwrap());
            let differing = pairs.iter().filter(|(a, b)| a != b).count();
            prop_assert_eq!(a.distance(&b).unwrap() as usize, differing);
        }
    }
}
