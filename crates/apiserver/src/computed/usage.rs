//! `NodeMetrics` and `PodMetrics` of what a node says.

use std::sync::Arc;

use gantry_api::quantity::{Format, Quantity};
use gantry_api::stats::{NodeStats, PodStats, Usage};
use gantry_api::status::Status;
use gantry_api::{Object as Map, Value, duration};
use gantry_store::Meta;
use gantry_store::cache::Object;
use jiff::Timestamp;
use serde_json::json;

/// What a node uses.
pub(super) fn node(node: &Meta, stats: &NodeStats, now: Timestamp) -> Result<Arc<Object>, Status> {
    let mut object = head("NodeMetrics", node, &stats.node, now);
    object["usage"] = usage(&stats.node);
    super::encoded(&object)
}

/// What a pod uses; nothing for one without a running container.
pub(super) fn pod(pod: &Meta, stats: &PodStats, now: Timestamp) -> Option<Result<Arc<Object>, Status>> {
    // The oldest reading counts for all.
    let oldest = stats.containers.iter().min_by(|a, b| a.time.cmp(&b.time))?;
    let mut object = head("PodMetrics", pod, oldest, now);
    object["metadata"]["namespace"] = (*pod.namespace).into();
    object["containers"] = stats.containers.iter().map(|c| json!({"name": c.name, "usage": usage(c)})).collect();
    Some(super::encoded(&object))
}

fn head(kind: &str, of: &Meta, reading: &Usage, now: Timestamp) -> Value {
    let labels: Map = of.labels.iter().map(|(key, value)| (key.to_string(), Value::from(&**value))).collect();
    let mut metadata = json!({"name": &*of.name, "creationTimestamp": seconds(now)});
    if !labels.is_empty() {
        metadata["labels"] = Value::Object(labels);
    }
    let time = reading.time.parse::<Timestamp>().map_or_else(|_| seconds(now), seconds);
    json!({
        "kind": kind, "apiVersion": "metrics.k8s.io/v1beta1", "metadata": metadata,
        "timestamp": time, "window": window(reading.window_seconds),
    })
}

fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

/// Milliseconds are exact enough for people and HPA alike.
fn window(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "clamped to what fits")]
    let milliseconds = (seconds * 1000.0).clamp(0.0, 1e12).round() as i64;
    duration::go(milliseconds * 1_000_000)
}

fn usage(reading: &Usage) -> Value {
    let cpu = Quantity::parse(&format!("{}n", reading.cpu_nano_cores)).unwrap_or(Quantity::ZERO);
    let memory = i64::try_from(reading.memory_working_set_bytes).unwrap_or(i64::MAX);
    json!({"cpu": cpu.to_string(), "memory": Quantity::from_value(memory, Format::BinarySi).to_string()})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(name: &str, time: &str, cpu: u64, memory: u64) -> Usage {
        Usage {
            name: name.to_owned(),
            time: time.to_owned(),
            window_seconds: 10.25,
            cpu_nano_cores: cpu,
            memory_working_set_bytes: memory,
            ..Usage::default()
        }
    }

    #[test]
    fn readings_become_quantities() {
        let meta = Meta { name: "p".into(), namespace: "ns".into(), ..Meta::default() };
        let stats = PodStats {
            containers: vec![
                reading("a", "2026-01-01T00:00:09.5Z", 1_500_000, 3 << 20),
                reading("b", "2026-01-01T00:00:08Z", 1_234_567, 5000),
            ],
            ..PodStats::default()
        };
        let made = pod(&meta, &stats, Timestamp::UNIX_EPOCH).expect("containers").expect("an object");
        let object: Value = serde_json::from_slice(&made.encoded().to_bytes(0)).expect("JSON");
        assert_eq!(
            object,
            json!({"kind": "PodMetrics", "apiVersion": "metrics.k8s.io/v1beta1",
                "metadata": {"name": "p", "namespace": "ns", "creationTimestamp": "1970-01-01T00:00:00Z"},
                "timestamp": "2026-01-01T00:00:08Z", "window": "10.25s", "containers": [
                    {"name": "a", "usage": {"cpu": "1500u", "memory": "3Mi"}},
                    {"name": "b", "usage": {"cpu": "1234567n", "memory": "5000"}}]})
        );
        assert!(pod(&meta, &PodStats::default(), Timestamp::UNIX_EPOCH).is_none());
    }
}
