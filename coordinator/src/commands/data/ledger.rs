//! `tandem data verify-ledger`: what a run's ledger proves.

use super::bar;
use crate::{Error, Result, args::VerifyLedger, commands::say};
use proto::{
    checkpoint::{self, Manifest as Checkpoint},
    config,
};
use shards::{
    committed::{self, CommittedError},
    ledger::{
        FOLDER, chain,
        report::{EpochReport, Finding, Report},
        verify::Verifier,
    },
    manifest::{FROZEN, Manifest},
    order::{Order, order_spec},
    store::Folder,
};
use std::io::Write;

/// Reads the newest checkpoint of the run, its frozen dataset and its ledger, and tells what they prove.
pub(super) async fn verify(arguments: &VerifyLedger, out: &mut impl Write) -> Result<()> {
    let output = Folder::open(&arguments.run)?;
    let checkpoints = output.below(checkpoint::FOLDER);
    let missing = || CommittedError::Missing { path: checkpoints.path_of("") };
    let checkpoint = committed::newest(&checkpoints).await?.ok_or_else(missing)?;
    let report = check(&output, &checkpoint, arguments.names).await?;
    let text = if arguments.json { as_json(&checkpoint, &report) } else { as_text(&checkpoint, &report) };
    say(out, &text)?;
    if report.proven() {
        return Ok(());
    }
    let sum = |of: fn(&EpochReport) -> u64| report.epochs.iter().map(of).sum();
    Err(Error::Unproven {
        run: arguments.run.clone(),
        missing: sum(|epoch| epoch.missing.count),
        repeated: sum(|epoch| epoch.repeated.count),
        findings: report.findings.len() as u64 + report.more_findings,
    })
}

async fn check(output: &Folder, checkpoint: &Checkpoint, names: usize) -> Result<Report> {
    let config = config::resolve("the checkpoint's configuration", &checkpoint.config, &[])?;
    let dataset = frozen(output, &checkpoint.dataset).await?;
    let mut verifier = Verifier::new(Order::of(&dataset, order_spec(&config)), &checkpoint.dataset, names);

    let (ledger, steps) = (output.below(FOLDER), checkpoint.step);
    let progress = bar("following the ledger", steps.0);
    let trace = chain::trace(&ledger, &checkpoint.ledger, steps, |left| {
        progress.set_position(steps.0.saturating_sub(left.0));
    });
    let chain = trace.await?;
    progress.finish_and_clear();

    let progress = bar("proving steps", steps.0);
    let mut done = |step: proto::GlobalStep| progress.set_position(step.0);
    chain.broken.into_iter().for_each(|finding| verifier.found(finding));
    for link in &chain.links {
        match chain::read(&ledger, link).await? {
            Ok(segment) => verifier.segment(&link.name, &segment, &mut done),
            Err(reason) => verifier.found(Finding::Segment { segment: link.name.clone(), reason }),
        }
    }
    let report = verifier.finish(steps, &mut done);
    progress.finish_and_clear();
    Ok(report)
}

/// The run's dataset as it was when the checkpoint was committed.
async fn frozen(output: &Folder, fingerprint: &str) -> Result<Manifest> {
    let location = output.path_of(FROZEN);
    let changed = |difference: String| shards::Error::Changed {
        location: location.clone(),
        difference,
        mend: "put back the file that the run froze: without it nothing can be proven",
    };
    let bytes = output.get(FROZEN).await?.ok_or_else(|| changed("the file is gone".into()))?;
    let dataset = Manifest::from_bytes(bytes, &location)?;
    let found = dataset.fingerprint();
    if found == fingerprint {
        return Ok(dataset);
    }
    Err(changed(format!("its fingerprint is {found}, the checkpoint is of {fingerprint}")).into())
}

fn as_json(checkpoint: &Checkpoint, report: &Report) -> String {
    let told = serde_json::json!({ "run": checkpoint.run, "proven": report.proven(), "report": report });
    format!("{told:#}\n")
}

fn as_text(checkpoint: &Checkpoint, report: &Report) -> String {
    let Report { steps, segments, epochs, stand_ins, substituted, findings, more_findings, .. } = report;
    let mut text = format!(
        "run {}: {steps} committed steps, {segments} segments of the ledger read\n\n",
        checkpoint.run
    );
    text += "pool   epoch        rows         due  committed once  substituted  missing  repeated\n";
    for epoch in epochs {
        text += &format!(
            "{:>4} {:>7} {:>11} {:>11} {:>15} {:>12} {:>8} {:>9}{}\n",
            epoch.pool,
            epoch.epoch,
            epoch.rows,
            epoch.due,
            epoch.committed_once,
            epoch.substituted,
            epoch.missing.count,
            epoch.repeated.count,
            if epoch.complete { "" } else { "  in progress" }
        );
    }
    text += "\n";
    for one in stand_ins {
        text += &format!(
            "step {}, slot {}: row {} can't be used, row {} was trained on\n",
            one.step, one.slot, one.row, one.substitute
        );
    }
    text += &more(substituted - stand_ins.len() as u64, "substitutions");
    for finding in findings {
        text += &format!("{finding}\n");
    }
    text += &more(*more_findings, "findings");
    for EpochReport { pool, epoch, missing, repeated, .. } in epochs {
        for (rows, what) in [(missing, "not proven to be committed"), (repeated, "committed more than once")]
        {
            if rows.count > 0 {
                text += &format!("pool {pool}, epoch {epoch}, {what}: rows {rows}\n");
            }
        }
    }
    if report.skipped > 0 {
        let (skipped, undone) = (report.skipped, report.undone);
        text += &format!(
            "{skipped} steps were anomalies and changed no weight; {undone} more were taken back by rollbacks\n"
        );
    }
    if report.proven() {
        text += &sentence(epochs);
    }
    text
}

fn more(count: u64, what: &str) -> String {
    if count == 0 { String::new() } else { format!("and {count} more {what}\n") }
}

fn sentence(epochs: &[EpochReport]) -> String {
    let complete = epochs.iter().filter(|epoch| epoch.complete).count();
    let open: u64 = epochs.iter().filter(|epoch| !epoch.complete).map(|epoch| epoch.committed_once).sum();
    format!(
        "proven: each row was committed once in each of {complete} complete epochs; in those in progress {open} rows were due, and each was committed once\n"
    )
}
