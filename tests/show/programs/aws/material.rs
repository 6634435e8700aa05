//! Photographs for the scenarios.

use std::path::Path;

use anyhow::{Context as _, Result};
use cellmill_tests::show::Show;
use cellmill_tests::show::cases::some_cases;
use cellmill_tests::show::data::Folder;

/// Some cases of the first folder of the data that has points.
pub(crate) fn photographs(show: &Show, n_cases: usize, to: &Path) -> Result<Folder> {
    let folders = show.folders()?;
    let folder = folders.iter().find(|it| !it.csvs.is_empty());
    let folder = folder.context("no folder of the data has points")?;
    some_cases(folder, n_cases, to)
}

/// Every file of a folder under its key, with its bytes.
pub(crate) fn objects(folder: &Folder) -> Result<Vec<(String, Vec<u8>)>> {
    let images = folder.images.iter().map(|it| (&it.key, &it.path));
    let csvs = folder.csvs.iter().map(|it| (&it.key, &it.path));
    let files = images.chain(csvs);
    files
        .map(|(key, path)| {
            let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
            Ok((key.clone(), bytes))
        })
        .collect()
}

/// A photograph of these sides as an uncompressed TIFF: as large as wanted, and quickly made.
pub(crate) fn plain_tiff(width: u32, height: u32) -> Vec<u8> {
    const HEAD: u32 = 8;
    let n_pixels = width as usize * height as usize;
    let bytes_of = (n_pixels * 3) as u32;
    let bits_at = HEAD + bytes_of;
    let directory_at = bits_at + 6;
    let mut file = Vec::with_capacity(directory_at as usize + 200);
    file.extend(*b"II*\0");
    file.extend(directory_at.to_le_bytes());
    // A slope with a little noise: a flat picture would be refused as blank.
    for at in 0..n_pixels {
        let (x, y) = (at % width as usize, at / width as usize);
        let noise = (at.wrapping_mul(2_654_435_761) >> 24) as u8 & 15;
        let grey = (((x + y) >> 6) as u8).wrapping_add(noise);
        file.extend([grey, grey.wrapping_add(40), 200]);
    }
    file.extend([8, 0, 8, 0, 8, 0]);
    // Tag, type (3: 16 bits, 4: 32 bits), count, value; ascending.
    let entries: [(u16, u16, u32, u32); 10] = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 3, bits_at),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, HEAD),
        (277, 3, 1, 3),
        (278, 4, 1, height),
        (279, 4, 1, bytes_of),
        (284, 3, 1, 1),
    ];
    file.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        file.extend(tag.to_le_bytes());
        file.extend(kind.to_le_bytes());
        file.extend(count.to_le_bytes());
        file.extend(value.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    file
}
