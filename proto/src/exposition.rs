//! Metrics as Prometheus reads them: OpenMetrics text, all names with the prefix `tandem_`, in base units.

use prometheus_client::encoding::text;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

/// The content type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Names and values of labels.
type Labels = Vec<(String, String)>;

/// The metrics of one moment.
pub struct Exposition {
    registry: Registry,
}

impl Default for Exposition {
    fn default() -> Self {
        Self { registry: Registry::with_prefix("tandem") }
    }
}

impl Exposition {
    /// A value that goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        self.registry.register(name, help, gauge);
    }

    /// A value that only grows; its name gets the suffix `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: f64) {
        let counter = Counter::<f64, AtomicU64>::default();
        counter.inc_by(value);
        self.registry.register(name, help, counter);
    }

    /// Values that differ in labels.
    pub fn gauges(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, f64)>) {
        let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).set(value);
        }
        self.registry.register(name, help, family);
    }

    /// Growing values that differ in labels.
    pub fn counters(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, f64)>) {
        let family = Family::<Labels, Counter<f64, AtomicU64>>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).inc_by(value);
        }
        self.registry.register(name, help, family);
    }

    /// All of them.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

/// Labels from names and values. The values come from anywhere, and `prometheus-client` writes them as they are.
pub fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    pairs.map(|(name, value)| (name.to_owned(), escaped(value))).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prometheus_reads() {
        let mut exposition = Exposition::default();
        exposition.gauge("step", "Committed updates", 3.0);
        exposition.counters("state_seconds", "Time", [(labels([("state", "a\"b\n")]), 1.5)]);
        let text = exposition.text();
        assert!(text.contains("# TYPE tandem_step gauge\ntandem_step 3.0\n"), "{text}");
        assert!(text.contains("tandem_state_seconds_total{state=\"a\\\"b\\n\"} 1.5\n"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
