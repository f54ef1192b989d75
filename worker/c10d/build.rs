//! Compiles csrc against the headers of the libtorch that torch-sys found, and writes its folder into the tests.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// csrc uses interfaces of libtorch that are not stable: another version may compile and then misbehave.
const LIBTORCH: &str = "2.13.0";

fn main() -> Result<(), Box<dyn Error>> {
    let lib = libtorch_lib()?;
    let include = lib.join("../include").canonicalize()?;
    check_version(&include)?;
    println!("cargo:rerun-if-changed=csrc");
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .debug(false)
        .define("USE_DISTRIBUTED", None)
        .define("USE_C10D_GLOO", None)
        .include("csrc/gloo_stub")
        .flag("-isystem")
        .flag(&include)
        .flag("-isystem")
        .flag(include.join("torch/csrc/api/include"))
        .flag("-Wno-unused-parameter")
        .files(
            ["error", "store", "gloo", "group", "exchange", "reducer", "tensors", "profile"]
                .map(|name| format!("csrc/{name}.cpp")),
        )
        .compile("tandem_c10d");
    println!("cargo:rustc-link-search=native={}", lib.display());
    println!("cargo:rustc-link-lib=torch_cpu");
    println!("cargo:rustc-link-lib=c10");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    Ok(())
}

/// The absolute folder of libtorch's libraries. Absolute, so that what is built runs from anywhere.
fn libtorch_lib() -> Result<PathBuf, Box<dyn Error>> {
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB")?;
    Path::new(&lib)
        .canonicalize()
        .map_err(|error| format!("no libtorch in {lib} ({error}): run scripts/setup.sh").into())
}

fn check_version(include: &Path) -> Result<(), Box<dyn Error>> {
    let header = include.join("torch/headeronly/version.h");
    let text = fs::read_to_string(&header).map_err(|error| format!("{}: {error}", header.display()))?;
    let part = |name: &str| {
        let prefix = format!("#define TORCH_VERSION_{name} ");
        text.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or("?").trim().to_owned()
    };
    let found = [part("MAJOR"), part("MINOR"), part("PATCH")].join(".");
    if found == LIBTORCH {
        Ok(())
    } else {
        Err(format!(
            "libtorch {LIBTORCH} is wanted, {} is of {found}: run scripts/setup.sh",
            include.display()
        )
        .into())
    }
}
