//! The queue: the ring of past teacher features (He et al., 2020, section 3.2), the same on all ranks.

use proto::config::QueueStart;
use tch::{Device, Kind, Tensor};

/// A ring of the last `capacity` pairs of teacher features, filled in slot order.
#[derive(Debug)]
pub struct Queue {
    image: Tensor,
    text: Tensor,
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
                crate::models::layers::normalise(&Tensor::randn([capacity, embed], (kind, Device::Cpu)))
            }
        };
        let filled = if start == QueueStart::Random { capacity } else { 0 };
        Self { image: side(seed), text: side(seed ^ u64::MAX), pointer: 0, filled }
    }

    /// The features that are there: images and texts, `[filled, embed]`, in no order that matters.
    pub fn features(&self) -> (Tensor, Tensor) {
        (self.image.narrow(0, 0, self.filled), self.text.narrow(0, 0, self.filled))
    }

    /// Overwrites the oldest features with these, `[n, embed]` both, in order; of more than the capacity the last stay.
    pub fn push(&mut self, image: &Tensor, text: &Tensor) {
        let capacity = self.image.size()[0];
        if capacity == 0 {
            return;
        }
        let count = image.size()[0];
        let kept = count.min(capacity);
        let start = (self.pointer + count - kept) % capacity;
        let until_end = kept.min(capacity - start);
        for (ring, new) in [(&self.image, image), (&self.text, text)] {
            let new = new.detach().narrow(0, count - kept, kept);
            ring.narrow(0, start, until_end).copy_(&new.narrow(0, 0, until_end));
            ring.narrow(0, 0, kept - until_end).copy_(&new.narrow(0, until_end, kept - until_end));
        }
        self.pointer = (self.pointer + count) % capacity;
        self.filled = (self.filled + count).min(capacity);
    }

    /// The rings, `[capacity, embed]`: images, texts. Handles to the live tensors.
    pub fn rings(&self) -> (Tensor, Tensor) {
        (self.image.shallow_clone(), self.text.shallow_clone())
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
        Self { image: self.image.to_device(device), text: self.text.to_device(device), ..*self }
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
                queue.push(&tensor, &(-&tensor));
                model.extend(new);
                while model.len() > capacity {
                    model.pop_front();
                }
            }
            let (image, text) = queue.features();
            prop_assert_eq!(rows(&image), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(rows(&-text), model.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_random_start_is_full_of_unit_vectors() {
        let queue = Queue::new(3, 8, QueueStart::Random, 5, Kind::Double);
        let norms: Vec<f64> = queue.features().0.norm_scalaropt_dim(2.0, [1i64], false).try_into().unwrap();
        assert!(norms.len() == 3 && norms.iter().all(|norm| (norm - 1.0).abs() < 1e-12));
        assert!(!queue.features().0.equal(&queue.features().1));
    }
}
