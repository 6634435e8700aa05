//! A small project in memory: painted cells in packs, frozen pieces, units to run.

use std::collections::BTreeMap;

use bytes::Bytes;
use cellmill_core::boxes::BBox;
use cellmill_core::document::Stamp;
use cellmill_core::formats::{CellImage, InputCell, InputPack, ProjectInput};
use cellmill_core::ids::{Dir, TableName, sha256_hex};
use cellmill_core::job::{JobParameters, JobRecord};
use cellmill_core::keys::{JobKind, ModelKey, ObjectKey, ProjectFile, UnitKey};
use cellmill_core::messages::UnitClass;
use cellmill_core::model::{ModelCard, TrainReport};
use cellmill_core::records::{LabelTypeSettings, Named};
use cellmill_core::split::SplitRule;
use cellmill_core::training::{NetworkSettings, PredictParameters, TrainParameters};
use cellmill_nets::Device;
use cellmill_store::{Put, Store};
use cellmill_vision::pack::write_pack;
use cellmill_vision::{DecodeBudget, Limits, RgbImage, encode_png};
use cellmill_worker::{Algorithm, Context, Failure, Outcome, Unit};

use crate::Bench;
use crate::algorithms::train::TrainAlgorithm;

/// Cells cut out of one image.
const CELLS_PER_IMAGE: usize = 4;

/// The shared parts of a process with two threads.
pub(crate) fn bench() -> Bench {
    let device = Device::Cpu.open().unwrap();
    Bench::new(Limits::default(), DecodeBudget::default(), &device, 2).unwrap()
}

/// A round cell in the colour of its class, a little different from all others.
pub(crate) fn painted(class: u32, number: usize, side: u32) -> RgbImage {
    let mut image = RgbImage::filled(side, side, [236, 228, 232]);
    let jitter = |step: usize| (number * step % 31) as u8;
    let color = match class {
        301 => [190 + jitter(7), 70 + jitter(5), 80 + jitter(3)],
        302 => [90 + jitter(7), 60 + jitter(5), 190 + jitter(3)],
        _ => [80 + jitter(7), 190 + jitter(5), 90 + jitter(3)],
    };
    let (middle, radius) = (side / 2, side / 4 + (number % 5) as u32);
    for (x, y) in (0..side).flat_map(|x| (0..side).map(move |y| (x, y))) {
        if x.abs_diff(middle).pow(2) + y.abs_diff(middle).pow(2) <= radius * radius {
            image.set_pixel(x, y, color);
        }
    }
    image
}

/// A store with a frozen project.
pub(crate) struct Lab {
    pub(crate) store: Store,
    pub(crate) dir: Dir,
    pub(crate) pieces: Vec<ProjectInput>,
}

impl Lab {
    /// `n` cells of these classes in turn, four an image and four images a case, in two pieces with a pack each. `name`
    /// makes the names of batch, case and file; `picture` the files.
    pub(crate) async fn new(
        n: usize,
        classes: &[u32],
        name: impl Fn(&str, usize) -> String,
        picture: impl Fn(u32, usize) -> Vec<u8>,
    ) -> Self {
        let store = Store::memory();
        let dir = Dir::parse("ek1roy1R").unwrap();
        let mut pieces = Vec::new();
        for (number, from) in [0, n / 2].into_iter().enumerate() {
            let cells = if number == 0 { 0..n / 2 } else { from..n };
            let mut piece = ProjectInput {
                v: 1,
                piece: number as u32,
                ..ProjectInput::default()
            };
            let mut bodies = BTreeMap::new();
            for at in cells {
                let image = at / CELLS_PER_IMAGE;
                let sha256 = sha256_hex(&image.to_le_bytes());
                let known = piece.images.iter().position(|it| it.sha256 == sha256);
                let image_at = known.unwrap_or_else(|| {
                    let (batch, case) = (name("batch", 0), name("case", image / 4));
                    piece.images.push(CellImage {
                        key: format!("img/{batch}/{case}/Images/{}.png", name("image", image)),
                        imgid: image as u64,
                        sha256,
                        batch,
                        case,
                        part: None,
                    });
                    piece.images.len() - 1
                });
                let class = classes[at % classes.len()];
                let left = (at % CELLS_PER_IMAGE) as u32 * 50;
                let cell_name = format!("{}_{class}.png", name("cell", at));
                bodies.insert(cell_name.clone(), picture(class, at));
                piece.cells.push(InputCell {
                    name: cell_name,
                    pack: 0,
                    image: image_at as u32,
                    class,
                    crop: BBox::new(left, 0, left + 40, 40),
                    kernel: Some(BBox::new(left + 10, 10, left + 30, 12 + (at % 20) as u32)),
                });
            }
            let pack = write_pack(bodies).unwrap();
            let key = format!(
                "datasets/DkxD9Kjl/packs/{number:05}-{}.zip",
                &sha256_hex(&pack)[..16]
            );
            piece.packs.push(InputPack {
                key: key.clone(),
                bytes: pack.len() as u64,
            });
            store.put_bytes(&key, pack, Put::Overwrite).await.unwrap();
            pieces.push(piece);
        }
        let lab = Self { store, dir, pieces };
        lab.freeze().await;
        lab
    }

    /// Cells of 40 pixels with plain names.
    pub(crate) async fn plain(n: usize, classes: &[u32]) -> Self {
        let picture = |class, at| encode_png(&painted(class, at, 40));
        Self::new(n, classes, |what, at| format!("{what}{at:03}"), picture).await
    }

    pub(crate) async fn freeze(&self) {
        for piece in &self.pieces {
            let file = ProjectFile::Input { piece: piece.piece };
            let key = ObjectKey::Project(self.dir.clone(), file);
            let put = self.store.put_bytes(&key, piece.to_bytes(), Put::Overwrite);
            put.await.unwrap();
        }
    }

    pub(crate) fn unit(&self, parameters: JobParameters, unit: u32, attempt: u32) -> Unit {
        let kind: JobKind = parameters.kind();
        let (by, now) = ("local".to_owned(), self.store.now());
        let job = JobRecord::accepted(self.dir.clone(), 1, parameters, UnitClass::cpu(), by, now);
        Unit {
            key: UnitKey {
                dir: self.dir.clone(),
                kind,
                unit,
            },
            attempt,
            job,
            checkpoints: Vec::new(),
        }
    }

    /// Runs one unit; what it left, by name, and the inputs that it left out.
    pub(crate) async fn try_run(
        &self,
        algorithm: &dyn Algorithm,
        unit: &Unit,
    ) -> (
        Result<BTreeMap<String, Bytes>, Failure>,
        Vec<(String, String)>,
    ) {
        let mut context = Context::unsupervised(self.store.clone(), unit);
        let outcome = algorithm.run(unit, &mut context).await;
        let rejected = context.rejected_inputs().into_iter();
        let rejected = rejected.map(|it| (it.key, it.code)).collect();
        let Outcome { outputs } = match outcome {
            Ok(outcome) => outcome,
            Err(failure) => return (Err(failure), rejected),
        };
        let mut files = BTreeMap::new();
        for output in outputs {
            let bytes = self.store.get_bytes(&output.key).await.unwrap();
            assert_eq!(sha256_hex(&bytes), output.sha256);
            files.insert(output.name, bytes);
        }
        (Ok(files), rejected)
    }

    /// Puts a trained model into the registry, as collecting does.
    pub(crate) async fn register(&self, files: &BTreeMap<String, Bytes>) -> ModelCard {
        let report: TrainReport = serde_json::from_slice(&files["report"]).unwrap();
        let key = ModelKey::of_number(report.card.kind, report.card.mid);
        let file = ObjectKey::Model(key.clone());
        let put = self
            .store
            .put_bytes(&file, files["model"].clone(), Put::Overwrite);
        put.await.unwrap();
        let card = report.card.clone();
        self.store
            .create(&ObjectKey::ModelCard(key), card)
            .await
            .unwrap();
        report.card
    }

    pub(crate) async fn label_type(
        &self,
        name: &str,
        algorithm: u32,
        mid: Option<u64>,
    ) -> TableName {
        let name = TableName::parse(name).unwrap();
        let settings = Named {
            stamp: Stamp::default(),
            name: name.to_string(),
            value: LabelTypeSettings {
                title: name.to_string(),
                algorithm,
                labels: Vec::new(),
                mid,
                detector: None,
                training_interval_days: None,
                train_now: false,
                last_training: None,
            },
        };
        let key = ObjectKey::LabelType(name.clone());
        self.store.create(&key, settings).await.unwrap();
        name
    }
}

/// What a training of 160 red and blue cells left: model 100, side 32. Made once for all tests.
pub(crate) async fn trained() -> &'static BTreeMap<String, Bytes> {
    static FILES: tokio::sync::OnceCell<BTreeMap<String, Bytes>> =
        tokio::sync::OnceCell::const_new();
    let train = async || {
        let lab = Lab::plain(160, &[301, 302]).await;
        let unit = lab.unit(JobParameters::Train(training(&[301, 302])), 0, 1);
        let (files, _) = lab.try_run(&TrainAlgorithm::new(bench()), &unit).await;
        files.unwrap()
    };
    FILES.get_or_init(train).await
}

/// A training that takes a second and tells red from blue.
pub(crate) fn training(types: &[u32]) -> TrainParameters {
    TrainParameters {
        ddir: Dir::parse("DkxD9Kjl").unwrap(),
        did: 1,
        mid: 100,
        types: types.to_vec(),
        merge: Vec::new(),
        resize: 32,
        time: 0,
        split: SplitRule::Case,
        seed: 5,
        network: NetworkSettings {
            scale: "small".to_owned(),
            features: 32,
            epochs: 6,
            // Many small steps: the statistics of batches need them.
            batch: 8,
            augment: false,
            ..NetworkSettings::default()
        },
        detector: None,
        propose_for: None,
        shuffle_labels: false,
        profile: false,
    }
}

pub(crate) fn prediction(mid: u64) -> PredictParameters {
    PredictParameters {
        ddir: Dir::parse("DkxD9Kjl").unwrap(),
        did: 1,
        mid,
        types: Vec::new(),
        is_labelled: true,
        binary: false,
        target_recall: None,
        min_side: None,
        filter_mid: None,
    }
}

/// The text of a failure that no attempt can mend.
pub(crate) fn permanent<T: std::fmt::Debug>(result: Result<T, Failure>) -> String {
    match result {
        Err(Failure::Permanent { what, .. }) => what,
        other => panic!("{other:?}"),
    }
}
