use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use serde_json::json;

use super::super::service_account::{Live, LiveObject};
use super::*;

#[derive(Clone)]
struct Fixed(BTreeMap<String, Value>);

#[async_trait]
impl Live for Fixed {
    fn find(&self, _: &str, _: &str, _: &str) -> Option<LiveObject> {
        None
    }

    fn object(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        self.0.get(&format!("{resource}/{namespace}/{name}")).cloned()
    }

    async fn stored(&self, _: &str, _: &str, _: &str) -> Result<Option<Value>, String> {
        Err("the cache knows it all".to_owned())
    }
}

/// A cluster with one account and its token.
struct Case {
    claims: Claims,
    live: Fixed,
    notes: Notes,
    uses: Uses,
}

impl Case {
    fn new() -> Self {
        let secret = json!({"metadata": {"uid": "s-1"}, "data": {"token": "dG9rZW4="}});
        let account = json!({"metadata": {"uid": "sa-1"}});
        let objects = [("secrets/a/s".to_owned(), secret), ("serviceaccounts/a/web".to_owned(), account)];
        let claims = Claims::new("a", "s", "web", "sa-1");
        Self { claims, live: Fixed(objects.into()), notes: Notes::default(), uses: Uses::default() }
    }

    fn change(mut self, object: &str, path: &str, to: impl Into<Value>) -> Self {
        value::set(self.live.0.get_mut(object).expect("there"), path, to);
        self
    }

    fn user(&self, wanted: &[&str]) -> Result<(User, Vec<String>), String> {
        let owned = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        let (implied, audiences) = (owned(&["api", "also"]), owned(wanted));
        let now = "2026-03-09T12:00:00Z".parse().expect("a time");
        let expected = Expected { issuers: &[], audiences: &audiences, now };
        let (anchors, uses, notes) = (&Anchors::new(Arc::new(self.live.clone())), &self.uses, &self.notes);
        let look = Look { token: "token", implied: &implied, anchors, uses, notes };
        user(&self.claims, &expected, &look).now_or_never().expect("at once")
    }

    fn unwritten(&self) -> Option<(String, String)> {
        self.uses
            .next()
            .now_or_never()
            .map(|(used, day)| (format!("{}/{} {}", used.namespace, used.name, used.uid), day))
    }
}

#[tokio::test]
async fn legacy_tokens_are_as_good_as_their_secret_and_account() {
    let check = |change: fn(&mut Case), expected: &str| {
        let mut case = Case::new();
        change(&mut case);
        assert_eq!(case.user(&["api"]).err().unwrap_or_default(), expected);
    };
    check(|_| {}, "");
    check(|c| drop(c.live.0.remove("secrets/a/s")), "Token has been invalidated");
    check(|c| drop(c.live.0.remove("serviceaccounts/a/web")), "serviceaccounts \"web\" not found");
    check(|c| c.claims.account_uid = "sa-0".to_owned(), "ServiceAccount UID (sa-1) does not match claim (sa-0)");
    check(|c| c.claims.subject.clear(), "sub claim is missing");
    let dying = |object: &'static str| Case::new().change(object, "metadata.deletionTimestamp", "2026-03-09T12:00:00Z");
    assert_eq!(dying("secrets/a/s").user(&["api"]), Err("Token has been invalidated".to_owned()));
    let gone = "ServiceAccount a/web has been deleted".to_owned();
    assert_eq!(dying("serviceaccounts/a/web").user(&["api"]), Err(gone));
    for other in ["b3RoZXI=", "", "%"] {
        let other = Case::new().change("secrets/a/s", "data.token", other);
        assert_eq!(other.user(&["api"]), Err("Token does not match server's copy".to_owned()));
    }
}

#[tokio::test]
async fn legacy_tokens_are_for_the_api_server_alone() {
    let (user, audiences) = Case::new().user(&["also", "vault"]).expect("good");
    assert_eq!((user.name.as_str(), user.uid.as_str()), ("system:serviceaccount:a:web", "sa-1"));
    assert_eq!(audiences, ["also"]);
    let why = "token audiences [\"api\" \"also\"] is invalid for the target audiences [\"vault\"]";
    assert_eq!(Case::new().user(&["vault"]), Err(why.to_owned()));
}

#[tokio::test]
async fn legacy_tokens_uses_are_noted_once_a_day() {
    let check = |last: Option<&str>, noted: bool| {
        let labels = last.map_or_else(|| json!({}), |day| json!({LAST_USED: day}));
        let case = Case::new().change("secrets/a/s", "metadata.labels", labels);
        case.user(&["api"]).expect("good");
        let expected = noted.then(|| ("a/s s-1".to_owned(), "2026-03-09".to_owned()));
        assert_eq!(case.unwritten(), expected, "{last:?}");
    };
    check(None, true);
    check(Some("2026-03-08"), true);
    check(Some("2026-03-09"), false);
    // By the clock of another server it is tomorrow.
    check(Some("2026-03-10"), false);
}

#[tokio::test]
async fn legacy_tokens_that_were_marked_invalid_are_refused_and_noted() {
    let case = Case::new().change("secrets/a/s", "metadata.labels", json!({INVALID_SINCE: "2025-01-01"}));
    let why = case.user(&["api"]).expect_err("marked");
    assert!(why.starts_with("the token in secret a/s for service account a/web has been marked invalid. Use"), "{why}");
    assert!(case.unwritten().is_some());
    let annotations = case.notes.annotations();
    assert_eq!(annotations["authentication.k8s.io/legacy-token-invalidated"], "s/a");
}

#[tokio::test]
async fn legacy_tokens_made_by_the_cluster_are_warned_of() {
    let annotations = |case: &Case| {
        case.user(&["api"]).expect("good");
        case.notes.annotations().into_keys().collect::<Vec<_>>()
    };
    let manual = Case::new();
    let token = "authentication.k8s.io/legacy-token";
    assert_eq!(annotations(&manual), [token, "authentication.k8s.io/legacy-token-manual-secret"]);
    assert!(manual.notes.warnings().is_empty());
    let generated = Case::new().change("serviceaccounts/a/web", "secrets", json!([{"name": "s"}]));
    assert_eq!(annotations(&generated), [token, "authentication.k8s.io/legacy-token-autogenerated-secret"]);
    assert_eq!(generated.notes.warnings(), [AUTO_GENERATED]);
}
