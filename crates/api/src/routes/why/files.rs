//! Why an image or a CSV is where it is.

use cellmill_core::keys::{CsvKey, ImageKey, ObjectKey};
use cellmill_core::label::{LabelDocument, is_later};
use cellmill_core::records::{ImageRecord, ImageState, PointsRecord, PointsState};
use cellmill_store::{Head, Versioned};

use super::trail::trail;
use super::used::left_out;
use super::{WhyEvent, WhyView};
use crate::edge::Error;
use crate::parts::App;

/// What to do about an event that nobody heard.
const UNHEARD: &str = "its event is still on its way, was lost, or was given up: `cellmill dead ls --input` with a part of \
    its key shows the last, and the sweep over images finds the others";

pub(super) async fn image(app: &App, key: &ImageKey) -> Result<WhyView, Error> {
    let store = &app.store;
    let object = store.head(&ObjectKey::Image(key.clone())).await?;
    let record_key = ObjectKey::ImageRecord(key.clone());
    let record = store.read::<ImageRecord>(&record_key).await?;
    let label_key = ObjectKey::Label(key.clone());
    let label = store.read::<LabelDocument>(&label_key).await?;
    let mut events = of_object(object.as_ref());
    if let Some(record) = &record {
        let state = serde_json::to_value(record.value.state).unwrap_or_default();
        let state = state.as_str().unwrap_or_default();
        let at = record.value.recorded_at.unwrap_or(record.last_modified);
        events.push(WhyEvent::new(at, "ingest", format!("recorded as {state}")));
        if let Some(conflict) = &record.value.conflict {
            let what = format!("other bytes came: sha256 {}", conflict.sha256);
            events.push(WhyEvent::new(conflict.seen_at, "ingest", what));
        }
    }
    if let Some(label) = &label {
        let layers = &label.value.layers;
        let dates: Vec<String> = layers.csv.keys().map(ToString::to_string).collect();
        let points = match dates.len() {
            0 => "no points".to_owned(),
            _ => format!("points of {}", dates.join(", ")),
        };
        let what = format!(
            "label written, revision {}: {points}",
            label.value.stamp.rev
        );
        events.push(WhyEvent::new(label.last_modified, "label", what));
    }
    let mut answer = vec![of_image(object.as_ref(), record.as_ref())];
    let picture = record.as_ref().and_then(|it| it.value.picture.as_ref());
    let notes = picture.iter().flat_map(|it| &it.notes);
    answer.extend(notes.map(|it| format!("remark: {it}")));
    if object.is_some() || record.is_some() {
        answer.extend(left_out(app, key).await?);
    }
    let begun = object.as_ref().map(|it| it.last_modified);
    let begun = begun.or_else(|| record.as_ref().map(|it| it.last_modified));
    if let Some(begun) = begun {
        let subjects = [key.to_path(), label_key.to_path()];
        let trail = trail(store, &subjects, begun, store.now()).await?;
        events.extend(trail.events);
        answer.extend(trail.note);
    }
    Ok(WhyView {
        subject: key.to_path(),
        answer,
        events,
    })
}

fn of_object(object: Option<&Head>) -> Vec<WhyEvent> {
    let stored = object.map(|it| {
        let what = format!("stored, {} bytes", it.size);
        WhyEvent::new(it.last_modified, "sender", what)
    });
    stored.into_iter().collect()
}

fn of_image(object: Option<&Head>, record: Option<&Versioned<ImageRecord>>) -> String {
    let record = record.map(|it| &it.value);
    match (object, record) {
        (None, None) => "no such image was sent".to_owned(),
        (None, Some(it)) if it.state == ImageState::Expected => {
            "its upload was announced and has not arrived".to_owned()
        }
        (None, Some(_)) => "its file is gone, only its record is left".to_owned(),
        (Some(_), None) => format!("it is stored and nobody has looked at it: {UNHEARD}"),
        (Some(object), Some(it)) if !it.speaks_of(Some(&object.etag)) => {
            format!("its file is newer than its record: {UNHEARD}")
        }
        (Some(_), Some(it)) => match it.state {
            ImageState::Ok => "it is good: checked, with thumbnail and label".to_owned(),
            ImageState::Expected => format!("it is stored and nobody has looked at it: {UNHEARD}"),
            ImageState::Rejected => it.rejection.as_ref().map_or_else(
                || "it can't be used".to_owned(),
                |it| format!("it can't be used: {} ({})", it.reason, it.code),
            ),
            ImageState::Conflict => {
                "other bytes came under its key than those that its cells were cut from; send the \
                first ones again, or send the others under a new name"
                    .to_owned()
            }
        },
    }
}

pub(super) async fn points(app: &App, key: &CsvKey) -> Result<WhyView, Error> {
    let store = &app.store;
    let object = store.head(&ObjectKey::Points(key.clone())).await?;
    let record_key = ObjectKey::PointsRecord(key.clone());
    let record = store.read::<PointsRecord>(&record_key).await?;
    let mut events = of_object(object.as_ref());
    if let Some(record) = &record {
        let record = &record.value;
        let what = format!(
            "read: {} good rows, {} bad ones",
            record.n_good, record.n_rejected
        );
        events.push(WhyEvent::new(record.recorded_at, "label", what));
    }
    let mut answer = Vec::new();
    match (&object, record.map(|it| it.value)) {
        (None, _) => answer.push("no such CSV was sent".to_owned()),
        (Some(_), None) => answer.push(format!("it is stored and nobody has read it: {UNHEARD}")),
        (Some(object), Some(it)) if it.etag.as_ref() != Some(&object.etag) => {
            answer.push(format!("its file is newer than its record: {UNHEARD}"));
        }
        (Some(_), Some(it)) => {
            answer.push(of_points(&it));
            answer.extend(replaced(app, &it, &mut events).await?);
            answer.extend(remarks(&it));
        }
    }
    Ok(WhyView {
        subject: key.to_path(),
        answer,
        events,
    })
}

/// Remarks on rows that are named; the record has a thousand.
const MAX_REMARKS: usize = 10;

fn remarks(record: &PointsRecord) -> impl Iterator<Item = String> {
    let named = record.remarks.iter().take(MAX_REMARKS);
    let more = record.remarks.len().saturating_sub(MAX_REMARKS);
    let more = (more > 0).then(|| format!("{more} more remarks on rows are in its record"));
    named
        .map(|it| format!("line {}: {}", it.line, it.reason))
        .chain(more)
}

/// Which later points stand in the labels of its images in place of these.
async fn replaced(
    app: &App,
    record: &PointsRecord,
    events: &mut Vec<WhyEvent>,
) -> Result<Vec<String>, Error> {
    let mut told = Vec::new();
    for image in &record.images {
        let label = ObjectKey::Label(image.clone());
        let Some(label) = app.store.read::<LabelDocument>(&label).await? else {
            continue;
        };
        let dates = label.value.layers.csv.keys();
        let later = dates.filter(|it| is_later(it, &record.key.date));
        let latest = later.fold(None, |latest: Option<&_>, it| match latest {
            Some(latest) if is_later(latest, it) => Some(latest),
            _ => Some(it),
        });
        if let Some(latest) = latest {
            told.push(format!(
                "points of a later date, {latest}, stand in the label of {image} in place of these"
            ));
            let by = CsvKey {
                date: latest.clone(),
                ..record.key.clone()
            };
            let by = ObjectKey::PointsRecord(by);
            if let Some(by) = app.store.read::<PointsRecord>(&by).await? {
                let what = format!("replaced by {}", by.value.key.to_path());
                events.push(WhyEvent::new(by.value.recorded_at, "label", what));
            }
        }
    }
    Ok(told)
}

fn of_points(record: &PointsRecord) -> String {
    match record.state {
        PointsState::Applied => {
            let images: Vec<String> = record.images.iter().map(ImageKey::to_path).collect();
            format!(
                "{} of its rows are in the label of {}",
                record.n_good,
                images.join(", ")
            )
        }
        PointsState::Waiting => format!(
            "it waits for a photograph named `{}` of case `{}` in batch `{}`",
            record.key.stem, record.key.case, record.key.batch
        ),
        PointsState::Rejected => record.rejection.as_ref().map_or_else(
            || "it can't be used".to_owned(),
            |it| format!("it can't be used: {} ({})", it.reason, it.code),
        ),
    }
}
