//! Otsu's threshold (1979).

/// The level that parts a histogram with the largest variance between both sides: values
/// above it are the upper class. `None` when all values are equal.
pub(super) fn threshold(histogram: &[u64]) -> Option<usize> {
    let total: u64 = histogram.iter().sum();
    let weighted: u64 = (0..)
        .zip(histogram)
        .map(|(level, count)| level * count)
        .sum();
    let (mut below, mut below_weighted) = (0_u64, 0_u64);
    let mut best = None;
    for (level, &count) in histogram.iter().enumerate() {
        below += count;
        below_weighted += level as u64 * count;
        let above = total - below;
        if below == 0 || above == 0 {
            continue;
        }
        // Variance between the classes, scaled by total squared. Whole-number products of a
        // 48-megapixel image pass 64 bits, so this is computed in 128.
        let spread = i128::from(below_weighted) * i128::from(total)
            - i128::from(weighted) * i128::from(below);
        let variance = (spread.unsigned_abs() / u128::from(below))
            .saturating_mul(spread.unsigned_abs() / u128::from(above));
        if best.is_none_or(|(highest, _)| variance > highest) {
            best = Some((variance, level));
        }
    }
    best.map(|(_, level)| level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hills_are_parted_between_them() {
        let mut histogram = [0; 256];
        histogram[40..60].fill(1000);
        histogram[180..200].fill(300);
        let got = threshold(&histogram).unwrap();
        assert!((59..180).contains(&got), "{got}");
    }

    #[test]
    fn one_level_has_no_threshold() {
        let mut histogram = [0; 256];
        assert_eq!(threshold(&histogram), None);
        histogram[77] = 5;
        assert_eq!(threshold(&histogram), None);
    }
}
