//! Periodic trainings and what they are for: new images come labelled.

use cellmill_core::document::Stamp;
use cellmill_core::ids::TableName;
use cellmill_core::job::JobState;
use cellmill_core::keys::{ImageKey, JobKind, ModelKey, ModelKind, ObjectKey};
use cellmill_core::label::{Change, LabelDocument, LayerName, Operation, fold};
use cellmill_core::model::{ModelCard, ModelState};
use cellmill_core::records::{ImageRecord, LabelTypeSettings, Named};
use cellmill_store::Decision;
use cellmill_vision::{RgbImage, encode_png};

use crate::lab::Mill;

const TYPE: &str = "blueorred";

/// A picture of one colour, a little different each time.
fn picture(variant: u32, is_red: bool) -> Vec<u8> {
    let shade = (variant * 5 % 60) as u8;
    let colour = if is_red {
        [210 - shade, 40, 50]
    } else {
        [50, 60, 210 - shade]
    };
    let mut image = RgbImage::filled(64, 64, colour);
    image.set_pixel(variant % 64, 1, [255; 3]);
    encode_png(&image)
}

fn key(case: u32, n: u32) -> ImageKey {
    format!("img/whole/c{case}/Images/i{n}.png")
        .parse()
        .unwrap()
}

/// Uploads a picture under the label type, as the api would have it expected.
async fn upload(mill: &Mill, key: &ImageKey, png: Vec<u8>) {
    let record = ImageRecord {
        label_type: Some(TYPE.to_owned()),
        ..ImageRecord::expected(key.clone())
    };
    mill.store
        .create(&ObjectKey::ImageRecord(key.clone()), record)
        .await
        .unwrap();
    mill.put(&key.to_path(), png).await;
}

/// What a person does who labels a whole image.
async fn label(mill: &Mill, key: &ImageKey, class: u32) {
    let operation = Operation {
        id: format!("01ARZ3NDEKTSV4RRFFQ69G5FA{}", class % 10),
        rev: 1,
        change: Change::SetImageClass { class: Some(class) },
    };
    mill.store
        .swap::<LabelDocument>(&ObjectKey::Label(key.clone()), |stored| {
            let mut document = stored.cloned().expect("the image is recorded");
            document.record("doctor", operation.clone());
            Decision::Write(document)
        })
        .await
        .unwrap();
}

async fn settings(mill: &Mill) -> LabelTypeSettings {
    let name = ObjectKey::LabelType(TableName::parse(TYPE).unwrap());
    let stored = mill
        .store
        .read::<Named<LabelTypeSettings>>(&name)
        .await
        .unwrap();
    stored.expect("the label type").value.value
}

async fn sweep(mill: &Mill) -> usize {
    let actions = mill.janitor.plan_trainings().await.unwrap();
    mill.janitor.perform(&actions).await.unwrap();
    actions.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_type_learns_and_new_images_come_labelled() {
    let mut mill = Mill::new(5, 1);
    let new = LabelTypeSettings {
        title: "blue or red".to_owned(),
        algorithm: 1101,
        labels: vec!["negative".to_owned(), "positive".to_owned()],
        detector: None,
        mid: None,
        training_interval_days: Some(30),
        train_now: false,
        last_training: None,
    };
    let named = Named {
        stamp: Stamp::default(),
        name: TYPE.to_owned(),
        value: new,
    };
    let name = ObjectKey::LabelType(TableName::parse(TYPE).unwrap());
    mill.store.create(&name, named).await.unwrap();

    assert_eq!(sweep(&mill).await, 1, "never trained");
    let outcome = settings(&mill).await.last_training.unwrap().outcome;
    assert!(
        outcome.contains("not started") && outcome.contains("none"),
        "{outcome}"
    );
    assert_eq!(sweep(&mill).await, 0, "it was looked at");

    for n in 0..24 {
        upload(&mill, &key(n % 6, n), picture(n, n / 6 % 2 == 1)).await;
    }
    mill.turn().await;
    for n in 0..24 {
        label(&mill, &key(n % 6, n), if n / 6 % 2 == 1 { 51 } else { 50 }).await;
    }
    mill.store
        .swap::<Named<LabelTypeSettings>>(&name, |stored| {
            let mut next = stored.cloned().unwrap();
            next.value.train_now = true;
            Decision::Write(next)
        })
        .await
        .unwrap();
    assert_eq!(sweep(&mill).await, 1, "somebody asked");
    assert_eq!(sweep(&mill).await, 0, "once");
    let last = settings(&mill).await.last_training.unwrap();
    assert_eq!((last.outcome.as_str(), last.n_labelled), ("started", 24));
    let job = mill.end(JobKind::Train, &last.dir.unwrap()).await;
    assert_eq!(job.state, JobState::Done, "{:?}", job.error);

    let mid = settings(&mill)
        .await
        .mid
        .expect("the first model is adopted");
    let card = ObjectKey::ModelCard(ModelKey::of_number(ModelKind::Classifier, mid));
    let card = mill
        .store
        .read::<ModelCard>(&card)
        .await
        .unwrap()
        .unwrap()
        .value;
    assert_eq!(card.state, ModelState::Adopted);

    // A new image is labelled by the model; what a person said of another stays what is shown.
    let (new, persons) = (key(9, 100), key(0, 0));
    let before = mill
        .store
        .read::<LabelDocument>(&ObjectKey::Label(persons.clone()))
        .await;
    let before = before.unwrap().unwrap().value.layers.person;
    upload(&mill, &new, picture(3, true)).await;
    mill.turn().await;
    let hint = cellmill_core::messages::PreannotateHint::new(persons.clone());
    let hint = serde_json::to_string(&hint).unwrap();
    mill.preannotate(&hint).await;
    let shown = async |key: &ImageKey| {
        let document = mill
            .store
            .read::<LabelDocument>(&ObjectKey::Label(key.clone()))
            .await;
        let document = document.unwrap().unwrap().value;
        (fold(&document).image_class.unwrap(), document.layers)
    };
    let (class, layers) = shown(&new).await;
    assert_eq!(class.source, LayerName::Model(mid));
    assert!([50, 51].contains(&class.class));
    assert_eq!(layers.model.len(), 1);
    let (class, layers) = shown(&persons).await;
    assert_eq!(
        (class.class, class.source),
        (50, LayerName::Person("doctor".to_owned()))
    );
    assert_eq!(layers.person, before);
    assert!(
        layers.model.contains_key(&mid),
        "the model's word stands beside"
    );
}
