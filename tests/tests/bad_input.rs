//! What users get wrong: each case ends with its code and a sentence that names the value and the mend.
#![allow(clippy::unwrap_used)]

use e2e::run::{Place, Told, tandem};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// Runs with one knob set wrong and expects a code and words.
fn refused(place: &Place, output: &str, sets: &[&str], code: i32, words: &[&str]) -> Told {
    let told = place.run(output, sets, &[]);
    assert_eq!(told.code, Some(code), "{sets:?}: {told:?}");
    let last = told.err.lines().last().unwrap_or_default();
    for word in words {
        assert!(told.err.contains(word), "{sets:?} should say {word:?}: {}", told.err);
    }
    assert!(!told.err.contains("panicked"), "{}", told.err);
    assert!(!last.is_empty());
    told
}

/// Imports images with these names, bytes and captions as the dataset `name`; returns its path.
fn import(place: &Place, name: &str, rows: &[(&str, Vec<u8>, &str)]) -> String {
    let folder = place.path(&format!("{name}-images"));
    fs::create_dir_all(&folder).unwrap();
    let mut captions = String::new();
    for (file, bytes, caption) in rows {
        fs::write(Path::new(&folder).join(file), bytes).unwrap();
        captions += &format!("{file}\t{caption}\n");
    }
    let list = place.path(&format!("{name}.tsv"));
    fs::write(&list, captions).unwrap();
    let out = place.path(name);
    let told = tandem(&[
        "data",
        "import",
        "--images",
        &folder,
        "--captions",
        &list,
        "--out",
        &out,
        "--group-rows",
        "8",
    ]);
    assert_eq!(told.code, Some(0), "{told:?}");
    out
}

fn png(side: u32, shade: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let image = image::RgbImage::from_pixel(side, side, image::Rgb([shade, 90, 200]));
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Turns bits of the pixels; the header stays whole.
fn damage(png: &mut [u8]) {
    for at in [44, 46] {
        png[at] ^= 0xff;
    }
}

/// The only parquet file below a folder.
fn parquet(folder: &str) -> std::path::PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|e| e == "parquet")).min().unwrap()
}

#[test]
fn datasets_that_are_not_there_or_are_none() {
    let place = Place::new();
    let of = |path: &str| format!("data.train={path}");
    refused(&place, "a", &[&of(&place.path("nowhere"))], 65, &["no dataset at", "nowhere", "data.train"]);
    fs::create_dir(place.path("other")).unwrap();
    fs::write(place.path("other/notes.txt"), "hello").unwrap();
    refused(&place, "b", &[&of(&place.path("other"))], 65, &["no parquet file at", "notes.txt"]);
    refused(&place, "c", &["data.caption_column=text"], 65, &["caption column text", "data.caption_column"]);
    refused(&place, "c", &["data.image_column=photo"], 65, &["image column photo", "data.image_column"]);

    fs::create_dir(place.path("empty")).unwrap();
    fs::write(place.path("empty/0.parquet"), "").unwrap();
    refused(&place, "d", &[&of(&place.path("empty"))], 65, &["empty/0.parquet", "it is empty"]);
    let whole = fs::read(parquet(&place.path("data"))).unwrap();
    fs::create_dir(place.path("cut")).unwrap();
    fs::write(place.path("cut/0.parquet"), &whole[..whole.len() / 2]).unwrap();
    refused(&place, "e", &[&of(&place.path("cut"))], 65, &["cut/0.parquet", "can't be read as parquet"]);
}

#[test]
fn knobs_that_are_wrong() {
    let place = Place::new();
    refused(
        &place,
        "a",
        &["model.vocabulary=77"],
        2,
        &["model.vocabulary = 77", &format!("set model.vocabulary={}", place.vocabulary())],
    );
    refused(
        &place,
        "b",
        &["optimizer.bacth=4"],
        2,
        &["unknown key `optimizer.bacth`", "did you mean `optimizer.batch`"],
    );
    refused(&place, "c", &["text.tokenizer=/no/vocab.txt"], 65, &["/no/vocab.txt", "text.tokenizer"]);
    refused(&place, "d", &["augment.choose_from=['invert']"], 2, &["invert"]);
    refused(&place, "e", &["cluster.listen=0.0.0.0:0"], 2, &["0.0.0.0", "127.0.0.1"]);
    refused(&place, "f", &["run.device=cuda"], 78, &["cuda", "scripts/setup.sh --cuda"]);
    assert!(!fs::exists(place.path("a/checkpoints")).unwrap());
}

#[test]
fn a_port_that_is_taken() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refused(&place, "a", &[&format!("cluster.listen={address}")], 69, &[&address, "choose another port"]);
}

#[test]
fn a_coordinator_that_is_not_there() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    let arguments = ["--coordinator", &url, "--connect-timeout", "0.3"];
    let output = Command::new(e2e::program("tandem-worker")).args(arguments).output().unwrap();
    let told = Told::from(output);
    assert_eq!(told.code, Some(69), "{told:?}");
    assert!(told.err.contains(&url) && told.err.contains("refused"), "{told:?}");
    assert_eq!(tandem(&["status", "--coordinator", &url]).code, Some(69));
}

#[test]
fn rows_that_cannot_be_used_are_replaced_counted_and_named() {
    let place = Place::new();
    let mut rows: Vec<(String, Vec<u8>, String)> =
        (0..40).map(|i| (format!("{i}.png"), png(24, i as u8 * 6), format!("picture number {i}"))).collect();
    damage(&mut rows[7].1);
    rows[20].1 = png(3000, 9);
    let given: Vec<(&str, Vec<u8>, &str)> =
        rows.iter().map(|(file, bytes, caption)| (file.as_str(), bytes.clone(), caption.as_str())).collect();
    let data = import(&place, "holes", &given);
    let sets = [format!("data.train={data}"), "data.max_pixels=1000000".into(), "optimizer.steps=5".into()];
    let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
    let told = place.run("out", &sets, &[]);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.out.contains("rows that can't be used"), "{told:?}");
    let quarantine = fs::read_to_string(place.path("out/quarantine.jsonl")).unwrap();
    assert!(quarantine.contains("\"row\":7,") && quarantine.contains("\"row\":20,"), "{quarantine}");
    assert!(quarantine.contains("data.max_pixels"), "{quarantine}");
    let verified = tandem(&["data", "verify", &data, "--set", "data.max_pixels=1000000"]);
    assert_eq!(verified.code, Some(65), "{verified:?}");
    assert!(verified.out.contains("row 7 ") && verified.out.contains("row 20 "), "{verified:?}");
}

#[test]
fn too_many_rows_that_cannot_be_used_end_the_run() {
    let place = Place::new();
    let mut rows: Vec<(String, Vec<u8>)> = (0..48).map(|i| (format!("{i}.png"), png(24, i))).collect();
    rows.iter_mut().step_by(2).for_each(|row| damage(&mut row.1));
    let given: Vec<(&str, Vec<u8>, &str)> =
        rows.iter().map(|(file, bytes)| (file.as_str(), bytes.clone(), "a thing")).collect();
    let data = import(&place, "broken", &given);
    refused(
        &place,
        "out",
        &[&format!("data.train={data}")],
        65,
        &["data.substitution_budget", "tandem data verify"],
    );
}

#[test]
fn a_disk_that_takes_no_more_while_a_checkpoint_is_written() {
    let place = Place::new();
    // A limit on the size of files stands in for a full disk: both make the same write fail.
    let script = "ulimit -f 64; trap '' XFSZ; exec \"$@\"";
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash"]).arg(e2e::program("tandem")).arg("run");
    let output = command
        .args(place.arguments("out", &["checkpoint.failures=0"]))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = Told::from(output);
    assert_eq!(told.code, Some(74), "{told:?}");
    assert!(told.err.contains("writing") && told.err.contains("/step-000000004/g"), "{told:?}");
    assert!(told.err.contains("-part-0000"), "{told:?}");
    assert!(!fs::exists(place.path("out/checkpoints/step-000000004/COMMITTED")).unwrap());
    let resumed = place.run("out", &[], &["--resume"]);
    assert_eq!(resumed.code, Some(0), "with space again it goes on: {resumed:?}");
}

#[test]
fn a_checkpoint_with_one_flipped_bit_is_refused_and_an_older_one_serves() {
    let place = Place::new();
    assert_eq!(place.run("out", &[], &[]).code, Some(0));
    let output = place.path("out");
    let verify = || tandem(&["checkpoint", "verify", "--run", &output]);
    assert_eq!(verify().code, Some(0), "{:?}", verify());
    let name = &place.part_names("out", 12)[1];
    let path = format!("{output}/checkpoints/step-000000012/{name}");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let told = verify();
    assert!(told.code == Some(65) && told.out.contains(name), "{told:?}");
    let sets = ["optimizer.steps=14"];
    let told = place.run("out", &sets, &["--resume"]);
    assert_eq!(told.code, Some(65), "{told:?}");
    assert!(told.err.contains("step-000000012") && told.err.contains("is damaged"), "{told:?}");
    let data = place.path("data");
    assert_eq!(tandem(&["eval", "retrieval", "--checkpoint", &output, "--data", &data]).code, Some(65));
    fs::remove_dir_all(place.path("out/checkpoints/step-000000012")).unwrap();
    let told = place.run("out", &sets, &["--resume"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert_eq!(place.metrics("out").len(), 14);
}

#[test]
fn a_dataset_that_changed_since_the_run_began() {
    let place = Place::new();
    assert_eq!(place.run("out", &[], &[]).code, Some(0));
    let file = parquet(&place.path("data"));
    let bytes = fs::read(&file).unwrap();
    fs::write(file.with_file_name("new.parquet"), bytes).unwrap();
    let told = place.run("out", &["optimizer.steps=14"], &["--resume"]);
    assert_eq!(told.code, Some(65), "{told:?}");
    assert!(told.err.contains("new.parquet is new"), "{told:?}");
}

#[test]
fn a_log_filter_that_cannot_be_understood_starts_nothing() {
    let worker = ["--coordinator", "http://127.0.0.1:1"];
    for (name, arguments) in [("tandem", ["coordinator"].as_slice()), ("tandem-worker", &worker)] {
        let start = Command::new(e2e::program(name)).args(arguments).env("RUST_LOG", "worker=loud").output();
        let told = Told::from(start.unwrap());
        assert_eq!(told.code, Some(2), "{told:?}");
        assert!(told.err.contains("RUST_LOG is \"worker=loud\""), "{told:?}");
    }
}
