//! The places where safe Rust does not reach: the matrix product of the `gemm` crate behind checked bounds,
//! running a function with the vector instructions that the processor has, and those instructions.
#![expect(
    unsafe_code,
    reason = "`gemm::gemm` takes raw pointers, and a function with more target features than its caller is unsafe to call; both are checked here"
)]
#![expect(
    clippy::inline_always,
    reason = "what a kernel calls has to be compiled with the kernel's vectors"
)]

use gemm::Parallelism;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64 as x86;

/// A read-only matrix over a slice: element (r, c) lies at `r * row_stride + c * column_stride`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A matrix stored row after row. Panics when the slice holds another number of values.
    pub(crate) fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(
            values.len(),
            rows * columns,
            "a matrix holds rows * columns"
        );
        Self {
            values,
            rows,
            columns,
            row_stride: columns,
            column_stride: 1,
        }
    }

    /// The same values with rows and columns exchanged.
    pub(crate) const fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// `out = a b`, or `out += a b` where `add`; `out` is stored row after row.
///
/// `parts` is the number of parts that the product is cut into for other threads; 1 stays on this one. The
/// result depends on `parts`, so it has to follow from the shape. Panics when the shapes don't fit.
pub(crate) fn multiply(out: &mut [f32], a: Matrix<'_>, b: Matrix<'_>, add: bool, parts: usize) {
    let (rows, columns, depth) = (a.rows, b.columns, a.columns);
    assert_eq!(depth, b.rows, "the inner sides of a product are equal");
    assert_eq!(
        out.len(),
        rows * columns,
        "the product holds rows * columns"
    );
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(depth > 0, "a product has an inner side");
    let parallelism = if parts > 1 {
        Parallelism::Rayon(parts)
    } else {
        Parallelism::None
    };
    // SAFETY: `out` is exclusively borrowed and holds rows * columns values, addressed with row stride
    // `columns` and column stride 1. A `Matrix` is only made by `new` (which checks the length) and
    // `transposed` (which permutes the sides with their strides), so every (r, c) below its rows and columns
    // lies inside its slice. The sides agree by the assertions above.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            depth,
            out.as_mut_ptr(),
            1,
            columns as isize,
            add,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Vectors {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Baseline,
}

/// What the processor has. The standard library keeps the answer, so asking costs a load.
fn vectors() -> Vectors {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512cd")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
        {
            return Vectors::Avx512;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Vectors::Avx2;
        }
    }
    Vectors::Baseline
}

/// Which vector instructions this machine computes with: `avx512`, `avx2`, `neon` or `portable`. Between two
/// of them the last bits of a result may differ, so a model card names it.
pub fn instruction_set() -> &'static str {
    match vectors() {
        #[cfg(target_arch = "x86_64")]
        Vectors::Avx512 => "avx512",
        #[cfg(target_arch = "x86_64")]
        Vectors::Avx2 => "avx2",
        Vectors::Baseline if cfg!(target_arch = "aarch64") => "neon",
        Vectors::Baseline => "portable",
    }
}

/// Sixteen values at once, with the instructions of one kind of vectors.
///
/// A value of this type says that the processor has them: only [`vectorised`] makes one, after it looked.
pub(crate) trait Simd: Copy {
    /// Sixteen values.
    type V: Copy;

    /// Rows of the tile of a matrix product whose 32 columns fill the registers best.
    const ROWS: usize;

    fn load(self, values: &[f32; LANES]) -> Self::V;
    fn store(self, it: Self::V, values: &mut [f32; LANES]);
    fn splat(self, value: f32) -> Self::V;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once where the processor can.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The values held between two others, as `held` does it.
    fn hold(self, it: Self::V, low: Self::V, high: Self::V) -> Self::V;
}

/// Values of a [`Simd::V`].
pub(crate) const LANES: usize = 16;

#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512(());

// SAFETY, of every block below: an `Avx512` exists only where the processor has AVX-512F, see `vectorised`. Loads
// and stores are unaligned and stay inside of an array of sixteen values.
#[cfg(target_arch = "x86_64")]
impl Simd for Avx512 {
    type V = x86::__m512;
    const ROWS: usize = 8;

    #[inline(always)]
    fn load(self, values: &[f32; LANES]) -> Self::V {
        unsafe { x86::_mm512_loadu_ps(values.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, it: Self::V, values: &mut [f32; LANES]) {
        unsafe { x86::_mm512_storeu_ps(values.as_mut_ptr(), it) }
    }
    #[inline(always)]
    fn splat(self, value: f32) -> Self::V {
        unsafe { x86::_mm512_set1_ps(value) }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { x86::_mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { x86::_mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { x86::_mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        unsafe { x86::_mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn hold(self, it: Self::V, low: Self::V, high: Self::V) -> Self::V {
        unsafe { x86::_mm512_min_ps(x86::_mm512_max_ps(it, low), high) }
    }
}

#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

// SAFETY, of every block below: an `Avx2` exists only where the processor has AVX2 and FMA, see `vectorised`.
// Loads and stores are unaligned; the two halves of eight values lie inside of the array of sixteen.
#[cfg(target_arch = "x86_64")]
impl Simd for Avx2 {
    type V = [x86::__m256; 2];
    const ROWS: usize = 3;

    #[inline(always)]
    fn load(self, values: &[f32; LANES]) -> Self::V {
        let at = values.as_ptr();
        unsafe { [x86::_mm256_loadu_ps(at), x86::_mm256_loadu_ps(at.add(8))] }
    }
    #[inline(always)]
    fn store(self, it: Self::V, values: &mut [f32; LANES]) {
        let at = values.as_mut_ptr();
        unsafe {
            x86::_mm256_storeu_ps(at, it[0]);
            x86::_mm256_storeu_ps(at.add(8), it[1]);
        }
    }
    #[inline(always)]
    fn splat(self, value: f32) -> Self::V {
        unsafe { [x86::_mm256_set1_ps(value); 2] }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe {
            [
                x86::_mm256_add_ps(a[0], b[0]),
                x86::_mm256_add_ps(a[1], b[1]),
            ]
        }
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe {
            [
                x86::_mm256_sub_ps(a[0], b[0]),
                x86::_mm256_sub_ps(a[1], b[1]),
            ]
        }
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe {
            [
                x86::_mm256_mul_ps(a[0], b[0]),
                x86::_mm256_mul_ps(a[1], b[1]),
            ]
        }
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        unsafe {
            [
                x86::_mm256_fmadd_ps(a[0], b[0], c[0]),
                x86::_mm256_fmadd_ps(a[1], b[1], c[1]),
            ]
        }
    }
    #[inline(always)]
    fn hold(self, it: Self::V, low: Self::V, high: Self::V) -> Self::V {
        unsafe {
            [
                x86::_mm256_min_ps(x86::_mm256_max_ps(it[0], low[0]), high[0]),
                x86::_mm256_min_ps(x86::_mm256_max_ps(it[1], low[1]), high[1]),
            ]
        }
    }
}

/// Arrays, for whatever the compiler makes of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

impl Portable {
    #[inline(always)]
    fn zip(a: [f32; LANES], b: [f32; LANES], body: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
        let mut out = a;
        for (out, b) in out.iter_mut().zip(b) {
            *out = body(*out, b);
        }
        out
    }
}

impl Simd for Portable {
    type V = [f32; LANES];
    const ROWS: usize = 1;

    #[inline(always)]
    fn load(self, values: &[f32; LANES]) -> Self::V {
        *values
    }
    #[inline(always)]
    fn store(self, it: Self::V, values: &mut [f32; LANES]) {
        *values = it;
    }
    #[inline(always)]
    fn splat(self, value: f32) -> Self::V {
        [value; LANES]
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        Self::zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        Self::zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        Self::zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Without the instruction, fusing would be a call of the C library for each value.
        if cfg!(target_arch = "aarch64") {
            let mut out = c;
            for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
                *out = a.mul_add(b, *out);
            }
            return out;
        }
        Self::zip(Self::zip(a, b, |a, b| a * b), c, |a, b| a + b)
    }
    #[inline(always)]
    fn hold(self, it: Self::V, low: Self::V, high: Self::V) -> Self::V {
        let it = Self::zip(it, low, |it, low| if it > low { it } else { low });
        Self::zip(it, high, |it, high| if it < high { it } else { high })
    }
}

/// Adds to `sums` the products of `R` rows with the first `N` blocks of sixteen columns of a panel of 32. Panics when
/// a row is not as long as the panel.
///
/// The bounds are checked before the loop: with checks inside of it the compiler keeps the sums in memory.
#[inline(always)]
pub(crate) fn add_products<S: Simd, const R: usize, const N: usize>(
    simd: S,
    rows: [&[f32]; R],
    panel: &[[[f32; LANES]; 2]],
    sums: &mut [[S::V; N]; R],
) {
    const { assert!(N <= 2, "a panel has two blocks") };
    for row in rows {
        assert_eq!(row.len(), panel.len(), "rows and panel have one depth");
    }
    let mut all = *sums;
    for (depth, lines) in panel.iter().enumerate() {
        // SAFETY: `depth` is less than the length of the panel and, by the assertions, of every row; `n` is less
        // than N, at most 2; `r` is less than R.
        unsafe {
            let mut b = [simd.splat(0.0); N];
            for n in 0..N {
                *b.get_unchecked_mut(n) = simd.load(lines.get_unchecked(n));
            }
            for r in 0..R {
                let a = simd.splat(*rows.get_unchecked(r).get_unchecked(depth));
                for n in 0..N {
                    let sum = all.get_unchecked_mut(r).get_unchecked_mut(n);
                    *sum = simd.fma(a, *b.get_unchecked(n), *sum);
                }
            }
        }
    }
    *sums = all;
}

/// A computation that [`vectorised`] compiles for several kinds of vectors; made by the macro `kernel`.
///
/// `run` is marked `#[inline(always)]`, and so is every function that a kernel calls. A closure in its place would be
/// compiled once, for the baseline, and be several times slower; so may be a closure inside of a kernel.
pub(crate) trait Kernel {
    fn run<S: Simd>(self, simd: S);
}

/// Runs a kernel compiled for the widest vectors that the processor has.
///
/// Plain arithmetic gives the same bits in each version: Rust never fuses a product into a sum on its own. Where a
/// kernel fuses them itself ([`Simd::fma`]), the portable version rounds twice.
#[inline]
pub(crate) fn vectorised(kernel: impl Kernel) {
    match vectors() {
        // SAFETY: the features were detected above.
        #[cfg(target_arch = "x86_64")]
        Vectors::Avx512 => unsafe { with_avx512(kernel) },
        // SAFETY: the features were detected above.
        #[cfg(target_arch = "x86_64")]
        Vectors::Avx2 => unsafe { with_avx2(kernel) },
        Vectors::Baseline => kernel.run(Portable),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512cd,avx512dq,avx512vl")]
fn with_avx512(kernel: impl Kernel) {
    kernel.run(Avx512(()));
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2(kernel: impl Kernel) {
    kernel.run(Avx2(()));
}

/// Defines a function whose body is compiled for each kind of vectors and chosen at run time, see
/// [`vectorised`]. A name in brackets before the arguments is that of the body's [`Simd`].
macro_rules! kernel {
    ($(#[$meta:meta])* $visibility:vis fn $name:ident<$a:lifetime>($($argument:ident: $type:ty),* $(,)?) $body:block) => {
        $crate::kernels::kernel! {
            $(#[$meta])* $visibility fn $name<$a>[_simd]($($argument: $type),*) $body
        }
    };
    ($(#[$meta:meta])* $visibility:vis fn $name:ident<$a:lifetime>[$simd:ident]($($argument:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        $visibility fn $name<$a>($($argument: $type),*) {
            struct Call<$a> {
                $($argument: $type),*
            }
            impl<$a> $crate::kernels::Kernel for Call<$a> {
                #[inline(always)]
                fn run<S: $crate::kernels::Simd>(self, $simd: S) {
                    let Self { $($argument),* } = self;
                    $body
                }
            }
            $crate::kernels::vectorised(Call { $($argument),* });
        }
    };
}
pub(crate) use kernel;

#[cfg(test)]
mod tests {
    use super::*;

    /// Small whole numbers, so that every order of additions is exact.
    fn whole(n: usize, step: usize) -> Vec<f32> {
        (0..n).map(|it| ((it * step) % 13) as f32 - 6.0).collect()
    }

    #[test]
    fn a_product_is_the_sum_over_the_inner_side_however_it_is_stored() {
        for (rows, columns, depth) in [(1, 1, 1), (3, 5, 2), (17, 33, 19), (40, 8, 130)] {
            let a = whole(rows * depth, 5);
            let b = whole(depth * columns, 7);
            let expected: Vec<f32> = (0..rows * columns)
                .map(|it| {
                    (0..depth)
                        .map(|k| a[it / columns * depth + k] * b[k * columns + it % columns])
                        .sum()
                })
                .collect();
            let flip = |it: &[f32], rows: usize, columns: usize| -> Vec<f32> {
                (0..rows * columns)
                    .map(|at| it[at % rows * columns + at / rows])
                    .collect()
            };
            let (ta, tb) = (flip(&a, rows, depth), flip(&b, depth, columns));
            let (ma, mb) = (
                Matrix::new(&a, rows, depth),
                Matrix::new(&b, depth, columns),
            );
            let (na, nb) = (
                Matrix::new(&ta, depth, rows),
                Matrix::new(&tb, columns, depth),
            );
            for (a, b) in [
                (ma, mb),
                (na.transposed(), nb.transposed()),
                (ma, nb.transposed()),
            ] {
                for parts in [1, 4] {
                    let mut out = vec![1.0; rows * columns];
                    multiply(&mut out, a, b, false, parts);
                    assert_eq!(out, expected);
                    multiply(&mut out, a, b, true, parts);
                    let twice: Vec<f32> = expected.iter().map(|it| 2.0 * it).collect();
                    assert_eq!(out, twice);
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "inner sides")]
    fn a_product_of_sides_that_do_not_fit_is_refused() {
        let values = [0.0; 6];
        let mut out = [0.0; 4];
        multiply(
            &mut out,
            Matrix::new(&values, 2, 3),
            Matrix::new(&values, 2, 3),
            false,
            1,
        );
    }
}
