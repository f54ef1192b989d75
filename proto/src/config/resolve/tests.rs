//! Layers, refusals, and what is stored.

use super::*;

const MINIMAL: &str = "data.train = 'd'\ntext.tokenizer = 't'\n";

#[test]
fn layers_win_in_order() {
    let file = format!("{MINIMAL}model.preset = 'albef-tiny'\nmodel.text_depth = 3\noptimizer.batch = 64\n");
    let config = resolve("run.toml", &file, &["optimizer.batch=128".into()]).unwrap();
    assert_eq!((config.model.vision_width, config.model.text_depth, config.optimizer.batch), (128, 3, 128));
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
    let resolved = |file: &str| resolve("r", &format!("{MINIMAL}{file}"), &[]).unwrap();
    let changed = |file: &str| -> Vec<(&str, String)> {
        let knobs = KNOBS.iter().zip(resolved("").knobs().into_iter().zip(resolved(file).knobs()));
        knobs.filter(|(_, (was, is))| was != is).map(|(knob, (_, is))| (knob.key, is)).collect()
    };
    let mut quirks = vec![
        ("objective.semantics", "\"paper\""),
        ("objective.keys", "\"local\""),
        ("objective.negatives", "\"local\""),
        ("objective.means", "\"local\""),
        ("objective.duplicates", "\"negatives\""),
        ("objective.draw_duplicates", "true"),
        ("objective.teacher_dropout", "true"),
        ("objective.mask_separator", "true"),
        ("objective.queue_start", "\"random\""),
        ("optimizer.warmup", "2000"),
        ("optimizer.schedule", "\"epoch\""),
        ("optimizer.decay_positions", "true"),
    ];
    let told = |quirks: &[(&'static str, &str)]| {
        let mut told: Vec<_> = quirks.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        told.sort_by_key(|(key, _)| KNOBS.iter().position(|knob| knob.key == *key));
        told
    };
    let paper = "objective.semantics = 'paper'\n";
    assert_eq!(changed(paper), told(&quirks));
    quirks.retain(|(key, _)| !["objective.teacher_dropout", "optimizer.warmup"].contains(key));
    let given = "objective.teacher_dropout = false\noptimizer.warmup = 1000\n";
    assert_eq!(changed(&format!("{paper}{given}")), told(&quirks));
    let error = resolve("r", "objective.semantics = 'papers'", &[]).unwrap_err().to_string();
    assert!(error.contains("papers") && error.contains("paper"), "{error}");
}

#[test]
fn a_stored_configuration_has_every_knob_and_no_other() {
    let config = resolve("r", MINIMAL, &["run.seed=7".into()]).unwrap();
    assert_eq!(stored(&config.to_toml(), &[]).unwrap(), config);
    assert_eq!(stored(&config.to_toml(), &["run.seed=8".into()]).unwrap().run.seed, 8);
    let whole: Table = config.to_toml().parse().unwrap();
    for knob in KNOBS {
        let (section, name) = knob.key.split_once('.').unwrap();
        let mut less = whole.clone();
        less[section].as_table_mut().unwrap().remove(name);
        let error = stored(&less.to_string(), &[]).unwrap_err();
        assert!(
            matches!(&error, ConfigError::Stored { lacking, unknown, .. } if lacking == &[knob.key] && unknown.is_empty())
        );
        assert!(error.to_string().contains(&format!("without {};", knob.key)), "{error}");
        assert_eq!(error.exit(), Exit::Data);
    }
    let mut more = whole.clone();
    more["model"].as_table_mut().unwrap().insert("wings".into(), 2.into());
    more.insert("weather".into(), Value::Table(Table::new()));
    let error = stored(&more.to_string(), &[]).unwrap_err().to_string();
    assert!(error.contains("another Tandem, with the unknown model.wings, weather;"), "{error}");
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
    let sources = "[text]\ntokenizer='t'\n[[data.source]]\nlocation='a'\nweight=7\nfilter=['width >= 9']\n[[data.source]]\nlocation=['b', 'c']\nweight=3\n[data]\nlanes=4";
    let set = "data.source=[{ location = 'a', weight = 7 }]".to_owned();
    for config in [
        resolve("r", &sources.replace("[data]\n", "[optimizer]\n").replace("lanes=4", "steps=4"), &[])
            .unwrap(),
        resolve("r", "text.tokenizer='t'", &[set]).unwrap(),
    ] {
        assert_eq!(config.data.source[0].weight, 7);
        assert_eq!(resolve("printed", &annotated(&config), &[]).unwrap(), config);
        assert_eq!(RunConfig::from_wire(&config.to_toml(), &config.hash()).unwrap(), config);
        assert_eq!(stored(&config.to_toml(), &[]).unwrap(), config);
    }
}

#[test]
fn every_knob_is_documented_and_belongs_to_the_struct() {
    let table = Table::try_from(RunConfig::default()).unwrap();
    let fields: usize = table.values().map(|section| section.as_table().unwrap().len()).sum();
    assert_eq!(fields, KNOBS.len());
    assert!(KNOBS.iter().all(|knob| knob.doc.trim_end().ends_with('.')));
}
