//! One unit of a data job, image by image.

use async_trait::async_trait;
use bytes::Bytes;
use cellmill_core::boxes::BBox;
use cellmill_core::formats::CellsListRow;
use cellmill_core::job::{DataParameters, DataType, JobParameters};
use cellmill_core::keys::{DatasetFile, ImageKey, JobKind, ObjectKey};
use cellmill_core::snapshot::{InputImage, UnitInput};
use cellmill_vision::{CellCutter, Decoded, resize};
use cellmill_worker::{Algorithm, Context, Failure, Outcome, Unit};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::cached;
use super::finder::Finder;
use super::image::{ImageError, ImageReader};
use super::packer::{MAX_BYTES, Packer};
use super::plan::{Cut, by_both, by_detections, by_image, by_points};
use super::rows::Source;
use crate::bench::Bench;
use crate::compute::{Compute, Threads};
use crate::models::{ModelError, Models};

/// Cells cut and written before the next ones: what is in memory beside the image and the pack.
const CELLS_AT_ONCE: usize = 256;
/// Loose pictures written at once: each waits for the disk.
const PARALLEL_WRITES: usize = 16;
/// The form of the frozen input that this code reads.
const INPUT_VERSION: u32 = 1;

/// Cuts the cells of data sets, or takes whole images. One for a process: its units share the memory for images.
#[derive(Debug)]
pub struct DataAlgorithm {
    reader: ImageReader,
    models: Models,
    compute: Compute,
    max_pack_bytes: usize,
}

/// What came of one image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    rows: usize,
    cells: usize,
    cached: usize,
}

impl DataAlgorithm {
    pub fn new(bench: &Bench) -> Self {
        Self {
            reader: ImageReader::new(bench.limits.clone(), bench.budget.clone()),
            models: bench.models.clone(),
            compute: bench.compute.clone(),
            max_pack_bytes: MAX_BYTES,
        }
    }

    /// The same with packs of another size, for tests.
    #[cfg(test)]
    pub(super) fn with_packs_of(self, max_pack_bytes: usize) -> Self {
        Self {
            max_pack_bytes,
            ..self
        }
    }
}

#[async_trait]
impl Algorithm for DataAlgorithm {
    fn kinds(&self) -> &[JobKind] {
        &[JobKind::Data]
    }

    async fn run(&self, unit: &Unit, context: &mut Context) -> Result<Outcome, Failure> {
        let JobParameters::Data(parameters) = &unit.job.parameters else {
            return Err(Failure::Permanent {
                what: format!("job `{}` is no data job", unit.job.dir),
                source: None,
            });
        };
        let finder = if parameters.data_type.detects() {
            let finder = Finder::of(parameters, &self.models, context.store()).await;
            finder.map_err(ModelError::failure)?
        } else {
            Finder::classical()
        };
        let input = read_input(unit, context).await?;
        let mut work = Work {
            reader: &self.reader,
            finder,
            compute: &self.compute,
            parameters,
            packer: Packer::new(unit.key.clone(), self.max_pack_bytes),
            table: Vec::new(),
        };
        CellsListRow::write_header(&mut work.table);
        let mut all = Counts::default();
        for (idx, image) in input.images.iter().enumerate() {
            context.check_stop()?;
            match work.image(image, context).await {
                Ok(counts) => {
                    all.add(counts);
                    context.info(&format!("{}: {counts}", image.key));
                }
                Err(ImageError::Rejected { code, reason }) => {
                    context.rejected(&image.key, code, reason);
                }
                Err(ImageError::Failed(failure)) => return Err(failure),
            }
            let percent = 95.0 * (idx + 1) as f64 / input.images.len() as f64;
            context.report(
                percent,
                &format!("image {} of {}", idx + 1, input.images.len()),
            );
        }
        context.info(&format!("{} images: {all}", input.images.len()));
        let mut outputs = vec![context.write_output("rows", "rows.csv", work.table).await?];
        outputs.extend(work.packer.finish(context).await?);
        Ok(Outcome { outputs })
    }
}

async fn read_input(unit: &Unit, context: &Context) -> Result<UnitInput, Failure> {
    let key = ObjectKey::Dataset(
        unit.key.dir.clone(),
        DatasetFile::Input {
            unit: unit.key.unit,
        },
    );
    let read = context.store().read_json::<UnitInput>(&key).await;
    let read = read.map_err(|error| {
        Failure::of_store(format!("could not read the frozen input `{key}`"), error)
    })?;
    let refuse = |what| Failure::Permanent { what, source: None };
    let input = read
        .ok_or_else(|| refuse(format!("the frozen input `{key}` does not exist")))?
        .value;
    if input.v > INPUT_VERSION {
        return Err(refuse(format!(
            "frozen input `{key}` has version {}, this program reads up to {INPUT_VERSION}",
            input.v
        )));
    }
    Ok(input)
}

/// What a unit builds up from image to image.
struct Work<'a> {
    reader: &'a ImageReader,
    finder: Finder,
    compute: &'a Compute,
    parameters: &'a DataParameters,
    packer: Packer,
    table: Vec<u8>,
}

impl Work<'_> {
    /// All cells of one image, or none of them.
    async fn image(&mut self, image: &InputImage, context: &Context) -> Result<Counts, ImageError> {
        let parameters = self.parameters;
        let key: ImageKey = image
            .key
            .parse()
            .map_err(|error| Failure::permanent("frozen input is malformed", error))?;
        let source = Source {
            image,
            key: &key,
            parameters,
        };
        if parameters.data_type == DataType::Points {
            let cuts = by_points(image, parameters.size);
            if cuts.len() < image.points.len() {
                let n_lost = image.points.len() - cuts.len();
                context.warn(&format!(
                    "{}: {n_lost} points lie outside of the image",
                    image.key
                ));
            }
            return self.points(&source, &cuts, context).await;
        }
        if parameters.data_type == DataType::WholeImage {
            return self.whole(&source, context).await;
        }
        let decoded = self.reader.open(context.store(), image).await?;
        let found = self.finder.find(&decoded.image, Threads::All(self.compute));
        let found = found.map_err(|it| Failure::permanent("cells could not be looked for", it))?;
        let cuts = match parameters.data_type {
            DataType::Both => by_both(image, &found, parameters),
            _ => by_detections(image, &found, parameters.size),
        };
        self.cut(&source, &cuts, &decoded, context).await
    }

    /// The image itself, scaled to a square of the crop's size, with the class of its label. An image without one is
    /// no row.
    async fn whole(
        &mut self,
        source: &Source<'_>,
        context: &Context,
    ) -> Result<Counts, ImageError> {
        let Some(cut) = by_image(source.image) else {
            return Ok(Counts::default());
        };
        let decoded = self.reader.open(context.store(), source.image).await?;
        let side = self.parameters.size;
        let square = resize(&decoded.image, side, side);
        let png = CellCutter::new(&square, &source.image.sha256)
            .color(BBox::new(0, 0, side, side))
            .expect("the square is the whole picture");
        let cells = vec![(source.name(&cut), png)];
        if self.parameters.cache {
            write_loose(source, &cells, context).await?;
        }
        for (name, png) in cells {
            self.packer.add(context, name, png).await?;
        }
        self.list(source, &[cut]);
        Ok(Counts {
            rows: 1,
            cells: 1,
            cached: 0,
        })
    }

    /// The cells of a type whose places are known without the pixels.
    async fn points(
        &mut self,
        source: &Source<'_>,
        cuts: &[Cut],
        context: &Context,
    ) -> Result<Counts, ImageError> {
        let own: Vec<&Cut> = cuts.iter().filter(|it| !it.duplicate).collect();
        if own.is_empty() {
            return Ok(Counts::default());
        }
        if self.parameters.cache
            && let Some(pictures) = cached::all(context.store(), source, &own).await?
        {
            for (cut, picture) in own.iter().zip(pictures) {
                self.packer
                    .add(context, source.name(cut), picture.into())
                    .await?;
            }
            self.list(source, cuts);
            return Ok(Counts {
                rows: cuts.len(),
                cells: own.len(),
                cached: own.len(),
            });
        }
        let decoded = self.reader.open(context.store(), source.image).await?;
        self.cut(source, cuts, &decoded, context).await
    }

    async fn cut(
        &mut self,
        source: &Source<'_>,
        cuts: &[Cut],
        decoded: &Decoded,
        context: &Context,
    ) -> Result<Counts, ImageError> {
        let own: Vec<&Cut> = cuts.iter().filter(|it| !it.duplicate).collect();
        let mut cutter = CellCutter::new(&decoded.image, &source.image.sha256);
        for part in own.chunks(CELLS_AT_ONCE) {
            context.check_stop()?;
            let mut cells = Vec::with_capacity(part.len());
            for cut in part {
                let png = cutter
                    .color(cut.crop)
                    .expect("a crop is planned inside of the image");
                cells.push((source.name(cut), png));
            }
            if self.parameters.cache {
                write_loose(source, &cells, context).await?;
            }
            for (name, png) in cells {
                self.packer.add(context, name, png).await?;
            }
        }
        self.list(source, cuts);
        Ok(Counts {
            rows: cuts.len(),
            cells: own.len(),
            cached: 0,
        })
    }

    fn list(&mut self, source: &Source<'_>, cuts: &[Cut]) {
        let rows: Vec<CellsListRow> = cuts.iter().map(|it| source.row(it)).collect();
        CellsListRow::write_rows(&rows, &mut self.table);
    }
}

/// Writes pictures where other data sets look for them.
async fn write_loose(
    source: &Source<'_>,
    cells: &[(String, Vec<u8>)],
    context: &Context,
) -> Result<(), Failure> {
    let loose: Vec<(ObjectKey, Bytes)> = cells
        .iter()
        .map(|(name, png)| (source.cell_key(name.clone()), Bytes::copy_from_slice(png)))
        .collect();
    stream::iter(loose)
        .map(|(key, png)| async move { context.write_cached(&key, png).await })
        .buffer_unordered(PARALLEL_WRITES)
        .try_collect()
        .await
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.cells += other.cells;
        self.cached += other.cached;
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} rows, {} cells, {} of them cached",
            self.rows, self.cells, self.cached
        )
    }
}
