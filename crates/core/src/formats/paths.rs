//! Paths inside files: relative to the root (decision 17).

use std::borrow::Cow;

/// Cuts the root from a path of the layout; a path that does not begin with `/` is relative already.
///
/// The root is whatever stands before the layout: `img/<batch>/<case>/Images/<file>`, the same under `scratch/`,
/// `scratch/<batch>/<case>/cells/<file>`, or one of the top folders. What fits none only loses its first slash.
///
/// ```
/// use cellmill_core::formats::relative_path;
/// let path = "/ai/thumbor/data/loader/scratch/img/b1/m1/Images/IMG001x008.JPG";
/// assert_eq!(relative_path(path), "scratch/img/b1/m1/Images/IMG001x008.JPG");
/// assert_eq!(relative_path("/img/b1/m1/Images/a.JPG"), "img/b1/m1/Images/a.JPG");
/// ```
pub fn relative_path(path: &str) -> Cow<'_, str> {
    let Some(absolute) = path.strip_prefix('/') else {
        return Cow::Borrowed(path);
    };
    let parts: Vec<&str> = absolute.split('/').collect();
    Cow::Owned(parts[start_of_layout(&parts)..].join("/"))
}

fn start_of_layout(parts: &[&str]) -> usize {
    let n = parts.len();
    match parts {
        [.., "scratch", "img", _, _, "Images", _] => n - 6,
        [.., "img", _, _, "Images", _]
        | [.., "scratch", _, _, "cells", _]
        | [.., "csv", _, _, _, _] => n - 5,
        _ => parts
            .iter()
            .rposition(|it| matches!(*it, "datasets" | "projects" | "modules"))
            .unwrap_or(0),
    }
}
