//! Who may change which part of a claim's status (upstream's `DRAResourceClaimGranularStatusAuthorization`, KEP-4817): what is
//! allocated, and for whom, is a scheduler's; what is said of a device is its driver's. The right to the status alone is enough
//! for neither.

use std::collections::BTreeSet;

use async_trait::async_trait;
use gantry_api::field::{Error, Path};
use gantry_api::status::Status;
use gantry_api::{Value, value};

use super::{Operation, Options, Plugin, Request};
use crate::rbac::authorizer;

/// The right to the parts of a claim's status.
pub(super) struct ClaimStatusRights;

#[async_trait]
impl Plugin for ClaimStatusRights {
    fn name(&self) -> &'static str {
        "ResourceClaimStatusAuthorization"
    }

    async fn validate(&self, request: &Request<'_>, new: &Value) -> Result<(), Status> {
        let kind = &request.target.kind;
        let about = (kind.group, kind.kind) == ("resource.k8s.io", "ResourceClaim")
            && request.target.subresource == "status"
            && request.operation == Operation::Update;
        let Some(old) = request.old.filter(|_| about) else { return Ok(()) };
        let mut errors = Vec::new();
        if rebinds(new, old) {
            errors.extend(binding_refusal(request).await);
        }
        let node = allocated_node(new).filter(|node| request.caller.user.node_of_account() == Some(node));
        for driver in changed_drivers(new, old) {
            errors.extend(driver_refusal(request, driver, node.is_some()).await);
        }
        if errors.is_empty() {
            return Ok(());
        }
        Err(Status::invalid(kind.group, kind.kind, &request.target.name, &errors))
    }
}

/// The verb by which the client asked for the change.
fn verb(request: &Request<'_>) -> &'static str {
    match request.options {
        Options::Write(options) if options.patches => "patch",
        _ => "update",
    }
}

/// Why the caller may not have `verb` on this synthetic subresource.
async fn refusal(request: &Request<'_>, verb: &str, namespace: &str, name: &str, subresource: &str) -> Option<String> {
    let user = &request.caller.user;
    let wanted = authorizer::on(&request.target.kind, verb, namespace, name, subresource);
    let why = request.app.authorizer.decide(request.app, user, &wanted).await.err()?;
    Some(authorizer::refused(user, &wanted, &why).message)
}

async fn binding_refusal(request: &Request<'_>) -> Option<Error> {
    let verb = verb(request);
    // Whoever binds claims binds those of the whole cluster.
    let why = refusal(request, verb, "", "", "binding").await?;
    let detail = format!(
        "changing status.allocation or status.reservedFor requires resource=\"resourceclaims/binding\", verb=\"{verb}\" \
         permission: {why}"
    );
    Some(Error::forbidden(&Path::new("status"), &detail))
}

/// A driver's part may be changed from the node that the devices are on with less than from anywhere.
async fn driver_refusal(request: &Request<'_>, driver: &str, is_on_its_node: bool) -> Option<Error> {
    let verb = verb(request);
    let prefixes: &[&str] = if is_on_its_node { &["associated-node", "arbitrary-node"] } else { &["arbitrary-node"] };
    let verbs: Vec<String> = prefixes.iter().map(|prefix| format!("{prefix}:{verb}")).collect();
    let mut first = None;
    for verb in &verbs {
        let why = refusal(request, verb, &request.target.namespace, driver, "driver").await?;
        first.get_or_insert(why);
    }
    let detail = format!(
        "changing status.devices requires resource=\"resourceclaims/driver\", verb=\"[{}]\" permission: {}",
        verbs.join(" "),
        first.unwrap_or_default()
    );
    Some(Error::forbidden(&Path::new("status").child("devices"), &detail))
}

/// What is at `path`; nothing where it is null or empty.
fn at<'a>(claim: &'a Value, path: &str) -> Option<&'a Value> {
    value::get(claim, path).filter(|v| !v.is_null() && v.as_array().is_none_or(|list| !list.is_empty()))
}

fn rebinds(new: &Value, old: &Value) -> bool {
    ["status.allocation", "status.reservedFor"].iter().any(|path| at(new, path) != at(old, path))
}

/// The drivers of which an entry was added, changed or taken away. An entry that went with its allocation was taken away by the
/// server: whoever may end the allocation needs no right of the driver's for that.
fn changed_drivers<'a>(new: &'a Value, old: &'a Value) -> BTreeSet<&'a str> {
    let entries = |claim: &'a Value| value::list_at(claim, "status.devices");
    let is_allocated = |claim: &'a Value, entry: &'a Value| {
        value::list_at(claim, "status.allocation.devices.results").iter().any(|result| id(result) == id(entry))
    };
    let added = entries(new).iter().filter(|entry| !entries(old).contains(entry));
    let gone = entries(old).iter().filter(|entry| {
        let stays = entries(new).iter().any(|other| id(other) == id(entry));
        let was_freed = is_allocated(old, entry) && !is_allocated(new, entry);
        !stays && !was_freed
    });
    added.chain(gone).map(|entry| value::str_at(entry, "driver").unwrap_or_default()).collect()
}

/// What tells devices apart.
fn id(device: &Value) -> [&str; 4] {
    ["driver", "pool", "device", "shareID"].map(|key| value::str_at(device, key).unwrap_or_default())
}

/// The node that the claim's devices are on, where they are on one and it is named.
fn allocated_node(claim: &Value) -> Option<&str> {
    let [term] = value::list_at(claim, "status.allocation.nodeSelector.nodeSelectorTerms") else { return None };
    let [field] = value::list_at(term, "matchFields") else { return None };
    let [node] = value::list_at(field, "values") else { return None };
    let text = |key: &str| value::str_at(field, key).unwrap_or_default();
    let is_name = text("key") == "metadata.name" && text("operator") == "In";
    let alone = value::list_at(term, "matchExpressions").is_empty();
    node.as_str().filter(|node| is_name && alone && !node.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(devices: Value) -> Value {
        json!({"status": {"devices": devices}})
    }

    #[test]
    fn drivers_answer_for_what_changed_of_theirs() {
        let device = |driver: &str, name: &str| json!({"driver": driver, "pool": "p", "device": name});
        let check = |new: Value, old: Value, expected: &[&str]| {
            assert_eq!(changed_drivers(&claim(new.clone()), &claim(old)), expected.iter().copied().collect(), "{new}");
        };
        let mut told = device("a", "1");
        told["data"] = json!({"speed": 1});
        let mut shared = device("a", "1");
        shared["shareID"] = json!("s");
        check(json!([]), json!([]), &[]);
        check(json!([device("a", "1")]), Value::Null, &["a"]);
        check(Value::Null, json!([device("a", "1")]), &["a"]);
        check(json!([device("a", "1"), device("b", "2")]), json!([device("a", "1")]), &["b"]);
        check(json!([told]), json!([device("a", "1")]), &["a"]);
        check(json!([device("a", "1"), shared]), json!([device("a", "1")]), &["a"]);
        check(json!([device("b", "2"), device("a", "1")]), json!([device("a", "1"), device("b", "2")]), &[]);
    }

    #[test]
    fn what_goes_with_its_allocation_needs_no_driver() {
        let device = json!({"driver": "a", "pool": "p", "device": "1"});
        let allocated = |results: Value, devices: Value| json!({"status": {"allocation": {"devices": {"results": results}}, "devices": devices}});
        let old = allocated(json!([device]), json!([device]));
        assert_eq!(changed_drivers(&claim(json!([])), &old), BTreeSet::new());
        assert_eq!(changed_drivers(&allocated(json!([device]), json!([])), &old), BTreeSet::from(["a"]));
    }

    #[test]
    fn binding_is_allocation_and_reservation() {
        let check = |new: Value, old: Value, expected: bool| {
            assert_eq!(rebinds(&json!({"status": new}), &json!({"status": old})), expected, "{new}");
        };
        check(json!({"devices": [{"driver": "a"}], "reservedFor": []}), json!({}), false);
        check(json!({"allocation": {}}), json!({}), true);
        check(json!({"reservedFor": [{"name": "p"}]}), json!({"reservedFor": []}), true);
        check(Value::Null, json!({"allocation": {}}), true);
    }

    #[test]
    fn devices_are_on_a_node_that_is_named_alone() {
        let check = |terms: Value, expected: Option<&str>| {
            let claim = json!({"status": {"allocation": {"nodeSelector": {"nodeSelectorTerms": terms}}}});
            assert_eq!(allocated_node(&claim), expected, "{terms}");
        };
        let field =
            |operator: &str, values: Value| json!({"key": "metadata.name", "operator": operator, "values": values});
        check(json!([{"matchFields": [field("In", json!(["n1"]))]}]), Some("n1"));
        check(json!([{"matchFields": [field("In", json!(["n1", "n2"]))]}]), None);
        check(json!([{"matchFields": [field("NotIn", json!(["n1"]))]}]), None);
        let expression = json!({"key": "zone", "operator": "Exists"});
        check(json!([{"matchFields": [field("In", json!(["n1"]))], "matchExpressions": [expression]}]), None);
        check(json!([{"matchFields": [field("In", json!(["n1"]))]}, {}]), None);
        check(json!([]), None);
    }
}
