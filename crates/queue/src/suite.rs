//! The promises of [`Queue`], one function each, for every home.
//!
//! A test of a home makes a fresh [`Home`] and calls one function; [`for_every_promise!`](crate::for_every_promise)
//! writes those tests.

use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cellmill_core::disposition::Disposition;
use tokio::time::Instant;

use crate::{
    Depth, MAX_BODY_BYTES, MAX_DELAY, MAX_VISIBILITY, Outgoing, Queue, QueueName, Received, letters,
};

/// Lets time pass for a home.
pub type Advance = Box<dyn Fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A home under test, with empty queues.
pub struct Home {
    /// Handles that share their queues: one, or several as separate processes would have them.
    pub handles: Vec<Arc<dyn Queue>>,
    /// Two queues that nobody else uses.
    pub names: [QueueName; 2],
    /// How often a message is handed out before it becomes a dead letter.
    pub max_receives: u32,
    /// A span that is long against the time a few calls take, short enough to wait for.
    pub tick: Duration,
    /// Lets time pass.
    pub advance: Advance,
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Home")
            .field("handles", &self.handles)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl Home {
    fn queue(&self) -> &dyn Queue {
        self.handle(0)
    }

    /// Any number: the handles take turns.
    fn handle(&self, number: usize) -> &dyn Queue {
        self.handles[number % self.handles.len()].as_ref()
    }

    fn name(&self) -> &QueueName {
        &self.names[0]
    }

    async fn send(&self, bodies: &[&str]) {
        let messages: Vec<_> = bodies.iter().map(|it| Outgoing::now(*it)).collect();
        self.queue()
            .send(self.name(), &messages)
            .await
            .expect("the messages are sent");
    }

    /// What can be had now, each message hidden for one tick.
    async fn receive(&self) -> Vec<Received> {
        let received = self
            .queue()
            .receive(self.name(), 100, self.tick, Duration::ZERO)
            .await;
        received.expect("the queue can be read")
    }

    async fn receive_one(&self) -> Received {
        let mut received = self.receive().await;
        assert_eq!(received.len(), 1, "one message was expected: {received:?}");
        received.remove(0)
    }

    async fn depth(&self) -> Depth {
        self.queue()
            .depth(self.name())
            .await
            .expect("the messages are counted")
    }

    /// Lets a message's visibility end so often that the next receiver finds a dead letter.
    async fn exhaust(&self) {
        for count in 1..=self.max_receives {
            assert_eq!(self.receive_one().await.receive_count, count);
            (self.advance)(self.tick * 2).await;
        }
        assert_eq!(
            self.receive().await,
            [],
            "handed out more than {} times",
            self.max_receives
        );
    }
}

fn bodies(received: &[Received]) -> BTreeSet<&str> {
    received.iter().map(|it| it.body.as_str()).collect()
}

/// What is sent comes out, whole, until it is deleted.
pub async fn what_is_sent_is_handed_out_until_deleted(home: &Home) {
    let text = "{\"v\":1,\"key\":\"img/批次/a b%2B.jpg\"}\n";
    home.send(&["one", text]).await;
    let received = home.receive().await;
    assert_eq!(bodies(&received), ["one", text].into());
    assert!(received.iter().all(|it| it.receive_count == 1));
    assert_ne!(received[0].id, received[1].id);

    let receipts: Vec<_> = received.into_iter().map(|it| it.receipt).collect();
    home.queue()
        .delete(home.name(), &receipts)
        .await
        .expect("both are deleted");
    home.queue()
        .delete(home.name(), &receipts)
        .await
        .expect("deleting twice is fine");
    (home.advance)(home.tick * 2).await;
    assert_eq!(home.receive().await, []);
    assert_eq!(home.depth().await, Depth::default());
}

/// More messages than one batch of any home are all sent and all received.
pub async fn calls_may_be_larger_than_a_batch(home: &Home) {
    let texts: Vec<String> = (0..37).map(|it| it.to_string()).collect();
    home.send(&texts.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let mut received = Vec::new();
    loop {
        let some = home
            .queue()
            .receive(home.name(), 25, home.tick * 100, Duration::ZERO)
            .await;
        let some = some.expect("the queue can be read");
        assert!(some.len() <= 25, "more than asked for: {}", some.len());
        if some.is_empty() {
            break;
        }
        received.extend(some);
    }
    assert_eq!(received.len(), 37);
    let receipts: Vec<_> = received.into_iter().map(|it| it.receipt).collect();
    home.queue()
        .delete(home.name(), &receipts)
        .await
        .expect("all are deleted");
    assert_eq!(home.depth().await, Depth::default());
    home.queue()
        .send(home.name(), &[])
        .await
        .expect("sending nothing is fine");
    home.queue()
        .delete(home.name(), &[])
        .await
        .expect("deleting nothing is fine");
}

/// Nobody else gets a message while it is hidden, everybody may when that is over.
pub async fn a_message_comes_back_when_its_visibility_is_over(home: &Home) {
    home.send(&["work"]).await;
    let first = home.receive_one().await;
    assert_eq!(
        home.handle(1)
            .receive(home.name(), 10, home.tick, Duration::ZERO)
            .await
            .expect("read"),
        []
    );
    (home.advance)(home.tick * 2).await;
    let second = home.receive_one().await;
    assert_eq!((second.id, second.receive_count), (first.id, 2));
    assert_eq!(second.sent_at, first.sent_at);
    assert_ne!(second.receipt, first.receipt);
}

/// A receiver that was too slow can't take the message from the one that holds it now.
pub async fn an_outdated_receipt_deletes_and_releases_nothing(home: &Home) {
    home.send(&["work"]).await;
    let slow = home.receive_one().await;
    (home.advance)(home.tick * 2).await;
    let holder = home.receive_one().await;

    home.queue()
        .delete(home.name(), std::slice::from_ref(&slow.receipt))
        .await
        .expect("an old receipt is fine");
    home.queue()
        .release(home.name(), &slow.receipt, Duration::ZERO)
        .await
        .expect("an old receipt is fine");
    assert_eq!(
        home.receive().await,
        [],
        "the old receipt gave the message to somebody else"
    );
    assert_eq!(
        home.depth().await,
        Depth {
            in_flight: 1,
            ..Depth::default()
        }
    );

    home.queue()
        .delete(home.name(), &[holder.receipt])
        .await
        .expect("the holder deletes");
    assert_eq!(home.depth().await, Depth::default());
}

/// A receipt deletes for as long as nobody else got the message.
pub async fn a_late_delete_counts_while_nobody_else_holds_the_message(home: &Home) {
    home.send(&["work"]).await;
    let late = home.receive_one().await;
    (home.advance)(home.tick * 2).await;
    home.queue()
        .delete(home.name(), &[late.receipt])
        .await
        .expect("the message is deleted");
    assert_eq!(home.receive().await, []);
}

/// Release gives back at once, or keeps for longer.
pub async fn release_changes_how_long_a_message_is_hidden(home: &Home) {
    home.send(&["work"]).await;
    let first = home.receive_one().await;
    home.queue()
        .release(home.name(), &first.receipt, Duration::ZERO)
        .await
        .expect("it is given back");
    let second = home.receive_one().await;
    assert_eq!(second.receive_count, 2);

    home.queue()
        .release(home.name(), &second.receipt, home.tick * 10)
        .await
        .expect("it is kept for longer");
    (home.advance)(home.tick * 5).await;
    assert_eq!(home.receive().await, []);
    (home.advance)(home.tick * 6).await;
    assert_eq!(home.receive_one().await.receive_count, 3);
}

/// A delayed message is nobody's until its delay is over.
pub async fn a_delayed_message_waits(home: &Home) {
    home.queue()
        .send(
            home.name(),
            &[
                Outgoing::after(home.tick * 4, "later"),
                Outgoing::now("now"),
            ],
        )
        .await
        .expect("both are sent");
    assert_eq!(home.receive_one().await.body, "now");
    assert_eq!(
        home.depth().await,
        Depth {
            in_flight: 1,
            delayed: 1,
            visible: 0
        }
    );
    (home.advance)(home.tick * 5).await;
    assert_eq!(
        home.depth().await,
        Depth {
            visible: 2,
            ..Depth::default()
        }
    );
    assert_eq!(bodies(&home.receive().await), ["later", "now"].into());
}

/// A message that nobody can finish is put aside with its history, and only that one.
pub async fn a_message_received_too_often_becomes_a_dead_letter(home: &Home) {
    home.send(&["poison"]).await;
    home.exhaust().await;
    assert_eq!(home.depth().await, Depth::default());

    let dead = home
        .queue()
        .dead(home.name(), 10)
        .await
        .expect("dead letters are shown");
    assert_eq!(dead.len(), 1);
    assert_eq!(
        (dead[0].body.as_str(), &dead[0].queue),
        ("poison", home.name())
    );
    assert_eq!(dead[0].receive_count, home.max_receives);
    assert!(dead[0].died_at.is_none_or(|it| it >= dead[0].sent_at));
    let again = home
        .queue()
        .dead(home.name(), 10)
        .await
        .expect("dead letters are shown");
    assert_eq!(dead, again, "showing dead letters changed them");
    assert_eq!(
        home.queue()
            .dead(home.name(), 0)
            .await
            .expect("none is shown"),
        []
    );
    assert_eq!(
        home.queue()
            .dead(&home.names[1], 10)
            .await
            .expect("none is shown"),
        []
    );
    let counted = home
        .queue()
        .depth(&home.name().dead_letters())
        .await
        .expect("they are counted");
    assert_eq!(counted.visible, 1);
}

/// A redriven message starts anew; its old receipts are void.
pub async fn a_redriven_dead_letter_is_a_new_message(home: &Home) {
    home.send(&["work"]).await;
    let first = home.receive_one().await;
    home.queue()
        .release(home.name(), &first.receipt, Duration::ZERO)
        .await
        .expect("it is given back");
    for _ in 1..home.max_receives {
        home.receive_one().await;
        (home.advance)(home.tick * 2).await;
    }
    assert_eq!(home.receive().await, []);

    let dead = home
        .queue()
        .dead(home.name(), 10)
        .await
        .expect("dead letters are shown");
    let ids = [dead[0].id.clone(), "no such id".to_owned()];
    assert_eq!(
        letters::redrive(home.queue(), home.name(), &ids)
            .await
            .expect("it is redriven"),
        1
    );
    assert_eq!(
        letters::redrive(home.queue(), home.name(), &ids)
            .await
            .expect("it is gone"),
        0
    );
    assert_eq!(
        home.queue()
            .dead(home.name(), 10)
            .await
            .expect("dead letters are shown"),
        []
    );

    let again = home.receive_one().await;
    assert_eq!((again.body.as_str(), again.receive_count), ("work", 1));
    home.queue()
        .delete(home.name(), &[first.receipt])
        .await
        .expect("an old receipt is fine");
    assert_eq!(
        home.depth().await.in_flight,
        1,
        "a receipt from before its death deleted the message"
    );
}

/// A message that is given up keeps its reason, and what is sent again is what was sent, not the letter.
pub async fn a_letter_says_why_and_holds_the_message(home: &Home) {
    home.send(&["work", "other"]).await;
    for message in home.receive().await {
        let reason = format!("`{}` can't be done", message.body);
        let outcome = Disposition::Reject { reason };
        letters::finish(home.queue(), home.name(), &message, outcome)
            .await
            .expect("it is given up");
    }
    assert_eq!(home.depth().await, Depth::default());
    let listed = async || {
        let mut listed = letters::list(home.queue(), home.name(), 10)
            .await
            .expect("dead letters are shown");
        listed.sort_by(|a, b| a.body.cmp(&b.body));
        listed
    };
    let dead = listed().await;
    let told: Vec<_> = dead
        .iter()
        .map(|it| (it.body.as_str(), it.reason.as_deref(), it.attempts))
        .collect();
    assert_eq!(
        told,
        [
            ("other", Some("`other` can't be done"), 1),
            ("work", Some("`work` can't be done"), 1)
        ]
    );
    let ids = [dead[1].id.clone()];
    assert_eq!(
        letters::redrive(home.queue(), home.name(), &ids)
            .await
            .expect("it is redriven"),
        1
    );
    let again = home.receive_one().await;
    assert_eq!((again.body.as_str(), again.receive_count), ("work", 1));
    let left = listed().await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].body, "other");
}

/// A handler that fails every time ends the message at its last try, with what it said.
pub async fn the_last_failure_is_the_reason(home: &Home) {
    home.send(&["work"]).await;
    for _ in 0..home.max_receives {
        let message = home.receive_one().await;
        letters::finish(
            home.queue(),
            home.name(),
            &message,
            Disposition::retry("the disk is full"),
        )
        .await
        .expect("it is ended");
        (home.advance)(home.tick * 5).await;
    }
    assert_eq!(home.receive().await, []);
    let dead = letters::list(home.queue(), home.name(), 10)
        .await
        .expect("dead letters are shown");
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].reason.as_deref(), Some("the disk is full"));
    assert_eq!(dead[0].attempts, home.max_receives);
}

/// Queues don't see each other's messages, and purging one leaves the other and the dead letters.
pub async fn queues_are_separate(home: &Home) {
    home.send(&["poison"]).await;
    home.exhaust().await;
    home.send(&["held"]).await;
    let held = home.receive_one().await;
    home.send(&["waiting"]).await;
    let other = &home.names[1];
    home.queue()
        .send(other, &[Outgoing::now("other")])
        .await
        .expect("it is sent");

    home.queue()
        .delete(other, std::slice::from_ref(&held.receipt))
        .await
        .expect("it is not there");
    assert_eq!(
        home.depth().await,
        Depth {
            visible: 1,
            in_flight: 1,
            delayed: 0
        }
    );

    home.queue()
        .purge(home.name())
        .await
        .expect("the queue is emptied");
    assert_eq!(home.depth().await, Depth::default());
    assert_eq!(home.queue().depth(other).await.expect("counted").visible, 1);
    assert_eq!(
        home.queue()
            .dead(home.name(), 10)
            .await
            .expect("dead letters are shown")
            .len(),
        1
    );
    home.queue()
        .delete(home.name(), &[held.receipt])
        .await
        .expect("a receipt of a purged message is fine");
}

/// Many receivers, one holder for each message.
pub async fn receivers_never_hold_the_same_message_at_once(home: &Home) {
    const MESSAGES: usize = 200;
    let texts: Vec<String> = (0..MESSAGES).map(|it| it.to_string()).collect();
    home.send(&texts.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let mut receivers = tokio::task::JoinSet::new();
    for number in 0..8 {
        let handle = Arc::clone(&home.handles[number % home.handles.len()]);
        let (name, visibility) = (home.name().clone(), home.tick * 100);
        receivers.spawn(async move {
            let mut mine = Vec::new();
            loop {
                let some = handle
                    .receive(&name, 3, visibility, Duration::ZERO)
                    .await
                    .expect("the queue can be read");
                if some.is_empty() {
                    return mine;
                }
                mine.extend(some.into_iter().map(|it| it.id));
                tokio::task::yield_now().await;
            }
        });
    }
    let ids: Vec<String> = receivers.join_all().await.into_iter().flatten().collect();
    assert_eq!(ids.len(), MESSAGES);
    assert_eq!(
        ids.into_iter().collect::<BTreeSet<_>>().len(),
        MESSAGES,
        "two receivers held one message"
    );
}

/// A receiver that waits gets a message soon after it was sent, through whichever handle.
pub async fn a_waiting_receiver_wakes_when_a_message_arrives(home: &Home) {
    for sender in 0..home.handles.len() {
        let started = Instant::now();
        let receive = home.queue().receive(home.name(), 10, home.tick, LONG_WAIT);
        let send = async {
            tokio::time::sleep(SHORT_WAIT).await;
            home.handle(sender)
                .send(home.name(), &[Outgoing::now("wake up")])
                .await
                .expect("it is sent");
        };
        let (received, ()) = tokio::join!(receive, send);
        let receipts: Vec<_> = received
            .expect("the queue can be read")
            .into_iter()
            .map(|it| it.receipt)
            .collect();
        assert_eq!(receipts.len(), 1);
        assert!(
            started.elapsed() < LONG_WAIT / 2,
            "woke after {:?}",
            started.elapsed()
        );
        home.queue()
            .delete(home.name(), &receipts)
            .await
            .expect("it is deleted");
    }
}

/// A receiver that waits gets a message whose delay ends meanwhile, and one that is released.
pub async fn a_waiting_receiver_wakes_when_a_message_becomes_visible(home: &Home) {
    let started = Instant::now();
    home.queue()
        .send(home.name(), &[Outgoing::after(SHORT_WAIT, "later")])
        .await
        .expect("it is sent");
    let received = home
        .queue()
        .receive(home.name(), 10, home.tick * 10, LONG_WAIT)
        .await
        .expect("read");
    assert_eq!(received.len(), 1);

    let receive = home.queue().receive(home.name(), 10, home.tick, LONG_WAIT);
    let release = async {
        tokio::time::sleep(SHORT_WAIT).await;
        home.queue()
            .release(home.name(), &received[0].receipt, Duration::ZERO)
            .await
            .expect("it is given back");
    };
    let (received, ()) = tokio::join!(receive, release);
    assert_eq!(received.expect("the queue can be read").len(), 1);
    assert!(
        started.elapsed() < LONG_WAIT / 2,
        "woke after {:?}",
        started.elapsed()
    );
}

/// An empty queue is known to be empty after the wait, not before.
pub async fn a_wait_in_vain_ends_when_it_should(home: &Home) {
    let started = Instant::now();
    let received = home
        .queue()
        .receive(home.name(), 10, home.tick, SHORT_WAIT)
        .await
        .expect("read");
    assert_eq!(received, []);
    assert!(
        started.elapsed() >= SHORT_WAIT && started.elapsed() < LONG_WAIT,
        "waited {:?}",
        started.elapsed()
    );
    let none = home
        .queue()
        .receive(home.name(), 0, home.tick, SHORT_WAIT)
        .await
        .expect("read");
    assert_eq!(none, []);
}

/// The first queue goes first, the second is not forgotten, and waiting covers both.
pub async fn urgent_queues_go_first(home: &Home) {
    let [urgent, normal] = &home.names;
    let all = home.names.as_slice();
    let first = |wait| home.queue().receive_first(all, 10, home.tick, wait);
    home.queue()
        .send(normal, &[Outgoing::now("normal")])
        .await
        .expect("it is sent");
    home.queue()
        .send(urgent, &[Outgoing::now("urgent")])
        .await
        .expect("it is sent");

    let (queue, messages) = first(Duration::ZERO)
        .await
        .expect("read")
        .expect("a message");
    assert_eq!((&queue, messages[0].body.as_str()), (urgent, "urgent"));
    home.queue()
        .delete(&queue, std::slice::from_ref(&messages[0].receipt))
        .await
        .expect("it is deleted");
    let (queue, messages) = first(Duration::ZERO)
        .await
        .expect("read")
        .expect("a message");
    assert_eq!((&queue, messages[0].body.as_str()), (normal, "normal"));
    home.queue()
        .delete(&queue, std::slice::from_ref(&messages[0].receipt))
        .await
        .expect("it is deleted");
    assert!(first(SHORT_WAIT).await.expect("read").is_none());

    let started = Instant::now();
    let send = async {
        tokio::time::sleep(SHORT_WAIT).await;
        home.handle(1)
            .send(normal, &[Outgoing::now("late")])
            .await
            .expect("it is sent");
    };
    let (found, ()) = tokio::join!(first(LONG_WAIT), send);
    assert_eq!(&found.expect("read").expect("a message").0, normal);
    assert!(
        started.elapsed() < LONG_WAIT / 2,
        "woke after {:?}",
        started.elapsed()
    );
}

/// What one home could not keep, none takes: all or nothing, and the limit is named.
pub async fn what_breaks_a_limit_is_refused_whole(home: &Home) {
    let long = "x".repeat(MAX_BODY_BYTES + 1);
    let late = MAX_DELAY + Duration::from_secs(1);
    for bad in [
        Outgoing::now(""),
        Outgoing::now(long),
        Outgoing::after(late, "late"),
    ] {
        let sent = home
            .queue()
            .send(home.name(), &[Outgoing::now("good"), bad])
            .await;
        let error = sent.expect_err("a broken limit is refused");
        assert!(error.to_string().contains(home.name().as_str()), "{error}");
        assert!(!error.is_transient());
    }
    assert_eq!(
        home.depth().await,
        Depth::default(),
        "a part of a refused call was sent"
    );

    home.send(&["x".repeat(MAX_BODY_BYTES).as_str()]).await;
    let too_long = MAX_VISIBILITY + Duration::from_secs(1);
    home.queue()
        .receive(home.name(), 1, too_long, Duration::ZERO)
        .await
        .expect_err("hidden for too long");
    let whole = home.receive_one().await;
    assert_eq!(whole.body.len(), MAX_BODY_BYTES);
    home.queue()
        .release(home.name(), &whole.receipt, too_long)
        .await
        .expect_err("hidden for too long");
}

/// Long against what a wake-up takes on a busy machine.
const LONG_WAIT: Duration = Duration::from_secs(10);
/// Long enough for a receiver to start waiting.
const SHORT_WAIT: Duration = Duration::from_millis(150);

/// Writes one test for each promise: `for_every_promise!(home = fresh_home().await, tokio::test)`, where the
/// expression makes a fresh [`Home`] and the rest is the attribute of each test.
#[macro_export]
macro_rules! for_every_promise {
    (home = $home:expr, $($attribute:tt)+) => {
        $crate::for_every_promise! { @each $home, [$($attribute)+]
            what_is_sent_is_handed_out_until_deleted
            calls_may_be_larger_than_a_batch
            a_message_comes_back_when_its_visibility_is_over
            an_outdated_receipt_deletes_and_releases_nothing
            a_late_delete_counts_while_nobody_else_holds_the_message
            release_changes_how_long_a_message_is_hidden
            a_delayed_message_waits
            a_message_received_too_often_becomes_a_dead_letter
            a_redriven_dead_letter_is_a_new_message
            a_letter_says_why_and_holds_the_message
            the_last_failure_is_the_reason
            queues_are_separate
            receivers_never_hold_the_same_message_at_once
            a_waiting_receiver_wakes_when_a_message_arrives
            a_waiting_receiver_wakes_when_a_message_becomes_visible
            a_wait_in_vain_ends_when_it_should
            urgent_queues_go_first
            what_breaks_a_limit_is_refused_whole
        }
    };
    (@each $home:expr, [$($attribute:tt)+] $promise:ident $($rest:ident)*) => {
        #[$($attribute)+]
        async fn $promise() {
            let home: $crate::suite::Home = $home;
            $crate::suite::$promise(&home).await;
        }
        $crate::for_every_promise! { @each $home, [$($attribute)+] $($rest)* }
    };
    (@each $home:expr, [$($attribute:tt)+]) => {};
}
