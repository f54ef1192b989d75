//! What a run keeps for life: another value would change which pairs come when, what they are turned into, or what is learned
//! from them, so a resume with it is refused by name.

use crate::{Error, Result};
use proto::{
    RunConfig, checkpoint,
    config::{self, KNOBS},
};
use shards::{
    committed::digest,
    manifest::{FROZEN, Manifest},
    store::Folder,
};

/// The file with the SHA-256 of the tokenizer's file, hex.
const TOKENIZER: &str = "tokenizer.sha256";
/// Knobs that are kept, or sections if they end in a dot.
const KEPT: [&str; 14] = [
    "run.seed",
    "data.image_column",
    "data.caption_column",
    "data.lanes",
    "data.window",
    "text.max_tokens",
    "optimizer.batch",
    "objective.semantics",
    "objective.keys",
    "objective.negatives",
    "objective.means",
    "objective.duplicates",
    "objective.queue",
    "model.",
];

/// A checkpoint is gone on from with the knobs that it was written with, but for those that a person may turn.
/// Returns those, in words.
pub(super) fn check_same_run(
    found: Option<&checkpoint::Manifest>,
    config: &RunConfig,
) -> Result<Vec<String>> {
    let Some(found) = found else { return Ok(Vec::new()) };
    let then = config::stored(&found.config, &[])?;
    let other = |key: &'static str, was: String, is: String| {
        Err(Error::OtherRun { key, was, is, output: config.run.output.clone() })
    };
    // A source may lie elsewhere by now; its rows are compared by the manifest.
    let columns = |config: &RunConfig| -> Vec<String> {
        let sources = config.data.source.iter();
        sources.map(|source| format!("{} and {}", source.image_column, source.caption_column)).collect()
    };
    if let Some((was, is)) = columns(&then).into_iter().zip(columns(config)).find(|(was, is)| was != is) {
        return other("the columns of a data.source", was, is);
    }
    let kept =
        |key: &str| KEPT.iter().any(|kept| key == *kept || (kept.ends_with('.') && key.starts_with(kept)));
    let (then, now) = (then.knobs(), config.knobs());
    let mut turned = Vec::new();
    for (knob, (was, is)) in KNOBS.iter().zip(then.into_iter().zip(now)).filter(|(_, (was, is))| was != is) {
        if kept(knob.key) {
            return other(knob.key, was, is);
        }
        turned.push(format!("{} was {was} before, and is {is} from here on", knob.key));
    }
    Ok(turned)
}

/// The dataset of a run stays what it was at the run's start.
pub(super) async fn freeze(
    output: &Folder,
    manifest: &Manifest,
    config: &RunConfig,
    begun: bool,
) -> Result<()> {
    let frozen = if begun { output.get(FROZEN).await? } else { None };
    let Some(bytes) = frozen else { return Ok(output.put(FROZEN, manifest.to_bytes()?).await?) };
    let frozen = Manifest::from_bytes(bytes, &output.path_of(FROZEN))?;
    match frozen.difference(manifest) {
        None => Ok(()),
        Some(difference) => Err(shards::Error::Changed {
            location: config.data.train.to_string(),
            difference,
            mend: "a run keeps its dataset: put it back as it was, or start another run with another run.output",
        }
        .into()),
    }
}

/// So does its tokenizer: another vocabulary of the same size would turn captions into other tokens.
pub(super) async fn freeze_tokenizer(output: &Folder, config: &RunConfig, begun: bool) -> Result<()> {
    let place = &config.text.tokenizer;
    let is = digest(&Folder::open(place)?.get("").await?.unwrap_or_default());
    let was = if begun { output.get(TOKENIZER).await? } else { None };
    let Some(was) = was else { return Ok(output.put(TOKENIZER, is.into_bytes()).await?) };
    if was == is.as_bytes() {
        return Ok(());
    }
    Err(shards::Error::Changed {
        location: place.clone(),
        difference: "the tokenizer's file has another content than at the run's start".into(),
        mend: "a run keeps its tokenizer: put the file back as it was, or start another run with another run.output",
    }
    .into())
}
