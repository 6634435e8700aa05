//! Every layer against its definition in `f64`: outputs, and gradients against central differences.

mod support;

use candle_core::Device;
use cellmill_nets::cross_entropy;
use cellmill_nets::layers::{
    Activation, BatchNorm, Block, Chain, Convolution, Depthwise, Dropout, GlobalAveragePool, Layer,
    Linear, Residual,
};
use support::{Values, average, batch_norm, check_layer, convolution, linear, pass, rng};

const CPU: Device = Device::Cpu;

/// `[n, h, w, inputs, outputs]`: single pixels, odd sides, one image, more channels than a register has.
const SHAPES: [[usize; 5]; 6] = [
    [1, 1, 1, 1, 1],
    [2, 3, 5, 3, 4],
    [1, 7, 4, 2, 17],
    [3, 2, 2, 5, 3],
    [1, 5, 1, 4, 2],
    [2, 6, 6, 3, 2],
];

#[test]
fn convolution_is_its_definition() {
    for (at, [n, h, w, c, o]) in SHAPES.into_iter().enumerate() {
        for (kernel, stride, padding) in [(1, 1, 0), (3, 1, 1), (3, 2, 1), (1, 2, 0), (5, 1, 2)] {
            let mut rng = rng(at as u64);
            let x = Values::drawn(&[n, h, w, c], &mut rng);
            let weight = Values::drawn(&[o, c, kernel, kernel], &mut rng);
            let mut layer =
                Convolution::new([c, o], kernel, stride, padding, &mut rng, &CPU).unwrap();
            check_layer(
                &mut layer,
                &|x, p| convolution(x, &p[0], stride, padding, 1),
                &x,
                &[weight],
                &format!(
                    "convolution {:?} kernel {kernel} stride {stride}",
                    SHAPES[at]
                ),
            );
        }
    }
}

#[test]
fn depthwise_convolution_is_its_definition() {
    for (at, [n, h, w, _, c]) in SHAPES.into_iter().enumerate() {
        for stride in [1, 2] {
            let mut rng = rng(at as u64);
            let x = Values::drawn(&[n, h, w, c], &mut rng);
            let weight = Values::drawn(&[c, 1, 3, 3], &mut rng);
            let mut layer = Depthwise::new(c, stride, &mut rng, &CPU).unwrap();
            check_layer(
                &mut layer,
                &|x, p| convolution(x, &p[0], stride, 1, c),
                &x,
                &[weight],
                &format!("depthwise {:?} stride {stride}", SHAPES[at]),
            );
        }
    }
}

#[test]
fn batch_normalisation_is_its_definition_on_pictures_and_on_rows() {
    for relu in [false, true] {
        for shape in [
            vec![2, 3, 5, 3],
            vec![1, 4, 4, 18],
            vec![5, 4],
            vec![40, 1, 2, 2],
        ] {
            let mut rng = rng(shape.len() as u64);
            let c = shape[shape.len() - 1];
            let mut x = Values::drawn(&shape, &mut rng);
            // A mean far from 0 must cost no accuracy that matters.
            for it in &mut x.data {
                *it += 3.0;
            }
            let parameters = [Values::drawn(&[c], &mut rng), Values::drawn(&[c], &mut rng)];
            let mut layer = BatchNorm::new(
                c,
                if relu {
                    Activation::Relu
                } else {
                    Activation::None
                },
                &CPU,
            )
            .unwrap();
            check_layer(
                &mut layer,
                &|x, p| batch_norm(x, &p[0], &p[1], relu),
                &x,
                &parameters,
                &format!("batch norm {shape:?} relu {relu}"),
            );
        }
    }
}

#[test]
fn linear_and_pooling_layers_are_their_definitions() {
    for (n, c, o) in [(1, 1, 1), (3, 5, 4), (2, 33, 7)] {
        let mut rng = rng(c as u64);
        let x = Values::drawn(&[n, c], &mut rng);
        let parameters = [
            Values::drawn(&[o, c], &mut rng),
            Values::drawn(&[o], &mut rng),
        ];
        let mut layer = Linear::new([c, o], true, &mut rng, &CPU).unwrap();
        let with_bias = |x: &Values, p: &[Values]| linear(x, &p[0], Some(&p[1]));
        check_layer(&mut layer, &with_bias, &x, &parameters, "linear");
        let mut layer = Linear::new([c, o], false, &mut rng, &CPU).unwrap();
        let plain = |x: &Values, p: &[Values]| linear(x, &p[0], None);
        check_layer(
            &mut layer,
            &plain,
            &x,
            &parameters[..1],
            "linear without bias",
        );
    }
    for shape in [[1, 1, 1, 1], [2, 3, 5, 4], [3, 2, 1, 17]] {
        let x = Values::drawn(&shape, &mut rng(7));
        check_layer(
            &mut GlobalAveragePool::default(),
            &|x, _| average(x),
            &x,
            &[],
            "pool",
        );
    }
}

/// Blocks of each map, so that the gradient of one layer enters the next.
#[test]
fn a_block_is_its_layers() {
    let mut rng = rng(5);
    let x = Values::drawn(&[2, 5, 4, 3], &mut rng);
    let norm = |c: usize, rng: &mut _| [Values::drawn(&[c], rng), Values::drawn(&[c], rng)];

    let [gamma, beta] = norm(4, &mut rng);
    let weight = Values::drawn(&[4, 3, 3, 3], &mut rng);
    let map = Convolution::new([3, 4], 3, 2, 1, &mut rng, &CPU).unwrap();
    let mut block = Block::new(map, BatchNorm::new(4, Activation::Relu, &CPU).unwrap());
    let slow =
        |x: &Values, p: &[Values]| batch_norm(&convolution(x, &p[0], 2, 1, 1), &p[1], &p[2], true);
    check_layer(
        &mut block,
        &slow,
        &x,
        &[weight, gamma, beta],
        "convolution block",
    );

    let [gamma, beta] = norm(3, &mut rng);
    let weight = Values::drawn(&[3, 1, 3, 3], &mut rng);
    let map = Depthwise::new(3, 1, &mut rng, &CPU).unwrap();
    let mut block = Block::new(map, BatchNorm::new(3, Activation::Relu, &CPU).unwrap());
    let slow =
        |x: &Values, p: &[Values]| batch_norm(&convolution(x, &p[0], 1, 1, 3), &p[1], &p[2], true);
    check_layer(
        &mut block,
        &slow,
        &x,
        &[weight, gamma, beta],
        "depthwise block",
    );
}

/// More output pixels than one task or one product takes, compared with the forward pass in `f64`; the
/// gradient in the weights is linear in the input, so it is checked by the identity
/// `sum(dw * w) = sum(dy * y)`, and the one in the input by `sum(dx * x) = sum(dy * y)`.
#[test]
fn large_convolutions_agree_with_their_definition() {
    let dot =
        |a: &Values, b: &Values| -> f64 { a.data.iter().zip(&b.data).map(|(a, b)| a * b).sum() };
    for (n, side, c, o, kernel, stride) in [
        (3, 23, 5, 6, 3, 1),
        (5, 33, 3, 20, 3, 2),
        (4, 21, 40, 24, 1, 1),
    ] {
        let mut rng = rng(side as u64);
        let padding = kernel / 2;
        let x = Values::drawn(&[n, side, side, c], &mut rng);
        let weight = Values::drawn(&[o, c, kernel, kernel], &mut rng);
        let mut layer = Convolution::new([c, o], kernel, stride, padding, &mut rng, &CPU).unwrap();
        support::set_parameters(&mut layer, std::slice::from_ref(&weight));
        let mut pass = pass();
        let y = Values::of(&layer.forward(x.tensor(), &mut pass).unwrap());
        support::assert_close(
            &y,
            &convolution(&x, &weight, stride, padding, 1),
            1e-5,
            "output",
        );
        let dy = Values::drawn(&y.shape, &mut rng);
        let dx = layer
            .backward(dy.tensor(), true, &mut pass)
            .unwrap()
            .unwrap();
        let expected = dot(&dy, &y);
        let scale = (dot(&dy, &dy) * dot(&y, &y)).sqrt();
        let dw = &support::gradients(&mut layer)[0];
        assert!(
            (dot(dw, &weight) - expected).abs() < 1e-6 * scale,
            "weights"
        );
        assert!(
            (dot(&Values::of(&dx), &x) - expected).abs() < 1e-6 * scale,
            "input"
        );
    }
}

#[test]
fn inference_folds_the_running_statistics_into_the_weights() {
    let mut rng = rng(8);
    let x = Values::drawn(&[4, 6, 5, 3], &mut rng);
    let weight = Values::drawn(&[18, 3, 3, 3], &mut rng);
    let [gamma, beta] = [
        Values::drawn(&[18], &mut rng),
        Values::drawn(&[18], &mut rng),
    ];
    let map = Convolution::new([3, 18], 3, 1, 1, &mut rng, &CPU).unwrap();
    let mut block = Block::new(map, BatchNorm::new(18, Activation::Relu, &CPU).unwrap());
    support::set_parameters(&mut block, &[weight.clone(), gamma.clone(), beta.clone()]);
    let mut pass = pass();
    // After many equal batches the running mean is the batch's, and the variance is that of n - 1.
    for _ in 0..300 {
        block.forward(x.tensor(), &mut pass).unwrap();
    }
    let folded = Values::of(&block.infer(x.tensor(), &mut pass).unwrap());
    let again = Values::of(&block.infer(x.tensor(), &mut pass).unwrap());
    assert_eq!(folded.data, again.data);
    let n = 4.0 * 6.0 * 5.0;
    let mut expected = convolution(&x, &weight, 1, 1, 1);
    let plain = expected.clone();
    for channel in 0..18 {
        let values: Vec<f64> = plain
            .data
            .iter()
            .skip(channel)
            .step_by(18)
            .copied()
            .collect();
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / (n - 1.0);
        for (at, value) in values.iter().enumerate() {
            let y = (value - mean) / (variance + 1e-5).sqrt() * gamma.data[channel]
                + beta.data[channel];
            expected.data[at * 18 + channel] = y.max(0.0);
        }
    }
    support::assert_close(&folded, &expected, 1e-5, "folded");
}

#[test]
fn dropout_drops_its_part_scales_the_rest_and_passes_the_same_gradient() {
    let x = Values {
        shape: vec![50, 100],
        data: vec![1.0; 5000],
    };
    let mut layer = Dropout::new(0.3);
    let mut pass = pass();
    let y = Values::of(&layer.forward(x.tensor(), &mut pass).unwrap());
    let kept = y.data.iter().filter(|it| **it > 0.0).count();
    assert!(
        (3330..3670).contains(&kept),
        "{kept} of 5000, five deviations around 3500"
    );
    assert!(
        y.data
            .iter()
            .all(|it| *it == 0.0 || (it - 1.0 / 0.7).abs() < 1e-6)
    );
    let dx = layer
        .backward(x.tensor(), true, &mut pass)
        .unwrap()
        .unwrap();
    assert_eq!(Values::of(&dx).data, y.data);
    pass.step += 1;
    assert_ne!(
        Values::of(&layer.forward(x.tensor(), &mut pass).unwrap()).data,
        y.data
    );
    assert_eq!(
        Values::of(&layer.infer(x.tensor(), &mut pass).unwrap()).data,
        x.data
    );
}

#[test]
fn the_gradient_of_the_loss_is_its_slope() {
    let mut rng = rng(4);
    let logits: Vec<f32> = (0..12).map(|_| rng.normal() as f32 * 3.0).collect();
    for (weights, smoothing) in [([1.0; 4], 0.0), ([0.5, 2.0, 1.0, 0.1], 0.2)] {
        let labels = [3, 0, 1];
        let loss = cross_entropy(&logits, &labels, &weights, smoothing);
        for at in 0..logits.len() {
            let moved = |step: f32| {
                let mut logits = logits.clone();
                logits[at] += step;
                (
                    f64::from(logits[at]),
                    cross_entropy(&logits, &labels, &weights, smoothing).value,
                )
            };
            let ((a, low), (b, high)) = (moved(-1e-2), moved(1e-2));
            // The step is exact in f64; what is left is the third derivative's part.
            let slope = (high - low) / (b - a);
            assert!(
                (slope - f64::from(loss.gradient[at])).abs() < 3e-5,
                "{slope} {}",
                loss.gradient[at]
            );
        }
    }
}

#[test]
fn a_layer_refuses_another_number_of_channels() {
    let mut rng = rng(0);
    let mut layer = Convolution::new([3, 4], 3, 1, 1, &mut rng, &CPU).unwrap();
    let x = Values::drawn(&[1, 4, 4, 2], &mut rng);
    let error = layer
        .forward(x.tensor(), &mut pass())
        .unwrap_err()
        .to_string();
    assert!(error.contains("over 3 channels was given 2"), "{error}");
}

/// A branch of one convolution beside the picture itself, and beside a convolution that halves.
#[test]
fn a_residual_layer_adds_its_branches_forwards_and_backwards() {
    for after in [Activation::None, Activation::Relu, Activation::Relu6] {
        for (n, h, w, c, o, stride) in [(2, 4, 3, 3, 3, 1), (1, 5, 4, 2, 3, 2)] {
            let mut rng = rng(stride as u64);
            let x = Values::drawn(&[n, h, w, c], &mut rng);
            let mut weights = vec![Values::drawn(&[o, c, 3, 3], &mut rng)];
            let convolution_of = |kernel, padding, rng: &mut _| {
                Convolution::new([c, o], kernel, stride, padding, rng, &CPU).unwrap()
            };
            let body = Chain::default().then("", convolution_of(3, 1, &mut rng));
            let shortcut = (stride > 1).then(|| {
                weights.push(Values::drawn(&[o, c, 1, 1], &mut rng));
                Chain::default().then("", convolution_of(1, 0, &mut rng))
            });
            check_layer(
                &mut Residual::new(body, shortcut, after),
                &|x, p| {
                    let mut y = convolution(x, &p[0], stride, 1, 1);
                    let other = match p.get(1) {
                        Some(weight) => convolution(x, weight, stride, 0, 1),
                        None => x.clone(),
                    };
                    for (y, other) in y.data.iter_mut().zip(&other.data) {
                        *y += other;
                        *y = match after {
                            Activation::None => *y,
                            Activation::Relu => y.max(0.0),
                            Activation::Relu6 => y.clamp(0.0, 6.0),
                        };
                    }
                    y
                },
                &x,
                &weights,
                &format!("residual {after:?} stride {stride}"),
            );
        }
    }
}
