//! Captions to token ids: cleaning as ALBEF does it, and BERT's WordPiece.

mod clean;
mod tokenizer;
mod train;

pub use clean::clean;
pub use tokenizer::{Special, Tokenizer};
pub use train::train;
