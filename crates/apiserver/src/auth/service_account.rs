//! Service-account tokens: JWTs that are good as long as what they are bound to lives.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::User;

/// Upstream gives a deleted object's tokens this long, so that a pod can say goodbye.
const DELETION_LEEWAY_SECONDS: i64 = 60;
/// Clocks may differ by this much.
const CLOCK_LEEWAY_SECONDS: i64 = 10;

/// An object that a token is bound to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bound {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) uid: String,
}

/// The private claims.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Binding {
    pub(crate) namespace: String,
    pub(crate) serviceaccount: Bound,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) warnafter: Option<i64>,
}

/// All claims of a service-account token; times in seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    #[serde(default)]
    pub(crate) aud: Vec<String>,
    #[serde(default)]
    pub(crate) exp: i64,
    #[serde(default)]
    pub(crate) iat: i64,
    #[serde(default)]
    pub(crate) nbf: i64,
    #[serde(default)]
    pub(crate) iss: String,
    #[serde(default)]
    pub(crate) jti: String,
    #[serde(default)]
    pub(crate) sub: String,
    #[serde(rename = "kubernetes.io")]
    pub(crate) binding: Binding,
}

/// What the token check has to know of a stored object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LiveObject {
    pub(crate) uid: String,
    pub(crate) deletion_timestamp: Option<Timestamp>,
}

/// Looks up what tokens are bound to. `resource` is `serviceaccounts`, `pods`, `secrets` or `nodes`.
pub(crate) trait Live {
    fn find(&self, resource: &str, namespace: &str, name: &str) -> Option<LiveObject>;
}

/// What this server accepts.
#[derive(Debug, Clone)]
pub(crate) struct Expected<'a> {
    pub(crate) issuers: &'a [String],
    /// The token must name one of these.
    pub(crate) audiences: &'a [String],
    pub(crate) now: Timestamp,
}

fn is_alive(found: Option<LiveObject>, bound: &Bound, now: Timestamp) -> bool {
    found.is_some_and(|object| {
        let uid_fits = bound.uid.is_empty() || object.uid == bound.uid;
        let gone = object.deletion_timestamp.is_some_and(|t| now.as_second() > t.as_second() + DELETION_LEEWAY_SECONDS);
        uid_fits && !gone
    })
}

/// The user of a token whose signature was checked, and the audiences that both sides named; `None` when the token is
/// not (or no longer) good.
pub(crate) fn user(claims: &Claims, expected: &Expected<'_>, live: &dyn Live) -> Option<(User, Vec<String>)> {
    let now = expected.now.as_second();
    if !expected.issuers.contains(&claims.iss) || claims.exp < now || claims.nbf > now + CLOCK_LEEWAY_SECONDS {
        return None;
    }
    let audiences: Vec<String> = claims.aud.iter().filter(|a| expected.audiences.contains(a)).cloned().collect();
    if audiences.is_empty() {
        return None;
    }
    let b = &claims.binding;
    let account = &b.serviceaccount;
    if account.uid.is_empty()
        || claims.sub != format!("{}{}:{}", super::SERVICE_ACCOUNT_PREFIX, b.namespace, account.name)
    {
        return None;
    }
    let alive = |resource: &str, namespace: &str, bound: Option<&Bound>| {
        bound.is_none_or(|bound| is_alive(live.find(resource, namespace, &bound.name), bound, expected.now))
    };
    // A token that is bound to a pod carries the node for information only.
    let node_bound = b.node.as_ref().filter(|_| b.pod.is_none());
    let good = alive("serviceaccounts", &b.namespace, Some(account))
        && alive("pods", &b.namespace, b.pod.as_ref())
        && alive("secrets", &b.namespace, b.secret.as_ref())
        && alive("nodes", "", node_bound);
    good.then(|| (with_extra(claims), audiences))
}

fn with_extra(claims: &Claims) -> User {
    let b = &claims.binding;
    let mut user = User::service_account(&b.namespace, &b.serviceaccount.name, &b.serviceaccount.uid);
    let mut add = |key: &str, value: &str| {
        if !value.is_empty() {
            user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
        }
    };
    if !claims.jti.is_empty() {
        add("credential-id", &format!("JTI={}", claims.jti));
    }
    if let Some(pod) = &b.pod {
        add("pod-name", &pod.name);
        add("pod-uid", &pod.uid);
    }
    if let Some(node) = &b.node {
        add("node-name", &node.name);
        add("node-uid", &node.uid);
    }
    user
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    struct Fixed(BTreeMap<String, LiveObject>);

    impl Live for Fixed {
        fn find(&self, resource: &str, namespace: &str, name: &str) -> Option<LiveObject> {
            self.0.get(&format!("{resource}/{namespace}/{name}")).cloned()
        }
    }

    fn live() -> Fixed {
        let object = |uid: &str| LiveObject { uid: uid.to_owned(), deletion_timestamp: None };
        Fixed(BTreeMap::from([
            ("serviceaccounts/a/web".to_owned(), object("sa-1")),
            ("pods/a/p".to_owned(), object("pod-1")),
        ]))
    }

    fn claims() -> Claims {
        Claims {
            aud: vec!["api".to_owned()],
            exp: 2000,
            nbf: 1000,
            iss: "issuer".to_owned(),
            sub: "system:serviceaccount:a:web".to_owned(),
            binding: Binding {
                namespace: "a".to_owned(),
                serviceaccount: Bound { name: "web".to_owned(), uid: "sa-1".to_owned() },
                pod: Some(Bound { name: "p".to_owned(), uid: "pod-1".to_owned() }),
                ..Binding::default()
            },
            ..Claims::default()
        }
    }

    fn check(change: impl FnOnce(&mut Claims, &mut Fixed), accepted: bool, why: &str) {
        let (mut claims, mut live) = (claims(), live());
        change(&mut claims, &mut live);
        let audiences = ["api".to_owned()];
        let now = Timestamp::from_second(1500).expect("in range");
        let expected = Expected { issuers: &["issuer".to_owned()], audiences: &audiences, now };
        assert_eq!(user(&claims, &expected, &live).is_some(), accepted, "{why}");
    }

    #[test]
    fn a_token_is_as_good_as_what_it_is_bound_to() {
        check(|_, _| {}, true, "all is well");
        check(|c, _| c.exp = 1499, false, "expired");
        check(|c, _| c.nbf = 1600, false, "from the future");
        check(|c, _| c.iss = "other".to_owned(), false, "another issuer");
        check(|c, _| c.aud = vec!["vault".to_owned()], false, "another audience");
        check(|c, _| c.sub = "system:serviceaccount:a:admin".to_owned(), false, "the subject is someone else");
        check(|c, _| c.binding.serviceaccount.uid = "sa-0".to_owned(), false, "the account was made anew");
        check(|c, _| c.binding.serviceaccount.uid.clear(), false, "no uid at all");
        check(|_, l| drop(l.0.remove("pods/a/p")), false, "the pod is gone");
        let dying = |seconds| LiveObject {
            uid: "pod-1".to_owned(),
            deletion_timestamp: Some(Timestamp::from_second(seconds).expect("in range")),
        };
        check(|_, l| drop(l.0.insert("pods/a/p".to_owned(), dying(1450))), true, "the pod is stopping");
        check(|_, l| drop(l.0.insert("pods/a/p".to_owned(), dying(1400))), false, "the pod should have stopped");
    }

    #[test]
    fn the_user_says_which_pod() {
        let (claims, live) = (claims(), live());
        let audiences = ["api".to_owned()];
        let now = Timestamp::from_second(1500).expect("in range");
        let (user, _) = user(&claims, &Expected { issuers: &["issuer".to_owned()], audiences: &audiences, now }, &live)
            .expect("good");
        assert_eq!(user.name, "system:serviceaccount:a:web");
        assert!(user.in_group("system:serviceaccounts:a"));
        assert_eq!(user.extra["authentication.kubernetes.io/pod-name"], ["p"]);
    }
}
