//! The tiled loss against the whole one, and what duplicates do.

use super::*;
use crate::models::layers::normalise;
use proptest::prelude::*;
use tch::Device;

const EMBED: i64 = 6;

fn unit(n: i64, kind: Kind) -> Tensor {
    normalise(&Tensor::randn([n, EMBED], (kind, Device::Cpu)))
}

fn pairs(n: i64, kind: Kind) -> Features {
    Features { image: unit(n, kind), text: unit(n, kind) }
}

/// Identities of few captions and images, so that many pairs are the same; own pairs have their keys' identity.
fn identities(n: i64, k: i64, first: i64) -> (Tensor, Tensor) {
    let keys = Tensor::randint_low(1, 2 * k, [k, 2], (Kind::Int64, Device::Cpu));
    (keys.narrow(0, first, n), keys)
}

/// Loss, and its gradients with respect to images, texts and temperature.
fn run(
    student: &Features,
    teacher: &Features,
    keys: &Keys,
    rows: &Tensor,
    setting: &Setting<'_>,
) -> [Tensor; 4] {
    let leaf = |t: &Tensor| t.detach().copy().set_requires_grad(true);
    let student = Features { image: leaf(&student.image), text: leaf(&student.text) };
    let temp = leaf(setting.temp);
    let loss = loss(&student, teacher, rows, keys, &Setting { temp: &temp, ..*setting });
    // Autograd scales what comes before it.
    (&loss * 0.7).backward();
    [loss.detach(), student.image.grad(), student.text.grad(), temp.grad()]
}

fn differs(one: &Tensor, other: &Tensor) -> f64 {
    (one - other).abs().max().to_kind(Kind::Double).double_value(&[])
        / (1.0 + other.abs().max().to_kind(Kind::Double).double_value(&[]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn tiles_give_the_same_loss_and_gradients(
        n in 1i64..9, others in 0i64..12, queue in 0i64..9, tile in 1i64..7, seed: i64,
        alpha in prop::sample::select(vec![0.0, 0.4, 1.0]),
        duplicates in prop::sample::select(vec![Duplicates::Masked, Duplicates::Positives, Duplicates::Negatives]),
        kind in prop::sample::select(vec![Kind::Float, Kind::Double]),
    ) {
        tch::manual_seed(seed);
        let (k, first) = (n + others + queue, others / 2);
        let (rows, columns) = identities(n, k, first);
        let keys = Keys { features: pairs(k, kind), identities: columns };
        let (student, teacher) = (pairs(n, kind), pairs(n, kind));
        let temp = Tensor::from(0.07).to_kind(kind);
        let setting = |tile| Setting { temp: &temp, first, alpha, duplicates, tile };
        let whole = run(&student, &teacher, &keys, &rows, &setting(1_000));
        let tiled = run(&student, &teacher, &keys, &rows, &setting(tile));
        let bound = if kind == Kind::Double { 1e-12 } else { 1e-5 };
        for (whole, tiled) in whole.iter().zip(&tiled) {
            prop_assert!(differs(tiled, whole) < bound, "{} off, tile {tile} of {n} x {k}", differs(tiled, whole));
        }
    }
}

/// Three pairs, of which the first two have the same caption; the same ones at each call.
fn doubled() -> (Features, Keys, Tensor) {
    let unit = |seed: f64| {
        normalise(&(Tensor::arange(3 * EMBED, (Kind::Double, Device::Cpu)) * seed).sin().view([3, EMBED]))
    };
    let features = Features { image: unit(1.7), text: unit(2.9) };
    let identities = Tensor::from_slice(&[5i64, 1, 5, 2, 6, 3]).view([3, 2]);
    let keys = Features { image: features.image.shallow_clone(), text: features.text.shallow_clone() };
    (features, Keys { features: keys, identities: identities.shallow_clone() }, identities)
}

fn of(duplicates: Duplicates, move_second: f64) -> f64 {
    let (features, keys, rows) = doubled();
    // The second pair's keys move: whom does that concern?
    let moved = |keys: &Tensor| {
        let second = keys.narrow(0, 1, 1) + move_second;
        Tensor::cat(&[keys.narrow(0, 0, 1), second, keys.narrow(0, 2, 1)], 0)
    };
    let moved = Keys {
        features: Features { image: moved(&keys.features.image), text: moved(&keys.features.text) },
        identities: keys.identities,
    };
    let temp = Tensor::from(0.1f64);
    let setting = Setting { temp: &temp, first: 0, alpha: 0.0, duplicates, tile: 100 };
    let first = |t: &Tensor| t.narrow(0, 0, 1);
    let student = Features { image: first(&features.image), text: first(&features.text) };
    let teacher = Features { image: first(&features.image), text: first(&features.text) };
    loss(&student, &teacher, &first(&rows), &moved, &setting).double_value(&[])
}

#[test]
fn a_masked_duplicate_does_not_count_at_all() {
    assert_eq!(of(Duplicates::Masked, 0.0), of(Duplicates::Masked, 0.5));
    assert_ne!(of(Duplicates::Negatives, 0.0), of(Duplicates::Negatives, 0.5));
}

#[test]
fn positives_share_the_target() {
    let (features, keys, _) = doubled();
    let direction = |query: &Tensor, key: &Tensor| {
        let log = (query.narrow(0, 0, 1).matmul(&key.tr()) / 0.1).log_softmax(-1, Kind::Double);
        -(log.double_value(&[0, 0]) + log.double_value(&[0, 1])) / 2.0
    };
    let expected = (direction(&features.image, &keys.features.text)
        + direction(&features.text, &keys.features.image))
        / 2.0;
    let found = of(Duplicates::Positives, 0.0);
    assert!((found - expected).abs() < 1e-12, "{found} instead of {expected}");
}
