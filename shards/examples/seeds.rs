//! Small valid files for scripts/fuzz.sh to begin with: `seeds FOLDER` writes image, schema and manifest below it.

use image::{ImageFormat, RgbImage};
use proto::config::{DataSection, StoreSection};
use shards::{
    manifest::{INDEX, Manifest},
    store::Folder,
    synth,
    write::{Pair, WriteSpec, Writer},
};
use std::{fs, io::Cursor, path::Path};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let place = std::env::args().nth(1).ok_or("usage: seeds FOLDER")?;
    let place = Path::new(&place);
    let folders = ["image", "schema", "manifest"].map(|name| place.join(name));
    for folder in &folders {
        fs::create_dir_all(folder)?;
    }
    let [images, schema, manifests] = folders;
    for (number, side) in [(0, 24), (1, 61)] {
        let (picture, _) = synth::pair(1, number, side);
        let picture: RgbImage = picture;
        fs::write(images.join(format!("{number}.jpg")), synth::encode_jpeg(&picture, 80)?)?;
        for (format, name) in [(ImageFormat::Png, "png"), (ImageFormat::WebP, "webp")] {
            let mut bytes = Cursor::new(Vec::new());
            picture.write_to(&mut bytes, format)?;
            fs::write(images.join(format!("{number}.{name}")), bytes.into_inner())?;
        }
    }
    let location = place.join("dataset").to_string_lossy().into_owned();
    let spec = WriteSpec { column: "jpg".into(), group_rows: 3, file_groups: 2 };
    let mut writer = Writer::create(Folder::open(&location)?, spec).await?;
    for row in 0..9 {
        let (picture, caption) = synth::pair(2, row, 16);
        let image = synth::encode_jpeg(&picture, 50)?;
        writer.push(Pair { key: row.to_string(), caption: Some(caption), image, ..Pair::default() }).await?;
    }
    writer.finish().await?;
    let data = DataSection { train: location.as_str().into(), ..DataSection::default() };
    let manifest = Manifest::open(&data, &StoreSection::default()).await?;
    fs::write(manifests.join(INDEX), manifest.to_bytes()?)?;
    for file in manifest.files() {
        fs::copy(Path::new(&location).join(&file.path), schema.join(&file.path))?;
    }
    Ok(())
}
