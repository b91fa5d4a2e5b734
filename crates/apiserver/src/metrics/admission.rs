//! Figures of admission, with upstream's names: how long each step took, and each plugin in it.
//!
//! Most plugins look at a request and are done within a microsecond: to take the time of each would cost more than the plugin. So
//! a step counts how far it came, which says what each plugin did, and only what waits for something is timed by itself.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use gantry_api::status::Status;
use gantry_common::metrics::{Histogram, Page, Snapshot};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Number;

/// Upper bounds of upstream's buckets, in seconds.
static SECONDS: [f64; 6] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5];
/// Operations, as they are shown.
const OPERATIONS: [&str; 4] = ["CREATE", "UPDATE", "DELETE", "CONNECT"];
/// Room for the plugins of a chain.
const PLUGINS_MAX: usize = 64;
/// Chains that are asked in part: all plugins, those that the server brings, the others.
const PARTS: usize = 3;

/// The half of admission that is gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Admit,
    Validate,
}

impl Step {
    const ALL: [Self; 2] = [Self::Admit, Self::Validate];

    fn shown(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Validate => "validate",
        }
    }
}

/// Which steps and operations upstream's plugin is there for. Other plugins are no plugins upstream, and are not shown.
fn is_there(name: &str, step: Step, operation: &str) -> bool {
    let (steps, operations) = match name {
        "NamespaceLifecycle" | "NodeRestriction" => ("a", "CUD"),
        "NamespaceAutoProvision"
        | "TaintNodesByCondition"
        | "DefaultStorageClass"
        | "StorageObjectInUseProtection"
        | "DefaultIngressClass"
        | "PodTopologyLabels" => ("a", "C"),
        "DefaultTolerationSeconds" | "ExtendedResourceToleration" => ("a", "CU"),
        "LimitRanger" | "ServiceAccount" | "AlwaysPullImages" | "PodTolerationRestriction" => ("av", "CU"),
        "PodNodeSelector" | "RuntimeClass" => ("av", "C"),
        "Priority" => ("av", "CUD"),
        "AlwaysDeny" => ("av", "CUDX"),
        "LimitPodHardAntiAffinityTopology"
        | "ImagePolicyWebhook"
        | "PodSecurity"
        | "EventRateLimit"
        | "OwnerReferencesPermissionEnforcement"
        | "DenyServiceExternalIPs"
        | "ResourceQuota" => ("v", "CU"),
        "PersistentVolumeClaimResize" | "CertificateApproval" | "CertificateSigning" => ("v", "U"),
        "CertificateSubjectRestriction" => ("v", "C"),
        "MutatingAdmissionPolicy" | "MutatingAdmissionWebhook" => ("a", "CUDX"),
        "ValidatingAdmissionPolicy" | "ValidatingAdmissionWebhook" => ("v", "CUDX"),
        _ => return false,
    };
    let step = if step == Step::Admit { 'a' } else { 'v' };
    let operation = if operation == "CONNECT" { "X" } else { &operation[..1] };
    steps.contains(step) && operations.contains(operation)
}

/// One step of one operation, with one part of the chain.
#[derive(Debug)]
struct Cell {
    passed: Histogram,
    refused: Histogram,
    /// By whom it was refused.
    refused_by: [Number; PLUGINS_MAX],
}

impl Default for Cell {
    fn default() -> Self {
        let [passed, refused] = [(); 2].map(|()| Histogram::seconds(&SECONDS));
        Self { passed, refused, refused_by: std::array::from_fn(|_| Number::default()) }
    }
}

/// A plugin in a step: its name, the step, the operation, whether it refused.
type Timed = (&'static str, Step, usize, bool);

/// Figures of all admission.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    cells: [[[Cell; PARTS]; OPERATIONS.len()]; 2],
    /// Of plugins that had to wait.
    waited: Mutex<BTreeMap<Timed, Histogram>>,
}

/// A step that is gone through.
pub(crate) struct Passage<'s> {
    steps: &'s Steps,
    step: Step,
    operation: usize,
    part: usize,
    began: Instant,
}

impl Steps {
    /// Begins a step. `operation`, `part`: numbers of the operation (create, update, delete, connect) and of the chain's part.
    pub(crate) fn begin(&self, step: Step, operation: usize, part: usize) -> Passage<'_> {
        Passage { steps: self, step, operation, part, began: Instant::now() }
    }

    fn cell(&self, step: Step, operation: usize, part: usize) -> &Cell {
        &self.cells[usize::from(step == Step::Validate)][operation % OPERATIONS.len()][part % PARTS]
    }

    /// Shows all; `chain`: the plugins in their order, with whether they belong to the last part.
    pub(crate) fn render(&self, page: &mut Page, chain: &[(&'static str, bool)]) {
        let help = "[STABLE] Time of admission, in seconds, by step and operation.";
        let mut family = page.family("apiserver_admission_step_admission_duration_seconds", "histogram", help);
        for step in Step::ALL {
            for (number, operation) in OPERATIONS.iter().enumerate() {
                for (rejected, of) in [("false", Cell::passed as fn(&Cell) -> Snapshot), ("true", Cell::refused)] {
                    let mut sum = Snapshot::empty(&SECONDS);
                    (0..PARTS).for_each(|part| sum.merge(&of(self.cell(step, number, part))));
                    if sum.total() > 0 {
                        let labels = [("operation", *operation), ("rejected", rejected), ("type", step.shown())];
                        family.histogram(&labels, &sum);
                    }
                }
            }
        }
        drop(family);
        let help = "[STABLE] Time of each admission plugin, in seconds, by step and operation; what does not wait takes next to none.";
        let mut family = page.family("apiserver_admission_controller_admission_duration_seconds", "histogram", help);
        for (at, (name, _)) in chain.iter().enumerate() {
            for step in Step::ALL {
                for (number, operation) in OPERATIONS.iter().enumerate().filter(|(_, o)| is_there(name, step, o)) {
                    for (rejected, shown) in [(false, "false"), (true, "true")] {
                        let snapshot = self.plugin(chain, at, (step, number), rejected);
                        if snapshot.total() > 0 {
                            let labels = [
                                ("name", *name),
                                ("operation", operation),
                                ("rejected", shown),
                                ("type", step.shown()),
                            ];
                            family.histogram(&labels, &snapshot);
                        }
                    }
                }
            }
        }
    }

    /// What a plugin did: how often it was asked follows from how far each step came.
    fn plugin(
        &self,
        chain: &[(&'static str, bool)],
        at: usize,
        (step, operation): (Step, usize),
        rejected: bool,
    ) -> Snapshot {
        let (name, is_last) = chain[at];
        let waited = self.waited.lock().get(&(name, step, operation, rejected)).map(Histogram::snapshot);
        let mut times = 0;
        for part in [0, if is_last { 2 } else { 1 }] {
            let cell = self.cell(step, operation, part);
            let by = |numbers: &[Number]| numbers.iter().map(Number::get).sum::<u64>();
            times += if rejected {
                cell.refused_by.get(at).map_or(0, Number::get)
            } else {
                cell.passed.snapshot().total() + by(cell.refused_by.get(at + 1..).unwrap_or_default())
            };
        }
        let mut all = Snapshot::empty(&SECONDS);
        if let Some(waited) = &waited {
            all.merge(waited);
        }
        all.counts[0] += times.saturating_sub(all.total());
        all
    }
}

impl Cell {
    fn passed(&self) -> Snapshot {
        self.passed.snapshot()
    }

    fn refused(&self) -> Snapshot {
        self.refused.snapshot()
    }
}

impl Passage<'_> {
    /// Asks one plugin, and takes the time if it has to wait.
    pub(crate) fn ask(
        &self,
        name: &'static str,
        mut asked: impl Future<Output = Result<(), Status>> + Unpin,
    ) -> impl Future<Output = Result<(), Status>> {
        let mut began = None;
        std::future::poll_fn(move |cx| match Pin::new(&mut asked).poll(cx) {
            Poll::Ready(result) => {
                if let Some(began) = began {
                    self.waited(name, Instant::elapsed(&began), result.is_err());
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                began.get_or_insert_with(Instant::now);
                Poll::Pending
            }
        })
    }

    fn waited(&self, name: &'static str, took: Duration, rejected: bool) {
        let mut waited = self.steps.waited.lock();
        let key = (name, self.step, self.operation, rejected);
        waited.entry(key).or_insert_with(|| Histogram::seconds(&SECONDS)).observe(took);
    }

    /// The step is over; `refused_by`: the place in the chain of the plugin that refused the request.
    pub(crate) fn end(self, refused_by: Option<usize>) {
        let cell = self.steps.cell(self.step, self.operation, self.part);
        let took = self.began.elapsed();
        match refused_by {
            None => cell.passed.observe(took),
            Some(at) => {
                cell.refused.observe(took);
                if let Some(number) = cell.refused_by.get(at) {
                    number.add(1);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn plugins_are_counted_by_how_far_steps_came() {
        let steps = Steps::default();
        let chain = [("NamespaceLifecycle", false), ("LimitRanger", false), ("MutatingAdmissionWebhook", true)];
        steps.begin(Step::Admit, 0, 0).end(None);
        steps.begin(Step::Admit, 0, 0).end(Some(1));
        let slow = steps.begin(Step::Admit, 0, 2);
        let waits = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(())
        };
        slow.ask("MutatingAdmissionWebhook", Box::pin(waits)).await.expect("it lets pass");
        slow.ask("MutatingAdmissionWebhook", std::future::ready(Ok(()))).await.expect("it lets pass");
        slow.end(None);
        let mut page = Page::default();
        steps.render(&mut page, &chain);
        let text = page.text();
        let name = "apiserver_admission_controller_admission_duration_seconds";
        for (plugin, rejected, bound, count) in [
            ("NamespaceLifecycle", "false", "0.005", 2),
            ("LimitRanger", "false", "0.005", 1),
            ("LimitRanger", "true", "0.005", 1),
            ("MutatingAdmissionWebhook", "false", "0.005", 1),
            ("MutatingAdmissionWebhook", "false", "0.1", 2),
        ] {
            let labels = format!("name=\"{plugin}\",operation=\"CREATE\",rejected=\"{rejected}\",type=\"admit\"");
            let line = format!("{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        let step = "apiserver_admission_step_admission_duration_seconds_count";
        assert!(text.contains(&format!("{step}{{operation=\"CREATE\",rejected=\"true\",type=\"admit\"}} 1")), "{text}");
        assert!(
            text.contains(&format!("{step}{{operation=\"CREATE\",rejected=\"false\",type=\"admit\"}} 2")),
            "{text}"
        );
    }
}
