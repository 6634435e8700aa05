//! The classical cell finder (`mid` 0, FORMATS E.1): Canny with Otsu thresholds, splitting
//! of touching cells, filling, a size filter. No model, no training, no random.
//!
//! Only whole numbers and the operations that every machine rounds alike are used, so all
//! find the same cells.

mod canny;
mod choice;
mod find;
mod nuclei;
mod otsu;
mod outline;
mod plane;
mod settings;
mod shape;
mod split;
mod votes;

pub use find::{Detection, find_cells};
pub use settings::FinderSettings;
