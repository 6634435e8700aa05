use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::boxes::BBox;
use crate::ids::PointsDate;
use crate::points::PointRow;

fn document() -> LabelDocument {
    LabelDocument::new("img/b/c/Images/a.JPG".parse().unwrap(), "cells")
}

fn date(text: &str) -> PointsDate {
    PointsDate::parse(text).unwrap()
}

fn csv(points: &[(u32, u32, u32)]) -> CsvLayer {
    let row = |(line, &(x, y, class)): (usize, &(u32, u32, u32))| PointRow {
        line: line as u64 + 2,
        x,
        y,
        class,
        bbox: None,
        label_text: None,
        duplicate: false,
        conflict: false,
    };
    CsvLayer {
        rows: points.iter().enumerate().map(row).collect(),
        ..CsvLayer::default()
    }
}

fn model(boxes: &[BBox]) -> ModelLayer {
    let found = boxes.iter().map(|&bbox| ModelBox {
        bbox,
        class: 100,
        score: 0.9,
    });
    ModelLayer {
        boxes: Some(found.collect()),
        image_class: None,
    }
}

fn operation(id: &str, rev: u64, change: Change) -> Operation {
    Operation {
        id: id.to_owned(),
        rev,
        change,
    }
}

fn reclass(cell: CellId, class: u32) -> Change {
    Change::Modify {
        cell,
        class: Some(class),
        place: None,
    }
}

/// (id, class, source) of each cell.
fn shown(document: &LabelDocument) -> Vec<(String, u32, String)> {
    fold(document)
        .cells
        .into_iter()
        .map(|it| (it.id.0, it.class, it.source.to_string()))
        .collect()
}

fn cell(id: &str, class: u32, source: &str) -> (String, u32, String) {
    (id.to_owned(), class, source.to_owned())
}

#[test]
fn the_latest_date_is_a_date_and_not_a_text() {
    let mut it = document();
    for (at, text) in [
        "2019-7-22",
        "20191003",
        "2019-10-02",
        "2019-9-30",
        "redo",
        "99999999",
    ]
    .into_iter()
    .enumerate()
    {
        it.put_csv(&date(text), csv(&[(at as u32, 0, 1)]));
    }
    assert_eq!(shown(&it), [cell("p1,0", 1, "csv/20191003")]);
}

#[test]
fn a_csv_replaces_models_even_when_it_is_empty() {
    let mut it = document();
    it.put_model(100, model(&[BBox::new(0, 0, 11, 11)]));
    it.put_model(2, model(&[]));
    assert_eq!(shown(&it), [cell("m100:0,0,11,11", 100, "model/100")]);
    assert_eq!(fold(&it).cells[0].place.x, 5);
    it.put_model(
        101,
        ModelLayer {
            boxes: None,
            image_class: Some((51, 0.8)),
        },
    );
    assert_eq!(shown(&it).len(), 1, "a classifier says nothing about cells");
    assert_eq!(fold(&it).image_class.unwrap().class, 51);
    it.put_csv(&date("20190523"), csv(&[]));
    assert_eq!(shown(&it), []);
}

#[test]
fn persons_edit_what_is_below_them() {
    let mut it = document();
    it.put_csv(&date("20190523"), csv(&[(1, 1, 7), (2, 2, 7), (3, 3, 7)]));
    let place = Place {
        x: 9,
        y: 9,
        bbox: Some(BBox::new(4, 4, 14, 14)),
    };
    it.record(
        "li",
        operation(
            "A",
            1,
            Change::Delete {
                cell: CellId::of_point(1, 1),
            },
        ),
    );
    it.record("li", operation("B", 1, reclass(CellId::of_point(2, 2), 3)));
    it.record("wang", operation("C", 2, Change::Add { place, class: 2 }));
    it.record("wang", operation("D", 3, reclass(CellId::of_added("C"), 6)));
    it.record(
        "wang",
        operation("E", 3, reclass(CellId::of_point(8, 8), 6)),
    );
    let want = [
        cell("p2,2", 3, "person/li"),
        cell("p3,3", 7, "csv/20190523"),
        cell("aC", 6, "person/wang"),
    ];
    assert_eq!(shown(&it), want);
    assert_eq!(fold(&it).unmatched, ["E"]);
    assert!(
        !it.record(
            "wang",
            operation("E", 9, Change::SetImageClass { class: Some(1) })
        ),
        "a repeated request"
    );
}

#[test]
fn a_correction_survives_the_same_csv_under_a_new_date() {
    let mut it = document();
    it.put_csv(&date("20190523"), csv(&[(1, 1, 7)]));
    it.record("li", operation("A", 1, reclass(CellId::of_point(1, 1), 3)));
    it.put_csv(&date("20190601"), csv(&[(5, 5, 1), (1, 1, 7)]));
    assert_eq!(
        shown(&it),
        [
            cell("p5,5", 1, "csv/20190601"),
            cell("p1,1", 3, "person/li")
        ]
    );
}

#[test]
fn rows_of_one_place_have_ids_of_their_own() {
    let mut it = document();
    it.put_csv(&date("20190523"), csv(&[(1, 1, 7), (1, 1, 7), (1, 1, 2)]));
    it.record(
        "li",
        operation(
            "A",
            1,
            Change::Delete {
                cell: CellId("p1,1#2".to_owned()),
            },
        ),
    );
    let ids: Vec<_> = shown(&it).into_iter().map(|it| it.0).collect();
    assert_eq!(ids, ["p1,1", "p1,1#3"]);
}

#[test]
fn the_last_word_about_an_image_stands() {
    let mut it = document();
    it.put_model(
        100,
        ModelLayer {
            boxes: None,
            image_class: Some((50, 0.6)),
        },
    );
    it.record(
        "li",
        operation("B", 2, Change::SetImageClass { class: Some(51) }),
    );
    it.record(
        "wang",
        operation("A", 1, Change::SetImageClass { class: Some(50) }),
    );
    let said = fold(&it).image_class.unwrap();
    assert_eq!(
        (said.class, said.source.to_string()),
        (51, "person/li".to_owned())
    );
    it.record(
        "wang",
        operation("C", 3, Change::SetImageClass { class: None }),
    );
    assert_eq!(fold(&it).image_class, None);
}

#[test]
fn the_file_has_one_object_of_layers_by_name() {
    let mut it = document();
    it.put_csv(&date("2019-7-22"), csv(&[(1, 2, 7)]));
    it.put_model(100, model(&[BBox::new(0, 0, 11, 11)]));
    it.record(
        "li",
        operation(
            "A",
            1,
            Change::Delete {
                cell: CellId::of_point(1, 2),
            },
        ),
    );
    let text = serde_json::to_string_pretty(&it).unwrap();
    assert_eq!(serde_json::from_str::<LabelDocument>(&text).unwrap(), it);
    expect![[r#"
        {
          "v": 0,
          "rev": 0,
          "write": "",
          "image": "img/b/c/Images/a.JPG",
          "type": "cells",
          "state": "wait_label",
          "layers": {
            "csv/2019-7-22": {
              "rows": [
                {
                  "line": 2,
                  "x": 1,
                  "y": 2,
                  "class": 7
                }
              ],
              "sha256": "",
              "n_rejected": 0
            },
            "model/100": {
              "boxes": [
                {
                  "x1": 0,
                  "y1": 0,
                  "x2": 11,
                  "y2": 11,
                  "class": 100,
                  "score": 0.9
                }
              ]
            },
            "person/li": {
              "operations": [
                {
                  "id": "A",
                  "rev": 1,
                  "op": "delete",
                  "cell": "p1,2"
                }
              ]
            }
          }
        }"#]]
    .assert_eq(&text);
    let by_number = text
        .replace("\"cells\"", "1101")
        .replace("\"wait_label\"", "2");
    assert_eq!(
        serde_json::from_str::<LabelDocument>(&by_number)
            .unwrap()
            .label_type,
        "1101"
    );
    assert!(serde_json::from_str::<LabelDocument>(&text.replace("model/100", "model/x")).is_err());
}

#[test]
fn the_same_layer_twice_needs_no_write() {
    let mut it = document();
    assert!(it.put_csv(&date("20190523"), csv(&[(1, 1, 1)])));
    assert!(!it.put_csv(&date("20190523"), csv(&[(1, 1, 1)])));
    assert!(it.put_csv(&date("20190523"), csv(&[])));
    assert!(it.put_model(1, model(&[])));
    assert!(!it.put_model(1, model(&[])));
}

/// Something that a source says.
#[derive(Clone, Debug)]
enum Said {
    Csv(PointsDate, CsvLayer),
    Model(u64, ModelLayer),
    Person(String, Operation),
}

fn tell(document: &mut LabelDocument, said: Said) -> bool {
    match said {
        Said::Csv(date, layer) => document.put_csv(&date, layer),
        Said::Model(mid, layer) => document.put_model(mid, layer),
        Said::Person(user, operation) => document.record(&user, operation),
    }
}

/// Everything that sources say, one item per layer or operation.
fn any_story() -> impl Strategy<Value = Vec<Said>> {
    let points = prop::collection::vec((0u32..4, 0u32..4, 1u32..4), 0..6);
    let csvs = prop::collection::btree_map(0usize..4, points, 0..3);
    let boxes = prop::collection::vec(
        (0u32..4, 0u32..4).prop_map(|(x, y)| BBox::new(x, y, x + 4, y + 4)),
        0..5,
    );
    let models = prop::collection::btree_map(98u64..101, boxes, 0..3);
    let changes = prop::collection::vec((0u64..4, 0usize..2, any_change()), 0..12);
    (csvs, models, changes).prop_map(|(csvs, models, changes)| {
        let dates = ["2019-7-22", "2019-10-2", "20190901", "later"];
        let csvs = csvs
            .into_iter()
            .map(|(at, points)| Said::Csv(date(dates[at]), csv(&points)));
        let models = models
            .into_iter()
            .map(|(mid, boxes)| Said::Model(mid, model(&boxes)));
        let persons = changes
            .into_iter()
            .enumerate()
            .map(|(at, (rev, user, change))| {
                Said::Person(
                    ["li", "wang"][user].to_owned(),
                    operation(&at.to_string(), rev, change),
                )
            });
        csvs.chain(models).chain(persons).collect()
    })
}

fn any_change() -> impl Strategy<Value = Change> {
    let cell = (0u32..4, 0u32..4).prop_map(|(x, y)| CellId::of_point(x, y));
    let place = (0u32..4, 0u32..4).prop_map(|(x, y)| Place { x, y, bbox: None });
    prop_oneof![
        (place, 1u32..4).prop_map(|(place, class)| Change::Add { place, class }),
        cell.clone().prop_map(|cell| Change::Delete { cell }),
        (cell, 1u32..4).prop_map(|(cell, class)| reclass(cell, class)),
        prop::option::of(50u32..52).prop_map(|class| Change::SetImageClass { class }),
    ]
}

proptest! {
    #[test]
    fn the_order_and_number_of_tellings_never_matter(
        (story, shuffled) in any_story().prop_flat_map(|it| (Just(it.clone()), Just(it).prop_shuffle())),
    ) {
        let (mut first, mut second) = (document(), document());
        for said in story.clone() {
            tell(&mut first, said);
        }
        for said in shuffled {
            tell(&mut second, said);
        }
        prop_assert_eq!(fold(&first), fold(&second));
        let before = first.clone();
        for said in story {
            prop_assert!(!tell(&mut first, said), "told again, nothing is new");
        }
        prop_assert_eq!(before, first);
    }

    #[test]
    fn a_document_reads_back(story in any_story()) {
        let mut it = document();
        for said in story {
            tell(&mut it, said);
        }
        let text = serde_json::to_vec(&it).unwrap();
        prop_assert_eq!(serde_json::from_slice::<LabelDocument>(&text).unwrap(), it);
    }
}
