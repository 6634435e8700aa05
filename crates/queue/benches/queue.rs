//! Messages per second through each home: every message is sent, received and deleted, in batches of 10.
//!
//! `cargo bench -p cellmill-queue`
#![expect(clippy::print_stdout, reason = "a bench says its figures there")]

use std::error::Error;
use std::time::{Duration, Instant};

use cellmill_queue::{Outgoing, Queue, QueueName, Settings, open};

const QUEUE: QueueName = QueueName::from_static("bench");
const BATCH: usize = 10;
const MESSAGES: usize = 20_000;
const VISIBILITY: Duration = Duration::from_mins(10);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    for (name, url) in [
        ("memory", "memory://".to_owned()),
        (
            "sqlite",
            format!("sqlite://{}", folder.path().join("queue.sqlite").display()),
        ),
    ] {
        let home = open(&url, Settings::default())?;
        measure(&format!("{name}, short queue"), home.as_ref()).await?;
        fill(home.as_ref()).await?;
        measure(&format!("{name}, {MESSAGES} waiting"), home.as_ref()).await?;
    }
    Ok(())
}

/// Leaves `MESSAGES` in the queue.
async fn fill(home: &dyn Queue) -> Result<(), Box<dyn Error>> {
    let messages: Vec<_> = (0..MESSAGES).map(message).collect();
    Ok(home.send(&QUEUE, &messages).await?)
}

/// Passes `MESSAGES` through the queue and prints the rate; as many stay in it as were there.
async fn measure(name: &str, home: &dyn Queue) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    for first in (0..MESSAGES).step_by(BATCH) {
        let messages: Vec<_> = (first..first + BATCH).map(message).collect();
        home.send(&QUEUE, &messages).await?;
        let received = home
            .receive(&QUEUE, BATCH, VISIBILITY, Duration::ZERO)
            .await?;
        let receipts: Vec<_> = received.into_iter().map(|it| it.receipt).collect();
        assert_eq!(receipts.len(), BATCH);
        home.delete(&QUEUE, &receipts).await?;
    }
    let rate = MESSAGES as f64 / started.elapsed().as_secs_f64();
    println!("{name}: {rate:.0} messages/s sent, received and deleted");
    Ok(())
}

/// As long as a typical hint.
fn message(number: usize) -> Outgoing {
    Outgoing::now(format!(
        r#"{{"v":1,"unit":"units/DkxD9Kjl/data-{number:05}.json","round":1,"class":"cpu"}}"#
    ))
}
