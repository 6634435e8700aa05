//! How far a sliding window reaches over the edges of a picture.

/// The border of zeros around a picture that a kernel slides over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// As many pixels on every side (`PyTorch`).
    Even(usize),
    /// As many as it takes for an output side of `side / stride`, rounded up; the smaller half lies before the
    /// picture and the rest behind it (`TensorFlow`).
    Same,
}

impl From<usize> for Padding {
    fn from(pixels: usize) -> Self {
        Self::Even(pixels)
    }
}

impl Padding {
    /// The output side. The kernel has to fit, see [`Self::fits`].
    pub(crate) const fn output(self, side: usize, kernel: usize, stride: usize) -> usize {
        match self {
            Self::Even(pixels) => (side + 2 * pixels - kernel) / stride + 1,
            Self::Same => side.div_ceil(stride),
        }
    }

    /// Pixels of the border before the picture.
    pub(crate) const fn before(self, side: usize, kernel: usize, stride: usize) -> usize {
        match self {
            Self::Even(pixels) => pixels,
            Self::Same => {
                let covered = (side.div_ceil(stride) - 1) * stride + kernel;
                covered.saturating_sub(side) / 2
            }
        }
    }

    /// Whether a kernel of this side finds a place over a picture of that side.
    pub(crate) const fn fits(self, side: usize, kernel: usize) -> bool {
        match self {
            Self::Even(pixels) => side + 2 * pixels >= kernel,
            Self::Same => side > 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Padding;

    /// Values of `tf.nn.conv2d(padding="SAME")`: an even side with stride 2 has its odd pixel behind.
    #[test]
    fn same_puts_the_smaller_half_before() {
        let of = |side, kernel, stride| {
            let it = Padding::Same;
            (
                it.output(side, kernel, stride),
                it.before(side, kernel, stride),
            )
        };
        assert_eq!(of(224, 3, 2), (112, 0));
        assert_eq!(of(225, 3, 2), (113, 1));
        assert_eq!(of(7, 5, 1), (7, 2));
        assert_eq!(of(8, 5, 2), (4, 1));
        assert_eq!(of(5, 1, 2), (3, 0));
    }
}
