//! Service-account tokens: JWTs that are good as long as what they are bound to lives.

use async_trait::async_trait;
use gantry_api::{Value, value};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::User;
use super::anchors::Anchors;

/// Upstream gives a deleted object's tokens this long, so that a pod can say goodbye.
const DELETION_LEEWAY_SECONDS: i64 = 60;
/// Clocks may differ by this much (the `DefaultLeeway` of upstream's library).
const CLOCK_LEEWAY_SECONDS: i64 = 60;

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

impl LiveObject {
    /// What an object says of itself.
    pub(crate) fn of(object: &Value) -> Self {
        Self {
            uid: value::str_at(object, "metadata.uid").unwrap_or_default().to_owned(),
            deletion_timestamp: value::str_at(object, "metadata.deletionTimestamp").and_then(|t| t.parse().ok()),
        }
    }
}

/// Looks up what tokens are bound to. `resource` is `serviceaccounts`, `pods`, `secrets` or `nodes`.
#[async_trait]
pub(crate) trait Live {
    /// What the cache has.
    fn find(&self, resource: &str, namespace: &str, name: &str) -> Option<LiveObject>;

    /// The same, whole.
    fn object(&self, resource: &str, namespace: &str, name: &str) -> Option<Value>;

    /// The whole object as the store has it now.
    ///
    /// # Errors
    /// Why it cannot be said.
    async fn stored(&self, resource: &str, namespace: &str, name: &str) -> Result<Option<Value>, String>;
}

/// What this server accepts.
#[derive(Debug, Clone)]
pub(crate) struct Expected<'a> {
    pub(crate) issuers: &'a [String],
    /// The token must name one of these.
    pub(crate) audiences: &'a [String],
    pub(crate) now: Timestamp,
}

fn is_gone(object: &LiveObject, now: Timestamp) -> bool {
    object.deletion_timestamp.is_some_and(|t| now.as_second() > t.as_second() + DELETION_LEEWAY_SECONDS)
}

/// The user of a token whose signature was checked, and the audiences that both sides named.
///
/// # Errors
/// Why the token is not (or no longer) good, in upstream's words.
pub(crate) async fn user(
    claims: &Claims,
    expected: &Expected<'_>,
    anchors: &Anchors,
) -> Result<(User, Vec<String>), String> {
    if !expected.issuers.contains(&claims.iss) {
        return Err(super::INVALID_TOKEN.to_owned());
    }
    let audiences: Vec<String> = claims.aud.iter().filter(|a| expected.audiences.contains(a)).cloned().collect();
    if audiences.is_empty() {
        return Err(super::not_for(&claims.aud, expected.audiences));
    }
    check_times(claims, expected.now)?;
    check_account(claims, expected.now, anchors).await?;
    let b = &claims.binding;
    let bound = [("secret", "secrets", b.secret.as_ref()), ("pod", "pods", b.pod.as_ref())];
    for (word, resource, bound) in bound {
        check_bound((word, resource), &b.namespace, bound, expected.now, anchors).await?;
    }
    // A token that is bound to a pod carries the node for information only.
    let node = b.node.as_ref().filter(|_| b.pod.is_none());
    check_bound(("node", "nodes"), "", node, expected.now, anchors).await?;
    Ok((with_extra(claims), audiences))
}

/// What the audit log is told of a token that its pod should have renewed by now.
pub(crate) fn staleness(claims: &Claims, now: Timestamp) -> Option<String> {
    let over = claims.binding.warnafter.map(|after| now.as_second() - after).filter(|over| *over > 0)?;
    Some(format!("subject: {}, seconds after warning threshold: {over}", claims.sub))
}

fn check_times(claims: &Claims, now: Timestamp) -> Result<(), String> {
    let now = now.as_second();
    match claims {
        _ if claims.exp < now => Err("service account token has expired".to_owned()),
        _ if claims.nbf > now + CLOCK_LEEWAY_SECONDS => Err("service account token is not valid yet".to_owned()),
        _ => Ok(()),
    }
}

async fn check_account(claims: &Claims, now: Timestamp, anchors: &Anchors) -> Result<(), String> {
    let (namespace, account) = (&claims.binding.namespace, &claims.binding.serviceaccount);
    let name = &account.name;
    if account.uid.is_empty() || claims.sub != format!("{}{namespace}:{name}", super::SERVICE_ACCOUNT_PREFIX) {
        return Err(super::INVALID_TOKEN.to_owned());
    }
    match anchors.find("serviceaccounts", namespace, account).await {
        None => Err(format!("serviceaccounts {name:?} not found")),
        Some(found) if is_gone(&found, now) => Err(format!("service account {namespace}/{name} has been deleted")),
        Some(found) if found.uid != account.uid => {
            Err(format!("service account UID ({}) does not match claim ({})", found.uid, account.uid))
        }
        Some(_) => Ok(()),
    }
}

/// Checks what the token is bound to; `word` is upstream's for it.
async fn check_bound(
    (word, resource): (&str, &str),
    namespace: &str,
    bound: Option<&Bound>,
    now: Timestamp,
    anchors: &Anchors,
) -> Result<(), String> {
    let Some(bound) = bound else { return Ok(()) };
    match anchors.find(resource, namespace, bound).await.filter(|found| !is_gone(found, now)) {
        None => Err("service account token has been invalidated".to_owned()),
        Some(found) if !bound.uid.is_empty() && found.uid != bound.uid => {
            let (is, was) = (found.uid, &bound.uid);
            Err(format!("{word} UID ({is}) does not match service account {word} ref claim ({was})"))
        }
        Some(_) => Ok(()),
    }
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
    use std::sync::Arc;

    use futures::FutureExt as _;

    use super::*;

    struct Fixed(BTreeMap<String, LiveObject>);

    #[async_trait]
    impl Live for Fixed {
        fn find(&self, resource: &str, namespace: &str, name: &str) -> Option<LiveObject> {
            self.0.get(&format!("{resource}/{namespace}/{name}")).cloned()
        }

        fn object(&self, _: &str, _: &str, _: &str) -> Option<Value> {
            None
        }

        async fn stored(&self, _: &str, _: &str, _: &str) -> Result<Option<Value>, String> {
            Err("the cache knows it all".to_owned())
        }
    }

    fn judged(claims: &Claims, live: Fixed) -> Result<(User, Vec<String>), String> {
        let audiences = ["api".to_owned()];
        let now = Timestamp::from_second(1500).expect("in range");
        let expected = Expected { issuers: &["issuer".to_owned()], audiences: &audiences, now };
        user(claims, &expected, &Anchors::new(Arc::new(live))).now_or_never().expect("at once")
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

    fn check(change: impl FnOnce(&mut Claims, &mut Fixed), expected_error: &str) {
        let (mut claims, mut live) = (claims(), live());
        change(&mut claims, &mut live);
        assert_eq!(judged(&claims, live).err().unwrap_or_default(), expected_error);
    }

    #[tokio::test]
    async fn a_token_is_as_good_as_what_it_is_bound_to() {
        const UNKNOWN: &str = "invalid bearer token";
        const INVALIDATED: &str = "service account token has been invalidated";
        check(|_, _| {}, "");
        check(|c, _| c.exp = 1499, "service account token has expired");
        check(|c, _| c.nbf = 1600, "service account token is not valid yet");
        check(|c, _| c.iss = "other".to_owned(), UNKNOWN);
        let another = "token audiences [\"vault\" \"x\"] is invalid for the target audiences [\"api\"]";
        check(|c, _| c.aud = vec!["vault".to_owned(), "x".to_owned()], another);
        check(|c, _| c.sub = "system:serviceaccount:a:admin".to_owned(), UNKNOWN);
        let anew = "service account UID (sa-1) does not match claim (sa-0)";
        check(|c, _| c.binding.serviceaccount.uid = "sa-0".to_owned(), anew);
        check(|c, _| c.binding.serviceaccount.uid.clear(), UNKNOWN);
        check(|_, l| drop(l.0.remove("serviceaccounts/a/web")), "serviceaccounts \"web\" not found");
        check(|_, l| drop(l.0.remove("pods/a/p")), INVALIDATED);
        let dying = |uid: &str, seconds| LiveObject {
            uid: uid.to_owned(),
            deletion_timestamp: Some(Timestamp::from_second(seconds).expect("in range")),
        };
        // The pod is stopping; then it should have stopped.
        check(|_, l| drop(l.0.insert("pods/a/p".to_owned(), dying("pod-1", 1450))), "");
        check(|_, l| drop(l.0.insert("pods/a/p".to_owned(), dying("pod-1", 1400))), INVALIDATED);
        let namesake = "pod UID (pod-2) does not match service account pod ref claim (pod-1)";
        check(|_, l| drop(l.0.insert("pods/a/p".to_owned(), dying("pod-2", 1450))), namesake);
        let gone = "service account a/web has been deleted";
        check(|_, l| drop(l.0.insert("serviceaccounts/a/web".to_owned(), dying("sa-1", 1400))), gone);
        let bound = |name: &str| Some(Bound { name: name.to_owned(), uid: "u".to_owned() });
        check(|c, _| c.binding.secret = bound("none"), INVALIDATED);
    }

    #[tokio::test]
    async fn the_user_says_which_pod() {
        let (user, _) = judged(&claims(), live()).expect("good");
        assert_eq!(user.name, "system:serviceaccount:a:web");
        assert!(user.in_group("system:serviceaccounts:a"));
        assert_eq!(user.extra["authentication.kubernetes.io/pod-name"], ["p"]);
    }
}
