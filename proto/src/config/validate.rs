//! What has to hold between knobs.

use super::{ConfigError, Reach, RunConfig};

impl RunConfig {
    /// Checks ranges and relations of the knobs.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with every violation, each naming key, value and mend.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut wrong = Vec::new();
        let mut require = |holds: bool, message: String| {
            if !holds {
                wrong.push(message);
            }
        };
        self.validate_data(&mut require);
        self.validate_model(&mut require);
        self.validate_training(&mut require);
        if wrong.is_empty() { Ok(()) } else { Err(ConfigError::Invalid(wrong)) }
    }

    fn validate_data(&self, require: &mut impl FnMut(bool, String)) {
        let (data, augment) = (&self.data, &self.augment);
        require(
            !data.train.is_empty(),
            "data.train is empty: name the training set's folder, file or URL".into(),
        );
        require(
            !self.text.tokenizer.is_empty(),
            "text.tokenizer is empty: name a vocab.txt or tokenizer.json (`tandem data tokenizer` makes one)"
                .into(),
        );
        for (key, value) in [
            ("run.workers", self.run.workers),
            ("data.lanes", data.lanes),
            ("data.window", data.window),
            ("data.prefetch", data.prefetch),
            ("checkpoint.keep", self.checkpoint.keep),
            ("cluster.heartbeat_ms", self.cluster.heartbeat_ms),
        ] {
            require(value > 0, format!("{key} = 0: give at least 1"));
        }
        for (key, value) in [("data.max_pixels", data.max_pixels), ("data.max_bytes", data.max_bytes)] {
            require(value > 0, format!("{key} = 0: no image would be read; give at least 1"));
        }
        require(
            self.run.workers <= data.lanes,
            format!(
                "run.workers = {} is more than data.lanes = {}: each worker needs a lane",
                self.run.workers, data.lanes
            ),
        );
        for (key, value) in [
            ("data.substitution_budget", data.substitution_budget),
            ("augment.min_crop", augment.min_crop),
            ("augment.flip", augment.flip),
            ("augment.grey", augment.grey),
            ("augment.color", augment.color),
        ] {
            require((0.0..=1.0).contains(&value), format!("{key} = {value}: give a number from 0 to 1"));
        }
        require(augment.magnitude <= 10, format!("augment.magnitude = {}: give 0 to 10", augment.magnitude));
        require(augment.min_crop > 0.0, "augment.min_crop = 0: a crop needs an area".into());
        require(
            augment.std.iter().all(|s| *s > 0.0),
            format!("augment.std = {:?}: give positive numbers", augment.std),
        );
    }

    fn validate_model(&self, require: &mut impl FnMut(bool, String)) {
        let model = &self.model;
        for (whole, name, part, part_name) in [
            (model.image_size, "image_size", model.patch_size, "patch_size"),
            (model.vision_width, "vision_width", model.vision_heads, "vision_heads"),
            (model.text_width, "text_width", model.text_heads, "text_heads"),
        ] {
            require(
                part > 0 && whole > 0 && whole % part == 0,
                format!("model.{part_name} = {part} does not divide model.{name} = {whole}"),
            );
        }
        for (key, value) in [
            ("vision_depth", model.vision_depth),
            ("text_depth", model.text_depth),
            ("fusion_depth", model.fusion_depth),
            ("vision_hidden", model.vision_hidden),
            ("text_hidden", model.text_hidden),
            ("vocabulary", model.vocabulary),
            ("embed_width", model.embed_width),
        ] {
            require(value > 0, format!("model.{key} = 0: give at least 1"));
        }
        require(
            (3..=model.positions).contains(&self.text.max_tokens),
            format!(
                "text.max_tokens = {}: give 3 to model.positions = {}",
                self.text.max_tokens, model.positions
            ),
        );
        require(
            (0.0..1.0).contains(&model.dropout),
            format!("model.dropout = {}: give 0 to below 1", model.dropout),
        );
    }

    fn validate_training(&self, require: &mut impl FnMut(bool, String)) {
        let (objective, optimizer) = (&self.objective, &self.optimizer);
        let (batch, lanes) = (optimizer.batch, self.data.lanes);
        require(
            batch > 0 && lanes > 0 && batch % lanes == 0,
            format!(
                "optimizer.batch = {batch} is not a multiple of data.lanes = {lanes}: each lane fills the same number of slots"
            ),
        );
        let within = if objective.negatives == Reach::Local { self.run.workers } else { 1 };
        require(
            batch.checked_div(within).unwrap_or(batch) >= 2,
            format!(
                "optimizer.batch = {batch} over run.workers = {} leaves no negative for matching: give at least 2 pairs (2 a worker with objective.negatives = \"local\")",
                self.run.workers
            ),
        );
        require(objective.tile > 0, "objective.tile = 0: give at least 1".into());
        for (key, value) in [("momentum", objective.momentum), ("alpha", objective.alpha)] {
            require(
                (0.0..=1.0).contains(&value),
                format!("objective.{key} = {value}: give a number from 0 to 1"),
            );
        }
        let mask = objective.mask_probability;
        require(mask > 0.0 && mask <= 1.0, format!("objective.mask_probability = {mask}: give above 0 to 1"));
        let (low, high) = (objective.min_temperature, objective.max_temperature);
        require(
            0.0 < low && low <= objective.temperature && objective.temperature <= high,
            format!(
                "objective.temperature = {} is not between min_temperature = {low} (above 0) and max_temperature = {high}",
                objective.temperature
            ),
        );
        require(optimizer.steps > 0, "optimizer.steps = 0: give at least 1".into());
        require(optimizer.bucket_mib > 0, "optimizer.bucket_mib = 0: give at least 1".into());
        for (key, value) in [
            ("optimizer.learning_rate", optimizer.learning_rate),
            ("optimizer.epsilon", optimizer.epsilon),
            ("cluster.lost_after", self.cluster.lost_after),
            ("cluster.collective_timeout", self.cluster.collective_timeout),
        ] {
            require(value > 0.0 && value.is_finite(), format!("{key} = {value}: give a positive number"));
        }
        for (key, value) in [
            ("min_learning_rate", optimizer.min_learning_rate),
            ("warmup_learning_rate", optimizer.warmup_learning_rate),
            ("weight_decay", optimizer.weight_decay),
            ("clip_norm", optimizer.clip_norm),
        ] {
            require(value >= 0.0 && value.is_finite(), format!("optimizer.{key} = {value}: give 0 or more"));
        }
        for (key, value) in [("beta1", optimizer.beta1), ("beta2", optimizer.beta2)] {
            require((0.0..1.0).contains(&value), format!("optimizer.{key} = {value}: give 0 to below 1"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::resolve;

    #[test]
    fn all_violations_are_told_at_once() {
        let sets =
            ["optimizer.batch=10", "model.patch_size=7", "augment.flip=2", "run.workers=9"].map(String::from);
        let error = resolve("r", "data.train='d'\ntext.tokenizer='t'", &sets).unwrap_err().to_string();
        for part in ["optimizer.batch = 10", "model.patch_size = 7", "augment.flip = 2", "run.workers = 9"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn what_must_be_named_is_asked_for() {
        let error = resolve("r", "", &[]).unwrap_err().to_string();
        assert!(error.contains("data.train") && error.contains("text.tokenizer"), "{error}");
    }
}
