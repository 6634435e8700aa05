//! Images and CSVs in every order: the same labels at the end.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use cellmill_tests::show::Show;
use cellmill_tests::show::data::{Folder, Row, size_of, stem};
use cellmill_tests::show::figure::Figures;
use cellmill_tests::show::http::{Client, Sent, Upload};
use cellmill_tests::show::process::Mill;
use cellmill_tests::show::wait::wait_until;
use serde_json::{Value, json};

const BATCH: &str = "order";
const DATE: &str = "2019-7-22";
const EARLIER: &str = "2019-7-3";
const LATER: &str = "2019-10-1";

/// What happens to one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Image,
    /// The CSV of `DATE` as it is first sent, corrected, with a row removed: always in this order.
    First,
    Corrected,
    Shortened,
    /// The CSV of another date.
    Other,
}

/// The photograph and the texts of its CSVs.
struct Material {
    image: Vec<u8>,
    name: String,
    csv_name: String,
    first: String,
    corrected: String,
    shortened: String,
    other: String,
    /// What is shown when the shortened or the other CSV is the latest.
    shortened_rows: Vec<Row>,
    other_rows: Vec<Row>,
}

pub(super) async fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    let folder = show.folders()?.remove(0);
    let material = Material::of(&folder)?;
    let root = show.make_place("order")?.join("root");
    let mill = Mill::up(&show.program, &root).await?;
    let classes = show.make_place("order")?.join("classes");
    define_classes(show, &mill, &folder, &classes).await?;
    let orders = orders();
    let (mut n_same, mut n) = (0, 0);
    for (other, waits) in [
        (EARLIER, false),
        (EARLIER, true),
        (LATER, false),
        (LATER, true),
    ] {
        for (i, events) in orders.iter().enumerate() {
            let case = format!("{other}-{waits}-{i}");
            let label = after(mill.client(), &material, &case, other, events, waits).await?;
            let expected = Material::expected(if other == LATER {
                &material.other_rows
            } else {
                &material.shortened_rows
            });
            n += 1;
            if label == expected {
                n_same += 1;
            } else {
                eprintln!("  {events:?} {case}: {label} instead of {expected}");
            }
        }
    }
    figures.exactly("order.same_labels", n_same, "orders of events", n);
    mill.stop().await
}

/// The classes of the data, sent as a folder without photographs.
async fn define_classes(
    show: &Show,
    mill: &Mill,
    folder: &Folder,
    empty: &std::path::Path,
) -> Result<()> {
    let classes = folder.path.join("classes.json");
    if !classes.exists() {
        return Ok(());
    }
    for part in ["img", "csv"] {
        fs::create_dir_all(empty.join(part)).context("make a folder")?;
    }
    fs::copy(&classes, empty.join("classes.json")).context("copy classes.json")?;
    show.import(empty, mill).await.map(drop)
}

/// Every order of the events that keeps the CSVs of one date in theirs.
fn orders() -> Vec<Vec<Event>> {
    let mut orders = Vec::new();
    for image in 0..5 {
        for other in (0..5).filter(|it| *it != image) {
            let mut versions = [Event::First, Event::Corrected, Event::Shortened].into_iter();
            let order = (0..5).filter_map(|at| match at {
                at if at == image => Some(Event::Image),
                at if at == other => Some(Event::Other),
                _ => versions.next(),
            });
            orders.push(order.collect());
        }
    }
    orders
}

/// Lets the events happen and reads the label when nothing is open any more.
async fn after(
    client: &Client,
    material: &Material,
    case: &str,
    other: &str,
    events: &[Event],
    waits: bool,
) -> Result<Value> {
    let limit = Duration::from_secs(30);
    let mut keys = Vec::new();
    for &event in events {
        let key = match client.upload(&material.upload(event, case, other)).await? {
            Sent::Stored(key) => key,
            Sent::Refused(code) => bail!("{event:?} was refused: {code}"),
        };
        if waits {
            client.decided(&key, limit).await?;
        }
        if event == Event::Image {
            keys.insert(0, key);
        } else {
            keys.push(key);
        }
    }
    wait_until(
        "every file is applied",
        limit,
        Duration::from_millis(5),
        async || {
            let states = client.states(&keys).await?;
            let is_done = states
                .iter()
                .all(|it| matches!(it.state.as_str(), "ok" | "applied"));
            Ok(is_done.then_some(()))
        },
    )
    .await
    .with_context(|| format!("{events:?}"))?;
    let label = client
        .get("/api/v1/image/label", &[("key", &keys[0])])
        .await?;
    let cells = label["cells"].as_array().into_iter().flatten();
    let mut shown: Vec<Value> = cells
        .map(|it| json!([it["x"], it["y"], it["class"], it["bbox"]]))
        .collect();
    shown.sort_by_key(Value::to_string);
    Ok(Value::Array(shown))
}

impl Material {
    /// The first photograph whose CSV has at least three good rows.
    fn of(folder: &Folder) -> Result<Self> {
        for image in &folder.images {
            let own = stem(&image.name);
            let csv = folder.csvs.iter().find(|it| {
                (it.batch.as_str(), it.case.as_str(), it.stem.as_str())
                    == (&image.batch, &image.case, own)
            });
            let bytes = fs::read(&image.path).context("read an image")?;
            let Some((csv, size)) = csv.zip(size_of(&bytes)) else {
                continue;
            };
            let text = fs::read_to_string(&csv.path).context("read a CSV")?;
            let lines: Vec<&str> = text.lines().filter(|it| !it.trim().is_empty()).collect();
            if lines.len() < 4 || folder.good_rows(&text, size).len() != lines.len() - 1 {
                continue;
            }
            let with = |lines: &[&str]| lines.join("\n") + "\n";
            let shortened = with(&lines[..lines.len() - 1]);
            let other = with(&lines[..2]);
            return Ok(Self {
                image: bytes,
                name: image.name.clone(),
                csv_name: format!("{own}.csv"),
                // The corrected one puts the rows back that are missing here, and takes one away that is here twice.
                first: with(&[lines[0], lines[1], lines[1]]),
                shortened_rows: folder.good_rows(&shortened, size),
                other_rows: folder.good_rows(&other, size),
                corrected: text.clone(),
                shortened,
                other,
            });
        }
        bail!(
            "no image of {} has a CSV of three good rows",
            folder.path.display()
        )
    }

    fn upload<'a>(&'a self, event: Event, case: &'a str, other: &'a str) -> Upload<'a> {
        let points = |date, text: &'a str| (Some(date), text.as_bytes());
        let (date, content) = match event {
            Event::Image => (None, self.image.as_slice()),
            Event::First => points(DATE, &self.first),
            Event::Corrected => points(DATE, &self.corrected),
            Event::Shortened => points(DATE, &self.shortened),
            Event::Other => points(other, &self.other),
        };
        Upload {
            root: "hospital",
            batch: BATCH,
            case,
            date,
            name: if event == Event::Image {
                &self.name
            } else {
                &self.csv_name
            },
            label_type: None,
            content,
        }
    }

    fn expected(rows: &[Row]) -> Value {
        let bbox = |it: &Row| {
            it.bbox
                .map(|[x1, y1, x2, y2]| json!({"x1": x1, "y1": y1, "x2": x2, "y2": y2}))
        };
        let mut rows: Vec<Value> = rows
            .iter()
            .map(|it| json!([it.x, it.y, it.class, bbox(it)]))
            .collect();
        rows.sort_by_key(Value::to_string);
        Value::Array(rows)
    }
}
