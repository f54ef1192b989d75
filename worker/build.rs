//! Writes the absolute folder of libtorch's libraries into `tandem-worker` and the tests, so that they run from
//! anywhere with no environment variable set.

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB")?;
    let lib = Path::new(&lib)
        .canonicalize()
        .map_err(|error| format!("no libtorch in {lib} ({error}): run scripts/setup.sh"))?;
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    Ok(())
}
