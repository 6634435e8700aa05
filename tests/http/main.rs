//! The edge: what the api answers over HTTP, on a port of its own, from outside.

#![expect(clippy::unwrap_used, reason = "what tests share panics as tests do")]

mod datasets;
mod detectors;
mod document;
mod downloads;
mod edge;
mod images;
mod jobs;
mod label_types;
mod legacy;
mod metrics;
mod models;
mod names;
mod projects;
mod server;
mod upload_parts;
mod uploads;
mod weights;
mod why;
