//! Operations and their gradients after their definitions, in `f64`.

use super::Values;
use cellmill_nets::layers::Padding;

/// How a kernel slides over a picture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) top: usize,
    pub(crate) left: usize,
    pub(crate) out_h: usize,
    pub(crate) out_w: usize,
}

impl Window {
    pub(crate) fn new([h, w]: [usize; 2], kernel: usize, stride: usize, padding: Padding) -> Self {
        let side = |side: usize| match padding {
            Padding::Even(it) => (it, (side + 2 * it - kernel) / stride + 1),
            Padding::Same => {
                let out = side.div_ceil(stride);
                (((out - 1) * stride + kernel).saturating_sub(side) / 2, out)
            }
        };
        let ((top, out_h), (left, out_w)) = (side(h), side(w));
        Self {
            kernel,
            stride,
            top,
            left,
            out_h,
            out_w,
        }
    }

    /// Calls `body(output pixel, input pixel, tap)` for everything that the kernel sees, taps in their order.
    fn each(&self, [n, h, w]: [usize; 3], mut body: impl FnMut(usize, usize, usize)) {
        for at in 0..n * self.out_h * self.out_w {
            let (line, column) = (at / self.out_w, at % self.out_w);
            let (image, out_y) = (line / self.out_h, line % self.out_h);
            for tap in 0..self.kernel * self.kernel {
                let y = (out_y * self.stride + tap / self.kernel).checked_sub(self.top);
                let x = (column * self.stride + tap % self.kernel).checked_sub(self.left);
                if let (Some(y), Some(x)) = (y.filter(|it| *it < h), x.filter(|it| *it < w)) {
                    body(at, (image * h + y) * w + x, tap);
                }
            }
        }
    }
}

fn sides(x: &Values) -> ([usize; 3], usize) {
    let [n, h, w, c] = x.shape[..] else {
        panic!("images")
    };
    ([n, h, w], c)
}

fn zeros(shape: &[usize]) -> Values {
    Values {
        shape: shape.to_vec(),
        data: vec![0.0; shape.iter().product()],
    }
}

/// Calls `body(output, input, weight)` with the places of all products; a weight of one input is depthwise.
fn products(x: &Values, weight: &Values, it: &Window, mut body: impl FnMut(usize, usize, usize)) {
    let (shape, c) = sides(x);
    let (o, inputs) = (weight.shape[0], weight.shape[1]);
    let taps = it.kernel * it.kernel;
    it.each(shape, |out, pixel, tap| {
        for channel in 0..o {
            let first = if inputs == c { 0 } else { channel };
            for input in 0..inputs {
                let weight = (channel * inputs + input) * taps + tap;
                body(out * o + channel, pixel * c + first + input, weight);
            }
        }
    });
}

/// Dense where the weight has all channels for inputs, depthwise where it has one.
pub(crate) fn convolution(x: &Values, weight: &Values, it: &Window) -> Values {
    let mut y = zeros(&[x.shape[0], it.out_h, it.out_w, weight.shape[0]]);
    products(x, weight, it, |out, input, at| {
        y.data[out] += x.data[input] * weight.data[at];
    });
    y
}

/// In the input and in the weights.
pub(crate) fn convolution_gradients(
    x: &Values,
    weight: &Values,
    dy: &Values,
    it: &Window,
) -> (Values, Values) {
    let (mut dx, mut dw) = (zeros(&x.shape), zeros(&weight.shape));
    products(x, weight, it, |out, input, at| {
        dx.data[input] += dy.data[out] * weight.data[at];
        dw.data[at] += dy.data[out] * x.data[input];
    });
    (dx, dw)
}

/// In a bias for each channel.
pub(crate) fn bias_gradient(dy: &Values) -> Values {
    let (_, o) = sides(dy);
    let mut db = zeros(&[o]);
    for (at, dy) in dy.data.iter().enumerate() {
        db.data[at % o] += dy;
    }
    db
}

/// Output, and gradient in the input: the first of equals gets it.
pub(crate) fn max_pool(x: &Values, dy: &Values, it: &Window) -> (Values, Values) {
    let (shape, c) = sides(x);
    let mut y = zeros(&dy.shape);
    y.data.fill(f64::NEG_INFINITY);
    let mut found = vec![0; y.data.len()];
    it.each(shape, |out, pixel, _| {
        for channel in 0..c {
            let (out, input) = (out * c + channel, pixel * c + channel);
            if x.data[input] > y.data[out] {
                y.data[out] = x.data[input];
                found[out] = input;
            }
        }
    });
    let mut dx = zeros(&x.shape);
    for (found, dy) in found.iter().zip(&dy.data) {
        dx.data[*found] += dy;
    }
    (y, dx)
}

/// Output, and gradient in the input.
pub(crate) fn average_pool(x: &Values, dy: &Values, it: &Window) -> (Values, Values) {
    let (shape, c) = sides(x);
    let scale = 1.0 / (it.kernel * it.kernel) as f64;
    let (mut y, mut dx) = (zeros(&dy.shape), zeros(&x.shape));
    it.each(shape, |out, pixel, _| {
        for channel in 0..c {
            let (out, input) = (out * c + channel, pixel * c + channel);
            y.data[out] += x.data[input] * scale;
            dx.data[input] += dy.data[out] * scale;
        }
    });
    (y, dx)
}

/// The sum of each square of four pixels.
pub(crate) fn sum_squares(dy: &Values) -> Values {
    let (shape, c) = sides(dy);
    let [n, h, w] = shape;
    let mut dx = zeros(&[n, h / 2, w / 2, c]);
    for (at, dy) in dy.data.iter().enumerate() {
        let (line, column) = (at / (w * c), at / c % w);
        dx.data[(line / 2 * (w / 2) + column / 2) * c + at % c] += dy;
    }
    dx
}

/// Of a transposed convolution 2x2 with stride 2: in the input, the weights and the bias.
pub(crate) fn transposed_gradients(
    x: &Values,
    weight: &Values,
    dy: &Values,
) -> (Values, Values, Values) {
    let (shape, o) = sides(dy);
    let (w, c) = (shape[2], x.shape[3]);
    let (mut dx, mut dw, mut db) = (zeros(&x.shape), zeros(&weight.shape), zeros(&[o]));
    for (at, dy) in dy.data.iter().enumerate() {
        let (line, column, channel) = (at / (w * o), at / o % w, at % o);
        let pixel = (line / 2 * (w / 2) + column / 2) * c;
        let tap = line % 2 * 2 + column % 2;
        db.data[channel] += dy;
        for input in 0..c {
            let weight_at = (input * o + channel) * 4 + tap;
            dx.data[pixel + input] += dy * weight.data[weight_at];
            dw.data[weight_at] += dy * x.data[pixel + input];
        }
    }
    (dx, dw, db)
}

/// Of batch normalisation in training mode, without what comes after: in the input, gamma and beta (Ioffe and
/// Szegedy 2015, section 3).
pub(crate) fn batch_norm_gradients(
    x: &Values,
    gamma: &Values,
    dy: &Values,
) -> (Values, Values, Values) {
    let c = gamma.data.len();
    let n = (x.data.len() / c) as f64;
    let (mut dx, mut of_gamma, mut of_beta) = (zeros(&x.shape), zeros(&[c]), zeros(&[c]));
    for channel in 0..c {
        let places = || (channel..x.data.len()).step_by(c);
        let mean = places().map(|at| x.data[at]).sum::<f64>() / n;
        let variance = places().map(|at| (x.data[at] - mean).powi(2)).sum::<f64>() / n;
        let inverse = 1.0 / (variance + 1e-5).sqrt();
        let normal = |at: usize| (x.data[at] - mean) * inverse;
        let sum: f64 = places().map(|at| dy.data[at]).sum();
        let product: f64 = places().map(|at| dy.data[at] * normal(at)).sum();
        of_gamma.data[channel] = product;
        of_beta.data[channel] = sum;
        for at in places() {
            let centred = dy.data[at] - sum / n - normal(at) * product / n;
            dx.data[at] = gamma.data[channel] * inverse * centred;
        }
    }
    (dx, of_gamma, of_beta)
}

/// How large the terms of a batch normalisation are, without their signs: of the output, of the gradient in the
/// input, and of those in gamma and beta.
pub(crate) fn batch_norm_terms(
    x: &Values,
    [gamma, beta]: &[Values; 2],
    dy: &Values,
) -> (Values, Values, [Values; 2]) {
    let c = gamma.data.len();
    let n = (x.data.len() / c) as f64;
    let (mut y, mut dx) = (zeros(&x.shape), zeros(&x.shape));
    let (mut of_gamma, mut of_beta) = (zeros(&[c]), zeros(&[c]));
    for channel in 0..c {
        let places = || (channel..x.data.len()).step_by(c);
        let mean = places().map(|at| x.data[at]).sum::<f64>() / n;
        let variance = places().map(|at| (x.data[at] - mean).powi(2)).sum::<f64>() / n;
        let inverse = 1.0 / (variance + 1e-5).sqrt();
        let (gamma, beta) = (gamma.data[channel].abs(), beta.data[channel].abs());
        let normal = |at: usize| (x.data[at].abs() + mean.abs()) * inverse;
        let sum: f64 = places().map(|at| dy.data[at].abs()).sum();
        let product: f64 = places().map(|at| dy.data[at].abs() * normal(at)).sum();
        of_gamma.data[channel] = product;
        of_beta.data[channel] = sum;
        for at in places() {
            y.data[at] = normal(at) * gamma + beta;
            let centred = dy.data[at].abs() + sum / n + normal(at) * product / n;
            dx.data[at] = gamma * inverse * centred;
        }
    }
    (y, dx, [of_gamma, of_beta])
}
