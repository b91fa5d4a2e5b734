//! Users that a proxy in front has authenticated: it shows a certificate of its own CA and names them in headers.
//!
//! Upstream's `--requestheader-*` flags. The certificate decides: the headers of anybody else mean nothing.

use std::collections::BTreeMap;

use gantry_api::status::Status;
use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;

use super::{User, header_text};

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

/// All that is said in headers of these names, in the order of the names.
fn texts<'h>(headers: &'h HeaderMap, names: &[String]) -> Result<Vec<&'h str>, Status> {
    let mut found = Vec::new();
    for name in names.iter().filter_map(|name| name.parse::<HeaderName>().ok()) {
        for value in headers.get_all(&name) {
            found.push(header_text(&name, value)?);
        }
    }
    found.retain(|text| !text.is_empty());
    Ok(found)
}

impl RequestHeader {
    /// The user whom a proxy with the common name `proxy` speaks for; `None` when it may not or names nobody.
    ///
    /// # Errors
    /// 400 for a header that is not UTF-8: whoever loses a group or an extra is somebody else.
    pub(crate) fn user(&self, proxy: &str, headers: &HeaderMap) -> Result<Option<User>, Status> {
        if !self.allowed_names.is_empty() && !self.allowed_names.iter().any(|name| name == proxy) {
            return Ok(None);
        }
        let Some(name) = texts(headers, &self.username_headers)?.first().copied() else { return Ok(None) };
        let mut user = User { name: name.to_owned(), ..User::default() };
        if let Some(uid) = texts(headers, &self.uid_headers)?.first() {
            (*uid).clone_into(&mut user.uid);
        }
        // As they are: upstream keeps what is said twice.
        user.groups = texts(headers, &self.group_headers)?.into_iter().map(str::to_owned).collect();
        user.extra = self.extra(headers)?;
        if !user.is_anonymous() && !user.in_group(super::UNAUTHENTICATED) {
            user.add_group(super::AUTHENTICATED);
        }
        Ok(Some(user))
    }

    fn extra(&self, headers: &HeaderMap) -> Result<BTreeMap<String, Vec<String>>, Status> {
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in headers {
            for rest in self.extra_prefixes.iter().filter_map(|prefix| after_prefix(name, prefix)) {
                let key = percent_decode_str(rest).decode_utf8_lossy().into_owned();
                extra.entry(key).or_default().push(header_text(name, value)?.to_owned());
            }
        }
        Ok(extra)
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
        let user = usual().user("front-proxy-client", &sent()).expect("text").expect("a user");
        assert_eq!((user.name.as_str(), user.uid.as_str()), ("alice", "7"));
        assert_eq!(user.groups, ["dev", "ops", "system:authenticated"]);
        assert_eq!(user.extra["acme.com/scope"], ["a", "b"]);
        let second = usual().user("front-proxy-client", &headers(&[("x-remote-user", ""), ("x-other-user", "bob")]));
        assert_eq!(second.expect("text").map(|user| user.name).as_deref(), Some("bob"));
    }

    #[test]
    fn others_are_not_believed() {
        assert_eq!(usual().user("somebody", &sent()), Ok(None));
        assert_eq!(usual().user("front-proxy-client", &headers(&[("x-remote-group", "system:masters")])), Ok(None));
        let any = RequestHeader { allowed_names: Vec::new(), ..usual() };
        assert!(any.user("somebody", &sent()).is_ok_and(|user| user.is_some()));
        let nobody = usual().user("front-proxy-client", &headers(&[("x-remote-user", "system:anonymous")]));
        assert_eq!(nobody.expect("text").map(|user| user.groups), Some(Vec::new()));
    }

    #[test]
    fn nothing_that_is_said_of_a_user_is_left_out() {
        let with = |name: &'static str, value: &[u8]| {
            let mut sent = sent();
            sent.append(name, http::HeaderValue::from_bytes(value).expect("valid"));
            usual().user("front-proxy-client", &sent)
        };
        let user = with("x-remote-group", "küche".as_bytes()).expect("text").expect("a user");
        assert!(user.in_group("küche"));
        for name in ["x-remote-user", "x-remote-uid", "x-remote-group", "x-remote-extra-ort"] {
            assert_eq!(with(name, b"\xff").map_err(|status| status.code), Err(400), "{name}");
        }
    }

    #[test]
    fn nothing_of_it_goes_on() {
        let mut rest = sent();
        usual().strip(&mut rest);
        assert_eq!(rest.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }
}
