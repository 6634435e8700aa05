//! The kinds of cells that are drawn: they differ in size, nucleus, colour and texture, as those of a Pap smear do.

use serde_json::{Value, json};

/// How one kind of cell looks. Lengths are pixels of an image 768 pixels high, densities are optical ones for
/// red, green and blue.
#[derive(Clone, Debug)]
pub struct CellKind {
    /// Class id, in the range of a lab's own classes.
    pub id: u32,
    pub name: &'static str,
    pub description: &'static str,
    pub is_positive: bool,
    /// How often it comes in a harmless case and in a suspicious one.
    pub(super) weight: (f32, f32),
    /// Radius of the whole cell, from and to.
    pub(super) radius: (f32, f32),
    /// Radius of the nucleus as a part of the cell's.
    pub(super) nucleus: (f32, f32),
    /// How far the outline leaves a circle.
    pub(super) roughness: f32,
    /// How far the nucleus' outline leaves a circle.
    pub(super) nucleus_roughness: f32,
    pub(super) cytoplasm: [f32; 3],
    pub(super) chromatin: [f32; 3],
    /// How coarse the chromatin is: contrast of its texture.
    pub(super) coarseness: f32,
    /// An empty ring around the nucleus.
    pub(super) has_halo: bool,
    /// Parts of the nucleus.
    pub(super) lobes: (u32, u32),
}

/// All kinds, the ones that matter first: `--classes K` takes the first K.
pub const KINDS: [CellKind; 6] = [
    CellKind {
        id: 401,
        name: "Superficial",
        description: "large pink cell with a small dense nucleus",
        is_positive: false,
        weight: (3.0, 2.0),
        radius: (58.0, 80.0),
        nucleus: (0.09, 0.12),
        roughness: 0.14,
        nucleus_roughness: 0.05,
        cytoplasm: [0.06, 0.34, 0.20],
        chromatin: [1.45, 1.50, 0.85],
        coarseness: 0.10,
        has_halo: false,
        lobes: (1, 1),
    },
    CellKind {
        id: 402,
        name: "Intermediate",
        description: "large blue-green cell with a round nucleus",
        is_positive: false,
        weight: (4.0, 3.0),
        radius: (50.0, 72.0),
        nucleus: (0.17, 0.22),
        roughness: 0.12,
        nucleus_roughness: 0.05,
        cytoplasm: [0.36, 0.14, 0.11],
        chromatin: [0.80, 0.75, 0.42],
        coarseness: 0.22,
        has_halo: false,
        lobes: (1, 1),
    },
    CellKind {
        id: 403,
        name: "Parabasal",
        description: "small round dense cell with a large nucleus",
        is_positive: false,
        weight: (2.0, 1.5),
        radius: (24.0, 32.0),
        nucleus: (0.40, 0.48),
        roughness: 0.04,
        nucleus_roughness: 0.04,
        cytoplasm: [0.62, 0.30, 0.20],
        chromatin: [0.85, 0.85, 0.48],
        coarseness: 0.25,
        has_halo: false,
        lobes: (1, 1),
    },
    CellKind {
        id: 404,
        name: "Dysplastic",
        description: "cell with a large dark irregular coarse nucleus and little cytoplasm",
        is_positive: true,
        weight: (0.15, 2.5),
        radius: (28.0, 42.0),
        nucleus: (0.55, 0.70),
        roughness: 0.09,
        nucleus_roughness: 0.13,
        cytoplasm: [0.40, 0.28, 0.16],
        chromatin: [1.30, 1.35, 0.75],
        coarseness: 0.55,
        has_halo: false,
        lobes: (1, 1),
    },
    CellKind {
        id: 405,
        name: "Koilocyte",
        description: "large cell with an empty ring around a dark nucleus",
        is_positive: true,
        weight: (0.15, 1.8),
        radius: (46.0, 64.0),
        nucleus: (0.22, 0.28),
        roughness: 0.11,
        nucleus_roughness: 0.12,
        cytoplasm: [0.34, 0.32, 0.20],
        chromatin: [1.15, 1.15, 0.65],
        coarseness: 0.35,
        has_halo: true,
        lobes: (1, 2),
    },
    CellKind {
        id: 406,
        name: "Leukocyte",
        description: "small white blood cell, its nucleus in two to four lobes",
        is_positive: false,
        weight: (2.5, 3.5),
        radius: (10.0, 13.5),
        nucleus: (0.46, 0.54),
        roughness: 0.05,
        nucleus_roughness: 0.08,
        cytoplasm: [0.12, 0.12, 0.05],
        chromatin: [1.30, 1.25, 0.70],
        coarseness: 0.15,
        has_halo: false,
        lobes: (2, 4),
    },
];

/// `classes.json` of the first `n` kinds, in the form that lies beside image folders.
pub fn class_file(n: usize) -> Value {
    let kinds = &KINDS[..n.min(KINDS.len())];
    let map = |of: fn(&CellKind) -> Value| {
        let pairs = kinds.iter().map(|it| (it.name.to_owned(), of(it)));
        Value::Object(pairs.collect())
    };
    let ids = |positive: bool| -> Vec<u32> {
        let chosen = kinds.iter().filter(|it| it.is_positive == positive);
        chosen.map(|it| it.id).collect()
    };
    json!({
        "ids": map(|it| it.id.into()),
        "description": map(|it| it.description.into()),
        "negative": ids(false),
        "positive": ids(true),
    })
}

#[cfg(test)]
mod tests {
    use cellmill_core::classes::{ClassTable, KnownClasses};

    use super::*;

    #[test]
    fn the_class_file_is_a_class_table_that_contradicts_nothing() {
        for n in 1..=KINDS.len() {
            let text = class_file(n).to_string();
            let table = ClassTable::parse("synth", text.as_bytes()).unwrap();
            assert_eq!(table.classes.len(), n);
            assert!(KnownClasses::new([&table]).conflicts().is_empty());
        }
    }
}
