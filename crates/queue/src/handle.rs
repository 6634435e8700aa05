//! Receipts and ids of the homes that number their messages themselves.

use crate::{Error, QueueName, Receipt};

/// One handing out: the message's number and how often it had been handed out then.
///
/// Numbers are never used twice and the count only grows, so no two handings out are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle {
    pub(crate) seq: i64,
    pub(crate) receive_count: u32,
}

impl Handle {
    pub(crate) fn receipt(self) -> Receipt {
        Receipt::new(format!("{}.{}", self.seq, self.receive_count))
    }

    pub(crate) fn parse(queue: &QueueName, receipt: &Receipt) -> Result<Self, Error> {
        let read = |text: &str| {
            let (seq, receive_count) = text.split_once('.')?;
            Some(Self {
                seq: seq.parse().ok()?,
                receive_count: receive_count.parse().ok()?,
            })
        };
        read(receipt.as_str()).ok_or_else(|| Error::Receipt {
            queue: queue.clone(),
            receipt: receipt.as_str().to_owned(),
        })
    }

    pub(crate) fn parse_all(queue: &QueueName, receipts: &[Receipt]) -> Result<Vec<Self>, Error> {
        receipts.iter().map(|it| Self::parse(queue, it)).collect()
    }
}
