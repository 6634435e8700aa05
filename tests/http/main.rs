//! The edge: what the api answers over HTTP, on a port of its own, from outside.

mod datasets;
mod document;
mod edge;
mod images;
mod jobs;
mod names;
mod server;
mod uploads;
