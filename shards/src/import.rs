//! A folder of images and a file of captions, as a list of pairs.

use crate::{
    error::{Error, Result},
    write::Pair,
};
use ::image::{ImageFormat, ImageReader, guess_format};
use serde::Deserialize;
use std::{
    fs,
    io::Cursor,
    path::{Component, Path},
};

/// One line of a captions file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The image, relative to the folder of images.
    pub file: String,
    /// Its caption.
    pub caption: String,
}

/// Reads a captions file: JSONL with `{"file": …, "caption": …}` where its name ends in `.jsonl`, else TSV with
/// `file<TAB>caption`, with or without such a header. Empty lines are passed over. Returns the lines with their numbers, from 1.
///
/// # Errors
/// [`Error::File`] and, for a line that is neither, [`Error::Captions`].
pub fn captions(path: &Path) -> Result<Vec<(usize, Line)>> {
    let read = |e: std::io::Error| Error::File {
        action: "reading",
        file: path.display().to_string(),
        reason: e.to_string(),
    };
    let text = fs::read_to_string(path).map_err(read)?;
    let json = path.extension().is_some_and(|extension| extension == "jsonl");
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let lines = lines.filter(|(number, line)| json || *number > 1 || *line != "file\tcaption");
    let parse = |(number, text): (usize, &str)| {
        let failed =
            |reason: String| Error::Captions { file: path.display().to_string(), line: number, reason };
        let line = if json {
            serde_json::from_str(text)
                .map_err(|e| failed(format!("it is no {{\"file\": …, \"caption\": …}}: {e}")))?
        } else {
            let (file, caption) = text
                .split_once('\t')
                .ok_or_else(|| failed("there is no tab between file and caption".into()))?;
            Line { file: file.into(), caption: caption.into() }
        };
        let plain = Path::new(&line.file).components().all(|part| matches!(part, Component::Normal(_)));
        if line.file.is_empty() || !plain {
            return Err(failed(format!("{:?} is no path inside the folder of images", line.file)));
        }
        Ok((number, line))
    };
    let lines: Vec<(usize, Line)> = lines.map(parse).collect::<Result<_>>()?;
    if lines.is_empty() {
        let reason = "there is no caption in it".into();
        return Err(Error::Captions { file: path.display().to_string(), line: 1, reason });
    }
    Ok(lines)
}

/// Reads the image of a line and makes the pair. `origin` is the captions file, for messages. Also returns the name of the
/// image column that fits: jpg, png or webp.
///
/// # Errors
/// [`Error::Captions`] for an image that is not there or is none of JPEG, PNG and WebP.
pub fn pair(images: &Path, origin: &Path, number: usize, line: &Line) -> Result<(Pair, &'static str)> {
    let failed =
        |reason: String| Error::Captions { file: origin.display().to_string(), line: number, reason };
    let path = images.join(&line.file);
    let image = fs::read(&path).map_err(|e| failed(format!("{}: {e}", path.display())))?;
    let column = match guess_format(&image) {
        Ok(ImageFormat::Jpeg) => "jpg",
        Ok(ImageFormat::Png) => "png",
        Ok(ImageFormat::WebP) => "webp",
        _ => return Err(failed(format!("{} is no JPEG, PNG or WebP", path.display()))),
    };
    let header = ImageReader::new(Cursor::new(&image)).with_guessed_format();
    let size = header.map_err(::image::ImageError::IoError).and_then(ImageReader::into_dimensions);
    let size = size.map_err(|e| failed(format!("{}: {e}", path.display())))?;
    let key = line.file.clone();
    let pair = Pair { url: key.clone(), key, caption: Some(line.caption.clone()), image, size };
    Ok((pair, column))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, text: &str) -> Result<Vec<(usize, Line)>> {
        let disk = tempfile::tempdir().unwrap();
        let path = disk.path().join(name);
        fs::write(&path, text).unwrap();
        captions(&path)
    }

    #[test]
    fn both_formats_give_the_same_lines() {
        let tsv = told("c.tsv", "file\tcaption\na/1.png\ta cat\tsits\n\n2.png\t\n").unwrap();
        let jsonl = told(
            "c.jsonl",
            "\n{\"file\": \"a/1.png\", \"caption\": \"a cat\\tsits\"}\n\n{\"file\": \"2.png\", \"caption\": \"\"}\n",
        );
        assert_eq!(tsv, jsonl.unwrap());
        assert_eq!((tsv[0].0, tsv[0].1.caption.as_str()), (2, "a cat\tsits"));
    }

    #[test]
    fn wrong_lines_are_named() {
        for (name, text, part) in [
            ("c.tsv", "a.png\tx\nb.png x", "line 2: there is no tab"),
            ("c.tsv", "../a.png\tx", "no path inside"),
            ("c.tsv", "/a.png\tx", "no path inside"),
            ("c.tsv", "", "no caption in it"),
            ("c.jsonl", "{\"file\": \"a\"}", "line 1: it is no"),
        ] {
            let error = told(name, text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn images_are_told_by_content() {
        let disk = tempfile::tempdir().unwrap();
        let line = |file: &str| Line { file: file.into(), caption: "c".into() };
        ::image::RgbImage::new(3, 2).save(disk.path().join("a.png")).unwrap();
        fs::rename(disk.path().join("a.png"), disk.path().join("a.jpg")).unwrap();
        fs::write(disk.path().join("b.jpg"), "text").unwrap();
        let (found, column) = pair(disk.path(), Path::new("c.tsv"), 1, &line("a.jpg")).unwrap();
        assert_eq!((found.size, column, found.key.as_str()), ((3, 2), "png", "a.jpg"));
        for (file, part) in [("b.jpg", "no JPEG, PNG or WebP"), ("c.jpg", "No such file")] {
            let error = pair(disk.path(), Path::new("c.tsv"), 7, &line(file)).unwrap_err().to_string();
            assert!(error.starts_with("c.tsv, line 7") && error.contains(part), "{error}");
        }
    }
}
