//! Layers, losses and whole trainings against what `PyTorch` computed. The numbers and the script that made them:
//! `tests/golden/`, `tests/peers/torch_golden.py` (its head tells how inputs are drawn).
#![expect(clippy::unwrap_used, reason = "what tests share panics as tests do")]

mod support;

use candle_core::{Device, Tensor};
use cellmill_nets::layers::{
    Activation, BatchNorm, Convolution, Depthwise, GlobalAveragePool, Layer, Linear, Pass, Slot,
};
use cellmill_nets::models::{Architecture, UNet};
use cellmill_nets::{AdamW, Scale, cross_entropy, learning_rate};
use serde::Deserialize;
use serde_json::Value;
use support::{Values, assert_close, gradients, pass, rng, set_parameters};

const CPU: Device = Device::Cpu;

/// The script's recurrence.
struct Draws(u64);

impl Draws {
    fn draw(&mut self, shape: &[usize]) -> Values {
        let one = |_| {
            self.0 = (1_103_515_245 * self.0 + 12_345) % (1 << 31);
            ((self.0 >> 16) % 2001) as f64 / 1000.0 - 1.0
        };
        Values {
            shape: shape.to_vec(),
            data: (0..shape.iter().product()).map(one).collect(),
        }
    }
}

/// One case of a layer: what goes in, and what comes out.
#[derive(Deserialize)]
struct Case {
    number: u64,
    x: Vec<usize>,
    #[serde(default)]
    weight: Vec<usize>,
    #[serde(default)]
    stride: usize,
    #[serde(default)]
    padding: usize,
    #[serde(default)]
    relu: bool,
    y: Vec<f64>,
    dx: Vec<f64>,
    parameters: Vec<Vec<f64>>,
    #[serde(default)]
    statistics: Vec<Vec<f64>>,
}

fn layers() -> Value {
    serde_json::from_str(include_str!("golden/layers.json")).unwrap()
}

fn cases(kind: &str) -> Vec<Case> {
    serde_json::from_value(layers()[kind].clone()).unwrap()
}

fn flat(data: &[f64]) -> Values {
    Values {
        shape: vec![data.len()],
        data: data.to_vec(),
    }
}

fn check(layer: &mut dyn Layer, case: &Case, parameter_shapes: &[&[usize]]) {
    let mut draws = Draws(case.number);
    let x = draws.draw(&case.x);
    let parameters: Vec<Values> = parameter_shapes.iter().map(|it| draws.draw(it)).collect();
    set_parameters(layer, &parameters);
    let mut pass = pass();
    let y = Values::of(&layer.forward(x.tensor(), &mut pass).unwrap());
    let what = format!("case {}", case.number);
    assert_close(&y, &flat(&case.y), 1e-5, &format!("{what}: output"));
    let dy = draws.draw(&y.shape);
    let dx = layer
        .backward(dy.tensor(), true, &mut pass)
        .unwrap()
        .unwrap();
    assert_close(
        &Values::of(&dx),
        &flat(&case.dx),
        1e-5,
        &format!("{what}: input"),
    );
    for (found, expected) in gradients(layer).iter().zip(&case.parameters) {
        assert_close(found, &flat(expected), 1e-5, &format!("{what}: parameter"));
    }
}

#[test]
fn layers_give_the_outputs_and_gradients_of_pytorch() {
    for case in cases("convolutions") {
        let [o, c, kernel, _] = case.weight[..] else {
            panic!("kernels")
        };
        let (stride, padding) = (case.stride, case.padding);
        let mut layer =
            Convolution::new([c, o], kernel, stride, padding, &mut rng(0), &CPU).unwrap();
        check(&mut layer, &case, &[&case.weight]);
    }
    for case in cases("depthwise") {
        let mut layer = Depthwise::new(case.x[3], case.stride, &mut rng(0), &CPU).unwrap();
        check(&mut layer, &case, &[&case.weight]);
    }
    for case in cases("linears") {
        let mut layer = Linear::new([case.x[1], case.weight[0]], true, &mut rng(0), &CPU).unwrap();
        check(&mut layer, &case, &[&case.weight, &case.weight[..1]]);
    }
    for case in cases("pools") {
        check(&mut GlobalAveragePool::default(), &case, &[]);
    }
    for case in cases("batch_norms") {
        let c = &case.x[case.x.len() - 1..];
        let mut layer = BatchNorm::new(
            c[0],
            if case.relu {
                Activation::Relu
            } else {
                Activation::None
            },
            &CPU,
        )
        .unwrap();
        check(&mut layer, &case, &[c, c]);
        let mut statistics = case.statistics.iter();
        layer
            .visit("", &mut |name, slot| {
                if let Slot::Statistic(found) = slot {
                    let expected = flat(statistics.next().unwrap());
                    assert_close(&Values::of(found), &expected, 1e-5, name);
                }
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn the_loss_is_that_of_pytorch_with_weights_and_smoothing() {
    #[derive(Deserialize)]
    struct Loss {
        number: u64,
        labels: Vec<usize>,
        weights: Vec<f32>,
        smoothing: f64,
        value: f64,
        gradient: Vec<f64>,
    }
    let cases: Vec<Loss> = serde_json::from_value(layers()["losses"].clone()).unwrap();
    for case in cases {
        let drawn = Draws(case.number).draw(&[case.labels.len(), case.weights.len()]);
        let logits: Vec<f32> = drawn.data.iter().map(|it| (it * 5.0) as f32).collect();
        let found = cross_entropy(&logits, &case.labels, &case.weights, case.smoothing);
        assert!(
            (found.value - case.value).abs() < 1e-6,
            "{} {}",
            found.value,
            case.value
        );
        let gradient: Vec<f64> = found.gradient.iter().map(|it| f64::from(*it)).collect();
        assert_close(&flat(&gradient), &flat(&case.gradient), 1e-5, "gradient");
    }
}

#[test]
fn the_schedule_is_that_of_pytorch() {
    for case in layers()["schedules"].as_array().unwrap() {
        let number = |name: &str| case[name].as_u64().unwrap();
        let peak = case["peak"].as_f64().unwrap();
        for (step, expected) in case["rates"].as_array().unwrap().iter().enumerate() {
            let found = learning_rate(peak, step as u64, number("warm_up"), number("total"));
            assert!(
                (found - expected.as_f64().unwrap()).abs() < 1e-9,
                "step {step}: {found}"
            );
        }
    }
}

/// A whole training.
#[derive(Deserialize)]
struct Training {
    family: String,
    #[serde(default)]
    scale: Scale,
    side: usize,
    n_classes: usize,
    #[serde(default)]
    features: usize,
    #[serde(default)]
    base: usize,
    #[serde(default)]
    depth: usize,
    batch: usize,
    weights: Vec<f32>,
    learning_rate: f64,
    weight_decay: f64,
    warm_up: u64,
    smoothing: f64,
    losses: Vec<f64>,
    logits: Vec<f64>,
}

impl Training {
    fn network(&self) -> Box<dyn Layer> {
        let n_classes = self.n_classes;
        if self.family == "unet" {
            let (base, depth) = (self.base, self.depth);
            let it = UNet {
                base,
                depth,
                n_classes,
            };
            return Box::new(it.build(0, &CPU).unwrap());
        }
        let architecture = Architecture {
            family: serde_json::from_value(self.family.clone().into()).unwrap(),
            scale: self.scale,
            side: self.side,
            n_classes,
            features: self.features,
        };
        Box::new(architecture.build(0.0, 0, &CPU).unwrap())
    }

    /// With weights drawn as the script draws them.
    fn drawn_network(&self, draws: &mut Draws) -> Box<dyn Layer> {
        let mut network = self.network();
        network
            .visit("", &mut |_, slot| {
                if let Slot::Parameter(parameter) = slot
                    && parameter.decay
                {
                    let shape = parameter.value.dims();
                    let bound = (6.0 / shape[1..].iter().product::<usize>() as f64).sqrt();
                    let mut drawn = draws.draw(shape);
                    for it in &mut drawn.data {
                        *it *= bound;
                    }
                    parameter.value = drawn.tensor();
                }
                Ok(())
            })
            .unwrap();
        network
    }

    fn check(&self) {
        let name = &self.family;
        let mut draws = Draws(77);
        let mut network = self.drawn_network(&mut draws);
        let shape = [self.batch, self.side, self.side, 3];
        let batches: Vec<Values> = (0..4).map(|_| draws.draw(&shape)).collect();
        let mut pass = Pass::new(&CPU, 0);
        let mut adam = AdamW::new(self.weight_decay);
        for (step, expected) in self.losses.iter().enumerate() {
            let x = batches[step % 4].tensor();
            let logits = network.forward(x, &mut pass).unwrap();
            let values = logits.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let labels: Vec<usize> = (0..values.len() / self.n_classes)
                .map(|at| (at * (step % 4 + 1) + at / 3) % self.n_classes)
                .collect();
            let loss = cross_entropy(&values, &labels, &self.weights, self.smoothing);
            let found = loss.value;
            assert!(
                (found - expected).abs() < 1e-4 * expected,
                "{name}, step {step}: {found} {expected}"
            );
            let gradient = Tensor::from_vec(loss.gradient, logits.shape(), &CPU).unwrap();
            network.backward(gradient, false, &mut pass).unwrap();
            let total = self.losses.len() as u64;
            let rate = learning_rate(self.learning_rate, step as u64, self.warm_up, total);
            adam.step(&mut *network, rate).unwrap();
        }
        let mut said = Values::of(&network.infer(batches[0].tensor(), &mut pass).unwrap());
        let step = (said.data.len() / 96).max(1);
        said.data = said.data.into_iter().step_by(step).collect();
        let what = format!("{name}: logits of inference");
        assert_close(&said, &flat(&self.logits), 2e-3, &what);
    }
}

#[test]
fn twenty_steps_of_every_network_give_the_losses_of_pytorch() {
    let all: Value = serde_json::from_str(include_str!("golden/networks.json")).unwrap();
    let trainings: Vec<Training> = serde_json::from_value(all["networks"].clone()).unwrap();
    for it in trainings {
        it.check();
    }
}
