//! `tandem checkpoint show`: what a manifest says.

use super::{age, find, folder, printed, short};
use crate::{Result, args::checkpoint::Show, commands::say};
use indicatif::HumanBytes;
use proto::{
    RunConfig,
    checkpoint::{MARKER, Manifest, Part},
    config::{self, KNOBS, Locations},
};
use serde_json::json;
use shards::committed::digest;
use std::{io::Write, time::SystemTime};

pub(super) async fn show(arguments: &Show, out: &mut impl Write) -> Result<()> {
    let checkpoints = folder(&arguments.run)?;
    let manifest = find(&checkpoints, arguments.step).await?;
    let own = checkpoints.step(manifest.step);
    let committed = own.meta(MARKER).await?.map(|meta| SystemTime::from(meta.last_modified));
    let knobs = turned(&config::stored(&manifest.config, &[])?)?;
    if arguments.json {
        let knobs: serde_json::Map<String, serde_json::Value> =
            knobs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        let config_hash = digest(manifest.config.as_bytes());
        let told = json!({ "manifest": manifest, "config_hash": config_hash, "knobs": knobs });
        return say(out, &printed(&told));
    }
    let age = committed.map_or(String::new(), |written| format!(", {}", age(written, SystemTime::now())));
    say(out, &format!("{}{age}\n{}", own.path_of(""), as_text(&manifest, &knobs)))
}

/// The knobs that have another value than the preset and the semantics give them, and these two.
fn turned(config: &RunConfig) -> Result<Vec<(&'static str, String)>> {
    let all: Vec<(&str, String)> = KNOBS.iter().map(|knob| knob.key).zip(config.knobs()).collect();
    let named = |key: &str| ["model.preset", "objective.semantics"].contains(&key);
    let sets = all.iter().filter(|(key, _)| named(key)).map(|(key, value)| format!("{key}={value}"));
    let needed = ["data.train=.".to_owned(), "text.tokenizer=none".to_owned()];
    let mut base = config::resolve("defaults", "", &sets.chain(needed).collect::<Vec<_>>())?;
    (base.data.train, base.text.tokenizer) = (Locations::default(), String::new());
    let differs =
        all.into_iter().zip(base.knobs()).filter(|((key, value), base)| named(key) || value != base);
    Ok(differs.map(|(knob, _)| knob).collect())
}

fn as_text(manifest: &Manifest, knobs: &[(&str, String)]) -> String {
    let Manifest { run, generation, step, config, dataset, state, parts, ledger, .. } = manifest;
    let mut text = format!("run {run}, step {step}, generation {generation}\n");
    text += &format!("dataset  {}\n", short(dataset));
    text += &format!("config   {}\n", short(&digest(config.as_bytes())));
    let file =
        |Part { name, size, sha256 }: &Part| format!("{name}, {}, {}\n", HumanBytes(*size), short(sha256));
    for part in parts {
        text += &format!("part     {}", file(part));
    }
    text += &format!("ledger   {}", file(ledger));
    text += &format!("state    {state}\n\nknobs that are not at their defaults\n");
    for (key, value) in knobs {
        text += &format!("  {key} = {value}\n");
    }
    text
}
