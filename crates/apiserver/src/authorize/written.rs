//! `--authorization-config`: a file with an AuthorizationConfiguration of `apiserver.config.k8s.io`.

use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use gantry_api::field::{Error, Path};
use gantry_api::{Value, decode, duration, names};
use gantry_cel::{Environment, ObjectType, Type};
use serde::Deserialize;

use super::webhook::{AUTHORIZED_TTL, Settings, TIMEOUT, UNAUTHORIZED_TTL, VERSIONS, Webhook};
use super::{Judge, KINDS, Link, plain};
use crate::expressions::Conditions;
use crate::webhooks::Place;

const KIND: &str = "AuthorizationConfiguration";
const GROUP_VERSIONS: [&str; 3] =
    ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1", "apiserver.config.k8s.io/v1alpha1"];
/// Conditions of one webhook.
const CONDITIONS_MAX: usize = 64;

/// What the file says.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Written {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    authorizers: Vec<Entry>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    webhook: Option<Asked>,
}

/// A webhook.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Asked {
    #[serde(rename = "authorizedTTL")]
    authorized_ttl: String,
    #[serde(rename = "unauthorizedTTL")]
    unauthorized_ttl: String,
    cache_authorized_requests: Option<bool>,
    cache_unauthorized_requests: Option<bool>,
    timeout: String,
    subject_access_review_version: String,
    match_condition_subject_access_review_version: String,
    failure_policy: String,
    connection_info: Connection,
    match_conditions: Vec<Value>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Connection {
    #[serde(rename = "type")]
    kind: String,
    kube_config_file: Option<PathBuf>,
}

/// Reads what the file at `path` says.
///
/// # Errors
/// What is wrong, in upstream's words where it has them.
pub(super) fn read(text: &[u8], path: &FilePath) -> Result<Written, String> {
    let read = decode::yaml(text).map_err(|status| status.message);
    let file = read.and_then(|(value, _)| serde_json::from_value::<Written>(value).map_err(|error| error.to_string()));
    let file =
        file.map_err(|error| format!("failed to load AuthorizationConfiguration from {}: {error}", path.display()))?;
    if file.kind != KIND || !GROUP_VERSIONS.contains(&file.api_version.as_str()) {
        let (kind, version) = (file.kind, file.api_version);
        return Err(format!(
            "no kind {kind:?} is registered for version {version:?}: want {KIND} of {}",
            GROUP_VERSIONS[0]
        ));
    }
    let errors = check(&file);
    if !errors.is_empty() {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        return Err(crate::rbac::index::aggregated(errors));
    }
    Ok(file)
}

impl Written {
    /// Those who decide, in their order; reads the kubeconfigs that are named.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn chain(&self) -> Result<Vec<Link>, String> {
        self.authorizers.iter().map(link).collect()
    }
}

fn link(entry: &Entry) -> Result<Link, String> {
    let judge = match (plain(&entry.kind), &entry.webhook) {
        (Some(judge), _) => judge,
        (None, Some(webhook)) => Judge::Webhook(Box::new(Webhook::new(settings(&entry.name, webhook)?))),
        // Upstream takes its lines from a flag that cannot be given with this file.
        (None, None) => {
            return Err(
                "authorizer type ABAC is not allowed if it was not enabled at initial server startup".to_owned()
            );
        }
    };
    Ok(Link::new(judge, &entry.name))
}

fn settings(name: &str, written: &Asked) -> Result<Settings, String> {
    let span = |text: &str, default| parsed(text).unwrap_or(default);
    let kept = |cached: Option<bool>, ttl: Duration| if cached == Some(false) { Duration::ZERO } else { ttl };
    let allowed = kept(written.cache_authorized_requests, span(&written.authorized_ttl, AUTHORIZED_TTL));
    let others = kept(written.cache_unauthorized_requests, span(&written.unauthorized_ttl, UNAUTHORIZED_TTL));
    Ok(Settings {
        name: name.to_owned(),
        place: Place::load(written.connection_info.kube_config_file.as_deref().unwrap_or_else(|| FilePath::new("")))?,
        version: written.subject_access_review_version.clone(),
        timeout: span(&written.timeout, TIMEOUT),
        ttls: (allowed, others),
        denies_on_error: written.failure_policy == "Deny",
        conditions: Conditions::new(&environment(), &written.match_conditions),
    })
}

/// What conditions see: the spec of a SubjectAccessReview of version v1.
fn environment() -> Environment {
    let requirement = |name: &str| {
        Type::Object(ObjectType::new(
            name,
            [("key", Type::String), ("operator", Type::String), ("values", Type::list(Type::String))],
        ))
    };
    let selector = |name: &str, of: &str| {
        let fields = [("rawSelector", Type::String), ("requirements", Type::list(requirement(of)))];
        Type::Object(ObjectType::new(name, fields))
    };
    let texts = ["namespace", "verb", "group", "version", "resource", "subresource", "name"];
    let resource = texts.map(|key| (key, Type::String)).into_iter().chain([
        ("fieldSelector", selector("kubernetes.FieldSelectorAttributes", "kubernetes.FieldSelectorRequirement")),
        ("labelSelector", selector("kubernetes.LabelSelectorAttributes", "kubernetes.LabelSelectorRequirement")),
    ]);
    let path = [("path", Type::String), ("verb", Type::String)];
    let spec = ObjectType::new(
        "kubernetes.SubjectAccessReviewSpec",
        [
            ("resourceAttributes", Type::Object(ObjectType::new("kubernetes.ResourceAttributes", resource))),
            ("nonResourceAttributes", Type::Object(ObjectType::new("kubernetes.NonResourceAttributes", path))),
            ("user", Type::String),
            ("groups", Type::list(Type::String)),
            ("extra", Type::map(Type::String, Type::list(Type::String))),
            ("uid", Type::String),
        ],
    );
    Environment::new().variable("request", Type::Object(spec))
}

/// A duration above zero.
fn parsed(text: &str) -> Option<Duration> {
    let nanoseconds = duration::parse_go(text).ok().filter(|nanoseconds| *nanoseconds > 0)?;
    Some(Duration::from_nanos(nanoseconds.unsigned_abs()))
}

fn check(file: &Written) -> Vec<Error> {
    let root = Path::new("authorizers");
    let mut errors = Vec::new();
    if file.authorizers.is_empty() {
        errors.push(Error::required(&root, "at least one authorization mode must be defined"));
    }
    for (at, entry) in file.authorizers.iter().enumerate() {
        let (path, earlier) = (root.index(at), &file.authorizers[..at]);
        let kind = path.child("type");
        if entry.kind.is_empty() {
            errors.push(Error::required(&kind, ""));
        } else if !KINDS.contains(&entry.kind.as_str()) {
            errors.push(Error::not_supported(&kind, entry.kind.as_str(), &KINDS));
        } else if entry.kind != "Webhook" && earlier.iter().any(|other| other.kind == entry.kind) {
            errors.push(Error::duplicate(&kind, entry.kind.as_str()));
        } else {
            check_entry(&path, entry, earlier, &mut errors);
        }
    }
    errors
}

fn check_entry(path: &Path, entry: &Entry, earlier: &[Entry], errors: &mut Vec<Error>) {
    let (at, name) = (path.child("name"), entry.name.as_str());
    let wrong = names::dns_subdomain(name);
    if name.is_empty() {
        errors.push(Error::required(&at, ""));
    } else if earlier.iter().any(|other| other.name == name) {
        errors.push(Error::duplicate(&at, name));
    } else if !wrong.is_empty() {
        errors.push(Error::invalid(&at, name, &format!("authorizer name is invalid: {}", wrong.join(", "))));
    }
    match (&entry.webhook, entry.kind == "Webhook") {
        (Some(webhook), true) => check_webhook(path, webhook, errors),
        (None, true) => errors.push(Error::required(&path.child("webhook"), "required when type=Webhook")),
        (Some(_), false) => {
            errors.push(Error::invalid(&path.child("webhook"), "non-null", "may only be specified when type=Webhook"));
        }
        (None, false) => {}
    }
}

/// The paths leave `webhook` out, as upstream's do.
fn check_webhook(path: &Path, webhook: &Asked, errors: &mut Vec<Error>) {
    let spans = [
        ("timeout", &webhook.timeout, true),
        ("authorizedTTL", &webhook.authorized_ttl, false),
        ("unauthorizedTTL", &webhook.unauthorized_ttl, false),
    ];
    for (key, text, bounded) in spans {
        let (at, found) = (path.child(key), duration::parse_go(text).unwrap_or(-1));
        let most = if bounded { TIMEOUT } else { Duration::MAX };
        let why = if bounded { "must be > 0s and <= 30s" } else { "must be > 0s" };
        match text.as_str() {
            "" if bounded => errors.push(Error::required(&at, "")),
            "" => {}
            text if found <= 0 || Duration::from_nanos(found.unsigned_abs()) > most => {
                errors.push(Error::invalid(&at, text, why));
            }
            _ => {}
        }
    }
    let mut one_of = |key: &str, found: &str, known: &[&str]| match found {
        "" => errors.push(Error::required(&path.child(key), "")),
        found if known.contains(&found) => {}
        found => errors.push(Error::not_listed(&path.child(key), found, known)),
    };
    one_of("subjectAccessReviewVersion", &webhook.subject_access_review_version, &VERSIONS);
    let of_conditions = webhook.match_condition_subject_access_review_version.as_str();
    if !of_conditions.is_empty() {
        one_of("matchConditionSubjectAccessReviewVersion", of_conditions, &VERSIONS[..1]);
    }
    one_of("failurePolicy", &webhook.failure_policy, &["NoOpinion", "Deny"]);
    if of_conditions.is_empty() && !webhook.match_conditions.is_empty() {
        let at = path.child("matchConditionSubjectAccessReviewVersion");
        errors.push(Error::required(&at, "required if match conditions are specified"));
    }
    check_connection(&path.child("connectionInfo"), &webhook.connection_info, errors);
    check_conditions(&path.child("matchConditions"), &webhook.match_conditions, errors);
}

fn check_connection(path: &Path, connection: &Connection, errors: &mut Vec<Error>) {
    let at = path.child("kubeConfigFile");
    match (connection.kind.as_str(), &connection.kube_config_file) {
        ("", _) => errors.push(Error::required(&path.child("type"), "")),
        ("KubeConfigFile", Some(file)) if !file.as_os_str().is_empty() => {
            let mut wrong = |why: &str| errors.push(Error::invalid(&at, file.display().to_string(), why));
            match std::fs::metadata(file) {
                _ if !file.is_absolute() => wrong("must be an absolute path"),
                Err(error) => wrong(&format!("error loading file: {error}")),
                Ok(found) if !found.is_file() => wrong("must be a regular file"),
                Ok(_) => {}
            }
        }
        ("KubeConfigFile", _) => errors.push(Error::required(&at, "")),
        // Upstream takes the other one for servers that run in a cluster, which this one does not.
        (other, _) => errors.push(Error::not_supported(&path.child("type"), other, &["KubeConfigFile"])),
    }
}

fn check_conditions(path: &Path, conditions: &[Value], errors: &mut Vec<Error>) {
    if conditions.len() > CONDITIONS_MAX {
        errors.push(Error::too_many(path, conditions.len(), CONDITIONS_MAX));
        return;
    }
    let source = |condition: &Value| condition["expression"].as_str().unwrap_or_default().to_owned();
    let compiled = Conditions::new(&environment(), conditions);
    let wrong: Vec<Option<&str>> = compiled.errors().collect();
    for (at, condition) in conditions.iter().enumerate() {
        let (path, source) = (path.index(at).child("expression"), source(condition));
        if source.trim().is_empty() {
            errors.push(Error::required(&path, ""));
        } else if conditions[..at].contains(condition) {
            errors.push(Error::duplicate(&path, source));
        } else if let Some(why) = wrong[at] {
            errors.push(Error::invalid(&path, source, why));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn loaded(authorizers: &Value) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let kubeconfig = folder.path().join("kubeconfig");
        let cluster = json!({"server": "https://127.0.0.1:1/x"});
        let written = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(&kubeconfig, written.to_string()).expect("written");
        let path = folder.path().join("config");
        let text = json!({"apiVersion": GROUP_VERSIONS[0], "kind": KIND, "authorizers": authorizers}).to_string();
        std::fs::write(&path, text.replace("KUBECONFIG", &kubeconfig.display().to_string())).expect("written");
        let text = std::fs::read(&path).expect("written");
        let chain = read(&text, &path)?.chain()?;
        Ok(chain.iter().map(|link| format!("{} {}", link.kind(), link.name)).collect())
    }

    fn webhook(change: &[(&str, Value)]) -> Value {
        let mut webhook = json!({
            "timeout": "3s", "subjectAccessReviewVersion": "v1", "failurePolicy": "NoOpinion",
            "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": "KUBECONFIG"},
            "matchConditionSubjectAccessReviewVersion": "v1",
            "matchConditions": [{"expression": "has(request.resourceAttributes) && request.user != 'x'"}],
        });
        for (key, value) in change {
            webhook[*key] = value.clone();
        }
        json!([{"type": "Webhook", "name": "w", "webhook": webhook}])
    }

    #[test]
    fn authorizers_are_read_in_their_order() {
        let mut all = webhook(&[("authorizedTTL", json!("1m"))]);
        let list = all.as_array_mut().expect("a list");
        list.push(json!({"type": "Node", "name": "node"}));
        let mut second = list[0].clone();
        second["name"] = "w2".into();
        list.push(second);
        list.push(json!({"type": "RBAC", "name": "roles"}));
        assert_eq!(loaded(&all).expect("good"), ["Webhook w", "Node node", "Webhook w2", "RBAC roles"]);
    }

    #[test]
    fn what_is_wrong_is_said_as_upstream_does() {
        let check = |authorizers: &Value, expected: &str| {
            let found = loaded(authorizers).err().unwrap_or_default();
            assert!(found.contains(expected), "{authorizers}: {found}");
        };
        check(&json!([]), "authorizers: Required value: at least one authorization mode must be defined");
        check(&json!([{"name": "a"}]), "authorizers[0].type: Required value");
        let known = r#"supported values: "ABAC", "AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook""#;
        check(&json!([{"type": "X", "name": "a"}]), &format!("authorizers[0].type: Unsupported value: \"X\": {known}"));
        let twice = json!([{"type": "RBAC", "name": "a"}, {"type": "RBAC", "name": "b"}]);
        check(&twice, "authorizers[1].type: Duplicate value: \"RBAC\"");
        let named = json!([{"type": "RBAC", "name": "a"}, {"type": "Node", "name": "a"}]);
        check(&named, "authorizers[1].name: Duplicate value: \"a\"");
        check(&json!([{"type": "RBAC"}]), "authorizers[0].name: Required value");
        check(&json!([{"type": "RBAC", "name": "A_"}]), "authorizer name is invalid: a lowercase RFC 1123 subdomain");
        check(
            &json!([{"type": "Webhook", "name": "a"}]),
            "authorizers[0].webhook: Required value: required when type=Webhook",
        );
        let misplaced = json!([{"type": "RBAC", "name": "a", "webhook": {}}]);
        check(
            &misplaced,
            "authorizers[0].webhook: Invalid value: \"non-null\": may only be specified when type=Webhook",
        );
        check(&json!([{"type": "ABAC", "name": "a"}]), "authorizer type ABAC is not allowed");
        check(&json!([{"type": "RBAC", "name": "a", "more": 1}]), "unknown field `more`");
        let check = |key: &str, value: Value, expected: &str| check(&webhook(&[(key, value)]), expected);
        check("timeout", json!("31s"), "authorizers[0].timeout: Invalid value: \"31s\": must be > 0s and <= 30s");
        check("timeout", json!(""), "authorizers[0].timeout: Required value");
        check("unauthorizedTTL", json!("-1s"), "authorizers[0].unauthorizedTTL: Invalid value: \"-1s\": must be > 0s");
        check("failurePolicy", json!("Fail"), "Unsupported value: \"Fail\": supported values: \"NoOpinion\", \"Deny\"");
        check("subjectAccessReviewVersion", json!("v2"), "supported values: \"v1\", \"v1beta1\"");
        let version = "matchConditionSubjectAccessReviewVersion";
        check(version, json!(""), "Required value: required if match conditions are specified");
        check(version, json!("v1beta1"), "Unsupported value: \"v1beta1\": supported values: \"v1\"");
        let relative = json!({"type": "KubeConfigFile", "kubeConfigFile": "x"});
        check(
            "connectionInfo",
            relative,
            "connectionInfo.kubeConfigFile: Invalid value: \"x\": must be an absolute path",
        );
        check("connectionInfo", json!({"type": "KubeConfigFile"}), "connectionInfo.kubeConfigFile: Required value");
        let expressions =
            |sources: &[&str]| sources.iter().map(|source| json!({"expression": source})).collect::<Value>();
        check("matchConditions", expressions(&["request.nonsense"]), "matchConditions[0].expression: Invalid value");
        check("matchConditions", expressions(&["1"]), "must evaluate to bool");
        check("matchConditions", expressions(&["true", "true"]), "matchConditions[1].expression: Duplicate value");
        check("matchConditions", expressions(&[" "]), "matchConditions[0].expression: Required value");
        check("matchConditions", expressions(&["true"; 65]), "must have at most 64 items");
    }
}
