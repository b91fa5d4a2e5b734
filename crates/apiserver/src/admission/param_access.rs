//! Whoever lets a policy read objects must be able to read them: the policy's answers tell of them.

use async_trait::async_trait;
use gantry_api::field::{Error, Path};
use gantry_api::status::Status;
use gantry_api::{Value, kinds, value};

use super::{Operation, Plugin, Request};
use crate::auth::{MASTERS, User};
use crate::pipeline::current;
use crate::rbac::rule::Attributes;
use crate::request::Target;

const GROUP: &str = "admissionregistration.k8s.io";

pub(super) struct PolicyParameters;

#[async_trait]
impl Plugin for PolicyParameters {
    fn name(&self) -> &'static str {
        "PolicyParameters"
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        let kind = &request.target.kind;
        let written = matches!(request.operation, Operation::Create | Operation::Update);
        let user = &request.caller.user;
        if kind.group != GROUP || !written || !request.target.subresource.is_empty() || user.in_group(MASTERS) {
            return Ok(());
        }
        let wrong = match kind.kind {
            "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy" => policy(request, object).await,
            "ValidatingAdmissionPolicyBinding" => binding(request, object, "validatingadmissionpolicies").await?,
            "MutatingAdmissionPolicyBinding" => binding(request, object, "mutatingadmissionpolicies").await?,
            _ => None,
        };
        wrong.map_or(Ok(()), |error| Err(Status::invalid(kind.group, kind.kind, &request.target.name, &[error])))
    }
}

/// As Go prints a user.
fn shown(user: &User) -> String {
    let extra: Vec<String> = user.extra.iter().map(|(key, values)| format!("{key}:[{}]", values.join(" "))).collect();
    format!("&{{{} {} [{}] map[{}]}}", user.name, user.uid, user.groups.join(" "), extra.join(" "))
}

fn same(request: &Request<'_>, object: &Value, paths: &[&str]) -> bool {
    request.old.is_some_and(|old| paths.iter().all(|path| value::get(old, path) == value::get(object, path)))
}

/// The right to read objects of the policy's `paramKind`.
fn reading(request: &Request<'_>, param_kind: Option<&Value>, namespace: &str, name: &str) -> Attributes {
    let text = |key: &str| param_kind.and_then(|p| value::str_at(p, key)).unwrap_or_default();
    let (mut group, mut version, mut resource) = ("*", "*", "*");
    if param_kind.is_some() {
        (group, version) = kinds::split_api_version(text("apiVersion"));
        if let Some(kind) = request.app.kinds.kinds().by_kind(group, version, text("kind")) {
            resource = kind.resource;
        }
    }
    Attributes {
        verb: "get".to_owned(),
        group: group.to_owned(),
        version: version.to_owned(),
        resource: resource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..Attributes::default()
    }
}

async fn policy(request: &Request<'_>, object: &Value) -> Option<Error> {
    let kind = value::get(object, "spec.paramKind").filter(|kind| kind.is_object())?;
    if same(request, object, &["spec.paramKind"]) {
        return None;
    }
    let user = &request.caller.user;
    request.app.authorizer.decide(request.app, user, &reading(request, Some(kind), "*", "*")).await.err()?;
    let text = |key: &str| value::str_at(kind, key).unwrap_or_default();
    let why = format!(
        "user {} must have \"get\" permission on all objects of the referenced paramKind (kind={}, apiVersion={})",
        shown(user),
        text("kind"),
        text("apiVersion")
    );
    Some(Error::forbidden(&Path::new("spec").child("paramKind"), &why))
}

async fn binding(request: &Request<'_>, object: &Value, policies: &str) -> Result<Option<Error>, Status> {
    let Some(param) = value::get(object, "spec.paramRef").filter(|param| param.is_object()) else { return Ok(None) };
    if same(request, object, &["spec.paramRef", "spec.policyName"]) {
        return Ok(None);
    }
    let policy = value::str_at(object, "spec.policyName").unwrap_or_default();
    let kind = kinds::by_resource(GROUP, "v1", policies).ok_or_else(Status::no_such_resource)?;
    let stored = current::load(request.app, &Target::new(kind, "", policy)).await?;
    let param_kind = stored.as_ref().and_then(|s| value::get(&s.value, "spec.paramKind")).filter(|k| k.is_object());
    let text = |key: &str| value::str_at(param, key).unwrap_or_default();
    let needed = reading(request, param_kind, text("namespace"), text("name"));
    let user = &request.caller.user;
    Ok(request.app.authorizer.decide(request.app, user, &needed).await.err().map(|_| {
        let why = format!("user {} does not have \"get\" permission on the object referenced by paramRef", shown(user));
        Error::forbidden(&Path::new("spec").child("paramRef"), &why)
    }))
}
