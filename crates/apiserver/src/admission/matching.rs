//! Whether a webhook or policy is meant: rules, namespaces, labels.

use gantry_api::kinds::{Kind, KindInfo};
use gantry_api::selector::LabelSelector;
use gantry_api::status::Status;
use gantry_api::{Object, Value, kinds, value};

use super::{Operation, Request};
use crate::pipeline::current;
use crate::request::Target;

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    scope: Scope,
    /// Empty: any.
    names: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Any,
    Cluster,
    Namespaced,
}

/// What a request is, for rules.
#[derive(Debug, Clone, Copy)]
struct Asked<'a> {
    operation: &'static str,
    group: &'a str,
    version: &'a str,
    resource: &'a str,
    subresource: &'a str,
    namespaced: bool,
    name: &'a str,
}

fn strings(object: &Value, key: &str) -> Vec<String> {
    value::list_at(object, key).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

impl Rule {
    fn of(rule: &Value) -> Self {
        let scope = match value::str_at(rule, "scope") {
            Some("Cluster") => Scope::Cluster,
            Some("Namespaced") => Scope::Namespaced,
            _ => Scope::Any,
        };
        Self {
            operations: strings(rule, "operations"),
            groups: strings(rule, "apiGroups"),
            versions: strings(rule, "apiVersions"),
            resources: strings(rule, "resources"),
            scope,
            names: strings(rule, "resourceNames"),
        }
    }

    fn matches(&self, asked: Asked<'_>) -> bool {
        let in_scope = match self.scope {
            Scope::Any => true,
            Scope::Cluster => !asked.namespaced,
            Scope::Namespaced => asked.namespaced,
        };
        let covers = |pattern: &String| {
            let (resource, sub) = pattern.split_once('/').unwrap_or((pattern, ""));
            (resource == "*" || resource == asked.resource) && (sub == "*" || sub == asked.subresource)
        };
        in_scope
            && has(&self.operations, asked.operation)
            && has(&self.groups, asked.group)
            && has(&self.versions, asked.version)
            && self.resources.iter().any(covers)
            && (self.names.is_empty() || self.names.iter().any(|name| name == asked.name))
    }
}

/// The operation's name in rules and reviews.
pub(super) fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

/// What a webhook, policy or binding is about.
#[derive(Debug, Clone)]
pub(super) struct Criteria {
    namespaces: Result<LabelSelector, String>,
    objects: Result<LabelSelector, String>,
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    /// Other versions of a resource match too, and are converted.
    equivalent: bool,
    /// No rule at all means everything.
    open: bool,
}

fn selector(object: &Value, key: &str) -> Result<LabelSelector, String> {
    match value::get(object, key).filter(|s| !s.is_null()) {
        Some(selector) => LabelSelector::from_value(selector),
        None => Ok(LabelSelector::everything()),
    }
}

impl Criteria {
    fn of(object: &Value, rules: &str, open: bool) -> Self {
        let read = |key: &str| value::list_at(object, key).iter().map(Rule::of).collect();
        Self {
            namespaces: selector(object, "namespaceSelector"),
            objects: selector(object, "objectSelector"),
            rules: read(rules),
            excluded: read("excludeResourceRules"),
            equivalent: value::str_at(object, "matchPolicy").is_none_or(|policy| policy == "Equivalent"),
            open,
        }
    }

    /// Of a webhook.
    pub(super) fn of_webhook(hook: &Value) -> Self {
        Self::of(hook, "rules", false)
    }

    /// Of a policy or binding: its `MatchResources`.
    pub(super) fn of_policy(resources: &Value) -> Self {
        Self::of(resources, "resourceRules", true)
    }

    /// The version of the resource that is meant, if the request is.
    ///
    /// # Errors
    /// 404 when the request's namespace is not there.
    pub(super) async fn find(&self, request: &Request<'_>, object: Option<&Value>) -> Result<Option<Kind>, Status> {
        // The rules are looked at first: they cost the least.
        if self.first(request, &self.excluded).is_some() {
            return Ok(None);
        }
        let found = if self.open && self.rules.is_empty() {
            Some(request.target.kind.clone())
        } else {
            self.first(request, &self.rules)
        };
        let Some(kind) = found else { return Ok(None) };
        if !self.selects(request, object)? || !self.selects_namespace(request, object).await? {
            return Ok(None);
        }
        Ok(Some(kind))
    }

    /// The requested version if a rule names it, else the first of its equivalents that one names.
    fn first(&self, request: &Request<'_>, rules: &[Rule]) -> Option<Kind> {
        let namespaced = !request.namespace().is_empty() && !request.is_about_namespaces();
        let asked = |kind: &KindInfo| Asked {
            operation: operation_name(request.operation),
            group: kind.group,
            version: kind.version,
            resource: kind.resource,
            subresource: request.target.subresource,
            namespaced,
            name: if request.nameless { "" } else { &request.target.name },
        };
        let own = &request.target.kind;
        if rules.iter().any(|rule| rule.matches(asked(own))) {
            return Some(own.clone());
        }
        if !self.equivalent || rules.is_empty() {
            return None;
        }
        let others = request.equivalents();
        rules.iter().find_map(|rule| others.iter().find(|kind| rule.matches(asked(kind)))).cloned()
    }

    fn selects(&self, request: &Request<'_>, object: Option<&Value>) -> Result<bool, Status> {
        let selector = self.objects.as_ref().map_err(Status::internal)?;
        if selector.is_everything() {
            return Ok(true);
        }
        let empty = Object::new();
        let labels = |object: &Value| selector.matches(&value::map_at(object, "metadata.labels").unwrap_or(&empty));
        Ok(request.labelled(object).any(labels))
    }

    async fn selects_namespace(&self, request: &Request<'_>, object: Option<&Value>) -> Result<bool, Status> {
        let selector = self.namespaces.as_ref().map_err(Status::internal)?;
        if selector.is_everything() || (request.namespace().is_empty() && !request.is_about_namespaces()) {
            return Ok(true);
        }
        let written = matches!(request.operation, Operation::Create | Operation::Update);
        let empty = Object::new();
        let labels = |object: &Value| selector.matches(&value::map_at(object, "metadata.labels").unwrap_or(&empty));
        if let Some(object) = object
            && request.is_about_namespaces()
            && written
            && request.target.subresource.is_empty()
        {
            return Ok(labels(object));
        }
        Ok(labels(&namespace(request).await?))
    }
}

/// The namespace of the request, as it is stored.
///
/// # Errors
/// 404 when it is not there.
pub(super) async fn namespace(request: &Request<'_>) -> Result<Value, Status> {
    let kind = kinds::by_resource("", "v1", "namespaces").ok_or_else(Status::no_such_resource)?;
    let target = Target::new(kind, "", request.namespace());
    Ok(current::load(request.app, &target).await?.ok_or_else(|| target.not_found())?.value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_name_operations_and_resources() {
        let asked = Asked {
            operation: "CREATE",
            group: "apps",
            version: "v1",
            resource: "deployments",
            subresource: "",
            namespaced: true,
            name: "web",
        };
        let check = |change: Value, asked: Asked<'_>, expected: bool| {
            let mut rule = json!({"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"],
                "resources": ["deployments"], "scope": "*"});
            for (key, value) in change.as_object().into_iter().flatten() {
                rule[key] = value.clone();
            }
            assert_eq!(Rule::of(&rule).matches(asked), expected, "{rule} {asked:?}");
        };
        check(json!({}), asked, true);
        check(json!({"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}), asked, true);
        check(json!({"operations": ["UPDATE"]}), asked, false);
        check(json!({"apiGroups": [""]}), asked, false);
        check(json!({"apiVersions": ["v1beta1"]}), asked, false);
        check(json!({"resources": ["*/*"]}), asked, true);
        check(json!({"resources": ["deployments/*"]}), asked, true);
        check(json!({"resources": ["*/scale"]}), asked, false);
        let status = Asked { subresource: "status", ..asked };
        check(json!({}), status, false);
        check(json!({"resources": ["*"]}), status, false);
        check(json!({"resources": ["*/*"]}), status, true);
        check(json!({"resources": ["deployments/*"]}), status, true);
        check(json!({"resources": ["*/status"]}), status, true);
        check(json!({"resources": ["*/scale"]}), status, false);
        check(json!({"scope": "Cluster"}), asked, false);
        check(json!({"scope": "Namespaced"}), asked, true);
        check(json!({"scope": "Cluster"}), Asked { namespaced: false, ..asked }, true);
        check(json!({"resourceNames": ["web"]}), asked, true);
        check(json!({"resourceNames": ["other"]}), asked, false);
    }
}
