//! A whole ALBEF's file: student and teacher, each key accounted for.

use super::*;

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
    let path = folder.path().join("albef.pth");
    std::fs::write(&path, torch_file(&all, "model")).unwrap();
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

/// The start from the published state after `change`, with these keys allowed.
fn changed(change: impl Fn(&mut Tensors), allow: &[&str]) -> Result<Start> {
    let (mut config, mut all) = published();
    change(&mut all);
    let folder = tempfile::tempdir().unwrap();
    config.model.init = save(folder.path(), "albef.safetensors", &all);
    config.model.init_allow = allow.iter().map(ToString::to_string).collect();
    start(&config)
}

#[test]
fn a_teacher_of_which_some_keys_do_not_fit_is_refused_or_completed_by_the_student() {
    let change = |all: &mut Tensors| {
        all.remove("vision_proj_m.weight");
        all.insert("text_proj_m.bias".into(), Tensor::zeros([3], tch::kind::FLOAT_CPU));
        all.insert("itm_head_m.bias".into(), Tensor::zeros([2], tch::kind::FLOAT_CPU));
        all.insert(
            "text_encoder_m.cls.predictions.decoder.weight".into(),
            Tensor::zeros([200, 32], tch::kind::FLOAT_CPU),
        );
    };
    let error = changed(change, &[]).unwrap_err().to_string();
    for part in [
        "4 keys of ",
        "vision_proj_m.weight is missing",
        "text_proj_m.bias has shape [3], the model's is [16]",
        "itm_head_m.bias is unexpected",
        "text_encoder_m.cls.predictions.decoder.weight is not tied to the word embeddings",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let allow = ["vision_proj_m.weight", "text_proj_m.bias", "itm_head_m.*", "*_m.cls.predictions.decoder.*"];
    let start = changed(change, &allow).unwrap();
    let (_, all) = published();
    for (name, expected) in [
        ("vision_proj.weight", "vision_proj.weight"),
        ("text_proj.bias", "text_proj.bias"),
        ("vision_proj.bias", "vision_proj_m.bias"),
        ("visual_encoder.pos_embed", "visual_encoder_m.pos_embed"),
    ] {
        assert!(start.teacher.get(name).unwrap().equal(&all[expected]), "{name} is not {expected}");
    }
    let line = start.report.last().unwrap();
    assert!(line.starts_with("teacher: 126 tensors of its own from "), "{line}");
    assert!(line.ends_with(", 2 copies of the student's"), "{line}");
}

#[test]
fn a_file_without_a_teacher_begins_with_a_copy() {
    let start = changed(|all| all.retain(|name, _| !teaches(name)), &[]).unwrap();
    for (name, tensor) in start.teacher.iter() {
        assert!(tensor.equal(start.student.get(name).unwrap()), "{name} is another");
    }
    assert_eq!(start.report.last().unwrap(), "teacher: a copy of the student");
}

#[test]
fn a_part_that_is_replaced_begins_with_its_own_teacher() {
    let (mut config, all) = published();
    let folder = tempfile::tempdir().unwrap();
    config.model.init = save(folder.path(), "albef.safetensors", &all);
    let image: Tensors =
        below(&all, "visual_encoder.").into_iter().map(|(name, tensor)| (name, tensor + 1.0)).collect();
    config.model.init_image = save(folder.path(), "image.safetensors", &image);
    let start = start(&config).unwrap();
    for (name, tensor) in start.teacher.iter() {
        let expected = match name.strip_prefix(IMAGE) {
            Some(name) => &image[name],
            None => &all[&Layout::AlbefTeacher.theirs(name)[0]],
        };
        assert!(tensor.equal(expected), "{name} is another");
    }
}

#[test]
fn a_temperature_begins_within_its_bounds() {
    for (given, expected, told) in
        [(0.6, 0.5, "(brought from 0.6"), (0.0005, 0.001, "(brought from 0.0005"), (0.02, 0.02, "")]
    {
        let change = |all: &mut Tensors| drop(all.insert("temp".into(), Tensor::from(given as f32)));
        let start = changed(change, &[]).unwrap();
        assert_eq!(start.student.get("temp").unwrap().double_value(&[]) as f32, expected as f32);
        let line = start.report.iter().find(|line| line.starts_with("temperature: ")).unwrap();
        assert!(line.contains(told) && line.contains("brought") != told.is_empty(), "{line}");
    }
}
