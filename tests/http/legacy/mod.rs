//! The endpoints of the predecessor's workers: their bytes, their lease, what is made of their files (FORMATS A.5).

mod bytes;
mod files;
mod lab;
mod leases;
