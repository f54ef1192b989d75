//! Fitting text into a room counted in letters: all fonts here are monospaced.

/// The text, or its beginning and "…" where it has more than `room` letters.
pub(super) fn cut(text: &str, room: usize) -> String {
    if text.chars().nth(room).is_none() { text.to_owned() } else { shortened(text, room) }
}

/// At most `most` lines of up to `room` letters. Words longer than a line are broken; "…" ends a cut text.
pub(super) fn wrap(text: &str, room: usize, most: usize) -> Vec<String> {
    let room = room.max(1);
    let mut lines: Vec<String> = Vec::new();
    let mut free = 0;
    for word in text.split_whitespace().flat_map(|word| pieces(word, room)) {
        let letters = word.chars().count();
        let full = lines.len() == most;
        match lines.last_mut() {
            Some(line) if letters < free => {
                line.push(' ');
                line.push_str(&word);
                free -= letters + 1;
            }
            Some(line) if full => {
                *line = shortened(line, room);
                break;
            }
            None if full => break,
            _ => {
                lines.push(word);
                free = room - letters;
            }
        }
    }
    lines
}

fn pieces(word: &str, room: usize) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    letters.chunks(room).map(String::from_iter).collect()
}

/// "…" after as much of the beginning as leaves room for it.
fn shortened(text: &str, room: usize) -> String {
    let kept: String = text.chars().take(room.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_to_its_room() {
        assert_eq!(cut("seven", 5), "seven");
        assert_eq!(cut("seven!", 5), "seve…");
        assert_eq!(cut("größer als", 6), "größe…");
        assert_eq!(cut("a bcd", 3), "a…");
    }

    #[test]
    fn text_is_wrapped_at_words_and_cut_at_the_last_line() {
        assert_eq!(wrap("a cat on  the\nmat", 8, 3), ["a cat on", "the mat"]);
        assert_eq!(wrap("a cat on the mat", 8, 1), ["a cat o…"]);
        assert_eq!(wrap("a cat on the mat again", 5, 2), ["a cat", "on…"]);
        assert_eq!(wrap("abcdefgh ij", 3, 4), ["abc", "def", "gh", "ij"]);
        assert!(wrap("  ", 5, 2).is_empty());
        assert!(wrap("word", 5, 0).is_empty());
    }
}
