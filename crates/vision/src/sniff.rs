//! What kind of file bytes are, judged by content and never by name.

use std::fmt;

/// The image formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    Jpeg,
    Png,
    Tiff,
    Bmp,
    WebP,
    Gif,
}

impl Format {
    /// The name in records and messages: `jpeg`, `png`, `tiff`, `bmp`, `webp`, `gif`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Tiff => "tiff",
            Self::Bmp => "bmp",
            Self::WebP => "webp",
            Self::Gif => "gif",
        }
    }

    /// The type to serve such bytes under.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Tiff => "image/tiff",
            Self::Bmp => "image/bmp",
            Self::WebP => "image/webp",
            Self::Gif => "image/gif",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The image format of `bytes`, or a guess at what else they are.
///
/// The first few dozen bytes are enough.
///
/// ```
/// use cellmill_vision::sniff::{Format, sniff};
/// assert_eq!(sniff(b"\xFF\xD8\xFF\xE0"), Ok(Format::Jpeg));
/// assert_eq!(sniff(b"%PDF-1.7"), Err("a PDF document"));
/// ```
pub fn sniff(bytes: &[u8]) -> Result<Format, &'static str> {
    if bytes.starts_with(b"\xFF\xD8\xFF") {
        Ok(Format::Jpeg)
    } else if bytes.starts_with(b"\x89PNG\r\n\x1A\n") {
        Ok(Format::Png)
    } else if [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"]
        .iter()
        .any(|it| bytes.starts_with(*it))
    {
        Ok(Format::Tiff)
    } else if is_bmp(bytes) {
        Ok(Format::Bmp)
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        Ok(Format::WebP)
    } else if bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a") {
        Ok(Format::Gif)
    } else {
        Err(guess(bytes))
    }
}

/// Two letters alone would take every text that starts with "BM"; the size of
/// the second header is one of few.
fn is_bmp(bytes: &[u8]) -> bool {
    bytes.starts_with(b"BM")
        && matches!(
            bytes.get(14..18),
            Some([12 | 16 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0])
        )
}

fn guess(bytes: &[u8]) -> &'static str {
    const STARTS: &[(&[u8], &str)] = &[
        (b"%PDF", "a PDF document"),
        (b"PK\x03\x04", "a ZIP archive or office document"),
        (b"PK\x05\x06", "an empty ZIP archive"),
        (b"\x1F\x8B", "a gzip archive"),
        (b"7z\xBC\xAF\x27\x1C", "a 7-Zip archive"),
        (b"Rar!", "a RAR archive"),
        (b"\x7FELF", "a program"),
        (b"MZ", "a program"),
        (b"\0\0\0\x0CjP  ", "a JPEG 2000 image"),
        (b"\xFF\x4F\xFF\x51", "a JPEG 2000 image"),
        (b"\0\0\0\x0CJXL ", "a JPEG XL image"),
        (b"\xFF\x0A", "a JPEG XL image"),
        (b"8BPS", "a Photoshop document"),
        (b"\x76\x2F\x31\x01", "an OpenEXR image"),
        (b"DCM", "a DICOM file"),
    ];
    if bytes.get(128..132) == Some(b"DICM") {
        return "a DICOM file";
    }
    if bytes.get(4..8) == Some(b"ftyp") {
        return match bytes.get(8..12) {
            Some(b"heic" | b"heix" | b"hevc" | b"mif1" | b"msf1") => "a HEIC photograph",
            Some(b"avif" | b"avis") => "an AVIF image",
            _ => "a video or a HEIC photograph",
        };
    }
    if let Some((_, name)) = STARTS.iter().find(|(start, _)| bytes.starts_with(start)) {
        return name;
    }
    guess_text(bytes)
}

fn guess_text(bytes: &[u8]) -> &'static str {
    let head = &bytes[..bytes.len().min(512)];
    if head
        .iter()
        .any(|&it| it == 0 || (it < 0x20 && !b"\t\n\r\x0C".contains(&it)))
    {
        return "a file of an unknown kind";
    }
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    if text.contains("<svg") {
        "an SVG drawing"
    } else if text.contains("<html") || text.contains("<!doctype html") || text.contains("<script")
    {
        "an HTML page"
    } else if text.trim_start().starts_with("<?xml") {
        "an XML document"
    } else {
        "a text file"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        for (bytes, want) in [
            (&b"\xFF\xD8\xFF\xDB"[..], Format::Jpeg),
            (b"\x89PNG\r\n\x1A\n", Format::Png),
            (b"II*\0", Format::Tiff),
            (b"MM\0*", Format::Tiff),
            (b"II+\0", Format::Tiff),
            (b"BM\0\0\0\0\0\0\0\0\0\0\0\0\x28\0\0\0", Format::Bmp),
            (b"RIFF\0\0\0\0WEBPVP8 ", Format::WebP),
            (b"GIF89a", Format::Gif),
        ] {
            assert_eq!(sniff(bytes), Ok(want));
        }
    }

    #[test]
    fn other_files_are_named_where_they_can_be() {
        let mut dicom = [0; 132];
        dicom[128..].copy_from_slice(b"DICM");
        for (bytes, want) in [
            (&dicom[..], "a DICOM file"),
            (b"\0\0\0\x18ftypheic", "a HEIC photograph"),
            (b"<?xml version=\"1.0\"?><svg/>", "an SVG drawing"),
            (b"BMW is a car", "a text file"),
            (b"<!doctype html>", "an HTML page"),
            (b"\x01\x02\x03", "a file of an unknown kind"),
        ] {
            assert_eq!(sniff(bytes), Err(want));
        }
    }
}
