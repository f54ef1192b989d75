//! One row to pixels and tokens.

use super::LoaderSpec;
use crate::{
    identity::{Identity, identity},
    image::{training_input, with_scratch},
    keyed,
    order::Slot,
    reader::Row,
    text::Tokenizer,
};
use rand::RngExt;

/// A row without its image.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) tokens: Vec<i64>,
    pub(super) identity: Identity,
}

pub(super) struct Decoder {
    pub(super) spec: LoaderSpec,
    pub(super) tokenizer: Tokenizer,
}

impl Decoder {
    /// Numbers of one image.
    pub(super) fn pixels(&self) -> usize {
        3 * (self.spec.image_size as usize).pow(2)
    }

    /// Writes the row's augmented image into `image` and returns the rest of it, or why it can't be used: only what is a function of
    /// the stored bytes. The augmentation is keyed by the slot's epoch and row.
    pub(super) fn pair(&self, slot: &Slot, row: Option<Row<'_>>, image: &mut [f32]) -> Result<Text, String> {
        let LoaderSpec { data, augment, text, image_size, seed, .. } = &self.spec;
        let row = row.ok_or("it is not where its row group's footer says")?;
        if let Some(reason) = row.broken {
            return Err(reason.into());
        }
        let bytes = row.image.ok_or_else(|| row.no_image().to_owned())?;
        let caption = self.caption(slot, &row).ok_or("its caption is null")?;
        let tokens = self.tokenizer.encode(caption, text.max_tokens).map_err(|e| e.to_string())?;
        if tokens.len() <= 2 {
            return Err(format!("its caption {caption:?} has no words"));
        }
        let mut rng = keyed::rng("augment", &[*seed, slot.epoch, slot.row]);
        with_scratch(|scratch| {
            training_input(bytes, data.into(), augment, *image_size, &mut rng, scratch, image)
        })
        .map_err(|e| e.to_string())?;
        Ok(Text { tokens, identity: identity(caption, bytes, row.identity) })
    }

    /// One of the row's captions: of several, each epoch takes one, keyed by (seed, epoch, row).
    fn caption<'a>(&self, slot: &Slot, row: &Row<'a>) -> Option<&'a str> {
        let count = row.captions.len();
        if count < 2 {
            return row.captions.first();
        }
        let mut rng = keyed::rng("caption", &[self.spec.seed, slot.epoch, slot.row]);
        row.captions.get(rng.random_range(0..count))
    }

    /// Captions side by side, padded to the longest, and their lengths.
    pub(super) fn pad(&self, texts: &[Text]) -> (Vec<i64>, Vec<u32>) {
        let lengths = texts.iter().map(|text| text.tokens.len());
        let longest = lengths.clone().max().unwrap_or(0);
        let mut tokens = vec![self.tokenizer.special().pad; texts.len() * longest];
        for (line, text) in tokens.chunks_mut(longest.max(1)).zip(texts) {
            line[..text.tokens.len()].copy_from_slice(&text.tokens);
        }
        (tokens, lengths.map(|length| length as u32).collect())
    }
}
