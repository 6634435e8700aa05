//! Pictures made up here, where the data has none of the needed kind, and reading those that programs made.

use anyhow::{Context as _, Result};

/// A grey PNG of this size; `shade` makes its bytes its own.
pub fn grey_png(width: u32, height: u32, shade: u8) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().context("begin a PNG")?;
    let pixels = vec![shade; width as usize * height as usize];
    writer.write_image_data(&pixels).context("write a PNG")?;
    writer.finish().context("end a PNG")?;
    Ok(bytes)
}

/// Width and height of a PNG that can be decoded to its end.
pub fn decoded_png(bytes: &[u8]) -> Result<(u32, u32)> {
    let decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    let mut reader = decoder.read_info().context("read the header of a PNG")?;
    let n_bytes = reader.output_buffer_size().context("a PNG of some size")?;
    let mut pixels = vec![0; n_bytes];
    let info = reader.next_frame(&mut pixels).context("read a PNG")?;
    Ok((info.width, info.height))
}
