//! What a process says of itself: its log, whose filter may be changed while it runs, and the newest lines of it for whoever asks.
//!
//! As tracing has one subscriber for a process, so there is one log: where none was [started](start), nothing is filtered and no
//! line is kept.

mod lines;
mod traces;

use lines::Lines;
use proto::v1::LogLine;
use std::{
    env::{self, VarError},
    sync::OnceLock,
};
use traces::Exporter;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::ParseError, fmt::MakeWriter, layer::SubscriberExt, reload,
    util::SubscriberInitExt,
};

/// What is shown where neither RUST_LOG nor an operator says otherwise.
const USUAL: &str = "info";

/// What an error shows.
const EXAMPLES: &str = "info, or warn,worker=debug";

/// The log of this process.
struct Log {
    /// What was shown at the start, in RUST_LOG's language.
    started: String,
    filter: reload::Handle<EnvFilter, Registry>,
    lines: Lines,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// The target of the spans that are sent to a collector. They are of level TRACE: without a collector they cost nothing.
/// Numbers in them are i64: others come as texts.
pub const SPANS: &str = "spans";

/// What a process says of itself, from its start to its end.
#[derive(Debug)]
#[must_use = "what is left to be sent goes with it"]
pub struct Telemetry {
    _traces: Option<Exporter>,
}

/// Where spans go: the name of this kind of process, and the URL of an OTLP receiver for gRPC.
#[derive(Clone, Copy, Debug)]
pub struct Traces<'a> {
    /// `service.name` of OpenTelemetry's conventions.
    pub service: &'static str,
    /// Such as `http://127.0.0.1:4317`; none for no traces.
    pub url: Option<&'a str>,
}

/// Starts the log of this process, with colours if `ansi`. RUST_LOG says what is shown.
///
/// # Errors
/// A RUST_LOG that can't be understood, or a place for traces that can't be one.
pub fn start(
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
    ansi: bool,
    traces: Traces<'_>,
) -> Result<Telemetry, String> {
    let traces = traces.url.map(|url| Exporter::new(traces.service, url)).transpose()?;
    let started = from_environment()?;
    let filter = parse(&started)
        .map_err(|error| format!("RUST_LOG is {started:?}: {error}; it takes such as {EXAMPLES}"))?;
    let (filter, handle) = reload::Layer::new(filter);
    let lines = Lines::default();
    let shown = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(ansi).with_target(false);
    let log = shown.and_then(lines.clone()).with_filter(filter);
    tracing_subscriber::registry().with(log).with(traces.as_ref().map(Exporter::layer)).init();
    // The line above ends a process that does it twice.
    let _ = LOG.set(Log { started, filter: handle, lines });
    Ok(Telemetry { _traces: traces })
}

/// A filter from elsewhere. Its values are compared as they are: a regular expression could take any amount of memory.
fn parse(filter: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().with_regex(false).parse(filter)
}

/// RUST_LOG, or what is usual where it says nothing.
fn from_environment() -> Result<String, String> {
    match env::var("RUST_LOG") {
        Ok(told) if !told.trim().is_empty() => Ok(told),
        Ok(_) | Err(VarError::NotPresent) => Ok(USUAL.into()),
        Err(VarError::NotUnicode(told)) => Err(format!("RUST_LOG is {told:?}, which isn't UTF-8")),
    }
}

/// Whether `filter` says in RUST_LOG's language what is shown, such as `debug` or `info,worker=trace`.
///
/// # Errors
/// What is wrong with it.
pub fn check(filter: &str) -> Result<(), String> {
    parse(filter).map(drop).map_err(|error| error.to_string())
}

/// Shows what `filter` says from here on; with an empty one what was shown at the start. One that can't be understood changes nothing.
pub fn show(filter: &str) {
    let Some(log) = LOG.get() else { return };
    let told = if filter.is_empty() { &log.started } else { filter };
    if let Ok(new) = parse(told)
        && log.filter.reload(new).is_err()
    {
        tracing::warn!("the log can't be filtered by {filter:?}: the subscriber is gone");
    }
}

/// The kept lines after the one with the number `after`, as far as they have `bytes` together; and the number of the newest.
pub fn lines(after: u64, bytes: usize) -> (Vec<LogLine>, u64) {
    LOG.get().map(|log| log.lines.after(after, bytes)).unwrap_or_default()
}
