//! Weights of others, brought in by their names, give the outputs that were recorded of others' networks.

mod whole;

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

/// A file of `torch.save` with these tensors, below `wrapper` if that has a name.
fn torch_file(tensors: &Tensors, wrapper: &str) -> Vec<u8> {
    let entry = |(name, tensor): (&String, &Tensor)| (name.clone(), Value::Tensor(tensor.shallow_clone()));
    let all = Value::Dict(tensors.iter().map(entry).collect());
    let whole = match wrapper {
        "" => all,
        wrapper => Value::Dict(vec![(wrapper.into(), all), ("epoch".into(), Value::Int(3))]),
    };
    pth::write(&whole).unwrap()
}

/// DeiT is published as `{'model': state dict}` in timm's names, with a classifier.
#[test]
fn a_deit_checkpoint_loads_and_its_positions_are_brought_to_another_grid() {
    let ours = below(&golden("albef-tiny/init"), "visual_encoder.");
    let mut theirs: Tensors = ours.iter().map(|(name, t)| (name.clone(), t.shallow_clone())).collect();
    theirs.insert("head.weight".into(), Tensor::ones([10, 32], tch::kind::FLOAT_CPU));
    theirs.insert("head.bias".into(), Tensor::ones([10], tch::kind::FLOAT_CPU));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deit.pth").display().to_string();
    std::fs::write(&path, torch_file(&theirs, "model")).unwrap();
    for (image_size, note) in [(32, ""), (48, " (pos_embed from 4x4 to 6x6)")] {
        let mut config = config(image_size);
        (config.model.vision_hidden, config.model.init_image) = (128, path.clone());
        let refused = start(&config).unwrap_err().to_string();
        assert!(refused.contains("model.init_allow = [\"head.*\"]"), "{refused}");
        assert!(refused.contains("head.weight is unexpected"), "{refused}");
        config.model.init_allow = vec!["head.*".into()];
        let start = start(&config).unwrap();
        for (name, tensor) in &ours {
            let found = start.student.get(&format!("visual_encoder.{name}")).unwrap();
            let expected = match (image_size, name.as_str()) {
                (48, "pos_embed") => resize(tensor, 6, 6).unwrap(),
                _ => tensor.shallow_clone(),
            };
            assert!(found.equal(&expected), "{name} at {image_size} pixels");
        }
        let line = format!("image encoder: {} tensors from {path}{note}", ours.len());
        assert!(start.report.contains(&line), "{:?}", start.report);
    }
}

/// As 12 published layers become 6 and 6.
#[test]
fn a_bert_is_split_into_text_and_fusion_layers_whose_cross_attention_is_drawn() {
    let weights = below(&golden("hf-tiny/bert-mlm"), "weight/");
    let mut config = config(32);
    (config.model.text_depth, config.model.fusion_depth) = (1, 1);
    let folder = tempfile::tempdir().unwrap();
    let path = save(folder.path(), "w.safetensors", &weights);
    config.model.init_text = path.clone();
    let refused = start(&config).unwrap_err().to_string();
    let allow = "bert.encoder.layer.*.crossattention.*";
    assert!(refused.contains(&format!("model.init_allow = [{allow:?}]")), "{refused}");
    config.model.init_allow = vec![allow.into()];
    let start = start(&config).unwrap();
    let drawn = Albef::fresh(&config.model, &config.objective, config.run.seed).unwrap();
    let (mut taken, mut crossing) = (0, 0);
    for (name, tensor) in start.student.iter().filter(|(name, _)| name.starts_with("text_encoder.")) {
        let expected = if name.contains(".crossattention.") {
            crossing += 1;
            drawn.get(name).unwrap()
        } else {
            taken += 1;
            &weights[&name["text_encoder.".len()..]]
        };
        assert!(tensor.equal(expected), "{name} is another");
    }
    assert_eq!(taken, weights.len(), "also those of the second layer");
    let fusion = 16;
    for line in [
        format!("text encoder: {} tensors from {path}", taken - fusion - 5),
        format!("fusion layers: {fusion} tensors from {path}"),
        format!("cross-attention: {crossing} tensors drawn from seed 0"),
        format!("word head: 5 tensors from {path}"),
    ] {
        assert!(start.report.contains(&line), "{line}: {:?}", start.report);
    }
}

/// BERT's first files call LayerNorm's parameters gamma and beta, and lie as `pytorch_model.bin` in a folder.
#[test]
fn the_first_files_of_bert_load_from_their_folder() {
    let weights = below(&golden("hf-tiny/bert-mlm"), "weight/");
    let first = |name: &String| match name.rsplit_once("LayerNorm.") {
        Some((module, "weight")) => format!("{module}LayerNorm.gamma"),
        Some((module, "bias")) => format!("{module}LayerNorm.beta"),
        _ => name.clone(),
    };
    let renamed: Tensors = weights.iter().map(|(name, t)| (first(name), t.shallow_clone())).collect();
    assert_eq!(renamed.keys().filter(|name| name.ends_with("LayerNorm.gamma")).count(), 6);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pytorch_model.bin"), torch_file(&renamed, "")).unwrap();
    let mut config = config(32);
    config.model.init_text = folder.path().display().to_string();
    let start = start(&config).unwrap();
    let text = start.student.iter().filter(|(name, _)| name.starts_with("text_encoder."));
    for (name, tensor) in text {
        assert!(tensor.equal(&weights[&name["text_encoder.".len()..]]), "{name} is another");
    }
    assert!(start.report.iter().any(|line| line.contains("pytorch_model.bin")), "{:?}", start.report);
}
