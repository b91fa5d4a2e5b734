//! From a request path to what it names: a resource (group, version, namespace, name, subresource) or a plain path.

use percent_encoding::percent_decode_str;

/// A path below `/api/v1` or `/apis/<group>/<version>` that names a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResourcePath {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: String,
    pub(crate) resource: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
    /// The deprecated `/watch/` prefix was used.
    pub(crate) watch: bool,
}

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Resource(ResourcePath),
    /// Discovery, health, OpenAPI and everything else; the path as sent.
    Plain(String),
    /// A segment that could climb out of its place in a key (`..`, an encoded slash, a NUL).
    Malformed,
}

/// Whether a decoded segment may stand in a key.
fn is_safe(segment: &str) -> bool {
    segment != "." && segment != ".." && !segment.contains(['/', '\0'])
}

/// Reads a path.
pub(crate) fn parse(path: &str) -> Route {
    let mut segments = Vec::new();
    for raw in path.trim_matches('/').split('/').filter(|s| !s.is_empty()) {
        match percent_decode_str(raw).decode_utf8() {
            Ok(decoded) if is_safe(&decoded) => segments.push(decoded.into_owned()),
            _ => return Route::Malformed,
        }
    }
    let (group, version, rest) = match segments.as_slice() {
        [api, version, rest @ ..] if api == "api" && !rest.is_empty() => (String::new(), version.clone(), rest),
        [apis, group, version, rest @ ..] if apis == "apis" && !rest.is_empty() => {
            (group.clone(), version.clone(), rest)
        }
        _ => return Route::Plain(path.to_owned()),
    };
    let mut found = ResourcePath { group, version, ..ResourcePath::default() };
    let rest = match rest {
        [watch, tail @ ..] if watch == "watch" && !tail.is_empty() => {
            found.watch = true;
            tail
        }
        other => other,
    };
    match rest {
        // /namespaces/{ns}/{resource}...; below a namespace, `status` and `finalize` are its own subresources.
        [namespaces, namespace, resource, tail @ ..]
            if namespaces == "namespaces" && !(found.group.is_empty() && is_namespace_subresource(resource, tail)) =>
        {
            namespace.clone_into(&mut found.namespace);
            fill(&mut found, resource, tail)
        }
        [resource, tail @ ..] => fill(&mut found, resource, tail),
        [] => Route::Plain(path.to_owned()),
    }
}

fn is_namespace_subresource(segment: &str, tail: &[String]) -> bool {
    tail.is_empty() && (segment == "status" || segment == "finalize")
}

fn fill(found: &mut ResourcePath, resource: &str, tail: &[String]) -> Route {
    resource.clone_into(&mut found.resource);
    match tail {
        [] => {}
        [name] => name.clone_into(&mut found.name),
        [name, sub, ..] => {
            name.clone_into(&mut found.name);
            sub.clone_into(&mut found.subresource);
        }
    }
    Route::Resource(std::mem::take(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: &str) {
        let got = match parse(path) {
            Route::Resource(r) => format!(
                "{}/{} ns={} {} name={} sub={}{}",
                r.group,
                r.version,
                r.namespace,
                r.resource,
                r.name,
                r.subresource,
                if r.watch { " watch" } else { "" }
            ),
            Route::Plain(p) => format!("plain {p}"),
            Route::Malformed => "malformed".to_owned(),
        };
        assert_eq!(got, expected, "{path}");
    }

    #[test]
    fn paths_name_resources() {
        check("/api/v1/pods", "/v1 ns= pods name= sub=");
        check("/api/v1/namespaces/a/pods/p", "/v1 ns=a pods name=p sub=");
        check("/api/v1/namespaces/a/pods/p/log", "/v1 ns=a pods name=p sub=log");
        check("/apis/apps/v1/namespaces/a/deployments/d/scale", "apps/v1 ns=a deployments name=d sub=scale");
        check("/api/v1/namespaces", "/v1 ns= namespaces name= sub=");
        check("/api/v1/namespaces/a", "/v1 ns= namespaces name=a sub=");
        check("/api/v1/namespaces/a/finalize", "/v1 ns= namespaces name=a sub=finalize");
        check("/api/v1/namespaces/a/status", "/v1 ns= namespaces name=a sub=status");
        check("/api/v1/watch/namespaces/a/pods", "/v1 ns=a pods name= sub= watch");
        check(
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
            "rbac.authorization.k8s.io/v1 ns= clusterroles name=system:node sub=",
        );
    }

    #[test]
    fn other_paths_stay_plain() {
        for path in ["/", "/api", "/apis", "/api/v1", "/apis/apps", "/apis/apps/v1", "/healthz", "/openapi/v3/api/v1"] {
            check(path, &format!("plain {path}"));
        }
    }

    #[test]
    fn segments_that_climb_are_refused() {
        for path in [
            "/api/v1/namespaces/..%2Fx/pods",
            "/api/v1/namespaces/../secrets",
            "/api/v1/pods/a%00b",
            "/api/v1/pods/%2e%2e",
        ] {
            check(path, "malformed");
        }
    }
}
