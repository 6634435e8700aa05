//! Broken, odd and malicious files: each ends as the manifest says, in one `up` that goes on serving.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use cellmill_tests::show::Show;
use cellmill_tests::show::figure::Figures;
use cellmill_tests::show::http::{Client, KeyState, Sent, Upload};
use cellmill_tests::show::picture::grey_png;
use cellmill_tests::show::process::Mill;
use cellmill_tests::show::table;

/// The slowest file takes this long on a slow machine, and much less on others.
const LIMIT: Duration = Duration::from_mins(2);
const MAX_RESIDENT_MIB: f64 = 1024.0;
/// The size of the photograph that every CSV of the manifest speaks of.
const CSV_IMAGE: (u32, u32) = (640, 480);

/// A row of manifest.csv.
type Row = HashMap<String, String>;

pub(super) async fn run(show: &Show, figures: &mut Figures) -> Result<()> {
    let manifest = fs::read_to_string(show.hostile("manifest.csv")).context("read manifest.csv")?;
    // Archives belong to the exchange of whole projects.
    let rows: Vec<Row> = table::rows(&manifest)
        .into_iter()
        .filter(|it| it["group"] != "archive")
        .collect();
    let root = show.make_place("hostile")?.join("root");
    let mut mill = Mill::up(&show.program, &root).await?;
    let mut n_as_said = 0;
    let mut slowest = Duration::ZERO;
    for row in &rows {
        let bytes = fs::read(show.hostile(&row["path"])).with_context(|| row["path"].clone())?;
        let begun = Instant::now();
        let decided = decide(mill.client(), row, &bytes).await?;
        slowest = slowest.max(begun.elapsed());
        let verdict = judge(row, &decided, mill.client()).await?;
        if row["expect"] == "either" {
            eprintln!(
                "  {}: {} {}",
                row["path"], decided.state.state, decided.state.code
            );
        }
        match verdict {
            None => n_as_said += 1,
            Some(instead) => eprintln!(
                "  {}: should be {} {}, is {instead}",
                row["path"], row["expect"], row["code"]
            ),
        }
    }
    figures.exactly(
        "hostile.as_the_manifest_says",
        n_as_said,
        "files",
        rows.len(),
    );
    figures.at_most(
        "hostile.peak_memory",
        mill.peak_mib()?,
        "MiB",
        MAX_RESIDENT_MIB,
    );
    figures.told("hostile.slowest_file", slowest.as_secs_f64(), "s");
    let serves = mill.is_alive() && mill.client().is_healthy().await;
    figures.holds("hostile.still_serving", serves);
    let sound = grey_png(64, 48, 7)?;
    let (_, state) = send(mill.client(), &image("sound.png", &sound)).await?;
    figures.holds("hostile.still_taking_images", state.state == "ok");
    mill.stop().await
}

/// What became of a file.
struct Decided {
    /// Of the file, or of the image that it was sent as.
    key: Option<String>,
    state: KeyState,
}

async fn decide(client: &Client, row: &Row, bytes: &[u8]) -> Result<Decided> {
    let name = row["path"].rsplit('/').next().unwrap_or_default();
    if row["group"] != "csv" {
        let (key, state) = send(client, &image(name, bytes)).await?;
        return Ok(Decided { key, state });
    }
    let stem = name.trim_end_matches(".csv");
    let (w, h) = CSV_IMAGE;
    let photograph = grey_png(w, h, 128)?;
    let image_name = format!("{stem}.png");
    let place = |name, date, content| Upload {
        root: "hospital",
        batch: "hostile",
        case: "csv",
        date,
        name,
        label_type: None,
        content,
    };
    let (_, state) = send(client, &place(&image_name, None, &photograph)).await?;
    if state.state != "ok" {
        bail!("the photograph for {name} is {}", state.state);
    }
    let (key, state) = send(client, &place(name, Some("2020-1-1"), bytes)).await?;
    Ok(Decided { key, state })
}

fn image<'a>(name: &'a str, content: &'a [u8]) -> Upload<'a> {
    Upload {
        root: "upload",
        batch: "hostile",
        case: "images",
        date: None,
        name,
        label_type: None,
        content,
    }
}

/// Sends a file and waits for the decision. What is refused at the door is as good as rejected later.
async fn send(client: &Client, file: &Upload<'_>) -> Result<(Option<String>, KeyState)> {
    match client.upload(file).await? {
        Sent::Stored(key) => {
            let state = client.decided(&key, LIMIT).await?;
            Ok((Some(key), state))
        }
        Sent::Refused(code) => {
            let state = "rejected".to_owned();
            Ok((None, KeyState { state, code }))
        }
    }
}

/// `None`: as the manifest says. Else what it is instead.
async fn judge(row: &Row, decided: &Decided, client: &Client) -> Result<Option<String>> {
    let KeyState { state, code } = &decided.state;
    let is_accepted = matches!(state.as_str(), "ok" | "applied");
    let instead = || Some(format!("{state} {code}"));
    Ok(match row["expect"].as_str() {
        "reject" if state == "rejected" && *code == row["code"] => None,
        "either" if is_accepted || state == "rejected" => None,
        "accept" if is_accepted && row["group"] == "csv" => None,
        "accept" if is_accepted => {
            let key = decided.key.as_deref().unwrap_or_default();
            let view = client.get("/api/v1/image", &[("key", key)]).await?;
            let told = (view["width"].as_u64(), view["height"].as_u64());
            (told != upright(row)).then(|| format!("{told:?} instead of {:?}", upright(row)))
        }
        _ => instead(),
    })
}

/// The size that is seen: orientations 5 to 8 turn the stored picture on its side.
fn upright(row: &Row) -> (Option<u64>, Option<u64>) {
    let (w, h) = (row["w"].parse().ok(), row["h"].parse().ok());
    let orientation = row["note"]
        .strip_prefix("Orientation=")
        .and_then(|it| it.chars().next());
    if matches!(orientation, Some('5'..='8')) {
        (h, w)
    } else {
        (w, h)
    }
}
