//! One row to pixels and tokens.

use super::LoaderSpec;
use crate::{
    image::{decode, normalise, training_view},
    keyed,
    order::Slot,
    reader::Row,
    text::Tokenizer,
};

pub(super) struct Decoder {
    pub(super) spec: LoaderSpec,
    pub(super) tokenizer: Tokenizer,
}

impl Decoder {
    /// Numbers of one image.
    pub(super) fn pixels(&self) -> usize {
        3 * (self.spec.image_size as usize).pow(2)
    }

    /// Writes the row's augmented image into `image` and returns its tokens, or why it can't be used: only what is a function of
    /// the stored bytes. The augmentation is keyed by the slot's epoch and row.
    pub(super) fn pair(
        &self,
        slot: &Slot,
        row: Option<Row<'_>>,
        image: &mut [f32],
    ) -> Result<Vec<i64>, String> {
        let LoaderSpec { data, augment, text, image_size, seed, .. } = &self.spec;
        let row = row.ok_or("it is not where its row group's footer says")?;
        let bytes = row.image.ok_or("its image is null")?;
        let caption = row.caption.ok_or("its caption is null")?;
        let tokens = self.tokenizer.encode(caption, text.max_tokens).map_err(|e| e.to_string())?;
        if tokens.len() <= 2 {
            return Err(format!("its caption {caption:?} has no words"));
        }
        let mut rng = keyed::rng("augment", &[*seed, slot.epoch, slot.row]);
        let decoded = decode(bytes, data.max_pixels).map_err(|e| e.to_string())?;
        let view = training_view(&decoded, augment, *image_size, &mut rng).map_err(|e| e.to_string())?;
        normalise(&view, &augment.mean, &augment.std, image);
        Ok(tokens)
    }

    /// Captions side by side, padded to the longest, and their lengths.
    pub(super) fn pad(&self, captions: &[Vec<i64>]) -> (Vec<i64>, Vec<u32>) {
        let longest = captions.iter().map(Vec::len).max().unwrap_or(0);
        let mut tokens = vec![self.tokenizer.special().pad; captions.len() * longest];
        for (line, caption) in tokens.chunks_mut(longest.max(1)).zip(captions) {
            line[..caption.len()].copy_from_slice(caption);
        }
        (tokens, captions.iter().map(|caption| caption.len() as u32).collect())
    }
}
