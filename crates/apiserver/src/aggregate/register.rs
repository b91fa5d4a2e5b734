//! APIServices of what this server serves itself, made and kept as upstream's autoregister controller does.
//!
//! A built-in group version is looked at once, when the server starts: who changes its APIService later means it. Those of
//! custom resources follow their definitions all the time. One without the label is its owner's, and is left alone.

use gantry_api::kinds::Kinds;
use gantry_api::priorities::{self, METRICS, Priority, REGISTRATION};
use gantry_api::status::Status;
use gantry_api::{Value, value};
use serde_json::json;

use super::kind;
use crate::app::App;
use crate::bootstrap;
use crate::pipeline::change::{self, Made, Part};
use crate::pipeline::current::Current;
use crate::pipeline::delete;
use crate::pipeline::options::DeleteOptions;
use crate::request::{Caller, Target};

/// Says that an APIService is ours.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
/// The label's value on those that are looked at when a server starts.
const ON_START: &str = "onstart";
/// The label's value on those that are looked at all the time.
const ALWAYS: &str = "true";

/// One APIService that should be there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    name: String,
    spec: Value,
    /// The label's value; `None` = made where it is missing, and nobody's then.
    label: Option<&'static str>,
}

/// What should be there for these kinds.
fn wanted(kinds: &Kinds) -> Vec<Wanted> {
    let served = kinds.group_versions().into_iter().filter(|(group, _)| *group != REGISTRATION);
    let one = |(group, version): (&str, &str)| {
        let (Priority { group: first, version: second }, label) = match priorities::builtin(group, version) {
            Some(place) if group == METRICS => (place, None),
            Some(place) => (place, Some(ON_START)),
            None => (priorities::CUSTOM, Some(ALWAYS)),
        };
        let spec =
            json!({"group": group, "version": version, "groupPriorityMinimum": first, "versionPriority": second});
        Wanted { name: format!("{version}.{group}"), spec, label }
    };
    served.map(one).collect()
}

/// What is to be done about one.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    Create,
    Update,
    Delete,
}

/// Upstream's table: what is there (its label and spec) against what should be.
fn step(there: Option<(&str, &Value)>, wanted: Option<&Wanted>, at_start: bool) -> Step {
    match (there, wanted) {
        (None, Some(wanted)) if at_start || wanted.label != Some(ON_START) => Step::Create,
        (None, _) => Step::Nothing,
        (Some((ALWAYS, _)), None) => Step::Delete,
        (Some((ON_START, _)), None) if at_start => Step::Delete,
        (Some((label, spec)), Some(wanted)) if label == ALWAYS || (label == ON_START && at_start) => {
            let same = label == wanted.label.unwrap_or(label) && spec == &wanted.spec;
            if same { Step::Nothing } else { Step::Update }
        }
        _ => Step::Nothing,
    }
}

/// Makes, changes and removes what has to be; `at_start`: this server has not done so yet.
///
/// # Errors
/// When the store fails.
pub(super) async fn sync(app: &App, at_start: bool) -> Result<(), Status> {
    let wanted = wanted(&app.kinds.kinds());
    let there: Vec<Value> = {
        let snapshot = app.view(kind()).snapshot();
        snapshot.list(None, None).filter_map(|object| serde_json::from_slice(object.json()).ok()).collect()
    };
    let name = |object: &Value| value::str_at(object, "metadata.name").unwrap_or_default().to_owned();
    for one in &wanted {
        let found = there.iter().find(|object| name(object) == one.name);
        match step(found.map(managed).as_ref().map(|(label, spec)| (*label, spec)), Some(one), at_start) {
            Step::Create => create(app, one).await?,
            Step::Update => update(app, one).await?,
            Step::Nothing | Step::Delete => {}
        }
    }
    for object in &there {
        let (label, spec) = managed(object);
        let known = wanted.iter().any(|one| one.name == name(object));
        if !known && step(Some((label, &spec)), None, at_start) == Step::Delete {
            remove(app, &name(object)).await?;
        }
    }
    Ok(())
}

/// The label of an object and what its spec says.
fn managed(object: &Value) -> (&str, Value) {
    let labels = value::map_at(object, "metadata.labels");
    let label = labels.and_then(|labels| labels.get(MANAGED)?.as_str()).unwrap_or_default();
    (label, value::get(object, "spec").cloned().unwrap_or_default())
}

async fn create(app: &App, wanted: &Wanted) -> Result<(), Status> {
    let mut object = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": wanted.name}, "spec": wanted.spec,
    });
    if let Some(label) = wanted.label {
        object["metadata"]["labels"] = json!({MANAGED: label});
    }
    bootstrap::ensure(app, object).await
}

async fn update(app: &App, wanted: &Wanted) -> Result<(), Status> {
    let make = |state: &Current| {
        let mut object = state.value.clone();
        value::set(&mut object, "spec", wanted.spec.clone());
        if let Some(label) = wanted.label
            && let Some(labels) = value::object_mut(&mut object, "metadata.labels")
        {
            labels.insert(MANAGED.to_owned(), label.into());
        }
        Ok(Made { object, warnings: Vec::new() })
    };
    let target = Target::new(kind(), "", &wanted.name);
    match change::by_server(app, &target, Part::Main, &make).await {
        Err(status) if status.code != 404 => Err(status),
        _ => Ok(()),
    }
}

async fn remove(app: &App, name: &str) -> Result<(), Status> {
    let target = Target::new(kind(), "", name);
    match delete::delete(app, &Caller::apiserver(), &target, &DeleteOptions::default()).await {
        Err(status) if status.code != 404 => Err(status),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_is_upstreams_table() {
        let place = |label| Wanted { name: "v1.a".to_owned(), spec: json!({"group": "a"}), label };
        let (start, always, metrics) = (place(Some(ON_START)), place(Some(ALWAYS)), place(None));
        let (same, other) = (json!({"group": "a"}), json!({"group": "a", "service": {}}));
        let check = |there: Option<(&str, &Value)>, wanted: Option<&Wanted>, at_start: bool, expected: Step| {
            assert_eq!(step(there, wanted, at_start), expected, "{there:?} {wanted:?} {at_start}");
        };
        check(None, Some(&start), true, Step::Create);
        check(None, Some(&start), false, Step::Nothing);
        check(None, Some(&always), false, Step::Create);
        check(None, Some(&metrics), false, Step::Create);
        check(Some((ON_START, &other)), Some(&start), true, Step::Update);
        check(Some((ON_START, &other)), Some(&start), false, Step::Nothing);
        check(Some((ON_START, &same)), Some(&start), true, Step::Nothing);
        check(Some((ALWAYS, &other)), Some(&always), false, Step::Update);
        check(Some(("", &other)), Some(&always), true, Step::Nothing);
        check(Some(("", &other)), Some(&metrics), true, Step::Nothing);
        check(Some((ALWAYS, &same)), None, false, Step::Delete);
        check(Some((ON_START, &same)), None, true, Step::Delete);
        check(Some((ON_START, &same)), None, false, Step::Nothing);
        check(Some(("", &same)), None, true, Step::Nothing);
    }

    #[test]
    fn every_group_version_but_the_registrys_own_is_wanted() {
        let all = wanted(&Kinds::builtin());
        let named = |name: &str| all.iter().find(|one| one.name == name);
        assert_eq!(named("v1.").map(|one| one.label), Some(Some(ON_START)));
        assert_eq!(named("v1.apps").map(|one| &one.spec["groupPriorityMinimum"]), Some(&json!(17_800)));
        assert_eq!(named("v1beta1.metrics.k8s.io").map(|one| one.label), Some(None));
        assert_eq!(named("v1.apiregistration.k8s.io"), None);
    }
}
