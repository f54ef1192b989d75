//! The run's configuration: every knob once, resolved in layers, validated before any accelerator is held, and sent
//! whole with its hash.

mod choice;
mod presets;
mod resolve;
mod section;
mod sections;
mod source;
mod validate;

pub use presets::{PRESETS, follow, preset};
pub use resolve::{ConfigError, annotated, resolve, stored};
pub use section::Knob;
pub use sections::*;
pub use source::{Locations, Source};

use sha2::{Digest, Sha256};

impl RunConfig {
    /// The whole configuration as TOML, in the order of its definition.
    pub fn to_toml(&self) -> String {
        // Every field is a string, number, boolean or list of them: serialisation of such a struct can't fail.
        toml::to_string(self).unwrap_or_default()
    }

    /// Reads what [`to_toml`](Self::to_toml) wrote and checks it against `hash`.
    ///
    /// # Errors
    /// When the text is no configuration of this version, or does not have that hash.
    pub fn from_wire(text: &str, hash: &str) -> Result<Self, ConfigError> {
        let found = hex_digest(text);
        if found != hash {
            return Err(ConfigError::Hash { expected: hash.into(), found });
        }
        toml::from_str(text)
            .map_err(|e| ConfigError::Syntax { origin: "coordinator".into(), reason: e.to_string() })
    }

    /// The values of all knobs as TOML has them, in the order of [`KNOBS`].
    pub fn knobs(&self) -> Vec<String> {
        let table = toml::Table::try_from(self).unwrap_or_default();
        let value = |key: &str| {
            let (section, name) = key.split_once('.')?;
            Some(table.get(section)?.get(name)?.to_string())
        };
        KNOBS.iter().map(|knob| value(knob.key).unwrap_or_default()).collect()
    }

    /// SHA-256 of [`to_toml`](Self::to_toml), in hex: two runs with the same hash have the same knobs.
    pub fn hash(&self) -> String {
        hex_digest(&self.to_toml())
    }
}

fn hex_digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
