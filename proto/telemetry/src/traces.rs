//! Spans, for an OpenTelemetry collector.

use crate::SPANS;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::{Builder, Runtime};
use tracing::Subscriber;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::{Layer, filter::LevelFilter, registry::LookupSpan};

/// Sends spans, until it is dropped: what is left then is sent first.
#[derive(Debug)]
pub(crate) struct Exporter {
    provider: SdkTracerProvider,
    /// The connection's.
    runtime: Option<Runtime>,
}

impl Exporter {
    /// Sends to the collector at this URL what the process `service` does. Nothing is connected yet, and a collector that does not
    /// answer is no error: spans are lost then.
    pub(crate) fn new(service: &'static str, url: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            format!(
                "{url} is no place for traces: {why}; give http://HOST:PORT of a collector's OTLP receiver for gRPC, often port 4317"
            )
        };
        if !url.starts_with("http://") {
            return Err(wrong("its scheme is not http"));
        }
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("traces").enable_all().build();
        let runtime = runtime.map_err(|error| wrong(&error.to_string()))?;
        let exporter = {
            let _entered = runtime.enter();
            SpanExporter::builder().with_tonic().with_endpoint(url).build()
        };
        let exporter = exporter.map_err(|error| wrong(&error.to_string()))?;
        let process = i64::from(std::process::id());
        let resource = Resource::builder()
            .with_service_name(service)
            .with_attribute(KeyValue::new("process.pid", process));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        Ok(Self { provider, runtime: Some(runtime) })
    }

    /// What hands it the spans of [`SPANS`].
    pub(crate) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
        let only = Targets::new().with_target(SPANS, LevelFilter::TRACE);
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("tandem"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(only)
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!("the last traces were not sent: {error}");
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
