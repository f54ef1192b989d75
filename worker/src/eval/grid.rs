//! Queries with their best five answers, for people.

use super::Both;
use super::corpus::Corpus;
use crate::error::{Error, Result};
use proto::RunConfig;
use shards::image::{RgbImage, decode};
use shards::manifest::RowPlace;
use shards::picture::{Answer, GridRow, Query, retrieval_grid, write_png};
use std::path::Path;

/// Queries by text, then by image.
const QUERIES: [usize; 2] = [7, 3];

/// Draws queries that are spread evenly over the rows, whatever came of them.
pub(super) async fn draw(
    path: &Path,
    run: &str,
    corpus: &Corpus,
    found: &Both,
    config: &RunConfig,
) -> Result<()> {
    let mut rows = Vec::new();
    for query in spread(corpus.len(), QUERIES[0], 0) {
        let answers = answers(corpus, query, &found.text_to_image.best[query], config).await?;
        rows.push(GridRow { query: Query::Text(corpus.captions[query].clone()), answers });
    }
    for query in spread(corpus.len(), QUERIES[1], 1) {
        let answers = answers(corpus, query, &found.image_to_text.best[query], config).await?;
        let image = image(corpus, query, config).await?;
        rows.push(GridRow { query: Query::Image(image, corpus.captions[query].clone()), answers });
    }
    let title = format!("{run}: {} evenly spread queries among {} pairs", rows.len(), corpus.len());
    Ok(write_png(path, &retrieval_grid(&title, &rows))?)
}

/// `count` numbers below `of`, evenly spread; another `phase` gives others.
fn spread(of: usize, count: usize, phase: usize) -> impl Iterator<Item = usize> {
    let count = count.min(of);
    (0..count).map(move |number| (4 * number + 1 + 2 * phase) * of / (4 * count) % of)
}

async fn answers(corpus: &Corpus, query: usize, best: &[i64], config: &RunConfig) -> Result<Vec<Answer>> {
    let mut answers = Vec::new();
    for (place, &row) in best.iter().enumerate() {
        let row = row as usize;
        answers.push(Answer {
            image: image(corpus, row, config).await?,
            caption: corpus.captions[row].clone(),
            right: corpus.same(query, row),
            rank: place + 1,
        });
    }
    Ok(answers)
}

/// The image of a row that has been decoded before.
async fn image(corpus: &Corpus, row: usize, config: &RunConfig) -> Result<RgbImage> {
    let number = corpus.rows[row];
    let gone = |reason: String| Error::System(format!("row {number} can't be read a second time: {reason}"));
    let place = corpus.reader.manifest().place(number);
    let RowPlace { group, row: at, .. } = place.ok_or_else(|| gone("the manifest lacks it".into()))?;
    let fetched = corpus.reader.fetch(group, at..at + 1).await?;
    let bytes = fetched.get(at).and_then(|row| row.image).unwrap_or_default();
    decode(bytes, (&config.data).into()).map_err(|e| gone(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_spread_and_inside() {
        assert_eq!(spread(100, 4, 0).collect::<Vec<_>>(), [6, 31, 56, 81]);
        assert_eq!(spread(100, 4, 1).collect::<Vec<_>>(), [18, 43, 68, 93]);
        assert_eq!(spread(2, 7, 1).collect::<Vec<_>>(), [0, 1]);
    }
}
