//! Which resource a key in etcd belongs to, and how a configuration names resources.

use std::fmt;

use gantry_api::field::{self, Path};
use gantry_api::kinds;

/// Under it stands what this server keeps beside objects.
const OWN_GROUP: &str = "gantry.dev";
/// What upstream stores without a resource of its own.
const NO_REST: &[&str] = &["apiserveripinfo", "serviceipallocations", "servicenodeportallocations"];

/// A resource of a group; `*` stands for all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct GroupResource {
    group: String,
    resource: String,
}

impl GroupResource {
    fn new(group: &str, resource: &str) -> Self {
        Self { group: group.to_owned(), resource: resource.to_owned() }
    }

    /// Reads `secrets`, `deployments.apps`, `*.apps`, `*.` (the core group) or `*.*`.
    pub(crate) fn parse(text: &str) -> Self {
        let (resource, group) = text.split_once('.').unwrap_or((text, ""));
        Self::new(group, resource)
    }

    /// All resources of its group.
    pub(crate) fn whole_group(&self) -> Self {
        Self::new(&self.group, "*")
    }

    /// All resources.
    pub(crate) fn everything() -> Self {
        Self::new("*", "*")
    }

    /// Whether this names the resource, more or less widely.
    pub(crate) fn is(&self, group: &str, resource: &str) -> bool {
        self.group == group && self.resource == resource
    }
}

/// Group and name of the resource that is stored at `key`, a full key under `/registry`. `None`: the key holds no object
/// of the API but allocations, fences, or a server's address.
pub(crate) fn of_key(key: &str) -> Option<(&str, &str)> {
    if let Some(kind) = kinds::by_storage_key(key) {
        let hub = kind.hub();
        return Some((hub.group, hub.resource));
    }
    // Custom resources: /registry/<group>/<plural>/...; every such group has a dot in it.
    let mut parts = key.strip_prefix("/registry/")?.splitn(3, '/');
    let (group, resource, _) = (parts.next()?, parts.next()?, parts.next()?);
    (group.contains('.') && group != OWN_GROUP).then_some((group, resource))
}

impl fmt::Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.resource.as_str(), self.group.as_str()) {
            ("*", "") => f.write_str("*."),
            (resource, "") => f.write_str(resource),
            (resource, group) => write!(f, "{resource}.{group}"),
        }
    }
}

/// Checks one list of resources.
pub(super) fn check(names: &[String], at: &Path, errors: &mut Vec<field::Error>) {
    let parsed: Vec<GroupResource> = names.iter().map(|name| GroupResource::parse(name)).collect();
    let pairs = || parsed.iter().enumerate().flat_map(|(i, a)| parsed[..i].iter().map(move |b| (a, b)));
    if pairs().any(|(a, b)| a == b) {
        errors.push(field::Error::invalid(at, names.to_vec(), "the same resource cannot be specified multiple times"));
    }
    if pairs().any(|(a, b)| a != b && overlap(a, b)) {
        errors.push(field::Error::invalid(
            at,
            names.to_vec(),
            "using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they will be masked",
        ));
    }
    for (number, (name, resource)) in names.iter().zip(&parsed).enumerate() {
        if let Some(why) = fault(name, resource) {
            errors.push(field::Error::invalid(&at.index(number), name.as_str(), why));
        }
    }
}

fn overlap(a: &GroupResource, b: &GroupResource) -> bool {
    let everything = GroupResource::everything();
    let wide = *a == everything || *b == everything;
    wide || (a.group == b.group && (a.resource == "*" || b.resource == "*"))
}

fn fault(name: &str, resource: &GroupResource) -> Option<&'static str> {
    if name.to_lowercase() != name {
        return Some("resource name should not contain capital letters");
    }
    if name == "*" {
        return Some("use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources");
    }
    if NO_REST.contains(&name) {
        return Some("resources which do not have REST API/s cannot be encrypted");
    }
    match (resource.group.as_str(), resource.resource.as_str()) {
        ("events.k8s.io", _) => Some(
            "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the config file",
        ),
        ("extensions", _) => Some("'extensions' group has been removed and cannot be used for encryption"),
        ("*", resource) if resource != "*" => Some("encrypting the same resource across groups is not supported"),
        _ => None,
    }
}
