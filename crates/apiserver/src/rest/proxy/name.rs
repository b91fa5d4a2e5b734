//! `[scheme:]name[:port]`: the name of what is proxied to.

use gantry_api::status::Status;

use crate::dial::Endpoint;
use crate::request::Target;

/// A parsed name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name<'a> {
    secure: bool,
    name: &'a str,
    port: &'a str,
}

impl<'a> Name<'a> {
    /// Reads the name of a target.
    ///
    /// # Errors
    /// 400 in upstream's words.
    pub(super) fn parse(target: &'a Target) -> Result<Self, Status> {
        split(&target.name)
            .ok_or_else(|| Status::bad_request(format!("invalid {} request {:?}", target.kind.singular, target.name)))
    }

    /// Whether TLS is wanted.
    pub(super) fn secure(&self) -> bool {
        self.secure
    }

    /// The scheme's port.
    pub(super) fn default_port(&self) -> u16 {
        if self.secure { 443 } else { 80 }
    }

    /// What is meant.
    pub(super) fn endpoint(&self, target: &'a Target) -> Endpoint<'a> {
        let (namespace, name, port) = (target.namespace.as_str(), self.name, self.port);
        match target.kind.kind {
            "Pod" => Endpoint::Pod { namespace, name, port },
            // As upstream, only endpoints that are pods of the namespace.
            "Service" => Endpoint::Service { namespace, name, port, outside: false },
            _ => Endpoint::Node { name, port },
        }
    }
}

fn split(id: &str) -> Option<Name<'_>> {
    let parts: Vec<&str> = id.split(':').collect();
    let (scheme, name, port) = match parts.as_slice() {
        [name] => ("", *name, ""),
        [name, port] => ("", *name, *port),
        [scheme, name, port] => (*scheme, *name, *port),
        _ => return None,
    };
    let known = matches!(scheme, "" | "http" | "https");
    (known && !name.is_empty()).then_some(Name { secure: scheme == "https", name, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_up_to_three_parts() {
        let check = |id: &str, expected: Option<(bool, &str, &str)>| {
            assert_eq!(split(id).map(|n| (n.secure, n.name, n.port)), expected, "{id}");
        };
        check("web", Some((false, "web", "")));
        check("web:8080", Some((false, "web", "8080")));
        check("web:http", Some((false, "web", "http")));
        check("http:web:", Some((false, "web", "")));
        check("https:web:443", Some((true, "web", "443")));
        check("https:web:", Some((true, "web", "")));
        check(":web:80", Some((false, "web", "80")));
        for bad in ["", ":80", "ftp:web:21", "a:b:c:d", "https::443", "HTTPS:web:443"] {
            check(bad, None);
        }
    }
}
