//! Compiles `tandem/v1/*.proto` with a compiler written in Rust, so that no protoc is needed.
use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=tandem");
    let descriptors = protox::Compiler::new(["."])?
        .include_source_info(false)
        .open_file("tandem/v1/tandem.proto")?
        .file_descriptor_set();
    let encoded = prost::Message::encode_to_vec(&descriptors);
    fs::write(Path::new(&env::var("OUT_DIR")?).join("tandem.v1.descriptors.bin"), encoded)?;
    tonic_prost_build::configure().codec_path("crate::codec::SmallCodec").compile_fds(descriptors)?;
    Ok(())
}
