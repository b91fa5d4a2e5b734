//! The parameters of operations: what each is, and which verb takes which.

/// A parameter in the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// `string`, `integer` or `boolean`.
    pub(super) ty: &'static str,
    pub(super) text: &'static str,
}

const fn of(name: &'static str, ty: &'static str, text: &'static str) -> Parameter {
    Parameter { name, ty, text }
}

pub(super) const PRETTY: Parameter = of(
    "pretty",
    "string",
    "If 'true', the answer is indented. Browsers, curl and wget get it so unless they say 'false'.",
);
const DRY_RUN: Parameter = of(
    "dryRun",
    "string",
    "With 'All' the request goes through every step, but nothing is stored. No other value is valid.",
);
const FIELD_MANAGER: Parameter = of(
    "fieldManager",
    "string",
    "Who the fields of this change are ascribed to: at most 128 printable characters. By default the part of the user agent before the first '/'.",
);
const APPLY_MANAGER: Parameter = of(
    "fieldManager",
    "string",
    "Who the fields of this change are ascribed to: at most 128 printable characters. Needed for apply patches; otherwise by default the part of the user agent before the first '/'.",
);
const FIELD_VALIDATION: Parameter = of(
    "fieldValidation",
    "string",
    "What becomes of unknown and duplicate fields: 'Ignore' drops them, 'Warn' drops them and adds a warning for each to the answer, 'Strict' refuses the request. By default 'Warn'.",
);
const FORCE: Parameter =
    of("force", "boolean", "For apply patches: takes over the fields that other managers own, instead of a conflict.");
const GRACE: Parameter = of(
    "gracePeriodSeconds",
    "integer",
    "Seconds that the object has to end by itself; 0 removes it at once. By default that of its kind.",
);
const ORPHAN: Parameter = of(
    "orphanDependents",
    "boolean",
    "Deprecated: use propagationPolicy, which excludes this. Whether the objects that this one owns stay.",
);
const PROPAGATION: Parameter = of(
    "propagationPolicy",
    "string",
    "What becomes of the objects that this one owns: 'Orphan' keeps them, 'Background' removes them afterwards, 'Foreground' removes them first. By default that of the kind.",
);
const BOOKMARKS: Parameter = of(
    "allowWatchBookmarks",
    "boolean",
    "Whether a watch may send events of type BOOKMARK, which say how far it has come. When they come is up to the server.",
);
const CONTINUE: Parameter = of(
    "continue",
    "string",
    "The token of the page before: goes on where it ended, with the same other parameters. 410 Expired when it is too old; the Status then holds a token that goes on from newer state. Not for watches.",
);
const FIELD_SELECTOR: Parameter = of("fieldSelector", "string", "Only objects whose fields have these values.");
const LABEL_SELECTOR: Parameter = of("labelSelector", "string", "Only objects whose labels match.");
const LIMIT: Parameter = of(
    "limit",
    "integer",
    "At most so many objects; the list's metadata then has a token for the next page. All pages show the state of the first. Not for watches.",
);
const RESOURCE_VERSION: Parameter = of(
    "resourceVersion",
    "string",
    "Which state of the API is read, or where a watch begins. Unset: the newest; '0': any that the server has.",
);
const VERSION_MATCH: Parameter =
    of("resourceVersionMatch", "string", "How resourceVersion is meant by a list: 'NotOlderThan' or 'Exact'.");
const IGNORE_READ_ERROR: Parameter = of(
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "boolean",
    "For objects that cannot be read from the store any more. Not heeded: feature AllowUnsafeMalformedObjectDeletion is off.",
);
const SHARD_SELECTOR: Parameter = of(
    "shardSelector",
    "string",
    "Only objects of a shard, by ranges of the hash of their uid. Not heeded: feature ShardedListAndWatch is off.",
);
const INITIAL_EVENTS: Parameter = of(
    "sendInitialEvents",
    "boolean",
    "A watch first sends the present objects as events of type ADDED, then a BOOKMARK with the annotation k8s.io/initial-events-end. Needs resourceVersionMatch=NotOlderThan.",
);
const TIMEOUT: Parameter =
    of("timeoutSeconds", "integer", "Seconds after which a list or watch ends, whatever happens.");
const WATCH: Parameter = of("watch", "boolean", "Sends changes as they happen, instead of a list.");

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

const CONTAINER: Parameter = of(
    "container",
    "string",
    "The container; by default the only one of the pod, or the one that its annotation names.",
);
const STDIN: Parameter = of("stdin", "boolean", "Whether standard input is passed on.");
const STDOUT: Parameter = of("stdout", "boolean", "Whether standard output is passed back.");
const STDERR: Parameter = of("stderr", "boolean", "Whether standard error is passed back.");
const TTY: Parameter = of("tty", "boolean", "Whether the process has a terminal.");
const COMMAND: Parameter =
    of("command", "string", "The command, one parameter for each of its words. No shell stands between.");

const PORTS: Parameter = of("ports", "integer", "The ports to forward; over SPDY each stream names its own.");
const PATH: Parameter = of("path", "string", "The path of the request that is passed on.");

const LOG: &[Parameter] = &[
    CONTAINER,
    of("follow", "boolean", "Whether the stream goes on with what is written later."),
    of("insecureSkipTLSVerifyBackend", "boolean", "Accepted for the sake of older clients: nodes are not dialled."),
    of("limitBytes", "integer", "Bytes after which the log is cut off."),
    of("previous", "boolean", "The log of the container's run before this one."),
    of("sinceSeconds", "integer", "Only what was written in the last so many seconds."),
    of("stream", "string", "'All', 'Stdout' or 'Stderr'. By default 'All'."),
    of("tailLines", "integer", "Only the last so many lines."),
    of("timestamps", "boolean", "Whether each line begins with the time that it was written at (RFC 3339)."),
];

/// The parameters of a subresource that streams, by its name.
pub(super) fn of_stream(subresource: &str) -> &'static [Parameter] {
    match subresource {
        "log" => LOG,
        "exec" => &[COMMAND, CONTAINER, STDERR, STDIN, STDOUT, TTY],
        "attach" => &[CONTAINER, STDERR, STDIN, STDOUT, TTY],
        "portforward" => &[PORTS],
        "proxy" => &[PATH],
        _ => &[],
    }
}
