//! Weights of others, brought in by their names, give the outputs that were recorded of others' networks.

use super::*;
use crate::models::bert::{self, Bert, Wanted, padding_mask};
use crate::models::vit::{self, Vit};
use crate::objective::mlm;
use crate::pth::{self, Value};
use crate::weights::Source;
use proto::config::ModelSection;
use std::path::Path;
use tch::{Kind, Tensor};

type Tensors = BTreeMap<String, Tensor>;

fn golden(name: &str) -> Tensors {
    let path = e2e::root().join(format!("tests/golden/{name}.safetensors"));
    Tensor::read_safetensors(path).unwrap().into_iter().collect()
}

fn below(all: &Tensors, prefix: &str) -> Tensors {
    let strip = |(name, tensor): (&String, &Tensor)| {
        Some((name.strip_prefix(prefix)?.to_owned(), tensor.shallow_clone()))
    };
    all.iter().filter_map(strip).collect()
}

/// The sizes of the recorded networks.
fn config(image_size: u32) -> RunConfig {
    let model = ModelSection {
        image_size,
        patch_size: 8,
        vision_width: 32,
        vision_hidden: 64,
        vision_depth: 2,
        vision_heads: 2,
        text_width: 32,
        text_depth: 2,
        fusion_depth: 0,
        text_heads: 2,
        text_hidden: 64,
        vocabulary: 99,
        positions: 16,
        embed_width: 16,
        dropout: 0.0,
        init_std: 0.02,
        ..ModelSection::default()
    };
    RunConfig { model, ..RunConfig::default() }
}

fn start(config: &RunConfig) -> Result<Start> {
    tokio::runtime::Runtime::new().unwrap().block_on(Start::new(config))
}

fn save(folder: &Path, name: &str, tensors: &Tensors) -> String {
    let path = folder.join(name).display().to_string();
    let named: Vec<(&String, &Tensor)> = tensors.iter().collect();
    Tensor::write_safetensors(&named, &path).unwrap();
    path
}

fn close(name: &str, found: &Tensor, expected: &Tensor, relative: f64, absolute: f64) {
    assert_eq!(found.size(), expected.size(), "{name}");
    let excess = ((found - expected).abs() - expected.abs() * relative).max().double_value(&[]);
    assert!(excess <= absolute, "{name} differs by {excess:e} beyond {relative:e}");
}

/// The student of a run that begins with these weights of others.
fn brought_in(weights: &Tensors, set: impl Fn(&mut ModelSection, String), allow: &[&str]) -> Start {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(32);
    set(&mut config.model, save(folder.path(), "w.safetensors", weights));
    let refused = start(&config).unwrap_err().to_string();
    config.model.init_allow = allow.iter().map(ToString::to_string).collect();
    assert!(refused.contains(&format!("model.init_allow = {:?}", config.model.init_allow)), "{refused}");
    start(&config).unwrap()
}

fn bert(start: &Start, text_depth: u32) -> Bert {
    let model = ModelSection { text_depth, ..config(32).model };
    Bert::new(&bert::Config::new(&model), &Source::given(&start.student).at("text_encoder"))
}

fn lengths(mask: &Tensor) -> Tensor {
    mask.sum_dim_intlist([1i64].as_slice(), false, Kind::Int64)
}

#[test]
fn a_bert_model_gives_its_recorded_hidden_states() {
    let recorded = golden("hf-tiny/bert");
    let weights = below(&recorded, "weight/");
    let [ids, types] = ["in/input_ids", "in/token_type_ids"].map(|name| &recorded[name]);
    let mask = padding_mask(&lengths(&recorded["in/attention_mask"]), 8, Kind::Float);
    // The network adds the first token type to every token; the recording has both. A pair's types are laid into its positions.
    for row in 0..ids.size()[0] {
        let mut weights: Tensors =
            weights.iter().map(|(name, tensor)| (name.clone(), tensor.copy())).collect();
        let kinds = weights["embeddings.token_type_embeddings.weight"].copy();
        let shift = kinds.index_select(0, &types.select(0, row)) - kinds.narrow(0, 0, 1);
        let _ =
            weights.get_mut("embeddings.position_embeddings.weight").unwrap().narrow(0, 0, 8).g_add_(&shift);
        let start = brought_in(&weights, |model, path| model.init_text = path, &["cls.*", "pooler.*"]);
        for depth in 0..=2 {
            let found = bert(&start, depth).encode(&ids.narrow(0, row, 1), &mask.narrow(0, row, 1), 0.0);
            let expected = recorded[&format!("out/hidden_states.{depth}")].narrow(0, row, 1);
            close(&format!("hidden state {depth}"), &found, &expected, 1e-4, 1e-5);
        }
    }
}

#[test]
fn a_masked_language_model_gives_its_recorded_loss_and_gradients() {
    let recorded = golden("hf-tiny/bert-mlm");
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(32);
    config.model.init_text = save(folder.path(), "w.safetensors", &below(&recorded, "weight/"));
    let start = start(&config).unwrap();
    assert!(
        start.report.contains(&format!("word head: 5 tensors from {}", config.model.init_text)),
        "{:?}",
        start.report
    );
    let student = Weights::new(start.student.into_map()).trained();
    let bert = Bert::new(&bert::Config::new(&config.model), &Source::given(&student).at("text_encoder"));
    let mask = padding_mask(&lengths(&recorded["in/attention_mask"]), 8, Kind::Float);
    let hidden = bert.fuse(
        &bert.encode(&recorded["in/input_ids"], &mask, 0.0),
        &mask,
        &bert.sight(&Tensor::zeros([4, 1, 32], tch::kind::FLOAT_CPU)),
        Wanted::All,
        0.0,
    );
    let logits = bert.predict(&hidden);
    close("logits", &logits, &recorded["out/logits"], 1e-4, 1e-5);
    let labels = recorded["in/labels"].flatten(0, 1);
    let places = labels.ne(-100).nonzero().squeeze_dim(1);
    let picked = logits.flatten(0, 1).index_select(0, &places);
    let loss = mlm::loss(&picked, None, &labels.index_select(0, &places), 0.0) / places.size()[0];
    close("loss", &loss, &recorded["out/loss"], 1e-4, 1e-5);
    loss.backward();
    let mut compared = 0;
    for (name, expected) in below(&recorded, "grad/") {
        let Some(found) = student.get(&format!("text_encoder.{name}")) else { continue };
        close(&format!("gradient of {name}"), &found.grad(), &expected, 1e-4, 1e-5);
        compared += 1;
    }
    assert_eq!(compared, below(&recorded, "weight/").len());
}

#[test]
fn a_vit_model_gives_its_recorded_tokens_also_on_another_grid() {
    let recorded = golden("hf-tiny/vit");
    let start =
        brought_in(&below(&recorded, "weight/"), |model, path| model.init_image = path, &["pooler.*"]);
    let vit = |config: vit::Config, weights: &Weights| {
        Vit::new(&config, &Source::given(weights).at("visual_encoder"))
    };
    let found =
        vit(vit::Config::new(&config(32).model), &start.student).forward(&recorded["in/pixel_values"]);
    close("last_hidden_state", &found, &recorded["out/last_hidden_state"], 1e-4, 1e-5);

    let mut weights = start.student.into_map();
    let table = resize(&weights["visual_encoder.pos_embed"], 6, 5).unwrap();
    weights.insert("visual_encoder.pos_embed".into(), table);
    let wide = vit::Config { grid: (6, 5), ..vit::Config::new(&config(32).model) };
    let found = vit(wide, &Weights::new(weights)).forward(&recorded["in/pixel_values_48x40"]);
    close("last_hidden_state_48x40", &found, &recorded["out/last_hidden_state_48x40"], 1e-4, 1e-5);
}

#[test]
fn positions_are_brought_to_the_runs_grid_and_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(48);
    config.model.init_image = save(folder.path(), "w.safetensors", &below(&golden("hf-tiny/vit"), "weight/"));
    config.model.init_allow = vec!["pooler.*".into()];
    let start = start(&config).unwrap();
    assert_eq!(start.student.get("visual_encoder.pos_embed").unwrap().size(), [1, 37, 32]);
    let line =
        format!("image encoder: 30 tensors from {} (pos_embed from 4x4 to 6x6)", config.model.init_image);
    assert!(start.report.contains(&line), "{:?}", start.report);
}

/// The names that the student of the published code has, of its recorded state.
fn published() -> (RunConfig, Tensors) {
    let mut config = config(32);
    let model = &mut config.model;
    (model.fusion_depth, model.vocabulary, model.positions, model.vision_hidden) = (2, 200, 32, 128);
    (config, golden("albef-tiny/init"))
}

#[test]
fn a_whole_albef_brings_its_teacher_from_either_format() {
    let (mut config, all) = published();
    let folder = tempfile::tempdir().unwrap();
    let wrapped =
        all.iter().map(|(name, tensor)| (name.clone(), Value::Tensor(tensor.shallow_clone()))).collect();
    let file = pth::write(&Value::Dict(vec![
        ("model".into(), Value::Dict(wrapped)),
        ("epoch".into(), Value::Int(3)),
    ]))
    .unwrap();
    let path = folder.path().join("albef.pth");
    std::fs::write(&path, file).unwrap();
    for place in [path.display().to_string(), save(folder.path(), "albef.safetensors", &all)] {
        config.model.init = place.clone();
        let start = start(&config).unwrap();
        for (weights, mark) in [(&start.student, ""), (&start.teacher, "_m")] {
            for (name, tensor) in weights.iter() {
                let theirs = match name.split_once('.') {
                    Some((head, rest)) => format!("{head}{mark}.{rest}"),
                    None => name.to_owned(),
                };
                assert!(tensor.equal(&all[&theirs]), "{theirs} of {place}");
            }
        }
        assert_eq!(start.report.last().unwrap(), &format!("teacher: its own weights from {place}"));
    }
}

#[test]
fn every_key_that_does_not_fit_is_listed_and_a_run_without_files_says_so() {
    let (mut config, mut all) = published();
    let folder = tempfile::tempdir().unwrap();
    all.remove("itm_head.bias");
    all.insert("extra.thing".into(), Tensor::zeros([1], tch::kind::FLOAT_CPU));
    all.insert("text_proj.bias".into(), Tensor::zeros([3], tch::kind::FLOAT_CPU));
    all.insert(
        "text_encoder.cls.predictions.decoder.weight".into(),
        Tensor::zeros([200, 32], tch::kind::FLOAT_CPU),
    );
    config.model.init = save(folder.path(), "albef.safetensors", &all);
    let error = start(&config).unwrap_err().to_string();
    for part in [
        "4 keys of ",
        "itm_head.bias is missing",
        "extra.thing is unexpected",
        "text_proj.bias has shape [3], the model's is [16]",
        "text_encoder.cls.predictions.decoder.weight is not tied to the word embeddings",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    config.model.init = String::new();
    let report = start(&config).unwrap().report;
    assert!(report.contains(&"image encoder: 30 tensors drawn from seed 0".to_owned()), "{report:?}");
    assert_eq!(report.last().unwrap(), "teacher: a copy of the student");
    config.model.init = folder.path().join("nothing.pth").display().to_string();
    assert!(start(&config).unwrap_err().to_string().contains("there is no file"));
}
