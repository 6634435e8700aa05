//! Images, CSVs, and what is known of them.

use cellmill_core::classes::ClassTable;
use cellmill_core::keys::{CsvKey, ImageKey, ObjectKey, StemKey};
use cellmill_core::label::LabelDocument;
use cellmill_core::records::{
    ImageRecord, ImageState, Named, PointsRecord, PointsState, StemRecord,
};

use super::finding::Findings;

pub(super) async fn image(it: &mut Findings<'_>, key: &ImageKey) {
    if it
        .length(&ObjectKey::ImageRecord(key.clone()))
        .await
        .is_none()
    {
        it.note("image has a record", "nobody has looked at it yet");
    }
}

pub(super) async fn points(it: &mut Findings<'_>, key: &CsvKey) {
    if it
        .length(&ObjectKey::PointsRecord(key.clone()))
        .await
        .is_none()
    {
        it.note("CSV has a record", "nobody has looked at it yet");
    }
}

pub(super) async fn image_record(it: &mut Findings<'_>, key: &ImageKey) {
    let Some(record) = it.document::<ImageRecord>(it.key).await else {
        return;
    };
    if record.key != *key || record.imgid != key.number() {
        it.problem(
            "record speaks of its key",
            format!("it speaks of `{}`", record.key),
        );
    }
    if record.state != ImageState::Ok {
        return;
    }
    let image = ObjectKey::Image(key.clone());
    match it.length(&image).await {
        Some(bytes) if bytes == record.bytes => {}
        Some(bytes) => it.problem(
            "image is what was recorded",
            format!("it has {bytes} bytes, the record says {}", record.bytes),
        ),
        None => it.problem("recorded image exists", format!("`{image}` is not there")),
    }
    if record.sha256.is_none() {
        it.problem("good image has a sha256", "the record has none");
    }
    it.needs("good image has a label", &ObjectKey::Label(key.clone()))
        .await;
    match record.picture {
        None => it.problem("good image has a size", "the record has none"),
        Some(picture) => match picture.thumbnail {
            Some(name) => {
                it.needs("thumbnail exists", &ObjectKey::Cache(name)).await;
            }
            None => it.problem("good image has a thumbnail", "the record names none"),
        },
    }
}

pub(super) async fn points_record(it: &mut Findings<'_>, key: &CsvKey) {
    let Some(record) = it.document::<PointsRecord>(it.key).await else {
        return;
    };
    if record.key != *key {
        it.problem(
            "record speaks of its key",
            format!("it speaks of `{}`", record.key),
        );
    }
    it.needs("recorded CSV exists", &ObjectKey::Points(key.clone()))
        .await;
    if record.state == PointsState::Applied && record.images.is_empty() {
        it.problem("applied CSV has an image", "the record names none");
    }
    for image in &record.images {
        let label = ObjectKey::Label(image.clone());
        let has_layer = |label: &LabelDocument| label.layers.csv.contains_key(&key.date);
        match it.document::<LabelDocument>(&label).await {
            Some(label) if record.state == PointsState::Applied && !has_layer(&label) => it
                .problem(
                    "applied CSV is a layer",
                    format!("the label of `{image}` has no layer of {}", key.date),
                ),
            Some(_) => {}
            None => it.problem("label of a CSV exists", format!("`{label}` is not there")),
        }
    }
}

pub(super) async fn stem_record(it: &mut Findings<'_>, key: &StemKey) {
    let Some(record) = it.document::<StemRecord>(it.key).await else {
        return;
    };
    for image in record.images.keys() {
        if image.name.stem() != key.stem {
            it.problem("stem fits its images", format!("`{image}` has another"));
        }
        it.needs("image of a stem exists", &ObjectKey::Image(image.clone()))
            .await;
    }
    for points in &record.points {
        if points.stem_key() != *key {
            it.problem("stem fits its CSVs", format!("`{points}` has another"));
        }
    }
}

pub(super) async fn label(it: &mut Findings<'_>, key: &ImageKey) {
    let Some(label) = it.document::<LabelDocument>(it.key).await else {
        return;
    };
    if label.image != *key {
        it.problem(
            "label speaks of its key",
            format!("it speaks of `{}`", label.image),
        );
    }
    it.needs(
        "labelled image is recorded",
        &ObjectKey::ImageRecord(key.clone()),
    )
    .await;
}

pub(super) async fn class_table(it: &mut Findings<'_>) {
    if let Some(table) = it.document::<Named<ClassTable>>(it.key).await
        && let Err(error) = table.value.check()
    {
        it.problem("class table keeps its rules", error.to_string());
    }
}
