use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::boxes::BBox;
use crate::classes::{ClassTable, Polarity};
use crate::job::DataType;

fn schema(text: &str) -> jsonschema::Validator {
    jsonschema::draft202012::new(&serde_json::from_str(text).unwrap()).unwrap()
}

/// The sample keeps its schema, our type reads all of it, and what the type writes is the sample.
fn check<T: Serialize + DeserializeOwned>(name: &str, schema_text: &str, sample: &str) {
    let (validator, value): (_, Value) =
        (schema(schema_text), serde_json::from_str(sample).unwrap());
    let problems: Vec<String> = validator
        .iter_errors(&value)
        .map(|it| format!("{}: {it}", it.instance_path))
        .collect();
    assert!(problems.is_empty(), "{name}: {problems:?}");
    let read: T = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(
        serde_json::to_value(&read).unwrap(),
        value,
        "{name} read and written"
    );
    for key in value.as_object().unwrap().keys() {
        let mut broken = value.clone();
        broken[key] = json!({ "not": "that" });
        let is_free = matches!(key.as_str(), "parameters");
        assert!(
            is_free || !validator.is_valid(&broken),
            "{name}: the schema takes anything as `{key}`"
        );
    }
}

macro_rules! check {
    ($name:literal, $type:ty) => {
        check::<$type>(
            $name,
            include_str!(concat!("../../schemas/", $name, ".schema.json")),
            include_str!(concat!("../../schemas/", $name, ".sample.json")),
        )
    };
}

#[test]
fn schemas_samples_and_types_agree() {
    check!("dataset-info", DatasetInfo);
    check!("project-info", ProjectInfo);
    check!("predict2", PredictResult);
    check!("mod", TrainResult);
    check!("lists", ProjectLists);
    check!("train", ProjectJobFile);
    check!("predict", ProjectJobFile);
    check!("classes", ClassTable);
}

/// Text of a sample, in the order of the documented keys.
fn sample_text(sample: &str) -> &str {
    sample.trim_end()
}

#[test]
fn files_are_written_in_the_documented_order() {
    let dataset = include_str!("../../schemas/dataset-info.sample.json");
    let info: DatasetInfo = serde_json::from_str(dataset).unwrap();
    assert_eq!(
        String::from_utf8(to_json(&info, Indent::Two)).unwrap(),
        sample_text(dataset)
    );
    let one_blank = String::from_utf8(to_json(&info.without_lists(), Indent::One)).unwrap();
    assert!(
        one_blank.starts_with("{\n \"id\": 12,\n \"desc\": \"第一批 first delivery\",\n \"dir\""),
        "{one_blank}"
    );
    assert!(
        one_blank.contains("\n \"origin_imgs\": [],\n \"cells_crop\": [],\n"),
        "{one_blank}"
    );
    let result = include_str!("../../schemas/predict2.sample.json");
    let read: PredictResult = serde_json::from_str(result).unwrap();
    assert_eq!(
        String::from_utf8(to_json(&read, Indent::Two)).unwrap(),
        sample_text(result)
    );
}

#[test]
fn an_info_of_the_go_backend_is_read() {
    let text = r#"{ "id": 12, "desc": "description...", "dir": "DkxD9Kjl", "batchids": ["redhouse"], "medicalids": ["1817134"],
        "status": 1, "createdatts": 1568891127753, "starttimets": 0, "origin_imgs": null, "cells_crop": null, "origin_total": 0,
        "cells_total": 0, "batchcnt": 0, "medicalcnt": 0, "fovcnt": 0, "fovncnt": 0, "fovpcnt": 0, "labelncnt": 0,
        "labelpcnt": 0, "labelcnt": 0, "types": null, "modpath": "detector/deepretina_final.h5", "parameter_gray": "1",
        "parameter_size": "100", "parameter_type": 0, "parameter_mid": 2, "parameter_cache": 1, "cells_rois": ["x"] }"#;
    let info: DatasetInfo = serde_json::from_str(text).unwrap();
    assert_eq!(
        (info.createdatts, info.parameter_size, info.parameter_gray),
        (1_568_891_127_753, 100, 1)
    );
    assert!(info.cells_crop.is_empty() && info.types.is_empty());
    assert_eq!(
        info.extra["cells_rois"],
        json!(["x"]),
        "unknown keys are kept"
    );
    assert!(serde_json::from_str::<DatasetInfo>(r#"{"id": "x", "dir": "d"}"#).is_err());
    assert!(serde_json::from_str::<DatasetInfo>(r#"{"id": -1, "dir": "d"}"#).is_err());
}

#[test]
fn predictions_of_the_autokeras_worker_are_read() {
    let text = r#"{"id": 1, "did": "2", "ddir": "a", "dir": "b", "status": 1, "type": "3", "types": ["1", 7], "crop_cells":
        [{"predict": "7", "type": "1", "url": "projects/b/predict/1/x.png"}], "result": [{"type": 1, "total": "1", "correct": 0}]}"#;
    let read: PredictResult = serde_json::from_str(text).unwrap();
    assert_eq!(read.project.types, [1, 7]);
    let cell = &read.crop_cells[0];
    assert_eq!(
        (cell.predict, cell.true_type, cell.crop, cell.score),
        (7, 1, None, None)
    );
    assert!(
        read.project.extra.is_empty(),
        "known keys are no unknown ones"
    );
}

#[test]
fn results_are_counted_by_the_true_or_the_predicted_class() {
    let cell = |predict, true_type| PredictedCell {
        predict,
        true_type,
        url: String::new(),
        probability: None,
        score: None,
        crop: None,
        imgid: None,
    };
    let cells = [cell(50, 51), cell(51, 51), cell(51, 50)];
    let of = |class, total, correct| ClassResult {
        class,
        total,
        correct,
    };
    assert_eq!(
        ClassResult::of_cells(&cells, true),
        [of(50, 1, 0), of(51, 2, 1)]
    );
    assert_eq!(
        ClassResult::of_cells(&cells, false),
        [of(50, 1, 1), of(51, 2, 2)]
    );
}

#[test]
fn a_streamed_file_is_the_same_as_a_whole_one() {
    let text = include_str!("../../schemas/predict2.sample.json");
    let mut whole: PredictResult = serde_json::from_str(text).unwrap();
    let cells = vec![whole.crop_cells[0].clone(); 3];
    for n in [0, 1, 3] {
        whole.crop_cells = Vec::new();
        // A text that looks like the list must not be taken for it.
        whole.project.modpath = "\n  \"crop_cells\": []".to_owned();
        let mut streamed = Vec::new();
        let mut stream = ListStream::begin(&whole, "crop_cells", &mut streamed).unwrap();
        cells[..n]
            .iter()
            .for_each(|it| stream.item(it, &mut streamed));
        stream.end(&mut streamed);
        whole.crop_cells = cells[..n].to_vec();
        assert_eq!(
            String::from_utf8(streamed),
            String::from_utf8(to_json(&whole, Indent::Two))
        );
    }
    assert!(
        ListStream::begin(&whole, "crop_cells", &mut Vec::new()).is_none(),
        "not empty"
    );
    assert!(ListStream::begin(&whole, "nothing", &mut Vec::new()).is_none());
}

fn row() -> CellsListRow {
    CellsListRow {
        batchid: "b1".into(),
        medicalid: "m1".into(),
        imgid: Some(6005),
        imgname: "IMG001x008.JPG".into(),
        imgpath: Some("scratch/img/b1/m1/Images/IMG001x008.JPG".into()),
        p1n0: 0,
        gray: true,
        size: 100,
        data_type: DataType::Points,
        mid: 2,
        cache: true,
        cellpath: "scratch/b1/m1/cells/x.png".into(),
        crop: BBox::new(10, 20, 110, 120),
        celltype: 7,
        kernel: Some(BBox::new(40, 50, 80, 90)),
        duplicate: false,
    }
}

fn read_cells(text: &str) -> Result<Vec<CellsListRow>, TableError> {
    CellsList::new(text.as_bytes())?.collect()
}

#[test]
fn a_cells_list_is_written_as_documented() {
    let mut out = Vec::new();
    CellsListRow::write_header(&mut out);
    CellsListRow::write_rows(&[row()], &mut out);
    let want = concat!(
        r#""batchid","medicalid","imgid","imgname","imgpath","p1n0","parameter_gray","parameter_size","parameter_type","#,
        r#""parameter_mid","parameter_cache","cellpath","x1","y1","x2","y2","celltype","kx1","ky1","kx2","ky2","duplicate""#,
        "\n",
        r#""b1","m1","6005","IMG001x008.JPG","scratch/img/b1/m1/Images/IMG001x008.JPG","0","1","100","1","2","1","#,
        r#""scratch/b1/m1/cells/x.png","10","20","110","120","7","40","50","80","90","0""#,
        "\n",
    );
    assert_eq!(String::from_utf8(out).unwrap(), want);
}

#[test]
fn cells_lists_of_all_eras_are_read() {
    let october = concat!(
        "batchid,medicalid,imgname,p1n0,parameter_gray,parameter_size,parameter_type,parameter_mid,parameter_cache,",
        "cellpath,x1,y1,x2,y2,celltype,cached\n",
        "b1,m1,IMG001x008.JPG,0,1,100,1,2,1,scratch/b1/m1/cells/x.png,10,20,110,120,7.0,1\n",
    );
    let want = CellsListRow {
        imgid: None,
        imgpath: None,
        kernel: None,
        ..row()
    };
    assert_eq!(read_cells(october).unwrap(), [want]);

    // Since November 2019 the values of `imgid` and `imgname` are swapped, and paths are absolute.
    let november = concat!(
        "batchid,medicalid,imgid,imgname,imgpath,p1n0,parameter_gray,parameter_size,parameter_type,parameter_mid,",
        "parameter_cache,cellpath,x1,y1,x2,y2,celltype\n",
        "b1,m1,IMG001x008.JPG,6005,/ai/thumbor/data/loader/scratch/img/b1/m1/Images/IMG001x008.JPG,0,1,100,1,2,1,",
        "/ai/thumbor/data/loader/scratch/b1/m1/cells/x.png,10,20,110,120,7\n",
    );
    assert_eq!(
        read_cells(november).unwrap(),
        [CellsListRow {
            kernel: None,
            ..row()
        }]
    );
    let march = november
        .replace("celltype\n", "celltype,kx1,ky1,kx2,ky2\n")
        .replace("120,7\n", "120,7,40,50,80,90\n");
    assert_eq!(read_cells(&march).unwrap(), [row()]);
    let corrected = march.replace("m1,IMG001x008.JPG,6005,", "m1,6005,IMG001x008.JPG,");
    assert_eq!(read_cells(&corrected).unwrap(), [row()]);
}

#[test]
fn an_image_whose_name_is_a_number_is_known_by_its_path() {
    let named = CellsListRow {
        imgname: "76".into(),
        imgpath: Some("scratch/img/b1/m1/Images/76".into()),
        ..row()
    };
    let mut out = Vec::new();
    CellsListRow::write_header(&mut out);
    CellsListRow::write_rows([&named], &mut out);
    let ours = String::from_utf8(out).unwrap();
    assert_eq!(read_cells(&ours).unwrap(), std::slice::from_ref(&named));
    let swapped = ours.replace(r#""6005","76""#, r#""76","6005""#);
    assert_eq!(read_cells(&swapped).unwrap(), [named]);
}

#[test]
fn a_bad_row_is_named_by_line_and_column() {
    let mut out = Vec::new();
    CellsListRow::write_header(&mut out);
    CellsListRow::write_rows(&[row(), row()], &mut out);
    let text = String::from_utf8(out)
        .unwrap()
        .replacen("\"110\"", "\"-1\"", 1);
    let rows: Vec<_> = CellsList::new(text.as_bytes()).unwrap().collect();
    assert_eq!(
        rows[0].as_ref().unwrap_err().to_string(),
        "line 2: `-1` in column `x2` is no whole number"
    );
    assert!(rows[1].is_ok(), "the next row is read");
    assert_eq!(
        read_cells("a,b\n").unwrap_err().to_string(),
        "the table has no column `batchid`"
    );
}

#[test]
fn file_lists_of_all_times_are_read() {
    let row = FileListRow {
        imgid: Some(6005),
        imgpath: "img/b1/m1/Images/a, b.JPG".into(),
        csvpath: String::new(),
        p1n0: 0,
        batchid: "b1".into(),
        medicalid: "m1".into(),
        imgname: "a, b.JPG".into(),
    };
    let written = write_file_list([&row]);
    let want = "imgid,imgpath,csvpath,p1n0,batchid,medicalid,imgname\n6005,\"img/b1/m1/Images/a, b.JPG\",,0,b1,m1,\"a, b.JPG\"\n";
    assert_eq!(std::str::from_utf8(&written).unwrap(), want);
    assert_eq!(
        read_file_list(&written).unwrap(),
        std::slice::from_ref(&row)
    );

    let october = "imgpath,csvpath,p1n0,batchid,medicalid,imgname\nimg/b1/m1/Images/a.JPG,csv/b1/d/m1/a.csv,0,b1,m1,a.JPG\n";
    let early = FileListRow {
        imgid: None,
        imgpath: "img/b1/m1/Images/a.JPG".into(),
        csvpath: "csv/b1/d/m1/a.csv".into(),
        imgname: "a.JPG".into(),
        ..row
    };
    assert_eq!(
        read_file_list(october.as_bytes()).unwrap(),
        std::slice::from_ref(&early)
    );
    let first = "/root/img/b1/m1/Images/a.JPG /root/csv/b1/d/m1/a.csv /root/out\n";
    assert_eq!(read_file_list(first.as_bytes()).unwrap(), [early]);
    let broken = read_file_list(b"one two\n").unwrap_err();
    assert_eq!(broken.to_string(), "line 1 has 2 fields, 3 are needed");
}

#[test]
fn labels_are_quoted_and_read_back() {
    let rows = [
        LabelRow {
            file: "7/汉 \"x\".png".into(),
            label: 7,
        },
        LabelRow {
            file: "1/a.png".into(),
            label: 1,
        },
    ];
    let written = write_labels(&rows);
    assert_eq!(
        std::str::from_utf8(&written).unwrap(),
        "\"File Name\",\"Label\"\n\"7/汉 \"\"x\"\".png\",\"7\"\n\"1/a.png\",\"1\"\n"
    );
    assert_eq!(read_labels(&written).unwrap(), rows);
}

#[test]
fn roots_are_cut_from_paths() {
    for (path, want) in [
        ("/x/img/b/c/Images/f", "img/b/c/Images/f"),
        ("/x/scratch/img/b/c/Images/f", "scratch/img/b/c/Images/f"),
        ("/scratch/b/c/cells/f.png", "scratch/b/c/cells/f.png"),
        ("/x/csv/b/d/c/f.csv", "csv/b/d/c/f.csv"),
        (
            "/x/projects/p/resize_predict/100/f.png",
            "projects/p/resize_predict/100/f.png",
        ),
        ("img/b/c/Images/f", "img/b/c/Images/f"),
        ("/other", "other"),
    ] {
        assert_eq!(relative_path(path), want);
    }
}

#[test]
fn counts_are_of_distinct_things_and_of_the_worst_finding() {
    let of = |image: &str, celltype| CellsListRow {
        imgpath: Some(image.to_owned()),
        celltype,
        ..row()
    };
    let polarity = |class| match class {
        1 => Some(Polarity::Negative),
        7 => Some(Polarity::Positive),
        _ => None,
    };
    let mut counts = DatasetCounts::default();
    let rows = [
        of("a", 1),
        of("a", 7),
        of("a", 1),
        of("b", 1),
        of("c", 100),
        CellsListRow {
            batchid: "b2".into(),
            ..of("d", 7)
        },
    ];
    for row in rows {
        counts.add(&row, polarity(row.celltype));
    }
    let mut info = DatasetInfo {
        origin_total: 9,
        ..DatasetInfo::default()
    };
    counts.fill(&mut info);
    assert_eq!((info.batchcnt, info.medicalcnt, info.fovcnt), (2, 1, 4));
    assert_eq!(
        (info.fovncnt, info.fovpcnt),
        (1, 2),
        "b is negative, a and d are positive, c is neither"
    );
    assert_eq!((info.labelncnt, info.labelpcnt, info.labelcnt), (3, 2, 6));
    let types: Vec<_> = info
        .types
        .iter()
        .map(|it| (it.celltype, it.labelcnt))
        .collect();
    assert_eq!(types, [(1, 3), (7, 2), (100, 1)]);
    assert_eq!(info.origin_total, 9);
    assert_eq!(counts.images().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
}

proptest! {
    #[test]
    fn any_cells_list_reads_back(rows in prop::collection::vec(any_row(), 0..20)) {
        let mut out = Vec::new();
        CellsListRow::write_header(&mut out);
        for part in rows.chunks(3) {
            CellsListRow::write_rows(part, &mut out);
        }
        prop_assert_eq!(CellsList::new(&out[..]).unwrap().collect::<Result<Vec<_>, _>>().unwrap(), rows);
    }
}

fn any_row() -> impl Strategy<Value = CellsListRow> {
    let texts = ["[^/]{1,8}", "[^/]{1,8}", "[^/]{1,8}"];
    let numbers = (
        0u64..1 << 52,
        any::<u32>(),
        0u8..4,
        any::<u64>(),
        any::<u32>(),
    );
    let flags = any::<[bool; 3]>();
    let boxes = (any::<[u32; 4]>(), prop::option::of(any::<[u32; 4]>()));
    let bbox = |[a, b, c, d]: [u32; 4]| BBox::new(a, b, c, d);
    (texts, numbers, flags, boxes).prop_map(
        move |(texts, numbers, [gray, cache, duplicate], (crop, kernel))| {
            let ([batchid, medicalid, imgname], (imgid, size, kind, mid, celltype)) =
                (texts, numbers);
            CellsListRow {
                imgid: Some(imgid),
                imgpath: Some(format!("img/{batchid}/{medicalid}/Images/{imgname}")),
                cellpath: format!("scratch/{batchid}/{medicalid}/cells/x.png"),
                batchid,
                medicalid,
                imgname,
                p1n0: 0,
                gray,
                size,
                data_type: DataType::try_from(kind).unwrap(),
                mid,
                cache,
                crop: bbox(crop),
                celltype,
                kernel: kernel.map(bbox),
                duplicate,
            }
        },
    )
}
