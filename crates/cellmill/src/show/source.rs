//! Where image, label and classes come from: a server, a root folder, or the folder of an import.

use std::fs;
use std::path::{Path, PathBuf};

use cellmill_core::boxes::BBox;
use cellmill_core::classes::{ClassTable, KnownClasses};
use cellmill_core::formats::CellsList;
use cellmill_core::ids::{Dir, PointsDate};
use cellmill_core::keys::{DatasetFile, ImageKey, ObjectKey, Prefix};
use cellmill_core::label::{LabelDocument, fold, is_later};
use cellmill_core::points;
use cellmill_core::records::Named;
use cellmill_store::Store;
use futures::TryStreamExt as _;

use crate::cli::Error;
use crate::client::Client;

use super::marks::{Classes, Drawn, colour};

/// Where to look.
#[derive(Debug)]
pub(super) enum Source {
    Server(Client),
    Folder(Store),
}

impl Source {
    pub(super) async fn image(&self, key: &ImageKey) -> Result<Vec<u8>, Error> {
        match self {
            Self::Server(client) => Ok(client.image_bytes(&key.to_path()).await?),
            Self::Folder(store) => {
                let bytes = store.get_bytes(&ObjectKey::Image(key.clone())).await;
                Ok(bytes.map_err(Error::inner("read the image"))?.to_vec())
            }
        }
    }

    /// What the label says, all layers together.
    pub(super) async fn label(&self, key: &ImageKey) -> Result<Vec<Drawn>, Error> {
        match self {
            Self::Server(client) => {
                let label = client.label(&key.to_path()).await?;
                let drawn = label.cells.into_iter().map(|it| Drawn::Labelled {
                    x: it.x,
                    y: it.y,
                    bbox: it.bbox.map(|it| BBox::new(it.x1, it.y1, it.x2, it.y2)),
                    class: it.class,
                });
                Ok(drawn.collect())
            }
            Self::Folder(store) => {
                let key = ObjectKey::Label(key.clone());
                let label = store.read::<LabelDocument>(&key).await;
                let Some(label) = label.map_err(Error::inner("read the label"))? else {
                    return Ok(Vec::new());
                };
                let drawn = fold(&label.value)
                    .cells
                    .into_iter()
                    .map(|it| Drawn::Labelled {
                        x: it.place.x,
                        y: it.place.y,
                        bbox: it.place.bbox,
                        class: it.class,
                    });
                Ok(drawn.collect())
            }
        }
    }

    /// The cells that a data set cut from the image.
    pub(super) async fn cells(&self, dir: &Dir, key: &ImageKey) -> Result<Vec<Drawn>, Error> {
        let mut drawn = Vec::new();
        for part in 0.. {
            match self.cells_list(dir, part).await? {
                Some(table) => drawn.extend(cells_of(&table, key)?),
                None if part == 0 => {
                    return Err(Error::Usage {
                        what: format!("data set `{dir}` has no cellslist.csv"),
                        hint: Some("is it done? see `cellmill jobs ls`".to_owned()),
                    });
                }
                None => break,
            }
        }
        Ok(drawn)
    }

    async fn cells_list(&self, dir: &Dir, part: u32) -> Result<Option<Vec<u8>>, Error> {
        let file = DatasetFile::CellsList { part };
        let key = ObjectKey::Dataset(dir.clone(), file);
        match self {
            Self::Server(client) => {
                let path = key.to_path();
                let name = path.rsplit('/').next().unwrap_or_default();
                match client.dataset_file(dir.as_str(), name).await {
                    Ok(bytes) => Ok(Some(bytes)),
                    Err(error) if error.status() == Some(404) => Ok(None),
                    Err(error) => Err(error.into()),
                }
            }
            Self::Folder(store) => {
                let action = || Error::inner("read the data set");
                if store.head(&key).await.map_err(action())?.is_none() {
                    return Ok(None);
                }
                let bytes = store.get_bytes(&key).await.map_err(action())?;
                Ok(Some(bytes.to_vec()))
            }
        }
    }

    pub(super) async fn classes(&self) -> Result<Classes, Error> {
        match self {
            Self::Server(client) => {
                let tables = client.classes().await?;
                let classes = tables.into_iter().flat_map(|it| it.classes);
                let known = classes.filter_map(|it| Some((it.id, (it.name, colour(&it.colour)?))));
                // The earlier definition counts, so later ones must not replace it.
                let mut all = Classes::new();
                for (id, it) in known {
                    all.entry(id).or_insert(it);
                }
                Ok(all)
            }
            Self::Folder(store) => {
                let action = || Error::inner("read the class tables");
                let listed = store.list(&Prefix::ClassTables.to_path());
                let listed: Vec<_> = listed.try_collect().await.map_err(action())?;
                let mut tables = Vec::new();
                for it in listed {
                    let table = store.read::<Named<ClassTable>>(&it.key).await;
                    tables.extend(table.map_err(action())?.map(|it| it.value.value));
                }
                Ok(named(&tables))
            }
        }
    }
}

fn cells_of(table: &[u8], key: &ImageKey) -> Result<Vec<Drawn>, Error> {
    let wanted = key.to_path();
    let rows = CellsList::new(table).map_err(Error::inner("read cellslist.csv"))?;
    let mut drawn = Vec::new();
    for row in rows {
        let row = row.map_err(Error::inner("read cellslist.csv"))?;
        if row.imgpath.as_deref() == Some(&wanted) && !row.duplicate {
            drawn.push(Drawn::Cut {
                crop: row.crop,
                kernel: row.kernel,
                class: row.celltype,
            });
        }
    }
    Ok(drawn)
}

fn named(tables: &[ClassTable]) -> Classes {
    let known = KnownClasses::new(tables);
    let classes = known.iter();
    classes
        .filter_map(|it| Some((it.id, (it.name.clone(), colour(&it.colour)?))))
        .collect()
}

/// The doctor's own CSV beside the image, of its latest date.
pub(super) fn truth(folder: &Path, key: &ImageKey) -> Result<Vec<Drawn>, Error> {
    let Some(file) = csv_beside(folder, key)? else {
        return Ok(Vec::new());
    };
    let bytes = fs::read(&file).map_err(Error::file("read", &file))?;
    let points = points::parse(&bytes, points::CsvLimits::default(), |_| true);
    let points = points.map_err(|error| Error::Malformed {
        path: file,
        source: error.into(),
    })?;
    let drawn = points.rows.into_iter().map(|it| Drawn::Labelled {
        x: it.x,
        y: it.y,
        bbox: it.bbox,
        class: it.class,
    });
    Ok(drawn.collect())
}

/// The file of that CSV.
pub(super) fn csv_beside(folder: &Path, key: &ImageKey) -> Result<Option<PathBuf>, Error> {
    let dates = folder.join("csv").join(key.batch.as_str());
    let stem = key.name.stem();
    let mut latest: Option<(PointsDate, PathBuf)> = None;
    for entry in fs::read_dir(&dates).map_err(Error::file("read", &dates))? {
        let name = entry.map_err(Error::file("read", &dates))?.file_name();
        let Some(date) = name.to_str().and_then(|it| PointsDate::parse(it).ok()) else {
            continue;
        };
        let file = dates
            .join(date.as_str())
            .join(key.case.as_str())
            .join(format!("{stem}.csv"));
        let is_newer = latest.as_ref().is_none_or(|(it, _)| is_later(&date, it));
        if file.is_file() && is_newer {
            latest = Some((date, file));
        }
    }
    Ok(latest.map(|(_, file)| file))
}

/// The classes of an import's folder.
pub(super) fn classes_beside(folder: &Path) -> Result<Classes, Error> {
    let file = folder.join("classes.json");
    if !file.is_file() {
        return Ok(named(&[]));
    }
    let bytes = fs::read(&file).map_err(Error::file("read", &file))?;
    let table = ClassTable::parse("classes", &bytes).map_err(|error| Error::Malformed {
        path: file,
        source: error.into(),
    })?;
    Ok(named(&[table]))
}
