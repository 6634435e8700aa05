//! File names of cell images: every version is read, the newest (v4) is written (FORMATS A.8).
//!
//! Names are read from the right, so `_` is safe in any part; the first fields end at dots, so a dot in a
//! batch or case is written `%2E` (decision 16).

use std::borrow::Cow;
use std::fmt;

use crate::boxes::BBox;
use crate::classes::UNKNOWN_CLASS;
use crate::ids::shown;
use crate::job::DataType;

/// The name of a cell image as Cellmill writes it:
/// `{batch}.{case}.{imgid}.{image}_{gray}_{size}_{type}_{mid}_{x1}_{y1}_{x2}_{y2}_{class}_{kx1}_{ky1}_{kx2}_{ky2}.png`.
///
/// Law: `AnyCellName::parse(&name.to_string())` gives back the same parts, whatever stands in batch, case and
/// image name, as long as none is empty or holds a `/` and the crop is not empty.
///
/// With batch and case of at most 40 bytes as written, an image name of at most 80, a class below 10,000, a `mid`
/// below 10,000,000 and coordinates below 100,000, a name has at most 254 bytes: it fits every file system.
///
/// ```
/// use cellmill_core::{boxes::BBox, cell_name::CellName, job::DataType};
/// let name = CellName {
///     batch: "redhouse".into(),
///     case: "1817134".into(),
///     imgid: 6005,
///     image: "IMG002x013.JPG".into(),
///     gray: true,
///     size: 100,
///     kind: DataType::Points,
///     mid: 0,
///     crop: BBox::new(10, 20, 110, 120),
///     class: 7,
///     kernel: BBox::new(40, 50, 80, 90),
/// };
/// let text = "redhouse.1817134.6005.IMG002x013.JPG_1_100_1_0_10_20_110_120_7_40_50_80_90.png";
/// assert_eq!(name.to_string(), text);
/// assert_eq!(CellName::parse(text).unwrap(), name);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellName {
    pub batch: String,
    pub case: String,
    /// The image's number.
    pub imgid: u64,
    /// The image's file name as it stands in its key, with its extension if it has one.
    pub image: String,
    /// Did the detector see the image in grey? The crop itself is always in colour.
    pub gray: bool,
    /// `parameter_size`: the wanted side of the crop in pixels.
    pub size: u32,
    pub kind: DataType,
    /// The model that found the cell.
    pub mid: u64,
    /// What was cut, in pixels of the upright image.
    pub crop: BBox,
    pub class: u32,
    /// The cell itself: the detection, or the doctor's box.
    pub kernel: BBox,
}

/// A cell name of any version, with what that version says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnyCellName {
    pub version: NameVersion,
    /// `None` in [`NameVersion::Plan`] and [`NameVersion::Mrcnn`].
    pub batch: Option<String>,
    /// `None` in [`NameVersion::Mrcnn`].
    pub case: Option<String>,
    /// Since v3.
    pub imgid: Option<u64>,
    /// The image's file name; `None` in [`NameVersion::Plan`].
    pub image: Option<String>,
    pub crop: BBox,
    /// `None` in [`NameVersion::Mrcnn`].
    pub parameters: Option<NameParameters>,
    /// Since v2, and in [`NameVersion::Mrcnn`] when a doctor named it.
    pub class: Option<u32>,
    /// Since v4.
    pub kernel: Option<BBox>,
}

/// The crop parameters that a cell name repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameParameters {
    pub gray: bool,
    pub size: u32,
    pub kind: DataType,
    pub mid: u64,
}

/// Which form a cell name has, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NameVersion {
    /// v0, known from a plan only: `{case}_{x}_{y}_{w}_{h}_{color}_{side}_{csv}_{mod}`. What the last four mean is
    /// inferred: colour 1 is not grey, then size, data type and model.
    Plan,
    /// Before the SDK: `{file}_{N|P}_{class}_{x1}_{y1}_{x2}_{y2}`, with 100 for both when predicting.
    Mrcnn,
    /// `{batch}.{case}.{image}_{gray}_{size}_{type}_{mid}_{x1}_{y1}_{x2}_{y2}`.
    V1,
    /// v1 and `_{class}`.
    V2,
    /// v2 with the image's number before its name.
    V3,
    /// v3 and the box of the cell itself.
    V4,
}

/// A text that is no cell name of any version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a cell name: {rule}")]
pub struct CellNameError {
    /// The text, shortened.
    pub text: String,
    pub rule: &'static str,
}

impl CellName {
    /// Reads a v4 name; [`AnyCellName::parse`] reads the older ones.
    pub fn parse(text: &str) -> Result<Self, CellNameError> {
        let any = AnyCellName::parse(text)?;
        any.into_v4().ok_or_else(|| CellNameError {
            text: shown(text),
            rule: "it is of a version before v4",
        })
    }
}

impl fmt::Display for CellName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            imgid,
            image,
            size,
            mid,
            class,
            crop,
            kernel,
            ..
        } = self;
        let (batch, case) = (escaped(&self.batch), escaped(&self.case));
        let (gray, kind) = (u8::from(self.gray), self.kind.number());
        write!(
            f,
            "{batch}.{case}.{imgid}.{image}_{gray}_{size}_{kind}_{mid}"
        )?;
        write!(
            f,
            "_{}_{}_{}_{}_{class}",
            crop.x1, crop.y1, crop.x2, crop.y2
        )?;
        write!(
            f,
            "_{}_{}_{}_{}.png",
            kernel.x1, kernel.y1, kernel.x2, kernel.y2
        )
    }
}

impl AnyCellName {
    /// Reads a file name (no folders) of any version, with or without its `.png`.
    ///
    /// The versions are told apart by how many numbers stand at the end. An image name may end in numbers itself, so
    /// the longest reading that makes sense wins: grey 0 or 1, a known data type, a crop that is not empty.
    pub fn parse(text: &str) -> Result<Self, CellNameError> {
        let refuse = |rule| CellNameError {
            text: shown(text),
            rule,
        };
        if text.contains('/') {
            return Err(refuse("it holds a `/`"));
        }
        let stem = text.strip_suffix(".png").unwrap_or(text);
        let numbers = Numbers::at_the_end_of(stem);
        read_v4(&numbers)
            .or_else(|| read_v2_or_v3(&numbers))
            .or_else(|| read_v1(&numbers))
            .or_else(|| read_plan(&numbers))
            .or_else(|| read_mrcnn(&numbers))
            .ok_or_else(|| refuse("it ends in no group of numbers that a version has"))
    }

    /// The name as v4, when it is one.
    fn into_v4(self) -> Option<CellName> {
        let NameParameters {
            gray,
            size,
            kind,
            mid,
        } = self.parameters?;
        Some(CellName {
            batch: self.batch?,
            case: self.case?,
            imgid: self.imgid?,
            image: self.image?,
            gray,
            size,
            kind,
            mid,
            crop: self.crop,
            class: self.class?,
            kernel: self.kernel?,
        })
    }

    /// The class, or [`UNKNOWN_CLASS`] where the version or the detector did not say.
    pub fn class_or_unknown(&self) -> u32 {
        self.class.unwrap_or(UNKNOWN_CLASS)
    }
}

/// The most numbers any version ends in.
const MOST_NUMBERS: usize = 13;

/// The `_`-separated numbers at the end of a name, in the order they stand there.
struct Numbers<'a> {
    /// (number, where its `_` stands)
    found: Vec<(u64, usize)>,
    stem: &'a str,
}

impl<'a> Numbers<'a> {
    fn at_the_end_of(stem: &'a str) -> Self {
        let mut found = Vec::with_capacity(MOST_NUMBERS);
        let mut rest = stem;
        while found.len() < MOST_NUMBERS
            && let Some((head, field)) = rest.rsplit_once('_')
            && let Some(number) = digits(field)
        {
            found.push((number, head.len()));
            rest = head;
        }
        found.reverse();
        Self { found, stem }
    }

    /// The last `N` numbers, and what stands before them.
    fn last<const N: usize>(&self) -> Option<(&'a str, [u64; N])> {
        let tail = &self.found[self.found.len().checked_sub(N)?..];
        let head = &self.stem[..tail[0].1];
        Some((head, std::array::from_fn(|i| tail[i].0)))
    }
}

fn read_v4(numbers: &Numbers<'_>) -> Option<AnyCellName> {
    let (
        head,
        [
            gray,
            size,
            kind,
            mid,
            x1,
            y1,
            x2,
            y2,
            class,
            kx1,
            ky1,
            kx2,
            ky2,
        ],
    ) = numbers.last()?;
    let (batch, case, rest) = batch_and_case(head)?;
    let (imgid, image) = number_and_image(rest)?;
    Some(AnyCellName {
        version: NameVersion::V4,
        batch: Some(batch),
        case: Some(case),
        imgid: Some(imgid),
        image: Some(image.to_owned()),
        crop: crop(x1, y1, x2, y2)?,
        parameters: Some(parameters(gray, size, kind, mid)?),
        class: Some(narrow(class)?),
        kernel: Some(bbox(kx1, ky1, kx2, ky2)?),
    })
}

fn read_v2_or_v3(numbers: &Numbers<'_>) -> Option<AnyCellName> {
    let (head, [gray, size, kind, mid, x1, y1, x2, y2, class]) = numbers.last()?;
    let (batch, case, rest) = batch_and_case(head)?;
    let (version, imgid, image) = match number_and_image(rest) {
        Some((imgid, image)) => (NameVersion::V3, Some(imgid), image),
        None => (NameVersion::V2, None, rest),
    };
    Some(AnyCellName {
        version,
        batch: Some(batch),
        case: Some(case),
        imgid,
        image: Some(image.to_owned()),
        crop: crop(x1, y1, x2, y2)?,
        parameters: Some(parameters(gray, size, kind, mid)?),
        class: Some(narrow(class)?),
        kernel: None,
    })
}

fn read_v1(numbers: &Numbers<'_>) -> Option<AnyCellName> {
    let (head, [gray, size, kind, mid, x1, y1, x2, y2]) = numbers.last()?;
    let (batch, case, image) = batch_and_case(head)?;
    Some(AnyCellName {
        version: NameVersion::V1,
        batch: Some(batch),
        case: Some(case),
        imgid: None,
        image: Some(image.to_owned()),
        crop: crop(x1, y1, x2, y2)?,
        parameters: Some(parameters(gray, size, kind, mid)?),
        class: None,
        kernel: None,
    })
}

fn read_plan(numbers: &Numbers<'_>) -> Option<AnyCellName> {
    let (case, [x, y, w, h, color, size, kind, mid]) = numbers.last()?;
    let parameters = parameters(1_u64.checked_sub(color)?, size, kind, mid)?;
    (!case.is_empty()).then_some(())?;
    Some(AnyCellName {
        version: NameVersion::Plan,
        batch: None,
        case: Some(case.to_owned()),
        imgid: None,
        image: None,
        crop: crop(x, y, x.checked_add(w)?, y.checked_add(h)?)?,
        parameters: Some(parameters),
        class: None,
        kernel: None,
    })
}

fn read_mrcnn(numbers: &Numbers<'_>) -> Option<AnyCellName> {
    let (head, [class, x1, y1, x2, y2]) = numbers.last()?;
    let (file, verdict) = head.rsplit_once('_')?;
    let by_a_doctor = matches!(verdict, "N" | "P");
    let predicted = verdict == "100" && class == u64::from(UNKNOWN_CLASS);
    (!file.is_empty() && (by_a_doctor || predicted)).then_some(())?;
    Some(AnyCellName {
        version: NameVersion::Mrcnn,
        batch: None,
        case: None,
        imgid: None,
        image: Some(file.to_owned()),
        crop: crop(x1, y1, x2, y2)?,
        parameters: None,
        class: Some(narrow(class)?),
        kernel: None,
    })
}

/// `{batch}.{case}.{rest}`, none of them empty.
fn batch_and_case(head: &str) -> Option<(String, String, &str)> {
    let mut fields = head.splitn(3, '.');
    let (batch, case, rest) = (fields.next()?, fields.next()?, fields.next()?);
    let complete = !batch.is_empty() && !case.is_empty() && !rest.is_empty();
    complete.then(|| (unescaped(batch), unescaped(case), rest))
}

/// `{imgid}.{image}`.
fn number_and_image(rest: &str) -> Option<(u64, &str)> {
    let (number, image) = rest.split_once('.')?;
    let number = digits(number)?;
    (!image.is_empty()).then_some((number, image))
}

/// Digits only: `u64::from_str` alone would take a `+`.
fn digits(text: &str) -> Option<u64> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn narrow(number: u64) -> Option<u32> {
    u32::try_from(number).ok()
}

fn bbox(x1: u64, y1: u64, x2: u64, y2: u64) -> Option<BBox> {
    Some(BBox::new(
        narrow(x1)?,
        narrow(y1)?,
        narrow(x2)?,
        narrow(y2)?,
    ))
}

fn crop(x1: u64, y1: u64, x2: u64, y2: u64) -> Option<BBox> {
    bbox(x1, y1, x2, y2).filter(|it| !it.is_empty())
}

fn parameters(gray: u64, size: u64, kind: u64, mid: u64) -> Option<NameParameters> {
    let gray = match gray {
        0 => false,
        1 => true,
        _ => return None,
    };
    let kind = DataType::try_from(u8::try_from(kind).ok()?).ok()?;
    Some(NameParameters {
        gray,
        size: narrow(size)?,
        kind,
        mid,
    })
}

/// A batch or case as it stands in a cell name: `.` is `%2E`.
///
/// A `%` that would read back as an escape (before `2E`, `2e` or `25`) becomes `%25`, so that a batch whose real name
/// holds `%2E` comes back as it was; every other `%` stays, as URL-encoded ids of uploads are full of them.
pub fn escaped(part: &str) -> Cow<'_, str> {
    if !part.contains(['.', '%']) {
        return Cow::Borrowed(part);
    }
    let mut out = String::with_capacity(part.len() + 4);
    for (at, c) in part.char_indices() {
        match c {
            '.' => out.push_str("%2E"),
            '%' if looks_escaped(&part[at..]) => out.push_str("%25"),
            _ => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Does the text start with something that [`unescaped`] would read as an escape?
fn looks_escaped(text: &str) -> bool {
    ["%2E", "%2e", "%25"].iter().any(|it| text.starts_with(it))
}

fn unescaped(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    let mut rest = part;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let here = &rest[at..];
        let taken = if here.starts_with("%2E") || here.starts_with("%2e") {
            out.push('.');
            3
        } else {
            out.push('%');
            if here
                .strip_prefix("%25")
                .is_some_and(|after| looks_escaped(&format!("%{after}")))
            {
                3
            } else {
                1
            }
        };
        rest = &here[taken..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> AnyCellName {
        AnyCellName::parse(text).unwrap()
    }

    #[test]
    fn v1_of_the_readme_is_read() {
        let got = parsed("20190523.1807199.IMG002x013.JPG_1_100_0_1_11_12_111_112.png");
        assert_eq!(got.version, NameVersion::V1);
        assert_eq!(got.batch.as_deref(), Some("20190523"));
        assert_eq!(got.case.as_deref(), Some("1807199"));
        assert_eq!(got.image.as_deref(), Some("IMG002x013.JPG"));
        assert_eq!(got.crop, BBox::new(11, 12, 111, 112));
        assert_eq!(
            got.parameters,
            Some(NameParameters {
                gray: true,
                size: 100,
                kind: DataType::Detect,
                mid: 1
            })
        );
        assert_eq!((got.imgid, got.class, got.kernel), (None, None, None));
        assert_eq!(got.class_or_unknown(), 100);
    }

    #[test]
    fn v2_adds_the_class() {
        let got = parsed("20190523.1807199.IMG002x013.JPG_0_100_1_0_11_12_111_112_7.png");
        assert_eq!(
            (got.version, got.class, got.imgid),
            (NameVersion::V2, Some(7), None)
        );
        assert_eq!(got.parameters.unwrap().kind, DataType::Points);
    }

    #[test]
    fn v3_of_an_upload_without_extension_is_read() {
        let got = parsed(
            "b157521600000025.m157527753898025.6005.076ca419a04b446d9e88d8fe03a85d69_1_100_0_2_2348_772_2448_872_100.png",
        );
        assert_eq!(got.version, NameVersion::V3);
        assert_eq!(got.imgid, Some(6005));
        assert_eq!(
            got.image.as_deref(),
            Some("076ca419a04b446d9e88d8fe03a85d69")
        );
        assert_eq!(got.crop, BBox::new(2348, 772, 2448, 872));
        assert_eq!(got.class, Some(100));
        assert!(got.into_v4().is_none());
    }

    #[test]
    fn v4_adds_the_kernel() {
        let got = parsed("b1.m1.6005.a_b.c_1_100_0_2_2348_772_2448_872_100_2380_800_2410_840.png");
        assert_eq!(got.version, NameVersion::V4);
        assert_eq!(got.image.as_deref(), Some("a_b.c"));
        assert_eq!(got.kernel, Some(BBox::new(2380, 800, 2410, 840)));
    }

    #[test]
    fn the_plan_gives_width_and_height() {
        let got = parsed("1807199_10_20_100_90_1_100_1_2.png");
        assert_eq!(got.version, NameVersion::Plan);
        assert_eq!(got.case.as_deref(), Some("1807199"));
        assert_eq!(got.crop, BBox::new(10, 20, 110, 110));
        assert_eq!(
            got.parameters,
            Some(NameParameters {
                gray: false,
                size: 100,
                kind: DataType::Points,
                mid: 2
            })
        );
    }

    #[test]
    fn names_before_the_sdk_are_read() {
        let got = parsed("IMG_002x013.JPG_P_7_11_12_111_112.png");
        assert_eq!(got.version, NameVersion::Mrcnn);
        assert_eq!(got.image.as_deref(), Some("IMG_002x013.JPG"));
        assert_eq!(
            (got.class, got.crop),
            (Some(7), BBox::new(11, 12, 111, 112))
        );
        let predicted = parsed("IMG002x013.JPG_100_100_11_12_111_112.png");
        assert_eq!(
            (predicted.version, predicted.class),
            (NameVersion::Mrcnn, Some(100))
        );
    }

    #[test]
    fn underscores_and_numbers_in_an_image_name_are_part_of_it() {
        let got = parsed("b_1.m_2.5.scan_3_1_100_0_2_0_0_100_100_1.png");
        assert_eq!(got.version, NameVersion::V3);
        assert_eq!(got.image.as_deref(), Some("scan_3"));
        assert_eq!(got.batch.as_deref(), Some("b_1"));
        let many = parsed("b.m.5.scan_1_2_3_4_1_100_0_2_0_0_100_100_1.png");
        assert_eq!(
            many.image.as_deref(),
            Some("scan_1_2_3_4"),
            "13 numbers that make no v4"
        );
    }

    #[test]
    fn what_is_no_cell_name_is_refused() {
        for bad in [
            "",
            ".png",
            "IMG001x014.JPG",
            "b.m.IMG.JPG_1_100_0_1_x1_y1_x2_y2.png",
            "b.m.1.i_1_100_0_2_0_0_100_100_1_-5_0_60_60.png",
            "b.m.1.i_1_100_0_2_0_0_100_100_1_5_0_-60_60.png",
            "b.m.1.i_1_100_0_2_100_100_100_100_1_5_0_60_60.png",
            "b.m.1.i_1_100_0_2_0_0_100_99999999999_1_5_0_60_60.png",
            "a/b.m.1.i_1_100_0_2_0_0_100_100_1_5_0_60_60.png",
            "_1_2_3_4_5",
        ] {
            assert!(AnyCellName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_what_would_read_as_an_escape_is_escaped() {
        for (raw, written) in [
            ("1816798-p", "1816798-p"),
            ("17.P", "17%2EP"),
            ("%E6%B1%89", "%E6%B1%89"),
            ("a%2Eb", "a%252Eb"),
            ("100%", "100%"),
            ("%25", "%2525"),
        ] {
            assert_eq!(escaped(raw), written);
            assert_eq!(unescaped(written), raw);
        }
        assert_eq!(unescaped("17%2ep"), "17.p", "either case is read");
    }

    #[test]
    fn the_longest_name_fits_a_file_system() {
        let side = BBox::new(99_998, 99_998, 99_999, 99_999);
        let name = CellName {
            batch: "b".repeat(40),
            case: "c".repeat(40),
            imgid: (1 << 52) - 1,
            image: "i".repeat(80),
            gray: true,
            size: 30_000,
            kind: DataType::Detect,
            mid: 9_999_999,
            crop: side,
            class: crate::classes::MAX_CLASS_ID,
            kernel: side,
        };
        assert!(name.to_string().len() < 255, "{}", name.to_string().len());
    }

    proptest! {
        #[test]
        fn a_written_name_reads_back(name in any_name()) {
            prop_assert_eq!(CellName::parse(&name.to_string()).unwrap(), name);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,80}|([a-zA-Z.%]{0,3}[_.0-9]){0,20}") {
            let _ = AnyCellName::parse(&text);
        }
    }

    fn any_part() -> impl Strategy<Value = String> {
        "([a-zA-Z0-9_.%-]|%2E|%25|%252E|汉|é| ){1,12}"
    }

    fn any_name() -> impl Strategy<Value = CellName> {
        let texts = (any_part(), any_part(), any_part());
        let numbers = (
            0u64..1 << 52,
            any::<bool>(),
            0u32..30_000,
            0u8..4,
            any::<u64>(),
            any::<u32>(),
        );
        let boxes = (any::<[u16; 2]>(), 1u32..500, 1u32..500, any::<[u32; 4]>());
        (texts, numbers, boxes).prop_map(
            |((batch, case, image), (imgid, gray, size, kind, mid, class), ([x, y], w, h, k))| {
                let (x, y) = (u32::from(x), u32::from(y));
                CellName {
                    batch,
                    case,
                    imgid,
                    image,
                    gray,
                    size,
                    kind: DataType::try_from(kind).unwrap(),
                    mid,
                    crop: BBox::new(x, y, x + w, y + h),
                    class,
                    kernel: BBox::new(k[0], k[1], k[2], k[3]),
                }
            },
        )
    }
}
