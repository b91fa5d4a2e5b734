//! `authorizer.group('').resource('pods').namespace('x').check('get').allowed()`.

use std::sync::Arc;

use gantry_api::names;

use super::strings::made;
use super::{NO_OVERLOAD, Result, fail};
use crate::eval::Context;
use crate::host::{Check, Decision, ResourceCheck, Subject};
use crate::registry::{Entry, entry};
use crate::value::Value;

const RESOURCE: &[&str] = &["kubernetes.authorization.ResourceCheck.(string) kubernetes.authorization.ResourceCheck"];

pub(super) const ENTRIES: &[Entry] = &[
    entry("path", path, &["kubernetes.authorization.Authorizer.(string) kubernetes.authorization.PathCheck"]),
    entry("group", group, &["kubernetes.authorization.Authorizer.(string) kubernetes.authorization.GroupCheck"]),
    entry(
        "serviceAccount",
        service_account,
        &["kubernetes.authorization.Authorizer.(string, string) kubernetes.authorization.Authorizer"],
    ),
    entry(
        "resource",
        resource,
        &["kubernetes.authorization.GroupCheck.(string) kubernetes.authorization.ResourceCheck"],
    ),
    entry("subresource", |_, a| with(a, |r, text| r.subresource = text), RESOURCE),
    entry("namespace", |_, a| with(a, |r, text| r.namespace = text), RESOURCE),
    entry("name", |_, a| with(a, |r, text| r.name = text), RESOURCE),
    entry("fieldSelector", |_, a| with(a, |r, text| r.field_selector = text), RESOURCE),
    entry("labelSelector", |_, a| with(a, |r, text| r.label_selector = text), RESOURCE),
    entry(
        "check",
        check,
        &[
            "kubernetes.authorization.PathCheck.(string) kubernetes.authorization.Decision",
            "kubernetes.authorization.ResourceCheck.(string) kubernetes.authorization.Decision",
        ],
    ),
    entry("allowed", |_, a| Ok(Value::Bool(decision(a)?.allowed)), &["kubernetes.authorization.Decision.() bool"]),
    entry(
        "errored",
        |_, a| Ok(Value::Bool(decision(a)?.error.is_some())),
        &["kubernetes.authorization.Decision.() bool"],
    ),
    entry(
        "error",
        |c, a| {
            let text = decision(a)?.error.clone().unwrap_or_default();
            made(c, text)
        },
        &["kubernetes.authorization.Decision.() string"],
    ),
    entry(
        "reason",
        |c, a| {
            let text = decision(a)?.reason.clone();
            made(c, text)
        },
        &["kubernetes.authorization.Decision.() string"],
    ),
];

fn about<'a>(from: &Check, subject: Subject) -> Value<'a> {
    let check = Check { service_account: from.service_account.clone(), subject, ..Check::default() };
    Value::Authorizer(Arc::new(check))
}

/// The question so far and a text.
fn asked<'v>(args: &'v [Value<'_>]) -> Result<(&'v Check, &'v str)> {
    match args {
        [Value::Authorizer(check), Value::String(text)] if check.decision.is_none() => Ok((check, text)),
        _ => Err(NO_OVERLOAD),
    }
}

fn path<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    match asked(args)? {
        (check @ Check { subject: Subject::Nothing, .. }, path) => {
            if path.trim().is_empty() {
                return fail("path must not be empty");
            }
            Ok(about(check, Subject::Path(path.to_owned())))
        }
        _ => Err(NO_OVERLOAD),
    }
}

fn group<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    match asked(args)? {
        (check @ Check { subject: Subject::Nothing, .. }, group) => Ok(about(check, Subject::Group(group.to_owned()))),
        _ => Err(NO_OVERLOAD),
    }
}

fn service_account<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let [Value::Authorizer(check), Value::String(namespace), Value::String(name)] = args else {
        return Err(NO_OVERLOAD);
    };
    if check.subject != Subject::Nothing {
        return Err(NO_OVERLOAD);
    }
    if !names::dns_subdomain(name).is_empty() {
        return fail("Invalid service account name");
    }
    if !names::dns_label(namespace).is_empty() {
        return fail("Invalid service account namespace");
    }
    let service_account = Some((namespace.to_string(), name.to_string()));
    Ok(Value::Authorizer(Arc::new(Check { service_account, ..Check::default() })))
}

fn resource<'a>(_: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let (check, resource) = asked(args)?;
    let Subject::Group(group) = &check.subject else { return Err(NO_OVERLOAD) };
    if resource.trim().is_empty() {
        return fail("resource must not be empty");
    }
    let resource = ResourceCheck { group: group.clone(), resource: resource.to_owned(), ..ResourceCheck::default() };
    Ok(about(check, Subject::Resource(resource)))
}

fn with<'a>(args: &[Value<'a>], set: fn(&mut ResourceCheck, String)) -> Result<Value<'a>> {
    let (check, text) = asked(args)?;
    let Subject::Resource(resource) = &check.subject else { return Err(NO_OVERLOAD) };
    let mut resource = resource.clone();
    set(&mut resource, text.to_owned());
    Ok(about(check, Subject::Resource(resource)))
}

fn check<'a>(context: &mut Context<'_, 'a>, args: &[Value<'a>]) -> Result<Value<'a>> {
    let (check, verb) = asked(args)?;
    if matches!(check.subject, Subject::Nothing | Subject::Group(_)) {
        return Err(NO_OVERLOAD);
    }
    let Some(host) = context.host else { return fail("authorizer is not available") };
    let mut check = Check { verb: verb.to_owned(), ..check.clone() };
    check.decision = Some(host.check(&check));
    Ok(Value::Authorizer(Arc::new(check)))
}

fn decision<'v>(args: &'v [Value<'_>]) -> Result<&'v Decision> {
    match args {
        [Value::Authorizer(check)] => check.decision.as_ref().ok_or(NO_OVERLOAD),
        _ => Err(NO_OVERLOAD),
    }
}
