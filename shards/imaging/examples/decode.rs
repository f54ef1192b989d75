//! The Rust side of scripts/bench/decode.sh: times the image pipeline in one thread, and writes what is compared with PIL.
//!
//! `decode time FOLDER REPEATS` prints CPU seconds per image of each repeat: without and with RandAugment.
//! `decode write FOLDER OUT DRAWS` writes the views without chance, and the statistics of random ones.

use imaging::{Crop, ImageLimits, Scratch, part, training_input};
use proto::config::AugmentSection;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

const SIDE: u32 = 256;
const LIMITS: ImageLimits = ImageLimits { pixels: 64_000_000, bytes: 64 << 20 };

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// CPU seconds of this thread.
fn cpu_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(stat.split(' ').next().ok_or("schedstat is empty")?.parse::<f64>()? / 1e9)
}

fn variants() -> [(&'static str, AugmentSection); 2] {
    let augmented = AugmentSection::default();
    [("plain", AugmentSection { operations: 0, ..augmented.clone() }), ("augmented", augmented)]
}

/// The JPEG files of a folder, in the order of their names.
fn images(folder: &str) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        paths.push(entry?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jpg"));
    paths.sort();
    paths.into_iter().map(|path| Ok((path.clone(), fs::read(path)?))).collect()
}

fn time(folder: &str, repeats: u64) -> Result<()> {
    let files = images(folder)?;
    let (mut scratch, mut out) = (Scratch::default(), vec![0.0; 3 * (SIDE * SIDE) as usize]);
    for (name, augment) in variants() {
        print!("{name}");
        for repeat in 0..repeats {
            let start = cpu_seconds()?;
            for (row, (_, bytes)) in (0..).zip(&files) {
                let mut rng = ChaCha8Rng::seed_from_u64(repeat << 32 | row);
                training_input(bytes, LIMITS, &augment, SIDE, &mut rng, &mut scratch, &mut out)?;
            }
            print!(" {:.7}", (cpu_seconds()? - start) / files.len() as f64);
        }
        println!();
    }
    Ok(())
}

fn write(folder: &str, out: &Path, draws: u64) -> Result<()> {
    let (files, mut scratch) = (images(folder)?, Scratch::default());
    for (path, bytes) in &files {
        let name = path.file_stem().ok_or("a file has no name")?.to_string_lossy();
        let whole = part(bytes, LIMITS, Crop::whole, SIDE, &mut scratch)?;
        fs::write(out.join(format!("{name}.whole")), whole.as_raw())?;
        let centre = part(bytes, LIMITS, Crop::centre, SIDE, &mut scratch)?;
        fs::write(out.join(format!("{name}.centre")), centre.as_raw())?;
    }
    let plane = (SIDE * SIDE) as usize;
    let mut numbers = vec![0.0; 3 * plane];
    for (name, augment) in variants() {
        let mut sums = [[0.0f64; 3]; 2];
        for draw in 0..draws {
            let (_, bytes) = &files[draw as usize % files.len()];
            let mut rng = ChaCha8Rng::seed_from_u64(draw);
            training_input(bytes, LIMITS, &augment, SIDE, &mut rng, &mut scratch, &mut numbers)?;
            for (channel, plane) in numbers.chunks(plane).enumerate() {
                let mean = plane.iter().copied().map(f64::from).sum::<f64>() / plane.len() as f64;
                let square = plane.iter().map(|&number| (f64::from(number) - mean).powi(2)).sum::<f64>();
                sums[0][channel] += mean / draws as f64;
                sums[1][channel] += (square / plane.len() as f64).sqrt() / draws as f64;
            }
        }
        let text = format!(r#"{{"draws": {draws}, "mean": {:?}, "std": {:?}}}"#, sums[0], sums[1]);
        fs::write(out.join(format!("{name}.json")), text)?;
    }
    Ok(())
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["time", folder, repeats] => time(folder, repeats.parse()?),
        ["write", folder, out, draws] => write(folder, Path::new(out), draws.parse()?),
        _ => Err("usage: decode time FOLDER REPEATS | decode write FOLDER OUT DRAWS".into()),
    }
}
