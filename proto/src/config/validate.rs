//! What has to hold between knobs.

use super::{ConfigError, Reach, RunConfig};

/// Largest sum of the sources' weights: slots are shared out in cycles of that many.
const MAX_WEIGHT: u64 = 10_000;

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
        self.validate_store(&mut require);
        self.validate_model(&mut require);
        self.validate_training(&mut require);
        self.validate_world(&mut require);
        if wrong.is_empty() { Ok(()) } else { Err(ConfigError::Invalid(wrong)) }
    }

    fn validate_data(&self, require: &mut impl FnMut(bool, String)) {
        let (data, augment) = (&self.data, &self.augment);
        self.validate_sources(require);
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

    fn validate_world(&self, require: &mut impl FnMut(bool, String)) {
        let (run, cluster, lanes) = (&self.run, &self.cluster, self.data.lanes);
        let [least, wanted, most] = [self.min_workers(), run.workers, self.max_workers()];
        for (key, value) in [("workers", wanted), ("max_workers", most)] {
            require(
                value <= lanes,
                format!("run.{key} = {value} is more than data.lanes = {lanes}: each worker needs a lane"),
            );
        }
        require(
            least <= wanted && wanted <= most,
            format!(
                "run.min_workers = {least}, run.workers = {wanted} and run.max_workers = {most}: they may not fall"
            ),
        );
        require(
            !self.is_local() || (least == wanted && wanted == most),
            format!(
                "run.min_workers = {least} and run.max_workers = {most}: with keys, negatives or means of objective = \"local\" another number of workers is another training; give run.workers = {wanted} for both"
            ),
        );
        for (key, value) in
            [("cluster.grace", cluster.grace), ("checkpoint.keep_hours", self.checkpoint.keep_hours)]
        {
            require((0.0..=1e6).contains(&value), format!("{key} = {value}: give 0 to 1000000"));
        }
        let (orphan, upload) = (cluster.orphan_after, self.checkpoint.upload_mib);
        require(
            (0.0..=3.2e7).contains(&orphan),
            format!("cluster.orphan_after = {orphan}: give 0 to 32000000"),
        );
        require((0.0..=1e9).contains(&upload), format!("checkpoint.upload_mib = {upload}: give 0 or more"));
        let bound = self.optimizer.spike_bound;
        require(
            bound == 0.0 || (bound > 1.0 && bound.is_finite()),
            format!("optimizer.spike_bound = {bound}: give a number above 1, or 0"),
        );
    }

    /// Fewest workers with which the run goes on.
    pub fn min_workers(&self) -> u32 {
        match self.run.min_workers {
            0 if self.is_local() => self.run.workers,
            told => told.max(1),
        }
    }

    /// Most workers that take part.
    pub fn max_workers(&self) -> u32 {
        if self.run.max_workers == 0 { self.run.workers } else { self.run.max_workers }
    }

    /// Whether the number of workers changes what is learned.
    fn is_local(&self) -> bool {
        let objective = &self.objective;
        [objective.keys, objective.negatives, objective.means].contains(&Reach::Local)
    }

    fn validate_sources(&self, require: &mut impl FnMut(bool, String)) {
        let data = &self.data;
        let given = !data.train.all().is_empty();
        require(
            given || !data.source.is_empty(),
            "data.train is empty: name the training set's folder, file, glob or URL, or give [[data.source]]"
                .into(),
        );
        require(
            !given || data.source.is_empty(),
            format!("data.train = {} and data.source are both given: keep one", data.train),
        );
        for (number, source) in (1..).zip(&data.source) {
            require(!source.location.all().is_empty(), format!("data.source {number} has no location"));
        }
        let weights: Vec<u32> = data.source.iter().map(|source| source.weight).collect();
        require(
            weights.iter().all(|weight| *weight == 0) || weights.iter().all(|weight| *weight > 0),
            format!("data.source has the weights {weights:?}: give one to each source, or to none"),
        );
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        require(
            total <= MAX_WEIGHT,
            format!(
                "the weights of data.source add up to {total}: give smaller ones in the same proportion, {MAX_WEIGHT} in all"
            ),
        );
    }

    fn validate_store(&self, require: &mut impl FnMut(bool, String)) {
        let store = &self.store;
        require(store.requests > 0, "store.requests = 0: give at least 1".into());
        require(store.gap_kib <= 1 << 20, format!("store.gap_kib = {}: give 0 to 1048576", store.gap_kib));
        // Above a year the number only says "for ever", and could not be waited for.
        for (key, value, most) in [
            ("retry_seconds", store.retry_seconds, 3.2e7),
            ("timeout", store.timeout, 3.2e7),
            ("connect_timeout", store.connect_timeout, 3.2e7),
            ("cache_gib", store.cache_gib, 1e9),
        ] {
            let fits = value > 0.0 && value <= most;
            require(fits, format!("store.{key} = {value}: give a number above 0, at most {most}"));
        }
        require(
            !store.cache.contains("://"),
            format!("store.cache = {}: give a folder on a local disk, not a URL", store.cache),
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
            ("cluster.meeting_timeout", self.cluster.meeting_timeout),
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
    fn sources_are_weighted_all_or_none_and_take_the_place_of_train() {
        let told = |file: &str| {
            resolve("r", &format!("{file}\n[text]\ntokenizer='t'"), &[])
                .err()
                .map(|e| e.to_string())
                .unwrap_or_default()
        };
        let two = |first: &str, second: &str| {
            format!("[[data.source]]\nlocation='a'\n{first}\n[[data.source]]\nlocation=['b','c']\n{second}")
        };
        assert_eq!(told(&two("weight=7", "weight=3")), "");
        assert_eq!(told(&two("", "")), "");
        assert!(told(&two("weight=7", "")).contains("[7, 0]"));
        assert!(told(&two("weight=9999", "weight=2")).contains("10001"));
        assert!(told(&format!("data.train='x'\n{}", two("", ""))).contains("both given"));
        assert!(told(&two("wieght=7", "")).contains("wieght"));
        assert!(told("[[data.source]]\nweight=1").contains("data.source 1 has no location"));
    }

    #[test]
    fn what_a_source_does_not_say_the_section_says() {
        let file = "[text]\ntokenizer='t'\n[data]\ncaption_column='words'\nfilter=['width >= 9']\n[[data.source]]\nlocation='a'\n[[data.source]]\nlocation='b'\ncaption_column='text'";
        let sources = resolve("r", file, &[]).unwrap().data.sources();
        assert_eq!(sources.iter().map(|s| s.caption_column.as_str()).collect::<Vec<_>>(), ["words", "text"]);
        assert!(sources.iter().all(|source| source.filter == ["width >= 9"]));
    }

    #[test]
    fn stores_are_asked_within_bounds() {
        let sets =
            ["store.requests=0", "store.timeout=0", "store.retry_seconds=inf", "store.cache='s3://b/c'"];
        let error = resolve("r", "data.train='d'\ntext.tokenizer='t'", &sets.map(String::from));
        let error = error.unwrap_err().to_string();
        for part in
            ["store.requests = 0", "store.timeout = 0", "store.retry_seconds = inf", "store.cache = s3://b/c"]
        {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn what_must_be_named_is_asked_for() {
        let error = resolve("r", "", &[]).unwrap_err().to_string();
        assert!(error.contains("data.train") && error.contains("text.tokenizer"), "{error}");
    }
}
