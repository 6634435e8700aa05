//! Layers of pictures (padding of both kinds, biases, pools, upsampling, skip connections) against their
//! definitions in `f64`, as in `gradients.rs`.

mod support;

use candle_core::{Device, Tensor};
use cellmill_nets::layers::{
    Activation, AveragePool, Chain, Convolution, Depthwise, Layer, MaxPool, Padding, Skip,
    TransposedConvolution, Upsample,
};
use support::{Values, activated, biased, check_layer, convolution, pass, rng};

const CPU: Device = Device::Cpu;

#[test]
fn convolutions_know_both_paddings() {
    let shapes = [[1, 5, 6, 2, 3], [2, 4, 7, 1, 17]];
    for (at, [n, h, w, c, o]) in shapes.into_iter().enumerate() {
        for (kernel, stride, padding) in [
            (3, 2, Padding::Same),
            (3, 1, Padding::Same),
            (5, 2, Padding::Same),
            (2, 1, Padding::Same),
            (1, 2, Padding::Same),
            (3, 1, Padding::Even(0)),
            (3, 1, Padding::Even(2)),
            (2, 2, Padding::Even(1)),
        ] {
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
                &format!("convolution {h} x {w}, kernel {kernel}, stride {stride}, {padding:?}"),
            );
        }
    }
}

#[test]
fn depthwise_convolutions_know_both_kernels_and_paddings() {
    let shapes = [[1, 5, 6, 3], [2, 4, 7, 17], [1, 1, 2, 1]];
    for (at, [n, h, w, c]) in shapes.into_iter().enumerate() {
        for (kernel, stride, padding) in [
            (3, 1, Padding::Same),
            (3, 2, Padding::Same),
            (5, 1, Padding::Same),
            (5, 2, Padding::Same),
            (5, 1, Padding::Even(2)),
            (5, 2, Padding::Even(2)),
            (5, 2, Padding::Even(4)),
            (3, 1, Padding::Even(2)),
            (3, 3, Padding::Even(1)),
        ] {
            let mut rng = rng(at as u64);
            let x = Values::drawn(&[n, h, w, c], &mut rng);
            let weight = Values::drawn(&[c, 1, kernel, kernel], &mut rng);
            let mut layer = Depthwise::of(c, kernel, stride, padding, &mut rng, &CPU).unwrap();
            check_layer(
                &mut layer,
                &|x, p| convolution(x, &p[0], stride, padding, c),
                &x,
                &[weight],
                &format!("depthwise {h} x {w}, kernel {kernel}, stride {stride}, {padding:?}"),
            );
        }
    }
    let error = Depthwise::of(3, 4, 1, 1, &mut rng(0), &CPU).unwrap_err();
    assert!(error.to_string().contains("kernel of 3 or 5"), "{error}");
}

/// The inference of a layer with a bias is its forward pass.
#[test]
fn a_convolution_with_bias_is_its_definition() {
    for after in [Activation::None, Activation::Relu, Activation::Relu6] {
        for (kernel, c, o) in [(3, 2, 5), (1, 3, 17)] {
            let mut rng = rng(kernel as u64);
            let x = Values::drawn(&[2, 4, 5, c], &mut rng);
            let mut weight = Values::drawn(&[o, c, kernel, kernel], &mut rng);
            for it in &mut weight.data {
                // So that some values pass 6.
                *it = f64::from((*it * 2.0) as f32);
            }
            let bias = Values::drawn(&[o], &mut rng);
            let padding = kernel / 2;
            let mut layer = Convolution::new([c, o], kernel, 1, padding, &mut rng, &CPU)
                .unwrap()
                .with_bias(after)
                .unwrap();
            let slow = |x: &Values, p: &[Values]| {
                activated(biased(convolution(x, &p[0], 1, padding, 1), &p[1]), after)
            };
            let parameters = [weight, bias];
            let what = format!("{after:?} kernel {kernel}");
            check_layer(&mut layer, &slow, &x, &parameters, &what);
            let mut pass = pass();
            let inferred = Values::of(&layer.infer(x.tensor(), &mut pass).unwrap());
            support::assert_close(&inferred, &slow(&x, &parameters), 1e-5, &what);
        }
    }
}

#[test]
fn pools_are_their_definitions() {
    for shape in [[2, 6, 4, 3], [1, 5, 7, 17], [1, 4, 4, 1]] {
        let x = Values::drawn(&shape, &mut rng(shape[3] as u64));
        for (kernel, stride, padding) in [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 1, 1), (3, 3, 0)] {
            let what = format!("{shape:?} kernel {kernel} stride {stride} padding {padding}");
            check_layer(
                &mut MaxPool::new(kernel, stride, padding),
                &|x, _| support::max_pool(x, kernel, stride, padding),
                &x,
                &[],
                &format!("max pool {what}"),
            );
            if padding == 0 {
                check_layer(
                    &mut AveragePool::new(kernel, stride),
                    &|x, _| support::average_pool(x, kernel, stride),
                    &x,
                    &[],
                    &format!("average pool {what}"),
                );
            }
        }
        let upsample = |x: &Values, _: &[Values]| support::upsample(x);
        check_layer(&mut Upsample::default(), &upsample, &x, &[], "upsample");
    }
    let error = MaxPool::new(2, 2, 0)
        .infer(
            Values::drawn(&[1, 1, 4, 1], &mut rng(0)).tensor(),
            &mut pass(),
        )
        .unwrap_err();
    assert!(error.to_string().contains("4 x 1 pixels"), "{error}");
}

/// Equal values are common behind a rectifier. `PyTorch` gives the gradient to the first.
#[test]
fn the_first_of_equal_values_gets_the_gradient_of_a_max_pool() {
    let mut pass = pass();
    let mut layer = MaxPool::new(2, 2, 0);
    let x = Tensor::new(&[1.0_f32, 2.0, 2.0, 2.0], &CPU).unwrap();
    let y = layer
        .forward(x.reshape((1, 2, 2, 1)).unwrap(), &mut pass)
        .unwrap();
    assert_eq!(Values::of(&y).data, [2.0]);
    let dx = layer.backward(y, true, &mut pass).unwrap().unwrap();
    assert_eq!(Values::of(&dx).data, [0.0, 2.0, 0.0, 0.0]);

    let x = Tensor::new(&[1.0_f32, f32::NAN, 3.0, 2.0], &CPU).unwrap();
    let x = x.reshape((1, 2, 2, 1)).unwrap();
    let largest = layer.forward(x.copy().unwrap(), &mut pass).unwrap();
    assert!(
        Values::of(&largest).data[0].is_nan(),
        "a broken value is not hidden"
    );
    let largest = layer.infer(x, &mut pass).unwrap();
    assert!(Values::of(&largest).data[0].is_nan());
}

#[test]
fn a_transposed_convolution_is_its_definition() {
    for [n, h, w, c, o] in [[1, 1, 1, 1, 1], [2, 3, 2, 5, 3], [1, 2, 5, 3, 17]] {
        let mut rng = rng(w as u64);
        let x = Values::drawn(&[n, h, w, c], &mut rng);
        let parameters = [
            Values::drawn(&[c, o, 2, 2], &mut rng),
            Values::drawn(&[o], &mut rng),
        ];
        let mut layer = TransposedConvolution::new([c, o], &mut rng, &CPU).unwrap();
        check_layer(
            &mut layer,
            &|x, p| support::transposed(x, &p[0], &p[1]),
            &x,
            &parameters,
            &format!("transposed {:?}", [n, h, w, c, o]),
        );
    }
}

/// Two levels: what is pooled is read again by the join, forwards and backwards.
#[test]
fn a_skip_connection_joins_what_went_in_with_what_came_back() {
    let mut rng = rng(3);
    let x = Values::drawn(&[2, 8, 4, 2], &mut rng);
    let one = |c, o, rng: &mut _| {
        let layer = Convolution::new([c, o], 3, 1, 1, rng, &CPU).unwrap();
        Chain::default().then("", layer.with_bias(Activation::Relu).unwrap())
    };
    let up = |c, o, rng: &mut _| TransposedConvolution::new([c, o], rng, &CPU).unwrap();
    let down = || Chain::default().then("", MaxPool::new(2, 2, 0));
    let deepest = down()
        .then("", one(4, 4, &mut rng))
        .then("", up(4, 3, &mut rng));
    let lower = Skip::new(one(3, 4, &mut rng), deepest, one(7, 4, &mut rng));
    let inner = down().then("", lower).then("", up(4, 2, &mut rng));
    let mut layer = Skip::new(one(2, 3, &mut rng), inner, one(5, 2, &mut rng));

    let mut parameters = Vec::new();
    layer
        .visit("", &mut |_, slot| {
            parameters.push(Values::drawn(slot.value().dims(), &mut rng));
            Ok(())
        })
        .unwrap();
    let slow = |x: &Values, p: &[Values]| {
        let one = |x: &Values, at: usize| {
            activated(
                biased(convolution(x, &p[at], 1, 1, 1), &p[at + 1]),
                Activation::Relu,
            )
        };
        let a = one(x, 0);
        let b = one(&support::max_pool(&a, 2, 2, 0), 2);
        let deepest = one(&support::max_pool(&b, 2, 2, 0), 4);
        let b = support::concat(&support::transposed(&deepest, &p[6], &p[7]), &b);
        let b = one(&b, 8);
        let a = support::concat(&support::transposed(&b, &p[10], &p[11]), &a);
        one(&a, 12)
    };
    check_layer(&mut layer, &slow, &x, &parameters, "two levels");
    let inferred = Values::of(&layer.infer(x.tensor(), &mut pass()).unwrap());
    support::assert_close(&inferred, &slow(&x, &parameters), 1e-5, "inference");
}
