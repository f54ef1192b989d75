//! The queue: the ring of past teacher features (He et al., 2020, section 3.2), the same on all ranks.

use crate::models::layers::normalise;
use crate::objective::itc::{Features, Keys};
use proto::config::QueueStart;
use tch::{Device, Kind, Tensor};

/// A ring of the last `capacity` pairs of teacher features, filled in slot order.
#[derive(Debug)]
pub struct Queue {
    image: Tensor,
    text: Tensor,
    identities: Tensor,
    pointer: i64,
    filled: i64,
}

impl Queue {
    /// A queue of `[capacity, embed]` features, empty or full of random unit vectors.
    pub fn new(capacity: i64, embed: i64, start: QueueStart, seed: u64, kind: Kind) -> Self {
        let side = |seed: u64| match start {
            QueueStart::Empty => Tensor::zeros([capacity, embed], (kind, Device::Cpu)),
            QueueStart::Random => {
                tch::manual_seed((seed >> 1) as i64);
                normalise(&Tensor::randn([capacity, embed], (kind, Device::Cpu)))
            }
        };
        let filled = if start == QueueStart::Random { capacity } else { 0 };
        // Random features show nothing, so nothing is the same as they.
        let identities = Tensor::zeros([capacity, 2], (Kind::Int64, Device::Cpu));
        Self { image: side(seed), text: side(seed ^ u64::MAX), identities, pointer: 0, filled }
    }

    /// What is there: features `[filled, embed]` and identities `[filled, 2]`, in no order that matters.
    pub fn keys(&self) -> Keys {
        let there = |ring: &Tensor| ring.narrow(0, 0, self.filled);
        let features = Features { image: there(&self.image), text: there(&self.text) };
        Keys { features, identities: there(&self.identities) }
    }

    /// Overwrites the oldest pairs with these n, in order; of more than the capacity the last stay.
    pub fn push(&mut self, features: &Features, identities: &Tensor) {
        let capacity = self.image.size()[0];
        if capacity == 0 {
            return;
        }
        let count = identities.size()[0];
        let kept = count.min(capacity);
        let start = (self.pointer + count - kept) % capacity;
        let until_end = kept.min(capacity - start);
        let rings = [&self.image, &self.text, &self.identities];
        for (ring, new) in rings.into_iter().zip([&features.image, &features.text, identities]) {
            let new = new.detach().narrow(0, count - kept, kept);
            ring.narrow(0, start, until_end).copy_(&new.narrow(0, 0, until_end));
            ring.narrow(0, 0, kept - until_end).copy_(&new.narrow(0, until_end, kept - until_end));
        }
        self.pointer = (self.pointer + count) % capacity;
        self.filled = (self.filled + count).min(capacity);
    }

    /// The rings by name: `image` and `text` `[capacity, embed]`, `identities` `[capacity, 2]` i64. Handles to the live tensors.
    pub fn rings(&self) -> [(&'static str, Tensor); 3] {
        [("image", &self.image), ("text", &self.text), ("identities", &self.identities)]
            .map(|(name, ring)| (name, ring.shallow_clone()))
    }

    /// Where the next feature goes, and how many there are.
    pub fn counters(&self) -> (i64, i64) {
        (self.pointer, self.filled)
    }

    /// Sets what [`counters`](Self::counters) told.
    pub fn set_counters(&mut self, pointer: i64, filled: i64) {
        (self.pointer, self.filled) = (pointer, filled);
    }

    /// The same queue on another device.
    pub fn to_device(&self, device: Device) -> Self {
        let [image, text, identities] =
            [&self.image, &self.text, &self.identities].map(|ring| ring.to_device(device));
        Self { image, text, identities, ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn rows(tensor: &Tensor) -> Vec<f64> {
        let mut rows: Vec<f64> = tensor.select(1, 0).try_into().unwrap();
        rows.sort_by(f64::total_cmp);
        rows
    }

    proptest! {
        #[test]
        fn holds_the_last_features_at_any_capacity(capacity in 0usize..12, pushes in prop::collection::vec(1usize..9, 0..12)) {
            let mut queue = Queue::new(capacity as i64, 1, QueueStart::Empty, 0, Kind::Double);
            let mut model = VecDeque::new();
            let mut next = 0.0;
            for count in pushes {
                let new: Vec<f64> = (0..count).map(|i| next + i as f64).collect();
                next += count as f64;
                let tensor = Tensor::from_slice(&new).unsqueeze(1);
                let identities = tensor.to_kind(Kind::Int64).repeat([1, 2]);
                queue.push(&Features { text: -&tensor, image: tensor }, &identities);
                model.extend(new);
                while model.len() > capacity {
                    model.pop_front();
                }
            }
            let Keys { features: Features { image, text }, identities } = queue.keys();
            prop_assert_eq!(rows(&image), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(rows(&identities.to_kind(Kind::Double)), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(rows(&-text), model.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_random_start_is_full_of_unit_vectors() {
        let queue = Queue::new(3, 8, QueueStart::Random, 5, Kind::Double);
        let Features { image, text } = queue.keys().features;
        let norms: Vec<f64> = image.norm_scalaropt_dim(2.0, [1i64], false).try_into().unwrap();
        assert!(norms.len() == 3 && norms.iter().all(|norm| (norm - 1.0).abs() < 1e-12));
        assert!(!image.equal(&text));
    }
}
