use proptest::prelude::*;

use super::*;
use crate::boxes::BBox;
use crate::classes::KnownClasses;

fn read(text: impl AsRef<[u8]>) -> Result<Points, CsvRefusal> {
    let known = KnownClasses::default();
    parse(text.as_ref(), CsvLimits::default(), |class| {
        known.contains(class)
    })
}

fn points(text: impl AsRef<[u8]>) -> Points {
    read(text).unwrap()
}

/// (x, y, class) of the good rows.
fn triples(points: &Points) -> Vec<(u32, u32, u32)> {
    points
        .rows
        .iter()
        .map(|it| (it.x, it.y, it.class))
        .collect()
}

/// (line, code) of the bad rows.
fn bad(points: &Points) -> Vec<(u64, &'static str)> {
    points
        .rejected
        .iter()
        .map(|it| (it.line, it.code.as_str()))
        .collect()
}

#[test]
fn columns_are_found_by_name_in_any_order() {
    let got = points("id,Type,Note,y,X\n1,7,hello,120,100\n");
    assert_eq!(triples(&got), [(100, 120, 7)]);
    assert_eq!(got.verdict(), Verdict::Accepted);
}

#[test]
fn marks_line_ends_blank_rows_and_blanks_do_not_matter() {
    for text in [
        "\u{feff}X,Y,Type\n100,120,1\n",
        "X,Y,Type\r\n100,120,1\r\n",
        "X, Y, Type\n 100, 120, 1",
        "X,Y,Type\r100,120,1\r",
    ] {
        assert_eq!(triples(&points(text)), [(100, 120, 1)], "{text:?}");
    }
    let got = points("\n\nX,Y,Type\n\n100,120,1\n,,\n\n  \nx,1,1\n");
    assert_eq!(triples(&got), [(100, 120, 1)]);
    assert_eq!(got.rows[0].line, 5);
    assert_eq!(bad(&got), [(9, "bad_number")]);
}

#[test]
fn fractions_of_a_pixel_are_rounded_and_fractions_of_a_class_refused() {
    let got = points("X,Y,Type\n100.0,120.6,7.0\n10.5,9.49,1\n1,1,7.5\n");
    assert_eq!(triples(&got), [(100, 121, 7), (11, 9, 1)]);
    assert_eq!(bad(&got), [(4, "bad_number")]);
}

#[test]
fn a_box_and_its_label_come_with_the_point() {
    let got = points(
        "X,Y,Type,x1,y1,x2,y2,Label\n375,276,7,260,177,491,376,WBC\n5,6,7,,,,,\n9,9,7,-4,0,20,20,=1+1\n",
    );
    assert_eq!(got.rows[0].bbox, Some(BBox::new(260, 177, 491, 376)));
    assert_eq!(got.rows[0].label_text.as_deref(), Some("WBC"));
    assert_eq!(
        (got.rows[1].bbox, got.rows[1].label_text.as_deref()),
        (None, None)
    );
    assert_eq!(
        got.rows[2].bbox,
        Some(BBox::new(0, 0, 20, 20)),
        "cut at the border"
    );
    let broken = points("X,Y,Type,x1,y1,x2,y2\n5,6,7,1,1,,3\n5,6,7,9,9,9,12\n");
    assert_eq!(bad(&broken), [(2, "bad_number"), (3, "bad_row")]);
}

#[test]
fn good_rows_stay_when_others_are_bad() {
    let got = points(
        "X,Y,Type\nnan,1,1\n2,2,2\n3,3,9999\n4,4,-1\n5,5\n6,6,6,6\n7,7,7,\n-8,8,1\n1e99,9,1\n",
    );
    assert_eq!(triples(&got), [(2, 2, 2), (7, 7, 7)]);
    let want = [
        (2, "bad_number"),
        (4, "unknown_class"),
        (5, "unknown_class"),
        (6, "bad_row"),
        (7, "bad_row"),
        (9, "out_of_image"),
        (10, "bad_number"),
    ];
    assert_eq!(bad(&got), want);
    assert_eq!(got.verdict(), Verdict::Accepted);
    assert_eq!(got.n_rejected(), 7);
}

#[test]
fn a_file_of_bad_rows_only_is_rejected_with_the_first_code() {
    assert_eq!(
        points("X,Y,Type\n1,1,9999\nabc,1,1\n").verdict(),
        Verdict::Rejected(RowCode::UnknownClass)
    );
    assert_eq!(
        points("X,Y,Type\n").verdict(),
        Verdict::Accepted,
        "a doctor who saw nothing"
    );
}

#[test]
fn files_that_are_no_points_are_refused() {
    for (text, code) in [
        (&b""[..], "empty_file"),
        (b"\xef\xbb\xbf\r\n\n", "empty_file"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "bad_encoding"),
        (b"\xff\xfeX\0,\0Y\0,\0T\0", "bad_encoding"),
        (b"X\0,\0Y\0,\0T\0y\0p\0e\0\n\0", "bad_encoding"),
        (b"X,Y\n1,2\n", "missing_column"),
        (b"100,120,1\n", "missing_column"),
        (b"X;Y;Type\n1;2;3\n", "missing_column"),
    ] {
        assert_eq!(read(text).unwrap_err().code(), code, "{text:?}");
    }
    let refused = read("X,Type\n").unwrap_err();
    assert_eq!(refused, CsvRefusal::MissingColumn { column: "Y" });
    assert_eq!(
        refused.to_string(),
        "the header has no column `Y`, the columns X, Y and Type are needed"
    );
}

#[test]
fn limits_are_limits_of_bytes_and_of_rows() {
    let limits = CsvLimits {
        max_bytes: 30,
        max_rows: 2,
    };
    let text = b"X,Y,Type\n1,1,1\n2,2,2\n";
    assert!(parse(text, limits, |_| true).is_ok());
    let rows = parse(b"X,Y,Type\n1,1,1\n2,2,2\n3,3,3\n", limits, |_| true).unwrap_err();
    assert_eq!(rows, CsvRefusal::TooManyRows { limit: 2 });
    let bytes = parse(&[b'x'; 31], limits, |_| true).unwrap_err();
    assert_eq!(
        bytes,
        CsvRefusal::TooManyBytes {
            n_bytes: 31,
            limit: 30
        }
    );
    assert_eq!((rows.code(), bytes.code()), ("too_large", "too_large"));
}

#[test]
fn a_note_in_another_encoding_spoils_nothing() {
    let got = points(b"X,Y,Type,\xb1\xb8\xd7\xa2\n100,120,1,\xcf\xb0\xb0\xfb\n");
    assert_eq!(triples(&got), [(100, 120, 1)]);
}

#[test]
fn an_unclosed_quote_ends_the_file_and_says_how_much_it_took() {
    let got = points("X,Y,Type,Note\n1,1,1,fine\n2,2,2,\"open\n3,3,3,x\n4,4,4,y");
    assert_eq!(triples(&got), [(1, 1, 1)]);
    assert_eq!(bad(&got), [(3, "bad_row")]);
    assert_eq!(
        got.rejected[0].reason,
        "a quote is not closed, nothing after it was read (2 lines)"
    );
    let closed = points("X,Y,Type,Note\n1,1,1,\"two\nlines\"\n2,2,2,\"last\"");
    assert_eq!(triples(&closed), [(1, 1, 1), (2, 2, 2)]);
    assert_eq!(closed.rows[1].line, 4);
}

#[test]
fn a_field_of_a_megabyte_is_one_bad_number_with_a_short_text() {
    let got = points(format!("X,Y,Type\n{},1,1\n", "1".repeat(1_000_000)));
    assert_eq!(bad(&got), [(2, "bad_number")]);
    assert!(got.rejected[0].text.len() < 100);
}

#[test]
fn a_row_of_a_million_fields_is_one_bad_row() {
    let got = points(format!(
        "X,Y,Type\n1,1,1{}\n2,2,2\n",
        ",x".repeat(1_000_000)
    ));
    assert_eq!(triples(&got), [(2, 2, 2)]);
    assert_eq!(bad(&got), [(2, "bad_row")]);
}

#[test]
fn a_hopeless_file_is_counted_but_not_listed_row_by_row() {
    let got = points("X,Y,Type\n".to_owned() + &"x,1,1\n".repeat(3_000));
    assert_eq!(got.rejected.len(), Points::MAX_LISTED);
    assert_eq!(got.n_rejected(), 3_000);
}

#[test]
fn repeated_and_contradicting_rows_are_kept_and_flagged() {
    let got = points("X,Y,Type\n1,1,1\n1,1,1\n1,1,3\n2,2,2\n");
    let flags: Vec<_> = got
        .rows
        .iter()
        .map(|it| (it.duplicate, it.conflict))
        .collect();
    assert_eq!(
        flags,
        [(false, true), (true, true), (false, true), (false, false)]
    );
    assert_eq!((got.n_duplicates(), got.n_conflicts()), (1, 3));
}

#[test]
fn the_image_decides_what_is_outside() {
    let got = points(
        "X,Y,Type,x1,y1,x2,y2\n640,1,1,,,,\n639,479,1,600,400,700,500\n1,1,1,700,500,710,510\n",
    );
    let got = got.checked_against(640, 480);
    assert_eq!(triples(&got), [(639, 479, 1)]);
    assert_eq!(got.rows[0].bbox, Some(BBox::new(600, 400, 640, 480)));
    assert_eq!(bad(&got), [(2, "out_of_image"), (4, "out_of_image")]);
    assert_eq!(got.clone().checked_against(640, 480), got);
}

#[test]
fn formulae_are_neutralised_and_words_are_not() {
    for text in [
        "=1+1",
        "+1",
        "-1",
        "@x",
        "\t=1",
        "  =1",
        "＝1",
        "\u{3000}=1",
    ] {
        assert_eq!(neutralise(text), format!("'{text}"));
    }
    for text in ["", "WBC", "a=b", "'=1", "1-2"] {
        assert_eq!(neutralise(text), text);
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic_or_lose_a_line(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
        let mut with_header = b"X,Y,Type,Note\n".to_vec();
        with_header.extend(&bytes);
        let got = read(&with_header).unwrap();
        prop_assert!(got.rows.iter().all(|it| it.line >= 2));
    }

    #[test]
    fn quoted_or_not_the_rows_are_the_same(rows in prop::collection::vec((0u32..99, 0u32..99, 1u32..16), 0..30)) {
        let plain: Vec<String> = rows.iter().map(|(x, y, class)| format!("{x},{y},{class}\n")).collect();
        let quoted: Vec<String> =
            rows.iter().map(|(x, y, class)| format!("\"{x}\",\"{y}.0\",\"{class}.0\"\r\n")).collect();
        let (plain, quoted) = (plain.concat(), quoted.concat());
        let got = points(format!("X,Y,Type\n{plain}"));
        prop_assert_eq!(triples(&got), rows);
        prop_assert_eq!(got, points(format!("\"X\",\"Y\",\"Type\"\r\n{quoted}")));
    }
}

/// Every CSV of the collection of broken files ends as its manifest says.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the files are not part of the repository"
)]
fn hostile_files_end_as_their_manifest_says() {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").to_owned();
    let data = std::env::var("CELLMILL_TEST_DATA").unwrap_or(beside);
    let folder = std::path::Path::new(&data).join("hostile");
    let Ok(manifest) = std::fs::read(folder.join("manifest.csv")) else {
        eprintln!(
            "skipped: no data at {}; set CELLMILL_TEST_DATA to try them",
            folder.display()
        );
        return;
    };
    let mut n_checked = 0;
    for row in csv::Reader::from_reader(&manifest[..]).deserialize() {
        let row: ManifestRow = row.unwrap();
        if row.group != "csv" {
            continue;
        }
        let (accepted, code) = outcome(&std::fs::read(folder.join(&row.path)).unwrap());
        match row.expect.as_str() {
            "accept" => assert!(accepted, "{}: {code}", row.path),
            "reject" => assert!(!accepted && code == row.code, "{}: {code}", row.path),
            _ => assert!(accepted, "{}: we chose to read it, got {code}", row.path),
        }
        n_checked += 1;
    }
    assert!(n_checked > 20, "{n_checked} files");
}

#[derive(serde::Deserialize)]
struct ManifestRow {
    path: String,
    group: String,
    expect: String,
    code: String,
}

/// Was it accepted for an image of 640 x 480, and if not, why?
fn outcome(bytes: &[u8]) -> (bool, String) {
    match read(bytes).map(|it| it.checked_against(640, 480).verdict()) {
        Ok(Verdict::Accepted) => (true, "ok".to_owned()),
        Ok(Verdict::Rejected(code)) => (false, code.as_str().to_owned()),
        Err(refusal) => (false, refusal.code().to_owned()),
    }
}
