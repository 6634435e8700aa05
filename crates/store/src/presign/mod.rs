//! The AWS home of signed uploads and downloads: URLs that S3 itself checks, and uploads in parts.
//!
//! Everything that a grant binds is a signed header: S3 refuses another length, type, content or key, a second
//! object where only one may be, and anything after the expiry. Data paths of the programs themselves don't go
//! through here, but through the store.

mod bucket;
mod downloads;
mod parts;
mod uploads;
mod versions;

pub use downloads::S3Downloads;
pub use uploads::S3Uploads;
pub use versions::S3Versions;
