//! Status 4: the worker's files are checked, and adopted or refused with a reason.

use std::fs;

use cellmill_core::formats::{CellsList, PredictResult};
use cellmill_core::job::JobState;
use cellmill_core::keys::JobKind;
use serde_json::{Value, json};

use super::lab::{CROPPER, DATASET, Lab, OK};

#[tokio::test]
async fn a_data_set_is_adopted_with_relative_paths_right_columns_and_packs() {
    let lab = Lab::cut().await;
    let table = fs::read(lab.path("datasets/DkxD9Kjl/cellslist.csv")).unwrap();
    let rows: Vec<_> = CellsList::new(&table[..])
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(rows.len(), 3);
    assert_eq!(
        (
            rows[0].imgid,
            rows[0].imgname.as_str(),
            rows[0].imgpath.as_deref()
        ),
        (Some(5), "a.bmp", Some("img/b1/c1/Images/a.bmp"))
    );
    let header = String::from_utf8_lossy(&table)
        .lines()
        .nth(1)
        .unwrap()
        .to_owned();
    assert!(header.starts_with(r#""b1","c1","5","a.bmp""#), "{header}");
    let info2 = lab.read_json("datasets/DkxD9Kjl/info2.json");
    assert_eq!(
        info2["cells_rois"], "a key of an older worker",
        "unknown keys are kept"
    );
    assert_eq!(info2["modpath"], "detector/yolo.weights");
    assert_eq!(info2["cells_crop"].as_array().unwrap().len(), 3);
    assert_eq!(info2["fovcnt"], 2);
    let info = lab.read_json("datasets/DkxD9Kjl/info.json");
    assert_eq!(
        (&info["labelcnt"], &info["cells_crop"]),
        (&json!(3), &json!([]))
    );
    let packs = lab.read_json("datasets/DkxD9Kjl/packs.json");
    assert_eq!(packs["packs"].as_array().unwrap().len(), 1);
    let log = fs::read_to_string(lab.path("datasets/DkxD9Kjl/log.txt")).unwrap();
    assert_eq!(log, "切割 done\n");
}

/// A change of the worker's files, and a part of the reason that it is refused with.
type Spoil = (&'static str, fn(&Lab), &'static str);

#[tokio::test]
async fn files_that_contradict_each_other_fail_the_job_with_the_reason() {
    let spoils: [Spoil; 6] = [
        (
            "gone",
            |lab| fs::remove_file(lab.path("datasets/DkxD9Kjl/info2.json")).unwrap(),
            "info2.json` is not there",
        ),
        (
            "no json",
            |lab| lab.write("datasets/DkxD9Kjl/info2.json", b"{\"id\":1"),
            "can't be read",
        ),
        (
            "counts",
            |lab| edit(lab, "datasets/DkxD9Kjl/info2.json", "labelcnt", json!(4)),
            "counts 4 cells",
        ),
        (
            "other",
            |lab| edit(lab, "datasets/DkxD9Kjl/info2.json", "dir", json!("../x")),
            "job 1 in `../x`",
        ),
        (
            "table",
            |lab| lab.write("datasets/DkxD9Kjl/cellslist.csv", b"a,b\n1,2\n"),
            "cellslist.csv` can't be read",
        ),
        (
            "crop",
            |lab| fs::remove_dir_all(lab.path("scratch/b1/c1/cells")).unwrap(),
            "it is not there",
        ),
    ];
    for (name, spoil, reason) in spoils {
        let lab = Lab::with_dataset().await;
        lab.take(1, CROPPER).await;
        lab.leave_cells();
        spoil(&lab);
        assert_eq!(lab.report(1, 4, 100, 0).await, OK, "{name}");
        lab.turn().await;
        let view = lab.server.get("/api/v1/jobs/data/DkxD9Kjl").await.json();
        assert_eq!(view["state"], "failed", "{name}");
        let error = view["error"].as_str().unwrap();
        assert!(error.contains(reason), "{name}: {error}");
    }
}

fn edit(lab: &Lab, key: &str, name: &str, value: Value) {
    let mut document = lab.read_json(key);
    document[name] = value;
    lab.write(key, document.to_string().as_bytes());
}

#[tokio::test]
async fn a_link_out_of_the_folder_is_not_followed() {
    let lab = Lab::with_dataset().await;
    lab.take(1, CROPPER).await;
    lab.leave_cells();
    let outside = tempfile::NamedTempFile::new().unwrap();
    let info2 = lab.path("datasets/DkxD9Kjl/info2.json");
    fs::copy(&info2, outside.path()).unwrap();
    fs::remove_file(&info2).unwrap();
    std::os::unix::fs::symlink(outside.path(), &info2).unwrap();
    lab.report(1, 4, 100, 0).await;
    lab.turn().await;
    assert_ne!(lab.state(JobKind::Data, DATASET).await, JobState::Done);
}

async fn in_training() -> Lab {
    let lab = Lab::cut().await;
    lab.project(
        &json!({"kind": "train", "dataset": DATASET, "dir": "TrainAAA", "class": "legacy"}),
    )
    .await;
    assert_eq!(lab.take(2, 5).await["dir"], "TrainAAA");
    lab
}

fn mod_json(path: &str) -> Vec<u8> {
    json!({
        "n_train": 2, "n_classes": 2, "input_shape": "64x64x3",
        "history": [{"model_id": "0", "loss": 0.5, "metric_value": 0.75}], "model_count": 1, "best_model": 0,
        "loss": 0.5, "metric_value": 0.75, "evaluate_value": 0.5, "id": 0, "type": 5, "types": [1, 7], "pid": 1,
        "path": path, "desc": "未保存的模型", "recall": -1, "precision": 0.75,
    })
    .to_string()
    .into_bytes()
}

#[tokio::test]
async fn a_training_puts_its_model_into_the_registry() {
    let lab = in_training().await;
    lab.write("projects/TrainAAA/Modelak.h5", b"\x89HDF of a network");
    let path = lab.path("projects/TrainAAA/Modelak.h5");
    lab.write(
        "projects/TrainAAA/mod.json",
        &mod_json(path.to_str().unwrap()),
    );
    assert_eq!(lab.report(2, 4, 100, 0).await, OK);
    // Whoever wakes late and writes again changes nothing any more.
    lab.write("projects/TrainAAA/Modelak.h5", b"of a zombie");
    lab.turn().await;
    let job = lab.job(JobKind::Train, "TrainAAA").await;
    assert_eq!(job.state, JobState::Done, "{:?}", job.error);
    let model = lab.server.get("/api/v1/models/101").await.json();
    assert_eq!(
        (
            &model["file"],
            &model["mtype"],
            &model["unit_class"],
            &model["input"]["side"]
        ),
        (
            &json!("modules/classifier/101.h5"),
            &json!(5),
            &json!("legacy"),
            &json!(64)
        )
    );
    let file = lab.server.get("/api/v1/models/101/file").await;
    assert_eq!(file.bytes, b"\x89HDF of a network");
    let result = lab.read_json("projects/TrainAAA/mod.json");
    assert_eq!(
        (&result["path"], &result["mid"], &result["desc"]),
        (
            &json!("modules/classifier/101.h5"),
            &json!(101),
            &json!("未保存的模型")
        )
    );
    // Its predictions are for its own workers.
    let promote = json!({"label_type": "cells"});
    let put = json!({"title": "", "algorithm": 1, "labels": ["a", "b"], "mid": 101});
    assert_ne!(
        lab.server
            .put("/api/v1/label-types/cells", &put)
            .await
            .status,
        200
    );
    assert_ne!(
        lab.server
            .post("/api/v1/models/101/promote", &promote)
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_model_outside_of_its_project_is_refused() {
    for path in [
        "/etc/hostname",
        "projects/TrainAAA/../../x.h5",
        "projects/TrainAAA/gone.h5",
    ] {
        let lab = in_training().await;
        lab.write("projects/TrainAAA/mod.json", &mod_json(path));
        assert_eq!(lab.report(2, 4, 100, 0).await, OK);
        lab.turn().await;
        assert_eq!(
            lab.state(JobKind::Train, "TrainAAA").await,
            JobState::Failed,
            "{path}"
        );
        assert_eq!(lab.server.get("/api/v1/models/101").await.status, 404);
    }
}

#[tokio::test]
async fn a_prediction_is_in_review_when_its_file_is_adopted() {
    let lab = Lab::cut().await;
    let mid = lab.register("classifier/mala.h5", 6).await;
    lab.project(&json!({"kind": "predict", "dataset": DATASET, "dir": "PredBBBB", "mid": mid}))
        .await;
    assert_eq!(lab.take(3, 6).await["id"], 1);
    let mut result = lab.read_json("projects/PredBBBB/info.json");
    let cell = "b1.c1.5.a.bmp_1_100_1_100_100_0_200_100_1_100_0_200_100.png";
    let url = format!(
        "{}/projects/PredBBBB/resize_predict/1/{cell}",
        lab.root.path().display()
    );
    result["crop_cells"] = json!([
        {"predict": 51, "type": 1, "url": url, "score": 0.99, "x1": 100, "y1": 0, "x2": 200, "y2": 100, "imgid": 5},
        {"predict": "50", "type": "7", "url": format!("projects/PredBBBB/resize_predict/7/{cell}")},
    ]);
    result["result"] =
        json!([{"type": 1, "total": 1, "correct": 0}, {"type": 7, "total": 1, "correct": 0}]);
    lab.write(
        "projects/PredBBBB/predict2.json",
        result.to_string().as_bytes(),
    );
    assert_eq!(lab.report(3, 4, 100, 0).await, OK);
    lab.turn().await;
    let job = lab.job(JobKind::Predict, "PredBBBB").await;
    assert_eq!(job.state, JobState::Done, "{:?}", job.error);
    let shown = lab.server.get("/api1/jobpercent?id=1&type=3").await.json();
    assert_eq!(
        shown["data"],
        json!({"percent": 100, "ETA": 0, "status": 5})
    );
    let bytes = fs::read(lab.path("projects/PredBBBB/predict2.json")).unwrap();
    let adopted: PredictResult = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(
        adopted.crop_cells[0].url,
        format!("projects/PredBBBB/resize_predict/1/{cell}")
    );
    assert_eq!(adopted.crop_cells[1].imgid, Some(5), "from the cell's name");
    assert_eq!(adopted.result.iter().map(|it| it.total).sum::<u64>(), 2);
    let look = lab
        .post("/api1/job", r#"{"status":5,"type":3}"#)
        .await
        .json();
    assert_eq!(
        look["data"]["cellstype"],
        json!([{"type": 1, "total": 1}, {"type": 7, "total": 1}])
    );
}

#[tokio::test]
async fn what_the_workers_know_nothing_of_is_refused_before_it_waits_for_them() {
    let lab = Lab::cut().await;
    let mid = lab.register("classifier/mala.h5", 6).await;
    for new in [
        json!({"kind": "train", "dataset": DATASET, "class": "legacy", "network": {"epochs": 3}}),
        json!({"kind": "train", "dataset": DATASET, "class": "legacy", "shuffle_labels": true}),
        json!({"kind": "predict", "dataset": DATASET, "mid": mid, "min_side": 17}),
        json!({"kind": "predict", "dataset": DATASET, "mid": mid, "binary": true}),
    ] {
        let answer = lab.server.post("/api/v1/projects", &new).await;
        assert_eq!(answer.status, 422, "{new}: {answer:?}");
    }
    for new in [
        json!({"mtype": 9, "file": "classifier/mala.h5"}),
        json!({"mtype": 6, "file": "classifier/../../etc/passwd"}),
        json!({"mtype": 6, "file": "/etc/passwd"}),
        json!({"mtype": 6, "file": "classifier/gone.h5"}),
        json!({"mtype": 6, "file": "classifier/mala.h5", "side": 0}),
    ] {
        let answer = lab.server.post("/api/v1/models/legacy", &new).await;
        assert_eq!(answer.status, 422, "{new}: {answer:?}");
    }
}
