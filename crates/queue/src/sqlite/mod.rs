//! The home in one `SQLite` file, shared by the processes of one machine.

mod file;
mod home;
mod statements;
#[cfg(test)]
mod tests;
mod thread;

pub use home::SqliteQueue;
