//! Opening the file, and telling what its errors mean.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use crate::Error;

/// Marks the file as a queue of Cellmill in `SQLite`'s own field for that: `"Cmlq"`.
const APPLICATION_ID: i64 = 0x436d_6c71;

/// Grows when the tables change.
const FORMAT: i64 = 1;

/// `seq` is never used twice (`AUTOINCREMENT`), not even after a delete: receipts are made of it.
/// Times are milliseconds since 1970. `origin` and `died_at` are set in dead letters only.
const SCHEMA: &str = "
    CREATE TABLE messages (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        queue TEXT NOT NULL,
        body TEXT NOT NULL,
        sent_at INTEGER NOT NULL,
        visible_at INTEGER NOT NULL,
        receive_count INTEGER NOT NULL DEFAULT 0,
        origin TEXT,
        died_at INTEGER
    ) STRICT;
    CREATE INDEX messages_by_time ON messages (queue, visible_at, seq);
";

/// Opens the file, makes it when there is none, and checks that it is sound.
pub(super) fn open(path: &Path, busy_timeout: Duration) -> Result<Connection, Error> {
    // The default flags would take a path such as `file:x?mode=ro` apart.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection =
        Connection::open_with_flags(path, flags).map_err(|it| open_error(path, it))?;
    let prepared = prepare(&mut connection, busy_timeout).map_err(|it| open_error(path, it))?;
    match prepared {
        Prepared::Sound => Ok(connection),
        Prepared::ReadOnly => Err(Error::Open {
            path: path.to_owned(),
            source: "the file may only be read".into(),
        }),
        Prepared::Foreign(found) => Err(Error::Foreign {
            path: path.to_owned(),
            found,
            expected: FORMAT,
        }),
        Prepared::Damaged(finding) => Err(Error::Damaged {
            path: path.to_owned(),
            source: finding.into(),
        }),
    }
}

/// What an error of `SQLite` means for the caller of a queue.
pub(super) fn error(path: &Path, action: &'static str, source: rusqlite::Error) -> Error {
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::Damaged {
            path: path.to_owned(),
            source: source.into(),
        },
        _ => Error::Unavailable {
            home: path.display().to_string(),
            action,
            source: source.into(),
        },
    }
}

fn open_error(path: &Path, source: rusqlite::Error) -> Error {
    match source.sqlite_error_code() {
        // Busy: another process writes for longer than the timeout, which passes.
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase,
        ) => error(path, "be opened", source),
        _ => Error::Open {
            path: path.to_owned(),
            source: source.into(),
        },
    }
}

/// What looking at the file found.
enum Prepared {
    Sound,
    ReadOnly,
    Foreign(String),
    Damaged(String),
}

fn prepare(connection: &mut Connection, busy_timeout: Duration) -> rusqlite::Result<Prepared> {
    connection.busy_timeout(busy_timeout)?;
    if connection.is_readonly("main")? {
        return Ok(Prepared::ReadOnly);
    }
    // Looked at before anything is changed: the file may be somebody else's.
    if let Some(found) = foreign(connection)? {
        return Ok(Prepared::Foreign(found));
    }
    let finding: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if finding != "ok" {
        return Ok(Prepared::Damaged(finding));
    }
    use_write_ahead_log(connection, busy_timeout)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Asked again under the write lock: another process may have been faster.
    if !has_tables(&transaction)? {
        create_tables(&transaction)?;
    }
    transaction.commit()?;
    Ok(Prepared::Sound)
}

fn foreign(connection: &Connection) -> rusqlite::Result<Option<String>> {
    // In this order: another process may make the tables, with their marks, between two of these lines.
    if !has_tables(connection)? {
        return Ok(None);
    }
    let application: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    if application != APPLICATION_ID {
        return Ok(Some("another program's database".to_owned()));
    }
    let format: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok((format != FORMAT).then(|| format!("a queue file of format {format}")))
}

fn has_tables(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| {
        row.get(0)
    })
}

fn create_tables(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(SCHEMA)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)
}

/// Turns on write-ahead logging: readers and the one writer don't wait for each other, and a process that is
/// killed leaves only whole transactions. `synchronous = NORMAL` keeps that promise for killed processes; a
/// power cut may lose the last sends, which the janitor sends again as it does after any lost message.
fn use_write_ahead_log(connection: &Connection, busy_timeout: Duration) -> rusqlite::Result<()> {
    let deadline = Instant::now() + busy_timeout;
    // SQLite does not wait for its busy timeout when two processes switch a new file at the same time.
    while let Err(error) = connection.pragma_update(None, "journal_mode", "WAL") {
        let is_busy = error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
        if !is_busy || Instant::now() >= deadline {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    connection.pragma_update(None, "synchronous", "NORMAL")
}
