//! Where each part of a network came from, in words.

use std::collections::BTreeMap;
use tch::Tensor;

/// The parts that are told apart, and which of a run's parameters belong to each; the first that fits.
const PARTS: [(&str, &str); 10] = [
    ("image encoder", "visual_encoder."),
    ("image projection", "vision_proj."),
    ("cross-attention", ".crossattention."),
    ("fusion layers", "fusion"),
    ("text encoder", "text_encoder.bert."),
    ("word head", "text_encoder.cls."),
    ("text projection", "text_proj."),
    ("matching head", "itm_head."),
    ("temperature", "temp"),
    ("other", ""),
];

/// Where parameters came from.
#[derive(Debug)]
pub(super) struct Origins {
    seed: u64,
    /// By parameter: file, and what was done to it.
    taken: BTreeMap<String, (String, Option<String>)>,
}

impl Origins {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, taken: BTreeMap::new() }
    }

    pub(super) fn took(&mut self, name: &str, file: &str, note: Option<String>) {
        self.taken.insert(name.into(), (file.into(), note));
    }

    /// One line a part.
    pub(super) fn lines(&self, all: &BTreeMap<String, Tensor>, text_depth: u64) -> Vec<String> {
        let mut parts: BTreeMap<usize, BTreeMap<String, (usize, Vec<&str>)>> = BTreeMap::new();
        for name in all.keys() {
            let drawn = || format!("drawn from seed {}", self.seed);
            let (origin, note) = match self.taken.get(name) {
                Some((file, note)) => (format!("from {file}"), note.as_deref()),
                None => (drawn(), None),
            };
            let (count, notes) = parts.entry(part(name, text_depth)).or_default().entry(origin).or_default();
            *count += 1;
            notes.extend(note);
        }
        let line = |(part, origins): (&usize, &BTreeMap<String, (usize, Vec<&str>)>)| {
            let told = origins.iter().map(|(origin, (count, notes))| {
                let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
                format!("{count} {} {origin}{notes}", if *count == 1 { "tensor" } else { "tensors" })
            });
            format!("{}: {}", PARTS[*part].0, told.collect::<Vec<_>>().join(", "))
        };
        parts.iter().map(line).collect()
    }
}

/// The index of a parameter's part.
fn part(name: &str, text_depth: u64) -> usize {
    let layer =
        name.split_once("encoder.layer.").and_then(|(_, rest)| rest.split('.').next()?.parse::<u64>().ok());
    let fuses = layer.is_some_and(|layer| layer >= text_depth);
    let fits = |(_, mark): &(&str, &str)| match *mark {
        "fusion" => fuses,
        mark if mark.starts_with('.') => name.contains(mark),
        mark => name.starts_with(mark),
    };
    PARTS.iter().position(fits).unwrap_or(PARTS.len() - 1)
}
