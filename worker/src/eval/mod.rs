//! What a checkpoint has learned: retrieval among images and texts, as ALBEF's published evaluation measures it.

mod corpus;
mod follow;
mod grid;
mod ranking;

use crate::args::{Eval, Retrieval};
use crate::checkpoint;
use crate::device;
use crate::error::{Error, Result};
use crate::models::albef::Albef;
use crate::weights::Weights;
use corpus::Corpus;
use proto::{RunConfig, config};
use ranking::{Ranking, Recall, match_scores, rank, similarities};
use serde_json::json;
use shards::{committed, text::Tokenizer};
use std::io::Write;
use tch::{Device, Tensor};
use tokio::runtime::Runtime;

/// A network read from a checkpoint.
struct Subject {
    config: RunConfig,
    step: proto::GlobalStep,
    device: Device,
    network: Albef,
}

/// Both directions of one way to score.
struct Both {
    image_to_text: Ranking,
    text_to_image: Ranking,
}

/// Does what was asked for and tells it on `out`.
///
/// # Errors
/// A checkpoint or dataset that can't be read, files that can't be written.
pub fn act(verb: &Eval, out: &mut impl Write) -> Result<()> {
    let runtime = Runtime::new().map_err(|e| Error::System(format!("starting threads: {e}")))?;
    let text = match verb {
        Eval::Follow(arguments) => return follow::follow(&runtime, arguments),
        Eval::Retrieval(arguments) => {
            let found = measure(&runtime, arguments)?;
            if arguments.json { format!("{:#}\n", found.json) } else { found.table }
        }
    };
    out.write_all(text.as_bytes()).map_err(|e| Error::System(format!("writing standard output: {e}")))
}

/// What was measured, for programs and for people.
struct Found {
    json: serde_json::Value,
    table: String,
}

fn measure(runtime: &Runtime, arguments: &Retrieval) -> Result<Found> {
    let subject = load(runtime, arguments)?;
    let tokenizer = runtime.block_on(Tokenizer::open(&subject.config.text.tokenizer))?;
    tracing::info!("encoding {} with the student of step {}", arguments.data, subject.step);
    let corpus = runtime.block_on(Corpus::read(&subject, &tokenizer, arguments))?;
    let itc = contrast(&corpus)?;
    let itm = (arguments.rerank > 0).then(|| matched(&subject, &corpus, arguments)).transpose()?;
    if let Some(path) = &arguments.grid {
        let right = |both: &Both| both.text_to_image.recall().r1;
        let (by, best) = match &itm {
            Some(itm) if right(itm) > right(&itc) => ("matching", itm),
            _ => ("similarity", &itc),
        };
        let title = format!("{}, step {}, by {by}", subject.config.run.name, subject.step);
        runtime.block_on(grid::draw(path, &title, &corpus, best, &subject.config))?;
    }
    Ok(Found {
        json: as_json(arguments, &subject, &corpus, &itc, itm.as_ref()),
        table: as_table(&subject, &corpus, &itc, itm.as_ref(), arguments.rerank),
    })
}

fn load(runtime: &Runtime, arguments: &Retrieval) -> Result<Subject> {
    let (folder, manifest) = runtime.block_on(committed::find(&arguments.checkpoint))?;
    let config = config::stored(&manifest.config, &arguments.sets)?;
    let device = device::choose(config.run.device, 0)?;
    device::set_threads(device::threads(&config.run, 1));
    let student = |name: &str| name.starts_with("student/");
    let (tensors, _) = runtime.block_on(checkpoint::read(&folder, &manifest, student))?;
    let named = tensors.into_iter().map(|(name, tensor)| (name["student/".len()..].to_owned(), tensor));
    let weights = Weights::new(named.collect()).to_device(device);
    Ok(Subject { network: Albef::over(&config.model, &weights)?, step: manifest.step, config, device })
}

fn contrast(corpus: &Corpus) -> Result<Both> {
    let direction = |queries: &Tensor, candidates: &Tensor| {
        Ranking::of(corpus.len(), |rows| {
            let scores = similarities(queries, candidates, &rows);
            rank(&scores, &corpus.matches(&rows))
        })
    };
    let (image, text) = (&corpus.image_features, &corpus.text_features);
    Ok(Both { image_to_text: direction(image, text)?, text_to_image: direction(text, image)? })
}

/// The matching head ranks the best `rerank` candidates by similarity anew; all others come after them.
fn matched(subject: &Subject, corpus: &Corpus, arguments: &Retrieval) -> Result<Both> {
    let k = arguments.rerank.min(corpus.len()) as i64;
    tracing::info!("matching {} queries both ways with {k} candidates each", corpus.len());
    let at_once = 4 * i64::from(arguments.batch);
    let score = |text: &Tensor, image: &Tensor| {
        let lengths = corpus.lengths.index_select(0, text).to_device(subject.device);
        let texts = corpus.text_tokens.index_select(0, text).to_device(subject.device);
        let images = corpus.image_tokens.index_select(0, image).to_device(subject.device);
        subject.network.match_pairs(&texts, &lengths, &images).select(1, 1).to_device(Device::Cpu)
    };
    let direction = |queries: &Tensor, candidates: &Tensor, score: &dyn Fn(&Tensor, &Tensor) -> Tensor| {
        Ranking::of(corpus.len(), |rows| {
            let near = similarities(queries, candidates, &rows).topk(k, 1, true, true).1;
            let scores = match_scores(&rows, &near, corpus.len() as i64, at_once, score);
            rank(&scores, &corpus.matches(&rows))
        })
    };
    let (image, text) = (&corpus.image_features, &corpus.text_features);
    Ok(Both {
        image_to_text: direction(image, text, &|query, candidate| score(candidate, query))?,
        text_to_image: direction(text, image, &|query, candidate| score(query, candidate))?,
    })
}

fn as_json(
    arguments: &Retrieval,
    subject: &Subject,
    corpus: &Corpus,
    itc: &Both,
    itm: Option<&Both>,
) -> serde_json::Value {
    let recall = |Recall { r1, r5, r10 }: Recall| json!({ "r1": r1, "r5": r5, "r10": r10 });
    let both = |both: &Both| {
        json!({
            "image_to_text": recall(both.image_to_text.recall()),
            "text_to_image": recall(both.text_to_image.recall()),
        })
    };
    json!({
        "checkpoint": arguments.checkpoint,
        "step": subject.step,
        "data": arguments.data,
        "pairs": corpus.len(),
        "skipped": corpus.skipped,
        "rerank": arguments.rerank,
        "itc": both(itc),
        "itm": itm.map(both),
    })
}

fn as_table(subject: &Subject, corpus: &Corpus, itc: &Both, itm: Option<&Both>, rerank: usize) -> String {
    let chance = 100.0 / corpus.len() as f64;
    let mut text = format!(
        "step {}, {} pairs ({} rows skipped), recall in %; chance at 1 is {chance:.2}\n{:<40}{:>8}{:>8}{:>8}\n",
        subject.step,
        corpus.len(),
        corpus.skipped,
        "",
        "R@1",
        "R@5",
        "R@10"
    );
    let scored = [("similarity".to_owned(), Some(itc)), (format!("matching of the best {rerank}"), itm)];
    for (name, both) in scored.iter().filter_map(|(name, both)| Some((name, (*both)?))) {
        for (way, ranking) in [("image to text", &both.image_to_text), ("text to image", &both.text_to_image)]
        {
            let Recall { r1, r5, r10 } = ranking.recall();
            text += &format!("{:<40}{r1:>8.2}{r5:>8.2}{r10:>8.2}\n", format!("{way}, {name}"));
        }
    }
    text
}
