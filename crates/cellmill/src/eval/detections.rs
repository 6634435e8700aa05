//! Files of detections: COCO results, or rows that name image and class.

use std::path::Path;

use serde::Deserialize;

use crate::cli::Error;

use super::names::Name;

/// A detection as its file has it, and where: `place` counts from 1.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Detection {
    pub(crate) place: usize,
    pub(crate) image: Option<Name>,
    pub(crate) class: Option<Name>,
    /// `x1, y1, x2, y2`.
    pub(crate) bbox: [f64; 4],
    pub(crate) score: f64,
}

const FORM: &str = "write COCO results, [{\"image_id\", \"category_id\", \"bbox\": [x, y, width, height], \"score\"}], \
     or rows {\"image\", \"x1\", \"y1\", \"x2\", \"y2\", \"class\", \"score\"}, in a list or one a line";

/// Both forms; other fields are not looked at.
#[derive(Debug, Deserialize)]
struct Row {
    #[serde(alias = "image_id", alias = "file_name")]
    image: Option<Name>,
    #[serde(alias = "category_id")]
    class: Option<Name>,
    bbox: Option<[f64; 4]>,
    x1: Option<f64>,
    y1: Option<f64>,
    x2: Option<f64>,
    y2: Option<f64>,
    score: Option<f64>,
}

/// Reads a file of detections.
pub(crate) fn read(path: &Path) -> Result<Vec<Detection>, Error> {
    let bytes = std::fs::read(path).map_err(Error::file("read", path))?;
    parse(&bytes).map_err(|what| Error::malformed(path, what, FORM))
}

fn parse(bytes: &[u8]) -> Result<Vec<Detection>, String> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let is_list = text.trim_ascii_start().starts_with(b"[");
    let rows: Vec<Row> = if is_list {
        serde_json::from_slice(text).map_err(|error| error.to_string())?
    } else {
        let mut rows = Vec::new();
        for row in serde_json::Deserializer::from_slice(text).into_iter() {
            let place = rows.len() + 1;
            rows.push(row.map_err(|error| format!("detection {place}: {error}"))?);
        }
        rows
    };
    rows.into_iter().zip(1..).map(checked).collect()
}

fn checked((row, place): (Row, usize)) -> Result<Detection, String> {
    let corners = match (row.x1, row.y1, row.x2, row.y2) {
        (Some(x1), Some(y1), Some(x2), Some(y2)) => Some([x1, y1, x2, y2]),
        _ => None,
    };
    let of_sides = row.bbox.map(|[x, y, w, h]| [x, y, x + w, y + h]);
    let bbox = corners
        .or(of_sides)
        .ok_or_else(|| format!("detection {place} has no box"))?;
    if bbox[2] < bbox[0] || bbox[3] < bbox[1] {
        return Err(format!(
            "detection {place} has a box that ends before it begins"
        ));
    }
    Ok(Detection {
        place,
        image: row.image,
        class: row.class,
        bbox,
        score: row
            .score
            .ok_or_else(|| format!("detection {place} has no score"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let coco = br#"[{"image_id": 3, "category_id": 2, "bbox": [10, 20, 30, 5.5], "score": 0.5, "id": 9}]"#;
        let lines = b"{\"image\": \"x.JPG\", \"class\": \"RBC\", \"x1\": 10, \"y1\": 20, \"x2\": 40, \"y2\": 25.5, \"score\": 0.5}\n\n";
        let (coco, lines) = (parse(coco).unwrap(), parse(lines).unwrap());
        assert_eq!(coco[0].image, Some(Name::Number(3)));
        assert_eq!(lines[0].class, Some(Name::Text("RBC".to_owned())));
        assert_eq!(
            (coco[0].bbox, coco[0].score),
            (lines[0].bbox, lines[0].score)
        );
        assert_eq!(parse(b" [] "), Ok(Vec::new()));
        assert_eq!(parse(b""), Ok(Vec::new()));
    }

    #[test]
    fn what_is_missing_is_named_with_its_place() {
        for (text, part) in [
            (r#"[{"bbox": [1, 2, 3, 4]}]"#, "detection 1 has no score"),
            (r#"[{"score": 1, "x1": 3}]"#, "detection 1 has no box"),
            (
                r#"{"score": 1, "bbox": [1, 1, 1, 1]} {"score": 1, "bbox": [9, 9, -3, 1]}"#,
                "detection 2 has a box that ends before",
            ),
            (r#"{"score": "high"}"#, "detection 1: invalid type"),
            ("score,x1", "detection 1: expected value"),
        ] {
            let refused = parse(text.as_bytes()).unwrap_err();
            assert!(refused.contains(part), "{refused}");
        }
    }
}
