//! Pictures made up here, where the data has none of the needed size.

use anyhow::{Context as _, Result};

/// A grey PNG of this size; `shade` makes its bytes its own.
pub(super) fn grey_png(width: u32, height: u32, shade: u8) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().context("begin a PNG")?;
    let pixels = vec![shade; width as usize * height as usize];
    writer.write_image_data(&pixels).context("write a PNG")?;
    writer.finish().context("end a PNG")?;
    Ok(bytes)
}
