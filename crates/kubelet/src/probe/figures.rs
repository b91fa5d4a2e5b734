//! How often probes were made, by what they said, with upstream's names.

use std::collections::BTreeMap;

use gantry_common::metrics::{Page, float};
use parking_lot::Mutex;

use super::{Answer, Subject, Which};

/// Results, as they are shown.
const RESULTS: [&str; 3] = ["successful", "failed", "unknown"];

/// One probe of one container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    namespace: String,
    pod: String,
    pod_uid: String,
    container: String,
    probe_type: &'static str,
}

impl Key {
    fn of(subject: &Subject, which: Which) -> Self {
        let meta = &subject.pod.metadata;
        Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            pod: meta.name.clone().unwrap_or_default(),
            pod_uid: meta.uid.clone().unwrap_or_default(),
            container: subject.spec.name.clone(),
            probe_type: which.title(),
        }
    }
}

/// All probes that are being made.
#[derive(Debug, Default)]
pub(crate) struct Figures(Mutex<BTreeMap<Key, [u64; RESULTS.len()]>>);

impl Figures {
    /// A probe was made.
    pub(super) fn count(&self, subject: &Subject, which: Which, answer: &Answer) {
        let at = match answer {
            Answer::Success => 0,
            Answer::Failure(_) => 1,
            Answer::Error(_) => 2,
        };
        self.0.lock().entry(Key::of(subject, which)).or_default()[at] += 1;
    }

    /// A probe is made no more.
    pub(super) fn forget(&self, subject: &Subject, which: Which) {
        self.0.lock().remove(&Key::of(subject, which));
    }

    /// Shows all.
    pub(crate) fn render(&self, page: &mut Page) {
        let help = "[BETA] Probes of containers that were made, by what they said.";
        let mut family = page.family("prober_probe_total", "counter", help);
        for (key, counts) in self.0.lock().iter() {
            for (result, count) in RESULTS.iter().zip(counts).filter(|(_, count)| **count > 0) {
                let labels = [
                    ("container", key.container.as_str()),
                    ("namespace", &key.namespace),
                    ("pod", &key.pod),
                    ("pod_uid", &key.pod_uid),
                    ("probe_type", key.probe_type),
                    ("result", result),
                ];
                family.sample(&labels, float(*count));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use k8s_openapi::api::core::v1::{Container, Pod};

    use super::*;

    #[test]
    fn probes_are_counted_until_they_end() {
        let mut pod = Pod::default();
        pod.metadata.name = Some("p".into());
        pod.metadata.namespace = Some("n".into());
        pod.metadata.uid = Some("u".into());
        let subject = Subject {
            pod: Arc::new(pod),
            spec: Container { name: "c".into(), ..Container::default() },
            id: "id".into(),
            ip: None,
            started_at: Timestamp::UNIX_EPOCH,
            started: true,
            ready: true,
        };
        let figures = Figures::default();
        for answer in [Answer::Success, Answer::Success, Answer::Failure("no".into())] {
            figures.count(&subject, Which::Readiness, &answer);
        }
        figures.count(&subject, Which::Liveness, &Answer::Success);
        figures.forget(&subject, Which::Liveness);
        let mut page = Page::default();
        figures.render(&mut page);
        let labels = "container=\"c\",namespace=\"n\",pod=\"p\",pod_uid=\"u\",probe_type=\"Readiness\"";
        let text = page.text();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let line = |result: &str, count: u64| format!("prober_probe_total{{{labels},result=\"{result}\"}} {count}");
        assert_eq!(samples, [line("successful", 2), line("failed", 1)]);
    }
}
