//! As much of Python's pickle format as tables of tensors are written in. A pickle is a program for a machine with
//! a stack; this machine has no instruction that runs, imports or opens anything. A class is a name here, and a
//! call is a note of what would have been called.

use std::collections::HashMap;

/// A pickle of a table of weights has some thousands of values.
const MAX_NODES: usize = 1 << 20;

/// The place of a value in [`Pickle::nodes`]. Values refer to each other, so what a pickle repeats is not copied.
pub(super) type At = usize;

#[derive(Clone, Debug)]
pub(super) enum Node {
    /// What has no part in a tensor: none, truth values, floats.
    Other,
    Whole(i64),
    Text(String),
    /// `module.name`.
    Class(String),
    /// A tuple or a list.
    Row(Vec<At>),
    Table(Vec<(At, At)>),
    /// A reference to an object outside of the pickle, such as an array of numbers.
    Outside(At),
    Call {
        class: At,
        arguments: At,
    },
}

/// The values of a pickle.
#[derive(Debug)]
pub(super) struct Pickle {
    pub(super) nodes: Vec<Node>,
    /// What the pickle as a whole is.
    pub(super) top: At,
}

/// Runs the machine, or says why it stopped.
pub(super) fn parse(bytes: &[u8]) -> Result<Pickle, String> {
    let mut machine = Machine {
        bytes,
        nodes: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    while machine.step()? {}
    let top = machine.pop()?;
    Ok(Pickle {
        nodes: machine.nodes,
        top,
    })
}

struct Machine<'a> {
    /// What was not read yet.
    bytes: &'a [u8],
    nodes: Vec<Node>,
    stack: Vec<At>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, At>,
}

impl Machine<'_> {
    /// One instruction; false after the last.
    fn step(&mut self) -> Result<bool, String> {
        let [code] = self.take()?;
        match code {
            // Protocol: the instructions tell themselves apart.
            0x80 => self.take::<1>().map(drop)?,
            b'.' => return Ok(false),
            b'(' => self.marks.push(self.stack.len()),
            b'N' | 0x88 | 0x89 => self.push(Node::Other)?,
            b'G' => {
                self.take::<8>()?;
                self.push(Node::Other)?;
            }
            b'K' => {
                let [it] = self.take()?;
                self.push(Node::Whole(it.into()))?;
            }
            b'M' => {
                let it = u16::from_le_bytes(self.take()?);
                self.push(Node::Whole(it.into()))?;
            }
            b'J' => {
                let it = i32::from_le_bytes(self.take()?);
                self.push(Node::Whole(it.into()))?;
            }
            0x8a => {
                let it = self.long()?;
                self.push(Node::Whole(it))?;
            }
            b'X' => {
                let length = u32::from_le_bytes(self.take()?);
                let text = self.text(length as usize)?;
                self.push(Node::Text(text))?;
            }
            b'U' => {
                let [length] = self.take()?;
                let text = self.text(length.into())?;
                self.push(Node::Text(text))?;
            }
            b'c' => {
                let class = format!("{}.{}", self.line()?, self.line()?);
                self.push(Node::Class(class))?;
            }
            b')' | b']' => self.push(Node::Row(Vec::new()))?,
            b'}' => self.push(Node::Table(Vec::new()))?,
            0x85..=0x87 => {
                let n = usize::from(code - 0x84);
                let first = self.stack.len().checked_sub(n).ok_or(EMPTY)?;
                let row = self.stack.split_off(first);
                self.push(Node::Row(row))?;
            }
            b't' | b'l' => {
                let row = self.take_to_mark()?;
                self.push(Node::Row(row))?;
            }
            b'd' => {
                let pairs = pairs(&self.take_to_mark()?)?;
                self.push(Node::Table(pairs))?;
            }
            b'a' => {
                let it = self.pop()?;
                self.extend_row(&[it])?;
            }
            b'e' => {
                let row = self.take_to_mark()?;
                self.extend_row(&row)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.extend_table(&[key, value])?;
            }
            b'u' => {
                let row = self.take_to_mark()?;
                self.extend_table(&row)?;
            }
            b'q' => {
                let [key] = self.take()?;
                self.memo.insert(key.into(), self.top()?);
            }
            b'r' => {
                let key = u32::from_le_bytes(self.take()?);
                self.memo.insert(key, self.top()?);
            }
            b'h' => {
                let [key] = self.take()?;
                self.recall(key.into())?;
            }
            b'j' => {
                let key = u32::from_le_bytes(self.take()?);
                self.recall(key)?;
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Node::Outside(id))?;
            }
            b'R' | 0x81 => {
                let arguments = self.pop()?;
                let class = self.pop()?;
                let is_table = matches!(&self.nodes[class], Node::Class(it) if it == "collections.OrderedDict");
                self.push(if is_table {
                    Node::Table(Vec::new())
                } else {
                    Node::Call { class, arguments }
                })?;
            }
            // The state of an object: that of tables is not needed, and nothing else is used.
            b'b' | b'0' => self.pop().map(drop)?,
            _ => return Err(format!("instruction {code:#04x} is not used by weights")),
        }
        Ok(true)
    }

    fn push(&mut self, node: Node) -> Result<(), String> {
        if self.nodes.len() == MAX_NODES {
            return Err(format!("more than {MAX_NODES} values"));
        }
        self.nodes.push(node);
        self.stack.push(self.nodes.len() - 1);
        Ok(())
    }

    fn pop(&mut self) -> Result<At, String> {
        Ok(self.stack.pop().ok_or(EMPTY)?)
    }

    fn top(&self) -> Result<At, String> {
        Ok(*self.stack.last().ok_or(EMPTY)?)
    }

    /// What was pushed since the last mark.
    fn take_to_mark(&mut self) -> Result<Vec<At>, String> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        if mark > self.stack.len() {
            return Err(EMPTY.to_owned());
        }
        Ok(self.stack.split_off(mark))
    }

    fn extend_row(&mut self, values: &[At]) -> Result<(), String> {
        let at = self.top()?;
        match &mut self.nodes[at] {
            Node::Row(row) => row.extend(values),
            _ => return Err("a list is missing".to_owned()),
        }
        Ok(())
    }

    fn extend_table(&mut self, keys_and_values: &[At]) -> Result<(), String> {
        let at = self.top()?;
        match &mut self.nodes[at] {
            Node::Table(table) => table.extend(pairs(keys_and_values)?),
            _ => return Err("a table is missing".to_owned()),
        }
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), String> {
        let at = self
            .memo
            .get(&key)
            .ok_or("a value is used before it is there")?;
        self.stack.push(*at);
        if self.stack.len() > MAX_NODES {
            return Err(format!("more than {MAX_NODES} values"));
        }
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or("it ends early")?;
        self.bytes = rest;
        Ok(*taken)
    }

    fn text(&mut self, length: usize) -> Result<String, String> {
        let (text, rest) = self.bytes.split_at_checked(length).ok_or("it ends early")?;
        self.bytes = rest;
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    fn line(&mut self) -> Result<String, String> {
        let end = self.bytes.iter().position(|it| *it == b'\n');
        let text = self.text(end.ok_or("it ends early")?)?;
        self.take::<1>()?;
        Ok(text)
    }

    /// A whole number of up to eight bytes.
    fn long(&mut self) -> Result<i64, String> {
        let [n] = self.take()?;
        if n > 8 {
            return Err(format!("a number of {n} bytes"));
        }
        let mut bytes = [0; 8];
        for byte in &mut bytes[..usize::from(n)] {
            [*byte] = self.take()?;
        }
        let unused = 64 - 8 * u32::from(n);
        // Shifting up and down again spreads the sign; a number of no bytes is 0.
        Ok(i64::from_le_bytes(bytes).checked_shl(unused).unwrap_or(0) >> unused.min(63))
    }
}

const EMPTY: &str = "a value is missing";

fn pairs(row: &[At]) -> Result<Vec<(At, At)>, String> {
    if row.len() % 2 == 1 {
        return Err("a key has no value".to_owned());
    }
    Ok(row.chunks_exact(2).map(|it| (it[0], it[1])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_and_repeated_values_are_shared() {
        // {"a": (1, -2, 300), "b": <the same tuple>}
        let bytes = b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01J\xfe\xff\xff\xffM\x2c\x01\x87q\x01X\x01\x00\x00\x00bh\x01u.";
        let it = parse(bytes).unwrap();
        let Node::Table(pairs) = &it.nodes[it.top] else {
            panic!("{it:?}")
        };
        assert_eq!(pairs.len(), 2);
        assert_eq!(pairs[0].1, pairs[1].1);
        let Node::Row(row) = &it.nodes[pairs[0].1] else {
            panic!("{it:?}")
        };
        let wholes: Vec<i64> = row
            .iter()
            .map(|it_at| match it.nodes[*it_at] {
                Node::Whole(it) => it,
                _ => panic!("whole numbers"),
            })
            .collect();
        assert_eq!(wholes, [1, -2, 300]);
    }

    #[test]
    fn a_call_is_noted_and_never_made() {
        // What `os.system("true")` looks like in a pickle.
        let it = parse(b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.").unwrap();
        let Node::Call { class, .. } = it.nodes[it.top] else {
            panic!("{it:?}")
        };
        assert!(matches!(&it.nodes[class], Node::Class(it) if it == "os.system"));
    }

    #[test]
    fn long_numbers_keep_their_sign() {
        for (bytes, expected) in [
            (&b"\x8a\x00."[..], 0),
            (b"\x8a\x01\xff.", -1),
            (b"\x8a\x02\x00\x80.", -32768),
            (b"\x8a\x03\x00\x00\x01.", 65536),
            (b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f.", i64::MAX),
        ] {
            let it = parse(bytes).unwrap();
            assert!(
                matches!(it.nodes[it.top], Node::Whole(it) if it == expected),
                "{it:?}"
            );
        }
    }

    #[test]
    fn a_cut_or_twisted_pickle_is_an_error() {
        let whole = b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01M\x2c\x01\x86u.";
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).is_err(), "{end}");
        }
        for bytes in [
            &b"t."[..],
            b"0.",
            b"(0t.",
            b"h\x01.",
            b"K\x01s.",
            b"(K\x01d.",
            b"i.",
            b"X\xff\xff\xff\xffa.",
        ] {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
    }
}
