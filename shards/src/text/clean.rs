//! The cleaning of captions before they are tokenised.

/// A caption in lower case, without punctuation and repeated spaces, after ALBEF's `pre_caption` (dataset/utils.py of the published
/// code): the marks `,.'!?"()*#:;~` go, `-` and `/` become spaces, `<person>` becomes `person`. Words are not cut here: the
/// tokenizer cuts at the number of tokens.
pub fn clean(caption: &str) -> String {
    let lower = caption.to_lowercase().replace("<person>", "person");
    let kept = lower.chars().filter(|c| !",.'!?\"()*#:;~".contains(*c));
    let spaced: String = kept.map(|c| if "-/".contains(c) { ' ' } else { c }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::clean;
    use proptest::prelude::*;

    #[test]
    fn marks_go_and_hyphens_part_words() {
        assert_eq!(
            clean("  A man's T-shirt, and/or <person>'s (hat)!\n"),
            "a mans t shirt and or persons hat"
        );
        assert_eq!(clean("?!"), "");
    }

    proptest! {
        #[test]
        fn what_is_clean_stays(caption in ".{0,60}") {
            let once = clean(&caption);
            prop_assert_eq!(clean(&once), once);
        }
    }
}
