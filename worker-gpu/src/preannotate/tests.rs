//! Painted images, a trained model, and the layers that it leaves.

use cellmill_core::boxes::BBox;
use cellmill_core::disposition::Disposition;
use cellmill_core::ids::{Dir, sha256_hex};
use cellmill_core::job::{DataParameters, DataType, JobParameters, JobRecord};
use cellmill_core::keys::{ImageKey, JobKind, ObjectKey};
use cellmill_core::label::{Change, LabelDocument, Operation};
use cellmill_core::messages::{PREANNOTATE, PreannotateHint, UnitClass};
use cellmill_core::records::{ImageRecord, ImageState};
use cellmill_queue::{MemoryQueue, Outgoing, Queue, QueueName};
use cellmill_store::Put;
use cellmill_vision::{RgbImage, encode_png};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::Preannotator;
use crate::tests::{Lab, bench, painted, trained};

/// A lab with model 100, which tells red from blue.
async fn lab() -> Lab {
    let lab = Lab::plain(8, &[301, 302]).await;
    lab.register(trained().await).await;
    lab
}

async fn add(lab: &Lab, image: &RgbImage, label_type: &str, n: usize) -> ImageKey {
    let key: ImageKey = format!("img/b/c/Images/{n}.png").parse().unwrap();
    let bytes = encode_png(image);
    let record = ImageRecord {
        state: ImageState::Ok,
        label_type: Some(label_type.to_owned()),
        sha256: Some(sha256_hex(&bytes)),
        bytes: bytes.len() as u64,
        ..ImageRecord::expected(key.clone())
    };
    let object = ObjectKey::Image(key.clone());
    lab.store
        .put_bytes(&object, bytes, Put::Create)
        .await
        .unwrap();
    let record_key = ObjectKey::ImageRecord(key.clone());
    lab.store.create(&record_key, record).await.unwrap();
    key
}

async fn handle(preannotator: &Preannotator, image: &ImageKey) -> Disposition {
    let body = serde_json::to_string(&PreannotateHint::new(image.clone())).unwrap();
    preannotator.handle(&[body]).await.remove(0)
}

async fn label(lab: &Lab, image: &ImageKey) -> Option<LabelDocument> {
    let key = ObjectKey::Label(image.clone());
    lab.store.read(&key).await.unwrap().map(|it| it.value)
}

#[tokio::test]
async fn a_whole_image_gets_its_class_once_and_others_keep_their_word() {
    let lab = lab().await;
    lab.label_type("colours", 1100, Some(100)).await;
    let preannotator = bench().preannotator(&lab.store);
    let red = add(&lab, &painted(301, 3, 80), "colours", 1).await;
    let mut spoken = LabelDocument::new(red.clone(), "colours");
    let change = Change::SetImageClass { class: Some(302) };
    let operation = Operation {
        id: "01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(),
        rev: 0,
        change,
    };
    spoken.record("local", operation);
    let key = ObjectKey::Label(red.clone());
    lab.store.create(&key, spoken.clone()).await.unwrap();

    assert_eq!(handle(&preannotator, &red).await, Disposition::Done);
    let first = label(&lab, &red).await.unwrap();
    let layer = &first.layers.model[&100];
    assert_eq!(layer.boxes, None);
    let (class, score) = layer.image_class.unwrap();
    assert!(class == 301 && score > 0.5, "{class} {score}");
    assert_eq!(first.layers.person, spoken.layers.person);
    assert_eq!(handle(&preannotator, &red).await, Disposition::Done);
    assert_eq!(
        label(&lab, &red).await,
        Some(first),
        "nothing was written again"
    );
}

#[tokio::test]
async fn cells_of_an_image_get_boxes_and_classes() {
    let lab = lab().await;
    lab.label_type("cells", 0, Some(100)).await;
    let mut image = RgbImage::filled(400, 300, [236, 228, 232]);
    for (at, (class, x, y)) in [(301, 30, 30), (302, 240, 50), (301, 140, 170)]
        .into_iter()
        .enumerate()
    {
        let cell = painted(class, at, 110);
        for (dx, dy) in (0..110).flat_map(|dx| (0..110).map(move |dy| (dx, dy))) {
            image.set_pixel(x + dx, y + dy, cell.pixel(dx, dy).unwrap());
        }
    }
    let key = add(&lab, &image, "cells", 1).await;
    let preannotator = bench().preannotator(&lab.store);
    assert_eq!(handle(&preannotator, &key).await, Disposition::Done);
    let layer = label(&lab, &key).await.unwrap().layers.model[&100].clone();
    assert_eq!(layer.image_class, None);
    let boxes = layer.boxes.unwrap();
    let class_at = |x: f64, y: f64| {
        let near = |bbox: BBox| (bbox.center().0 - x).hypot(bbox.center().1 - y) < 10.0;
        boxes.iter().find(|it| near(it.bbox)).map(|it| it.class)
    };
    let found = [(85.0, 85.0), (295.0, 105.0), (195.0, 225.0)].map(|(x, y)| class_at(x, y));
    assert_eq!(found, [Some(301), Some(302), Some(301)], "{boxes:?}");
}

#[tokio::test]
async fn a_model_of_whole_images_says_nothing_of_cells() {
    let lab = lab().await;
    lab.label_type("cells", 1200, Some(100)).await;
    let (dir, now) = (Dir::parse("DkxD9Kjl").unwrap(), lab.store.now());
    let parameters = JobParameters::Data(DataParameters {
        data_type: DataType::WholeImage,
        size: 60,
        ..DataParameters::default()
    });
    let job = JobRecord::accepted(
        dir.clone(),
        1,
        parameters,
        UnitClass::cpu(),
        "local".to_owned(),
        now,
    );
    let key = ObjectKey::job(JobKind::Data, &dir);
    lab.store.create(&key, job).await.unwrap();
    let blue = add(&lab, &painted(302, 3, 80), "cells", 1).await;
    let preannotator = bench().preannotator(&lab.store);
    assert_eq!(handle(&preannotator, &blue).await, Disposition::Done);
    let layer = label(&lab, &blue).await.unwrap().layers.model[&100].clone();
    assert_eq!((layer.boxes, layer.image_class.unwrap().0), (None, 302));
}

#[tokio::test]
async fn where_nobody_asked_nothing_is_said_and_a_missing_model_is_told() {
    let lab = Lab::plain(8, &[301, 302]).await;
    lab.label_type("off", 1100, None).await;
    lab.label_type("caption", 1400, Some(100)).await;
    lab.label_type("lost", 1100, Some(77)).await;
    let preannotator = bench().preannotator(&lab.store);
    for (n, label_type) in ["off", "caption", "unheard-of", ""].into_iter().enumerate() {
        let image = add(&lab, &painted(301, n, 40), label_type, n).await;
        assert_eq!(
            handle(&preannotator, &image).await,
            Disposition::Done,
            "{label_type}"
        );
        assert_eq!(label(&lab, &image).await, None);
    }
    let gone: ImageKey = "img/b/c/Images/gone.png".parse().unwrap();
    assert_eq!(handle(&preannotator, &gone).await, Disposition::Done);
    let image = add(&lab, &painted(301, 9, 40), "lost", 9).await;
    let Disposition::Reject { reason } = handle(&preannotator, &image).await else {
        panic!("a model that is not there");
    };
    assert!(reason.contains("model 77 is not there"), "{reason}");
    let garbage = preannotator.handle(&["{}".to_owned()]).await;
    assert!(matches!(garbage[0], Disposition::Reject { .. }));
}

#[tokio::test]
async fn hints_are_taken_from_the_queue_until_the_shutdown() {
    let lab = lab().await;
    lab.label_type("colours", 1101, Some(100)).await;
    let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(cellmill_queue::Settings::default()));
    let name = QueueName::from_static(PREANNOTATE);
    let mut images = Vec::new();
    for n in 0..3 {
        let image = add(&lab, &painted(302, n, 60), "colours", n).await;
        let body = serde_json::to_string(&PreannotateHint::new(image.clone())).unwrap();
        queue.send(&name, &[Outgoing::now(body)]).await.unwrap();
        images.push(image);
    }
    let shutdown = CancellationToken::new();
    let preannotator = bench().preannotator(&lab.store);
    let serving = {
        let (queue, shutdown) = (Arc::clone(&queue), shutdown.clone());
        tokio::spawn(async move { preannotator.serve(queue, shutdown).await })
    };
    let all_labelled = tokio::time::timeout(Duration::from_secs(20), async {
        for image in &images {
            while label(&lab, image).await.is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    });
    all_labelled.await.unwrap();
    shutdown.cancel();
    serving.await.unwrap();
    let depth = queue.depth(&name).await.unwrap();
    assert_eq!((depth.visible, depth.in_flight), (0, 0), "{depth:?}");
}
