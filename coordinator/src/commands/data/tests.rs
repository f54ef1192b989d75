//! The verbs on a real disk, by their command lines.

use super::*;
use crate::args::{Args, Verb};
use clap::Parser;
use proto::Exit;
use std::path::Path;

async fn run(line: &[&str]) -> (Result<()>, String) {
    let Verb::Data(verb) = Args::parse_from([&["tandem", "data"], line].concat()).verb else {
        unreachable!()
    };
    let mut out = Vec::new();
    let done = act(verb, &mut out).await;
    (done, String::from_utf8(out).unwrap())
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

#[tokio::test]
async fn drawn_pairs_are_indexed_shown_checked_and_give_a_vocabulary() {
    let disk = tempfile::tempdir().unwrap();
    let (set, sheet, words) =
        (path(disk.path(), "set"), path(disk.path(), "s.png"), path(disk.path(), "v.txt"));
    let synth =
        ["synth", "--pairs", "25", "--size", "32", "--group-rows", "10", "--file-groups", "2", "--out", &set];
    let (done, told) = run(&synth).await;
    done.unwrap();
    assert!(told.contains("25 pairs in 2 files"), "{told}");
    assert_eq!(run(&synth).await.0.unwrap_err().exit(), Exit::Usage);
    let (done, told) = run(&["index", &set]).await;
    done.unwrap();
    assert!(told.contains("25 rows in 2 files, 3 row groups"), "{told}");
    let (done, told) = run(&["inspect", &set, "--samples", "7", "--sheet", &sheet]).await;
    done.unwrap();
    assert!(told.contains("original_width") && told.matches("32x32").count() == 7, "{told}");
    assert!(image::open(&sheet).unwrap().width() > 100);
    let (done, told) = run(&["verify", &set]).await;
    done.unwrap();
    assert!(told.contains("every row can be used"), "{told}");
    let (done, told) = run(&["tokenizer", &set, "--size", "300", "--out", &words]).await;
    done.unwrap();
    let entries = fs::read_to_string(&words).unwrap().lines().count();
    assert!(told.contains(&format!("set model.vocabulary={entries}")), "{told}");
}

#[tokio::test]
async fn what_is_imported_is_what_was_in_the_folder_and_broken_rows_are_listed() {
    let disk = tempfile::tempdir().unwrap();
    let (set, captions) = (path(disk.path(), "set"), path(disk.path(), "captions.tsv"));
    for (name, side) in [("a.png", 9_u32), ("b.png", 5)] {
        image::RgbImage::from_pixel(side, side, image::Rgb([side as u8, 0, 0]))
            .save(disk.path().join(name))
            .unwrap();
    }
    let whole = fs::read(disk.path().join("b.png")).unwrap();
    fs::write(disk.path().join("c.png"), &whole[..whole.len() - 30]).unwrap();
    fs::write(&captions, "a.png\tone\nb.png\t?!\nc.png\tthree\n").unwrap();
    let folder = disk.path().to_str().unwrap();
    let (done, told) = run(&["import", "--images", folder, "--captions", &captions, "--out", &set]).await;
    done.unwrap();
    assert!(told.contains("3 pairs in 1 files"), "{told}");
    let (done, told) = run(&["verify", &set]).await;
    let error = done.unwrap_err();
    assert!(error.to_string().starts_with("2 of 3 rows") && error.exit() == Exit::Data, "{error}");
    assert!(
        told.contains(&format!("row 1 ({set}/00000.parquet, row group 0, row 1): its caption has no words")),
        "{told}"
    );
    assert!(told.contains(&format!("row 2 ({set}/00000.parquet, row group 0, row 2)")), "{told}");
    let (done, told) = run(&["inspect", &set, "--set", "data.max_pixels=50"]).await;
    done.unwrap();
    assert!(told.contains("data.max_pixels") && told.contains("5x5"), "{told}");
    let error = run(&["verify", &set, "--set", "data.caption_column=text"]).await.0.unwrap_err();
    assert!(error.to_string().contains("png (Binary)") && error.exit() == Exit::Data, "{error}");
}

#[tokio::test]
async fn a_captions_file_with_a_fault_writes_nothing() {
    let disk = tempfile::tempdir().unwrap();
    let (set, captions) = (path(disk.path(), "set"), path(disk.path(), "captions.tsv"));
    fs::write(&captions, "none.png\tone\n").unwrap();
    let folder = disk.path().to_str().unwrap();
    let (done, _) = run(&["import", "--images", folder, "--captions", &captions, "--out", &set]).await;
    let error = done.unwrap_err();
    assert!(error.to_string().contains("line 1") && error.exit() == Exit::Data, "{error}");
    assert!(!Path::new(&set).exists());
}

#[tokio::test]
async fn an_index_tells_what_the_filter_leaves_out_and_may_lie_elsewhere() {
    let disk = tempfile::tempdir().unwrap();
    let (one, two, index) =
        (path(disk.path(), "one"), path(disk.path(), "two"), path(disk.path(), "both.index"));
    for (set, size) in [(&one, "32"), (&two, "48")] {
        let synth = ["synth", "--pairs", "10", "--size", size, "--group-rows", "5", "--out", set];
        run(&synth).await.0.unwrap();
    }
    let filter = "data.filter=[\"width >= 40\"]";
    let (done, told) = run(&["index", &one, &two, "--set", filter, "--out", &index]).await;
    done.unwrap();
    assert!(told.contains("10 rows in 2 files") && told.contains("10 of 20 rows do not pass"), "{told}");
    let named = format!("data.index={index}");
    let (done, told) = run(&["verify", &two, "--set", &named, "--set", filter]).await;
    done.unwrap();
    assert!(told.contains("10 rows in 1 files"), "{told}");
    let error = run(&["verify", &two, "--set", &named]).await.0.unwrap_err();
    assert!(error.to_string().contains("width >= 40") && error.exit() == Exit::Data, "{error}");
    let glob = format!("{two}/*.parquet");
    for line in [&["index", &one, &two][..], &["index", &glob]] {
        let error = run(line).await.0.unwrap_err();
        assert!(error.to_string().contains("--out") && error.exit() == Exit::Usage, "{error}");
    }
    let error = run(&["index", &one, "--set", "data.filter=[\"width is wide\"]"]).await.0.unwrap_err();
    assert!(error.to_string().contains("width is wide") && error.exit() == Exit::Usage, "{error}");
}

#[tokio::test]
async fn the_order_of_a_step_is_the_same_for_any_number_of_workers() {
    let disk = tempfile::tempdir().unwrap();
    let set = path(disk.path(), "set");
    run(&["synth", "--pairs", "40", "--size", "16", "--group-rows", "5", "--out", &set]).await.0.unwrap();
    let knobs = ["--set", "data.lanes=4", "--set", "optimizer.batch=8", "--set", "run.seed=3"];
    let step = async |world: &str| {
        let line = [&["order", "--manifest", &set, "--step", "7", "--world", world], &knobs[..]].concat();
        let (done, told) = run(&line).await;
        done.map(|()| told)
    };
    // Every column but the rank's.
    let rows = |told: String| -> Vec<String> {
        let columns = |line: &str| {
            line.split_whitespace()
                .enumerate()
                .filter(|(at, _)| *at != 1)
                .map(|(_, word)| word.to_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        told.lines().skip(1).map(columns).collect()
    };
    let one = rows(step("1").await.unwrap());
    assert_eq!(one.len(), 8);
    assert!(one[0].starts_with("0 0 ") && one[0].contains("00000.parquet"), "{one:?}");
    assert_eq!(rows(step("3").await.unwrap()), one);
    let gone =
        run(&["order", "--manifest", "gone.index", "--step", "1", "--world", "1"]).await.0.unwrap_err();
    assert!(gone.to_string().contains("gone.index") && gone.to_string().contains("no such file"), "{gone}");
    let error = step("5").await.unwrap_err();
    assert!(error.to_string().contains("--world = 5") && error.exit() == Exit::Usage, "{error}");
}
