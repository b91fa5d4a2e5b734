//! The parameters of operations: what each is, and which verb takes which.

use super::descriptions::Descriptions;

/// A parameter in the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// `string`, `integer` or `boolean`.
    pub(super) ty: &'static str,
    text: Text,
}

/// What is said of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    /// What the API says of the field of that name in these options, by the name of their schema.
    Of(&'static str),
    /// In our words.
    Own(&'static str),
}

impl Parameter {
    /// Its description.
    pub(super) fn described(self, descriptions: &Descriptions) -> &str {
        match self.text {
            Text::Of(options) => descriptions.of(options).field(self.name).unwrap_or_default(),
            Text::Own(text) => text,
        }
    }
}

const LISTING: Text = Text::Of("io.k8s.apimachinery.pkg.apis.meta.v1.ListOptions");
const WRITING: Text = Text::Of("io.k8s.apimachinery.pkg.apis.meta.v1.CreateOptions");
const PATCHING: Text = Text::Of("io.k8s.apimachinery.pkg.apis.meta.v1.PatchOptions");
const DELETING: Text = Text::Of("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
const LOGGING: Text = Text::Of("io.k8s.api.core.v1.PodLogOptions");
const EXECUTING: Text = Text::Of("io.k8s.api.core.v1.PodExecOptions");
const ATTACHING: Text = Text::Of("io.k8s.api.core.v1.PodAttachOptions");
const FORWARDING: Text = Text::Of("io.k8s.api.core.v1.PodPortForwardOptions");

const fn of(name: &'static str, ty: &'static str, text: Text) -> Parameter {
    Parameter { name, ty, text }
}

pub(super) const PRETTY: Parameter = of(
    "pretty",
    "string",
    Text::Own("If 'true', the answer is indented. Browsers, curl and wget get it so unless they say 'false'."),
);
const DRY_RUN: Parameter = of("dryRun", "string", WRITING);
const FIELD_MANAGER: Parameter = of("fieldManager", "string", WRITING);
const APPLY_MANAGER: Parameter = of("fieldManager", "string", PATCHING);
const FIELD_VALIDATION: Parameter = of("fieldValidation", "string", WRITING);
const FORCE: Parameter = of("force", "boolean", PATCHING);
const GRACE: Parameter = of("gracePeriodSeconds", "integer", DELETING);
const ORPHAN: Parameter = of("orphanDependents", "boolean", DELETING);
const PROPAGATION: Parameter = of("propagationPolicy", "string", DELETING);
const IGNORE_READ_ERROR: Parameter = of("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean", DELETING);
const BOOKMARKS: Parameter = of("allowWatchBookmarks", "boolean", LISTING);
const CONTINUE: Parameter = of("continue", "string", LISTING);
const FIELD_SELECTOR: Parameter = of("fieldSelector", "string", LISTING);
const LABEL_SELECTOR: Parameter = of("labelSelector", "string", LISTING);
const LIMIT: Parameter = of("limit", "integer", LISTING);
const RESOURCE_VERSION: Parameter = of("resourceVersion", "string", LISTING);
const VERSION_MATCH: Parameter = of("resourceVersionMatch", "string", LISTING);
/// Newer than the messages that the descriptions are from.
const SHARD_SELECTOR: Parameter = of(
    "shardSelector",
    "string",
    Text::Own(
        "Only objects of a shard, by ranges of the hash of their uid. Not heeded: feature ShardedListAndWatch is off.",
    ),
);
const INITIAL_EVENTS: Parameter = of("sendInitialEvents", "boolean", LISTING);
const TIMEOUT: Parameter = of("timeoutSeconds", "integer", LISTING);
const WATCH: Parameter = of("watch", "boolean", LISTING);

const LIST: &[Parameter] = &[
    BOOKMARKS,
    CONTINUE,
    FIELD_SELECTOR,
    LABEL_SELECTOR,
    LIMIT,
    RESOURCE_VERSION,
    VERSION_MATCH,
    INITIAL_EVENTS,
    SHARD_SELECTOR,
    TIMEOUT,
    WATCH,
];
const DELETE_COLLECTION: &[Parameter] = &[
    CONTINUE,
    DRY_RUN,
    FIELD_SELECTOR,
    GRACE,
    IGNORE_READ_ERROR,
    LABEL_SELECTOR,
    LIMIT,
    ORPHAN,
    PROPAGATION,
    RESOURCE_VERSION,
    VERSION_MATCH,
    INITIAL_EVENTS,
    SHARD_SELECTOR,
    TIMEOUT,
];

/// The parameters of a verb, besides [`PRETTY`].
pub(super) fn of_verb(verb: &str) -> &'static [Parameter] {
    match verb {
        "create" | "update" => &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION],
        "patch" => &[DRY_RUN, APPLY_MANAGER, FIELD_VALIDATION, FORCE],
        "delete" => &[DRY_RUN, GRACE, IGNORE_READ_ERROR, ORPHAN, PROPAGATION],
        "list" | "watch" | "watchlist" => LIST,
        "deletecollection" => DELETE_COLLECTION,
        _ => &[],
    }
}

/// The same for custom kinds, of which upstream states options that are less to the point.
pub(super) fn of_custom_verb(verb: &str) -> &'static [Parameter] {
    match verb {
        "patch" => of_verb("update"),
        "deletecollection" => LIST,
        other => of_verb(other),
    }
}

const LOG: &[Parameter] = &[
    of("container", "string", LOGGING),
    of("follow", "boolean", LOGGING),
    of("insecureSkipTLSVerifyBackend", "boolean", LOGGING),
    of("limitBytes", "integer", LOGGING),
    of("previous", "boolean", LOGGING),
    of("sinceSeconds", "integer", LOGGING),
    of("stream", "string", LOGGING),
    of("tailLines", "integer", LOGGING),
    of("timestamps", "boolean", LOGGING),
];
const EXEC: &[Parameter] = &[
    of("command", "string", EXECUTING),
    of("container", "string", EXECUTING),
    of("stderr", "boolean", EXECUTING),
    of("stdin", "boolean", EXECUTING),
    of("stdout", "boolean", EXECUTING),
    of("tty", "boolean", EXECUTING),
];
const ATTACH: &[Parameter] = &[
    of("container", "string", ATTACHING),
    of("stderr", "boolean", ATTACHING),
    of("stdin", "boolean", ATTACHING),
    of("stdout", "boolean", ATTACHING),
    of("tty", "boolean", ATTACHING),
];
const NODE_PROXY: &[Parameter] = &[of("path", "string", Text::Of("io.k8s.api.core.v1.NodeProxyOptions"))];
const POD_PROXY: &[Parameter] = &[of("path", "string", Text::Of("io.k8s.api.core.v1.PodProxyOptions"))];
const SERVICE_PROXY: &[Parameter] = &[of("path", "string", Text::Of("io.k8s.api.core.v1.ServiceProxyOptions"))];

/// The parameters of a subresource that streams, by its name and the kind of its options.
pub(super) fn of_stream(subresource: &str, options: &str) -> &'static [Parameter] {
    match (subresource, options) {
        ("log", _) => LOG,
        ("exec", _) => EXEC,
        ("attach", _) => ATTACH,
        ("portforward", _) => const { &[of("ports", "integer", FORWARDING)] },
        ("proxy", "NodeProxyOptions") => NODE_PROXY,
        ("proxy", "ServiceProxyOptions") => SERVICE_PROXY,
        ("proxy", _) => POD_PROXY,
        _ => &[],
    }
}
