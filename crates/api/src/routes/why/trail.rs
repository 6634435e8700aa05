//! What people decided about a subject, from the audit trail.

use cellmill_core::keys::{ObjectKey, Prefix};
use cellmill_core::records::AuditEntry;
use cellmill_store::{Listed, Store};
use chrono::{DateTime, Datelike as _, Days, NaiveDate, TimeDelta, Utc};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::WhyEvent;
use crate::edge::Error;
use crate::routes::documents::{READS_AT_ONCE, read_or_skip};

/// The trail lies by day, not by subject: further back than this nobody looks, one listing a day.
const MAX_DAYS: u64 = 62;
/// Entries that are read to find those of the subject.
const MAX_ENTRIES: usize = 2000;
/// Details that are longer are left out: the entry has them.
const MAX_DETAILS: usize = 120;
/// An entry is written after what it tells of, at another moment of the same clock.
const SLACK: TimeDelta = TimeDelta::minutes(1);

/// What was found, and how far was looked.
#[derive(Debug, Default)]
pub(super) struct Trail {
    pub(super) events: Vec<WhyEvent>,
    /// Says what was not read, if something was not.
    pub(super) note: Option<String>,
}

/// The entries about one of `subjects`, keys as they stand in entries, written from the day of `from` to that of
/// `until`. The newest are read first.
pub(super) async fn trail(
    store: &Store,
    subjects: &[String],
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Trail, Error> {
    let (from, until) = (from - SLACK, until + SLACK);
    let (days, oldest) = days(from, until);
    let listings: Vec<Vec<Listed>> = stream::iter(days)
        .map(|day| async move {
            let prefix = prefix_of(day).to_path();
            store.list(&prefix).try_collect::<Vec<_>>().await
        })
        .buffered(READS_AT_ONCE)
        .try_collect()
        .await?;
    let mut note = oldest.map(|day| {
        format!(
            "the audit trail before {day} was not read: this goes back further than {MAX_DAYS} days"
        )
    });
    let in_time = |it: &Listed| (from..=until).contains(&it.last_modified);
    let listed = listings
        .into_iter()
        .flat_map(|of_day| of_day.into_iter().rev().filter(in_time));
    let mut listed: Vec<Listed> = listed.collect();
    if listed.len() > MAX_ENTRIES {
        let before = listed[MAX_ENTRIES - 1].last_modified;
        let before = before.format("%Y-%m-%dT%H:%M:%SZ");
        note = Some(format!(
            "the audit trail before {before} was not read: it has more than {MAX_ENTRIES} entries since then"
        ));
        listed.truncate(MAX_ENTRIES);
    }
    let entries: Vec<AuditEntry> = stream::iter(listed)
        .map(|it| async move { read_entry(store, &it.key).await })
        .buffered(READS_AT_ONCE)
        .try_filter_map(|it| std::future::ready(Ok(it)))
        .try_collect()
        .await?;
    let ours = entries.iter().filter(|it| subjects.contains(&it.subject));
    Ok(Trail {
        events: ours.map(event).collect(),
        note,
    })
}

async fn read_entry(store: &Store, key: &str) -> Result<Option<AuditEntry>, cellmill_store::Error> {
    let Ok(Some(key @ ObjectKey::Audit { .. })) = ObjectKey::parse(key) else {
        return Ok(None);
    };
    Ok(read_or_skip(store, &key).await?.map(|it| it.value))
}

/// The days to read, the newest first, and the oldest of them when there are more.
fn days(from: DateTime<Utc>, until: DateTime<Utc>) -> (Vec<NaiveDate>, Option<NaiveDate>) {
    let (first, last) = (from.date_naive(), until.date_naive());
    let days = (0..MAX_DAYS).map_while(|back| {
        let day = last.checked_sub_days(Days::new(back))?;
        (day >= first).then_some(day)
    });
    let days: Vec<NaiveDate> = days.collect();
    let oldest = days.last().copied().filter(|it| *it > first);
    (days, oldest)
}

fn prefix_of(day: NaiveDate) -> Prefix {
    Prefix::AuditDay {
        year: day.year() as u16,
        month: day.month() as u8,
        day: day.day() as u8,
    }
}

fn event(entry: &AuditEntry) -> WhyEvent {
    let details = match &entry.details {
        serde_json::Value::Null => String::new(),
        details => format!(" {details}"),
    };
    let details = if details.len() > MAX_DETAILS {
        " (its details are long, the entry has them)"
    } else {
        &details
    };
    let what = format!("audit trail: {}{details}", entry.action);
    WhyEvent::new(entry.at, &entry.by, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn days_are_read_from_the_newest_and_not_without_end() {
        let (found, oldest) = days(at("2026-02-27T23:00:00Z"), at("2026-03-01T01:00:00Z"));
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["2026-03-01", "2026-02-28", "2026-02-27"]);
        assert_eq!(oldest, None);
        let (found, oldest) = days(at("2020-01-01T00:00:00Z"), at("2026-03-01T01:00:00Z"));
        assert_eq!(found.len() as u64, MAX_DAYS);
        assert_eq!(oldest.unwrap().to_string(), "2025-12-30");
    }
}
