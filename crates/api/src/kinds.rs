//! The kinds that this release serves: names, scope, verbs, storage keys, subresources.
//!
//! Names, verbs and short names are facts (`facts/kinds.tsv`); what a table of the API cannot say (storage prefix, generation
//! rule, selectable fields, which subresources are served) stands in [`SERVED`]. A new kind is one more entry there.

mod held;
mod served;
mod set;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::custom::Custom;

pub use held::Kind;
pub use set::{Kinds, Unserved};

const FACTS: &str = include_str!("../facts/kinds.tsv");

/// When a write raises `metadata.generation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// The kind has no generation.
    Untracked,
    /// Set to 1 at creation, never raised.
    Fixed,
    /// Raised when `spec` changes.
    Spec,
    /// As [`Generation::Spec`], and there is none at creation.
    LaterSpec,
    /// Raised when `spec` or `metadata.annotations` changes.
    SpecAndAnnotations,
    /// Raised when anything but metadata and status changes.
    Content,
    /// Raised when anything but metadata changes.
    ContentAndStatus,
    /// Raised when anything but metadata and status changes, or the labels do.
    ContentAndLabels,
}

/// What a column says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// This.
    Plain(&'static str),
    /// What the API says of a field: a type of the table (`core/v1.PodSpec`), and the field (`nodeName`).
    Field(&'static str, &'static str),
}

/// One column of a Table; `priority` above 0 is shown by `-o wide` only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// The header, as kubectl prints it in upper case.
    pub name: &'static str,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: &'static str,
    /// `name` for the name column, else mostly empty.
    pub format: &'static str,
    /// For people.
    pub description: Text,
    /// 0: always shown.
    pub priority: i32,
}

impl Column {
    /// The same, shown by `-o wide` only.
    #[must_use]
    pub const fn wide(self) -> Self {
        Self { priority: 1, ..self }
    }

    /// What OpenAPI says of `metadata.name`; upstream's tables say the same of the column of names.
    pub const NAME_TEXT: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";
    /// What it says of `metadata.creationTimestamp`, and tables of ages.
    pub const CREATED_TEXT: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
}

/// A subresource of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subresource {
    /// The path segment: `status`, `scale`, ...
    pub name: &'static str,
    /// The group of the object that it takes or returns.
    pub group: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Its kind: the parent's own for `status`, `Scale` for `scale`.
    pub kind: &'static str,
    /// The verbs, as discovery prints them.
    pub verbs: Vec<&'static str>,
    /// Whether the group and version differ from the parent's, so that discovery states them.
    pub foreign: bool,
}

impl Subresource {
    /// The name in the type table of what it takes and returns, as a subresource of `kind`.
    #[must_use]
    pub fn type_name(&self, kind: &KindInfo) -> String {
        if self.kind == kind.kind && !self.foreign {
            kind.type_name.clone()
        } else {
            type_name(self.group, self.version, self.kind)
        }
    }

    /// Whether it takes no object but a connection: its kind names options, which come in the query (`proxy`).
    #[must_use]
    pub fn connects(&self) -> bool {
        self.kind.ends_with("Options")
    }
}

/// One served kind. Whoever keeps one holds it: [`KindInfo::held`].
#[derive(Debug, PartialEq, Eq)]
pub struct KindInfo {
    /// The group; empty for core.
    pub group: &'static str,
    /// The version.
    pub version: &'static str,
    /// `v1` or `apps/v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: &'static str,
    /// `deployments`.
    pub resource: &'static str,
    /// `deployment`.
    pub singular: &'static str,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// `deploy`.
    pub short_names: Vec<&'static str>,
    /// `all`.
    pub categories: Vec<&'static str>,
    /// The verbs in discovery's order (alphabetical).
    pub verbs: Vec<&'static str>,
    /// The name in the type table: `apps/v1.Deployment`.
    pub type_name: String,
    /// The etcd key of the kind, with a trailing slash: `/registry/deployments/`. Meaningless for kinds that are not stored.
    pub storage_prefix: String,
    /// Whether `status` is written through `/status` only.
    pub has_status: bool,
    /// Whether `metadata.generation` is there from creation on.
    pub tracks_generation: bool,
    /// When exactly it is raised.
    pub generation: Generation,
    /// The served subresources.
    pub subresources: Vec<Subresource>,
    /// The field selectors that the kind supports, `metadata.name` first.
    pub selectable_fields: Vec<Cow<'static, str>>,
    /// What clients are warned of, whatever they ask.
    pub deprecation: Option<Cow<'static, str>>,
    /// Group and version of the kind in whose form its objects are stored, where that is not its own; see [`KindInfo::hub`].
    pub(crate) hub: Option<(&'static str, &'static str)>,
    /// What its definition says, where the kind is defined at run time.
    pub custom: Option<Box<Custom>>,
    /// Its place in [`all`], or among the versions of its definition.
    pub(crate) place: u16,
}

impl KindInfo {
    /// The kind in whose form objects are stored, defaulted, admitted and validated: mostly itself.
    /// Another version of a resource, and `events.k8s.io`, are forms of one store: [`crate::convert`] goes between them.
    #[must_use]
    pub fn hub(&self) -> &Self {
        let hub = self.hub.and_then(|(group, version)| by_kind(group, version, self.kind));
        hub.unwrap_or(self)
    }

    /// Whether its objects are stored in the form of another kind.
    #[must_use]
    pub fn is_converted(&self) -> bool {
        self.hub.is_some()
    }

    /// Whether it is this built-in kind, in whatever version.
    #[must_use]
    pub fn is(&self, group: &str, kind: &str) -> bool {
        self.kind == kind && self.group == group && self.custom.is_none()
    }

    /// Where an object of the kind has the spec of pods: `spec.template.spec` of a `Deployment`.
    #[must_use]
    pub fn pods_at(&self) -> Option<&'static str> {
        match (self.group, self.kind) {
            _ if self.custom.is_some() => None,
            ("", "Pod") => Some("spec"),
            ("", "PodTemplate") => Some("template.spec"),
            ("batch", "CronJob") => Some("spec.jobTemplate.spec.template.spec"),
            ("", "ReplicationController")
            | ("apps", "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet")
            | ("batch", "Job") => Some("spec.template.spec"),
            _ => None,
        }
    }

    /// `DeploymentList`.
    #[must_use]
    pub fn list_kind(&self) -> String {
        self.custom.as_ref().map_or_else(|| format!("{}List", self.kind), |custom| custom.list_kind.clone())
    }

    /// Its [`KindInfo::type_name`], which outlives it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.custom.as_ref().map_or_else(|| all()[usize::from(self.place)].type_name.as_str(), |custom| custom.ty.name)
    }

    /// Whether `verb` (`list`, `deletecollection`, ...) is served.
    #[must_use]
    pub fn supports(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }

    /// Whether objects of this kind are only questions: created, answered, never stored.
    #[must_use]
    pub fn create_only(&self) -> bool {
        self.verbs == ["create"]
    }

    /// Whether objects of this kind are worked out when they are asked for: they can be read, but not watched or written.
    #[must_use]
    pub fn computed(&self) -> bool {
        self.verbs == ["get", "list"]
    }

    /// Whether a DELETE answers with the object that went, instead of a Status.
    #[must_use]
    pub fn returns_deleted(&self) -> bool {
        let core = ["PersistentVolume", "PersistentVolumeClaim", "Pod", "PodTemplate", "ResourceQuota", "Service"];
        self.custom.is_none()
            && match self.group {
                "" => core.contains(&self.kind) || self.kind == "ServiceAccount",
                "resource.k8s.io" => true,
                "storage.k8s.io" => self.kind != "CSIStorageCapacity",
                _ => false,
            }
    }

    /// Whether objects of this kind are in the store.
    #[must_use]
    pub fn stored(&self) -> bool {
        !self.create_only() && !self.computed()
    }

    /// The subresource `name`.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// The etcd key of one object.
    #[must_use]
    pub fn storage_key(&self, namespace: &str, name: &str) -> String {
        if self.namespaced {
            format!("{}{namespace}/{name}", self.storage_prefix)
        } else {
            format!("{}{name}", self.storage_prefix)
        }
    }

    /// `deployments.apps`, or `pods` for core.
    #[must_use]
    pub fn qualified_resource(&self) -> String {
        if self.group.is_empty() { self.resource.to_owned() } else { format!("{}.{}", self.resource, self.group) }
    }
}

/// What the facts do not say about a served kind.
struct Served {
    group: &'static str,
    resource: &'static str,
    /// The segment(s) after `/registry/`; empty: the resource.
    storage: &'static str,
    generation: Generation,
    subresources: &'static [&'static str],
    /// Beyond `metadata.name` and `metadata.namespace`.
    fields: &'static [&'static str],
    /// The version; empty: the only one in the facts.
    version: &'static str,
    /// As [`KindInfo::hub`].
    hub: Option<(&'static str, &'static str)>,
    deprecation: Option<&'static str>,
}

const fn plain(group: &'static str, resource: &'static str) -> Served {
    Served {
        group,
        resource,
        storage: "",
        generation: Generation::Untracked,
        subresources: &[],
        fields: &[],
        version: "",
        hub: None,
        deprecation: None,
    }
}

impl Served {
    fn is(&self, row: &Row) -> bool {
        self.group == row.group
            && self.resource == row.resource
            && (self.version.is_empty() || self.version == row.version)
    }
}

const RBAC: &str = "rbac.authorization.k8s.io";

/// The kinds that a cluster cannot do without, and those of [`served::SERVED`]; discovery's order is that of the facts.
const SERVED: &[Served] = &[
    plain("", "bindings"),
    plain("", "configmaps"),
    Served {
        fields: &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ..plain("", "events")
    },
    Served { subresources: &["finalize", "status"], fields: &["status.phase"], ..plain("", "namespaces") },
    Served {
        storage: "minions",
        subresources: &["proxy", "status"],
        fields: &["spec.unschedulable"],
        ..plain("", "nodes")
    },
    Served {
        generation: Generation::Spec,
        subresources: &[
            "attach",
            "binding",
            "ephemeralcontainers",
            "eviction",
            "exec",
            "log",
            "portforward",
            "proxy",
            "resize",
            "status",
        ],
        fields: &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        ..plain("", "pods")
    },
    Served { fields: &["type"], ..plain("", "secrets") },
    Served { subresources: &["token"], ..plain("", "serviceaccounts") },
    Served {
        storage: "services/specs",
        subresources: &["proxy", "status"],
        fields: &["spec.clusterIP", "spec.type"],
        ..plain("", "services")
    },
    Served {
        generation: Generation::SpecAndAnnotations,
        subresources: &["scale", "status"],
        ..plain("apps", "deployments")
    },
    Served {
        generation: Generation::Spec,
        subresources: &["scale", "status"],
        fields: &["status.replicas"],
        ..plain("apps", "replicasets")
    },
    plain("authentication.k8s.io", "selfsubjectreviews"),
    plain("authentication.k8s.io", "tokenreviews"),
    plain("authorization.k8s.io", "localsubjectaccessreviews"),
    plain("authorization.k8s.io", "selfsubjectaccessreviews"),
    plain("authorization.k8s.io", "selfsubjectrulesreviews"),
    plain("authorization.k8s.io", "subjectaccessreviews"),
    plain(RBAC, "clusterrolebindings"),
    plain(RBAC, "clusterroles"),
    plain(RBAC, "rolebindings"),
    plain(RBAC, "roles"),
    Served { generation: Generation::Fixed, ..plain("scheduling.k8s.io", "priorityclasses") },
    plain("coordination.k8s.io", "leases"),
    Served { generation: Generation::ContentAndLabels, ..plain("discovery.k8s.io", "endpointslices") },
    plain("metrics.k8s.io", "nodes"),
    plain("metrics.k8s.io", "pods"),
];

/// One line of `facts/kinds.tsv`.
struct Row {
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    kind: &'static str,
    other: &'static str,
    singular: &'static str,
    scope: &'static str,
    short_names: Vec<&'static str>,
    categories: Vec<&'static str>,
    verbs: Vec<&'static str>,
}

fn words(cell: &'static str) -> Vec<&'static str> {
    cell.split(',').filter(|w| !w.is_empty()).collect()
}

fn rows() -> Vec<Row> {
    let parse = |line: &'static str| {
        let mut cells = line.split('\t');
        let mut next = || cells.next().unwrap_or_default();
        Row {
            group: next(),
            version: next(),
            resource: next(),
            kind: next(),
            other: next(),
            singular: next(),
            scope: next(),
            short_names: words(next()),
            categories: words(next()),
            verbs: words(next()),
        }
    };
    FACTS.lines().skip(1).map(parse).collect()
}

/// `apps/v1`, or `v1` for core.
#[must_use]
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// Splits `apps/v1` or `v1` into group and version.
#[must_use]
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// An `apiVersion` as upstream's `ParseGroupVersion` reads it: `/v1` is the core group's `v1`, and with more than one slash it is
/// none.
#[must_use]
pub fn read_api_version(api_version: &str) -> Option<&str> {
    let plain = api_version.strip_prefix('/').unwrap_or(api_version);
    let slashes = api_version.bytes().filter(|byte| *byte == b'/').count();
    (slashes < 2).then_some(plain)
}

/// The type table's name for a kind: `apps/v1.Deployment`, `core/v1.Pod`, `rbac/v1.Role`.
#[must_use]
pub fn type_name(group: &str, version: &str, kind: &str) -> String {
    let short = group.split('.').next().filter(|g| !g.is_empty()).unwrap_or("core");
    format!("{short}/{version}.{kind}")
}

fn subresource(row: &Row) -> Subresource {
    let (group, version) = if row.other.is_empty() { (row.group, row.version) } else { split_api_version(row.other) };
    let name = row.resource.split_once('/').map_or("", |(_, sub)| sub);
    Subresource { name, group, version, kind: row.kind, verbs: row.verbs.clone(), foreign: !row.other.is_empty() }
}

/// The field selectors that every kind supports.
pub(crate) fn metadata_fields(namespaced: bool) -> Vec<Cow<'static, str>> {
    let fields: &[&str] = if namespaced { &["metadata.name", "metadata.namespace"] } else { &["metadata.name"] };
    fields.iter().map(|field| Cow::Borrowed(*field)).collect()
}

fn info((place, row): (u16, &Row), served: &Served, rows: &[Row]) -> KindInfo {
    let of_this = |r: &&Row| {
        let sub = r.resource.strip_prefix(row.resource).and_then(|rest| rest.strip_prefix('/'));
        r.group == row.group && r.version == row.version && sub.is_some_and(|s| served.subresources.contains(&s))
    };
    let subresources: Vec<Subresource> = rows.iter().filter(of_this).map(subresource).collect();
    let namespaced = row.scope == "Namespaced";
    let mut selectable_fields = metadata_fields(namespaced);
    selectable_fields.extend(served.fields.iter().map(|field| Cow::Borrowed(*field)));
    let storage = if served.storage.is_empty() { row.resource } else { served.storage };
    KindInfo {
        group: row.group,
        version: row.version,
        api_version: api_version(row.group, row.version),
        kind: row.kind,
        resource: row.resource,
        singular: row.singular,
        namespaced,
        short_names: row.short_names.clone(),
        categories: row.categories.clone(),
        verbs: row.verbs.clone(),
        type_name: type_name(row.group, row.version, row.kind),
        storage_prefix: format!("/registry/{storage}/"),
        has_status: subresources.iter().any(|s| s.name == "status"),
        tracks_generation: !matches!(served.generation, Generation::Untracked | Generation::LaterSpec),
        generation: served.generation,
        subresources,
        selectable_fields,
        deprecation: served.deprecation.map(Cow::Borrowed),
        hub: served.hub,
        custom: None,
        place,
    }
}

fn served() -> impl Iterator<Item = &'static Served> {
    SERVED.iter().chain(served::SERVED)
}

/// Every built-in kind, groups in discovery's order (core first), resources by name. What a server serves, custom kinds included,
/// is in its [`Kinds`]: whoever follows what a request or an object names asks that.
#[must_use]
pub fn all() -> &'static [KindInfo] {
    static ALL: OnceLock<Vec<KindInfo>> = OnceLock::new();
    ALL.get_or_init(|| {
        let rows = rows();
        let served = rows.iter().filter_map(|row| Some((row, served().find(|s| s.is(row))?)));
        (0..).zip(served).map(|(place, (row, served))| info((place, row), served, &rows)).collect()
    })
}

/// The built-in kind behind a REST path.
#[must_use]
pub fn by_resource(group: &str, version: &str, resource: &str) -> Option<&'static KindInfo> {
    all().iter().find(|k| k.resource == resource && k.group == group && k.version == version)
}

/// The built-in kind that an object names.
#[must_use]
pub fn by_kind(group: &str, version: &str, kind: &str) -> Option<&'static KindInfo> {
    all().iter().find(|k| k.kind == kind && k.group == group && k.version == version)
}

/// As [`by_kind`], for an `apiVersion` string.
#[must_use]
pub fn by_api_version(api_version: &str, kind: &str) -> Option<&'static KindInfo> {
    let (group, version) = split_api_version(api_version);
    by_kind(group, version, kind)
}

/// The kind in whose form the object under this etcd key is stored.
#[must_use]
pub fn by_storage_key(key: &str) -> Option<&'static KindInfo> {
    static BY_PREFIX: OnceLock<BTreeMap<&str, &KindInfo>> = OnceLock::new();
    let stored = || all().iter().rev().filter(|k| k.stored() && !k.is_converted());
    let by_prefix = BY_PREFIX.get_or_init(|| stored().map(|kind| (kind.storage_prefix.as_str(), kind)).collect());
    // No prefix begins with another: only the last one that is not behind the key can be its own.
    let (prefix, kind) = by_prefix.range(..=key).next_back()?;
    key.starts_with(prefix).then_some(kind)
}

#[cfg(test)]
impl KindInfo {
    /// As this built-in kind, with other subresources.
    pub(crate) fn with_subresources(&self, subresources: Vec<Subresource>) -> Self {
        let rows = rows();
        let is_this =
            |row: &&Row| row.group == self.group && row.version == self.version && row.resource == self.resource;
        let row = rows.iter().find(is_this).expect("a built-in kind");
        let served = served().find(|served| served.is(row)).expect("a served kind");
        Self { subresources, ..info((self.place, row), served, &rows) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_served_kind_is_in_the_facts() {
        assert_eq!(all().len(), served().count());
        for served in served() {
            let version = |k: &KindInfo| served.version.is_empty() || k.version == served.version;
            let kind = all().iter().find(|k| k.group == served.group && k.resource == served.resource && version(k));
            let kind = kind.unwrap_or_else(|| panic!("{} is not in the facts", served.resource));
            assert_eq!(kind.subresources.len(), served.subresources.len(), "{}", kind.resource);
        }
    }

    #[test]
    fn entries_say_what_upstream_serves() {
        let check = |group: &str, resource: &str, type_name: &str, prefix: &str, status: bool| {
            let kind = by_resource(group, "v1", resource).expect("served");
            assert_eq!(
                (kind.type_name.as_str(), kind.storage_prefix.as_str(), kind.has_status),
                (type_name, prefix, status)
            );
            assert_eq!(by_kind(group, "v1", kind.kind), Some(kind));
        };
        check("", "pods", "core/v1.Pod", "/registry/pods/", true);
        check("", "nodes", "core/v1.Node", "/registry/minions/", true);
        check("", "services", "core/v1.Service", "/registry/services/specs/", true);
        check("apps", "deployments", "apps/v1.Deployment", "/registry/deployments/", true);
        check(RBAC, "roles", "rbac/v1.Role", "/registry/roles/", false);
        check("coordination.k8s.io", "leases", "coordination/v1.Lease", "/registry/leases/", false);
    }

    #[test]
    fn scale_is_of_another_group() {
        let deployments = by_resource("apps", "v1", "deployments").expect("served");
        let scale = deployments.subresource("scale").expect("served");
        assert_eq!((scale.group, scale.version, scale.kind, scale.foreign), ("autoscaling", "v1", "Scale", true));
        assert!(by_resource("", "v1", "bindings").expect("served").create_only());
        assert_eq!(by_storage_key("/registry/pods/a/b").map(|k| k.kind), Some("Pod"));
        assert_eq!(by_storage_key("/registry/ranges/servicenodeports"), None);
    }

    #[test]
    fn kinds_that_are_computed_have_no_key() {
        let metrics = by_resource("metrics.k8s.io", "v1beta1", "pods").expect("served");
        assert_eq!((metrics.kind, metrics.computed(), metrics.stored()), ("PodMetrics", true, false));
        assert_eq!(by_storage_key("/registry/pods/a/b").map(|k| k.group), Some(""));
        assert!(all().iter().filter(|k| k.stored()).all(|k| k.supports("watch") && k.supports("create")));
        let proxy = by_resource("", "v1", "services").and_then(|k| k.subresource("proxy")).expect("served");
        assert_eq!((proxy.connects(), proxy.verbs.len()), (true, 5));
    }
}
