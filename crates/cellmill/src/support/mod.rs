//! `support`: one file with what somebody who helps needs to know, and nothing that tells who a patient is.

mod bundle;
mod command;
mod names;
mod of_home;
mod of_server;
mod secrets;
#[cfg(test)]
mod tests;

pub use command::{SupportArgs, run};
