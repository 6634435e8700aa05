//! Every operation at drawn shapes: against its definition in `f64` (outputs and gradients), against candle's own
//! operation (outputs, and gradients where candle's are right), and the same bits on any number of threads.

#![expect(
    clippy::unwrap_used,
    clippy::many_single_char_names,
    reason = "a failure here is a failed test; n, h, w, c, o are what the field calls the sides"
)]

mod support;

use candle_core::{Device, Tensor, Var};
use cellmill_nets::layers::{
    Activation, AveragePool, BatchNorm, Chain, Convolution, Depthwise, Layer, MaxPool, Padding,
    Residual, Skip, TransposedConvolution, Upsample,
};
use proptest::prelude::*;
use support::reference::{self, Window};
use support::{Values, activated, assert_rounded, biased, concat, pass, rng};

const CPU: Device = Device::Cpu;

/// How far sums in `f32` in another order may lead, as a part of the largest sum of what was added without its sign.
/// Terms that cancel leave a small sum but not a small rounding, so the sum itself is no measure.
const ROUNDING: f64 = 2e-6;

/// What Winograd's transformations add: their factors go from 1/24 to 8 and square.
const WINOGRAD: f64 = 1e-5;

/// What an operation gave: output, gradient in the input, gradients in the parameters. Or how large the terms of
/// each were.
struct Outcome {
    y: Values,
    dx: Values,
    parameters: Vec<Values>,
}

/// Runs a layer forwards and backwards; the gradient of its output is drawn.
fn run(layer: &mut dyn Layer, x: &Values, parameters: &[Values]) -> (Outcome, Values) {
    support::set_parameters(layer, parameters);
    let mut pass = pass();
    let y = Values::of(&layer.forward(x.tensor(), &mut pass).unwrap());
    let dy = Values::drawn(&y.shape, &mut rng(99));
    let dx = layer.backward(dy.tensor(), true, &mut pass).unwrap();
    let outcome = Outcome {
        y,
        dx: Values::of(&dx.unwrap()),
        parameters: support::gradients(layer),
    };
    (outcome, dy)
}

#[track_caller]
fn check(found: &Outcome, expected: &Outcome, terms: &Outcome, tolerance: f64, what: &str) {
    let close = |[found, expected, terms]: [&Values; 3], part: &str| {
        assert_eq!(found.shape, expected.shape, "{what}: {part}");
        assert_rounded(
            found,
            expected,
            terms,
            tolerance,
            &format!("{what}: {part}"),
        );
    };
    close([&found.y, &expected.y, &terms.y], "output");
    close([&found.dx, &expected.dx, &terms.dx], "input");
    assert_eq!(found.parameters.len(), expected.parameters.len(), "{what}");
    assert_eq!(found.parameters.len(), terms.parameters.len(), "{what}");
    for (at, found) in found.parameters.iter().enumerate() {
        let part = format!("parameter {at}");
        close(
            [found, &expected.parameters[at], &terms.parameters[at]],
            &part,
        );
    }
}

/// A convolution after its definition; `dy` as it is below an activation.
fn convolution(x: &Values, weight: &Values, dy: &Values, window: &Window) -> Outcome {
    let (dx, dw) = reference::convolution_gradients(x, weight, dy, window);
    Outcome {
        y: reference::convolution(x, weight, window),
        dx,
        parameters: vec![dw],
    }
}

/// Candle's pictures have the channels in front.
fn channels_first(x: &Values) -> Tensor {
    let x = x.tensor().permute((0, 3, 1, 2)).unwrap();
    x.contiguous().unwrap()
}

fn channels_last(x: &Tensor) -> Values {
    Values::of(&x.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap())
}

/// An operation of candle with its gradients.
fn candle(
    x: &Values,
    weight: Option<&Values>,
    dy: Option<&Values>,
    op: impl Fn(&Tensor, Option<&Tensor>) -> candle_core::Result<Tensor>,
) -> Outcome {
    let x = Var::from_tensor(&channels_first(x)).unwrap();
    let weight = weight.map(|it| Var::from_tensor(&it.tensor()).unwrap());
    let y = op(x.as_tensor(), weight.as_ref().map(Var::as_tensor)).unwrap();
    let outcome = |dx: Values, parameters| Outcome {
        y: channels_last(&y),
        dx,
        parameters,
    };
    let Some(dy) = dy else {
        let none = Values {
            shape: Vec::new(),
            data: Vec::new(),
        };
        return outcome(none, Vec::new());
    };
    let loss = (y.clone() * channels_first(dy)).unwrap().sum_all().unwrap();
    let gradients = loss.backward().unwrap();
    let dx = channels_last(gradients.get(x.as_tensor()).unwrap());
    let dw = weight.map(|it| Values::of(gradients.get(it.as_tensor()).unwrap()));
    outcome(dx, dw.into_iter().collect())
}

/// Zeros around a picture, as a padding of [`Window`] says: candle's are even.
fn with_border(x: &Tensor, it: &Window) -> candle_core::Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    let behind = |out: usize, before: usize, side: usize| {
        ((out - 1) * it.stride + it.kernel).saturating_sub(side + before)
    };
    x.pad_with_zeros(2, it.top, behind(it.out_h, it.top, h))?
        .pad_with_zeros(3, it.left, behind(it.out_w, it.left, w))
}

/// Candle's gradient of a convolution with stride takes it that as many lines as columns are left over behind the
/// last window; else it stops with an error.
fn candle_has_gradients(x: &Values, it: &Window) -> bool {
    let rest = |side: usize, before: usize, out: usize| {
        (side + before).saturating_sub((out - 1) * it.stride + it.kernel)
    };
    rest(x.shape[1], it.top, it.out_h) == rest(x.shape[2], it.left, it.out_w)
}

fn check_against_candle(
    found: &Outcome,
    candle: &Outcome,
    terms: &Outcome,
    tolerance: f64,
    what: &str,
) {
    let what = format!("{what} against candle");
    if candle.dx.data.is_empty() {
        assert_rounded(&found.y, &candle.y, &terms.y, tolerance, &what);
    } else {
        check(found, candle, terms, tolerance, &what);
    }
}

/// Of an operation without parameters.
fn pooled((y, dx): (Values, Values)) -> Outcome {
    Outcome {
        y,
        dx,
        parameters: Vec::new(),
    }
}

fn padding(kernel: usize) -> impl Strategy<Value = Padding> {
    prop_oneof![
        (0..kernel).prop_map(Padding::Even),
        Just(Padding::Same),
        Just(Padding::Even(kernel / 2)),
    ]
}

fn after() -> impl Strategy<Value = Activation> {
    prop_oneof![
        Just(Activation::None),
        Just(Activation::Relu),
        Just(Activation::Relu6)
    ]
}

/// Channels below, at and above what a register holds.
fn channels() -> impl Strategy<Value = usize> {
    prop_oneof![1..6_usize, 14..19_usize, 30..35_usize]
}

fn check_convolution(
    shape: [usize; 4],
    o: usize,
    [kernel, stride]: [usize; 2],
    padding: Padding,
    after: Option<Activation>,
    tolerance: f64,
) {
    let [n, h, w, c] = shape;
    let what = format!(
        "convolution {n} x {h} x {w} x {c} to {o}, kernel {kernel}, stride {stride}, {padding:?}, {after:?}"
    );
    let mut rng = rng((h * 100 + w) as u64);
    let x = Values::drawn(&shape, &mut rng);
    let mut weight = Values::drawn(&[o, c, kernel, kernel], &mut rng);
    for it in &mut weight.data {
        // Outputs of a deviation of about 2: an activation holds some on either side.
        *it = f64::from((*it * 2.0 / ((kernel * kernel * c) as f64).sqrt()) as f32);
    }
    let bias = Values::drawn(&[o], &mut rng);
    let mut layer = Convolution::new([c, o], kernel, stride, padding, &mut rng, &CPU).unwrap();
    let window = Window::new([h, w], kernel, stride, padding);
    let Some(after) = after else {
        let (found, dy) = run(&mut layer, &x, std::slice::from_ref(&weight));
        let expected = convolution(&x, &weight, &dy, &window);
        let terms = convolution(&x.abs(), &weight.abs(), &dy.abs(), &window);
        check(&found, &expected, &terms, tolerance, &what);
        let dy = candle_has_gradients(&x, &window).then_some(&dy);
        let candle = candle(&x, Some(&weight), dy, |x, weight| {
            with_border(x, &window)?.conv2d(weight.unwrap(), 0, stride, 1, 1)
        });
        check_against_candle(&found, &candle, &terms, tolerance, &what);
        return;
    };
    layer = layer.with_bias(after).unwrap();
    let parameters = [weight.clone(), bias.clone()];
    let (found, mut dy) = run(&mut layer, &x, &parameters);
    for (at, dy) in dy.data.iter_mut().enumerate() {
        // The mask is that of the layer: a value beside a bound may be rounded to either side of it.
        let y = found.y.data[at];
        let passes = match after {
            Activation::None => true,
            Activation::Relu => y > 0.0,
            Activation::Relu6 => y > 0.0 && y < 6.0,
        };
        *dy = if passes { *dy } else { 0.0 };
    }
    let with_bias = |x: &Values, weight: &Values, bias: &Values, dy: &Values| {
        let mut it = convolution(x, weight, dy, &window);
        it.y = biased(it.y, bias);
        it.parameters.push(reference::bias_gradient(dy));
        it
    };
    let mut expected = with_bias(&x, &weight, &bias, &dy);
    expected.y = activated(expected.y, after);
    let terms = with_bias(&x.abs(), &weight.abs(), &bias.abs(), &dy.abs());
    check(&found, &expected, &terms, tolerance, &what);
    let inferred = layer.infer(x.tensor(), &mut pass()).unwrap();
    assert_eq!(
        Values::of(&inferred).data,
        found.y.data,
        "{what}: inference"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn convolutions_by_gathering(
        (kernel, padding) in prop_oneof![Just(1_usize), Just(2), Just(3), Just(5), Just(7)]
            .prop_flat_map(|it| (Just(it), padding(it))),
        stride in 1..4_usize,
        n in 1..4_usize, h in 7..12_usize, w in 7..12_usize, c in 1..8_usize, o in channels(),
        after in proptest::option::of(after()),
    ) {
        check_convolution([n, h, w, c], o, [kernel, stride], padding, after, ROUNDING);
    }

    #[test]
    fn convolutions_of_many_channels(
        (kernel, padding) in prop_oneof![Just(1_usize), Just(3), Just(5)]
            .prop_flat_map(|it| (Just(it), padding(it))),
        stride in 1..3_usize,
        n in 1..4_usize, h in 5..9_usize, w in 5..9_usize, c in channels(), o in channels(),
    ) {
        // The kinds that go Winograd's way among them, too.
        check_convolution([n, h, w, c], o, [kernel, stride], padding, None, WINOGRAD);
    }

    #[test]
    fn convolutions_after_winograd(
        n in 1..4_usize, h in 3..15_usize, w in 3..15_usize,
        c in 16..36_usize, o in 16..36_usize,
        after in proptest::option::of(after()),
    ) {
        check_convolution([n, h, w, c], o, [3, 1], Padding::Even(1), after, WINOGRAD);
    }

    #[test]
    fn depthwise_convolutions(
        (kernel, padding) in prop_oneof![Just(3_usize), Just(5)]
            .prop_flat_map(|it| (Just(it), padding(it))),
        stride in 1..4_usize,
        n in 1..4_usize, h in 5..12_usize, w in 5..12_usize, c in channels(),
    ) {
        let what = format!("depthwise {n} x {h} x {w} x {c}, kernel {kernel}, stride {stride}, {padding:?}");
        let mut rng = rng((h * 100 + w) as u64);
        let x = Values::drawn(&[n, h, w, c], &mut rng);
        let weight = Values::drawn(&[c, 1, kernel, kernel], &mut rng);
        let mut layer = Depthwise::of(c, kernel, stride, padding, &mut rng, &CPU).unwrap();
        let (found, dy) = run(&mut layer, &x, std::slice::from_ref(&weight));
        let window = Window::new([h, w], kernel, stride, padding);
        let expected = convolution(&x, &weight, &dy, &window);
        let terms = convolution(&x.abs(), &weight.abs(), &dy.abs(), &window);
        check(&found, &expected, &terms, ROUNDING, &what);
        let dy = candle_has_gradients(&x, &window).then_some(&dy);
        let candle = candle(&x, Some(&weight), dy, |x, weight| {
            with_border(x, &window)?.conv2d(weight.unwrap(), 0, stride, 1, c)
        });
        check_against_candle(&found, &candle, &terms, ROUNDING, &what);
    }

    #[test]
    fn pools(
        kernel in 1..5_usize, stride in 1..4_usize, half in any::<bool>(),
        n in 1..4_usize, h in 4..12_usize, w in 4..12_usize, c in channels(),
    ) {
        let padding = if half { kernel / 2 } else { 0 };
        let what = format!("pool {n} x {h} x {w} x {c}, kernel {kernel}, stride {stride}, padding {padding}");
        let x = Values::drawn(&[n, h, w, c], &mut rng((h * 100 + w) as u64));
        let window = Window::new([h, w], kernel, stride, Padding::Even(padding));
        let (found, dy) = run(&mut MaxPool::new(kernel, stride, padding), &x, &[]);
        let expected = pooled(reference::max_pool(&x, &dy, &window));
        let terms = pooled((x.abs(), reference::max_pool(&x, &dy.abs(), &window).1));
        check(&found, &expected, &terms, ROUNDING, &format!("max {what}"));
        // Candle's gradients of pools are wrong, or refused.
        if padding == 0 {
            let candle_y = candle(&x, None, None, |x, _| x.max_pool2d_with_stride(kernel, stride)).y;
            assert_eq!(found.y.data, candle_y.data, "max {what} against candle");
            let (found, dy) = run(&mut AveragePool::new(kernel, stride), &x, &[]);
            let expected = pooled(reference::average_pool(&x, &dy, &window));
            let terms = pooled(reference::average_pool(&x.abs(), &dy.abs(), &window));
            check(&found, &expected, &terms, ROUNDING, &format!("average {what}"));
            let candle_y = candle(&x, None, None, |x, _| x.avg_pool2d_with_stride(kernel, stride)).y;
            assert_rounded(&found.y, &candle_y, &terms.y, ROUNDING, &format!("average {what} against candle"));
        }
    }

    #[test]
    fn upsampling_and_transposed_convolutions(
        n in 1..4_usize, h in 1..9_usize, w in 1..9_usize, c in channels(), o in channels(),
    ) {
        let what = format!("{n} x {h} x {w} x {c} to {o}");
        let mut rng = rng((h * 100 + w) as u64);
        let x = Values::drawn(&[n, h, w, c], &mut rng);
        let (found, dy) = run(&mut Upsample::default(), &x, &[]);
        let expected = pooled((support::upsample(&x), reference::sum_squares(&dy)));
        let terms = pooled((x.abs(), reference::sum_squares(&dy.abs())));
        check(&found, &expected, &terms, ROUNDING, &format!("upsample {what}"));
        let candle_y = candle(&x, None, None, |x, _| x.upsample_nearest2d(2 * h, 2 * w)).y;
        assert_eq!(found.y.data, candle_y.data, "upsample {what} against candle");

        let parameters = [Values::drawn(&[c, o, 2, 2], &mut rng), Values::drawn(&[o], &mut rng)];
        let mut layer = TransposedConvolution::new([c, o], &mut rng, &CPU).unwrap();
        let (found, dy) = run(&mut layer, &x, &parameters);
        let transposed = |x: &Values, [weight, bias]: &[Values; 2], dy: &Values| {
            let (dx, dw, db) = reference::transposed_gradients(x, weight, dy);
            Outcome { y: support::transposed(x, weight, bias), dx, parameters: vec![dw, db] }
        };
        let expected = transposed(&x, &parameters, &dy);
        let terms = transposed(&x.abs(), &parameters.each_ref().map(Values::abs), &dy.abs());
        check(&found, &expected, &terms, ROUNDING, &format!("transposed {what}"));
        let mut candle = candle(&x, Some(&parameters[0]), Some(&dy), |x, weight| {
            x.conv_transpose2d(weight.unwrap(), 0, 0, 2, 1)
        });
        candle.y = biased(candle.y, &parameters[1]);
        candle.parameters.push(expected.parameters[1].clone());
        check(&found, &candle, &terms, ROUNDING, &format!("transposed {what} against candle"));
    }

    /// Joined with itself, so that the gradient is the sum of the two parts.
    #[test]
    fn joins(n in 1..4_usize, h in 1..6_usize, w in 1..6_usize, c in channels()) {
        let x = Values::drawn(&[n, h, w, c], &mut rng((h * 100 + w) as u64));
        let mut layer = Skip::new(Chain::default(), Chain::default(), Chain::default());
        let (found, dy) = run(&mut layer, &x, &[]);
        let joined = |x: &Values, dy: &Values| {
            let rows = dy.data.chunks_exact(2 * c);
            let data = rows.flat_map(|row| (0..c).map(|at| row[at] + row[c + at])).collect();
            pooled((concat(x, x), Values { shape: x.shape.clone(), data }))
        };
        let (expected, terms) = (joined(&x, &dy), joined(&x.abs(), &dy.abs()));
        check(&found, &expected, &terms, ROUNDING, "join");
        let candle_y = candle(&x, None, None, |x, _| Tensor::cat(&[x, x], 1)).y;
        assert_eq!(found.y.data, candle_y.data, "join against candle");
    }

    #[test]
    fn sums_with_a_rectifier(n in 1..4_usize, h in 1..9_usize, w in 1..9_usize, c in channels()) {
        let mut rng = rng((h * 100 + w) as u64);
        let x = Values::drawn(&[n, h, w, c], &mut rng);
        let weight = Values::drawn(&[c, c, 1, 1], &mut rng);
        let body = Convolution::new([c, c], 1, 1, 0, &mut rng, &CPU).unwrap();
        let mut layer = Residual::new(Chain::default().then("", body), None, Activation::Relu);
        let (found, mut dy) = run(&mut layer, &x, std::slice::from_ref(&weight));
        for (dy, y) in dy.data.iter_mut().zip(&found.y.data) {
            // The mask is that of the layer: a sum beside zero may be rounded to either side of it.
            *dy = if *y > 0.0 { *dy } else { 0.0 };
        }
        let window = Window::new([h, w], 1, 1, Padding::Even(0));
        let with_input = |x: &Values, weight: &Values, dy: &Values| {
            let Outcome { y, dx, parameters } = convolution(x, weight, dy, &window);
            Outcome { y: y.plus(x), dx: dx.plus(dy), parameters }
        };
        let mut expected = with_input(&x, &weight, &dy);
        expected.y = activated(expected.y, Activation::Relu);
        let terms = with_input(&x.abs(), &weight.abs(), &dy.abs());
        check(&found, &expected, &terms, ROUNDING, "sum");
        let mut candle = candle(&x, Some(&weight), Some(&dy), |x, weight| {
            x.conv2d(weight.unwrap(), 0, 1, 1, 1)? + x
        });
        candle.y = activated(candle.y, Activation::Relu);
        check(&found, &candle, &terms, ROUNDING, "sum against candle");
    }

    #[test]
    fn batch_normalisation_with_a_rectifier(
        n in 2..5_usize, h in 1..9_usize, w in 2..9_usize, c in channels(), relu in any::<bool>(),
    ) {
        let what = format!("batch norm {n} x {h} x {w} x {c}, relu {relu}");
        let mut rng = rng((h * 100 + w) as u64);
        let x = Values::drawn(&[n, h, w, c], &mut rng);
        let parameters = [Values::drawn(&[c], &mut rng), Values::drawn(&[c], &mut rng)];
        let after = if relu { Activation::Relu } else { Activation::None };
        let mut layer = BatchNorm::new(c, after, &CPU).unwrap();
        let (found, mut dy) = run(&mut layer, &x, &parameters);
        let y = support::batch_norm(&x, &parameters[0], &parameters[1], relu);
        for (dy, y) in dy.data.iter_mut().zip(&found.y.data) {
            *dy = if relu && *y <= 0.0 { 0.0 } else { *dy };
        }
        let (dx, gamma, beta) = reference::batch_norm_gradients(&x, &parameters[0], &dy);
        let terms = reference::batch_norm_terms(&x, &parameters, &dy);
        let terms = Outcome { y: terms.0, dx: terms.1, parameters: terms.2.to_vec() };
        check(&found, &Outcome { y, dx, parameters: vec![gamma, beta] }, &terms, ROUNDING, &what);
    }
}

/// Large enough that every kernel cuts its work into several tasks.
#[test]
fn every_layer_gives_the_same_bits_on_any_number_of_threads() {
    let of = |threads: usize| -> Vec<Vec<f64>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(|| {
            let mut rng = rng(1);
            let mut all = Vec::new();
            let make = |c, o, kernel, stride, rng: &mut _| {
                Convolution::new([c, o], kernel, stride, kernel / 2, rng, &CPU).unwrap()
            };
            let layers: Vec<Box<dyn Layer>> = vec![
                Box::new(
                    make(20, 24, 3, 1, &mut rng)
                        .with_bias(Activation::Relu)
                        .unwrap(),
                ),
                Box::new(make(20, 130, 3, 1, &mut rng)),
                Box::new(make(20, 24, 3, 2, &mut rng)),
                Box::new(make(20, 24, 5, 1, &mut rng)),
                Box::new(make(20, 40, 1, 1, &mut rng)),
                Box::new(Depthwise::new(20, 1, &mut rng, &CPU).unwrap()),
                Box::new(Depthwise::of(20, 5, 2, Padding::Same, &mut rng, &CPU).unwrap()),
                Box::new(BatchNorm::new(20, Activation::Relu, &CPU).unwrap()),
                Box::new(MaxPool::new(3, 2, 1)),
                Box::new(TransposedConvolution::new([20, 8], &mut rng, &CPU).unwrap()),
            ];
            let x = Values::drawn(&[6, 33, 31, 20], &mut rng);
            for mut layer in layers {
                let mut pass = pass();
                let y = Values::of(&layer.forward(x.tensor(), &mut pass).unwrap());
                let dy = Values::drawn(&y.shape, &mut rng).tensor();
                let dx = layer.backward(dy, true, &mut pass).unwrap().unwrap();
                all.push(y.data);
                all.push(Values::of(&dx).data);
                all.extend(
                    support::gradients(&mut *layer)
                        .into_iter()
                        .map(|it| it.data),
                );
            }
            all
        })
    };
    let one = of(1);
    for threads in [2, 5] {
        for (at, (one, many)) in one.iter().zip(of(threads)).enumerate() {
            assert!(*one == many, "{threads} threads, value {at}");
        }
    }
}
