//! What a queue does, as SQL. Times are milliseconds since 1970; every change is one transaction.

use chrono::DateTime;
use rusqlite::{Connection, Row, Transaction, TransactionBehavior, params};

use crate::handle::Handle;
use crate::{DeadLetter, Depth, QueueName, Received};

/// A checked message with its times.
pub(super) struct NewMessage {
    pub(super) body: String,
    pub(super) visible_at: i64,
}

pub(super) fn send(
    connection: &mut Connection,
    queue: &QueueName,
    messages: &[NewMessage],
    now: i64,
) -> rusqlite::Result<()> {
    change(connection, |transaction| {
        let mut insert = transaction.prepare_cached(
            "INSERT INTO messages (queue, body, sent_at, visible_at) VALUES (?1, ?2, ?3, ?4)",
        )?;
        for message in messages {
            insert.execute(params![
                queue.as_str(),
                message.body,
                now,
                message.visible_at
            ])?;
        }
        Ok(())
    })
}

/// Whether one of the queues has a message to hand out. Only reads, so that idle receivers never lock the file.
pub(super) fn has_visible(
    connection: &Connection,
    queues: &[QueueName],
    now: i64,
) -> rusqlite::Result<bool> {
    let mut visible = connection.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM messages WHERE queue = ?1 AND visible_at <= ?2)",
    )?;
    for queue in queues {
        if visible.query_row(params![queue.as_str(), now], |row| row.get(0))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How messages are handed out.
pub(super) struct HandOut {
    pub(super) max: usize,
    pub(super) max_receives: u32,
    pub(super) now: i64,
    /// Later than `now`, or one call would hand out a message twice.
    pub(super) hidden_until: i64,
}

pub(super) fn receive(
    connection: &mut Connection,
    queue: &QueueName,
    how: &HandOut,
) -> rusqlite::Result<Vec<Received>> {
    if !has_visible(connection, std::slice::from_ref(queue), how.now)? {
        return Ok(Vec::new());
    }
    change(connection, |transaction| {
        let mut received = Vec::new();
        while received.len() < how.max {
            let visible = visible(transaction, queue, how.now, how.max - received.len())?;
            if visible.is_empty() {
                break;
            }
            for message in visible {
                if message.receive_count >= how.max_receives {
                    bury(transaction, queue, message.seq, how.now)?;
                } else {
                    received.push(hand_out(transaction, message, how.hidden_until)?);
                }
            }
        }
        Ok(received)
    })
}

fn visible(
    transaction: &Transaction<'_>,
    queue: &QueueName,
    now: i64,
    max: usize,
) -> rusqlite::Result<Vec<Handle>> {
    transaction
        .prepare_cached(
            "SELECT seq, receive_count FROM messages WHERE queue = ?1 AND visible_at <= ?2
             ORDER BY visible_at, seq LIMIT ?3",
        )?
        .query_map(params![queue.as_str(), now, limit(max)], |row| {
            Ok(Handle {
                seq: row.get(0)?,
                receive_count: row.get(1)?,
            })
        })?
        .collect()
}

fn hand_out(
    transaction: &Transaction<'_>,
    message: Handle,
    hidden_until: i64,
) -> rusqlite::Result<Received> {
    transaction
        .prepare_cached(
            "UPDATE messages SET receive_count = receive_count + 1, visible_at = ?2 WHERE seq = ?1
             RETURNING receive_count, body, sent_at",
        )?
        .query_row(params![message.seq, hidden_until], |row| {
            let receive_count = row.get(0)?;
            Ok(Received {
                id: message.seq.to_string(),
                receipt: Handle {
                    receive_count,
                    ..message
                }
                .receipt(),
                body: row.get(1)?,
                receive_count,
                sent_at: time(row.get(2)?),
            })
        })
}

/// Makes a dead letter of a message: it keeps its number, its count and its times.
fn bury(
    transaction: &Transaction<'_>,
    queue: &QueueName,
    seq: i64,
    now: i64,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE messages SET queue = ?2, origin = ?3, died_at = ?4 WHERE seq = ?1")?
        .execute(params![
            seq,
            queue.dead_letters().as_str(),
            queue.as_str(),
            now
        ])?;
    Ok(())
}

pub(super) fn delete(
    connection: &mut Connection,
    queue: &QueueName,
    handles: &[Handle],
) -> rusqlite::Result<()> {
    change(connection, |transaction| {
        let mut delete = transaction.prepare_cached(
            "DELETE FROM messages WHERE seq = ?1 AND receive_count = ?2 AND queue = ?3",
        )?;
        for handle in handles {
            delete.execute(params![handle.seq, handle.receive_count, queue.as_str()])?;
        }
        Ok(())
    })
}

pub(super) fn release(
    connection: &mut Connection,
    queue: &QueueName,
    handle: Handle,
    visible_at: i64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE messages SET visible_at = ?4 WHERE seq = ?1 AND receive_count = ?2 AND queue = ?3")?
        .execute(params![handle.seq, handle.receive_count, queue.as_str(), visible_at])?;
    Ok(())
}

pub(super) fn depth(
    connection: &Connection,
    queue: &QueueName,
    now: i64,
) -> rusqlite::Result<Depth> {
    connection
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE visible_at <= ?2),
                    count(*) FILTER (WHERE visible_at > ?2 AND receive_count > 0),
                    count(*) FILTER (WHERE visible_at > ?2 AND receive_count = 0)
             FROM messages WHERE queue = ?1",
        )?
        .query_row(params![queue.as_str(), now], |row| {
            let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
            Ok(Depth {
                visible: count(0)?,
                in_flight: count(1)?,
                delayed: count(2)?,
            })
        })
}

pub(super) fn dead(
    connection: &Connection,
    queue: &QueueName,
    max: usize,
) -> rusqlite::Result<Vec<DeadLetter>> {
    connection
        .prepare_cached(
            "SELECT seq, origin, body, receive_count, sent_at, died_at FROM messages WHERE queue = ?1
             ORDER BY seq LIMIT ?2",
        )?
        .query_map(params![queue.dead_letters().as_str(), limit(max)], |row| dead_letter(row, queue))?
        .collect()
}

fn dead_letter(row: &Row<'_>, asked: &QueueName) -> rusqlite::Result<DeadLetter> {
    let origin: Option<String> = row.get(1)?;
    Ok(DeadLetter {
        id: row.get::<_, i64>(0)?.to_string(),
        // Without an origin somebody sent it to the dead-letter queue by hand.
        queue: origin
            .and_then(|it| QueueName::parse(&it).ok())
            .unwrap_or_else(|| asked.clone()),
        body: row.get(2)?,
        receive_count: row.get(3)?,
        sent_at: time(row.get(4)?),
        died_at: row.get::<_, Option<i64>>(5)?.map(time),
    })
}

pub(super) fn purge(connection: &Connection, queue: &QueueName) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM messages WHERE queue = ?1", [queue.as_str()])?;
    Ok(())
}

/// Takes the write lock first: a transaction that starts by reading and then writes can fail without waiting.
fn change<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let result = work(&transaction)?;
    transaction.commit()?;
    Ok(result)
}

fn limit(max: usize) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX)
}

fn time(millis: i64) -> DateTime<chrono::Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}
