use proptest::prelude::*;

use crate::ids::{
    BatchId, CaseId, Dir, ImageName, PointsDate, Stem, TableName, UlidText, WorkerId,
};

use super::*;

#[test]
fn documented_keys_parse_and_print() {
    for path in [
        "img/17P0603/1904165A/Images/IMG001x008.JPG",
        "scratch/img/b157262400000013/m157268362091213/Images/IMG029x029%E6%B1%89.JPG",
        "csv/20190523/2019-6-17/1813330/IMG001x014.csv",
        "scratch/redhouse/1817134/cells/redhouse.1817134.6005.a.JPG_1_100_0_2_1_2_3_4_100_1_2_3_4.png",
        "records/img/a/b/Images/c.jpg.json",
        "records/csv/a/d/b/c.csv.json",
        "records/stems/a/b/c.json",
        "labels/img/a/b/Images/c.jpg.label",
        "labels/types/two-class.json",
        "classes/bccd.json",
        "datasets/DkxD9Kjl/data.json",
        "datasets/DkxD9Kjl/cellslist.csv",
        "datasets/DkxD9Kjl/cellslist-00001.csv",
        "datasets/DkxD9Kjl/inputs/00003.json",
        "datasets/DkxD9Kjl/packs/00003-0123456789abcdef.zip",
        "projects/ek1roy1R/predict2.json",
        "projects/ek1roy1R/predict2-00001.json",
        "projects/ek1roy1R/inputs/00000.json",
        "projects/ek1roy1R/split.csv",
        "projects/ek1roy1R/curves.png",
        "projects/ek1roy1R/confusion.png",
        "projects/ek1roy1R/trace.json",
        "modules/weights/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.safetensors",
        "modules/classifier/100.safetensors",
        "modules/classifier/100.safetensors.json",
        "modules/detector/deepretina_final.h5",
        "projects/ek1roy1R/train_labels.csv",
        "projects/ek1roy1R/train/7/x.png",
        "projects/ek1roy1R/review/a/b.json",
        "indexes/ek1roy1R/index.json",
        "units/DkxD9Kjl/data-00000.json",
        "units/DkxD9Kjl/data-00000/00001/rows.csv",
        "active/data-DkxD9Kjl-00000",
        "ids/models/000000000100.json",
        "uploads/01ARZ3NDEKTSV4RRFFQ69G5FAV.json",
        "uploads/01ARZ3NDEKTSV4RRFFQ69G5FAV/00001-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "workers/host-1.json",
        "erased/17P0603/1904165A.json",
        "audit/2026/11/21/01ARZ3NDEKTSV4RRFFQ69G5FAV.json",
    ] {
        let key = ObjectKey::parse(path).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert_eq!(
            key.unwrap_or_else(|| panic!("{path} is not known"))
                .to_path(),
            path
        );
    }
}

#[test]
fn strangers_are_none_and_malformed_ones_name_the_whole_key() {
    for path in [
        "",
        "img",
        "img/a/b/c.jpg",
        "img/a/b/Images/x/y.jpg",
        "datasets/DkxD9Kjl/other.bin",
        "units/DkxD9Kjl/data-1.json",
    ] {
        assert_eq!(ObjectKey::parse(path), Ok(None), "{path:?}");
    }
    let error = ObjectKey::parse("img/../b/Images/c.jpg").unwrap_err();
    assert_eq!(error.key, "img/../b/Images/c.jpg");
    assert!(
        ObjectKey::parse("img/img/b/Images/c.jpg").is_err(),
        "a batch named img would trigger itself"
    );
}

#[test]
fn listings_sort_numbers_by_their_value() {
    let path = |n| ObjectKey::Number(NumberKind::Datasets, n).to_path();
    assert!(path(9) < path(10) && path(99) < path(100));
}

#[test]
fn prefixes_hold_their_keys() {
    let image: ImageKey = "scratch/img/a/b/Images/c.jpg".parse().unwrap();
    let prefix =
        Prefix::ImageCase(ImageRoot::Upload, image.batch.clone(), image.case.clone()).to_path();
    assert!(image.to_path().starts_with(&prefix));
    let record = ObjectKey::ImageRecord(image.clone()).to_path();
    assert!(
        record.starts_with(
            &Prefix::ImageRecordsOfCase(image.root, image.batch, image.case).to_path()
        )
    );
    let (year, month, day) = (2026, 3, 1);
    let entry = ObjectKey::Audit {
        year,
        month,
        day,
        id: UlidText::parse("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap(),
    };
    let of_day = Prefix::AuditDay { year, month, day }.to_path();
    assert!(entry.to_path().starts_with(&of_day));
}

#[test]
fn the_folders_of_a_case_hold_what_is_its_own_and_nothing_of_a_longer_name() {
    let (batch, case) = (BatchId::parse("b").unwrap(), CaseId::parse("c").unwrap());
    let folders = Prefix::folders_of_case(&batch, &case);
    let is_inside = |key: &str| folders.iter().any(|it| key.starts_with(it));
    for key in [
        "img/b/c/Images/x.jpg",
        "img/b/c/Result-c.jpg",
        "scratch/img/b/c/Images/x.jpg",
        "records/img/b/c/Images/x.jpg.json",
        "records/stems/b/c/x.json",
        "labels/scratch/img/b/c/Images/x.jpg.label",
        "masks/img/b/c/Images/x.jpg.5.png",
        "review/b/c/Images/x.jpg",
        "scratch/review/b/c/Cells/x.png",
        "scratch/b/c/cells/x.png",
    ] {
        assert!(is_inside(key), "{key}");
    }
    for key in [
        "img/b/cc/Images/x.jpg",
        "img/b/d/Images/x.jpg",
        "scratch/bb/c/cells/x.png",
    ] {
        assert!(!is_inside(key), "{key}");
    }
}

proptest! {
    #[test]
    fn parsing_undoes_printing(key in any_key()) {
        prop_assert_eq!(ObjectKey::parse(&key.to_path()), Ok(Some(key)));
    }

    #[test]
    fn no_text_panics(path in "\\PC{0,80}") {
        let _ = ObjectKey::parse(&path);
    }
}

fn part() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9_-]{1,12}",
        "[^/\\\\\\p{Cc}]{1,10}"
            .prop_filter("no dots in a row", |it| !it.contains("..") && it != "."),
    ]
}

fn batch() -> impl Strategy<Value = BatchId> {
    part().prop_filter_map("a batch", |it| BatchId::parse(&it).ok())
}

fn case() -> impl Strategy<Value = CaseId> {
    part().prop_filter_map("a case", |it| CaseId::parse(&it).ok())
}

fn image() -> impl Strategy<Value = ImageKey> {
    let name = part().prop_filter_map("a name", |it| ImageName::parse(&it).ok());
    (batch(), case(), any::<bool>(), name).prop_map(|(batch, case, upload, name)| ImageKey {
        batch,
        case,
        root: if upload {
            ImageRoot::Upload
        } else {
            ImageRoot::Hospital
        },
        name,
    })
}

fn points() -> impl Strategy<Value = CsvKey> {
    (batch(), part(), case(), part()).prop_filter_map("points", |(batch, date, case, stem)| {
        Some(CsvKey {
            batch,
            date: PointsDate::parse(&date).ok()?,
            case,
            stem: Stem::parse(&stem).ok()?,
        })
    })
}

fn dir() -> impl Strategy<Value = Dir> {
    "[A-Za-z0-9]{8}".prop_map(|it| Dir::parse(&it).expect("letters and digits"))
}

fn kind() -> impl Strategy<Value = JobKind> {
    (0..JobKind::ALL.len()).prop_map(|i| JobKind::ALL[i])
}

fn unit() -> impl Strategy<Value = UnitKey> {
    (dir(), kind(), 0u32..200_000).prop_map(|(dir, kind, unit)| UnitKey { dir, kind, unit })
}

fn ulid() -> impl Strategy<Value = UlidText> {
    "[0-9A-HJKMNP-TV-Z]{26}".prop_map(|it| UlidText::parse(&it).expect("26 characters"))
}

fn dataset_file() -> impl Strategy<Value = DatasetFile> {
    prop_oneof![
        Just(DatasetFile::Info),
        Just(DatasetFile::Info2),
        Just(DatasetFile::FileList),
        Just(DatasetFile::Log),
        Just(DatasetFile::Job),
        Just(DatasetFile::Snapshot),
        Just(DatasetFile::Packs),
        (0u32..3).prop_map(|part| DatasetFile::CellsList { part }),
        (0u32..20_000).prop_map(|unit| DatasetFile::Input { unit }),
        (0u32..20_000, "[0-9a-f]{16}")
            .prop_map(|(unit, sha16)| DatasetFile::Pack(PackName { unit, sha16 })),
    ]
}

fn project_file() -> impl Strategy<Value = ProjectFile> {
    let folder = || (0..3usize).prop_map(|i| ProjectFolder::ALL[i]);
    prop_oneof![
        Just(ProjectFile::Info),
        Just(ProjectFile::Lists),
        Just(ProjectFile::Model),
        (0u32..100_000).prop_map(|part| ProjectFile::Predict2 { part }),
        (0u32..100_000).prop_map(|piece| ProjectFile::Input { piece }),
        Just(ProjectFile::Split),
        Just(ProjectFile::Curves),
        Just(ProjectFile::Detections),
        Just(ProjectFile::Confusion),
        Just(ProjectFile::Trace),
        Just(ProjectFile::Log),
        Just(ProjectFile::Job(JobKind::Train)),
        folder().prop_map(ProjectFile::Labels),
        (folder(), 0u32..1200, part()).prop_map(|(folder, class, name)| ProjectFile::Cell {
            folder,
            class,
            name
        }),
        (batch(), case()).prop_map(|(batch, case)| ProjectFile::Review { batch, case }),
    ]
}

fn any_key() -> impl Strategy<Value = ObjectKey> {
    prop_oneof![
        image().prop_map(ObjectKey::Image),
        image().prop_map(ObjectKey::ImageRecord),
        image().prop_map(ObjectKey::Label),
        points().prop_map(ObjectKey::Points),
        points().prop_map(ObjectKey::PointsRecord),
        points().prop_map(|it| ObjectKey::StemRecord(it.stem_key())),
        (batch(), case(), part()).prop_map(|(batch, case, name)| ObjectKey::Cell {
            batch,
            case,
            name
        }),
        part().prop_filter_map("a name", |it| TableName::parse(&it)
            .ok()
            .map(ObjectKey::LabelType)),
        part().prop_filter_map("a name", |it| TableName::parse(&it)
            .ok()
            .map(ObjectKey::ClassTable)),
        (dir(), dataset_file()).prop_map(|(dir, file)| ObjectKey::Dataset(dir, file)),
        (dir(), project_file()).prop_map(|(dir, file)| ObjectKey::Project(dir, file)),
        dir().prop_map(ObjectKey::Index),
        unit().prop_map(ObjectKey::Unit),
        (unit(), 0u32..200_000, part()).prop_map(|(unit, attempt, file)| ObjectKey::UnitOutput {
            unit,
            attempt,
            file
        }),
        (kind(), dir(), 0u32..200_000).prop_map(|(kind, dir, round)| ObjectKey::Active {
            kind,
            dir,
            round
        }),
        (0..5usize, any::<u32>())
            .prop_map(|(i, n)| ObjectKey::Number(NumberKind::ALL[i], u64::from(n))),
        "[0-9a-f]{64}".prop_map(ObjectKey::Cache),
        ulid().prop_map(ObjectKey::Upload),
        (ulid(), 1u32..200_000, "[0-9a-f]{64}").prop_map(|(upload, number, sha256)| {
            ObjectKey::UploadPart {
                upload,
                number,
                sha256,
            }
        }),
        "[A-Za-z0-9_-]{1,30}"
            .prop_map(|it| ObjectKey::Worker(WorkerId::parse(&it).expect("safe letters"))),
        (batch(), case()).prop_map(|(batch, case)| ObjectKey::Erasure(batch, case)),
        (2000u16..3000, 1u8..13, 1u8..32, ulid()).prop_map(|(year, month, day, id)| {
            ObjectKey::Audit {
                year,
                month,
                day,
                id,
            }
        }),
    ]
}
