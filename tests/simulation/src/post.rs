//! The queue twin: one post office for all, and each process's own door to it, where calls can be held up as those to
//! the store are, and messages get lost, late or doubled.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cellmill_core::messages::{ASSEMBLE, COLLECT};
use cellmill_queue::{
    DeadLetter, Depth, Error, MemoryQueue, Outgoing, Queue, QueueName, Receipt, Received, Settings,
};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::bugs::Bug;
use crate::history::What;
use crate::machine::Process;
use crate::plan::{Fate, Item, Lane, Of};

/// The queues themselves. Waiting is done here, as that of the memory home wakes in no order that can be repeated.
#[derive(Debug)]
pub(crate) struct PostOffice {
    home: MemoryQueue,
    bell: Notify,
    /// When something hidden or delayed is to be seen.
    due: Mutex<BTreeSet<Instant>>,
}

impl PostOffice {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            home: MemoryQueue::new(Settings::default()),
            bell: Notify::new(),
            due: Mutex::default(),
        })
    }

    fn due_after(&self, delay: Duration) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        due.insert(Instant::now() + delay);
    }

    /// How long until something may be there that is not there now.
    fn until_due(&self) -> Option<Duration> {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        *due = due.split_off(&(now + Duration::from_millis(1)));
        due.first().map(|it| *it - now)
    }
}

/// A process's door to the post office.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) process: Arc<Process>,
    pub(crate) office: Arc<PostOffice>,
}

/// The lane of a queue; `None` for dead letters and queues that no schedule uses.
fn lane(queue: &QueueName) -> Option<Lane> {
    match queue.as_str() {
        it if it.ends_with("-dead") => None,
        ASSEMBLE => Some(Lane::Assemble),
        COLLECT => Some(Lane::Collect),
        it if it.starts_with("units-") => Some(Lane::Units),
        _ => None,
    }
}

impl Door {
    /// Lets one call through: the plan may hold it up or refuse it, before or after.
    async fn through<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let (counted, refused) = self.process.before(&[Of::Any, Of::Queue]).await;
        self.process.world.state().counts.queue_calls += 1;
        if refused.is_some() {
            return Err(lost());
        }
        let result = call.await;
        self.process.until_awake().await;
        match self.process.after(&counted).await {
            Some(_) => Err(lost()),
            None => result,
        }
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        self.process
            .world
            .tell(Some(self.process.machine), || What::Queue(what()));
    }

    async fn send_one(&self, queue: &QueueName, message: &Outgoing) -> Result<(), Error> {
        let (process, world) = (&self.process, &self.process.world);
        let Some(lane) = lane(queue) else {
            world.state().check.buried(process, &message.body);
            return self.keep(queue, message.delay, message).await;
        };
        world
            .state()
            .check
            .sent(process, lane, &message.body, world.elapsed());
        let item = world.message_item(lane);
        let fate = match item {
            Some(Item::Message { fate, .. }) => Some(fate),
            Some(Item::Silence { .. }) => Some(Fate::Lost),
            _ => None,
        };
        world.tell(Some(process.machine), || What::Fate {
            fate,
            body: message.body.clone(),
        });
        // Order is nothing that a queue promises.
        let sent = world.state().counts.queue_calls;
        let shuffled = world.drawn(&[2, u64::from(sent)]).below(1500);
        let delay = message.delay + Duration::from_millis(shuffled);
        match fate {
            None => self.keep(queue, delay, message).await,
            Some(Fate::Lost) => Ok(()),
            Some(Fate::Late(late)) => self.keep(queue, delay + late, message).await,
            Some(Fate::Twice(late)) => {
                self.keep(queue, delay, message).await?;
                self.keep(queue, delay + late, message).await
            }
        }
    }

    async fn keep(
        &self,
        queue: &QueueName,
        delay: Duration,
        message: &Outgoing,
    ) -> Result<(), Error> {
        let message = Outgoing::after(delay, message.body.clone());
        self.office.home.send(queue, &[message]).await?;
        self.office.due_after(delay);
        self.office.bell.notify_waiters();
        Ok(())
    }

    async fn take(
        &self,
        queue: &QueueName,
        max: usize,
        visibility: Duration,
    ) -> Result<Vec<Received>, Error> {
        let home = &self.office.home;
        let received = home.receive(queue, max, visibility, Duration::ZERO).await?;
        let world = &self.process.world;
        for message in &received {
            self.office.due_after(visibility);
            self.tell(|| format!("receives {}", message.body));
            if let Some(lane) = lane(queue) {
                let at = world.elapsed();
                let mut state = world.state();
                let check = &mut state.check;
                check.received(lane, &message.receipt, &message.body, at);
            }
            if world.is_bug(Bug::HintDeletedBeforeClaim) && lane(queue) == Some(Lane::Units) {
                self.end(queue, std::slice::from_ref(&message.receipt))
                    .await?;
            }
        }
        Ok(received)
    }

    async fn take_first(
        &self,
        queues: &[QueueName],
        max: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Option<(QueueName, Vec<Received>)>, Error> {
        let deadline = Instant::now() + wait;
        loop {
            for queue in queues {
                let received = self.take(queue, max, visibility).await?;
                if !received.is_empty() {
                    return Ok(Some((queue.clone(), received)));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.process.is_alive() {
                return Ok(None);
            }
            let rang = self.office.bell.notified();
            let wait = self.office.until_due().map_or(left, |it| it.min(left));
            // Silence is an answer like a ring: the queues are looked into again.
            let _ = timeout(wait, rang).await;
        }
    }

    async fn end(&self, queue: &QueueName, receipts: &[Receipt]) -> Result<(), Error> {
        self.office.home.delete(queue, receipts).await?;
        let (process, world) = (&self.process, &self.process.world);
        let Some(lane) = lane(queue) else {
            return Ok(());
        };
        let at = world.elapsed();
        for receipt in receipts {
            self.tell(|| format!("deletes message {}", receipt.as_str()));
            let mut state = world.state();
            let state = &mut *state;
            let before = state.check.violations.len();
            state.check.deleted(process, lane, receipt, at);
            for broken in &state.check.violations[before..] {
                let told = || What::Violation(broken.to_string());
                state.history.tell(at, None, told);
            }
        }
        Ok(())
    }
}

fn lost() -> Error {
    Error::Unavailable {
        home: "simulated".to_owned(),
        action: "answer",
        source: "injected fault".into(),
    }
}

#[async_trait]
impl Queue for Door {
    async fn send(&self, queue: &QueueName, messages: &[Outgoing]) -> Result<(), Error> {
        self.through(async {
            for message in messages {
                self.send_one(queue, message).await?;
            }
            Ok(())
        })
        .await
    }

    async fn receive(
        &self,
        queue: &QueueName,
        max: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Received>, Error> {
        let queues = std::slice::from_ref(queue);
        let received = self
            .through(self.take_first(queues, max, visibility, wait))
            .await?;
        Ok(received.map(|it| it.1).unwrap_or_default())
    }

    async fn receive_first(
        &self,
        queues: &[QueueName],
        max: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Option<(QueueName, Vec<Received>)>, Error> {
        self.through(self.take_first(queues, max, visibility, wait))
            .await
    }

    async fn wait_for_any(&self, _: &[QueueName], wait: Duration) -> Result<(), Error> {
        let _ = timeout(wait, self.office.bell.notified()).await;
        Ok(())
    }

    async fn delete(&self, queue: &QueueName, receipts: &[Receipt]) -> Result<(), Error> {
        self.through(self.end(queue, receipts)).await
    }

    async fn release(
        &self,
        queue: &QueueName,
        receipt: &Receipt,
        delay: Duration,
    ) -> Result<(), Error> {
        self.through(async {
            self.office.home.release(queue, receipt, delay).await?;
            self.office.due_after(delay);
            self.office.bell.notify_waiters();
            Ok(())
        })
        .await
    }

    async fn depth(&self, queue: &QueueName) -> Result<Depth, Error> {
        self.office.home.depth(queue).await
    }

    async fn dead(&self, queue: &QueueName, max: usize) -> Result<Vec<DeadLetter>, Error> {
        self.office.home.dead(queue, max).await
    }

    fn max_receives(&self, queue: &QueueName) -> u32 {
        self.office.home.max_receives(queue)
    }

    async fn purge(&self, queue: &QueueName) -> Result<(), Error> {
        self.office.home.purge(queue).await
    }
}
