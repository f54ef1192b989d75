//! The weights that a run begins with: drawn from its seed, and taken from files where `model.init`, `model.init_image` and
//! `model.init_text` name some. Which part came from where is told, and a key that does not fit is refused.

mod file;
pub mod names;
mod positions;
mod report;

pub use file::Named;
pub use positions::resize;

use crate::error::{Error, Result};
use crate::models::albef::{Albef, averaged};
use crate::weights::Weights;
use names::{Layout, WORD_BIAS, WORDS, matches, patterns};
use proto::RunConfig;
use report::Origins;
use std::collections::{BTreeMap, BTreeSet};
use tch::Tensor;

/// The weights of a run's first step.
#[derive(Debug)]
pub struct Start {
    /// Everything that is trained.
    pub student: Weights,
    /// What the teacher averages.
    pub teacher: Weights,
    /// One line for each part of the network: where it came from.
    pub report: Vec<String>,
}

impl Start {
    /// Draws all weights, then takes what the configuration names from its files.
    ///
    /// # Errors
    /// Files that can't be read, and keys that are missing, unexpected or misshaped and that `model.init_allow` does not name.
    pub async fn new(config: &RunConfig) -> Result<Self> {
        let model = &config.model;
        let mut student = Albef::fresh(model, &config.objective, config.run.seed)?.into_map();
        let mut origins = Origins::new(config.run.seed);
        let mut teacher = None;
        if !model.init.is_empty() {
            let file = Named::open(&model.init).await?;
            take(&mut student, &file, &Layout::Albef, "", &model.init_allow, &mut origins)?;
            teacher = own_teacher(&student, &file)?;
        }
        if !model.init_image.is_empty() {
            let file = Named::open(&model.init_image).await?;
            let layout = if file.has("patch_embed.proj.weight") {
                Layout::Timm
            } else {
                Layout::HfVit(prefix(&file, "vit."))
            };
            take(&mut student, &file, &layout, "visual_encoder.", &model.init_allow, &mut origins)?;
        }
        if !model.init_text.is_empty() {
            let file = Named::open(&model.init_text).await?;
            let layout = Layout::HfBert(prefix(&file, "bert."));
            take(&mut student, &file, &layout, "text_encoder.", &model.init_allow, &mut origins)?;
        }
        let mut report = origins.lines(&student, model.text_depth.into());
        let student = Weights::new(student);
        let copied = student.copy_where(averaged);
        // Parts that were replaced after the whole was read begin with their own teacher.
        let whole_only = model.init_image.is_empty() && model.init_text.is_empty();
        let teacher = teacher.filter(|_| whole_only);
        report.push(format!(
            "teacher: {}",
            if teacher.is_some() {
                format!("its own weights from {}", model.init)
            } else {
                "a copy of the student".into()
            }
        ));
        Ok(Self { student, teacher: teacher.unwrap_or(copied), report })
    }
}

/// `prefix` if the file's names have it.
fn prefix(file: &Named, prefix: &'static str) -> &'static str {
    if file.tensors.keys().any(|name| name.starts_with(prefix)) { prefix } else { "" }
}

/// What a whole ALBEF's file holds beside the student.
fn beside(name: &str) -> bool {
    name.split('.')
        .next()
        .is_some_and(|head| head.ends_with("_m") || head.ends_with("_queue") || head == "queue_ptr")
}

/// The teacher's own weights, where all of them are in the file.
fn own_teacher(student: &BTreeMap<String, Tensor>, file: &Named) -> Result<Option<Weights>> {
    let names = student.iter().filter(|(name, _)| averaged(name));
    let found = names.map(|(name, like)| {
        let theirs = Layout::AlbefTeacher.theirs(name);
        let tensor = theirs.first().and_then(|theirs| file.tensors.get(theirs))?;
        let (tensor, _) = positions::fit(name, tensor.shallow_clone(), like);
        (tensor.size() == like.size()).then(|| (name.clone(), tensor))
    });
    Ok(found.collect::<Option<BTreeMap<_, _>>>().map(Weights::new))
}

/// Replaces the parameters below `part` with those of the file.
fn take(
    student: &mut BTreeMap<String, Tensor>,
    file: &Named,
    layout: &Layout,
    part: &str,
    allow: &[String],
    origins: &mut Origins,
) -> Result<()> {
    let (mut wrong, mut right): (Vec<(String, String)>, Vec<String>) = (Vec::new(), Vec::new());
    let mut used = BTreeSet::new();
    for (name, tensor) in student.iter_mut().filter(|(name, _)| name.starts_with(part)) {
        let theirs = layout.theirs(name);
        let found: Vec<&Tensor> = theirs.iter().filter_map(|theirs| file.tensors.get(theirs)).collect();
        used.extend(theirs.iter().cloned());
        let key = theirs.first().cloned().unwrap_or_else(|| name.clone());
        if found.len() < theirs.len() || theirs.is_empty() {
            let missing = theirs.iter().filter(|theirs| !file.tensors.contains_key(*theirs));
            wrong.extend(missing.map(|key| (key.clone(), format!("{key} is missing"))));
            continue;
        }
        let (given, note) = positions::fit(name, join(&found), tensor);
        if given.size() == tensor.size() {
            *tensor = given;
            origins.took(name, &file.file, note);
            right.push(key);
        } else {
            let shapes = format!("{key} has shape {:?}, the model's is {:?}", given.size(), tensor.size());
            wrong.push((key, shapes));
        }
    }
    let words = |name: &str| layout.theirs(name).first().and_then(|theirs| file.tensors.get(theirs));
    for (name, tensor) in file.tensors.iter().filter(|(name, _)| !used.contains(*name)) {
        let tied = [("predictions.decoder.weight", WORDS), ("predictions.decoder.bias", WORD_BIAS)];
        let copy_of =
            tied.iter().find(|(end, _)| name.ends_with(end)).and_then(|(_, original)| words(original));
        match copy_of {
            Some(original) if original.size() == tensor.size() && original.equal(tensor) => {}
            _ if name.ends_with("position_ids") || *layout == Layout::Albef && beside(name) => {}
            Some(_) => wrong.push((name.clone(), format!("{name} is not tied to the word embeddings"))),
            None => wrong.push((name.clone(), format!("{name} is unexpected"))),
        }
    }
    wrong.retain(|(key, _)| !allow.iter().any(|pattern| matches(pattern, key)));
    if wrong.is_empty() {
        return Ok(());
    }
    let (keys, reasons): (Vec<String>, Vec<String>) = wrong.into_iter().unzip();
    Err(Error::Unfit { file: file.file.clone(), mend: patterns(&keys, &right), reasons })
}

/// One tensor of those that make it.
fn join(parts: &[&Tensor]) -> Tensor {
    match parts {
        [one] => one.copy(),
        several => Tensor::cat(several, 0),
    }
}

#[cfg(test)]
mod tests;
