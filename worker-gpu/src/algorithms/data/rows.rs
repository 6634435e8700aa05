//! Names, keys and rows of the cells of one image.

use cellmill_core::cell_name::CellName;
use cellmill_core::formats::CellsListRow;
use cellmill_core::job::DataParameters;
use cellmill_core::keys::{ImageKey, ObjectKey};
use cellmill_core::snapshot::InputImage;

use super::plan::Cut;

/// An image with what all its cells share.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) image: &'a InputImage,
    pub(super) key: &'a ImageKey,
    pub(super) parameters: &'a DataParameters,
}

impl Source<'_> {
    /// The documented file name of a cell, the newest version.
    pub(super) fn name(&self, cut: &Cut) -> String {
        let name = CellName {
            batch: self.image.batch.clone(),
            case: self.image.case.clone(),
            imgid: self.image.imgid,
            image: self.image.name.clone(),
            gray: self.parameters.gray,
            size: self.parameters.size,
            kind: self.parameters.data_type,
            mid: self.parameters.mid,
            crop: cut.crop,
            class: cut.class,
            kernel: cut.kernel,
        };
        name.to_string()
    }

    /// Where a cell lies as a loose picture.
    pub(super) fn cell_key(&self, name: String) -> ObjectKey {
        ObjectKey::Cell {
            batch: self.key.batch.clone(),
            case: self.key.case.clone(),
            name,
        }
    }

    pub(super) fn row(&self, cut: &Cut) -> CellsListRow {
        CellsListRow {
            batchid: self.image.batch.clone(),
            medicalid: self.image.case.clone(),
            imgid: Some(self.image.imgid),
            imgname: self.image.name.clone(),
            imgpath: Some(self.image.key.clone()),
            p1n0: 0,
            gray: self.parameters.gray,
            size: self.parameters.size,
            data_type: self.parameters.data_type,
            mid: self.parameters.mid,
            cache: self.parameters.cache,
            cellpath: self.cell_key(self.name(cut)).to_path(),
            crop: cut.crop,
            celltype: cut.class,
            kernel: Some(cut.kernel),
            duplicate: cut.duplicate,
        }
    }
}
