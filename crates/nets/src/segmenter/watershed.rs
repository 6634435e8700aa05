//! Touching cells are parted where they are least deep.
//!
//! The picture is flooded from the deepest pixels outwards. A basin begins at every maximum; where two meet, the
//! shallower one is a cell of its own if its maximum stands out by enough, else it becomes part of the other. So seeds
//! and borders come of one pass over the sorted pixels, and ripples on a cell part nothing.

/// Levels that a depth is told in; 0 is no pixel of any cell.
pub(super) const LEVELS: u16 = 1000;

/// What makes a basin a cell of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parting {
    /// Levels from its maximum down to where it meets another.
    pub(super) depth: u16,
    /// Pixels: smaller ones join the one that they meet, or vanish.
    pub(super) min_area: u32,
}

#[derive(Clone, Copy, Debug)]
struct Basin {
    /// Itself, or the one that it has become part of.
    parent: u32,
    peak: u16,
    area: u32,
}

/// The cell of each pixel, numbered from 1 in the order of their first pixels, and their number.
pub(super) fn watershed(levels: &[u16], width: usize, parting: Parting) -> (Vec<u32>, usize) {
    let mut basins: Vec<Basin> = Vec::new();
    // 1 + the basin.
    let mut labels = vec![0_u32; levels.len()];
    for at in deepest_first(levels) {
        let at = at as usize;
        let level = levels[at];
        let mut own: Option<(usize, u16)> = None;
        let mut met = [None; 4];
        for (met, beside) in met.iter_mut().zip(neighbours(at, width, levels.len())) {
            let Some(beside) = beside.filter(|it| labels[*it] > 0) else {
                continue;
            };
            let root = root(&mut basins, labels[beside] as usize - 1);
            *met = Some(root);
            // Uphill by the steepest way.
            if own.is_none_or(|it| it.1 < levels[beside]) {
                own = Some((root, levels[beside]));
            }
        }
        let Some((mut own, _)) = own else {
            labels[at] = basins.len() as u32 + 1;
            basins.push(Basin {
                parent: basins.len() as u32,
                peak: level,
                area: 1,
            });
            continue;
        };
        labels[at] = own as u32 + 1;
        basins[own].area += 1;
        for other in met.into_iter().flatten() {
            let other = root(&mut basins, other);
            own = root(&mut basins, own);
            if own != other {
                meet(&mut basins, [own, other], level, parting);
            }
        }
    }
    number(&mut labels, &mut basins, parting.min_area)
}

/// Pixels of cells, by counting those of each level.
fn deepest_first(levels: &[u16]) -> Vec<u32> {
    let mut counts = vec![0_usize; usize::from(LEVELS) + 1];
    for level in levels {
        counts[usize::from(*level)] += 1;
    }
    let n = levels.len() - counts[0];
    let mut next = vec![0; counts.len()];
    for level in (1..counts.len() - 1).rev() {
        next[level] = next[level + 1] + counts[level + 1];
    }
    let mut order = vec![0_u32; n];
    for (at, level) in levels.iter().enumerate().filter(|it| *it.1 > 0) {
        let next = &mut next[usize::from(*level)];
        order[*next] = at as u32;
        *next += 1;
    }
    order
}

/// Above, to the left, to the right, below; none beyond the picture.
fn neighbours(at: usize, width: usize, n: usize) -> [Option<usize>; 4] {
    let column = at % width;
    [
        at.checked_sub(width),
        (column > 0).then(|| at - 1),
        (column + 1 < width).then(|| at + 1),
        Some(at + width).filter(|it| *it < n),
    ]
}

/// Paths are halved on the way, so that they stay short.
fn root(basins: &mut [Basin], mut at: usize) -> usize {
    while basins[at].parent as usize != at {
        let above = basins[at].parent as usize;
        basins[at].parent = basins[above].parent;
        at = basins[at].parent as usize;
    }
    at
}

fn meet(basins: &mut [Basin], [a, b]: [usize; 2], level: u16, parting: Parting) {
    let order = |it: usize| (basins[it].peak, std::cmp::Reverse(it));
    let (high, low) = if order(a) > order(b) { (a, b) } else { (b, a) };
    let is_ripple = basins[low].peak - level < parting.depth;
    let smaller = basins[low].area.min(basins[high].area);
    if is_ripple || smaller < parting.min_area {
        basins[low].parent = high as u32;
        basins[high].area += basins[low].area;
    }
}

fn number(labels: &mut [u32], basins: &mut [Basin], min_area: u32) -> (Vec<u32>, usize) {
    let mut numbers = vec![0_u32; basins.len()];
    let mut n = 0;
    let mut out = vec![0; 0];
    out.reserve_exact(labels.len());
    for label in labels {
        if *label == 0 {
            out.push(0);
            continue;
        }
        let root = root(basins, *label as usize - 1);
        if numbers[root] == 0 && basins[root].area >= min_area {
            n += 1;
            numbers[root] = n;
        }
        out.push(numbers[root]);
    }
    (out, n as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTING: Parting = Parting {
        depth: 100,
        min_area: 12,
    };

    /// Discs whose levels fall from the middle to the border, the larger of two where they overlap.
    fn discs(width: usize, height: usize, all: &[[f32; 3]]) -> Vec<u16> {
        let level = |at: usize| {
            let (x, y) = ((at % width) as f32, (at / width) as f32);
            let inside = all
                .iter()
                .map(|[u, v, radius]| 1.0 - (x - u).hypot(y - v) / radius);
            (inside.fold(0.0, f32::max) * f32::from(LEVELS)) as u16
        };
        (0..width * height).map(level).collect()
    }

    #[test]
    fn touching_discs_are_parted_between_their_middles() {
        let levels = discs(
            80,
            40,
            &[[22.0, 20.0, 16.0], [50.0, 20.0, 16.0], [72.0, 8.0, 5.0]],
        );
        let (labels, n) = watershed(&levels, 80, PARTING);
        assert_eq!(n, 3);
        let at = |x: usize, y: usize| labels[y * 80 + x];
        let cells = [at(22, 20), at(50, 20), at(72, 8)];
        assert_eq!(
            {
                let mut it = cells;
                it.sort_unstable();
                it
            },
            [1, 2, 3]
        );
        for (at, (label, level)) in labels.iter().zip(&levels).enumerate() {
            assert_eq!(*label == 0, *level == 0);
            let (x, y) = (at % 80, at / 80);
            if *label > 0 && x != 36 && (x < 60 || y > 20) {
                assert_eq!(*label, cells[usize::from(x > 36)], "{x} {y}");
            }
        }
    }

    #[test]
    fn ripples_part_nothing_and_specks_are_dropped() {
        let mut levels = discs(40, 40, &[[18.0, 18.0, 15.0], [36.0, 36.0, 1.5]]);
        for (at, it) in levels.iter_mut().enumerate().filter(|it| *it.1 > 0) {
            *it = (*it + (at * 37 % 60) as u16).min(LEVELS);
        }
        let (labels, n) = watershed(&levels, 40, PARTING);
        assert_eq!(n, 1);
        assert_eq!(labels[36 * 40 + 36], 0);
        assert_eq!(watershed(&[0; 12], 4, PARTING), (vec![0; 12], 0));
        assert_eq!(watershed(&[], 4, PARTING), (Vec::new(), 0));
    }
}
