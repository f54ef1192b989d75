//! `tandem checkpoint rewind`: an older checkpoint becomes the newest.

use super::{age, find, folder, printed};
use crate::{
    Error, Result,
    args::checkpoint::Rewind,
    checkpoints::retention::{self, Found},
    commands::say,
    journal::{Committed, End, Event, Journal, Opening},
};
use indicatif::HumanBytes;
use proto::{Exit, checkpoint::Manifest};
use serde_json::{Value, json};
use shards::store::Folder;
use std::{io::Write, time::SystemTime};

pub(super) async fn rewind(arguments: &Rewind, out: &mut impl Write) -> Result<()> {
    let (output, checkpoints) = (Folder::open(&arguments.run)?, folder(&arguments.run)?);
    let target = find(&checkpoints, Some(arguments.to)).await?;
    if let Some(past) = Journal::look(&output).await?.filter(|past| past.ended.is_none())
        && !arguments.force
    {
        return Err(Error::Unended { output: arguments.run.clone(), url: past.by.url });
    }
    let mut gone = retention::list(&checkpoints).await?;
    gone.retain(|one| one.step > target.step);
    if !arguments.dry_run {
        decide(&output, &target).await?;
        retention::remove_after(&checkpoints, target.step).await?;
    }
    let text = if arguments.json {
        let one = |one: &Found| json!({ "step": one.step, "committed": one.committed.is_some(), "bytes": one.bytes() });
        let removed: Vec<Value> = gone.iter().map(one).collect();
        printed(&json!({ "dry_run": arguments.dry_run, "removed": removed, "newest": target.step }))
    } else {
        rewound(&gone, arguments)
    };
    say(out, &text)
}

/// Tells the journal, which fences a coordinator that is still there; no later one makes good what is to go.
async fn decide(output: &Folder, target: &Manifest) -> Result<()> {
    // What operators have set holds for the same configuration.
    let config = Journal::look(output).await?.unwrap_or_default().by.config;
    let (journal, _) = Journal::open(output, Opening::here(&target.run, "", config)).await?;
    let Manifest { step, generation, .. } = *target;
    journal.append(Event::Rewound(Some(Committed { step, generation, request: 0 }))).await?;
    journal.append(Event::Ended(End::new(Exit::Stopped, format!("rewound to step {step}")))).await?;
    Ok(())
}

fn rewound(gone: &[Found], Rewind { to, dry_run, .. }: &Rewind) -> String {
    let line = |one: &Found| {
        let what = one.committed.map_or("never committed".into(), |written| age(written, SystemTime::now()));
        format!("step {}: {}, {what}\n", one.step, HumanBytes(one.bytes()))
    };
    let lines: String = gone.iter().map(line).collect();
    let (removed, goes) = if *dry_run { ("would be removed", "would go") } else { ("removed", "goes") };
    lines + &format!("{removed}: {} folders; the run {goes} on from step {to} with --resume\n", gone.len())
}
