//! Little-endian numbers of files as `f32`.

/// Kinds of floats in weights files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    F16,
    BF16,
    F32,
    F64,
}

impl Kind {
    /// Bytes of one value.
    pub(super) const fn size(self) -> usize {
        match self {
            Self::F16 | Self::BF16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// The values of whole bytes.
    pub(super) fn values(self, bytes: &[u8]) -> Vec<f32> {
        let each = bytes.chunks_exact(self.size());
        match self {
            Self::F16 => each.map(|it| half([it[0], it[1]])).collect(),
            Self::BF16 => each
                .map(|it| f32::from_bits(u32::from_le_bytes([0, 0, it[0], it[1]])))
                .collect(),
            Self::F32 => each
                .map(|it| f32::from_le_bytes([it[0], it[1], it[2], it[3]]))
                .collect(),
            Self::F64 => each
                .map(|it| f64::from_le_bytes(it.try_into().expect("chunks of 8 bytes")) as f32)
                .collect(),
        }
    }
}

/// IEEE 754 binary16.
fn half(bytes: [u8; 2]) -> f32 {
    let bits = u32::from(u16::from_le_bytes(bytes));
    let (sign, exponent, fraction) = ((bits >> 15) << 31, (bits >> 10) & 31, bits & 1023);
    let size = match exponent {
        // Subnormal: a multiple of 2^-24.
        0 => fraction as f32 * 2.0_f32.powi(-24),
        31 => f32::from_bits((0xff << 23) | (fraction << 13)),
        _ => f32::from_bits(((exponent + 112) << 23) | (fraction << 13)),
    };
    f32::from_bits(size.to_bits() | sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_floats_become_the_same_numbers() {
        let table: [(u16, f32); 7] = [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0400, 6.103_515_6e-5),
            (0x0001, 5.960_464_5e-8),
            (0x8000, -0.0),
            (0x7c00, f32::INFINITY),
        ];
        for (bits, expected) in table {
            let found = Kind::F16.values(&bits.to_le_bytes());
            assert_eq!(found[0].to_bits(), expected.to_bits(), "{bits:x}");
        }
        assert!(Kind::F16.values(&0x7e00_u16.to_le_bytes())[0].is_nan());
        assert_eq!(Kind::BF16.values(&[0x80, 0x3f, 0, 0xc0]), [1.0, -2.0]);
        assert_eq!(Kind::F64.values(&0.5_f64.to_le_bytes()), [0.5]);
    }
}
