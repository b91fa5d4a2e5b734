//! Where a webhook is: a URL or a Service.

use crate::validation::at::{At, Out};
use crate::validation::read::{number, some, text};
use crate::{Value, names};

const FORM: &str = "; desired format: https://host[/path]";

/// A `WebhookClientConfig`.
pub(in crate::validation) fn config(out: &mut Out, at: At<'_>, config: &Value) {
    match (some(config, "url"), some(config, "service")) {
        (Some(address), None) => url(out, at.child("url"), address.as_str().unwrap_or_default()),
        (None, Some(found)) => service(out, at.child("service"), found),
        _ => out.required(at, "exactly one of url or service is required"),
    }
}

/// The parts of a URL, as Go's parser tells them apart.
struct Parts<'a> {
    scheme: &'a str,
    user: Option<&'a str>,
    host: &'a str,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

fn parts(url: &str) -> Parts<'_> {
    let (rest, fragment) = url.split_once('#').map_or((url, None), |(rest, f)| (rest, Some(f)));
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, q)| (rest, Some(q)));
    let (scheme, rest) = rest.split_once(':').filter(|(s, _)| !s.contains('/')).unwrap_or(("", rest));
    let authority = rest.strip_prefix("//").map_or("", |rest| rest.split('/').next().unwrap_or_default());
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    Parts { scheme, user, host, query, fragment }
}

fn url(out: &mut Out, at: At<'_>, url: &str) {
    if url.chars().any(|c| c.is_control() || c == ' ') {
        out.required(
            at,
            &format!("url must be a valid URL: parse {url:?}: net/url: invalid control character in URL{FORM}"),
        );
        return;
    }
    let parts = parts(url);
    if parts.scheme != "https" {
        out.invalid(at, parts.scheme, &format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if parts.host.is_empty() {
        out.invalid(at, parts.host, &format!("host must be provided{FORM}"));
    }
    if let Some(user) = parts.user {
        out.invalid(at, user, "user information is not permitted in the URL");
    }
    if let Some(fragment) = parts.fragment.filter(|f| !f.is_empty()) {
        out.invalid(at, fragment, "fragments are not permitted in the URL");
    }
    if let Some(query) = parts.query.filter(|q| !q.is_empty()) {
        out.invalid(at, query, "query parameters are not permitted in the URL");
    }
}

fn service(out: &mut Out, at: At<'_>, service: &Value) {
    if text(service, "name").is_empty() {
        out.required(at.child("name"), "service name is required");
    }
    if text(service, "namespace").is_empty() {
        out.required(at.child("namespace"), "service namespace is required");
    }
    let port = number(service, "port").unwrap_or(0);
    if !(1..=65535).contains(&port) {
        out.invalid(at.child("port"), port, "port is not valid: must be between 1 and 65535, inclusive");
    }
    path(out, at.child("path"), text(service, "path"));
}

fn path(out: &mut Out, at: At<'_>, path: &str) {
    if matches!(path, "" | "/") {
        return;
    }
    if path == "//" {
        out.invalid(at, path, "segment[0] may not be empty");
        return;
    }
    if !path.starts_with('/') {
        out.invalid(at, path, "must start with a '/'");
    }
    // As upstream: the first character is not looked at, whatever it is.
    let rest = path.char_indices().nth(1).map_or("", |(start, _)| &path[start..]);
    for (index, step) in rest.strip_suffix('/').unwrap_or(rest).split('/').enumerate() {
        if step.is_empty() {
            out.invalid(at, path, &format!("segment[{index}] may not be empty"));
            continue;
        }
        for why in names::dns_subdomain(step) {
            out.invalid(at, path, &format!("segment[{index}]: {why}"));
        }
    }
}
