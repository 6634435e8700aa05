//! What can be chosen about the finder.

/// Settings of [`find_cells`](super::find_cells). The defaults were chosen on blood smears.
#[derive(Clone, Debug, PartialEq)]
pub struct FinderSettings {
    /// How often the image is smoothed before edges are sought; each pass is a binomial
    /// filter of five taps, sigma 1.
    pub blur_passes: u32,
    /// Canny's low threshold as a share of the high one (FORMATS E.1: 0.4 to 0.5).
    pub low_ratio: f64,
    /// Cells of a lower score are dropped.
    pub min_score: f64,
    /// Of two boxes that overlap more than this (intersection over union), the one of the
    /// lower score is dropped.
    pub max_overlap: f64,
    /// How much narrower than its cell a neck in the filled mask must be to be cut, as a
    /// share of the cell's half width: 0 cuts at every dent, 1 never.
    pub split_depth: f64,
    /// Boxes of fewer pixels are dropped.
    pub min_area: u32,
    /// Boxes of more pixels are dropped; 0 is no bound.
    pub max_area: u32,
}

impl Default for FinderSettings {
    fn default() -> Self {
        Self {
            blur_passes: 2,
            low_ratio: 0.5,
            min_score: 0.58,
            max_overlap: 0.4,
            split_depth: 0.2,
            min_area: 64,
            max_area: 0,
        }
    }
}
