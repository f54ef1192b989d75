//! `tandem config`: what a run would be configured as.

use super::say;
use crate::{Result, args::Layers, start::resolve};
use proto::config;
use std::io::Write;

/// Writes the resolved configuration as a run file.
///
/// # Errors
/// A run file that can't be read, and every fault of the configuration.
pub(super) fn print(layers: &Layers, out: &mut impl Write) -> Result<()> {
    say(out, &config::annotated(&resolve(layers)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::Exit;
    use std::fs;

    fn layers(config: Option<&str>, sets: &[&str]) -> Layers {
        Layers { config: config.map(Into::into), sets: sets.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn what_is_printed_is_a_run_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        let sets = ["data.train=d", "text.tokenizer=t", "run.seed=9"];
        print(&layers(None, &sets), &mut fs::File::create(&path).unwrap()).unwrap();
        assert_eq!(resolve(&layers(path.to_str(), &[])).unwrap().run.seed, 9);
    }

    #[test]
    fn a_missing_run_file_is_named() {
        let error = resolve(&layers(Some("no/such.toml"), &[])).unwrap_err();
        assert!(error.to_string().contains("no/such.toml"), "{error}");
        assert_eq!(error.exit(), Exit::Data);
    }
}
