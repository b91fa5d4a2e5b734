//! Evicting a pod: deleting it only where no disruption budget would be violated.

use gantry_api::selector::LabelSelector;
use gantry_api::status::Status;
use gantry_api::table::TypeRef;
use gantry_api::{Object, Value, kinds, value};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::json;

use super::change::{Change, Made, Part, uid_differs};
use super::current::{self, Current};
use super::decode::{self, Expected};
use super::options::{By, DeleteOptions};
use super::{Written, delete, metadata, read};
use crate::admission::{Request, node_restriction};
use crate::app::App;
use crate::registry::pod;
use crate::request::{Caller, Payload, Target, WriteOptions};

/// Tries against other writers of the pod.
const TRIES: usize = 20;
/// When a client may ask again, in seconds.
const RETRY_AFTER: i32 = 10;
/// Evictions that the budget's controller has not confirmed yet.
const UNCONFIRMED: usize = 2000;
/// What a blocked client is told.
const BLOCKED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

/// Evicts the pod that the target names.
///
/// # Errors
/// 429 while the pod's budget allows no disruption; otherwise what reads and deletions say.
pub(crate) async fn evict(
    app: &App,
    caller: &Caller,
    target: &Target,
    payload: &Payload,
    options: &WriteOptions,
) -> Result<Written, Status> {
    let expected =
        Expected { group: "policy", version: "v1", kind: "Eviction", ty: TypeRef::Name("policy/v1.Eviction") };
    let mut decoded = decode::object_or(payload, expected, "policy/v1beta1", options.field_validation)?;
    let named = value::str_at(&decoded.object, "metadata.name").unwrap_or_default();
    if !named.is_empty() && named != target.name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    decode::place(&mut decoded.object, &target.kind, &target.namespace, &target.name)?;
    let none = Value::Null;
    let mut deletion = DeleteOptions::from_value(value::get(&decoded.object, "deleteOptions").unwrap_or(&none))?;
    deletion.dry_run |= options.dry_run;
    deletion.by = By::Server;
    let asked = Request { dry_run: deletion.dry_run, ..Request::creating(app, caller, target, options) };
    node_restriction::may_evict(&asked).await?;
    asked.admit_other(&mut decoded.object).await?;
    let target = Target { subresource: "", ..target.clone() };
    let eviction = Eviction { app, caller, target: &target, options, deletion: &deletion };
    let mut paid = None;
    for _ in 0..TRIES {
        match eviction.attempt(&mut paid).await {
            // The pod has changed since it was judged; a version that the client asked for is another matter.
            Err(status) if status.is("Conflict") && deletion.resource_version.is_none() && deletion.uid.is_none() => {}
            result => return result.map(|()| done(decoded.warnings)),
        }
    }
    Err(target.stale())
}

fn done(warnings: Vec<String>) -> Written {
    let mut status = Status::failure(201, "", "");
    "Success".clone_into(&mut status.status);
    Written { code: StatusCode::CREATED, warnings, ..Written::status(status) }
}

struct Eviction<'a> {
    app: &'a App,
    caller: &'a Caller,
    /// The pod.
    target: &'a Target,
    options: &'a WriteOptions,
    deletion: &'a DeleteOptions,
}

/// What one budget says of a pod.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The pod does not count any more: it may go as it is.
    Free,
    /// It may go if the budget still allows a disruption.
    Counted,
}

impl Eviction<'_> {
    /// Judges the pod and lets it go. `paid` remembers the uid of the pod for which a disruption was taken: the budget pays
    /// for a pod once, however often others change it meanwhile.
    async fn attempt(&self, paid: &mut Option<String>) -> Result<(), Status> {
        let pod = current::reload(self.app, self.target).await?.ok_or_else(|| self.target.not_found())?;
        let uid = value::str_at(&pod.value, "metadata.uid").unwrap_or_default();
        let judged = if paid.as_deref() == Some(uid) { None } else { self.judge(&pod, paid).await? };
        let mut deletion = self.deletion.clone();
        if deletion.resource_version.is_none() {
            deletion.resource_version = judged.map(|version| version.to_string());
        }
        if !self.deletion.dry_run {
            let written = self.announce(&deletion).await?;
            // What was announced is the state that was judged, with a condition more. Where no state is required, none is:
            // the kubelet may go on reporting.
            if deletion.resource_version.is_some() {
                deletion.resource_version = written.map(|version| version.to_string());
            }
        }
        delete::delete(self.app, self.caller, self.target, &deletion).await.map(drop)
    }

    /// Pays for the pod's end where that disrupts anything. Returns the revision that the pod must still have, where that is
    /// why it may go without.
    async fn judge(&self, pod: &Current, paid: &mut Option<String>) -> Result<Option<u64>, Status> {
        if is_no_disruption(&pod.value) {
            return Ok(must_stay(&pod.value).then_some(pod.revision));
        }
        let budgets = self.budgets(&pod.value).await?;
        match budgets.as_slice() {
            [] => Ok(None),
            [budget] => match verdict(&pod.value, &budget.value) {
                Verdict::Free => Ok(Some(pod.revision)),
                Verdict::Counted => {
                    self.take(budget).await?;
                    *paid = value::str_at(&pod.value, "metadata.uid").map(str::to_owned);
                    Ok(None)
                }
            },
            _ => {
                let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not \
                           support.";
                Err(Status::failure(500, "", why))
            }
        }
    }

    /// The budgets whose selector matches the pod.
    async fn budgets(&self, pod: &Value) -> Result<Vec<Current>, Status> {
        let kind = kinds::by_resource("policy", "v1", "poddisruptionbudgets").ok_or_else(Status::no_such_resource)?;
        read::settle(self.app, None).await?;
        let empty = Object::new();
        let labels = value::map_at(pod, "metadata.labels").unwrap_or(&empty);
        let mut found = Vec::new();
        for object in self.app.view(kind).snapshot().list(Some(&self.target.namespace), None) {
            let budget = Current::from_object(object)?;
            let selector = value::get(&budget.value, "spec.selector").filter(|s| !s.is_null());
            if selector.is_some_and(|s| selects(s, labels)) {
                found.push(budget);
            }
        }
        Ok(found)
    }

    /// Takes one of the disruptions that the budget allows.
    async fn take(&self, budget: &Current) -> Result<(), Status> {
        let kind = kinds::by_resource("policy", "v1", "poddisruptionbudgets").ok_or_else(Status::no_such_resource)?;
        let name = value::str_at(&budget.value, "metadata.name").unwrap_or_default();
        let target = Target { subresource: "status", ..Target::new(kind, &self.target.namespace, name) };
        let now = self.app.clock.now();
        let make = |state: &Current| {
            let object = taken(&state.value, &self.target.name, now)?;
            Ok(Made { object, warnings: Vec::new() })
        };
        let options = WriteOptions { dry_run: self.deletion.dry_run, ..self.options.clone() };
        let caller = Caller::apiserver();
        let change = Change {
            caller: &caller,
            target: &target,
            options: &options,
            part: Part::System,
            version_required: false,
            make: &make,
        };
        change.run(self.app).await.map(drop)
    }

    /// Says in the pod's status why it goes, if it is what the deletion requires; returns the version that was written.
    async fn announce(&self, deletion: &DeleteOptions) -> Result<Option<u64>, Status> {
        let now = metadata::time(self.app.clock.now());
        let make = |state: &Current| {
            let uid = value::str_at(&state.value, "metadata.uid").unwrap_or_default();
            if let Some(wanted) = deletion.uid.as_deref().filter(|wanted| *wanted != uid) {
                return Err(uid_differs(self.target, wanted, uid));
            }
            if deletion.resource_version.as_ref().is_some_and(|wanted| *wanted != state.revision.to_string()) {
                return Err(self.target.stale());
            }
            let mut object = state.value.clone();
            pod::set_condition(
                &mut object,
                "DisruptionTarget",
                "EvictionByEvictionAPI",
                "Eviction API: evicting",
                &now,
            );
            Ok(Made { object, warnings: Vec::new() })
        };
        let target = Target { subresource: "status", ..self.target.clone() };
        let caller = Caller::apiserver();
        let change = Change {
            caller: &caller,
            target: &target,
            options: self.options,
            part: Part::System,
            version_required: false,
            make: &make,
        };
        let written = change.run(self.app).await?;
        Ok(match written.outcome {
            super::Outcome::Object { revision, .. } => Some(revision),
            _ => None,
        })
    }
}

fn selects(selector: &Value, labels: &Object) -> bool {
    LabelSelector::from_value(selector).is_ok_and(|s| s.matches(labels))
}

/// Whether a pod's end disrupts nothing: it has not begun, or it has ended, or it ends already.
fn is_no_disruption(pod: &Value) -> bool {
    matches!(value::str_at(pod, "status.phase"), Some("Succeeded" | "Failed" | "Pending")) || metadata::is_deleting(pod)
}

/// Whether a pod whose end disrupts nothing could still come to count: one that has begun to end does not.
fn must_stay(pod: &Value) -> bool {
    value::str_at(pod, "status.phase") == Some("Pending") && !metadata::is_deleting(pod)
}

fn verdict(pod: &Value, budget: &Value) -> Verdict {
    if pod::is_ready(pod) {
        return Verdict::Counted;
    }
    let count = |key: &str| value::i64_at(budget, &format!("status.{key}")).unwrap_or(0);
    let always = value::str_at(budget, "spec.unhealthyPodEvictionPolicy") == Some("AlwaysAllow");
    let met = count("currentHealthy") >= count("desiredHealthy") && count("desiredHealthy") > 0;
    if always || met { Verdict::Free } else { Verdict::Counted }
}

/// The budget with one disruption fewer, which this pod used.
fn taken(budget: &Value, pod: &str, now: Timestamp) -> Result<Value, Status> {
    let number = |path: &str| value::i64_at(budget, path).unwrap_or(0);
    let name = value::str_at(budget, "metadata.name").unwrap_or_default();
    let caused = |status: Status, cause: &str| Err(status.with_cause("DisruptionBudget", cause, ""));
    let forbidden = |why: &str, cause: &str| {
        let cause = format!("The disruption budget {name} does not allow evicting pods currently: {cause}");
        caused(Status::forbidden("policy", "poddisruptionbudget", name, why), &cause)
    };
    if number("status.observedGeneration") < number("metadata.generation") {
        let cause = format!("The disruption budget {name} is still being processed by the server.");
        return caused(Status::too_many_requests(BLOCKED, RETRY_AFTER), &cause);
    }
    let allowed = number("status.disruptionsAllowed");
    if allowed < 0 {
        let why = "pdb disruptions allowed is negative";
        return forbidden(why, why);
    }
    if value::map_at(budget, "status.disruptedPods").map_or(0, Object::len) > UNCONFIRMED {
        let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
        return forbidden(why, "too many pending evictions not confirmed by PDB controller");
    }
    if allowed == 0 {
        return caused(Status::too_many_requests(BLOCKED, RETRY_AFTER), &used_up(budget, name));
    }
    let mut next = budget.clone();
    value::set(&mut next, "status.disruptionsAllowed", allowed - 1);
    if let Some(disrupted) = value::object_mut(&mut next, "status.disruptedPods") {
        disrupted.insert(pod.to_owned(), metadata::time(now).into());
    }
    if allowed == 1 {
        disallow(&mut next, now);
    }
    Ok(next)
}

/// Why a budget allows no disruption.
fn used_up(budget: &Value, name: &str) -> String {
    let number = |path: &str| value::i64_at(budget, path).unwrap_or(0);
    let (needed, there) = (number("status.desiredHealthy"), number("status.currentHealthy"));
    let mut conditions = value::list_at(budget, "status.conditions").iter();
    let condition = conditions.find(|condition| value::str_at(condition, "type") == Some("DisruptionAllowed"));
    let said = |key: &str| condition.and_then(|condition| value::str_at(condition, key)).unwrap_or_default();
    let (reason, message) = (said("reason"), said("message"));
    let is_told = said("status") == "False" && !message.is_empty();
    let none = format!("The disruption budget {name} does not allow evicting pods currently");
    // The numbers are not to be trusted where they could not be counted.
    if is_told && reason == "SyncFailed" {
        format!("{none} because it failed sync: {message}")
    } else if there <= needed {
        format!("The disruption budget {name} needs {needed} healthy pods and has {there} currently")
    } else if is_told {
        format!("{none} ({reason}): {message}")
    } else {
        none
    }
}

/// The condition of a budget that allows nothing more.
fn disallow(budget: &mut Value, now: Timestamp) {
    let generation = value::i64_at(budget, "metadata.generation").unwrap_or(0);
    let condition = json!({
        "type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": "",
        "observedGeneration": generation, "lastTransitionTime": metadata::time(now),
    });
    let Some(status) = value::object_mut(budget, "status") else { return };
    let list = status.entry("conditions").or_insert_with(|| json!([]));
    let Some(list) = list.as_array_mut() else { return };
    match list.iter_mut().find(|c| c["type"] == "DisruptionAllowed") {
        Some(known) if known["status"] == "False" => {}
        Some(known) => *known = condition,
        None => list.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(status: Value) -> Value {
        json!({"metadata": {"name": "b", "generation": 2}, "status": status})
    }

    #[test]
    fn a_budget_counts_down_to_nothing() {
        let now = Timestamp::from_second(0).expect("in range");
        let next =
            taken(&budget(json!({"observedGeneration": 2, "disruptionsAllowed": 1})), "p", now).expect("allowed");
        assert_eq!(next["status"]["disruptionsAllowed"], 0);
        assert_eq!(next["status"]["disruptedPods"], json!({"p": "1970-01-01T00:00:00Z"}));
        assert_eq!(next["status"]["conditions"][0]["reason"], "InsufficientPods");
        let check = |status: Value, code: u16, cause: &str| {
            let refused = taken(&budget(status), "p", now).expect_err("refused");
            assert_eq!(refused.code, code, "{refused}");
            let causes = refused.details.map(|d| d.causes).unwrap_or_default();
            assert!(causes.iter().any(|c| c.message.contains(cause)) || refused.message.contains(cause), "{cause}");
        };
        check(json!({"observedGeneration": 1, "disruptionsAllowed": 1}), 429, "still being processed");
        check(
            json!({"observedGeneration": 2, "disruptionsAllowed": 0, "desiredHealthy": 3, "currentHealthy": 2}),
            429,
            "The disruption budget b needs 3 healthy pods and has 2 currently",
        );
        let blocked = |current: i64, condition: Value| {
            json!({"observedGeneration": 2, "disruptionsAllowed": 0, "desiredHealthy": 2, "currentHealthy": current,
                "conditions": [condition]})
        };
        let condition = |reason: &str, message: &str| json!({"type": "DisruptionAllowed", "status": "False", "reason": reason, "message": message});
        let none = "The disruption budget b does not allow evicting pods currently";
        check(
            blocked(1, condition("SyncFailed", "no scale")),
            429,
            &format!("{none} because it failed sync: no scale"),
        );
        check(blocked(2, condition("InsufficientPods", "few")), 429, "needs 2 healthy pods and has 2 currently");
        check(blocked(3, condition("InsufficientPods", "few")), 429, &format!("{none} (InsufficientPods): few"));
        check(blocked(3, condition("InsufficientPods", "")), 429, none);
        let why = format!("{none}: pdb disruptions allowed is negative");
        check(json!({"observedGeneration": 2, "disruptionsAllowed": -1}), 403, &why);
    }

    #[test]
    fn pods_that_are_not_ready_may_go_while_the_budget_is_met() {
        let pod = |ready: &str| json!({"status": {"conditions": [{"type": "Ready", "status": ready}]}});
        let met = json!({"status": {"currentHealthy": 2, "desiredHealthy": 2}});
        let unmet = json!({"status": {"currentHealthy": 1, "desiredHealthy": 2}});
        let always = json!({"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}});
        assert_eq!(verdict(&pod("True"), &met), Verdict::Counted);
        assert_eq!(verdict(&pod("False"), &met), Verdict::Free);
        assert_eq!(verdict(&pod("False"), &unmet), Verdict::Counted);
        assert_eq!(verdict(&pod("False"), &always), Verdict::Free);
        assert!(is_no_disruption(&json!({"status": {"phase": "Pending"}})));
        assert!(!is_no_disruption(&json!({"status": {"phase": "Running"}})));
    }
}
