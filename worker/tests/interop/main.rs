//! Weights on their way out of a real run, and back in. What needs Python is run by scripts/interop.sh.
#![allow(clippy::unwrap_used)]

use e2e::run::{Place, tandem};
use proto::{RunConfig, config};
use sha2::{Digest, Sha256};
use shards::text::{Tokenizer, clean};
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use tch::{Device, Kind, Tensor};
use tokio::runtime::Runtime;
use worker::checkpoint;
use worker::models::albef::Encoders;
use worker::models::bert::padding_mask;
use worker::pretrained::Start;
use worker::weights::Weights;

/// A run of a few steps, and its newest checkpoint.
struct Trained {
    place: Place,
    config: RunConfig,
    tensors: BTreeMap<String, Tensor>,
}

impl Trained {
    fn new() -> Self {
        let place = Place::new();
        let told = place.run("run", &["objective.queue=20"], &["--workers", "2"]);
        assert_eq!(told.code, Some(0), "{told:?}");
        let runtime = Runtime::new().unwrap();
        let (folder, manifest) = runtime.block_on(shards::committed::find(&place.path("run"))).unwrap();
        let (tensors, _) = runtime.block_on(checkpoint::read(&folder, &manifest, |_| true)).unwrap();
        Self { place, config: config::stored(&manifest.config, &[]).unwrap(), tensors }
    }

    fn below(&self, prefix: &str) -> BTreeMap<String, Tensor> {
        let strip = |(name, tensor): (&String, &Tensor)| {
            Some((name.strip_prefix(prefix)?.to_owned(), tensor.shallow_clone()))
        };
        self.tensors.iter().filter_map(strip).collect()
    }

    /// `tandem export`.
    fn export(&self, name: &str, arguments: &[&str]) -> String {
        let (run, out) = (self.place.path("run"), self.place.path(name));
        let told = tandem(&[&["export", "--checkpoint", &run, "--out", &out], arguments].concat());
        assert_eq!(told.code, Some(0), "{told:?}");
        assert!(told.out.starts_with("step 12 of run run:"), "{told:?}");
        out
    }

    /// The weights that a run begins with that is given these files.
    fn begin(&self, set: impl Fn(&mut proto::config::ModelSection)) -> Start {
        let mut config = self.config.clone();
        config.run.seed += 1;
        set(&mut config.model);
        Runtime::new().unwrap().block_on(Start::new(&config)).unwrap()
    }
}

fn assert_same(one: &Weights, other: &BTreeMap<String, Tensor>, keep: impl Fn(&str) -> bool) {
    let kept: Vec<_> = other.iter().filter(|(name, _)| keep(name)).collect();
    assert!(!kept.is_empty());
    for (name, tensor) in kept {
        assert!(one.get(name).unwrap().equal(tensor), "{name} is another");
    }
}

#[test]
fn what_is_exported_begins_another_run_bit_for_bit() {
    let trained = Trained::new();
    let (student, teacher) = (trained.below("student/"), trained.below("teacher/"));
    for (name, format) in [("out.pth", "albef"), ("out.safetensors", "safetensors")] {
        let file = trained.export(name, &["--format", format]);
        let start = trained.begin(|model| model.init = file.clone());
        assert_same(&start.student, &student, |_| true);
        assert_same(&start.teacher, &teacher, |_| true);
    }
    for (which, weights) in [("student", &student), ("teacher", &teacher)] {
        let folder = trained.export(which, &["--format", "hf", "--weights", which]);
        let start = trained.begin(|model| {
            model.init_image = format!("{folder}/vision");
            model.init_text = format!("{folder}/text");
            model.init_allow = ["cls.*", "encoder.layer.1.*"].map(String::from).to_vec();
        });
        assert_same(&start.student, weights, |name| {
            name.starts_with("visual_encoder.")
                || name.starts_with("text_encoder.bert.") && !name.contains("layer.1.")
        });
    }
    let again = tandem(&[
        "export",
        "--checkpoint",
        &trained.place.path("run"),
        "--format",
        "albef",
        "--out",
        &trained.place.path("out.pth"),
    ]);
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.err.contains("is there already"), "{again:?}");
}

/// The lines of a run's first worker that say where a part's weights came from: part and origin.
fn origins(place: &Place, run: &str) -> BTreeMap<String, String> {
    let log = fs::read_to_string(place.path(&format!("{run}/logs/worker-0.log"))).unwrap();
    let told = |line: &str| {
        let part = PARTS.iter().find(|part| line.contains(&format!(" {part}: ")))?;
        Some(((*part).to_owned(), line.split_once(&format!(" {part}: "))?.1.trim().to_owned()))
    };
    log.lines().filter_map(told).collect()
}

const PARTS: [&str; 10] = [
    "image encoder",
    "image projection",
    "text encoder",
    "fusion layers",
    "cross-attention",
    "word head",
    "text projection",
    "matching head",
    "temperature",
    "teacher",
];

#[test]
fn a_runs_log_says_where_every_part_came_from() {
    let place = Place::new();
    let one = ["--workers", "1"];
    let short = ["run.workers=1", "optimizer.steps=1", "run.seed=7"];
    let told = place.run("first", &short, &one);
    assert_eq!(told.code, Some(0), "{told:?}");
    let drawn = origins(&place, "first");
    assert_eq!(drawn.len(), PARTS.len(), "{drawn:?}");
    for (part, origin) in &drawn {
        match part.as_str() {
            "teacher" => assert_eq!(origin, "a copy of the student"),
            _ => assert!(origin.ends_with(" drawn from seed 7"), "{part}: {origin}"),
        }
    }
    let file = place.path("first.safetensors");
    let (run, format) = (place.path("first"), "safetensors");
    let told = tandem(&["export", "--checkpoint", &run, "--format", format, "--out", &file]);
    assert_eq!(told.code, Some(0), "{told:?}");
    let init = format!("model.init={file}");
    let told = place.run("second", &[&short[..], &[init.as_str()]].concat(), &one);
    assert_eq!(told.code, Some(0), "{told:?}");
    let taken = origins(&place, "second");
    assert_eq!(taken.len(), PARTS.len(), "{taken:?}");
    for (part, origin) in &taken {
        assert!(origin.contains(" from ") && origin.ends_with("first.safetensors"), "{part}: {origin}");
    }

    // A configuration that another Tandem wrote is refused by the names of its knobs, by whoever reads it.
    let path = place.manifest("first", 1).unwrap();
    let manifest = fs::read_to_string(&path).unwrap();
    let other = manifest.replace("\\nmicro_batch = ", "\\nwings = ");
    assert_ne!(other, manifest);
    fs::write(&path, &other).unwrap();
    let digest: String = Sha256::digest(&other).iter().map(|byte| format!("{byte:02x}")).collect();
    let name = path.file_name().unwrap().to_str().unwrap();
    fs::write(path.with_file_name("COMMITTED"), format!("{digest} {name}")).unwrap();
    let (data, again) = (place.path("data"), place.path("again.pth"));
    for arguments in [
        vec!["export", "--checkpoint", &run, "--format", "albef", "--out", &again],
        vec!["eval", "retrieval", "--checkpoint", &run, "--data", &data],
    ] {
        let told = tandem(&arguments);
        assert_eq!(told.code, Some(65), "{told:?}");
        let names = "without optimizer.micro_batch, with the unknown optimizer.wings";
        assert!(told.err.contains(names), "{told:?}");
    }
}

/// What the consumers have to find, computed here.
fn expect(trained: &Trained, ids: &Tensor, lengths: &Tensor, images: &Tensor) -> Vec<(String, Tensor)> {
    let mut all = vec![
        ("ids".to_owned(), ids.shallow_clone()),
        ("lengths".to_owned(), lengths.shallow_clone()),
        ("images".to_owned(), images.shallow_clone()),
    ];
    for which in ["student", "teacher"] {
        let weights = trained.below(&format!("{which}/"));
        all.extend(weights.iter().map(|(name, tensor)| (format!("{which}/{name}"), tensor.shallow_clone())));
        let encoders = Encoders::teacher(&trained.config.model, &Weights::new(weights)).unwrap();
        let mask = padding_mask(lengths, ids.size()[1], Kind::Float);
        all.push((format!("out/{which}/text"), encoders.text_encoder.encode(ids, &mask, 0.0)));
        all.push((format!("out/{which}/image"), encoders.visual_encoder.forward(images)));
    }
    for (name, ring) in trained.below("queue/").into_iter().filter(|(name, _)| name != "identities") {
        all.push((format!("queue/{name}"), ring));
    }
    all
}

#[test]
#[ignore = "needs the Python environment of scripts/interop.sh"]
fn pytorch_safetensors_and_transformers_load_what_is_exported() {
    let trained = Trained::new();
    let runtime = Runtime::new().unwrap();
    let tokenizer = runtime.block_on(Tokenizer::open(&trained.config.text.tokenizer)).unwrap();
    let captions = ["A red circle", "two blue squares, left of a large green star", "small"].map(clean);
    let tokens: Vec<Vec<i64>> =
        captions.iter().map(|c| tokenizer.encode(c, trained.config.text.max_tokens).unwrap()).collect();
    let longest = tokens.iter().map(Vec::len).max().unwrap();
    let lengths: Vec<i64> = tokens.iter().map(|ids| ids.len() as i64).collect();
    let padded =
        tokens.iter().flat_map(|ids| ids.iter().copied().chain(std::iter::repeat_n(0, longest - ids.len())));
    let ids = Tensor::from_slice(&padded.collect::<Vec<_>>()).view([3, longest as i64]);
    let images = Tensor::randn([3, 3, 16, 16], (Kind::Float, Device::Cpu));

    trained.export("out.pth", &["--format", "albef"]);
    trained.export("out.safetensors", &["--format", "safetensors"]);
    trained.export("hf-student", &["--format", "hf"]);
    trained.export("hf-teacher", &["--format", "hf", "--weights", "teacher"]);
    let expected = expect(&trained, &ids, &Tensor::from_slice(&lengths), &images);
    Tensor::write_safetensors(&expected, trained.place.path("expected.safetensors")).unwrap();
    fs::write(trained.place.path("captions.txt"), captions.join("\n")).unwrap();

    let python = std::env::var("TANDEM_INTEROP_PYTHON").unwrap();
    let script = format!("{}/tests/interop/check.py", env!("CARGO_MANIFEST_DIR"));
    let told = Command::new(python).args([script, trained.place.path("")]).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(told.status.success() && out.contains("all is as expected"), "{out}{err}");
    println!("{out}");
}
