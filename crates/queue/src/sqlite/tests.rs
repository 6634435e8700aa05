//! The file as several processes see it, and what happens to it when they are killed.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;

use super::SqliteQueue;
use crate::suite::{Advance, Home};
use crate::{Depth, Error, Outgoing, Queue, QueueName, Settings};

const QUEUE: QueueName = QueueName::from_static("first");

fn open(path: &Path) -> SqliteQueue {
    SqliteQueue::open(
        path,
        Settings {
            max_receives: 3,
            ..Settings::default()
        },
    )
    .unwrap()
}

/// Two handles on one file, as two processes have them. The folder is removed with `advance`.
fn home() -> Home {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.sqlite");
    Home {
        handles: vec![Arc::new(open(&path)), Arc::new(open(&path))],
        names: [QUEUE, QueueName::from_static("second")],
        max_receives: 3,
        tick: Duration::from_secs(30),
        advance: advance_by_shifting(folder, path),
    }
}

/// Instead of waiting, brings all that is still to come nearer.
fn advance_by_shifting(folder: TempDir, path: PathBuf) -> Advance {
    Box::new(move |span| {
        let _kept = &folder;
        let file = Connection::open(&path).unwrap();
        file.busy_timeout(Duration::from_secs(10)).unwrap();
        let millis = i64::try_from(span.as_millis()).unwrap();
        file.execute("UPDATE messages SET visible_at = visible_at - ?1", [millis])
            .unwrap();
        Box::pin(std::future::ready(()))
    })
}

mod one_thread {
    use super::home;

    crate::for_every_promise!(home = home(), tokio::test);
}

mod many_threads {
    use super::home;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn receivers_never_hold_the_same_message_at_once() {
        crate::suite::receivers_never_hold_the_same_message_at_once(&home()).await;
    }
}

#[tokio::test]
async fn visibility_ends_by_the_real_clock_too() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(&folder.path().join("queue.sqlite"));
    queue.send(&QUEUE, &[Outgoing::now("work")]).await.unwrap();
    queue
        .receive(&QUEUE, 1, Duration::from_millis(200), Duration::ZERO)
        .await
        .unwrap();
    let again = queue
        .receive(&QUEUE, 1, Duration::ZERO, Duration::from_secs(10))
        .await
        .unwrap();
    assert_eq!(again[0].receive_count, 2);
}

#[tokio::test]
async fn messages_outlive_the_handle() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.sqlite");
    open(&path)
        .send(&QUEUE, &[Outgoing::now("kept")])
        .await
        .unwrap();
    let received = open(&path)
        .receive(&QUEUE, 1, Duration::ZERO, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(received[0].body, "kept");
}

#[test]
fn a_file_that_is_no_queue_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.sqlite");
    std::fs::write(
        &text,
        "not a database, but long enough to have a header of one hundred bytes. ".repeat(20),
    )
    .unwrap();
    let error = SqliteQueue::open(&text, Settings::default()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
    assert!(
        error.to_string().contains("text.sqlite") && error.to_string().contains("hint: "),
        "{error}"
    );

    let other = folder.path().join("other.sqlite");
    Connection::open(&other)
        .unwrap()
        .execute_batch("CREATE TABLE patients (name TEXT)")
        .unwrap();
    let before = std::fs::read(&other).unwrap();
    let error = SqliteQueue::open(&other, Settings::default()).unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }), "{error:?}");
    assert_eq!(std::fs::read(&other).unwrap(), before);
}

#[test]
fn a_file_of_a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.sqlite");
    drop(super::file::open(&path, Duration::from_secs(1)).unwrap());
    Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 2)
        .unwrap();
    let error = SqliteQueue::open(&path, Settings::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("a queue file of format 2, expected a queue file of format 1"),
        "{error}"
    );
}

#[tokio::test]
async fn a_damaged_page_is_found_when_opening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.sqlite");
    {
        let mut file = super::file::open(&path, Duration::from_secs(1)).unwrap();
        let bodies: Vec<_> = (0..2000)
            .map(|it| super::statements::NewMessage {
                body: format!("message {it}"),
                visible_at: it,
            })
            .collect();
        super::statements::send(&mut file, &QUEUE, &bodies, 0).unwrap();
    }
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0xA5);
    std::fs::write(&path, bytes).unwrap();
    let error = SqliteQueue::open(&path, Settings::default()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
}

#[test]
fn a_path_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for path in [
        folder.path().to_owned(),
        folder.path().join("missing/queue.sqlite"),
    ] {
        let error = SqliteQueue::open(&path, Settings::default()).unwrap_err();
        assert!(matches!(error, Error::Open { .. }), "{error:?}");
        assert!(
            error.to_string().contains(&path.display().to_string()),
            "{error}"
        );
    }
}

#[tokio::test]
async fn twenty_thousand_messages_are_no_burden() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.sqlite");
    let queue = open(&path);
    let messages: Vec<_> = (0..20_000)
        .map(|it| Outgoing::now(it.to_string()))
        .collect();
    queue.send(&QUEUE, &messages).await.unwrap();
    // The plan is tested rather than the time: no receive may read or sort the whole queue.
    let file = Connection::open(&path).unwrap();
    let plan: String = file
        .query_row(
            "EXPLAIN QUERY PLAN SELECT seq, receive_count FROM messages WHERE queue = 'first' AND visible_at <= 5
             ORDER BY visible_at, seq LIMIT 10",
            [],
            |row| row.get(3),
        )
        .unwrap();
    assert_eq!(
        plan,
        "SEARCH messages USING INDEX messages_by_time (queue=? AND visible_at<?)"
    );
    let received = queue
        .receive(&QUEUE, 10, Duration::from_mins(1), Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(received.len(), 10);
    assert_eq!(
        queue.depth(&QUEUE).await.unwrap(),
        Depth {
            visible: 19_990,
            in_flight: 10,
            delayed: 0
        }
    );
}

/// Where a child process of these tests finds the queue file.
const CHILD_PATH: &str = "CELLMILL_TEST_QUEUE_FILE";

/// Runs one of the ignored `child_` tests below in a process of its own.
fn spawn_child(test: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            &format!("sqlite::tests::{test}"),
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD_PATH, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// The lines a child wrote after `mark`, until it ended or `max` were read.
fn lines(child: &mut Child, mark: &str, max: usize) -> Vec<String> {
    let output = BufReader::new(child.stdout.take().unwrap());
    let marked = output
        .lines()
        .map_while(Result::ok)
        .filter_map(|it| Some(it.split_once(mark)?.1.to_owned()));
    marked.take(max).collect()
}

fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}").unwrap();
    output.flush().unwrap();
}

#[tokio::test]
async fn processes_never_hold_the_same_message_at_once() {
    const MESSAGES: usize = 600;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.sqlite");
    let queue = open(&path);
    // The children start on an empty queue, so that all of them compete for what comes.
    let mut children: Vec<_> = (0..3)
        .map(|_| spawn_child("child_receives_until_empty", &path))
        .collect();
    let readers: Vec<_> = children
        .drain(..)
        .map(|mut child| {
            std::thread::spawn(move || {
                let ids = lines(&mut child, "received ", usize::MAX);
                assert!(child.wait().unwrap().success());
                ids
            })
        })
        .collect();
    for chunk in 0..MESSAGES / 20 {
        let messages: Vec<_> = (0..20)
            .map(|it| Outgoing::now(format!("{chunk}-{it}")))
            .collect();
        queue.send(&QUEUE, &messages).await.unwrap();
    }
    queue
        .send(
            &QueueName::from_static("ended"),
            &[Outgoing::now("all sent")],
        )
        .await
        .unwrap();
    let all: Vec<Vec<String>> = tokio::task::spawn_blocking(move || {
        readers.into_iter().map(|it| it.join().unwrap()).collect()
    })
    .await
    .unwrap();
    let ids: Vec<&String> = all.iter().flatten().collect();
    assert_eq!(
        ids.len(),
        MESSAGES,
        "handed out by process: {:?}",
        all.iter().map(Vec::len).collect::<Vec<_>>()
    );
    assert_eq!(ids.into_iter().collect::<BTreeSet<_>>().len(), MESSAGES);
}

#[ignore = "the other process of `processes_never_hold_the_same_message_at_once`"]
#[tokio::test]
async fn child_receives_until_empty() {
    let path = std::env::var_os(CHILD_PATH).expect("the parent names the file");
    let queue = open(Path::new(&path));
    loop {
        // Read before the queue: once all is sent, an empty queue stays empty.
        let all_sent = queue
            .depth(&QueueName::from_static("ended"))
            .await
            .unwrap()
            .visible
            > 0;
        let some = queue
            .receive(
                &QUEUE,
                5,
                Duration::from_mins(10),
                Duration::from_millis(50),
            )
            .await
            .unwrap();
        if some.is_empty() && all_sent {
            return;
        }
        for message in some {
            say(&format!("received {}", message.id));
        }
    }
}

#[tokio::test]
async fn what_was_sent_outlives_a_killed_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.sqlite");
    for round in 0..3 {
        let mut child = spawn_child("child_sends_until_killed", &path);
        // Killed somewhere in the middle of its next sends.
        let acknowledged = lines(&mut child, "sent ", 40 + 7 * round);
        child.kill().unwrap();
        child.wait().unwrap();

        let queue = open(&path);
        let mut kept = BTreeSet::new();
        loop {
            let some = queue
                .receive(&QUEUE, 1000, Duration::from_mins(10), Duration::ZERO)
                .await
                .unwrap();
            if some.is_empty() {
                break;
            }
            kept.extend(some.into_iter().map(|it| it.body));
        }
        assert!(!acknowledged.is_empty());
        let lost: Vec<_> = acknowledged
            .iter()
            .filter(|it| !kept.contains(*it))
            .collect();
        assert!(lost.is_empty(), "lost after kill -9: {lost:?}");
        queue.purge(&QUEUE).await.unwrap();
    }
}

#[ignore = "the other process of `what_was_sent_outlives_a_killed_process`"]
#[tokio::test]
async fn child_sends_until_killed() {
    let path = std::env::var_os(CHILD_PATH).expect("the parent names the file");
    let queue = open(Path::new(&path));
    for number in 0.. {
        let bodies: Vec<_> = (0..10).map(|it| format!("{number}-{it}")).collect();
        let messages: Vec<_> = bodies.iter().map(|it| Outgoing::now(it.as_str())).collect();
        queue.send(&QUEUE, &messages).await.unwrap();
        for body in bodies {
            say(&format!("sent {body}"));
        }
    }
}

#[test]
fn processes_may_make_the_file_at_the_same_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.sqlite");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| drop(super::file::open(&path, Duration::from_secs(10)).unwrap()));
        }
    });
}
