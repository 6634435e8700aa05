//! What the predecessor's workers leave when they say that they are done, checked before anything rests on it
//! (FORMATS A.6, A.7). What passes is in the form that Cellmill writes: paths relative, numbers as numbers.

use std::collections::{BTreeMap, BTreeSet};

use crate::cell_name::AnyCellName;
use crate::classes::MAX_CLASS_ID;
use crate::formats::{CellsListRow, DatasetInfo, PredictResult, TrainResult, relative_path};
use crate::ids::{Dir, shown};
use crate::job::JobRecord;
use crate::keys::{ObjectKey, ProjectFile};

/// Why the files can't be taken over. The text names the file and the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(pub String);

fn unfit<T>(text: String) -> Result<T, Unfit> {
    Err(Unfit(text))
}

/// Checks `info2.json` against the rows of `cellslist.csv`, and the rows against the frozen list of images. Rows that
/// repeat a cell are marked.
pub fn check_dataset(
    job: &JobRecord,
    info2: &DatasetInfo,
    rows: &mut [CellsListRow],
    images: &BTreeSet<String>,
) -> Result<(), Unfit> {
    check_owner("info2.json", job, &info2.dir, info2.id)?;
    let mut seen = BTreeSet::new();
    for (at, row) in rows.iter_mut().enumerate() {
        let wrong = |what: String| unfit(format!("row {} of cellslist.csv: {what}", at + 1));
        if !matches!(
            ObjectKey::parse(&row.cellpath),
            Ok(Some(ObjectKey::Cell { .. }))
        ) {
            return wrong(format!(
                "cellpath `{}` is no place of a cell, scratch/<batch>/<case>/cells/<cell>.png",
                shown(&row.cellpath)
            ));
        }
        if let Some(image) = row.imgpath.as_ref().filter(|it| !images.contains(*it)) {
            return wrong(format!("image `{}` is not in filelist.csv", shown(image)));
        }
        if row.crop.x1 >= row.crop.x2 || row.crop.y1 >= row.crop.y2 {
            return wrong("its box has no area".to_owned());
        }
        if !(1..=MAX_CLASS_ID).contains(&row.celltype) {
            return wrong(format!(
                "celltype {} is not between 1 and {MAX_CLASS_ID}",
                row.celltype
            ));
        }
        row.duplicate = !seen.insert(row.cellpath.clone());
    }
    let mut counts = BTreeMap::<u32, u64>::new();
    for row in rows.iter() {
        *counts.entry(row.celltype).or_default() += 1;
    }
    let told: BTreeMap<u32, u64> = info2
        .types
        .iter()
        .map(|it| (it.celltype, it.labelcnt))
        .collect();
    if told != counts || info2.labelcnt != rows.len() as u64 {
        return unfit(format!(
            "info2.json counts {} cells, {}; cellslist.csv has {}, {}",
            info2.labelcnt,
            by_class(&told),
            rows.len(),
            by_class(&counts)
        ));
    }
    Ok(())
}

fn by_class(counts: &BTreeMap<u32, u64>) -> String {
    let counts = counts
        .iter()
        .map(|(class, n)| format!("{n} of class {class}"));
    let text = counts.collect::<Vec<_>>().join(", ");
    if text.is_empty() {
        "none".to_owned()
    } else {
        text
    }
}

/// Checks `predict2.json` and fills in what older workers left to the cell's name: box and image.
pub fn check_prediction(job: &JobRecord, result: &mut PredictResult) -> Result<(), Unfit> {
    check_owner("predict2.json", job, &result.project.dir, result.project.id)?;
    let folder = project_folder(&job.dir);
    for (at, cell) in result.crop_cells.iter_mut().enumerate() {
        let wrong = |what: String| unfit(format!("cell {} of predict2.json: {what}", at + 1));
        for class in [cell.predict, cell.true_type] {
            if !(1..=MAX_CLASS_ID).contains(&class) {
                return wrong(format!("class {class} is not between 1 and {MAX_CLASS_ID}"));
            }
        }
        if cell.score.is_some_and(|it| !(0.0..=1.0).contains(&it)) {
            return wrong("its score is not between 0 and 1".to_owned());
        }
        let url = relative_path(&cell.url).into_owned();
        if !url.starts_with(&folder) || !is_plain(&url) {
            return wrong(format!(
                "url `{}` is not below `{folder}`",
                shown(&cell.url)
            ));
        }
        let name = url.rsplit('/').next().unwrap_or_default();
        if let Ok(name) = AnyCellName::parse(name) {
            cell.crop = cell.crop.or(Some(name.crop));
            cell.imgid = cell.imgid.or(name.imgid);
        }
        cell.url = url;
    }
    let counted: u64 = result.result.iter().map(|it| it.total).sum();
    let n_cells = result.crop_cells.len() as u64;
    if !result.result.is_empty() && counted != n_cells {
        return unfit(format!(
            "predict2.json counts {counted} cells under `result` and lists {n_cells} under `crop_cells`"
        ));
    }
    Ok(())
}

/// Checks `mod.json` and gives the key of the model's file, which lies in the project's folder, and its extension.
pub fn check_training(job: &JobRecord, result: &TrainResult) -> Result<(String, String), Unfit> {
    let number = job.number;
    if result.pid != 0 && result.pid != number {
        return unfit(format!(
            "mod.json is of project {}, this is {number}",
            result.pid
        ));
    }
    for (name, value) in [
        ("loss", result.loss),
        ("metric_value", result.metric_value),
        ("evaluate_value", result.evaluate_value),
    ] {
        if !value.is_finite() {
            return unfit(format!("mod.json: {name} is no finite number"));
        }
    }
    let path = if result.path.is_empty() {
        format!("{}{DEFAULT_MODEL}", project_folder(&job.dir))
    } else {
        relative_path(&result.path).into_owned()
    };
    let file = path
        .strip_prefix(&project_folder(&job.dir))
        .filter(|it| !it.contains('/') && is_plain(it));
    let extension = file
        .and_then(|it| it.rsplit_once('.'))
        .map(|(_, extension)| extension.to_ascii_lowercase())
        .filter(|it| (1..=10).contains(&it.len()) && it.bytes().all(|b| b.is_ascii_alphanumeric()));
    match extension {
        // Beside a model lies its card, which ends so.
        Some(extension) if extension != "json" => Ok((path, extension)),
        _ => unfit(format!(
            "mod.json: path `{}` is no file of the project such as `{}{DEFAULT_MODEL}`",
            shown(&result.path),
            project_folder(&job.dir)
        )),
    }
}

/// What the predecessor's training calls its model.
const DEFAULT_MODEL: &str = "Modelak.h5";

fn check_owner(file: &str, job: &JobRecord, dir: &str, number: u64) -> Result<(), Unfit> {
    if dir != job.dir.as_str() || number != job.number {
        return unfit(format!(
            "{file} is of job {number} in `{}`, this is job {} in `{}`",
            shown(dir),
            job.number,
            job.dir
        ));
    }
    Ok(())
}

/// The beginning of the keys of a project's files.
fn project_folder(dir: &Dir) -> String {
    let file = ObjectKey::Project(dir.clone(), ProjectFile::Info).to_path();
    let end = file.rfind('/').map_or(0, |at| at + 1);
    file[..end].to_owned()
}

/// No way up, no empty part, nothing that a terminal or a shell would trip over.
fn is_plain(path: &str) -> bool {
    path.split('/').all(|it| !matches!(it, "" | "." | ".."))
        && !path.chars().any(|it| it.is_control() || it == '\\')
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::*;
    use crate::formats::CellsList;
    use crate::ids::Dir;
    use crate::job::{DataParameters, JobParameters};
    use crate::messages::UnitClass;

    fn job() -> JobRecord {
        JobRecord::accepted(
            Dir::parse("DkxD9Kjl").unwrap(),
            12,
            JobParameters::Data(DataParameters::default()),
            UnitClass::legacy(),
            "me".to_owned(),
            DateTime::UNIX_EPOCH,
        )
    }

    const CELL: &str = "b1.c1.6005.a.png_1_100_1_4_0_0_100_100_7_0_0_100_100.png";

    fn rows(cellpath: &str, imgpath: &str, celltype: u32) -> Vec<CellsListRow> {
        let table = format!(
            "batchid,medicalid,imgid,imgname,imgpath,p1n0,parameter_gray,parameter_size,parameter_type,parameter_mid,parameter_cache,cellpath,x1,y1,x2,y2,celltype\n\
             b1,c1,a.png,6005,{imgpath},0,1,100,1,4,1,{cellpath},0,0,100,100,{celltype}\n"
        );
        CellsList::new(table.as_bytes())
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    fn dataset(
        cellpath: &str,
        imgpath: &str,
        celltype: u32,
        info2: &serde_json::Value,
    ) -> Result<(), Unfit> {
        let images = BTreeSet::from(["img/b1/c1/Images/a.png".to_owned()]);
        let info2: DatasetInfo = serde_json::from_value(info2.clone()).unwrap();
        check_dataset(
            &job(),
            &info2,
            &mut rows(cellpath, imgpath, celltype),
            &images,
        )
    }

    fn info2() -> serde_json::Value {
        json!({"id": "12", "dir": "DkxD9Kjl", "labelcnt": 1, "types": [{"celltype": 7, "labelcnt": 1}], "cells_crop": null})
    }

    #[test]
    fn a_data_set_is_taken_when_its_files_agree() {
        let root = "/ai/loader";
        let cell = format!("{root}/scratch/b1/c1/cells/{CELL}");
        let image = format!("{root}/img/b1/c1/Images/a.png");
        dataset(&cell, &image, 7, &info2()).unwrap();
        let refused = |cell: &str, image: &str, class, info2: &serde_json::Value| {
            dataset(cell, image, class, info2).unwrap_err().0
        };
        assert!(refused(&cell, &image, 8, &info2()).contains("1 of class 8"));
        assert!(refused(&cell, "/etc/passwd", 7, &info2()).contains("not in filelist.csv"));
        for path in [
            "../../etc/passwd",
            "scratch/b1/c1/cells/../../x.png",
            "scratch/b1/c1/cells/",
            "datasets/DkxD9Kjl/data.json",
            "",
        ] {
            assert!(
                refused(path, &image, 7, &info2()).contains("cellpath"),
                "{path}"
            );
        }
        let mut other = info2();
        other["dir"] = json!("other");
        assert!(refused(&cell, &image, 7, &other).contains("job 12 in `other`"));
        let mut other = info2();
        other["labelcnt"] = json!(2);
        assert!(refused(&cell, &image, 7, &other).contains("counts 2 cells"));
    }

    #[test]
    fn a_repeated_cell_is_a_duplicate() {
        let mut two = rows(
            &format!("scratch/b1/c1/cells/{CELL}"),
            "img/b1/c1/Images/a.png",
            7,
        );
        two.push(two[0].clone());
        let info2 = json!({"id": 12, "dir": "DkxD9Kjl", "labelcnt": 2, "types": [{"celltype": 7, "labelcnt": 2}]});
        let images = BTreeSet::from(["img/b1/c1/Images/a.png".to_owned()]);
        let info2: DatasetInfo = serde_json::from_value(info2).unwrap();
        check_dataset(&job(), &info2, &mut two, &images).unwrap();
        assert_eq!((two[0].duplicate, two[1].duplicate), (false, true));
    }

    fn prediction(url: &str, total: u64) -> Result<PredictResult, Unfit> {
        let result = json!({
            "id": 12, "did": 1, "ddir": "d", "dir": "DkxD9Kjl", "type": 3,
            "crop_cells": [{"predict": "51", "type": "51", "url": url}],
            "result": [{"type": 51, "total": total, "correct": total}],
        });
        let mut result: PredictResult = serde_json::from_value(result).unwrap();
        check_prediction(&job(), &mut result).map(|()| result)
    }

    #[test]
    fn predictions_of_the_autokeras_worker_get_box_and_image_from_the_name() {
        let url = format!("/ai/loader/projects/DkxD9Kjl/resize_predict/7/{CELL}");
        let result = prediction(&url, 1).unwrap();
        let cell = &result.crop_cells[0];
        assert_eq!(cell.url, url["/ai/loader/".len()..]);
        assert_eq!(
            (cell.imgid, cell.crop.map(|it| it.x2)),
            (Some(6005), Some(100))
        );
        assert!(
            prediction(&url, 2)
                .unwrap_err()
                .0
                .contains("counts 2 cells")
        );
        for url in [
            "projects/other000/predict/7/a.png",
            "projects/DkxD9Kjl/../../etc/passwd",
            "projects/DkxD9Kjl//a.png",
            "/etc/passwd",
        ] {
            assert!(prediction(url, 1).unwrap_err().0.contains("url"), "{url}");
        }
    }

    #[test]
    fn a_model_lies_in_its_projects_folder() {
        let at = |path: &str| {
            let result = TrainResult {
                path: path.to_owned(),
                ..TrainResult::default()
            };
            check_training(&job(), &result)
        };
        let place = |name: &str| format!("projects/DkxD9Kjl/{name}");
        let h5 = "h5".to_owned();
        assert_eq!(at("").unwrap(), (place("Modelak.h5"), h5.clone()));
        assert_eq!(
            at("/ai/loader/projects/DkxD9Kjl/Modelak.h5").unwrap(),
            (place("Modelak.h5"), h5)
        );
        for path in [
            "/etc/shadow",
            "/ai/projects/other000/Modelak.h5",
            "projects/DkxD9Kjl/../x.h5",
            "projects/DkxD9Kjl/autokeras/x.h5",
            "projects/DkxD9Kjl/train.json",
            "projects/DkxD9Kjl/noextension",
        ] {
            assert!(at(path).is_err(), "{path}");
        }
    }
}
