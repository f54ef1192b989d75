//! From layers to one configuration: defaults, then the presets, then the run file, then `--set key=value`.

use super::{KNOBS, PRESETS, RunConfig, follow, preset};
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
    /// The text was changed on its way.
    #[error("the configuration has hash {found}, the coordinator sent {expected}; restart the worker")]
    Hash {
        /// What the coordinator said.
        expected: String,
        /// What arrived.
        found: String,
    },
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
    for (section, body) in given {
        let keys: Vec<String> = match body {
            Value::Table(body) if !body.is_empty() => {
                body.keys().map(|name| format!("{section}.{name}")).collect()
            }
            Value::Table(_) if KNOBS.iter().any(|k| k.key.starts_with(&format!("{section}."))) => continue,
            _ => vec![section.clone()],
        };
        if let Some(key) = keys.into_iter().find(|key| KNOBS.iter().all(|knob| knob.key != key)) {
            return Err(ConfigError::UnknownKey { origin: origin.into(), nearest: nearest(&key), key });
        }
    }
    Ok(())
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
mod tests {
    use super::*;
    use crate::config::Reach;

    const MINIMAL: &str = "data.train = 'd'\ntext.tokenizer = 't'\n";

    #[test]
    fn layers_win_in_order() {
        let file =
            format!("{MINIMAL}model.preset = 'albef-tiny'\nmodel.text_depth = 3\noptimizer.batch = 64\n");
        let config = resolve("run.toml", &file, &["optimizer.batch=128".into()]).unwrap();
        assert_eq!(
            (config.model.vision_width, config.model.text_depth, config.optimizer.batch),
            (128, 3, 128)
        );
        assert_eq!(config.model.embed_width, preset("albef-tiny").unwrap().embed_width);
    }

    #[test]
    fn a_preset_given_by_set_wins_over_the_file() {
        let file = format!("{MINIMAL}model.preset = 'albef-tiny'");
        let config = resolve("run.toml", &file, &["model.preset=albef-small".into()]).unwrap();
        assert_eq!(config.model, preset("albef-small").unwrap());
    }

    #[test]
    fn paper_semantics_set_every_quirk_and_a_given_knob_wins() {
        let paper = "objective.semantics = 'paper'\nobjective.teacher_dropout = false";
        let config = resolve("r", &format!("{MINIMAL}{paper}"), &[]).unwrap();
        assert_eq!((config.objective.keys, config.objective.negatives), (Reach::Local, Reach::Local));
        assert!(config.optimizer.decay_positions && !config.objective.teacher_dropout);
        let error = resolve("r", "objective.semantics = 'papers'", &[]).unwrap_err().to_string();
        assert!(error.contains("papers") && error.contains("paper"), "{error}");
    }

    #[test]
    fn a_typo_names_the_nearest_key() {
        let error = resolve("run.toml", "[optimizer]\nlearning_rat = 1", &[]).unwrap_err().to_string();
        assert_eq!(
            error,
            "run.toml: unknown key `optimizer.learning_rat`; did you mean `optimizer.learning_rate`?"
        );
        let error = resolve("run.toml", "", &["train.batch=3".into()]).unwrap_err().to_string();
        assert_eq!(error, "--set: unknown key `train.batch`; did you mean `optimizer.batch`?");
    }

    #[test]
    fn a_wrong_type_is_refused_by_name() {
        let error = resolve("run.toml", "run.seed = 'seven'", &[]).unwrap_err().to_string();
        assert!(error.contains("seven") && error.contains("u64"), "{error}");
    }

    #[test]
    fn integers_serve_as_floats_and_bare_words_as_strings() {
        let config = resolve("r", MINIMAL, &["optimizer.clip_norm=1".into(), "run.name=a b".into()]).unwrap();
        assert_eq!((config.optimizer.clip_norm, config.run.name.as_str()), (1.0, "a b"));
    }

    #[test]
    fn what_is_printed_resolves_to_itself() {
        let config = resolve("r", MINIMAL, &["run.seed=7".into()]).unwrap();
        assert_eq!(resolve("printed", &annotated(&config), &[]).unwrap(), config);
        assert_eq!(RunConfig::from_wire(&config.to_toml(), &config.hash()).unwrap(), config);
        assert!(RunConfig::from_wire(&config.to_toml(), "0").is_err());
    }

    #[test]
    fn every_knob_is_documented_and_belongs_to_the_struct() {
        let table = Table::try_from(RunConfig::default()).unwrap();
        let fields: usize = table.values().map(|section| section.as_table().unwrap().len()).sum();
        assert_eq!(fields, KNOBS.len());
        assert!(KNOBS.iter().all(|knob| knob.doc.trim_end().ends_with('.')));
    }
}
