//! The suite of the queue over SQS.

use std::sync::Arc;
use std::time::Duration;

use cellmill_queue::suite::Home;
use cellmill_queue::{Queue, QueueName, Settings, SqsQueue, for_every_promise};

/// Two handles, as two processes would have them.
async fn home() -> Home {
    super::check_endpoint();
    let settings = Settings {
        max_receives: 3,
        ..Settings::default()
    };
    let prefix = super::fresh_name("q");
    let names = [
        QueueName::from_static("first"),
        QueueName::from_static("second"),
    ];
    let handles = [(); 2].map(|()| SqsQueue::new(&prefix, settings.clone()));
    for name in &names {
        handles[0].create(name).await.expect("the queue is made");
    }
    Home {
        handles: handles
            .map(|it| Arc::new(it) as Arc<dyn Queue>)
            .into_iter()
            .collect(),
        names,
        max_receives: settings.max_receives,
        // SQS counts in whole seconds.
        tick: Duration::from_secs(2),
        advance: Box::new(|time| Box::pin(tokio::time::sleep(time))),
    }
}

for_every_promise!(home = home().await, tokio::test(flavor = "multi_thread"));

#[tokio::test]
async fn a_queue_that_is_not_there_is_told_with_its_full_name() {
    super::check_endpoint();
    let queue = SqsQueue::new("no-such-stack", Settings::default());
    let error = queue
        .depth(&QueueName::from_static("uploads"))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("`no-such-stack-uploads`"),
        "{error}"
    );
    assert!(!error.is_transient());
}
