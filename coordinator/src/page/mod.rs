//! The live page, the data that it shows, and the metrics for Prometheus. Read-only: no request here changes anything.

mod api;
mod audience;
mod evaluations;
mod past;
mod prometheus;
mod thumbnails;

use crate::{control::Control, membership::Membership};
pub use audience::Audience;
use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use evaluations::Evaluations;
use past::Past;
use proto::exposition;
use serde_json::Value;
use shards::{reader::Reader, store::Folder};
use std::sync::Arc;
use tokio::sync::Mutex;

/// Nothing comes from elsewhere, and nothing is run but what is served here.
const POLICY: &str =
    "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The files of the page, by the path at which they are served.
macro_rules! assets {
    ($($name:literal),* $(,)?) => {
        &[
            ("/", include_str!("assets/index.html")),
            $((concat!("/", $name), include_str!(concat!("assets/", $name)))),*
        ]
    };
}

const ASSETS: &[(&str, &str)] = assets![
    "canvas.js",
    "chart.js",
    "curves.js",
    "dom.js",
    "evaluation.js",
    "events.js",
    "format.js",
    "generations.js",
    "header.js",
    "lanes.js",
    "phases.js",
    "pictures.css",
    "poll.js",
    "quarantine.js",
    "scale.js",
    "script.js",
    "sections.css",
    "spans-worker.js",
    "spans.js",
    "style.css",
    "tables.css",
    "workers.js",
];

fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.') {
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        _ => "text/html; charset=utf-8",
    }
}

/// What a run has beside its decisions that the page shows.
pub struct Beside {
    /// Its dataset, for images.
    pub rows: Reader,
    /// Its output, for evaluations.
    pub output: Folder,
    /// Told when somebody looks.
    pub audience: Arc<Audience>,
}

/// What the page shows.
struct View {
    control: Arc<Control>,
    rows: Option<Reader>,
    past: Mutex<Past>,
    evaluations: Option<Mutex<Evaluations>>,
    audience: Arc<Audience>,
}

/// The page of a run.
pub fn router(control: Arc<Control>, beside: Option<Beside>) -> Router {
    let past = Mutex::new(Past::new(control.trail()));
    let evaluations = beside.as_ref().map(|beside| Mutex::new(Evaluations::new(&beside.output)));
    let audience = beside.as_ref().map(|beside| beside.audience.clone()).unwrap_or_default();
    let view = View { control, past, evaluations, audience, rows: beside.map(|beside| beside.rows) };
    let mut router = Router::new();
    for (path, text) in ASSETS {
        router = router.route(path, get(async move || typed(kind(path), *text)));
    }
    router
        .route("/metrics", get(metrics))
        .route("/api/run", get(run))
        .route("/api/series", get(async |State(view): State<Arc<View>>| json(&api::series(&view.control))))
        .route("/api/events", get(events))
        .route("/api/generations", get(generations))
        .route(
            "/api/quarantine",
            get(async |State(view): State<Arc<View>>| json(&api::quarantine(&view.control))),
        )
        .route("/api/rows/{row}/image", get(image))
        .route("/api/evaluation", get(evaluation))
        .route("/api/evaluation/{step}/grid", get(grid))
        .with_state(Arc::new(view))
}

async fn metrics(State(view): State<Arc<View>>) -> Response {
    typed(exposition::CONTENT_TYPE, prometheus::text(&view.control))
}

async fn run(State(view): State<Arc<View>>) -> Response {
    view.audience.looks();
    let mut past = view.past.lock().await;
    match past.catch_up().await {
        Ok(()) => json(&api::run(&view.control, past.events().len(), evaluated(&view).await)),
        Err(error) => unavailable(&error),
    }
}

/// How many evaluations there are. A store that does not answer hides none of the rest.
async fn evaluated(view: &View) -> usize {
    let Some(evaluations) = &view.evaluations else { return 0 };
    let newest = view.control.look(Membership::newest_committed);
    let counted = evaluations.lock().await.catch_up(newest).await;
    counted.inspect_err(|error| tracing::debug!("no evaluations: {error}")).unwrap_or_default()
}

async fn evaluation(State(view): State<Arc<View>>) -> Response {
    evaluated(&view).await;
    match &view.evaluations {
        Some(evaluations) => json(&evaluations.lock().await.all()),
        None => json(&Value::Null),
    }
}

async fn grid(State(view): State<Arc<View>>, Path(step): Path<u64>) -> Response {
    let Some(evaluations) = &view.evaluations else { return StatusCode::NOT_FOUND.into_response() };
    match evaluations.lock().await.grid(step).await {
        Ok(Some(bytes)) => typed("image/png", bytes),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => unavailable(&error),
    }
}

async fn events(State(view): State<Arc<View>>) -> Response {
    let mut past = view.past.lock().await;
    match past.catch_up().await {
        Ok(()) => json(&api::events(past.events())),
        Err(error) => unavailable(&error),
    }
}

async fn generations(State(view): State<Arc<View>>) -> Response {
    let mut past = view.past.lock().await;
    match past.catch_up().await {
        Ok(()) => json(&api::generations(past.events())),
        Err(error) => unavailable(&error),
    }
}

async fn image(State(view): State<Arc<View>>, Path(row): Path<u64>) -> Response {
    let quarantined = view.control.recorder().quarantined().iter().any(|one| one.row == row);
    let Some(reader) = view.rows.as_ref().filter(|_| quarantined) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match thumbnails::stored(reader, row).await {
        Some((kind, bytes)) => typed(kind, bytes),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn unavailable(error: &dyn std::fmt::Display) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response()
}

fn json(value: &Value) -> Response {
    typed("application/json", value.to_string())
}

fn typed(kind: &'static str, body: impl IntoResponse) -> Response {
    let fixed = |name: HeaderName, value| (name, HeaderValue::from_static(value));
    let headers = HeaderMap::from_iter([
        fixed(header::CONTENT_TYPE, kind),
        fixed(header::CONTENT_SECURITY_POLICY, POLICY),
        fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        fixed(header::REFERRER_POLICY, "no-referrer"),
        fixed(header::CACHE_CONTROL, "no-store"),
    ]);
    (headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/page/assets");
        let names =
            fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut there: Vec<String> =
            names.map(|name| if name == "index.html" { "/".into() } else { format!("/{name}") }).collect();
        let mut served: Vec<String> = ASSETS.iter().map(|(path, _)| (*path).to_owned()).collect();
        there.sort();
        served.sort();
        assert_eq!(served, there);
    }
}
