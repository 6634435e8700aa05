use cellmill_core::events::ObjectCreated;
use cellmill_core::label::fold;
use cellmill_store::Put;

use super::*;

const CSV: &str = "csv/b/2019-7-22/c/a.csv";
const IMAGE: &str = "img/b/c/Images/a.png";

fn label() -> Label {
    Label::new(Store::memory(), CsvLimits::default())
}

fn image() -> ImageKey {
    IMAGE.parse().unwrap()
}

async fn put(function: &Label, csv: &str) {
    function
        .store
        .put_bytes(CSV, csv.as_bytes().to_vec(), Put::Overwrite)
        .await
        .unwrap();
}

/// What `ingest` leaves when the image of 640 x 480 pixels comes.
async fn image_comes(function: &Label) {
    function
        .store
        .create(&ObjectKey::Label(image()), LabelDocument::new(image(), ""))
        .await
        .unwrap();
    let key: CsvKey = CSV.parse().unwrap();
    let size = ImageSize {
        width: 640,
        height: 480,
    };
    let enter = |record: Option<&StemRecord>| {
        let mut record = record.cloned().unwrap_or_default();
        record.images.insert(image(), size);
        Decision::Write(record)
    };
    function
        .store
        .swap::<StemRecord>(&ObjectKey::StemRecord(key.stem_key()), enter)
        .await
        .unwrap();
}

async fn handle(function: &Label) -> PointsRecord {
    let event = ObjectCreated {
        key: CSV.to_owned(),
        etag: None,
        size: None,
        version_id: None,
        sequencer: None,
    };
    assert_eq!(
        function.handle(&events::print(&event)).await,
        Disposition::Done
    );
    let record = function
        .store
        .read(&ObjectKey::PointsRecord(CSV.parse().unwrap()))
        .await
        .unwrap();
    record.expect("a record").value
}

async fn cells(function: &Label) -> Vec<(u32, u32, u32)> {
    let label = function
        .store
        .read::<LabelDocument>(&ObjectKey::Label(image()))
        .await
        .unwrap();
    let label = label.expect("a label").value;
    fold(&label)
        .cells
        .iter()
        .map(|it| (it.place.x, it.place.y, it.class))
        .collect()
}

#[tokio::test]
async fn points_wait_for_their_image_and_are_applied_when_sent_again() {
    let function = label();
    put(&function, "X,Y,Type\n10,20,7\n").await;
    assert_eq!(handle(&function).await.state, PointsState::Waiting);
    image_comes(&function).await;
    let record = handle(&function).await;
    assert_eq!((record.state, record.n_good), (PointsState::Applied, 1));
    assert_eq!(cells(&function).await, [(10, 20, 7)]);
    let key: CsvKey = CSV.parse().unwrap();
    let stem_key = ObjectKey::StemRecord(key.stem_key());
    let stem = function.store.read::<StemRecord>(&stem_key);
    let stem = stem.await.unwrap().unwrap().value;
    assert!(stem.points.is_empty(), "none waits any more: {stem:?}");
}

/// One handler saw no image, another did and was faster.
#[tokio::test]
async fn a_late_handler_that_saw_no_image_takes_nothing_back() {
    let function = label();
    put(&function, "X,Y,Type\n10,20,7\n").await;
    let late = handle(&function).await;
    image_comes(&function).await;
    let applied = handle(&function).await;
    function.write_record(late).await.unwrap();
    assert_eq!(handle(&function).await, applied);
}

#[tokio::test]
async fn bad_rows_are_listed_and_good_ones_kept() {
    let function = label();
    image_comes(&function).await;
    put(
        &function,
        "X,Y,Type\n10,20,7\n10,x,7\n9999,20,7\n30,40,77777\n50,60,2\n",
    )
    .await;
    let record = handle(&function).await;
    assert_eq!(
        (record.state, record.n_good, record.n_rejected),
        (PointsState::Applied, 2, 3)
    );
    let codes: Vec<(u64, &str)> = record
        .remarks
        .iter()
        .map(|it| (it.line, it.code.as_str()))
        .collect();
    assert_eq!(
        codes,
        [(3, "bad_number"), (4, "out_of_image"), (5, "unknown_class")]
    );
    assert_eq!(cells(&function).await, [(10, 20, 7), (50, 60, 2)]);
}

#[tokio::test]
async fn a_corrected_csv_replaces_its_layer_whole() {
    let function = label();
    image_comes(&function).await;
    put(&function, "X,Y,Type\n10,20,7\n30,40,2\n").await;
    handle(&function).await;
    put(&function, "X,Y,Type\n30,40,3\n").await;
    handle(&function).await;
    assert_eq!(cells(&function).await, [(30, 40, 3)]);
}

#[tokio::test]
async fn a_csv_that_became_unusable_says_nothing_any_more() {
    let function = label();
    image_comes(&function).await;
    put(&function, "X,Y,Type\n10,20,7\n").await;
    handle(&function).await;
    put(&function, "A,B\n1,2\n").await;
    let record = handle(&function).await;
    assert_eq!(record.state, PointsState::Rejected);
    assert_eq!(record.rejection.unwrap().code, "missing_column");
    assert!(cells(&function).await.is_empty());
}

#[tokio::test]
async fn a_repeated_event_writes_nothing() {
    let function = label();
    image_comes(&function).await;
    put(&function, "X,Y,Type\n10,20,7\n").await;
    let first = handle(&function).await;
    assert_eq!(handle(&function).await, first, "the same rev and write");
    let label = function
        .store
        .read::<LabelDocument>(&ObjectKey::Label(image()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(label.value.stamp.rev, 2, "created, then one layer");
}

#[tokio::test]
async fn classes_of_a_lab_count_as_soon_as_their_table_is_there() {
    let function = label();
    image_comes(&function).await;
    put(&function, "X,Y,Type\n10,20,301\n").await;
    assert_eq!(
        handle(&function).await.rejection.unwrap().code,
        "unknown_class"
    );
    let table = ClassTable::parse("blood", br#"{"ids":{"RBC":301}}"#).unwrap();
    let key: ObjectKey = ObjectKey::parse("classes/blood.json").unwrap().unwrap();
    let table = Named {
        stamp: Stamp::default(),
        name: "blood".to_owned(),
        value: table,
    };
    function.store.create(&key, table).await.unwrap();
    assert_eq!(handle(&function).await.state, PointsState::Applied);
    assert_eq!(cells(&function).await, [(10, 20, 301)]);
}
