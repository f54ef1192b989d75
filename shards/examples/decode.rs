//! Times the image pipeline on a folder of JPEG files, in one thread; `scripts/bench/decode.sh` calls it.
//!
//! `decode time FOLDER REPEATS` prints, for each variant, the CPU seconds per image of each repeat.

use proto::config::AugmentSection;
use shards::image::{Crop, ImageLimits, Scratch, part, training_input};
use shards::keyed;
use std::error::Error;
use std::{env, fs};

const SIDE: u32 = 256;
const LIMITS: ImageLimits = ImageLimits { pixels: 64_000_000, bytes: 64 << 20 };

/// CPU seconds of this thread.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(stat.split(' ').next().ok_or("no time")?.parse::<f64>()? / 1e9)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [folder, repeats] = arguments.as_slice() else { return Err("usage: decode FOLDER REPEATS".into()) };
    let mut paths: Vec<_> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jpg"));
    paths.sort();
    let files: Vec<Vec<u8>> = paths.iter().map(fs::read).collect::<Result<_, _>>()?;
    let plain = AugmentSection { operations: 0, ..AugmentSection::default() };
    let augmented = AugmentSection::default();
    let (mut scratch, mut out) = (Scratch::default(), vec![0.0; 3 * (SIDE * SIDE) as usize]);
    for (name, augment) in [("plain", &plain), ("augmented", &augmented)] {
        print!("{name}");
        for repeat in 0..repeats.parse::<u64>()? {
            let start = cpu_seconds()?;
            for (row, file) in files.iter().enumerate() {
                let mut rng = keyed::rng("augment", &[0, repeat, row as u64]);
                training_input(file, LIMITS, augment, SIDE, &mut rng, &mut scratch, &mut out)?;
            }
            print!(" {:.7}", (cpu_seconds()? - start) / files.len() as f64);
        }
        println!();
    }
    let _ = (part(&files[0], LIMITS, Crop::centre, SIDE, &mut scratch)?,);
    Ok(())
}
