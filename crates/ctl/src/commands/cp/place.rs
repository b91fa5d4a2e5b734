//! What the two arguments of `cp` mean. Pure.

use std::path::PathBuf;

use anyhow::{Result, bail};

/// One side of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// On this machine.
    Local(PathBuf),
    /// In a container.
    Remote(Remote),
}

/// A path in a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remote {
    pub(super) namespace: Option<String>,
    pub(super) pod: String,
    pub(super) path: String,
}

impl Place {
    /// Reads `[[NAMESPACE/]POD:]PATH`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let Some((pod, path)) = text.split_once(':') else {
            if text.is_empty() {
                bail!("a path must not be empty");
            }
            return Ok(Self::Local(text.into()));
        };
        // A name of a pod begins with a letter or digit; `./a:b` and `/a:b` are files.
        if pod.starts_with(['.', '/', '~']) {
            return Ok(Self::Local(text.into()));
        }
        let (namespace, pod) = match pod.split_once('/') {
            Some((namespace, pod)) => (Some(namespace), pod),
            None => (None, pod),
        };
        if pod.is_empty() || pod.contains('/') || namespace.is_some_and(str::is_empty) {
            bail!("{text:?} is no [[NAMESPACE/]POD:]PATH; for a local file whose name has a colon write ./{text}");
        }
        if path.is_empty() {
            bail!("{text:?} names no path in the pod");
        }
        let namespace = namespace.map(str::to_owned);
        Ok(Self::Remote(Remote { namespace, pod: pod.to_owned(), path: path.to_owned() }))
    }
}

/// The folder to go to and the name in it that stand for a path; the name is `.` where the path ends in none.
#[must_use]
pub(super) fn folder_and_name(path: &str) -> (&str, &str) {
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() {
        return (if path.is_empty() { "." } else { "/" }, ".");
    }
    let (folder, name) = match trimmed.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((folder, name)) => (folder, name),
        None => (".", trimmed),
    };
    if matches!(name, "." | "..") { (trimmed, ".") } else { (folder, name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let local = |text: &str| assert_eq!(Place::parse(text).expect(text), Place::Local(text.into()));
        for text in ["file", "./a:b", "/a:b", "../x", "~/a:b", "a b"] {
            local(text);
        }
        let remote = |text: &str, namespace: Option<&str>, pod: &str, path: &str| {
            let expected =
                Remote { namespace: namespace.map(str::to_owned), pod: pod.to_owned(), path: path.to_owned() };
            assert_eq!(Place::parse(text).expect(text), Place::Remote(expected));
        };
        remote("web-1:/etc/hosts", None, "web-1", "/etc/hosts");
        remote("shop/web-1:data", Some("shop"), "web-1", "data");
        remote("p:/a:b", None, "p", "/a:b");
        for bad in ["", ":x", "p:", "a/b/c:x", "/p:x"[1..].trim_start_matches('p'), "n/:x"] {
            assert!(Place::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn paths_fall_into_folder_and_name() {
        let check = |path: &str, expected: (&str, &str)| assert_eq!(folder_and_name(path), expected, "{path:?}");
        check("/etc/nginx", ("/etc", "nginx"));
        check("/etc/nginx/", ("/etc", "nginx"));
        check("/etc", ("/", "etc"));
        check("data", (".", "data"));
        check("a/b", ("a", "b"));
        check("/", ("/", "."));
        check(".", (".", "."));
        check("..", ("..", "."));
        check("/a/..", ("/a/..", "."));
        check("-rf", (".", "-rf"));
    }
}
