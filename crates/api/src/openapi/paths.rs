//! The paths of the served kinds.

use super::operation::{Content, Item, JSON, Operation, Place};
use super::parameters::{self, PRETTY};
use crate::kinds::{KindInfo, Subresource};

const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
/// In upstream's order, of which generated clients take the first.
const WRITTEN: &[&str] = &[JSON, YAML, PROTOBUF];
const LISTED: &[&str] =
    &[JSON, YAML, PROTOBUF, "application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];
const LOGGED: &[&str] = &["text/plain", JSON, YAML, PROTOBUF];
const PATCHES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];
/// Custom kinds have no messages of protobuf, and say nothing of streams and strategies.
const CUSTOM: &[&str] = &[JSON, YAML];
const CUSTOM_PATCHES: &[&str] =
    &["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];
/// What passes through to a container or a node; and as upstream has it what built-in kinds may be sent as.
const ANYTHING: &[&str] = &["*/*"];

/// What a proxy passes on. HEAD and OPTIONS have no verbs of their own in discovery.
const PROXIED: &[&str] = &["get", "create", "update", "patch", "delete", "head", "options"];

/// `api/v1` or `apis/apps/v1`.
pub(super) fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// `Apps`, `RbacAuthorization`, `Core`: a group in the ids of operations.
pub(super) fn group_id(group: &str) -> String {
    let group = if group.is_empty() { "core" } else { group };
    let group = group.strip_suffix(".k8s.io").unwrap_or(group);
    group.split('.').map(capital).collect()
}

/// `apps_v1`, `rbacAuthorization_v1`.
pub(super) fn tag(group: &str, version: &str) -> String {
    let mut id = group_id(group);
    id[..1].make_ascii_lowercase();
    if version.is_empty() { id } else { format!("{id}_{version}") }
}

fn capital(word: &str) -> String {
    let mut word = word.to_owned();
    if let Some(first) = word.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    word
}

/// What a family of operations is about.
struct Subject<'k> {
    kind: &'k KindInfo,
    sub: Option<&'k Subresource>,
    /// In the ids: `AppsV1`.
    group_version: String,
    /// In the ids, behind group and version: `NamespacedPodStatus`.
    object: String,
}

/// The paths of a kind.
pub(super) fn of_kind(kind: &KindInfo) -> Vec<Item> {
    let base = format!("/{}", root(kind.group, kind.version));
    let scope = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
    let plain = Subject {
        kind,
        sub: None,
        group_version: format!("{}{}", group_id(kind.group), capital(kind.version)),
        object: format!("{}{}", if kind.namespaced { "Namespaced" } else { "" }, kind.kind),
    };
    let things = format!("{scope}/{}", kind.resource);
    let one = format!("{things}/{{name}}");
    let mut items = vec![
        plain.item(format!("{base}{things}"), &["list", "create", "deletecollection"]),
        plain.item(format!("{base}{one}"), &["get", "update", "patch", "delete"]),
    ];
    if kind.namespaced {
        items.push(plain.item(format!("{base}/{}", kind.resource), &["list"]));
    }
    // Upstream says nothing of these paths of custom kinds.
    if kind.custom.is_none() {
        items.push(plain.item(format!("{base}/watch{things}"), &["watchlist"]));
        items.push(plain.item(format!("{base}/watch{one}"), &["watch"]));
        if kind.namespaced {
            items.push(plain.item(format!("{base}/watch/{}", kind.resource), &["watchlist"]));
        }
    }
    for sub in &kind.subresources {
        let object = format!("{}{}", plain.object, capital(sub.name));
        let subject = Subject { sub: Some(sub), object, group_version: plain.group_version.clone(), ..plain };
        let path = format!("{base}{one}/{}", sub.name);
        if sub.name == "proxy" {
            items.push(subject.item(format!("{path}/{{path}}"), PROXIED));
        }
        let verbs = if sub.name == "proxy" { PROXIED } else { &["get", "create", "update", "patch", "delete"] };
        items.push(subject.item(path, verbs));
    }
    items.retain(|item| !item.operations.is_empty());
    items
}

impl Subject<'_> {
    fn item(&self, path: String, verbs: &[&'static str]) -> Item {
        let mut places = Vec::new();
        let mut place = |name: &'static str, text: String| {
            if path.contains(&format!("{{{name}}}")) {
                places.push(Place { name, text });
            }
        };
        place("name", format!("The name of the {}.", self.kind.kind));
        place("namespace", "The namespace of the objects.".to_owned());
        place("path", "The path of the request that is passed on.".to_owned());
        let everywhere = self.kind.namespaced && !path.contains("{namespace}");
        let with_path = path.ends_with("{path}");
        let operations = verbs.iter().copied().filter(|verb| self.serves(verb));
        let operations = operations.map(|verb| self.operation(verb, everywhere, with_path)).collect();
        Item { path, places, operations }
    }

    fn serves(&self, verb: &str) -> bool {
        let verbs = self.sub.map_or(&self.kind.verbs, |sub| &sub.verbs);
        let verb = match verb {
            "watchlist" => "watch",
            "head" | "options" => "get",
            other => other,
        };
        verbs.contains(&verb)
    }

    /// Whether the request becomes a stream or passes through, instead of reading or writing an object.
    fn connects(&self) -> bool {
        self.sub.is_some_and(|sub| sub.kind.ends_with("Options"))
    }

    fn gvk(&self) -> (String, String, String) {
        let (group, version, kind) = match self.sub {
            // A custom kind's scale is said to be of that kind.
            Some(sub) if self.kind.custom.is_none() => (sub.group, sub.version, sub.kind),
            _ => (self.kind.group, self.kind.version, self.kind.kind),
        };
        (group.to_owned(), version.to_owned(), kind.to_owned())
    }

    fn operation(&self, verb: &'static str, everywhere: bool, with_path: bool) -> Operation {
        let (group, version, kind) = self.gvk();
        let own = Content::Of(self.sub.map_or_else(|| self.kind.type_name.clone(), |sub| sub.type_name(self.kind)));
        let custom = self.kind.custom.is_some();
        let streams = self.connects() || self.sub.is_some_and(|sub| sub.name == "log");
        let body = match verb {
            _ if self.connects() => Content::Nothing,
            "create" | "update" => own.clone(),
            "patch" => Content::Of("meta/v1.Patch".to_owned()),
            "deletecollection" if custom => Content::Nothing,
            "delete" | "deletecollection" => Content::Of("meta/v1.DeleteOptions".to_owned()),
            _ => Content::Nothing,
        };
        let (takes, gives) = match verb {
            _ if self.connects() => (ANYTHING, ANYTHING),
            "get" if streams => (ANYTHING, LOGGED),
            "patch" if custom => (CUSTOM_PATCHES, CUSTOM),
            _ if custom => (CUSTOM, CUSTOM),
            "patch" => (PATCHES, WRITTEN),
            "list" | "watch" | "watchlist" => (ANYTHING, LISTED),
            _ => (ANYTHING, WRITTEN),
        };
        let mut parameters = match self.sub {
            Some(sub) if streams => parameters::of_stream(sub.name, sub.kind).to_vec(),
            _ if custom => parameters::of_custom_verb(verb).to_vec(),
            _ => parameters::of_verb(verb).to_vec(),
        };
        if !self.connects() {
            parameters.push(PRETTY);
        }
        Operation {
            method: method(verb),
            id: self.id(verb, everywhere, with_path),
            text: self.text(verb),
            tag: tag(self.kind.group, self.kind.version),
            parameters,
            takes,
            body,
            body_required: matches!(verb, "create" | "update" | "patch") && !self.connects(),
            gives,
            answers: self.answers(verb, &own, streams),
            action: Some(if self.connects() { "connect" } else { action(verb) }),
            gvk: Some((group, version, kind)),
        }
    }

    fn answers(&self, verb: &str, own: &Content, streams: bool) -> Vec<(u16, Content)> {
        let answer = match verb {
            _ if streams => Content::Text,
            "list" => Content::Of(format!("{}List", self.kind.type_name)),
            "watch" | "watchlist" => Content::Of("meta/v1.WatchEvent".to_owned()),
            "delete" if self.kind.returns_deleted() => own.clone(),
            "delete" | "deletecollection" => Content::Of("meta/v1.Status".to_owned()),
            _ => own.clone(),
        };
        let codes: &[u16] = match verb {
            _ if streams => &[200],
            "create" => &[200, 201, 202],
            "patch" if self.kind.custom.is_some() => &[200],
            "update" | "patch" => &[200, 201],
            "delete" => &[200, 202],
            _ => &[200],
        };
        codes.iter().map(|code| (*code, answer.clone())).collect()
    }

    /// As upstream forms them: client libraries name their functions after these.
    fn id(&self, verb: &str, everywhere: bool, with_path: bool) -> String {
        let Self { group_version, object, .. } = self;
        if self.connects() {
            let tail = if with_path { "WithPath" } else { "" };
            return format!("connect{group_version}{}{object}{tail}", capital(method(verb)));
        }
        let kind = self.kind.kind;
        match (verb, everywhere) {
            ("list", true) => format!("list{group_version}{kind}ForAllNamespaces"),
            ("watchlist", true) => format!("watch{group_version}{kind}ListForAllNamespaces"),
            ("watchlist", false) => format!("watch{group_version}{object}List"),
            ("deletecollection", _) => format!("delete{group_version}Collection{object}"),
            ("get", _) => format!("read{group_version}{object}"),
            ("update", _) => format!("replace{group_version}{object}"),
            (other, _) => format!("{other}{group_version}{object}"),
        }
    }

    fn text(&self, verb: &str) -> String {
        let kind = self.kind.kind;
        match (self.sub, verb) {
            (Some(sub), _) if self.connects() => format!("Opens {} of a {kind}.", sub.name),
            (Some(sub), "get") => format!("Reads {} of a {kind}.", sub.name),
            (Some(sub), "create") => format!("Creates {} of a {kind}.", sub.name),
            (Some(sub), "update") => format!("Replaces {} of a {kind}.", sub.name),
            (Some(sub), _) => format!("Changes parts of {} of a {kind}.", sub.name),
            (None, "get") => format!("Reads a {kind}."),
            (None, "list") => format!("Lists or watches objects of kind {kind}."),
            (None, "create") => format!("Creates a {kind}."),
            (None, "update") => format!("Replaces a {kind}."),
            (None, "patch") => format!("Changes parts of a {kind}."),
            (None, "delete") => format!("Deletes a {kind}."),
            (None, "deletecollection") => format!("Deletes the objects of kind {kind} that are selected."),
            (None, "watch") => format!("Watches a {kind}. Deprecated: list with watch=true and a field selector."),
            (None, _) => format!("Watches objects of kind {kind}. Deprecated: list with watch=true."),
        }
    }
}

fn method(verb: &str) -> &'static str {
    match verb {
        "create" => "post",
        "update" => "put",
        "patch" => "patch",
        "delete" | "deletecollection" => "delete",
        "head" => "head",
        "options" => "options",
        _ => "get",
    }
}

fn action(verb: &'static str) -> &'static str {
    match verb {
        "create" => "post",
        "update" => "put",
        other => other,
    }
}
