//! Boxes, and which of them are one cell.

/// A box that a detector found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CellBox {
    pub class: usize,
    /// `[x1, y1, x2, y2]` in pixels, right and bottom exclusive.
    pub bbox: [f32; 4],
    /// How sure it is, 0 to 1.
    pub score: f32,
}

/// Intersection over union; 0 for boxes without area.
pub(super) fn iou(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let width = a[2].min(b[2]) - a[0].max(b[0]);
    let height = a[3].min(b[3]) - a[1].max(b[1]);
    if width <= 0.0 || height <= 0.0 {
        return 0.0;
    }
    let both = width * height;
    let area = |it: &[f32; 4]| (it[2] - it[0]) * (it[3] - it[1]);
    both / (area(a) + area(b) - both)
}

/// The best first, equal scores from the top down: the same order wherever the boxes come from.
pub(super) fn sort(boxes: &mut [CellBox]) {
    let place = |it: &CellBox| [it.bbox[1], it.bbox[0], it.bbox[3], it.bbox[2]];
    boxes.sort_by(|a, b| {
        let (of_a, of_b) = (place(a), place(b));
        let places = of_a.iter().zip(&of_b).map(|(a, b)| a.total_cmp(b));
        let by_place = places.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then);
        b.score
            .total_cmp(&a.score)
            .then(by_place)
            .then(a.class.cmp(&b.class))
    });
}

/// Keeps the best of all boxes that overlap more than this (intersection over union): of one class, or of any.
/// Non-maximum suppression; the result is sorted, the best first.
pub fn drop_doubles(mut boxes: Vec<CellBox>, max_overlap: f32, any_class: bool) -> Vec<CellBox> {
    sort(&mut boxes);
    let mut kept: Vec<CellBox> = Vec::new();
    // Boxes are looked for in squares as large as the largest of them, so that a field of thousands stays cheap.
    let sides = boxes.iter().map(|it| {
        let [x1, y1, x2, y2] = it.bbox;
        (x2 - x1).max(y2 - y1)
    });
    let square = sides.fold(1.0, f32::max);
    let place = |it: &CellBox| {
        let [x1, y1, x2, y2] = it.bbox;
        let of = |a: f32, b: f32| (f32::midpoint(a, b) / square).floor() as i64;
        (of(x1, x2), of(y1, y2))
    };
    let mut squares: std::collections::HashMap<(i64, i64), Vec<usize>> =
        std::collections::HashMap::new();
    for it in boxes {
        let (column, row) = place(&it);
        let around = (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (column + dx, row + dy)));
        let is_double = around
            .filter_map(|at| squares.get(&at))
            .flatten()
            .any(|&at| {
                let other: &CellBox = &kept[at];
                (any_class || other.class == it.class) && iou(&other.bbox, &it.bbox) > max_overlap
            });
        if !is_double {
            squares.entry((column, row)).or_default().push(kept.len());
            kept.push(it);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, Rng};

    fn of(class: usize, bbox: [f32; 4], score: f32) -> CellBox {
        CellBox { class, bbox, score }
    }

    #[test]
    fn overlap_is_that_of_the_areas() {
        let a = [0.0, 0.0, 4.0, 4.0];
        assert!((iou(&a, &[2.0, 0.0, 6.0, 4.0]) - 8.0 / 24.0).abs() < 1e-6);
        assert!(iou(&a, &[4.0, 0.0, 6.0, 4.0]).abs() < 1e-9);
        assert!(iou(&a, &[1.0, 1.0, 1.0, 1.0]).abs() < 1e-9);
    }

    #[test]
    fn the_best_of_doubles_stays_and_another_class_is_none_unless_asked() {
        let boxes = vec![
            of(0, [0.0, 0.0, 10.0, 10.0], 0.5),
            of(0, [1.0, 0.0, 11.0, 10.0], 0.9),
            of(1, [1.0, 0.0, 11.0, 10.0], 0.7),
            of(0, [100.0, 0.0, 110.0, 10.0], 0.2),
        ];
        let scores = |it: &[CellBox]| it.iter().map(|it| it.score).collect::<Vec<_>>();
        let kept = drop_doubles(boxes.clone(), 0.5, false);
        assert_eq!(scores(&kept), [0.9, 0.7, 0.2]);
        assert_eq!(scores(&drop_doubles(boxes, 0.5, true)), [0.9, 0.2]);
    }

    #[test]
    fn squares_find_the_same_doubles_as_comparing_all() {
        let mut rng = Rng::new(5, Purpose::Synthetic, [0, 0]);
        let boxes: Vec<CellBox> = (0..600)
            .map(|_| {
                let mut draw = |high: f64| rng.between(0.0, high) as f32;
                let (x, y, w, h) = (draw(300.0), draw(300.0), draw(40.0), draw(60.0));
                of(
                    usize::from(draw(1.0) > 0.5),
                    [x, y, x + w, y + h],
                    draw(1.0),
                )
            })
            .collect();
        let mut sorted = boxes.clone();
        sort(&mut sorted);
        let mut plain: Vec<CellBox> = Vec::new();
        for it in sorted {
            let is_double =
                |other: &CellBox| other.class == it.class && iou(&other.bbox, &it.bbox) > 0.3;
            if !plain.iter().any(is_double) {
                plain.push(it);
            }
        }
        assert!(plain.len() < boxes.len());
        assert_eq!(drop_doubles(boxes, 0.3, false), plain);
    }
}
