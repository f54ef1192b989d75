//! What a run leaves for people at its end: a few sentences, and the curves as a picture.

use crate::{Result, control::Snapshot, metrics::Line};
use indicatif::HumanDuration;
use proto::{GlobalStep, RunConfig, checkpoint};
use shards::picture::{Panel, Series, line_charts, write_png};
use std::{path::Path, time::Duration};

/// The picture of a run's curves.
pub const CURVES: &str = "curves.png";

/// The run in a few lines. `elapsed` is what this call took, which went on from the step `resume`.
pub fn summary(
    config: &RunConfig,
    folder: &Path,
    end: &Snapshot,
    lines: &[Line],
    resume: GlobalStep,
    elapsed: Duration,
) -> String {
    let steps = end.step.0.saturating_sub(resume.0);
    let pairs = steps * u64::from(config.optimizer.batch);
    let mut text = format!(
        "\nrun {}: {}\n  steps        {steps} in {}, {pairs} pairs\n",
        config.run.name,
        end.reason,
        HumanDuration(elapsed)
    );
    let median = median(lines.iter().filter(|line| line.step > resume.0).map(|line| line.pairs_per_second));
    if let Some(speed) = median {
        text += &format!("  speed        {speed:.0} pairs/s (median of the reported steps)\n");
    }
    if let (Some(first), Some(last)) = (lines.first(), lines.last()) {
        for name in ["loss", "loss_itc", "loss_itm", "loss_mlm"] {
            let at = |line: &Line| line.scalars.get(name).copied().unwrap_or(f64::NAN);
            let (before, now) = (at(first), at(last));
            text +=
                &format!("  {name:<12} {before:.3} at step {}, {now:.3} at step {}\n", first.step, last.step);
        }
    }
    if end.substitutions > 0 {
        let path = folder.join("quarantine.jsonl");
        text +=
            &format!("  replaced     {} rows that can't be used: {}\n", end.substitutions, path.display());
    }
    text += &match end.committed.0 {
        0 => "  checkpoint   none\n".to_owned(),
        _ => format!(
            "  checkpoint   {}/{}/{}\n",
            config.run.output,
            checkpoint::FOLDER,
            checkpoint::folder(end.committed)
        ),
    };
    text + &format!("  curves       {}\n", folder.join(CURVES).display())
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Draws the curves.
///
/// # Errors
/// A picture that can't be written.
pub fn draw(folder: &Path, config: &RunConfig, lines: &[Line]) -> Result<()> {
    let series = |name: &str, key: &str| Series {
        name: name.into(),
        points: lines.iter().filter_map(|line| Some((line.step as f64, *line.scalars.get(key)?))).collect(),
    };
    let panel = |title: &str, y_label: &str, series: Vec<Series>| Panel {
        title: title.into(),
        x_label: "step".into(),
        y_label: y_label.into(),
        series,
    };
    let measured = |name: &str, of: fn(&Line) -> f64| Series {
        name: name.into(),
        points: lines.iter().map(|line| (line.step as f64, of(line))).collect(),
    };
    let panels = [
        panel("image-text contrastive", "loss_itc", vec![series("loss_itc", "loss_itc")]),
        panel("image-text matching", "loss_itm", vec![series("loss_itm", "loss_itm")]),
        panel("masked language modelling", "loss_mlm", vec![series("loss_mlm", "loss_mlm")]),
        panel("temperature", "temperature", vec![series("temperature", "temperature")]),
        panel("learning rate", "learning_rate", vec![series("learning_rate", "learning_rate")]),
        panel("speed", "pairs/s", vec![measured("pairs/s", |line| line.pairs_per_second)]),
    ];
    let image = line_charts(&format!("run {}", config.run.name), &panels, 3);
    Ok(write_png(&folder.join(CURVES), &image)?)
}
