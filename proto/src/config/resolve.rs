//! From layers to one configuration: defaults, then the presets, then the run file, then `--set key=value`.

use super::{KNOBS, PRESETS, RunConfig, follow, preset};
use crate::Exit;
use toml::{Table, Value};

/// Why a configuration is refused. The text names the key, the value and the mend.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not TOML, or a value of the wrong type.
    #[error("{origin}: {reason}")]
    Syntax {
        /// The file, or `--set`.
        origin: String,
        /// What the parser says.
        reason: String,
    },
    /// A key that no knob has.
    #[error("{origin}: unknown key `{key}`{}", nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    UnknownKey {
        /// The file, or `--set`.
        origin: String,
        /// What was written.
        key: String,
        /// The knob that looks most like it.
        nearest: Option<String>,
    },
    /// A preset that does not exist.
    #[error("model.preset = {0:?} is unknown; the presets are {presets}", presets = PRESETS.join(", "))]
    UnknownPreset(String),
    /// Values that are out of range or don't fit each other, all of them.
    #[error("the configuration does not hold together:\n  {}", .0.join("\n  "))]
    Invalid(Vec<String>),
    /// Another Tandem wrote it.
    #[error(
        "{origin} was written by another Tandem{}{}; use the one that wrote it",
        list(", without ", lacking),
        list(", with the unknown ", unknown)
    )]
    Stored {
        /// What it is.
        origin: String,
        /// Knobs that it does not have.
        lacking: Vec<String>,
        /// Keys that no knob has.
        unknown: Vec<String>,
    },
    /// The text was changed on its way.
    #[error("the configuration has hash {found}, the coordinator sent {expected}; restart the worker")]
    Hash {
        /// What the coordinator said.
        expected: String,
        /// What arrived.
        found: String,
    },
}

impl ConfigError {
    /// What a process exits with that can't go on for it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Stored { .. } => Exit::Data,
            _ => Exit::Usage,
        }
    }
}

fn list(before: &str, keys: &[String]) -> String {
    if keys.is_empty() { String::new() } else { format!("{before}{}", keys.join(", ")) }
}

/// The configuration that a checkpoint holds, with the values of `--set` over it. No default stands in for a knob that is not there: the
/// run had another value, or another meaning.
///
/// # Errors
/// Every knob that is missing and every key that is unknown, by name; those of [`resolve`].
pub fn stored(text: &str, sets: &[String]) -> Result<RunConfig, ConfigError> {
    let origin = "the checkpoint's configuration";
    let given = parse(origin, text)?;
    let has = |key: &str| {
        key.split_once('.')
            .is_some_and(|(section, name)| given.get(section).and_then(|s| s.get(name)).is_some())
    };
    let lacking: Vec<String> =
        KNOBS.iter().filter(|knob| !has(knob.key)).map(|knob| knob.key.to_owned()).collect();
    let unknown: Vec<String> = given.iter().flat_map(|(section, body)| unknown(section, body)).collect();
    if !lacking.is_empty() || !unknown.is_empty() {
        return Err(ConfigError::Stored { origin: origin.into(), lacking, unknown });
    }
    resolve(origin, text, sets)
}

/// Resolves a configuration from the text of a run file and the values of `--set`, and validates it.
///
/// # Errors
/// Unknown keys (with the nearest known one), values of a wrong type, and values that don't hold together.
pub fn resolve(origin: &str, file: &str, sets: &[String]) -> Result<RunConfig, ConfigError> {
    let mut given = parse(origin, file)?;
    refuse_unknown(origin, &given)?;
    for set in sets {
        let table = parse_set(set)?;
        refuse_unknown("--set", &table)?;
        overlay(&mut given, table);
    }
    let mut config = RunConfig::default();
    if let Some(name) = given.get("model").and_then(|model| model.get("preset")).and_then(Value::as_str) {
        config.model = preset(name).ok_or_else(|| ConfigError::UnknownPreset(name.into()))?;
    }
    if let Some(name) = given.get("objective").and_then(|objective| objective.get("semantics")) {
        follow(name.clone().try_into().map_err(|e| syntax(origin, e))?, &mut config);
    }
    let mut table = Table::try_from(&config).map_err(|e| syntax(origin, e))?;
    overlay(&mut table, given);
    let config: RunConfig = table.try_into().map_err(|e| syntax(origin, e))?;
    config.validate()?;
    Ok(config)
}

/// The configuration as a run file in which every knob is preceded by its documentation.
pub fn annotated(config: &RunConfig) -> String {
    let Ok(table) = Table::try_from(config) else { return String::new() };
    let mut out = String::new();
    let mut section = "";
    for knob in KNOBS {
        let Some((head, name)) = knob.key.split_once('.') else { continue };
        if head != section {
            out.push_str(&format!("{}[{head}]\n", if section.is_empty() { "" } else { "\n" }));
            section = head;
        }
        if let Some(value) = table.get(head).and_then(|s| s.get(name)) {
            out.push_str(&format!("#{}\n{name} = {value}\n", knob.doc));
        }
    }
    out
}

fn syntax(origin: &str, error: impl std::fmt::Display) -> ConfigError {
    ConfigError::Syntax { origin: origin.into(), reason: error.to_string().trim_end().into() }
}

fn parse(origin: &str, text: &str) -> Result<Table, ConfigError> {
    text.parse().map_err(|e: toml::de::Error| syntax(origin, e))
}

/// `key=value`; a value that is no TOML is taken as a string, so that quotes are not needed on a command line.
fn parse_set(set: &str) -> Result<Table, ConfigError> {
    let (key, value) =
        set.split_once('=').ok_or_else(|| syntax("--set", format!("`{set}` is not key=value")))?;
    parse("--set", &format!("{key}={value}"))
        .or_else(|_| parse("--set", &format!("{key}={}", Value::String(value.trim().into()))))
}

fn refuse_unknown(origin: &str, given: &Table) -> Result<(), ConfigError> {
    match given.iter().find_map(|(section, body)| unknown(section, body).into_iter().next()) {
        None => Ok(()),
        Some(key) => Err(ConfigError::UnknownKey { origin: origin.into(), nearest: nearest(&key), key }),
    }
}

/// The keys of a section that no knob has.
fn unknown(section: &str, body: &Value) -> Vec<String> {
    let keys: Vec<String> = match body {
        Value::Table(body) if !body.is_empty() => {
            body.keys().map(|name| format!("{section}.{name}")).collect()
        }
        Value::Table(_) if KNOBS.iter().any(|k| k.key.starts_with(&format!("{section}."))) => Vec::new(),
        _ => vec![section.to_owned()],
    };
    keys.into_iter().filter(|key| KNOBS.iter().all(|knob| knob.key != key)).collect()
}

fn nearest(key: &str) -> Option<String> {
    let name = key.rsplit('.').next().unwrap_or(key);
    let score = |known: &str| {
        let known_name = known.rsplit('.').next().unwrap_or(known);
        strsim::jaro_winkler(key, known).max(strsim::jaro_winkler(name, known_name))
    };
    let best = KNOBS.iter().max_by(|a, b| score(a.key).total_cmp(&score(b.key)))?;
    (score(best.key) > 0.75).then(|| best.key.into())
}

fn overlay(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => overlay(below, above),
            (Some(Value::Float(below)), Value::Integer(above)) => *below = above as f64,
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
