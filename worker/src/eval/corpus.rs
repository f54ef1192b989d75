//! A dataset as a network sees it: every row encoded once.

use super::Subject;
use crate::args::Retrieval;
use crate::error::{Error, Result};
use proto::RunConfig;
use rayon::prelude::*;
use shards::image::{evaluation_input, with_scratch};
use shards::manifest::Manifest;
use shards::reader::{Reader, Row};
use shards::scan::scan;
use shards::text::{Tokenizer, clean};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use tch::{Device, Tensor};

/// The encoded rows, `n` of them, on the CPU.
pub(super) struct Corpus {
    /// For reading some rows again.
    pub reader: Reader,
    /// The manifest's numbers of the rows.
    pub rows: Vec<u64>,
    /// Cleaned captions.
    pub captions: Vec<String>,
    /// Rows that can't be used.
    pub skipped: u64,
    /// Unit features, `[n, embed]`.
    pub image_features: Tensor,
    /// Unit features, `[n, embed]`.
    pub text_features: Tensor,
    /// `[n, p, vision width]`.
    pub image_tokens: Tensor,
    /// `[n, t, text width]`, `t` the longest caption's length.
    pub text_tokens: Tensor,
    /// Tokens of each caption, `[n]`.
    pub lengths: Tensor,
    /// Number of each row's caption; rows with the same caption have the same, `[n]`.
    groups: Tensor,
}

/// A row as it goes into the network.
struct Example {
    row: u64,
    caption: String,
    ids: Vec<i64>,
    pixels: Vec<f32>,
}

impl Corpus {
    /// Reads and encodes all rows. Those that can't be decoded are skipped and counted.
    pub(super) async fn read(
        subject: &Subject,
        tokenizer: &Tokenizer,
        arguments: &Retrieval,
    ) -> Result<Self> {
        let config = &subject.config;
        let manifest = Arc::new(Manifest::open(&config.data.at(&arguments.data), &config.store).await?);
        let reader = Reader::new(manifest, &config.store)?;
        let (mut examples, mut encoded, mut skipped) = (Vec::new(), Vec::new(), 0);
        let visit = |group: shards::scan::Scanned| {
            let group = group.whole()?;
            for rows in group.rows().chunks(arguments.batch as usize) {
                let first = group.first_row;
                let read =
                    rows.par_iter().map(|(at, row)| example(first + u64::from(*at), row, config, tokenizer));
                let (good, bad): (Vec<_>, Vec<_>) = read
                    .collect::<Vec<std::result::Result<Example, String>>>()
                    .into_iter()
                    .partition(|e| e.is_ok());
                skipped += bad.len() as u64;
                bad.iter()
                    .filter_map(|e| e.as_ref().err())
                    .for_each(|reason| tracing::warn!("skipped: {reason}"));
                let mut good: Vec<Example> = good.into_iter().flatten().collect();
                if !good.is_empty() {
                    encoded.push(
                        subject.network.encode_image(&pixels(&mut good, config).to_device(subject.device)),
                    );
                }
                examples.append(&mut good);
            }
            Ok(())
        };
        scan(&reader, visit).await?;
        if examples.is_empty() {
            return Err(Error::NothingToEvaluate(arguments.data.clone()));
        }
        let (tokens, features): (Vec<_>, Vec<_>) = encoded.into_iter().unzip();
        let (ids, lengths) = padded(&examples, tokenizer.special().pad);
        let (text_tokens, text_features) = texts(subject, &ids, &lengths, arguments.batch.into());
        Ok(Self {
            reader,
            skipped,
            groups: groups(&examples),
            rows: examples.iter().map(|example| example.row).collect(),
            captions: examples.into_iter().map(|example| example.caption).collect(),
            image_features: host(&features),
            text_features,
            image_tokens: host(&tokens),
            text_tokens,
            lengths,
        })
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.captions.len()
    }

    /// Which rows match the rows `rows`, `[rows, n]`.
    pub(super) fn matches(&self, rows: &Range<i64>) -> Tensor {
        let queries = self.groups.narrow(0, rows.start, rows.end - rows.start);
        queries.unsqueeze(1).eq_tensor(&self.groups.unsqueeze(0))
    }

    /// Whether two rows match.
    pub(super) fn same(&self, a: usize, b: usize) -> bool {
        self.captions.get(a) == self.captions.get(b)
    }
}

fn example(
    number: u64,
    row: &Row<'_>,
    config: &RunConfig,
    tokenizer: &Tokenizer,
) -> std::result::Result<Example, String> {
    let failed = |reason: String| format!("row {number}: {reason}");
    if let Some(reason) = row.broken {
        return Err(failed(reason.into()));
    }
    let caption = clean(row.captions.first().ok_or_else(|| failed("its caption is null".into()))?);
    let ids = tokenizer.encode(&caption, config.text.max_tokens).map_err(|e| failed(e.to_string()))?;
    let bytes = row.image.ok_or_else(|| failed(row.no_image().into()))?;
    let (limits, side) = ((&config.data).into(), config.model.image_size);
    let mut pixels = vec![0.0; 3 * (side * side) as usize];
    with_scratch(|scratch| evaluation_input(bytes, limits, &config.augment, side, scratch, &mut pixels))
        .map_err(|e| failed(e.to_string()))?;
    Ok(Example { row: number, caption, ids, pixels })
}

/// The pixels of the examples, which lose them, `[n, 3, side, side]`.
fn pixels(examples: &mut [Example], config: &RunConfig) -> Tensor {
    let side = i64::from(config.model.image_size);
    let images = examples.iter_mut().map(|example| Tensor::from_slice(&std::mem::take(&mut example.pixels)));
    Tensor::stack(&images.collect::<Vec<_>>(), 0).view([-1, 3, side, side])
}

/// Ids right-padded to the longest, `[n, t]`, and lengths, `[n]`.
fn padded(examples: &[Example], pad: i64) -> (Tensor, Tensor) {
    let width = examples.iter().map(|example| example.ids.len()).max().unwrap_or(0);
    let row = |example: &Example| {
        let padding = std::iter::repeat_n(pad, width - example.ids.len());
        example.ids.iter().copied().chain(padding).collect::<Vec<i64>>()
    };
    let ids: Vec<i64> = examples.iter().flat_map(row).collect();
    let lengths: Vec<i64> = examples.iter().map(|example| example.ids.len() as i64).collect();
    (Tensor::from_slice(&ids).view([-1, width as i64]), Tensor::from_slice(&lengths))
}

fn texts(subject: &Subject, ids: &Tensor, lengths: &Tensor, batch: i64) -> (Tensor, Tensor) {
    let pairs = ids.split(batch, 0).into_iter().zip(lengths.split(batch, 0));
    let device = subject.device;
    let encode = |(ids, lengths): (Tensor, Tensor)| {
        subject.network.encode_text(&ids.to_device(device), &lengths.to_device(device))
    };
    let (tokens, features): (Vec<_>, Vec<_>) = pairs.map(encode).unzip();
    (host(&tokens), host(&features))
}

fn host(tensors: &[Tensor]) -> Tensor {
    Tensor::cat(&tensors.iter().map(|tensor| tensor.to_device(Device::Cpu)).collect::<Vec<_>>(), 0)
}

fn groups(examples: &[Example]) -> Tensor {
    let mut numbers = HashMap::new();
    let number = |example: &Example| {
        let next = numbers.len() as i64;
        *numbers.entry(example.caption.clone()).or_insert(next)
    };
    Tensor::from_slice(&examples.iter().map(number).collect::<Vec<i64>>())
}
