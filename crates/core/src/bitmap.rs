//! A set of small numbers that is short in JSON: one hex digit for four numbers.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Numbers of ended units: at most 10,000 of a job, so at most 2,500 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bitmap {
    /// Bit `n % 4` of nibble `n / 4`. No trailing zeros, so that equal sets are equal values.
    nibbles: Vec<u8>,
}

impl Bitmap {
    pub fn contains(&self, n: u32) -> bool {
        let (nibble, bit) = place(n);
        self.nibbles.get(nibble).is_some_and(|it| it & bit != 0)
    }

    /// Was it new?
    pub fn insert(&mut self, n: u32) -> bool {
        let (nibble, bit) = place(n);
        if self.nibbles.len() <= nibble {
            self.nibbles.resize(nibble + 1, 0);
        }
        let is_new = self.nibbles[nibble] & bit == 0;
        self.nibbles[nibble] |= bit;
        is_new
    }

    pub fn remove(&mut self, n: u32) {
        let (nibble, bit) = place(n);
        if let Some(it) = self.nibbles.get_mut(nibble) {
            *it &= !bit;
        }
        self.trim();
    }

    pub fn len(&self) -> u32 {
        self.nibbles.iter().map(|it| it.count_ones()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.nibbles.is_empty()
    }

    /// Ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.nibbles.len() as u32 * 4).filter(|&n| self.contains(n))
    }

    fn trim(&mut self) {
        while self.nibbles.last() == Some(&0) {
            self.nibbles.pop();
        }
    }
}

impl FromIterator<u32> for Bitmap {
    fn from_iter<T: IntoIterator<Item = u32>>(numbers: T) -> Self {
        let mut map = Self::default();
        for n in numbers {
            map.insert(n);
        }
        map
    }
}

const fn place(n: u32) -> (usize, u8) {
    ((n / 4) as usize, 1 << (n % 4))
}

impl Serialize for Bitmap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text: String = self
            .nibbles
            .iter()
            .map(|&it| char::from_digit(u32::from(it), 16).expect("a nibble is below 16"))
            .collect();
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Bitmap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digit = |c: char| {
            c.to_digit(16)
                .map(|it| it as u8)
                .ok_or_else(|| de::Error::custom("a bitmap holds hex digits only"))
        };
        let mut map = Self {
            nibbles: text.chars().map(digit).collect::<Result<_, _>>()?,
        };
        map.trim();
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ten_thousand_units_stay_short() {
        let all: Bitmap = (0..10_000).collect();
        assert_eq!(serde_json::to_string(&all).unwrap().len(), 2_502);
    }

    proptest! {
        #[test]
        fn it_is_a_set(steps in proptest::collection::vec((any::<bool>(), 0u32..300), 0..100)) {
            let (mut map, mut set) = (Bitmap::default(), BTreeSet::new());
            for (insert, n) in steps {
                if insert {
                    prop_assert_eq!(map.insert(n), set.insert(n));
                } else {
                    map.remove(n);
                    set.remove(&n);
                }
            }
            prop_assert_eq!(map.len() as usize, set.len());
            prop_assert_eq!(map.iter().collect::<BTreeSet<_>>(), set.clone());
            let read: Bitmap = serde_json::from_str(&serde_json::to_string(&map).unwrap()).unwrap();
            prop_assert_eq!(&read, &map);
            prop_assert_eq!(set.into_iter().collect::<Bitmap>(), map);
        }
    }
}
