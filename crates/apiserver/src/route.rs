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
    /// What follows the subresource, as it was sent: empty, `/`, `/a%2Fb/../c`.
    pub(crate) rest: String,
    /// The deprecated `/watch/` prefix was used.
    pub(crate) watch: bool,
    /// There is nothing between two slashes where a name should be: who asks may only do so as the path says, but nothing is
    /// served here by such a path.
    pub(crate) hollow: bool,
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

/// One segment of a path.
struct Segment {
    text: String,
    /// Where it ends in the path.
    end: usize,
    safe: bool,
}

/// As upstream: slashes at the ends are nothing, but there is a name, an empty one, between any two others. What another server
/// is sent has to be what was asked for here.
fn segments(path: &str) -> Vec<Segment> {
    let inner = path.trim_start_matches('/');
    let mut at = path.len() - inner.len();
    let mut found = Vec::new();
    for raw in inner.trim_end_matches('/').split('/') {
        let end = at + raw.len();
        at = end + 1;
        let decoded = percent_decode_str(raw).decode_utf8();
        let safe = decoded.as_ref().is_ok_and(|text| is_safe(text));
        found.push(Segment { text: decoded.map(String::from).unwrap_or_default(), end, safe });
    }
    found
}

/// Reads a path.
pub(crate) fn parse(path: &str) -> Route {
    let segments = segments(path);
    let words: Vec<&str> = segments.iter().map(|s| s.text.as_str()).collect();
    let (mut found, used) = match resource(&words) {
        // No router of upstream's knows a path that begins with two slashes.
        Some(read) if !path.starts_with("//") => read,
        _ if segments.iter().all(|s| s.safe) => return Route::Plain(path.to_owned()),
        _ => return Route::Malformed,
    };
    // What follows a proxy is its backend's; everything else becomes part of keys.
    let ours = if found.subresource == "proxy" { used } else { segments.len() };
    if !segments[..ours].iter().all(|s| s.safe) {
        return Route::Malformed;
    }
    found.hollow = words[..used].iter().any(|word| word.is_empty());
    if !found.subresource.is_empty() {
        path[segments[used - 1].end..].clone_into(&mut found.rest);
    }
    Route::Resource(found)
}

/// The resource that the words name and how many of them do.
fn resource(words: &[&str]) -> Option<(ResourcePath, usize)> {
    let (group, version, mut rest) = match words {
        ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
        _ => return None,
    };
    let mut found = ResourcePath { group: group.to_owned(), version: version.to_owned(), ..ResourcePath::default() };
    if let ["watch", tail @ ..] = rest
        && !tail.is_empty()
    {
        found.watch = true;
        rest = tail;
    }
    // /namespaces/{ns}/{resource}...; below a namespace, `status` and `finalize` are its own subresources.
    if let ["namespaces", namespace, resource, ..] = rest
        && !matches!(*resource, "status" | "finalize")
    {
        found.namespace = (*namespace).to_owned();
        rest = &rest[2..];
    }
    let (name, sub, unused) = match rest {
        [_, name, sub, unused @ ..] => (*name, *sub, unused),
        [_, name] => (*name, "", &[][..]),
        _ => ("", "", &[][..]),
    };
    (found.resource, found.name, found.subresource) = ((*rest.first()?).to_owned(), name.to_owned(), sub.to_owned());
    Some((found, words.len() - unused.len()))
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
        check("/apis/g/v1/namespaces/a/status/b", "g/v1 ns= namespaces name=a sub=status");
        check("/api/v1/watch/namespaces/a/pods", "/v1 ns=a pods name= sub= watch");
        check(
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
            "rbac.authorization.k8s.io/v1 ns= clusterroles name=system:node sub=",
        );
    }

    #[test]
    fn nothing_between_slashes_is_an_empty_name() {
        let check = |path: &str, expected: &str| {
            check(path, expected);
            assert!(matches!(parse(path), Route::Resource(found) if found.hollow), "{path}");
        };
        check("/apis/g/v1//foos", "g/v1 ns=  name=foos sub=");
        check("/apis/g/v1/namespaces//foos", "g/v1 ns= foos name= sub=");
        check("/apis/g/v1/namespaces/a//foos", "g/v1 ns=a  name=foos sub=");
        check("/apis/g/v1/foos//status", "g/v1 ns= foos name= sub=status");
        check("/api//v1/pods", "/ ns= v1 name=pods sub=");
        check("/apis//v1/pods", "/v1 ns= pods name= sub=");
        super::tests::check("/api/v1/pods/", "/v1 ns= pods name= sub=");
        super::tests::check("/api/v1/pods//", "/v1 ns= pods name= sub=");
        super::tests::check("//api/v1/pods", "plain //api/v1/pods");
    }

    #[test]
    fn other_paths_stay_plain() {
        for path in ["/", "/api", "/apis", "/api/v1", "/apis/apps", "/apis/apps/v1", "/healthz", "/openapi/v3/api/v1"] {
            check(path, &format!("plain {path}"));
        }
    }

    #[test]
    fn what_follows_a_proxy_is_kept_as_it_is() {
        let check = |path: &str, name: &str, rest: &str| {
            let Route::Resource(found) = parse(path) else { panic!("{path}") };
            let got = (found.name.as_str(), found.subresource.as_str(), found.rest.as_str());
            assert_eq!(got, (name, "proxy", rest), "{path}");
        };
        let base = "/api/v1/namespaces/a/services/web:http/proxy";
        for rest in ["", "/", "//", "/a/b/", "/a%2Fb//c", "/../../x", "/%2e%2e/%00", "/a%ff?"] {
            check(&format!("{base}{rest}"), "web:http", rest);
        }
        check("/api/v1/nodes/n1%3A10250/proxy/pods", "n1:10250", "/pods");
        check("/api/v1/namespaces/a/services/https%3Aweb%3A443/proxy/", "https:web:443", "/");
    }

    #[test]
    fn segments_that_climb_are_refused() {
        for path in [
            "/api/v1/namespaces/..%2Fx/pods",
            "/api/v1/namespaces/../secrets",
            "/api/v1/pods/a%00b",
            "/api/v1/pods/%2e%2e",
            "/api/v1/namespaces/a/services/../proxy/x",
            "/api/v1/namespaces/a/pods/p/log/../x",
            "/openapi/../x",
        ] {
            check(path, "malformed");
        }
    }
}
