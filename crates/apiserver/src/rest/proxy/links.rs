//! Links of a backend to itself, made links through the proxy.

use http::header::{self, HeaderMap, HeaderValue};

/// What is a link to the backend, and what it becomes.
#[derive(Debug, Clone)]
pub(super) struct Links {
    /// `/api/v1/namespaces/a/services/web/proxy`.
    prefix: String,
    /// The backend as the API server reaches it, and the host that the client named.
    hosts: Vec<String>,
}

impl Links {
    pub(super) fn new(prefix: &str, hosts: [&str; 2]) -> Self {
        let mut known = Vec::new();
        for host in hosts.into_iter().filter(|host| !host.is_empty()) {
            known.push(host.to_ascii_lowercase());
            // A link leaves the scheme's own port out.
            let short = host.strip_suffix(":80").or_else(|| host.strip_suffix(":443"));
            known.extend(short.map(str::to_ascii_lowercase));
        }
        Self { prefix: prefix.to_owned(), hosts: known }
    }

    /// The link through the proxy; nothing for links that stay as they are: relative ones, and those to others.
    pub(super) fn rewritten(&self, link: &str) -> Option<String> {
        let (host, path) = split(link)?;
        if host.is_some_and(|host| !self.hosts.contains(&host.to_ascii_lowercase())) {
            return None;
        }
        let path = match path.as_bytes().first() {
            Some(b'/') => path.to_owned(),
            // Only what names a host may leave out the path.
            _ if host.is_some() => format!("/{path}"),
            _ => return None,
        };
        let inside = path.strip_prefix(&self.prefix);
        if inside.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#'])) {
            return host.map(|_| path);
        }
        Some(format!("{}{path}", self.prefix))
    }

    /// Rewrites `Location`.
    pub(super) fn rewrite_location(&self, headers: &mut HeaderMap) {
        let location = headers.get(header::LOCATION).and_then(|v| v.to_str().ok());
        let rewritten = location.and_then(|location| self.rewritten(location));
        if let Some(value) = rewritten.and_then(|location| HeaderValue::from_str(&location).ok()) {
            headers.insert(header::LOCATION, value);
        }
    }
}

/// The host of a link, if it names one, and the rest; nothing for links without an authority but with a scheme (`mailto:`).
fn split(link: &str) -> Option<(Option<&str>, &str)> {
    let authority = |rest: &'_ str| rest.find(['/', '?', '#']).unwrap_or(rest.len());
    if let Some(rest) = link.strip_prefix("//") {
        let (host, path) = rest.split_at(authority(rest));
        return Some((Some(host), path));
    }
    let scheme = link.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '-' | '.'));
    match scheme.map(|at| link.split_at(at)) {
        Some((scheme, rest)) if !scheme.is_empty() && rest.starts_with(':') => {
            let rest = rest.strip_prefix("://").filter(|_| matches!(scheme, "http" | "https" | "ws" | "wss"))?;
            let (host, path) = rest.split_at(authority(rest));
            Some((Some(host), path))
        }
        _ => Some((None, link)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: &str = "/api/v1/namespaces/a/services/web/proxy";

    #[test]
    fn links_to_the_backend_go_through_the_proxy() {
        let links = Links::new(P, ["10.244.0.7:80", "localhost:6443"]);
        let check = |link: &str, expected: Option<&str>| {
            let expected = expected.map(|e| e.replace("{P}", P));
            assert_eq!(links.rewritten(&link.replace("{P}", P)), expected, "{link}");
        };
        check("/", Some("{P}/"));
        check("/a/b?c=d#e", Some("{P}/a/b?c=d#e"));
        check("http://10.244.0.7:80/a", Some("{P}/a"));
        check("http://10.244.0.7/a", Some("{P}/a"));
        check("//10.244.0.7/a", Some("{P}/a"));
        check("https://LOCALHOST:6443/a", Some("{P}/a"));
        check("http://10.244.0.7", Some("{P}/"));
        check("http://10.244.0.7?x", Some("{P}/?x"));
        check("https://localhost:6443{P}/a", Some("{P}/a"));
        check(
            "/api/v1/namespaces/a/services/web/proxy-of-another",
            Some("{P}/api/v1/namespaces/a/services/web/proxy-of-another"),
        );
        for same in [
            "",
            "a/b",
            "../x",
            "#top",
            "?q",
            "{P}/a",
            "{P}",
            "http://example.com/",
            "//example.com/x",
            "http://10.244.0.7:8080/a",
            "http://u@10.244.0.7/",
            "mailto:a@b",
            "javascript:alert(1)",
            "data:text/html,x",
        ] {
            check(same, None);
        }
    }
}
