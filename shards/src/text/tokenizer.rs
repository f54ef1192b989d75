//! BERT's tokenizer, from the files that it is published in.

use super::clean;
use crate::error::{Error, Result};
use crate::store::Folder;
use tokenizers::{
    Model, Tokenizer as Engine, TokenizerBuilder, TokenizerImpl, decoders::wordpiece::WordPiece as Pieces,
    models::wordpiece::WordPiece, normalizers::BertNormalizer, pre_tokenizers::bert::BertPreTokenizer,
    processors::bert::BertProcessing,
};

/// The ids of the tokens with a meaning of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Special {
    /// `[PAD]`, after the end of a caption.
    pub pad: i64,
    /// `[CLS]`, the first token.
    pub cls: i64,
    /// `[SEP]`, the last token.
    pub sep: i64,
    /// `[MASK]`, in the place of a token that is to be predicted.
    pub mask: i64,
}

/// Captions to ids.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    engine: Engine,
    special: Special,
}

/// BERT's uncased pipeline around a WordPiece model.
pub(super) type Bert = TokenizerImpl<WordPiece, BertNormalizer, BertPreTokenizer, BertProcessing, Pieces>;

pub(super) fn bert(model: WordPiece, cls: u32, sep: u32) -> tokenizers::Result<Bert> {
    TokenizerBuilder::new()
        .with_model(model)
        .with_normalizer(Some(BertNormalizer::new(true, true, None, true)))
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_post_processor(Some(BertProcessing::new(("[SEP]".into(), sep), ("[CLS]".into(), cls))))
        .with_decoder(Some(Pieces::default()))
        .build()
}

impl Tokenizer {
    /// Fetches and reads the tokenizer that a path or URL names.
    ///
    /// # Errors
    /// A store that refuses, no file there, and as [`from_bytes`](Self::from_bytes).
    pub async fn open(location: &str) -> Result<Self> {
        let missing = || Error::Tokenizer {
            file: location.into(),
            reason: "there is no file; mend text.tokenizer, or make one with `tandem data tokenizer`".into(),
        };
        let bytes = Folder::open(location)?.get("").await?.ok_or_else(missing)?;
        Self::from_bytes(&bytes, location)
    }

    /// The whole pipeline as a `tokenizer.json`: the same ids for a caption that has been [`clean`]ed.
    ///
    /// # Errors
    /// None in practice: what was read can be written.
    pub fn to_json(&self) -> Result<String> {
        let failed = |reason: String| Error::Tokenizer { file: "tokenizer.json".into(), reason };
        self.engine.to_string(true).map_err(|e| failed(e.to_string()))
    }

    /// Reads a `tokenizer.json`, or a `vocab.txt` with one token a line (uncased BERT). `name` is for messages.
    ///
    /// # Errors
    /// Bytes that are neither, and a vocabulary without `[PAD]`, `[CLS]`, `[SEP]`, `[MASK]` or `[UNK]`.
    pub fn from_bytes(bytes: &[u8], name: &str) -> Result<Self> {
        let failed = |reason: String| Error::Tokenizer { file: name.into(), reason };
        let engine: Engine = if bytes.trim_ascii_start().starts_with(b"{") {
            Engine::from_bytes(bytes).map_err(|e| failed(format!("it is no tokenizer.json: {e}")))?
        } else {
            let bad =
                |e: tokenizers::Error| failed(format!("it is neither a tokenizer.json nor a vocab.txt: {e}"));
            let vocabulary = WordPiece::read_bytes(bytes).map_err(bad)?;
            let model = WordPiece::builder().vocab(vocabulary).build().map_err(bad)?;
            // A token that is missing is told below; the ids are only for whole `tokenizer.json` files.
            let id = |token: &str| model.token_to_id(token).unwrap_or_default();
            let (cls, sep) = (id("[CLS]"), id("[SEP]"));
            bert(model, cls, sep).map_err(bad)?.into()
        };
        let id = |token: &str| {
            let missing =
                || failed(format!("it has no token {token}; make one with `tandem data tokenizer`"));
            engine.token_to_id(token).map(i64::from).ok_or_else(missing)
        };
        id("[UNK]")?;
        let special =
            Special { pad: id("[PAD]")?, cls: id("[CLS]")?, sep: id("[SEP]")?, mask: id("[MASK]")? };
        Ok(Self { engine, special })
    }

    /// The ids of the cleaned caption between `[CLS]` and `[SEP]`, at most `max_tokens` of them; a longer caption loses its end,
    /// not its `[SEP]`.
    ///
    /// # Errors
    /// A caption that the tokenizer refuses.
    pub fn encode(&self, caption: &str, max_tokens: u32) -> Result<Vec<i64>> {
        let failed = |e: tokenizers::Error| Error::Tokenizer {
            file: "text.tokenizer".into(),
            reason: format!("the caption {caption:?}: {e}"),
        };
        let encoding = self.engine.encode_fast(clean(caption), false).map_err(failed)?;
        let room = max_tokens.saturating_sub(2) as usize;
        let words = encoding.get_ids().iter().take(room).map(|id| i64::from(*id));
        Ok(std::iter::once(self.special.cls).chain(words).chain([self.special.sep]).collect())
    }

    /// Entries of the vocabulary: the largest id and one.
    pub fn vocabulary(&self) -> u32 {
        self.engine.get_vocab(true).values().max().map_or(0, |id| id + 1)
    }

    /// The ids of the special tokens.
    pub fn special(&self) -> Special {
        self.special
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCABULARY: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nred\ncircle\n##s\ncafe\n";

    fn tokenizer() -> Tokenizer {
        Tokenizer::from_bytes(VOCABULARY.as_bytes(), "vocab.txt").unwrap()
    }

    #[test]
    fn captions_become_word_pieces() {
        let tokenizer = tokenizer();
        assert_eq!(tokenizer.vocabulary(), 10);
        assert_eq!(tokenizer.special(), Special { pad: 0, cls: 2, sep: 3, mask: 4 });
        assert_eq!(tokenizer.encode("A red, circles", 30).unwrap(), [2, 5, 6, 7, 8, 3]);
        assert_eq!(tokenizer.encode("a Café unknown", 30).unwrap(), [2, 5, 9, 1, 3]);
        assert_eq!(tokenizer.encode("a red circles", 4).unwrap(), [2, 5, 6, 3]);
        assert_eq!(tokenizer.encode("", 30).unwrap(), [2, 3]);
    }

    #[test]
    fn a_caption_can_not_smuggle_in_special_tokens() {
        let ids = tokenizer().encode("a [SEP] [MASK] red", 30).unwrap();
        assert_eq!(ids.iter().filter(|id| [3, 4].contains(*id)).count(), 1, "{ids:?}");
    }

    #[test]
    fn what_is_no_tokenizer_is_told() {
        for (bytes, part) in [
            (&b"{\"a\": 1}"[..], "no tokenizer.json"),
            (b"\xff\xfe\x00", "vocab.txt"),
            (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n", "no token [MASK]"),
            (b"", "no token"),
        ] {
            let error = Tokenizer::from_bytes(bytes, "x/vocab.txt").unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("x/vocab.txt"), "{error}");
        }
    }
}
