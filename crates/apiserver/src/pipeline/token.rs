//! `serviceaccounts/{name}/token`: issuing tokens bound to what they are for.

use gantry_api::status::Status;
use gantry_api::table::TypeRef;
use gantry_api::{Value, kinds, managed, value};
use http::StatusCode;
use serde_json::json;

use super::change::managed_write;
use super::decode::{self, Expected};
use super::{Written, current, metadata};
use crate::admission::Request;
use crate::app::App;
use crate::auth::service_account::{Binding, Bound, Claims};
use crate::request::{Caller, Payload, Target, WriteOptions};

mod audience;

/// Shortest life of a token.
const SHORTEST_SECONDS: i64 = 600;
/// The life where none is asked for.
const DEFAULT_SECONDS: i64 = 3600;
/// Longest life.
const LONGEST_SECONDS: i64 = 1 << 32;
/// The life that pods ask for; upstream stretches it to a year for clients that do not reload, and warns after this.
const POD_SECONDS: i64 = 3607;
const POD_EXTENDED_SECONDS: i64 = 365 * 24 * 3600;

const EXPECTED: Expected<'static> = Expected {
    group: "authentication.k8s.io",
    version: "v1",
    kind: "TokenRequest",
    ty: TypeRef::Name("authentication/v1.TokenRequest"),
};

fn invalid(target: &Target, path: &str, what: impl Into<Value>, why: &str) -> Status {
    let error = gantry_api::field::Error::invalid(&gantry_api::field::Path::new(path), what, why);
    Status::invalid(EXPECTED.group, EXPECTED.kind, &target.name, &[error])
}

/// What the request says of its account must be what its path says. The namespace is compared as that of every object is.
fn check_names(target: &Target, request: &mut Value) -> Result<(), Status> {
    decode::place(request, &target.kind, &target.namespace, "")?;
    let given = value::str_at(request, "metadata.name").unwrap_or_default();
    if !given.is_empty() && given != target.name {
        let why = "must match the service account name if specified";
        return Err(invalid(target, "metadata.name", given, why));
    }
    Ok(())
}

/// A request may say which account of this name it means.
fn check_uid(target: &Target, request: &Value, account: &Value) -> Result<(), Status> {
    let uid = |object| value::str_at(object, "metadata.uid").unwrap_or_default().to_owned();
    let (given, real) = (uid(request), uid(account));
    if given.is_empty() || given == real {
        return Ok(());
    }
    let why = format!("the UID in the token request ({given}) does not match the UID of the service account ({real})");
    Err(Status::conflict(EXPECTED.group, EXPECTED.kind, &target.name, &why))
}

fn check_life(target: &Target, seconds: i64) -> Result<(), Status> {
    let why = match seconds {
        ..SHORTEST_SECONDS => "may not specify a duration less than 10 minutes",
        SHORTEST_SECONDS..=LONGEST_SECONDS => return Ok(()),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    // The one error in which upstream does not name the account.
    let unnamed = Target::new(&target.kind, &target.namespace, "");
    Err(invalid(&unnamed, "spec.expirationSeconds", seconds, why))
}

/// Issues a token.
///
/// # Errors
/// 404 for an account or bound object that is not there, 409 for another uid, 422 for a life that is too short.
pub(crate) async fn create(
    app: &App,
    caller: &Caller,
    target: &Target,
    payload: &Payload,
    options: &WriteOptions,
) -> Result<Written, Status> {
    let decoded = decode::object(payload, EXPECTED, options.field_validation)?;
    let mut request = decoded.object;
    check_names(target, &mut request)?;
    value::set_default(&mut request, "spec.expirationSeconds", DEFAULT_SECONDS);
    let api_version = EXPECTED.api_version();
    let write = managed_write(app, caller, target, options);
    let write = managed::Write {
        api_version: &api_version,
        ty: EXPECTED.ty,
        subresource: "token",
        reset: &[],
        settable: &[],
        ..write
    };
    managed::stamp(None, &mut request, &write);
    admit_node(app, caller, target, &request).await?;
    Request::creating(app, caller, target, options).admit_other(&mut request).await?;
    let account = Target::new(&target.kind, &target.namespace, &target.name);
    let stored = current::load(app, &account).await?.ok_or_else(|| account.not_found())?;
    check_uid(target, &request, &stored.value)?;
    let seconds = value::i64_at(&request, "spec.expirationSeconds").unwrap_or(DEFAULT_SECONDS);
    check_life(target, seconds)?;
    let (seconds, shortened) = shortened(seconds, app.config.service_account_max_token_expiration);
    let mut binding =
        Binding { namespace: target.namespace.clone(), serviceaccount: bound(&stored.value), ..Binding::default() };
    bind(app, &account, &request, &mut binding).await?;
    let audiences: Vec<String> =
        value::list_at(&request, "spec.audiences").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let audiences = if audiences.is_empty() { app.authenticator.audiences().to_vec() } else { audiences };
    let now = app.clock.now().as_second();
    let for_api = audiences.iter().all(|a| app.authenticator.audiences().contains(a));
    let mut life = seconds;
    if seconds == POD_SECONDS && binding.pod.is_some() && for_api && app.config.service_account_extend_token_expiration
    {
        life = POD_EXTENDED_SECONDS;
        binding.warnafter = Some(now + seconds);
    }
    let claims = Claims {
        aud: audiences.clone(),
        exp: now + life,
        iat: now,
        nbf: now,
        iss: app.config.issuer().to_owned(),
        jti: uuid::Uuid::new_v4().to_string(),
        sub: format!("{}{}:{}", crate::auth::SERVICE_ACCOUNT_PREFIX, target.namespace, target.name),
        binding,
    };
    let token = app.keys.sign(&claims).ok_or_else(|| {
        Status::unavailable("this API server has no --service-account-signing-key-file and issues no tokens")
    })?;
    let token = token.map_err(|e| Status::internal(format!("signing the token failed: {e}")))?;
    // The answer speaks of the life that was asked for: that is when the client should renew.
    let expires = jiff::Timestamp::from_second(now + seconds).map_err(Status::internal)?;
    let given = Given { audiences, seconds, token, expires };
    answer(&mut request, given, target, &stored.value, app.clock.now());
    let warnings = decoded.warnings.into_iter().chain(shortened).collect();
    Ok(Written { warnings, ..Written::plain(request.to_string().into_bytes(), StatusCode::CREATED) })
}

/// What was issued.
struct Given {
    audiences: Vec<String>,
    seconds: i64,
    token: String,
    expires: jiff::Timestamp,
}

/// Makes the answer of the request for `account`.
fn answer(request: &mut Value, given: Given, target: &Target, account: &Value, now: jiff::Timestamp) {
    value::set(request, "spec.audiences", given.audiences);
    value::set(request, "spec.expirationSeconds", given.seconds);
    value::set_default(request, "spec.boundObjectRef", Value::Null);
    value::set(request, "status", json!({"token": given.token, "expirationTimestamp": metadata::time(given.expires)}));
    value::set(request, "metadata.name", target.name.as_str());
    value::set(request, "metadata.namespace", target.namespace.as_str());
    value::set(request, "metadata.uid", value::str_at(account, "metadata.uid").unwrap_or_default());
    value::set(request, "metadata.creationTimestamp", metadata::time(now));
}

/// The life that is given, and what is said where it is shorter than the one asked for.
fn shortened(seconds: i64, most: Option<std::time::Duration>) -> (i64, Option<String>) {
    let most = most.and_then(|most| i64::try_from(most.as_secs()).ok()).filter(|most| *most > 0);
    match most.filter(|most| *most < seconds) {
        Some(most) => (most, Some(format!("requested expiration of {seconds} seconds shortened to {most} seconds"))),
        None => (seconds, None),
    }
}

fn bound(object: &Value) -> Bound {
    let at = |path| value::str_at(object, path).unwrap_or_default().to_owned();
    Bound { name: at("metadata.name"), uid: at("metadata.uid") }
}

/// A kubelet gets tokens for its pods only (upstream's admission plugin `NodeRestriction`, which is asked before the account is looked for).
async fn admit_node(app: &App, caller: &Caller, account: &Target, request: &Value) -> Result<(), Status> {
    let Some(own) = caller.user.node() else { return Ok(()) };
    let at = |key: &str| value::str_at(request, &format!("spec.boundObjectRef.{key}")).unwrap_or_default();
    let (name, uid) = (at("name"), at("uid"));
    if at("apiVersion") != "v1" || at("kind") != "Pod" || name.is_empty() {
        return Err(not_of_node(account, "node requested token not bound to a pod"));
    }
    if uid.is_empty() {
        return Err(not_of_node(account, "node requested token with a pod binding without a uid"));
    }
    let pods = kinds::by_resource("", "v1", "pods").ok_or_else(Status::no_such_resource)?;
    let pod = Target::new(pods, &account.namespace, name);
    let pod = current::load(app, &pod).await?.ok_or_else(|| pod.not_found())?.value;
    if value::str_at(&pod, "metadata.uid") != Some(uid) {
        return Err(not_of_node(account, &uid_differs(uid)));
    }
    if value::str_at(&pod, "spec.nodeName").unwrap_or_default() != own {
        return Err(not_of_node(account, "node requested token bound to a pod scheduled on a different node"));
    }
    audience::check(app, caller, account, request, &pod).await
}

fn not_of_node(account: &Target, why: &str) -> Status {
    Status::forbidden("", "serviceaccounts", &account.name, why)
}

/// Upstream's words for a bound object of another uid.
fn uid_differs(given: &str) -> String {
    format!(
        "the UID in the bound object reference ({given}) does not match the UID in record. The object might have been deleted and then recreated"
    )
}

/// Binds the token to the object that the request names.
async fn bind(app: &App, account: &Target, request: &Value, to: &mut Binding) -> Result<(), Status> {
    let Some(reference) = value::map_at(request, "spec.boundObjectRef") else { return Ok(()) };
    let at = |key: &str| reference.get(key).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = kinds::split_api_version(at("apiVersion"));
    // Any version will do.
    let (resource, namespace) = match (group, at("kind")) {
        ("", "Pod") => ("pods", account.namespace.as_str()),
        ("", "Secret") => ("secrets", account.namespace.as_str()),
        ("", "Node") => ("nodes", ""),
        (_, kind) => {
            return Err(Status::bad_request(format!(
                "cannot bind token to object of type {group}/{version}, Kind={kind}"
            )));
        }
    };
    let kind = kinds::by_resource("", "v1", resource).ok_or_else(Status::no_such_resource)?;
    let object = Target::new(kind, namespace, at("name"));
    let found = current::load(app, &object).await?.ok_or_else(|| object.not_found())?;
    if resource == "pods" {
        check_account(account, &found.value)?;
    }
    let uid = value::str_at(&found.value, "metadata.uid").unwrap_or_default();
    if !at("uid").is_empty() && at("uid") != uid {
        // Upstream names the kind here, as the request does.
        return Err(Status::conflict("", at("kind"), &object.name, &uid_differs(at("uid"))));
    }
    match resource {
        "pods" => bind_pod(app, &found.value, to).await?,
        "secrets" => to.secret = Some(bound(&found.value)),
        _ => to.node = Some(bound(&found.value)),
    }
    Ok(())
}

/// The pod must run as the account.
fn check_account(account: &Target, pod: &Value) -> Result<(), Status> {
    if value::str_at(pod, "spec.serviceAccountName").unwrap_or_default() == account.name {
        return Ok(());
    }
    let why = format!(
        "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
        account.name
    );
    Err(Status::bad_request(why))
}

async fn bind_pod(app: &App, pod: &Value, to: &mut Binding) -> Result<(), Status> {
    to.pod = Some(bound(pod));
    let node = value::str_at(pod, "spec.nodeName").unwrap_or_default();
    if !node.is_empty() {
        let kind = kinds::by_resource("", "v1", "nodes").ok_or_else(Status::no_such_resource)?;
        let found = current::load(app, &Target::new(kind, "", node)).await?;
        // Of a node that is not there, the token tells the name.
        to.node = Some(found.map_or_else(|| Bound { name: node.to_owned(), uid: String::new() }, |n| bound(&n.value)));
    }
    Ok(())
}
