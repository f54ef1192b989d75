//! The step that was recorded on two ranks, replayed by two processes that join a coordinator as workers do.

use crate::record::*;
use c10d::{Group, GroupSpec};
use e2e::run::Place;
use proto::config::Semantics;
use proto::settle::Held;
use std::env::{current_exe, var};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tch::{Device, Kind, Tensor};
use worker::args::Train;
use worker::session::Session;
use worker::vote::Ballot;

/// Set for a process that is a rank: the coordinator's URL.
const URL: &str = "TANDEM_GOLDEN_COORDINATOR";

/// Starts a coordinator and two processes that run this very test as its ranks.
fn two_processes(test: &str, kind: Kind) {
    if let Ok(url) = var(URL) {
        return rank(&url, kind);
    }
    let place = Place::new();
    let (_coordinator, url) = place.serve("out", &["run.workers=2"]);
    let start = |_| {
        let mut command = Command::new(current_exe().unwrap());
        let command = command.args([test, "--exact", "--nocapture"]).env(URL, &url);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let ranks: Vec<_> = (0..2).map(start).collect();
    for rank in ranks {
        let told = rank.wait_with_output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
        assert!(told.status.success() && out.contains("1 passed"), "{out}{err}");
    }
}

fn arguments(url: &str) -> Train {
    Train { coordinator: Some(url.into()), connect_timeout: 60.0, weight: 1, ..Train::default() }
}

/// One rank: joins, meets the other, makes the step and compares all that was recorded.
fn rank(url: &str, kind: Kind) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut session = runtime.block_on(Session::join(&arguments(url))).unwrap();
    session.wait(Held::default(), false);
    let assignment = runtime.block_on(session.assignment()).unwrap();
    let spec = GroupSpec {
        rank: assignment.rank,
        world_size: assignment.world_size,
        device: Device::Cpu,
        interface: "127.0.0.1".into(),
        meeting: Duration::from_secs(60),
        timeout: Duration::from_secs(60),
    };
    let group = Group::new(spec, Arc::new(session.store())).unwrap();
    let recorded = read(if kind == Kind::Double { "ranks2-alpha0.4-f64" } else { "ranks2-alpha0.4-f32" });
    let [first, second] = ["rank0/", "rank1/"].map(|rank| below(&recorded, rank));
    let own = if assignment.rank == 0 { &first } else { &second };
    let batch = batch(own, 1, Share { rank: assignment.rank, ranks: assignment.world_size });
    let mut trainer = trainer(kind, &config(0.4, Semantics::Paper), None, group);
    let teacher = trainer.state().teacher.copy_where(|_| true);
    let outcome = trainer.step_with(&batch, &draws(own, &batch, Chosen::Drawn), &Ballot::default()).unwrap();

    // Metrics are means over all rows: of equal halves for two of the losses, weighted by masked tokens for the third.
    let masked =
        [&first, &second].map(|rank| rank["draw/mlm_labels"].ne(-100).sum(Kind::Double).double_value(&[]));
    for (scalar, name, weights) in [
        ("loss_itc", "loss_ita", [1.0, 1.0]),
        ("loss_itm", "loss_itm", [1.0, 1.0]),
        ("loss_mlm", "loss_mlm", masked),
    ] {
        let of = |rank: &Tensors| rank[&format!("out/{name}")].to_kind(Kind::Double);
        let mean = (of(&first) * weights[0] + of(&second) * weights[1]) / (weights[0] + weights[1]);
        close(name, &Tensor::from(outcome.scalars[scalar]), &mean, bound(kind));
    }
    check_gradients(&trainer.state().student, below(&recorded, "both/grad/"), kind);
    let after = below(&recorded, "both/after/");
    let (student, _) = split(&after, kind);
    for (name, expected) in student.iter() {
        close_after(name, trainer.state().student.get(name).unwrap(), expected, kind, 1);
    }
    let alone = below(
        &read(if kind == Kind::Double { "train3-alpha0.4-f64" } else { "train3-alpha0.4-f32" }),
        "step1/after/",
    );
    for (name, expected) in split(&alone, kind).1.iter() {
        close_after(&format!("the teacher's {name}"), teacher.get(name).unwrap(), expected, kind, 1);
    }
    let [(_, image), (_, text), _] = trainer.state().queue.rings();
    close("image queue", &image, &after["image_queue"].tr(), bound(kind));
    close("text queue", &text, &after["text_queue"].tr(), bound(kind));
    assert_eq!(trainer.state().queue.counters(), (after["queue_ptr"].int64_value(&[0]), 16));
    trainer.meet().unwrap();
    runtime.block_on(session.leave(&Ok(())));
}

#[test]
fn two_ranks_match_in_f64() {
    two_processes("ranks::two_ranks_match_in_f64", Kind::Double);
}

#[test]
fn two_ranks_match_in_f32() {
    two_processes("ranks::two_ranks_match_in_f32", Kind::Float);
}
