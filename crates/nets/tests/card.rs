//! What computes on a card, computed on the processor: the same numbers as the kernels.
#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod support;

use candle_core::Device;
use cellmill_nets::layers::{
    Activation, AveragePool, BatchNorm, Block, Chain, Convolution, Depthwise, Dropout,
    GlobalAveragePool, Layer, Linear, MaxPool, Padding, Pass, Residual, Skip,
    TransposedConvolution, Upsample,
};
use support::{Values, assert_close, gradients, rng};

const CPU: Device = Device::Cpu;

/// Channels first, as a card has them; rows stay as they are.
fn first(it: &Values) -> Values {
    let [n, h, w, c] = it.shape[..] else {
        return it.clone();
    };
    moved(it, &[n, c, h, w], |[n, c, h, w], [_, cs, hs, ws]| {
        ((n * hs + h) * ws + w) * cs + c
    })
}

/// Channels last again.
fn last(it: &Values) -> Values {
    let [n, c, h, w] = it.shape[..] else {
        return it.clone();
    };
    moved(it, &[n, h, w, c], |[n, h, w, c], [_, hs, ws, cs]| {
        ((n * cs + c) * hs + h) * ws + w
    })
}

fn moved(
    it: &Values,
    shape: &[usize; 4],
    from: impl Fn([usize; 4], [usize; 4]) -> usize,
) -> Values {
    let [_, b, c, d] = *shape;
    let place = |at: usize| [at / (b * c * d), at / (c * d) % b, at / d % c, at % d];
    let count = shape.iter().product();
    Values {
        shape: shape.to_vec(),
        data: (0..count)
            .map(|at| it.data[from(place(at), *shape)])
            .collect(),
    }
}

/// Two layers made alike: one computes by kernels, one as on a card.
fn check(make: &dyn Fn() -> Box<dyn Layer>, shape: &[usize], what: &str) {
    let x = Values::drawn(shape, &mut rng(5));
    let (mut here, mut card) = (make(), make());
    let mut pass = Pass::new(&CPU, 3);
    let mut card_pass = Pass::new(&CPU, 3).as_on_card();
    for step in 0..2 {
        let y = Values::of(&here.forward(x.tensor(), &mut pass).unwrap());
        let found = card.forward(first(&x).tensor(), &mut card_pass).unwrap();
        assert_close(
            &last(&Values::of(&found)),
            &y,
            2e-6,
            &format!("{what}: output {step}"),
        );
        let dy = Values::drawn(&y.shape, &mut rng(6));
        let dx = here
            .backward(dy.tensor(), true, &mut pass)
            .unwrap()
            .unwrap();
        let found = card.backward(first(&dy).tensor(), true, &mut card_pass);
        let found = Values::of(&found.unwrap().unwrap());
        assert_close(
            &last(&found),
            &Values::of(&dx),
            1e-5,
            &format!("{what}: input {step}"),
        );
        let expected = gradients(&mut *here);
        for (at, found) in gradients(&mut *card).iter().enumerate() {
            assert_close(
                found,
                &expected[at],
                1e-5,
                &format!("{what}: parameter {at}, {step}"),
            );
        }
    }
    let y = Values::of(&here.infer(x.tensor(), &mut pass).unwrap());
    let found = card.infer(first(&x).tensor(), &mut card_pass).unwrap();
    assert_close(
        &last(&Values::of(&found)),
        &y,
        2e-6,
        &format!("{what}: inference"),
    );
}

const PICTURES: [usize; 4] = [2, 6, 5, 4];

fn norm(channels: usize, after: Activation) -> BatchNorm {
    BatchNorm::new(channels, after, &CPU).unwrap()
}

fn convolution(inputs: usize, outputs: usize, kernel: usize, stride: usize) -> Convolution {
    Convolution::new(
        [inputs, outputs],
        kernel,
        stride,
        kernel / 2,
        &mut rng(1),
        &CPU,
    )
    .unwrap()
}

#[test]
fn normalisation_linear_layer_dropout_and_pooling() {
    for after in [Activation::None, Activation::Relu, Activation::Relu6] {
        check(
            &|| Box::new(norm(4, after)),
            &PICTURES,
            &format!("norm {after:?}"),
        );
        check(
            &|| Box::new(norm(7, after)),
            &[9, 7],
            &format!("norm of rows {after:?}"),
        );
    }
    for bias in [false, true] {
        let make = || Linear::new([7, 3], bias, &mut rng(1), &CPU).unwrap();
        check(&|| Box::new(make()), &[5, 7], "linear");
    }
    check(&|| Box::new(Dropout::new(0.5)), &[5, 7], "dropout");
    check(
        &|| Box::new(GlobalAveragePool::default()),
        &PICTURES,
        "global average",
    );
}

#[test]
fn convolutions_blocks_and_residuals() {
    for (kernel, stride) in [(1, 1), (3, 1), (3, 2), (1, 2)] {
        let make = || convolution(4, 6, kernel, stride);
        check(
            &|| Box::new(make()),
            &PICTURES,
            &format!("convolution {kernel} {stride}"),
        );
        let block = || Block::new(make(), norm(6, Activation::Relu));
        check(&|| Box::new(block()), &PICTURES, "block");
    }
    for after in [Activation::None, Activation::Relu, Activation::Relu6] {
        let plain = || Chain::default().then("", convolution(4, 4, 3, 1));
        check(
            &|| Box::new(Residual::new(plain(), None, after)),
            &PICTURES,
            "residual",
        );
        let halving = |kernel| Chain::default().then("", convolution(4, 6, kernel, 2));
        let projected = || Residual::new(halving(3), Some(halving(1)), after);
        check(&|| Box::new(projected()), &PICTURES, "projected residual");
    }
}

#[test]
fn paddings_biases_and_depthwise_convolutions() {
    for stride in [1, 2] {
        for after in [Activation::None, Activation::Relu, Activation::Relu6] {
            let make = || {
                let it = Convolution::new([4, 3], 3, stride, Padding::Same, &mut rng(1), &CPU);
                it.unwrap().with_bias(after).unwrap()
            };
            check(
                &|| Box::new(make()),
                &PICTURES,
                &format!("bias {after:?} {stride}"),
            );
        }
        for kernel in [3, 5] {
            for padding in [Padding::Same, Padding::Even(1), Padding::Even(2)] {
                let make = || Depthwise::of(4, kernel, stride, padding, &mut rng(1), &CPU).unwrap();
                let what = format!("depthwise {kernel} {stride} {padding:?}");
                check(&|| Box::new(make()), &[2, 7, 6, 4], &what);
            }
        }
    }
}

#[test]
fn pools_upsampling_and_skip_connections() {
    for (kernel, stride, padding) in [(2, 2, 0), (3, 2, 1), (3, 1, 1)] {
        for shape in [[2, 6, 5, 4], [1, 7, 8, 3]] {
            let make = || MaxPool::new(kernel, stride, padding);
            check(
                &|| Box::new(make()),
                &shape,
                &format!("max-pool {kernel} {stride}"),
            );
        }
    }
    for (kernel, stride) in [(2, 2), (3, 2), (3, 3)] {
        let make = || AveragePool::new(kernel, stride);
        check(
            &|| Box::new(make()),
            &[2, 7, 5, 3],
            &format!("average pool {kernel} {stride}"),
        );
    }
    check(&|| Box::new(Upsample::default()), &PICTURES, "upsampling");
    let up =
        |inputs, outputs| TransposedConvolution::new([inputs, outputs], &mut rng(2), &CPU).unwrap();
    check(&|| Box::new(up(4, 3)), &PICTURES, "transposed convolution");
    let level = || {
        let inner = Chain::default().then("", MaxPool::new(2, 2, 0));
        let inner = inner
            .then("below.", convolution(5, 6, 3, 1))
            .then("up.", up(6, 5));
        Skip::new(
            Chain::default().then("encode.", convolution(3, 5, 3, 1)),
            inner,
            Chain::default().then("decode.", convolution(10, 4, 3, 1)),
        )
    };
    check(&|| Box::new(level()), &[2, 6, 4, 3], "skip connection");
}
