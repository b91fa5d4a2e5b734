//! Acting as someone else: the `Impersonate-*` headers and the permissions that they ask for.

use std::collections::BTreeMap;

use gantry_api::go;
use gantry_api::names;
use gantry_api::status::Status;
use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;

use super::{SERVICE_ACCOUNT_PREFIX, SERVICE_ACCOUNTS, User, header_text};

const EXTRA: &str = "impersonate-extra-";

/// One permission that an impersonation needs: verb `impersonate`, or that of a mode, on this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Needed {
    pub(crate) group: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// What the headers ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Impersonation {
    pub(crate) user: User,
    /// The groups that were asked for.
    pub(crate) groups: Vec<String>,
    pub(crate) needed: Vec<Needed>,
}

fn values<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Vec<&'a str>, Status> {
    let name = HeaderName::from_static(name);
    headers.get_all(&name).iter().map(|value| header_text(&name, value)).collect()
}

/// Reads the headers; `None` where nobody is impersonated.
///
/// # Errors
/// 400 when groups, a uid or extras come without a user, and for headers that are not UTF-8: nobody acts as themselves
/// because what they asked for could not be read.
pub(crate) fn requested(headers: &HeaderMap) -> Result<Option<Impersonation>, Status> {
    let name = values(headers, "impersonate-user")?.first().copied().unwrap_or_default();
    let groups = values(headers, "impersonate-group")?;
    let uid = values(headers, "impersonate-uid")?.first().copied().unwrap_or_default();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (header, value) in headers {
        if let Some(key) = header.as_str().strip_prefix(EXTRA) {
            let key = percent_decode_str(key).decode_utf8_lossy().into_owned();
            extra.entry(key).or_default().push(header_text(header, value)?.to_owned());
        }
    }
    if name.is_empty() {
        if groups.is_empty() && uid.is_empty() && extra.is_empty() {
            return Ok(None);
        }
        let asked = in_go(uid, &groups, &extra);
        return Err(Status::bad_request(format!("requested {asked} without impersonating a user name")));
    }
    let needed = needed(name, &groups, uid, &extra);
    let named = groups.iter().map(|group| (*group).to_owned()).collect();
    let mut user = User { name: name.to_owned(), uid: uid.to_owned(), extra, groups: named };
    if groups.is_empty()
        && let Some((namespace, _)) = service_account(name)
    {
        user.add_group(SERVICE_ACCOUNTS);
        user.add_group(&format!("{SERVICE_ACCOUNTS}:{namespace}"));
    }
    if user.is_anonymous() {
        user.add_group(super::UNAUTHENTICATED);
    } else if !user.in_group(super::UNAUTHENTICATED) {
        user.add_group(super::AUTHENTICATED);
    }
    let groups = groups.into_iter().map(str::to_owned).collect();
    Ok(Some(Impersonation { user, groups, needed }))
}

/// A user without a name as Go prints it with `%#v`.
fn in_go(uid: &str, groups: &[&str], extra: &BTreeMap<String, Vec<String>>) -> String {
    let texts = |texts: &[&str]| {
        let quoted: Vec<String> = texts.iter().map(|text| go::quoted(text)).collect();
        format!("[]string{{{}}}", quoted.join(", "))
    };
    let entry = |(key, values): (&String, &Vec<String>)| {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        format!("{}:{}", go::quoted(key), texts(&values))
    };
    let shown_groups = if groups.is_empty() { "[]string(nil)".to_owned() } else { texts(groups) };
    let shown_extra = if extra.is_empty() {
        "map[string][]string(nil)".to_owned()
    } else {
        format!("map[string][]string{{{}}}", extra.iter().map(entry).collect::<Vec<_>>().join(", "))
    };
    let uid = go::quoted(uid);
    format!("&user.DefaultInfo{{Name:\"\", UID:{uid}, Groups:{shown_groups}, Extra:{shown_extra}}}")
}

/// Namespace and name of an account; a name that no account can have is a plain user's (upstream's `SplitUsername`).
pub(super) fn service_account(name: &str) -> Option<(&str, &str)> {
    let (namespace, account) = name.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')?;
    let is_account = names::dns_label(namespace).is_empty() && names::dns_subdomain(account).is_empty();
    is_account.then_some((namespace, account))
}

fn needed(name: &str, groups: &[&str], uid: &str, extra: &BTreeMap<String, Vec<String>>) -> Vec<Needed> {
    let one = |group, resource, name: &str| Needed {
        group,
        resource,
        subresource: String::new(),
        namespace: String::new(),
        name: name.to_owned(),
    };
    let mut needed = Vec::new();
    match service_account(name) {
        Some((namespace, account)) => {
            needed.push(Needed { namespace: namespace.to_owned(), ..one("", "serviceaccounts", account) });
        }
        None => needed.push(one("", "users", name)),
    }
    // In upstream's order: who lacks several rights is told of the first.
    if !uid.is_empty() {
        needed.push(one("authentication.k8s.io", "uids", uid));
    }
    needed.extend(groups.iter().map(|g| one("", "groups", g)));
    for (key, values) in extra {
        for value in values {
            needed.push(Needed { subresource: key.clone(), ..one("authentication.k8s.io", "userextras", value) });
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().expect("valid"));
        }
        map
    }

    #[test]
    fn headers_name_a_user_and_what_it_takes() {
        assert_eq!(requested(&HeaderMap::new()), Ok(None));
        let asked = requested(&headers(&[
            ("impersonate-user", "alice"),
            ("impersonate-group", "dev"),
            ("impersonate-group", "dev"),
            ("impersonate-uid", "7"),
            ("impersonate-extra-acme.com%2Fscope", "x"),
        ]))
        .expect("valid")
        .expect("asked");
        assert_eq!(asked.user.groups, ["dev", "dev", "system:authenticated"]);
        let resources: Vec<&str> = asked.needed.iter().map(|n| n.resource).collect();
        assert_eq!(resources, ["users", "uids", "groups", "groups", "userextras"]);
        assert_eq!(asked.needed[4].subresource, "acme.com/scope");
    }

    #[test]
    fn a_service_account_brings_its_groups() {
        let asked =
            requested(&headers(&[("impersonate-user", "system:serviceaccount:a:web")])).expect("valid").expect("asked");
        assert_eq!(asked.user.groups, ["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"]);
        assert_eq!((asked.needed[0].resource, asked.needed[0].namespace.as_str()), ("serviceaccounts", "a"));
        for name in ["system:serviceaccount:a:b:c", "system:serviceaccount:a:", "system:serviceaccount:A:b"] {
            let asked = requested(&headers(&[("impersonate-user", name)])).expect("valid").expect("asked");
            assert_eq!(asked.user.groups, ["system:authenticated"], "{name} is a user");
            assert_eq!((asked.needed[0].resource, asked.needed[0].name.as_str()), ("users", name));
        }
    }

    #[test]
    fn what_is_not_ascii_is_taken_and_what_is_no_text_refused() {
        let one = |name: &'static str, value: &[u8]| {
            let mut map = headers(&[]);
            map.append("impersonate-user", "alice".parse().expect("valid"));
            map.insert(name, http::HeaderValue::from_bytes(value).expect("valid"));
            requested(&map)
        };
        let asked = one("impersonate-user", "müller".as_bytes()).expect("valid").expect("asked");
        assert_eq!((asked.user.name.as_str(), asked.needed[0].name.as_str()), ("müller", "müller"));
        let asked = one("impersonate-extra-ort", "köln".as_bytes()).expect("valid").expect("asked");
        assert_eq!(asked.user.extra["ort"], ["köln"]);
        for name in ["impersonate-user", "impersonate-group", "impersonate-uid", "impersonate-extra-ort"] {
            assert_eq!(one(name, b"m\xfcller").map_err(|status| status.code), Err(400), "{name}");
        }
    }

    #[test]
    fn what_comes_without_a_name_is_refused_in_upstreams_words() {
        let check = |pairs: &[(&'static str, &'static str)], asked: &str| {
            let status = requested(&headers(pairs)).expect_err("no name");
            let message =
                format!("requested &user.DefaultInfo{{Name:\"\", {asked}}} without impersonating a user name");
            assert_eq!((status.code, status.message), (400, message));
        };
        check(
            &[("impersonate-group", "x"), ("impersonate-group", "y")],
            r#"UID:"", Groups:[]string{"x", "y"}, Extra:map[string][]string(nil)"#,
        );
        check(&[("impersonate-uid", "7")], r#"UID:"7", Groups:[]string(nil), Extra:map[string][]string(nil)"#);
        check(
            &[("impersonate-extra-b", "1"), ("impersonate-extra-b", "2"), ("impersonate-extra-a", "3")],
            r#"UID:"", Groups:[]string(nil), Extra:map[string][]string{"a":[]string{"3"}, "b":[]string{"1", "2"}}"#,
        );
    }
}
