//! The weights that a run begins with: drawn from its seed, and taken from files where `model.init`, `model.init_image` and
//! `model.init_text` name some. Which part came from where is told, and a key that does not fit is refused.

mod account;
mod file;
pub mod names;
mod positions;
mod report;

pub use file::Named;
pub use positions::resize;

use crate::error::Result;
use crate::models::albef::{Albef, averaged};
use crate::weights::Weights;
use account::{Account, teaches};
use names::Layout;
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

/// Parts that a file of their own replaces.
const IMAGE: &str = "visual_encoder.";
const TEXT: &str = "text_encoder.";
const TEMPERATURE: &str = "temp";

impl Start {
    /// Draws all weights, then takes what the configuration names from its files.
    ///
    /// # Errors
    /// Files that can't be read, and keys that are missing, unexpected or misshaped and that `model.init_allow` does not name.
    pub async fn new(config: &RunConfig) -> Result<Self> {
        let model = &config.model;
        let mut student = Albef::fresh(model, &config.objective, config.run.seed)?.into_map();
        let mut origins = Origins::new(config.run.seed);
        let mut teacher = BTreeMap::new();
        if !model.init.is_empty() {
            let file = Named::open(&model.init).await?;
            teacher = whole(&mut student, &file, config, &mut origins)?;
        }
        let mut replace = |file: &Named, layout: &Layout, part: &str| {
            let mut account = Account::of(file);
            account.take(&mut student, layout, part, |name, note| origins.took(name, &file.file, note));
            // Its teacher begins with it.
            teacher.retain(|name: &String, _| !name.starts_with(part));
            account.settle(&model.init_allow)
        };
        if !model.init_image.is_empty() {
            let file = Named::open(&model.init_image).await?;
            let timm = file.has("patch_embed.proj.weight");
            let layout = if timm { Layout::Timm } else { Layout::HfVit(prefix(&file, "vit.")) };
            replace(&file, &layout, IMAGE)?;
        }
        if !model.init_text.is_empty() {
            let file = Named::open(&model.init_text).await?;
            replace(&file, &Layout::HfBert(prefix(&file, "bert.")), TEXT)?;
        }
        let mut report = origins.lines(&student, model.text_depth.into());
        let student = Weights::new(student);
        let mut copy = student.copy_where(averaged).into_map();
        report.push(teacher_line(teacher.len(), copy.len(), &model.init));
        copy.extend(teacher);
        Ok(Self { student, teacher: Weights::new(copy), report })
    }
}

/// Takes a whole ALBEF: the student, whose temperature is brought within its bounds as the published loop does before a step, and
/// what the file has of a teacher.
fn whole(
    student: &mut BTreeMap<String, Tensor>,
    file: &Named,
    config: &RunConfig,
    origins: &mut Origins,
) -> Result<BTreeMap<String, Tensor>> {
    let mut account = Account::of(file);
    account.take(student, &Layout::Albef, "", |name, note| origins.took(name, &file.file, note));
    let (low, high) = (config.objective.min_temperature, config.objective.max_temperature);
    if let Some(temp) = student.get_mut(TEMPERATURE) {
        let bound = temp.clamp(low, high);
        if !bound.equal(temp) {
            let note = format!("brought from {} into {low} to {high}", temp.double_value(&[]));
            origins.took(TEMPERATURE, &file.file, Some(note));
        }
        *temp = bound;
    }
    let mut teacher = BTreeMap::new();
    if file.tensors.keys().any(|name| teaches(name)) {
        let mut copies: BTreeMap<String, Tensor> = student
            .iter()
            .filter(|(name, _)| averaged(name))
            .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
            .collect();
        let mut own = BTreeSet::new();
        account.take(&mut copies, &Layout::AlbefTeacher, "", |name, _| {
            own.insert(name.to_owned());
        });
        teacher = copies.into_iter().filter(|(name, _)| own.contains(name)).collect();
    }
    account.settle(&config.model.init_allow)?;
    Ok(teacher)
}

/// Where the teacher came from: `own` of its tensors from a file of its own, the others from the student.
fn teacher_line(own: usize, all: usize, file: &str) -> String {
    match own {
        0 => "teacher: a copy of the student".into(),
        own if own == all => format!("teacher: its own weights from {file}"),
        own => {
            format!("teacher: {own} tensors of its own from {file}, {} copies of the student's", all - own)
        }
    }
}

/// `prefix` if the file's names have it.
fn prefix(file: &Named, prefix: &'static str) -> &'static str {
    if file.tensors.keys().any(|name| name.starts_with(prefix)) { prefix } else { "" }
}

#[cfg(test)]
mod tests;
