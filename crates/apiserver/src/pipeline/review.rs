//! The kinds that are only questions: access reviews, token reviews, "who am I". Nothing is stored.

use gantry_api::selector::{FieldSelector, LabelSelector};
use gantry_api::status::Status;
use gantry_api::{Value, managed, validation, value};
use http::StatusCode;
use serde_json::{Map, json};

use super::change::managed_write;
use super::decode::{self, Expected};
use super::{Written, metadata};
use crate::admission::Request;
use crate::app::App;
use crate::auth::constrained::{Mode, Step};
use crate::auth::impersonation::{Impersonation, Needed};
use crate::auth::{self, User};
use crate::rbac::authorizer::{self, Held, Refusal};
use crate::rbac::index::aggregated;
use crate::rbac::rule::{Attributes, Required, Rule};
use crate::request::{Caller, Payload, Target, WriteOptions};

/// Answers the question.
///
/// # Errors
/// 400 and 422 for questions that make no sense.
pub(crate) async fn create(
    app: &App,
    caller: &Caller,
    target: &Target,
    payload: &Payload,
    options: &WriteOptions,
) -> Result<Written, Status> {
    options.check("CreateOptions")?;
    let mut decoded = decode::object(payload, Expected::of(&target.kind), options.field_validation)?;
    decode::place(&mut decoded.object, &target.kind, &target.namespace, "")?;
    let object = &mut decoded.object;
    // The answer to "who am I" is an object of its own; the others are the question, answered.
    if target.kind.kind != "SelfSubjectReview" {
        managed::stamp(None, object, &managed_write(app, caller, target, options));
    }
    Request::creating(app, caller, target, options).admit_other(object).await?;
    match target.kind.kind {
        "SelfSubjectAccessReview" => access(app, caller.user.clone(), target, object).await?,
        "SubjectAccessReview" | "LocalSubjectAccessReview" => {
            let user = named_user(object);
            access(app, user, target, object).await?;
        }
        "SelfSubjectRulesReview" => rules(app, &caller.user, object)?,
        "TokenReview" => token(app, caller, object).await?,
        "SelfSubjectReview" => {
            value::set(object, "metadata.creationTimestamp", metadata::time(app.clock.now()));
            value::set(object, "status.userInfo", user_info(&caller.user));
        }
        _ => return Err(Status::method_not_allowed()),
    }
    value::set_default(object, "metadata", Map::new());
    Ok(Written { warnings: decoded.warnings, ..Written::plain(object.to_string().into_bytes(), StatusCode::CREATED) })
}

fn text(object: &Value, path: &str) -> String {
    value::str_at(object, path).unwrap_or_default().to_owned()
}

fn strings(object: &Value, path: &str) -> Vec<String> {
    value::list_at(object, path).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn named_user(object: &Value) -> User {
    let name = text(object, "spec.user");
    let groups = strings(object, "spec.groups");
    let mut user = User { name, uid: text(object, "spec.uid"), groups, ..User::default() };
    for (key, values) in value::map_at(object, "spec.extra").into_iter().flatten() {
        let values = values.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
        user.extra.insert(key.clone(), values.collect());
    }
    user
}

/// What the review, which is valid, asks about.
fn attributes(object: &Value) -> Attributes {
    if let Some(path) = value::get(object, "spec.nonResourceAttributes").filter(|v| v.is_object()) {
        return Attributes { verb: text(path, "verb"), path: Some(text(path, "path")), ..Attributes::default() };
    }
    let none = Value::Null;
    let asked = value::get(object, "spec.resourceAttributes").unwrap_or(&none);
    Attributes {
        verb: text(asked, "verb"),
        group: text(asked, "group"),
        version: text(asked, "version"),
        resource: text(asked, "resource"),
        subresource: text(asked, "subresource"),
        namespace: text(asked, "namespace"),
        name: text(asked, "name"),
        fields: required(asked, "fieldSelector", |raw| Some(Required::of_fields(&FieldSelector::parse(raw).ok()?))),
        labels: required(asked, "labelSelector", |raw| Some(Required::of_labels(&LabelSelector::parse(raw).ok()?))),
        path: None,
    }
}

/// What the review's selector requires, in either of its forms. As upstream's, one that cannot be read narrows nothing, and of
/// requirements only those count that could stand in a selector.
fn required(asked: &Value, key: &str, parse: impl FnOnce(&str) -> Option<Vec<Required>>) -> Vec<Required> {
    let selector = &asked[key];
    let raw = value::str_at(selector, "rawSelector").unwrap_or_default();
    if !raw.is_empty() {
        return parse(raw).unwrap_or_default();
    }
    let read = value::list_at(selector, "requirements").iter();
    let read = read.filter_map(|one| serde_json::from_value::<Required>(one.clone()).ok());
    // A field is compared with one value.
    let fits = |one: &Required| match one.operator.as_str() {
        "In" | "NotIn" => one.values.len() == 1 || (key == "labelSelector" && !one.values.is_empty()),
        "Exists" | "DoesNotExist" => one.values.is_empty() && key == "labelSelector",
        _ => false,
    };
    read.filter(fits).collect()
}

async fn access(app: &App, user: User, target: &Target, object: &mut Value) -> Result<(), Status> {
    let kind = &target.kind;
    let errors = validation::create(kind, object);
    if !errors.is_empty() {
        return Err(Status::invalid(kind.group, kind.kind, "", &errors));
    }
    let attributes = attributes(object);
    let (denied, reason, error) = match app.authorizer.explain(app, &user, &attributes).await {
        Ok(why) => (None, why, String::new()),
        Err(refusal) => (Some(refusal.denied), refusal.reason, refusal.error),
    };
    let mut status = json!({"allowed": denied.is_none()});
    if denied == Some(true) {
        status["denied"] = true.into();
    }
    for (key, text) in [("reason", reason), ("evaluationError", error)] {
        if !text.is_empty() {
            status[key] = text.into();
        }
    }
    value::set(object, "status", status);
    Ok(())
}

fn rules(app: &App, user: &User, object: &mut Value) -> Result<(), Status> {
    let namespace = text(object, "spec.namespace");
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let Held { rules: mut held, incomplete, errors } = app.authorizer.held(user, &namespace);
    if user.in_group(crate::auth::MASTERS) {
        held.extend(Rule::everything());
    }
    held.sort();
    held.dedup();
    let (paths, resources): (Vec<Rule>, Vec<Rule>) = held.into_iter().partition(|r| !r.non_resource_urls.is_empty());
    let mut status = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": incomplete});
    if !errors.is_empty() {
        status["evaluationError"] = aggregated(errors).into();
    }
    value::set(object, "status", status);
    Ok(())
}

fn user_info(user: &User) -> Value {
    let mut info = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        info["uid"] = user.uid.as_str().into();
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

async fn token(app: &App, caller: &Caller, object: &mut Value) -> Result<(), Status> {
    let given = text(object, "spec.token");
    if given.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let wanted = strings(object, "spec.audiences");
    let audiences = if wanted.is_empty() { app.authenticator.audiences().to_vec() } else { wanted };
    let status = match app.authenticator.token(&given, &audiences, &caller.notes).await {
        Ok((user, audiences)) => json!({"authenticated": true, "user": user_info(&user), "audiences": audiences}),
        // Upstream asks twice: first those who know the server's own token only.
        Err(why) if why == auth::INVALID_TOKEN => json!({"user": {}, "error": why}),
        Err(why) => json!({"user": {}, "error": format!("[{}, {why}]", auth::INVALID_TOKEN)}),
    };
    value::set(object, "status", status);
    Ok(())
}

/// The attributes of an impersonation.
fn impersonation(verb: &str, needed: &Needed) -> Attributes {
    Attributes {
        verb: verb.to_owned(),
        group: needed.group.to_owned(),
        version: "v1".to_owned(),
        resource: needed.resource.to_owned(),
        subresource: needed.subresource.clone(),
        namespace: needed.namespace.clone(),
        name: needed.name.clone(),
        ..Attributes::default()
    }
}

/// Checks that the caller may act as someone else, and becomes them. `about` is what is asked for; where that is not known yet,
/// only the plain verb `impersonate` counts.
///
/// # Errors
/// 400 for headers that do not go together, 403.
pub(crate) async fn impersonate(
    app: &App,
    user: User,
    headers: &http::HeaderMap,
    about: Option<&Attributes>,
) -> Result<User, Status> {
    let Some(asked) = crate::auth::impersonation::requested(headers)? else { return Ok(user) };
    if user.is_anonymous() {
        return Err(Status::unauthorized());
    }
    let rights = Rights { app, user: &user };
    let mut refused = None;
    for mode in Mode::ALL.into_iter().filter(|mode| mode.fits(&asked, &user)) {
        let Some(about) = about else { break };
        match rights.constrained(mode, &asked, about).await {
            Ok(()) => return Ok(mode.user(&asked)),
            Err(status) => refused = refused.or(Some(status)),
        }
    }
    match rights.all("impersonate", &asked.needed).await {
        Ok(()) => Ok(asked.user),
        // As upstream: what the first mode lacks.
        Err(status) => Err(refused.unwrap_or(status)),
    }
}

/// What somebody may do who wants to act as someone else.
struct Rights<'a> {
    app: &'a App,
    user: &'a User,
}

impl Rights<'_> {
    async fn may(&self, request: &Attributes) -> Result<(), Status> {
        let decision = self.app.authorizer.decide(self.app, self.user, request).await;
        decision.map_err(|refusal| authorizer::refused(self.user, request, &refusal))
    }

    async fn all(&self, verb: &str, needed: &[Needed]) -> Result<(), Status> {
        for needed in needed {
            self.may(&impersonation(verb, needed)).await?;
        }
        Ok(())
    }

    /// Whether the caller may act as someone else in a mode.
    async fn constrained(&self, mode: Mode, asked: &Impersonation, about: &Attributes) -> Result<(), Status> {
        let verb = format!("impersonate-on:{}:{}", mode.name(), about.verb);
        self.may(&Attributes { verb, ..about.clone() }).await?;
        let verb = format!("impersonate:{}", mode.name());
        for step in mode.steps(asked) {
            match step {
                Step::Needs(one) => self.may(&impersonation(&verb, &one)).await?,
                Step::Either(all, each) => {
                    if self.may(&impersonation(&verb, &all)).await.is_err() {
                        self.all(&verb, &each).await?;
                    }
                }
                Step::Never(one, why) => {
                    let refusal = Refusal { reason: why, ..Refusal::default() };
                    return Err(authorizer::refused(self.user, &impersonation(&verb, &one), &refusal));
                }
            }
        }
        Ok(())
    }
}
