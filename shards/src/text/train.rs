//! A vocabulary made from the captions themselves.

use super::{clean, tokenizer::bert};
use crate::error::{Error, Result};
use std::collections::BTreeSet;
use tokenizers::{
    AddedToken, Model, NormalizedString, Normalizer,
    models::wordpiece::{WordPiece, WordPieceTrainer},
    normalizers::BertNormalizer,
};

/// The special tokens in the order of their ids, from 0.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// Trains a WordPiece vocabulary of at most `size` entries on the captions and returns it as a `vocab.txt`: one token a line, the
/// special ones first. The same captions give the same bytes, whatever their order.
///
/// # Errors
/// No caption with a word in it, or a size that has no room for the letters.
pub fn train(captions: impl Iterator<Item = String>, size: u32) -> Result<Vec<u8>> {
    let failed = |reason: String| Error::Value { name: "--size", value: size.to_string(), reason };
    let mut words: Vec<String> =
        captions.map(|caption| clean(&caption)).filter(|text| !text.is_empty()).collect();
    if words.is_empty() {
        return Err(failed("there is no caption with a word in it to learn from".into()));
    }
    words.sort_unstable();
    let mut engine = bert(WordPiece::default(), 2, 3).map_err(|e| failed(e.to_string()))?;
    let first: Vec<AddedToken> = SPECIAL
        .map(String::from)
        .into_iter()
        .chain(letters(&words))
        .map(|t| AddedToken::from(t, true))
        .collect();
    let least = first.len();
    if least > size as usize {
        return Err(failed(format!("the special tokens and letters alone need {least} entries")));
    }
    let mut trainer = WordPieceTrainer::builder()
        .vocab_size(size as usize)
        .min_frequency(2)
        .show_progress(false)
        .special_tokens(first)
        .build();
    engine.train(&mut trainer, words.iter()).map_err(|e| failed(e.to_string()))?;
    let vocabulary = engine.get_model().get_vocab();
    let mut tokens: Vec<(u32, String)> = vocabulary.into_iter().map(|(token, id)| (id, token)).collect();
    tokens.sort_unstable();
    Ok(tokens.into_iter().flat_map(|(_, token)| (token + "\n").into_bytes()).collect())
}

/// The letters as a word's first and as its later ones, sorted. The trainer numbers letters as its hash table yields them and
/// settles ties by number; given to it in an order of their own, the vocabulary is a function of the captions.
fn letters(captions: &[String]) -> impl Iterator<Item = String> {
    let normaliser = BertNormalizer::new(true, true, None, true);
    let mut letters = BTreeSet::new();
    for caption in captions {
        let mut text = NormalizedString::from(caption.as_str());
        // It fails on no text; the letters of one that it left alone are merely not put first.
        if normaliser.normalize(&mut text).is_ok() {
            letters.extend(text.get().chars().filter(|c| !c.is_whitespace()));
        }
    }
    let later: Vec<String> = letters.iter().map(|c| format!("##{c}")).collect();
    letters.into_iter().map(String::from).chain(later)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Tokenizer;

    fn captions() -> Vec<String> {
        let (colours, things) = (["red", "green", "blue"], ["circle", "square", "circles"]);
        let pair = |c: &&str| things.map(|thing| format!("A {c} {thing}.")).to_vec();
        colours.iter().flat_map(pair).collect()
    }

    #[test]
    fn frequent_words_become_one_token_and_the_order_of_captions_does_not_matter() {
        let bytes = train(captions().into_iter(), 200).unwrap();
        assert_eq!(bytes, train(captions().into_iter().rev(), 200).unwrap());
        assert!(bytes.starts_with(b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"));
        let tokenizer = Tokenizer::from_bytes(&bytes, "vocab.txt").unwrap();
        let ids = tokenizer.encode("a green square", 30).unwrap();
        assert_eq!(ids.len(), 5, "{ids:?}");
        assert!(!ids.contains(&1), "{ids:?}");
        assert_eq!(tokenizer.vocabulary() as usize, bytes.iter().filter(|b| **b == b'\n').count());
    }

    #[test]
    fn too_little_room_and_no_words_are_told() {
        let error = train(captions().into_iter(), 8).unwrap_err().to_string();
        assert!(error.contains("--size = 8") && error.contains("alone need"), "{error}");
        assert!(train(["?!".to_owned()].into_iter(), 100).is_err());
    }
}
