//! What the networks do in a step: encode a batch, match texts with images, restore masked words.

use super::Trainer;
use super::travel::{Choice, Rows};
use crate::batch::{LocalBatch, Masked, Texts};
use crate::error::Result;
use crate::models::bert::{Bert, Sight, Wanted, padding_mask};
use crate::objective::itc::Features;
use crate::objective::{itm, mlm};
use c10d::Autocast;
use proto::config::Precision;
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// Pairs as the networks take them.
#[derive(Debug)]
pub(super) struct Inputs {
    /// `[n, 3, size, size]`.
    pub images: Tensor,
    /// `[n, t]`.
    pub ids: Tensor,
    /// Tokens of each text, `[n]`.
    pub lengths: Tensor,
    /// `[n, 1, 1, t]`.
    pub mask: Tensor,
}

/// Encoded pairs.
#[derive(Debug)]
pub(super) struct Encoded {
    /// Image tokens, `[n, p, vision width]`.
    pub image: Tensor,
    /// Text tokens, `[n, t, text width]`.
    pub text: Tensor,
    pub features: Features,
}

impl Inputs {
    pub(super) fn new(batch: &LocalBatch, device: Device, kind: Kind) -> Self {
        let Texts { ids, lengths } = batch.texts(device);
        let mask = padding_mask(&lengths, ids.size()[1], kind);
        Self { images: batch.images.to_device(device).to_kind(kind), ids, lengths, mask }
    }

    /// Those of the pairs in `range`.
    pub(super) fn part(&self, range: &Range<i64>) -> Self {
        let part = |all: &Tensor| all.narrow(0, range.start, range.end - range.start);
        Self {
            images: part(&self.images),
            ids: part(&self.ids),
            lengths: part(&self.lengths),
            mask: part(&self.mask),
        }
    }
}

impl Trainer {
    /// The teacher's tokens and features.
    pub(super) fn teach(&self, inputs: &Inputs) -> Result<Encoded> {
        let _cast = self.autocast()?;
        let (image, image_feature) = self.teacher.image(&inputs.images);
        let (text, text_feature) = self.teacher.text(&inputs.ids, &inputs.mask, self.teacher_dropout());
        Ok(Encoded { image, text, features: Features { image: image_feature, text: text_feature } })
    }

    /// The student's.
    pub(super) fn encode(&self, inputs: &Inputs) -> Result<Encoded> {
        let _cast = self.autocast()?;
        let encoders = &self.student.encoders;
        let (image, image_feature) = encoders.image(&inputs.images);
        let (text, text_feature) = encoders.text(&inputs.ids, &inputs.mask, self.config.model.dropout);
        Ok(Encoded { image, text, features: Features { image: image_feature, text: text_feature } })
    }

    /// Image tokens as the student's fusion layers attend to them.
    pub(super) fn sight(&self, image: &Tensor) -> Result<Sight> {
        let _cast = self.autocast()?;
        Ok(self.student.encoders.text_encoder.sight(image))
    }

    /// Matching of n pairs and 2n hard negatives, summed.
    pub(super) fn matching(&self, rows: &Rows, choice: &Choice) -> Result<Tensor> {
        let _cast = self.autocast()?;
        let n = choice.image_for_text.size()[0];
        let own = Tensor::arange(n, (Kind::Int64, rows.text.device()));
        let texts = Tensor::cat(&[&own, &own, &choice.text_for_image], 0);
        let images = Tensor::cat(&[&own, &choice.image_for_text, &own], 0);
        let fused = self.student.encoders.text_encoder.fuse(
            &rows.text.index_select(0, &texts),
            &rows.mask.index_select(0, &texts),
            &rows.sight.select(&images),
            Wanted::First,
            self.config.model.dropout,
        );
        let logits = self.student.itm_logits(&fused);
        Ok(itm::loss(&logits.to_kind(self.student.temp.kind()), &choice.valid))
    }

    /// Masked words from the text around them and the image, summed over the masked tokens.
    pub(super) fn restore_words(
        &self,
        masked: &Masked,
        mask: &Tensor,
        sight: &Sight,
        teacher_image: &Tensor,
    ) -> Result<Tensor> {
        let _cast = self.autocast()?;
        let alpha = self.alpha();
        let Masked { ids, positions, labels } = masked;
        let predict = |bert: &Bert, sight: &Sight, dropout: f64| {
            let text = bert.encode(ids, mask, dropout);
            let fused = bert.fuse(&text, mask, sight, Wanted::At(positions), dropout);
            bert.predict(&fused).to_kind(self.student.temp.kind())
        };
        let bert = &self.teacher.text_encoder;
        let teacher = (alpha > 0.0)
            .then(|| tch::no_grad(|| predict(bert, &bert.sight(teacher_image), self.teacher_dropout())));
        let student = predict(&self.student.encoders.text_encoder, sight, self.config.model.dropout);
        Ok(mlm::loss(&student, teacher.as_ref(), labels, alpha))
    }

    /// The published code leaves the teacher in training mode.
    fn teacher_dropout(&self) -> f64 {
        if self.config.objective.teacher_dropout { self.config.model.dropout } else { 0.0 }
    }

    fn autocast(&self) -> Result<Option<Autocast>> {
        match self.config.optimizer.precision {
            Precision::F32 => Ok(None),
            Precision::Bf16 => Ok(Some(Autocast::bf16(self.group.device())?)),
        }
    }
}
