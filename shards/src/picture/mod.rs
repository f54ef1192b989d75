//! Pictures for people: contact sheets of pairs, grids of retrieved images, and line charts, as PNG files.

mod canvas;
mod chart;
mod grid;
mod lettering;
mod sheet;

pub use chart::{Panel, Series, line_charts};
pub use grid::{Answer, GridRow, Query, retrieval_grid};
pub use sheet::contact_sheet;

use image::{ImageError, ImageFormat, RgbImage};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// Why a picture can't be written.
#[derive(Debug, thiserror::Error)]
#[error("the picture {} can't be written: {source}; see that its folder is there and can be written", path.display())]
pub struct PictureError {
    path: PathBuf,
    source: ImageError,
}

/// Writes `image` to `path` as PNG, whatever the extension; the folder must be there.
///
/// The file takes its name once it is whole, so a reader never sees half a picture. The error names `path`.
pub fn write_png(path: &Path, image: &RgbImage) -> Result<(), PictureError> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.partial", std::process::id()));
    let partial = path.with_file_name(name);
    image
        .save_with_format(&partial, ImageFormat::Png)
        .and_then(|()| fs::rename(&partial, path).map_err(ImageError::from))
        .map_err(|source| {
            // The first error tells more than a failed removal of what may not even be there.
            let _ = fs::remove_file(&partial);
            PictureError { path: path.to_owned(), source }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_picture_reads_back_and_leaves_nothing_else() {
        let disk = tempfile::tempdir().unwrap();
        let path = disk.path().join("a.png");
        let image = RgbImage::from_fn(5, 3, |x, y| image::Rgb([x as u8, y as u8, 7]));
        write_png(&path, &image).unwrap();
        write_png(&path, &image).unwrap();
        assert_eq!(image::open(&path).unwrap().to_rgb8(), image);
        assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_error_names_the_path() {
        let disk = tempfile::tempdir().unwrap();
        let path = disk.path().join("absent").join("a.png");
        let error = write_png(&path, &RgbImage::new(1, 1)).unwrap_err();
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");

        // A folder stands where the picture should go: nothing half done stays beside it.
        let error = write_png(disk.path(), &RgbImage::new(1, 1)).unwrap_err();
        assert!(error.to_string().contains(&disk.path().display().to_string()), "{error}");
        let name = disk.path().file_name().unwrap().to_string_lossy().into_owned();
        let beside = fs::read_dir(disk.path().parent().unwrap()).unwrap();
        assert!(!beside.flatten().any(|f| f.file_name().to_string_lossy().starts_with(&format!(".{name}"))));
    }
}
