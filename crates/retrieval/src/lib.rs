//! Look-alike search over binary codes.
//!
//! [`Code`] is a short bit string and [`Scan`] finds the near ones by comparing all of them: exact, in one
//! pass over memory that lies in a row. It is the base that an index builds on: an index narrows down what
//! is scanned, and its answers have to equal those of a scan. Where codes come from and where they are kept
//! does not belong here.

mod code;
mod scan;

pub use code::{Code, CodeError, LengthsDiffer};
pub use scan::{Hit, Scan};
