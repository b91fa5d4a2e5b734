//! Type checks of validating policies: what their expressions get wrong about the kinds that they name is told in
//! `status.typeChecking`. It changes nothing in what a policy does. Several servers write the same.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gantry_api::kinds::{self, KindInfo, Kinds};
use gantry_api::status::Status;
use gantry_api::{Value, value};
use gantry_cel::{Environment, Library, Type};
use gantry_store::cache::Scope;
use serde_json::json;
use tracing::warn;

use crate::app::App;
use crate::expressions::{Uses, environment, simple, types};
use crate::pipeline::apply::{self, Configuration};
use crate::request::{Caller, Target, WriteOptions};

const GROUP: &str = "admissionregistration.k8s.io";
/// How long to wait before watching again after a watch ended.
const PAUSE: Duration = Duration::from_millis(200);
/// Kinds of one rule that a policy is checked against; the one that reaches it is the last (upstream's limit).
const KINDS_MAX: usize = 10;
/// As upstream's controller calls itself.
const MANAGER: &str = "validatingadmissionpolicy-status";

fn policies() -> &'static KindInfo {
    kinds::by_resource(GROUP, "v1", "validatingadmissionpolicies").expect("policies are always served")
}

/// Follows policies until the server stops.
pub(crate) async fn run(app: Arc<App>) {
    // Where policies decide nothing, nothing is said of them.
    while app.admission.has("ValidatingAdmissionPolicy") {
        let Err(why) = follow(&app).await;
        warn!(why, "following admission policies broke off, starting again");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn follow(app: &App) -> Result<Infallible, String> {
    let from = app.cache.revision();
    let mut events = app.view(policies()).watch(from, Scope::All).await.map_err(|e| e.to_string())?;
    check_all(app).await.map_err(|status| status.message)?;
    loop {
        events.next().await.map_err(|e| e.to_string())?;
        check_all(app).await.map_err(|status| status.message)?;
    }
}

/// Checks every policy that has changed since it was checked.
async fn check_all(app: &App) -> Result<(), Status> {
    let snapshot = app.view(policies()).snapshot();
    for stored in snapshot.list(None, None) {
        let Ok(policy) = serde_json::from_slice::<Value>(stored.json()) else { continue };
        let generation = value::i64_at(&policy, "metadata.generation").unwrap_or(0);
        if value::i64_at(&policy, "status.observedGeneration") == Some(generation) {
            continue;
        }
        match tell(app, &policy, generation).await {
            Ok(()) => {}
            Err(status) if status.is("NotFound") || status.is("Conflict") => {}
            Err(status) => return Err(status),
        }
    }
    Ok(())
}

async fn tell(app: &App, policy: &Value, generation: i64) -> Result<(), Status> {
    let name = value::str_at(policy, "metadata.name").unwrap_or_default();
    let warnings = warnings(&app.kinds.kinds(), policy);
    let checking = if warnings.is_empty() { json!({}) } else { json!({"expressionWarnings": warnings}) };
    let config = json!({
        "apiVersion": policies().api_version, "kind": policies().kind, "metadata": {"name": name},
        "status": {"observedGeneration": generation, "typeChecking": checking},
    });
    let config = Configuration::parse(&Bytes::from(config.to_string()), true)?;
    let target = Target { subresource: "status", ..Target::new(policies(), "", name) };
    let options = WriteOptions { field_manager: MANAGER.to_owned(), ..WriteOptions::default() };
    apply::apply(app, &Caller::apiserver(), &target, &config, &options).await.map(drop)
}

/// The kinds that the policy names without wildcards, by group, version and kind.
fn named<'k>(served: &'k Kinds, policy: &Value) -> Vec<&'k KindInfo> {
    let mut found = BTreeMap::new();
    'rules: for rule in value::list_at(policy, "spec.matchConstraints.resourceRules") {
        let texts = |key: &str| {
            let mut texts: Vec<&str> = value::list_at(rule, key).iter().filter_map(Value::as_str).collect();
            texts.sort_unstable();
            texts
        };
        let (groups, versions) = (texts("apiGroups"), texts("apiVersions"));
        if groups.iter().chain(&versions).any(|text| text.contains('*')) {
            continue;
        }
        let resources: Vec<String> =
            texts("resources").iter().filter(|r| !r.contains(['*', '/'])).map(|r| r.to_ascii_lowercase()).collect();
        let mut count = 0;
        for group in groups {
            for (version, resource) in versions.iter().flat_map(|v| resources.iter().map(move |r| (v, r))) {
                for kind in served.all().filter(|kind| is_named(kind, group, version, resource)) {
                    found.insert((kind.group, kind.version, kind.kind), kind);
                    count += 1;
                    if count == KINDS_MAX {
                        break 'rules;
                    }
                }
            }
        }
    }
    found.into_values().collect()
}

/// As upstream's REST mapper understands it: no group means any, and the singular does as well.
fn is_named(kind: &KindInfo, group: &str, version: &str, resource: &str) -> bool {
    (group.is_empty() || kind.group == group)
        && kind.version == version
        && (kind.resource == resource || kind.singular == resource)
}

/// What is wrong with the expressions of a policy, by field.
fn warnings(served: &Kinds, policy: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    let kinds = named(served, policy);
    let environments: Vec<(&KindInfo, Environment)> =
        kinds.iter().filter_map(|kind| Some((*kind, environment_for(served, policy, kind)?))).collect();
    for (index, rule) in value::list_at(policy, "spec.validations").iter().enumerate() {
        for field in ["expression", "messageExpression"] {
            let source = value::str_at(rule, field).unwrap_or_default();
            if source.is_empty() {
                continue;
            }
            let issues: Vec<String> = environments
                .iter()
                .filter_map(|(kind, environment)| {
                    let error = environment.compile(source).err().filter(|e| !e.issues().is_empty())?;
                    Some(format!("{}/{}, Kind={}: {error}\n", kind.group, kind.version, kind.kind))
                })
                .collect();
            if !issues.is_empty() {
                let at = format!("spec.validations[{index}].{field}");
                found.push(json!({"fieldRef": at, "warning": issues.join("\n")}));
            }
        }
    }
    found
}

/// What expressions of the policy may use where `object` is of a kind.
fn environment_for(served: &Kinds, policy: &Value, kind: &KindInfo) -> Option<Environment> {
    let object = types::of_kind(kind)?;
    let param = value::get(policy, "spec.paramKind").filter(|p| p.is_object());
    let text = |param: &Value, key: &str| value::str_at(param, key).unwrap_or_default().to_owned();
    let known = param.and_then(|p| served.by_api_version(&text(p, "apiVersion"), &text(p, "kind")));
    // Upstream does not know parameters of a kind that is not served.
    let params = known.and_then(|kind| types::of_kind(&kind));
    // Of the authoriser upstream's checker knows no `requestResource`, and warns of it.
    let uses = Uses { params: params.is_some(), authorizer: false, changes: false };
    let mut environment = environment(uses, &object, &params.unwrap_or(Type::Dyn))
        .library(Library::Authorizer)
        .variable("authorizer", Type::Opaque(gantry_cel::AUTHORIZER))
        .composing();
    for variable in value::list_at(policy, "spec.variables") {
        let compiled = environment.compile(&text(variable, "expression"));
        let ty = compiled.map_or(Type::Dyn, |program| simple(program.result_type()));
        environment = environment.compose(&text(variable, "name"), ty);
    }
    Some(environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_checked_against_the_kinds_that_are_named() {
        let rule = json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments", "replicasets", "deployments/scale"]});
        let policy = |resource_rule: &Value, expression: &str| {
            json!({"spec": {"matchConstraints": {"resourceRules": [resource_rule]},
                "variables": [{"name": "n", "expression": "object.spec.replicas"}],
                "validations": [{"expression": expression}]}})
        };
        assert_eq!(warnings(&Kinds::builtin(), &policy(&rule, "variables.n > 1")), Vec::<Value>::new());
        let found = warnings(&Kinds::builtin(), &policy(&rule, "object.spec.strategy.type == 'Recreate'"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0]["fieldRef"], "spec.validations[0].expression");
        let warning = found[0]["warning"].as_str().expect("text");
        assert!(
            warning.starts_with("apps/v1, Kind=ReplicaSet: ERROR: <input>:1:12: undefined field 'strategy'"),
            "{warning}"
        );
        assert!(!warning.contains("Kind=Deployment"), "{warning}");
        for (kind, expected) in [("ConfigMap", 0), ("Unknown", 1)] {
            let mut with_params = policy(&rule, "params.data.x == 'y'");
            with_params["spec"]["paramKind"] = json!({"apiVersion": "v1", "kind": kind});
            assert_eq!(warnings(&Kinds::builtin(), &with_params).len(), expected, "{kind}");
        }
        let found = warnings(&Kinds::builtin(), &policy(&rule, "authorizer.requestResource.check('get').allowed()"));
        let warning = found[0]["warning"].as_str().expect("text");
        let why = "apps/v1, Kind=Deployment: ERROR: <input>:1:11: unexpected failed resolution of 'kubernetes.authorization.Authorizer'";
        assert!(warning.starts_with(why), "{warning}");
        let asked = "authorizer.group('').resource('pods').check('get').allowed()";
        for right in [asked, "namespaceObject.status.conditions[0].type == 'x'", "variables.n > 1 || request.dryRun"] {
            assert_eq!(warnings(&Kinds::builtin(), &policy(&rule, right)), Vec::<Value>::new(), "{right}");
        }
        for (wrong, why) in [
            ("variables.m > 1", "undefined field 'm'"),
            ("namespaceObject.metadata.uid == ''", "undefined field 'uid'"),
            ("request.object == null", "undefined field 'object'"),
            ("params == null", "undeclared reference to 'params'"),
        ] {
            let found = warnings(&Kinds::builtin(), &policy(&rule, wrong));
            assert!(found[0]["warning"].as_str().is_some_and(|warning| warning.contains(why)), "{found:?}");
        }
        let any = json!({"apiGroups": ["*"], "apiVersions": ["v1"], "resources": ["deployments"]});
        assert_eq!(warnings(&Kinds::builtin(), &policy(&any, "object.nonsense == 1")), Vec::<Value>::new());
    }
    #[test]
    fn kinds_are_named_as_the_rest_mapper_knows_them() {
        let kinds = Kinds::builtin();
        let check = |rules: Value, expected: &[&str]| {
            let policy = json!({"spec": {"matchConstraints": {"resourceRules": rules}}});
            let named = named(&kinds, &policy);
            let named: Vec<String> = named.iter().map(|kind| format!("{} {}", kind.api_version, kind.kind)).collect();
            assert_eq!(named, expected, "{rules}");
        };
        let rule = |group: &str, resources: &[&str]| json!({"apiGroups": [group], "apiVersions": ["v1"], "resources": resources});
        check(json!([rule("", &["events"])]), &["v1 Event", "events.k8s.io/v1 Event"]);
        check(json!([rule("apps", &["Deployment", "pods"])]), &["apps/v1 Deployment"]);
        let many = ["bindings", "configmaps", "endpoints", "limitranges", "namespaces", "nodes"];
        let more = ["persistentvolumes", "persistentvolumeclaims", "pods", "podtemplates", "secrets"];
        let ten = many.iter().chain(&more[..4]).copied().collect::<Vec<_>>();
        let named = named(
            &kinds,
            &json!({"spec": {"matchConstraints": {"resourceRules": [rule("", &[&many[..], &more[..]].concat())]}}}),
        );
        assert_eq!(named.iter().map(|kind| kind.resource).collect::<Vec<_>>(), ten);
    }
}
