//! Which tokens the student has to restore: BERT's masking (Devlin et al., 2019, section 3.1) as ALBEF's code draws it.

use rand::RngExt;
use shards::keyed;
use std::ops::Range;

/// The label of a token that is not to be predicted.
pub const UNPREDICTED: i64 = -100;

/// The ids that masking has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Special {
    /// Padding: never masked.
    pub pad: i64,
    /// Start of a text: never masked.
    pub cls: i64,
    /// End of a text, where it is never masked.
    pub separator: Option<i64>,
    /// What a masked token becomes.
    pub mask: i64,
    /// Ids are drawn from `0..vocabulary`.
    pub vocabulary: i64,
}

/// The raw draws of one token, each uniform in 0..1 but the last.
#[derive(Clone, Copy, Debug)]
pub struct TokenDraw {
    /// Below the mask probability: the token is to be predicted.
    pub select: f64,
    /// Below 0.8: it becomes the mask token.
    pub replace: f64,
    /// Else, below 0.5: it becomes a random word.
    pub randomise: f64,
    /// The random word.
    pub word: i64,
}

/// The masked ids and the labels of one text.
pub fn mask(
    ids: &[i64],
    probability: f64,
    special: Special,
    draws: impl Iterator<Item = TokenDraw>,
) -> (Vec<i64>, Vec<i64>) {
    let masked = ids.iter().zip(draws).map(|(&id, draw)| {
        let spared = [Some(special.pad), Some(special.cls), special.separator].contains(&Some(id));
        if spared || draw.select >= probability {
            (id, UNPREDICTED)
        } else if draw.replace < 0.8 {
            (special.mask, id)
        } else if draw.randomise < 0.5 {
            (draw.word, id)
        } else {
            (id, id)
        }
    });
    masked.unzip()
}

/// The draws of a row's tokens, a function of (seed, epoch, row) alone.
pub fn draws(seed: u64, epoch: u64, row: u64, words: Range<i64>) -> impl Iterator<Item = TokenDraw> {
    let mut rng = keyed::rng("mask", &[seed, epoch, row]);
    std::iter::repeat_with(move || TokenDraw {
        select: rng.random(),
        replace: rng.random(),
        randomise: rng.random(),
        word: rng.random_range(words.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPECIAL: Special = Special { pad: 0, cls: 2, separator: Some(3), mask: 4, vocabulary: 50 };

    proptest! {
        #[test]
        fn unlabelled_tokens_stay_and_labels_are_the_originals(row: u64, ids in prop::collection::vec(0i64..50, 1..40)) {
            let (masked, labels) = mask(&ids, 0.4, SPECIAL, draws(1, 0, row, 0..50));
            prop_assert_eq!(masked.len(), ids.len());
            for ((id, masked), label) in ids.iter().zip(masked).zip(labels) {
                prop_assert!(label == UNPREDICTED && masked == *id || label == *id);
                prop_assert!(label == UNPREDICTED || ![SPECIAL.pad, SPECIAL.cls, 3].contains(id));
            }
        }
    }

    #[test]
    fn shares_are_as_published() {
        let ids = vec![7; 200_000];
        let (masked, labels) = mask(&ids, 0.15, SPECIAL, draws(3, 1, 9, 0..50));
        let share = |count: usize, of: usize| count as f64 / of as f64;
        let predicted = labels.iter().filter(|label| **label == 7).count();
        assert!((share(predicted, ids.len()) - 0.15).abs() < 0.005);
        let replaced = masked.iter().filter(|id| **id == SPECIAL.mask).count();
        assert!((share(replaced, predicted) - 0.8).abs() < 0.02);
        let changed = masked.iter().filter(|id| **id != 7).count();
        assert!((share(changed, predicted) - 0.9).abs() < 0.02);
    }

    #[test]
    fn a_separator_is_masked_where_it_may_be() {
        let labels = |separator| mask(&[3], 1.0, Special { separator, ..SPECIAL }, draws(0, 0, 0, 0..50)).1;
        assert_eq!((labels(None), labels(Some(3))), (vec![3], vec![UNPREDICTED]));
    }

    #[test]
    fn draws_are_keyed() {
        let selects = |epoch| draws(1, epoch, 5, 0..50).take(4).map(|d| d.select).collect::<Vec<_>>();
        assert_eq!(selects(0), selects(0));
        assert_ne!(selects(0), selects(1));
    }
}
