//! `tandem logs`: a worker's log, through the coordinator.

use super::{Run, events::time};
use crate::{Result, args::operate::Logs, commands::say};
use proto::v1;
use serde_json::json;
use std::io::Write;

/// Prints the lines.
pub(super) async fn print(arguments: &Logs, out: &mut impl Write) -> Result<()> {
    let mut run = Run::connect(&arguments.target).await?;
    let request = v1::LogsRequest { worker: arguments.worker.clone(), follow: arguments.follow };
    let lines = run.client.logs(request).await.map_err(|status| run.refused(&status))?;
    let mut lines = lines.into_inner();
    while let Some(line) = lines.message().await.map_err(|status| run.refused(&status))? {
        say(out, &shown(&line, arguments.json))?;
    }
    Ok(())
}

fn shown(line: &v1::LogLine, as_json: bool) -> String {
    let v1::LogLine { number, unix_millis, level, text } = line;
    let time = time(*unix_millis);
    if as_json {
        let line = json!({ "number": number, "time": time, "level": level, "text": text });
        return format!("{line}\n");
    }
    format!("{time}  {level:<5}  {text}\n")
}
