//! The folder home: an object store over a folder on a local disk.
//!
//! The name of a file is the last segment of its key, byte for byte, so the folder can be read, copied and
//! filled with ordinary tools. What `object_store`'s own folder lacks, and what this one adds:
//!
//! - **Swap.** Documents (keys that end in `.json` or `.label`) have the hash of their content as ETag and
//!   can be updated under one of 64 lock files, between threads and processes; the lock ends with the process.
//! - **All or nothing.** Every object is staged under `.cellmill/tmp` and appears by one `link` or `rename`:
//!   after `kill -9` at any line either the old or the new object is there. What a put promised survives
//!   a power cut too, but under `cache/`, which can be computed again.
//! - **Every name.** `a#1`, `%2F`, Chinese, leading dots. Refused are `.`, `..`, control characters, names
//!   longer than the disk allows, and the folder `.cellmill`, which holds our own files and is never shown.
//! - **No way out.** Symbolic links below the root are not followed and not shown.
//!
//! Two limits that a bucket has not: an object cannot lie below another object (`a` and `a/b`), and a disk
//! that does not tell case apart makes one object of two keys that differ only in it.

mod etag;
mod failure;
mod locks;
mod mount;
mod read;
mod root;
mod staged;
mod store;
#[cfg(test)]
mod tests;
mod upload;
mod walk;

pub use root::OpenError;
pub(crate) use root::key_of;
pub use store::FolderStore;
