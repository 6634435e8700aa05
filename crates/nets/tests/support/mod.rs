//! What the tests of this crate share: drawn values, and slow layers in `f64` to compare with.
#![allow(dead_code, reason = "each test binary uses its part")]
#![expect(
    clippy::unwrap_used,
    clippy::many_single_char_names,
    reason = "a failure here is a failed test; n, h, w, c, o are what the field calls the sides"
)]

pub(crate) mod reference;

use candle_core::{Device, Tensor};
use cellmill_nets::layers::{Activation, Layer, Padding, Pass, Slot};
use cellmill_nets::rng::{Purpose, Rng};

/// Values with a shape, channels last.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<f64>,
}

impl Values {
    /// Drawn from a normal distribution and rounded to `f32`, so that both sides see the same numbers.
    pub(crate) fn drawn(shape: &[usize], rng: &mut Rng) -> Self {
        let n = shape.iter().product();
        let data = (0..n).map(|_| f64::from(rng.normal() as f32)).collect();
        Self {
            shape: shape.to_vec(),
            data,
        }
    }

    pub(crate) fn tensor(&self) -> Tensor {
        let data: Vec<f32> = self.data.iter().map(|it| *it as f32).collect();
        Tensor::from_vec(data, self.shape.as_slice(), &Device::Cpu).unwrap()
    }

    pub(crate) fn of(tensor: &Tensor) -> Self {
        let data = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        Self {
            shape: tensor.dims().to_vec(),
            data: data.into_iter().map(f64::from).collect(),
        }
    }

    pub(crate) fn abs(&self) -> Self {
        let data = self.data.iter().map(|it| it.abs()).collect();
        Self {
            shape: self.shape.clone(),
            data,
        }
    }

    pub(crate) fn plus(mut self, other: &Self) -> Self {
        for (it, other) in self.data.iter_mut().zip(&other.data) {
            *it += other;
        }
        self
    }

    fn with(&self, at: usize, value: f64) -> Self {
        let mut out = self.clone();
        out.data[at] = value;
        out
    }
}

pub(crate) fn rng(place: u64) -> Rng {
    Rng::new(11, Purpose::Synthetic, [place, 0])
}

pub(crate) fn pass() -> Pass {
    Pass::new(&Device::Cpu, 3)
}

/// Sets the parameters of a layer, in the order of its visit.
pub(crate) fn set_parameters(layer: &mut dyn Layer, values: &[Values]) {
    let mut values = values.iter();
    layer
        .visit("", &mut |_, slot| {
            if let Slot::Parameter(it) = slot {
                it.value = values.next().unwrap().tensor();
            }
            Ok(())
        })
        .unwrap();
}

pub(crate) fn gradients(layer: &mut dyn Layer) -> Vec<Values> {
    let mut out = Vec::new();
    layer
        .visit("", &mut |_, slot| {
            if let Slot::Parameter(it) = slot {
                out.push(Values::of(&it.gradient));
            }
            Ok(())
        })
        .unwrap();
    out
}

/// Largest distance, as a part of the largest expected value.
#[track_caller]
pub(crate) fn assert_close(found: &Values, expected: &Values, tolerance: f64, what: &str) {
    assert_eq!(found.data.len(), expected.data.len(), "{what}");
    let largest = expected.data.iter().fold(0.0_f64, |a, b| a.max(b.abs()));
    let pairs = found.data.iter().zip(&expected.data);
    let distance = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    // A value that is no number is no distance either.
    let numbers = found.data.iter().all(|it| it.is_finite());
    assert!(
        numbers && distance <= tolerance * largest.max(1e-3),
        "{what}: {distance:e} off, largest {largest:e}"
    );
}

/// Largest distance, as a part of the largest sum of the terms without their signs.
#[track_caller]
pub(crate) fn assert_rounded(
    found: &Values,
    expected: &Values,
    terms: &Values,
    tolerance: f64,
    what: &str,
) {
    assert_eq!(found.data.len(), expected.data.len(), "{what}");
    let largest = terms.data.iter().copied().fold(0.0, f64::max);
    let pairs = found.data.iter().zip(&expected.data);
    let distance = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    // A value that is no number is no distance either.
    let numbers = found.data.iter().all(|it| it.is_finite());
    assert!(
        numbers && distance <= tolerance * largest,
        "{what}: {distance:e} off, largest sum of terms {largest:e}"
    );
}

/// Output of a slow layer for an input and parameters.
pub(crate) type Reference<'a> = &'a dyn Fn(&Values, &[Values]) -> Values;

/// Compares output and all gradients of `layer` with those of `reference`. The loss is the sum of the output
/// times drawn factors; its gradients in `f64` come from central differences of the reference.
///
/// A step of 1e-5 leaves an error of about 1e-10 in the differences, so what is tolerated is the rounding of
/// `f32` sums alone.
pub(crate) fn check_layer(
    layer: &mut dyn Layer,
    reference: Reference<'_>,
    x: &Values,
    parameters: &[Values],
    what: &str,
) {
    set_parameters(layer, parameters);
    let mut pass = pass();
    let expected = reference(x, parameters);
    let found = Values::of(&layer.forward(x.tensor(), &mut pass).unwrap());
    assert_eq!(found.shape, expected.shape, "{what}");
    assert_close(&found, &expected, 1e-5, &format!("{what}: output"));

    let factors = Values::drawn(&expected.shape, &mut rng(99));
    let loss = |x: &Values, parameters: &[Values]| -> f64 {
        let y = reference(x, parameters);
        y.data.iter().zip(&factors.data).map(|(a, b)| a * b).sum()
    };
    let dx = layer
        .backward(factors.tensor(), true, &mut pass)
        .unwrap()
        .unwrap();
    let slope = |values: &Values, loss: &dyn Fn(&Values) -> f64| -> Values {
        let one = |at: usize| {
            let (step, middle) = (1e-5, values.data[at]);
            let (up, down) = (
                values.with(at, middle + step),
                values.with(at, middle - step),
            );
            (loss(&up) - loss(&down)) / (2.0 * step)
        };
        Values {
            shape: values.shape.clone(),
            data: (0..values.data.len()).map(one).collect(),
        }
    };
    let expected = slope(x, &|x| loss(x, parameters));
    assert_close(&Values::of(&dx), &expected, 3e-5, &format!("{what}: input"));
    for (at, found) in gradients(layer).iter().enumerate() {
        let expected = slope(&parameters[at], &|it| {
            let mut parameters = parameters.to_vec();
            parameters[at] = it.clone();
            loss(x, &parameters)
        });
        assert_close(found, &expected, 3e-5, &format!("{what}: parameter {at}"));
    }
}

/// Convolution after its definition; `groups` is 1, or the number of channels.
pub(crate) fn convolution(
    x: &Values,
    weight: &Values,
    stride: usize,
    padding: impl Into<Padding>,
    groups: usize,
) -> Values {
    let [n, h, w, c] = x.shape[..] else {
        panic!("images")
    };
    let [o, inputs, k, _] = weight.shape[..] else {
        panic!("kernels")
    };
    let padding = padding.into();
    let sides = |side: usize| match padding {
        Padding::Even(it) => (it, (side + 2 * it - k) / stride + 1),
        Padding::Same => {
            let out = side.div_ceil(stride);
            (((out - 1) * stride + k).saturating_sub(side) / 2, out)
        }
    };
    let ((top, out_h), (left, out_w)) = (sides(h), sides(w));
    let mut data = Vec::new();
    for at in 0..n * out_h * out_w * o {
        let (channel, pixel) = (at % o, at / o);
        let (image, oy, ox) = (
            pixel / (out_w * out_h),
            pixel / out_w % out_h,
            pixel % out_w,
        );
        let first = if groups == 1 { 0 } else { channel };
        let mut sum = 0.0;
        for (tap, weight) in weight.data[channel * inputs * k * k..][..inputs * k * k]
            .iter()
            .enumerate()
        {
            let (input, ky, kx) = (first + tap / (k * k), tap / k % k, tap % k);
            let y = (oy * stride + ky).checked_sub(top).filter(|it| *it < h);
            let x_at = (ox * stride + kx).checked_sub(left).filter(|it| *it < w);
            if let (Some(y), Some(x_at)) = (y, x_at) {
                sum += weight * x.data[((image * h + y) * w + x_at) * c + input];
            }
        }
        data.push(sum);
    }
    Values {
        shape: vec![n, out_h, out_w, o],
        data,
    }
}

/// Batch normalisation of training mode, and the rectifier.
pub(crate) fn batch_norm(x: &Values, gamma: &Values, beta: &Values, relu: bool) -> Values {
    let c = gamma.data.len();
    let n = (x.data.len() / c) as f64;
    let mut out = x.clone();
    for channel in 0..c {
        let values: Vec<f64> = x.data.iter().skip(channel).step_by(c).copied().collect();
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / n;
        for (at, value) in values.iter().enumerate() {
            let normal = (value - mean) / (variance + 1e-5).sqrt();
            let y = normal * gamma.data[channel] + beta.data[channel];
            out.data[at * c + channel] = if relu { y.max(0.0) } else { y };
        }
    }
    out
}

/// `x weight^T (+ bias)`.
pub(crate) fn linear(x: &Values, weight: &Values, bias: Option<&Values>) -> Values {
    let [n, c] = x.shape[..] else { panic!("rows") };
    let o = weight.shape[0];
    let one = |at: usize| -> f64 {
        let (row, out) = (at / o, at % o);
        let products = x.data[row * c..][..c]
            .iter()
            .zip(&weight.data[out * c..][..c]);
        products.map(|(a, b)| a * b).sum::<f64>() + bias.map_or(0.0, |it| it.data[out])
    };
    Values {
        shape: vec![n, o],
        data: (0..n * o).map(one).collect(),
    }
}

/// The mean over pixels.
pub(crate) fn average(x: &Values) -> Values {
    let [n, h, w, c] = x.shape[..] else {
        panic!("images")
    };
    let mut data = vec![0.0; n * c];
    for (at, value) in x.data.iter().enumerate() {
        data[at / (h * w * c) * c + at % c] += value / (h * w) as f64;
    }
    Values {
        shape: vec![n, c],
        data,
    }
}

/// The value of each window of `kernel` x `kernel` pixels that lie inside of the picture.
pub(crate) fn windows(
    x: &Values,
    kernel: usize,
    stride: usize,
    padding: usize,
    value: &dyn Fn(&[f64]) -> f64,
) -> Values {
    let [n, h, w, c] = x.shape[..] else {
        panic!("images")
    };
    let side = |side: usize| (side + 2 * padding - kernel) / stride + 1;
    let shape = vec![n, side(h), side(w), c];
    let one = |at: usize| {
        let (pixel, channel) = (at / c, at % c);
        let (image, oy, ox) = (
            pixel / (shape[1] * shape[2]),
            pixel / shape[2] % shape[1],
            pixel % shape[2],
        );
        let inside = |at: usize, side: usize| at.checked_sub(padding).filter(|it| *it < side);
        let seen: Vec<f64> = (0..kernel * kernel)
            .filter_map(|tap| {
                let y = inside(oy * stride + tap / kernel, h)?;
                let x_at = inside(ox * stride + tap % kernel, w)?;
                Some(x.data[((image * h + y) * w + x_at) * c + channel])
            })
            .collect();
        value(&seen)
    };
    let data = (0..shape.iter().product()).map(one).collect();
    Values { shape, data }
}

pub(crate) fn max_pool(x: &Values, kernel: usize, stride: usize, padding: usize) -> Values {
    windows(x, kernel, stride, padding, &|seen| {
        seen.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    })
}

pub(crate) fn average_pool(x: &Values, kernel: usize, stride: usize) -> Values {
    windows(x, kernel, stride, 0, &|seen| {
        seen.iter().sum::<f64>() / seen.len() as f64
    })
}

/// Every pixel four times.
pub(crate) fn upsample(x: &Values) -> Values {
    let [n, h, w, c] = x.shape[..] else {
        panic!("images")
    };
    let shape = vec![n, 2 * h, 2 * w, c];
    let one = |at: usize| {
        let (line, column) = (at / (2 * w * c), at / c % (2 * w));
        let (image, y) = (line / (2 * h), line % (2 * h));
        x.data[((image * h + y / 2) * w + column / 2) * c + at % c]
    };
    let data = (0..4 * x.data.len()).map(one).collect();
    Values { shape, data }
}

/// Transposed convolution 2x2 with stride 2; weight `[inputs, outputs, 2, 2]`.
pub(crate) fn transposed(x: &Values, weight: &Values, bias: &Values) -> Values {
    let [n, h, w, c] = x.shape[..] else {
        panic!("images")
    };
    let o = bias.data.len();
    let shape = vec![n, 2 * h, 2 * w, o];
    let one = |at: usize| {
        let (line, column, channel) = (at / (2 * w * o), at / o % (2 * w), at % o);
        let (image, y) = (line / (2 * h), line % (2 * h));
        let pixel = ((image * h + y / 2) * w + column / 2) * c;
        let tap = y % 2 * 2 + column % 2;
        let products = (0..c)
            .map(|input| x.data[pixel + input] * weight.data[(input * o + channel) * 4 + tap]);
        bias.data[channel] + products.sum::<f64>()
    };
    let data = (0..n * 4 * h * w * o).map(one).collect();
    Values { shape, data }
}

/// The channels of `a`, then those of `b`.
pub(crate) fn concat(a: &Values, b: &Values) -> Values {
    let (of_a, of_b) = (a.shape[3], b.shape[3]);
    let pixels = a.data.chunks(of_a).zip(b.data.chunks(of_b));
    Values {
        shape: vec![a.shape[0], a.shape[1], a.shape[2], of_a + of_b],
        data: pixels.flat_map(|(a, b)| [a, b].concat()).collect(),
    }
}

/// What comes after: the value held from 0, or between 0 and 6.
pub(crate) fn activated(mut x: Values, after: Activation) -> Values {
    for it in &mut x.data {
        *it = match after {
            Activation::None => *it,
            Activation::Relu => it.max(0.0),
            Activation::Relu6 => it.clamp(0.0, 6.0),
        };
    }
    x
}

/// A bias added to each channel.
pub(crate) fn biased(mut x: Values, bias: &Values) -> Values {
    for (at, it) in x.data.iter_mut().enumerate() {
        *it += bias.data[at % bias.data.len()];
    }
    x
}
