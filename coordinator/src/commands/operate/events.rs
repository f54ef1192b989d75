//! `tandem events`: the journal, from the coordinator or, where there is none any more, from the store.

use super::Run;
use crate::{Result, args::operate::Events, commands::say, journal::Trail};
use proto::v1;
use serde_json::json;
use shards::store::Folder;
use std::{
    io::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Lists the entries.
pub(super) async fn list(arguments: &Events, out: &mut impl Write) -> Result<()> {
    if let (Some(location), false) = (&arguments.target.place.run, arguments.follow) {
        let mut trail = Trail::look(&Folder::open(&location.display().to_string())?).await?;
        let mut number = arguments.after;
        while let Some(told) = trail.after(number, false).await? {
            number = told.number;
            say(out, &line(&told.to_wire(), arguments.json))?;
        }
        return Ok(());
    }
    let mut run = Run::connect(&arguments.target).await?;
    let request = v1::EventsRequest { after: arguments.after, follow: arguments.follow };
    let events = run.client.events(request).await.map_err(|status| run.refused(&status))?;
    let mut events = events.into_inner();
    while let Some(event) = events.message().await.map_err(|status| run.refused(&status))? {
        say(out, &line(&event, arguments.json))?;
    }
    Ok(())
}

fn line(event: &v1::Event, as_json: bool) -> String {
    let v1::Event { number, unix_millis, kind, text } = event;
    let time = time(*unix_millis);
    if as_json {
        let event = json!({ "number": number, "time": time, "kind": kind, "text": text });
        return format!("{event}\n");
    }
    format!("{number:>5}  {time}  {kind:<10}  {text}\n")
}

/// UTC, to the second.
pub(super) fn time(unix_millis: u64) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(unix_millis)).unwrap_or(SystemTime::UNIX_EPOCH);
    humantime::format_rfc3339_seconds(time).to_string()
}
