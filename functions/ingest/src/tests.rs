use cellmill_core::keys::CsvKey;
use cellmill_queue::{MemoryQueue, Settings};
use cellmill_store::suite::put_declaring;
use cellmill_vision::{RgbImage, encode_png};

use super::*;

const KEY: &str = "img/b/c/Images/a.png";

fn ingest() -> Ingest {
    Ingest {
        store: Store::memory(),
        queue: Arc::new(MemoryQueue::new(Settings::default())),
        limits: Limits::default(),
        budget: DecodeBudget::new(DecodeBudget::DEFAULT_BYTES),
    }
}

fn image(shade: u8) -> Vec<u8> {
    encode_png(&RgbImage::filled(64, 48, [shade, 100, 100]))
}

fn event(key: &str) -> String {
    events::print(&ObjectCreated {
        key: key.to_owned(),
        etag: None,
        size: None,
        version_id: None,
        sequencer: None,
    })
}

async fn put(function: &Ingest, bytes: Vec<u8>) {
    function
        .store
        .put_bytes(KEY, bytes, Put::Overwrite)
        .await
        .unwrap();
}

async fn record(function: &Ingest) -> ImageRecord {
    let key = ObjectKey::ImageRecord(KEY.parse().unwrap());
    function
        .store
        .read::<ImageRecord>(&key)
        .await
        .unwrap()
        .expect("a record")
        .value
}

/// The points that were sent to `label` since the last look.
async fn told(function: &Ingest) -> Vec<String> {
    let queue = QueueName::from_static(POINTS);
    let waiting = std::time::Duration::from_secs(1);
    let told = function
        .queue
        .receive(&queue, 10, waiting, std::time::Duration::ZERO)
        .await
        .unwrap();
    told.iter()
        .flat_map(|it| events::parse(&it.body).unwrap())
        .map(|it| it.key)
        .collect()
}

async fn handle(function: &Ingest) -> ImageRecord {
    assert_eq!(function.handle(&event(KEY)).await, Disposition::Done);
    record(function).await
}

#[tokio::test]
async fn a_good_image_gets_record_thumbnail_and_empty_label() {
    let function = ingest();
    put(&function, image(1)).await;
    let record = handle(&function).await;
    assert_eq!(record.state, ImageState::Ok);
    let picture = record.picture.unwrap();
    assert_eq!(
        (picture.width, picture.height, picture.format.as_str()),
        (64, 48, "png")
    );
    let thumbnail = ObjectKey::Cache(picture.thumbnail.unwrap());
    assert!(function.store.head(&thumbnail).await.unwrap().is_some());
    let label = function
        .store
        .read::<LabelDocument>(&ObjectKey::Label(KEY.parse().unwrap()))
        .await
        .unwrap();
    assert!(label.unwrap().value.layers.is_empty());
}

#[tokio::test]
async fn a_repeated_event_writes_nothing() {
    let function = ingest();
    put(&function, image(1)).await;
    let first = handle(&function).await;
    assert_eq!(handle(&function).await, first, "the same rev and write");
}

#[tokio::test]
async fn other_bytes_under_the_key_are_a_conflict_until_the_old_ones_come_back() {
    let function = ingest();
    put(&function, image(1)).await;
    let first = handle(&function).await;
    put(&function, image(2)).await;
    let conflict = handle(&function).await;
    assert_eq!(conflict.state, ImageState::Conflict);
    assert_eq!(conflict.sha256, first.sha256, "what was derived stays");
    put(&function, image(1)).await;
    assert_eq!(handle(&function).await.state, ImageState::Ok);
}

/// Where ETags are made of the bytes, the first ones come back with the ETag that the record remembers.
#[tokio::test]
async fn a_conflict_ends_also_where_the_same_bytes_have_the_same_etag() {
    let function = ingest();
    put(&function, image(1)).await;
    handle(&function).await;
    put(&function, image(2)).await;
    assert_eq!(handle(&function).await.state, ImageState::Conflict);
    put(&function, image(1)).await;
    let head = function.store.head(KEY).await.unwrap().unwrap();
    let as_before = |record: Option<&ImageRecord>| {
        let mut record = record.cloned().unwrap();
        record.etag = Some(head.etag.clone());
        Decision::Write(record)
    };
    let key = ObjectKey::ImageRecord(KEY.parse().unwrap());
    function.store.swap(&key, as_before).await.unwrap();
    let record = handle(&function).await;
    assert_eq!((record.state, record.conflict), (ImageState::Ok, None));
}

#[tokio::test]
async fn a_rejection_names_its_reason_and_new_bytes_are_a_new_chance() {
    let function = ingest();
    put(&function, image(1)[..60].to_vec()).await;
    let record = handle(&function).await;
    assert_eq!(record.state, ImageState::Rejected);
    assert_eq!(record.rejection.unwrap().code, "truncated");
    put(&function, image(1)).await;
    let record = handle(&function).await;
    assert_eq!((record.state, record.rejection), (ImageState::Ok, None));
}

#[tokio::test]
async fn points_that_wait_are_told() {
    let function = ingest();
    let points: CsvKey = "csv/b/2019-7-22/c/a.csv".parse().unwrap();
    let stem = StemRecord {
        points: [points.clone()].into(),
        ..StemRecord::default()
    };
    function
        .store
        .create(&ObjectKey::StemRecord(points.stem_key()), stem)
        .await
        .unwrap();
    put(&function, image(1)).await;
    handle(&function).await;
    assert_eq!(told(&function).await, [points.to_path()]);
}

#[tokio::test]
async fn what_was_remembered_at_signing_stays() {
    let function = ingest();
    let key: ImageKey = KEY.parse().unwrap();
    let expected = ImageRecord {
        original_name: Some("a long name.png".to_owned()),
        label_type: Some("two-class".to_owned()),
        ..ImageRecord::expected(key.clone())
    };
    function
        .store
        .create(&ObjectKey::ImageRecord(key.clone()), expected)
        .await
        .unwrap();
    put(&function, image(1)).await;
    let record = handle(&function).await;
    assert_eq!(
        (record.state, record.shown_name().as_str()),
        (ImageState::Ok, "a long name.png")
    );
    let label = function
        .store
        .read::<LabelDocument>(&ObjectKey::Label(key))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(label.value.label_type, "two-class");
}

/// Announced, and then copied in without the signed URL: nothing tells that there is a record, until it is written.
#[tokio::test]
async fn what_was_remembered_at_signing_counts_for_every_file_of_that_key() {
    let function = ingest();
    let key: ImageKey = KEY.parse().unwrap();
    put(&function, image(1)).await;
    let label = LabelDocument::new(key.clone(), "");
    let label_key = ObjectKey::Label(key.clone());
    function.store.create(&label_key, label).await.unwrap();
    let expected = ImageRecord {
        label_type: Some("two-class".to_owned()),
        ..ImageRecord::expected(key.clone())
    };
    let record_key = ObjectKey::ImageRecord(key);
    function.store.create(&record_key, expected).await.unwrap();
    assert_eq!(handle(&function).await.state, ImageState::Ok);
    let label = function.store.read::<LabelDocument>(&label_key).await;
    assert_eq!(label.unwrap().unwrap().value.label_type, "two-class");
}

/// Points that found the first image do not wait; the second has them told again.
#[tokio::test]
async fn a_second_image_of_a_stem_asks_for_the_points_of_the_first() {
    let function = ingest();
    let points: CsvKey = "csv/b/2019-7-22/c/a.csv".parse().unwrap();
    put(&function, image(1)).await;
    handle(&function).await;
    let csv = points.to_path();
    let put = function.store.put_bytes(&csv, "X,Y,Type\n", Put::Create);
    put.await.unwrap();
    assert_eq!(told(&function).await, [""; 0]);
    let second = "img/b/c/Images/a.bmp";
    let put = function.store.put_bytes(second, image(2), Put::Create);
    put.await.unwrap();
    assert_eq!(function.handle(&event(second)).await, Disposition::Done);
    assert_eq!(told(&function).await, [points.to_path()]);
}

#[tokio::test]
async fn a_message_that_is_no_event_is_rejected_and_strangers_are_left_alone() {
    let function = ingest();
    assert!(matches!(
        function.handle("{").await,
        Disposition::Reject { .. }
    ));
    assert_eq!(
        function.handle(&event("img/b/note.txt")).await,
        Disposition::Done
    );
    assert_eq!(
        function.handle(&event("img/b/c/Images/gone.png")).await,
        Disposition::Done
    );
}

/// A large file came in parts that make another whole than its sender declared.
#[tokio::test]
async fn an_image_of_another_hash_than_declared_is_rejected_until_it_is_sent_right() {
    let function = ingest();
    let bytes = image(1);
    let (right, wrong) = (sha256_hex(&bytes), sha256_hex(b"other"));
    put_declaring(&function.store, KEY, bytes.clone(), &wrong).await;
    let record = handle(&function).await;
    assert_eq!(record.state, ImageState::Rejected);
    let rejection = record.rejection.clone().unwrap();
    assert_eq!(rejection.code, "sha256_differs");
    assert!(rejection.reason.contains(&wrong), "{}", rejection.reason);
    assert!(rejection.reason.contains(&right), "{}", rejection.reason);
    assert_eq!(record.sha256, None);
    assert_eq!(
        handle(&function).await,
        record,
        "a repeated event writes nothing"
    );

    put_declaring(&function.store, KEY, bytes, &right).await;
    let record = handle(&function).await;
    assert_eq!(record.state, ImageState::Ok);
    assert_eq!((record.sha256, record.rejection), (Some(right), None));
}
