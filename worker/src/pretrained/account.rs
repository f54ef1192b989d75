//! What of a file fits, what does not, and what nobody asked for: every key is accounted for.

use super::file::Named;
use super::names::{Layout, WORD_BIAS, WORDS, matches, patterns};
use super::positions;
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use tch::Tensor;

/// The copies of other parameters that files hold, by how their names end.
const TIED: [(&str, &str); 2] =
    [("predictions.decoder.weight", WORDS), ("predictions.decoder.bias", WORD_BIAS)];

/// The account of one file.
#[derive(Debug)]
pub(super) struct Account<'a> {
    file: &'a Named,
    /// Keys that don't fit, each with what is wrong.
    wrong: Vec<(String, String)>,
    right: Vec<String>,
    used: BTreeSet<String>,
    layouts: Vec<Layout>,
}

impl<'a> Account<'a> {
    pub(super) fn of(file: &'a Named) -> Self {
        Self { file, wrong: Vec::new(), right: Vec::new(), used: BTreeSet::new(), layouts: Vec::new() }
    }

    /// Replaces those parameters below `part` that the file has, and tells `took` of each, with what was done to it.
    pub(super) fn take(
        &mut self,
        weights: &mut BTreeMap<String, Tensor>,
        layout: &Layout,
        part: &str,
        mut took: impl FnMut(&str, Option<String>),
    ) {
        let there = &self.file.tensors;
        for (name, tensor) in weights.iter_mut().filter(|(name, _)| name.starts_with(part)) {
            let theirs = layout.theirs(name);
            let found: Vec<&Tensor> = theirs.iter().filter_map(|theirs| there.get(theirs)).collect();
            self.used.extend(theirs.iter().cloned());
            let key = theirs.first().cloned().unwrap_or_else(|| name.clone());
            if found.len() < theirs.len() || theirs.is_empty() {
                let missing = theirs.iter().filter(|theirs| !there.contains_key(*theirs));
                self.wrong.extend(missing.map(|key| (key.clone(), format!("{key} is missing"))));
                continue;
            }
            let (given, note) = positions::fit(name, join(&found), tensor);
            if given.size() == tensor.size() {
                *tensor = given;
                took(name, note);
                self.right.push(key);
            } else {
                let shapes =
                    format!("{key} has shape {:?}, the model's is {:?}", given.size(), tensor.size());
                self.wrong.push((key, shapes));
            }
        }
        self.layouts.push(layout.clone());
    }

    /// Refuses keys that don't fit or that nobody took, but for those that `allow` names.
    ///
    /// # Errors
    /// [`Error::Unfit`] with all of them.
    pub(super) fn settle(mut self, allow: &[String]) -> Result<()> {
        let rest = self.file.tensors.iter().filter(|(name, _)| !self.used.contains(*name));
        let unexpected: Vec<_> =
            rest.filter_map(|(name, tensor)| Some((name.clone(), self.complaint(name, tensor)?))).collect();
        self.wrong.extend(unexpected);
        self.wrong.retain(|(key, _)| !allow.iter().any(|pattern| matches(pattern, key)));
        if self.wrong.is_empty() {
            return Ok(());
        }
        let (keys, reasons): (Vec<String>, Vec<String>) = self.wrong.into_iter().unzip();
        Err(Error::Unfit { file: self.file.file.clone(), mend: patterns(&keys, &self.right), reasons })
    }

    /// What is wrong with a key that nobody took, if anything.
    fn complaint(&self, name: &str, tensor: &Tensor) -> Option<String> {
        let layout =
            self.layouts.iter().rev().find(|layout| **layout != Layout::AlbefTeacher || teaches(name));
        let original =
            |(_, original): &(&str, &str)| self.file.tensors.get(layout?.theirs(original).first()?);
        match TIED.iter().find(|(end, _)| name.ends_with(end)).and_then(original) {
            Some(original) if original.size() == tensor.size() && original.equal(tensor) => None,
            _ if name.ends_with("position_ids") => None,
            _ if self.layouts.contains(&Layout::Albef) && queues(name) => None,
            Some(_) => Some(format!("{name} is not tied to the word embeddings")),
            None => Some(format!("{name} is unexpected")),
        }
    }
}

/// Whether a key of a whole ALBEF's file is the teacher's.
pub(super) fn teaches(name: &str) -> bool {
    name.split_once('.').is_some_and(|(head, _)| head.ends_with("_m"))
}

/// Whether a key of a whole ALBEF's file is of its queue, which begins anew.
fn queues(name: &str) -> bool {
    name.ends_with("_queue") || name == "queue_ptr"
}

/// One tensor of those that make it.
fn join(parts: &[&Tensor]) -> Tensor {
    match parts {
        [one] => one.copy(),
        several => Tensor::cat(several, 0),
    }
}
