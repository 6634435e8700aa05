//! The rules of Cellmill: ids, keys, cell names, boxes, labels, formats, job and unit states, messages, scores.
//!
//! Pure by design: no I/O, no async, no clock (`now` is an argument) and no randomness but from a seed
//! that the caller gives. Everything that can be decided without the outside world is decided here, and
//! everything else in the workspace carries the decisions out.

pub mod bitmap;
pub mod boxes;
pub mod cell_name;
pub mod checkpoint;
pub mod classes;
pub mod detection;
pub mod disposition;
pub mod document;
pub mod erase;
pub mod events;
pub mod formats;
pub mod ids;
pub mod job;
pub mod keys;
pub mod label;
pub mod legacy;
pub mod legacy_files;
pub mod load;
pub mod machine;
pub mod matching;
pub mod messages;
pub mod metrics;
pub mod model;
pub mod points;
pub mod random;
pub mod records;
pub mod retention;
pub mod snapshot;
pub mod split;
pub mod timing;
pub mod training;
pub mod triggers;
pub mod unit;
pub mod uploads;
