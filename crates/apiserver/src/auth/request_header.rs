//! Users that a proxy in front has authenticated: it shows a certificate of its own CA and names them in headers.
//!
//! Upstream's `--requestheader-*` flags. The certificate decides: the headers of anybody else mean nothing.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;

use super::User;

/// Which certificates are believed, and in which headers the user stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestHeader {
    /// Common names of the certificates; empty: every certificate of the CA.
    pub(crate) allowed_names: Vec<String>,
    /// The first of these that is there holds the user's name.
    pub(crate) username_headers: Vec<String>,
    /// The first of these that is there holds the user's uid.
    pub(crate) uid_headers: Vec<String>,
    /// Each value of each of these is a group.
    pub(crate) group_headers: Vec<String>,
    /// What follows one of these in a header's name is the key of an extra.
    pub(crate) extra_prefixes: Vec<String>,
}

/// The rest of a header's name after a prefix, in whatever case both are.
fn after_prefix<'n>(name: &'n HeaderName, prefix: &str) -> Option<&'n str> {
    let (head, rest) = name.as_str().split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

impl RequestHeader {
    /// The user whom a proxy with the common name `proxy` speaks for; `None` when it may not or names nobody.
    pub(crate) fn user(&self, proxy: &str, headers: &HeaderMap) -> Option<User> {
        if !self.allowed_names.is_empty() && !self.allowed_names.iter().any(|name| name == proxy) {
            return None;
        }
        let first = |names: &[String]| {
            let mut values = names.iter().filter_map(|name| headers.get(name)?.to_str().ok());
            values.find(|value| !value.is_empty()).map(str::to_owned)
        };
        let mut user = User { name: first(&self.username_headers)?, ..User::default() };
        user.uid = first(&self.uid_headers).unwrap_or_default();
        for value in self.group_headers.iter().flat_map(|name| headers.get_all(name)) {
            if let Some(group) = value.to_str().ok().filter(|group| !group.is_empty()) {
                user.add_group(group);
            }
        }
        user.extra = self.extra(headers);
        if !user.is_anonymous() && !user.in_group(super::UNAUTHENTICATED) {
            user.add_group(super::AUTHENTICATED);
        }
        Some(user)
    }

    fn extra(&self, headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in headers {
            for rest in self.extra_prefixes.iter().filter_map(|prefix| after_prefix(name, prefix)) {
                let key = percent_decode_str(rest).decode_utf8_lossy().into_owned();
                if let Ok(value) = value.to_str() {
                    extra.entry(key).or_default().push(value.to_owned());
                }
            }
        }
        extra
    }

    /// Removes the headers, so that nothing behind this server takes them for its own words.
    pub(crate) fn strip(&self, headers: &mut HeaderMap) {
        let named = [&self.username_headers, &self.uid_headers, &self.group_headers];
        for name in named.into_iter().flatten() {
            headers.remove(name);
        }
        let extras: Vec<HeaderName> = headers
            .keys()
            .filter(|name| self.extra_prefixes.iter().any(|prefix| after_prefix(name, prefix).is_some()))
            .cloned()
            .collect();
        for name in extras {
            headers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual() -> RequestHeader {
        let one = |name: &str| vec![name.to_owned()];
        RequestHeader {
            allowed_names: one("front-proxy-client"),
            username_headers: vec!["X-Remote-User".to_owned(), "X-Other-User".to_owned()],
            uid_headers: one("X-Remote-Uid"),
            group_headers: one("X-Remote-Group"),
            extra_prefixes: one("X-Remote-Extra-"),
        }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().expect("valid"))).collect()
    }

    fn sent() -> HeaderMap {
        let mut sent = headers(&[
            ("x-remote-user", "alice"),
            ("x-remote-uid", "7"),
            ("x-remote-extra-acme.com%2fscope", "a"),
            ("x-remote-group", "dev"),
            ("accept", "*/*"),
        ]);
        sent.append("x-remote-group", "ops".parse().expect("valid"));
        sent.append("x-remote-extra-acme.com%2fscope", "b".parse().expect("valid"));
        sent
    }

    #[test]
    fn a_proxy_names_the_user() {
        let user = usual().user("front-proxy-client", &sent()).expect("a user");
        assert_eq!((user.name.as_str(), user.uid.as_str()), ("alice", "7"));
        assert_eq!(user.groups, ["dev", "ops", "system:authenticated"]);
        assert_eq!(user.extra["acme.com/scope"], ["a", "b"]);
        let second = usual().user("front-proxy-client", &headers(&[("x-remote-user", ""), ("x-other-user", "bob")]));
        assert_eq!(second.map(|user| user.name).as_deref(), Some("bob"));
    }

    #[test]
    fn others_are_not_believed() {
        assert_eq!(usual().user("somebody", &sent()), None);
        assert_eq!(usual().user("front-proxy-client", &headers(&[("x-remote-group", "system:masters")])), None);
        let any = RequestHeader { allowed_names: Vec::new(), ..usual() };
        assert!(any.user("somebody", &sent()).is_some());
        let nobody = usual().user("front-proxy-client", &headers(&[("x-remote-user", "system:anonymous")]));
        assert_eq!(nobody.map(|user| user.groups), Some(Vec::new()));
    }

    #[test]
    fn nothing_of_it_goes_on() {
        let mut rest = sent();
        usual().strip(&mut rest);
        assert_eq!(rest.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }
}
