//! The home inside one process: for tests, and for runs that may forget.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::bell::Bell;
use crate::handle::Handle;
use crate::limits::{check_messages, check_visibility};
use crate::{DeadLetter, Depth, Error, Outgoing, Queue, QueueName, Receipt, Received, Settings};

/// Queues in memory. Time is tokio's, so that tests can pause it.
#[derive(Debug)]
pub struct MemoryQueue {
    settings: Settings,
    /// Wall time is read once; after that it goes with tokio's clock.
    started: (Instant, DateTime<Utc>),
    state: Mutex<State>,
    bell: Bell,
}

impl MemoryQueue {
    /// Empty queues.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            started: (Instant::now(), SystemTime::now().into()),
            state: Mutex::default(),
            bell: Bell::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wall_time(&self, now: Instant) -> DateTime<Utc> {
        self.started.1 + now.duration_since(self.started.0)
    }
}

impl Default for MemoryQueue {
    fn default() -> Self {
        Self::new(Settings::default())
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn send(&self, queue: &QueueName, messages: &[Outgoing]) -> Result<(), Error> {
        check_messages(queue, messages)?;
        let now = Instant::now();
        {
            let mut state = self.state();
            for message in messages {
                let stored = Message {
                    body: message.body.clone(),
                    sent_at: self.wall_time(now),
                    visible_at: now + message.delay,
                    receive_count: 0,
                    died: None,
                };
                state.add(queue, stored);
            }
        }
        self.bell.ring(queue);
        Ok(())
    }

    async fn receive(
        &self,
        queue: &QueueName,
        max: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Received>, Error> {
        check_visibility(queue, visibility)?;
        let deadline = Instant::now() + wait;
        loop {
            let now = Instant::now();
            let limit = self.settings.max_receives(queue);
            let received = self.state().hand_out(
                queue,
                max,
                limit,
                now,
                now + visibility,
                self.wall_time(now),
            );
            if !received.is_empty() || max == 0 || now >= deadline {
                return Ok(received);
            }
            self.wait_for_any(std::slice::from_ref(queue), deadline - now)
                .await?;
        }
    }

    async fn wait_for_any(&self, queues: &[QueueName], wait: Duration) -> Result<(), Error> {
        let listener = self.bell.listen(queues);
        let due = self.state().earliest(queues);
        let until_due = due.map_or(wait, |it| it.saturating_duration_since(Instant::now()));
        listener.heard(wait.min(until_due)).await;
        Ok(())
    }

    async fn delete(&self, queue: &QueueName, receipts: &[Receipt]) -> Result<(), Error> {
        let handles = Handle::parse_all(queue, receipts)?;
        if let Some(lane) = self.state().lanes.get_mut(queue) {
            for handle in handles {
                if lane.is_current(handle) {
                    lane.remove(handle.seq);
                }
            }
        }
        Ok(())
    }

    async fn release(
        &self,
        queue: &QueueName,
        receipt: &Receipt,
        delay: Duration,
    ) -> Result<(), Error> {
        check_visibility(queue, delay)?;
        let handle = Handle::parse(queue, receipt)?;
        if let Some(lane) = self.state().lanes.get_mut(queue)
            && lane.is_current(handle)
            && let Some(mut message) = lane.remove(handle.seq)
        {
            message.visible_at = Instant::now() + delay;
            lane.insert(handle.seq, message);
        }
        self.bell.ring(queue);
        Ok(())
    }

    async fn depth(&self, queue: &QueueName) -> Result<Depth, Error> {
        let now = Instant::now();
        Ok(self
            .state()
            .lanes
            .get(queue)
            .map(|it| it.depth(now))
            .unwrap_or_default())
    }

    async fn dead(&self, queue: &QueueName, max: usize) -> Result<Vec<DeadLetter>, Error> {
        let state = self.state();
        let Some(lane) = state.lanes.get(&queue.dead_letters()) else {
            return Ok(Vec::new());
        };
        let mut seqs: Vec<i64> = lane.messages.keys().copied().collect();
        seqs.sort_unstable();
        Ok(seqs
            .into_iter()
            .take(max)
            .map(|seq| lane.messages[&seq].to_dead_letter(seq, queue))
            .collect())
    }

    fn max_receives(&self, queue: &QueueName) -> u32 {
        self.settings.max_receives(queue)
    }

    async fn purge(&self, queue: &QueueName) -> Result<(), Error> {
        self.state().lanes.remove(queue);
        Ok(())
    }
}

#[derive(Debug, Default)]
struct State {
    lanes: HashMap<QueueName, Lane>,
    last_seq: i64,
}

impl State {
    fn add(&mut self, queue: &QueueName, message: Message) {
        self.last_seq += 1;
        self.lanes
            .entry(queue.clone())
            .or_default()
            .insert(self.last_seq, message);
    }

    fn earliest(&self, queues: &[QueueName]) -> Option<Instant> {
        queues
            .iter()
            .filter_map(|it| self.lanes.get(it)?.by_time.first())
            .map(|(at, _)| *at)
            .min()
    }

    fn hand_out(
        &mut self,
        queue: &QueueName,
        max: usize,
        max_receives: u32,
        now: Instant,
        hidden_until: Instant,
        wall_time: DateTime<Utc>,
    ) -> Vec<Received> {
        let mut handed_out = Vec::new();
        while handed_out.len() < max
            && let Some((seq, mut message)) =
                self.lanes.get_mut(queue).and_then(|it| it.pop_visible(now))
        {
            if message.receive_count >= max_receives {
                message.died = Some(Death {
                    queue: queue.clone(),
                    at: wall_time,
                });
                self.lanes
                    .entry(queue.dead_letters())
                    .or_default()
                    .insert(seq, message);
                continue;
            }
            message.receive_count += 1;
            message.visible_at = hidden_until;
            handed_out.push((seq, message));
        }
        let received = handed_out
            .iter()
            .map(|(seq, message)| message.to_received(*seq))
            .collect();
        // Only now: one that is hidden for no time must not be popped again above.
        let lane = self.lanes.entry(queue.clone()).or_default();
        for (seq, message) in handed_out {
            lane.insert(seq, message);
        }
        received
    }
}

/// One queue; `by_time` holds the visible-at time of every message.
#[derive(Debug, Default)]
struct Lane {
    messages: HashMap<i64, Message>,
    by_time: BTreeSet<(Instant, i64)>,
}

impl Lane {
    fn insert(&mut self, seq: i64, message: Message) {
        self.by_time.insert((message.visible_at, seq));
        self.messages.insert(seq, message);
    }

    fn remove(&mut self, seq: i64) -> Option<Message> {
        let message = self.messages.remove(&seq)?;
        self.by_time.remove(&(message.visible_at, seq));
        Some(message)
    }

    fn pop_visible(&mut self, now: Instant) -> Option<(i64, Message)> {
        let (visible_at, seq) = *self.by_time.first()?;
        if visible_at > now {
            return None;
        }
        self.remove(seq).map(|it| (seq, it))
    }

    fn is_current(&self, handle: Handle) -> bool {
        self.messages
            .get(&handle.seq)
            .is_some_and(|it| it.receive_count == handle.receive_count)
    }

    fn depth(&self, now: Instant) -> Depth {
        let mut depth = Depth::default();
        for message in self.messages.values() {
            match message {
                it if it.visible_at <= now => depth.visible += 1,
                it if it.receive_count > 0 => depth.in_flight += 1,
                _ => depth.delayed += 1,
            }
        }
        depth
    }
}

#[derive(Debug)]
struct Message {
    body: String,
    sent_at: DateTime<Utc>,
    visible_at: Instant,
    receive_count: u32,
    died: Option<Death>,
}

#[derive(Debug)]
struct Death {
    queue: QueueName,
    at: DateTime<Utc>,
}

impl Message {
    fn to_received(&self, seq: i64) -> Received {
        Received {
            id: seq.to_string(),
            receipt: Handle {
                seq,
                receive_count: self.receive_count,
            }
            .receipt(),
            body: self.body.clone(),
            receive_count: self.receive_count,
            sent_at: self.sent_at,
        }
    }

    fn to_dead_letter(&self, seq: i64, asked: &QueueName) -> DeadLetter {
        DeadLetter {
            id: seq.to_string(),
            queue: self
                .died
                .as_ref()
                .map_or_else(|| asked.clone(), |it| it.queue.clone()),
            body: self.body.clone(),
            receive_count: self.receive_count,
            sent_at: self.sent_at,
            died_at: self.died.as_ref().map(|it| it.at),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::suite::Home;

    fn home() -> Home {
        Home {
            handles: vec![Arc::new(MemoryQueue::new(Settings {
                max_receives: 3,
                ..Settings::default()
            }))],
            names: [
                QueueName::from_static("first"),
                QueueName::from_static("second"),
            ],
            max_receives: 3,
            tick: Duration::from_secs(30),
            // Paused time jumps over a sleep.
            advance: Box::new(|span| Box::pin(tokio::time::sleep(span))),
        }
    }

    crate::for_every_promise!(home = home(), tokio::test(start_paused = true));

    #[tokio::test(start_paused = true)]
    async fn the_time_of_sending_follows_the_paused_clock() {
        const QUEUE: QueueName = QueueName::from_static("first");
        let queue = MemoryQueue::default();
        queue.send(&QUEUE, &[Outgoing::now("a")]).await.unwrap();
        tokio::time::sleep(Duration::from_hours(1)).await;
        queue.send(&QUEUE, &[Outgoing::now("b")]).await.unwrap();
        let received = queue
            .receive(&QUEUE, 2, Duration::ZERO, Duration::ZERO)
            .await
            .unwrap();
        assert_eq!(
            (received[1].sent_at - received[0].sent_at).num_minutes(),
            60
        );
    }
}
