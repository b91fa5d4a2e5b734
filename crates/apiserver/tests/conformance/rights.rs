//! Rights over every kind: nobody may anything, until a role says so, and then that alone.

use gantry_api::kinds::{self, KindInfo};
use serde_json::{Value, json};

use crate::client::{Client, collection};
use crate::subject::world;
use crate::support::Answer;

/// The verbs of requests to a collection and to an object: method, what follows the path, and what the request is called.
const REQUESTS: &[(&str, &str, &str)] = &[
    ("GET", "", "list"),
    ("GET", "?watch=true&timeoutSeconds=1", "watch"),
    ("GET", "/x", "get"),
    ("POST", "", "create"),
    ("PUT", "/x", "update"),
    ("PATCH", "/x", "patch"),
    ("DELETE", "/x", "delete"),
    ("DELETE", "", "deletecollection"),
];

/// The resource as rights call it.
fn resource(kind: &KindInfo, subresource: &str) -> String {
    if subresource.is_empty() { kind.resource.to_owned() } else { format!("{}/{subresource}", kind.resource) }
}

/// What upstream says to a user without a right.
fn refusal(user: &str, namespace: &str, kind: &KindInfo, verb: &str, name: &str, subresource: &str) -> String {
    let resource = resource(kind, subresource);
    let object = if name.is_empty() { String::new() } else { format!(" \"{name}\"") };
    let place = match kind.kind {
        // A Namespace is in itself.
        "Namespace" if !name.is_empty() => format!("in the namespace \"{name}\""),
        _ if kind.namespaced => format!("in the namespace \"{namespace}\""),
        _ => "at the cluster scope".to_owned(),
    };
    let qualified = kind.qualified_resource();
    format!(
        "{qualified}{object} is forbidden: User \"{user}\" cannot {verb} resource \"{resource}\" in API group \"{}\" {place}",
        kind.group
    )
}

async fn refused(eve: &Client, kind: &KindInfo, only: Option<&str>) {
    let path = collection(kind, "default");
    for (method, rest, verb) in REQUESTS.iter().filter(|(_, _, verb)| kind.supports(verb)) {
        let answer =
            eve.ask(method, &format!("{path}{rest}"), &[("content-type", "application/merge-patch+json")], "{}").await;
        if only == Some(*verb) {
            assert_ne!(answer.code, 403, "{} {verb}: {}", kind.kind, answer.text);
            continue;
        }
        let name = if rest.starts_with('/') { "x" } else { "" };
        let status = answer.json();
        assert_eq!(
            (answer.code, status["message"].as_str()),
            (403, Some(&*refusal("eve", "default", kind, verb, name, ""))),
            "{} {verb}",
            kind.kind
        );
        assert_eq!(status["details"]["kind"], kind.resource, "{}: {status}", kind.kind);
    }
    for sub in kind.subresources.iter().filter(|s| s.verbs.contains(&"update")) {
        let answer = eve.ask("PUT", &format!("{path}/x/{}", sub.name), &[], "{}").await;
        assert_eq!(answer.json()["message"], refusal("eve", "default", kind, "update", "x", sub.name), "{}", kind.kind);
    }
}

#[tokio::test]
async fn nobody_may_anything_with_any_kind_until_a_role_says_so() {
    let cluster = world().await;
    let admin = Client::admin(&cluster).await;
    let eve = Client::of(&cluster, "eve", &[]).await;
    // Reviews of oneself are everyone's right.
    let kinds = || kinds::all().iter().filter(|k| !k.create_only());
    for kind in kinds() {
        refused(&eve, kind, None).await;
    }
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let rules: Vec<Value> =
        kinds().map(|k| json!({"apiGroups": [k.group], "resources": [k.resource], "verbs": ["list"]})).collect();
    let role = json!({"metadata": {"name": "lists"}, "rules": rules});
    let binding = json!({
        "metadata": {"name": "lists"}, "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "eve"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "lists"},
    });
    for (resource, object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        let answer = admin.ask("POST", &format!("{rbac}/{resource}"), &[], object.to_string()).await;
        assert_eq!(answer.code, 201, "{}", answer.text);
    }
    for kind in kinds() {
        refused(&eve, kind, Some("list")).await;
    }
}

/// Where roles of namespaced kinds apply: nothing is there.
const NAMESPACE: &str = "rights";

/// A verb of a resource or subresource, and the user whose role allows that alone.
#[derive(Clone, Copy)]
struct Right {
    kind: &'static KindInfo,
    subresource: &'static str,
    verb: &'static str,
}

impl Right {
    /// Every right that there is, but for reviews of oneself, which are everyone's.
    fn all() -> Vec<Self> {
        let kinds = kinds::all().iter().filter(|kind| !kind.kind.starts_with("SelfSubject"));
        let of = |kind: &'static KindInfo| {
            let own = kind.verbs.iter().copied().map(move |verb| Self { kind, subresource: "", verb });
            let doors = kind.subresources.iter().flat_map(move |sub| {
                sub.verbs.iter().copied().map(move |verb| Self { kind, subresource: sub.name, verb })
            });
            own.chain(doors)
        };
        kinds.flat_map(of).collect()
    }

    fn resource(self) -> String {
        resource(self.kind, self.subresource)
    }

    fn user(self) -> String {
        let text = format!("{}.{}.{}.{}", self.kind.resource, self.subresource, self.verb, self.kind.api_version);
        text.replace("..", ".").replace('/', ".")
    }

    /// The name of the object that is asked about.
    fn name(self) -> &'static str {
        let of_collection = matches!(self.verb, "list" | "watch" | "create" | "deletecollection");
        if of_collection && self.subresource.is_empty() { "" } else { "x" }
    }

    /// Asks, as a user, for what the right allows; nothing comes of it.
    async fn ask(self, admin: &Client, user: &str) -> Answer {
        let mut path = collection(self.kind, NAMESPACE);
        for part in [self.name(), self.subresource].iter().filter(|part| !part.is_empty()) {
            path = format!("{path}/{part}");
        }
        let (method, query) = match self.verb {
            "get" | "list" => ("GET", ""),
            // Refused once it is allowed, so that nobody waits.
            "watch" => ("GET", "?watch=true&resourceVersion=nonsense"),
            "create" => ("POST", "?dryRun=All"),
            "update" => ("PUT", "?dryRun=All"),
            "patch" => ("PATCH", "?dryRun=All"),
            _ => ("DELETE", "?dryRun=All&labelSelector=none"),
        };
        let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let headers = [("content-type", content), ("impersonate-user", user)];
        admin.ask(method, &format!("{path}{query}"), &headers, "{}").await
    }

    /// What it takes beside it: who opens a session by GET needs the right to create one, since 1.35.
    fn needs_more(self) -> Option<Self> {
        let is_session = matches!(self.subresource, "attach" | "exec" | "portforward");
        (is_session && self.verb == "get").then_some(Self { verb: "create", ..self })
    }

    /// Another user is refused it.
    async fn is_refused(self, admin: &Client, user: &str) {
        self.refuses(user, &self.ask(admin, user).await);
    }

    /// The answer says in upstream's words that the user does not have it.
    fn refuses(self, user: &str, answer: &Answer) {
        let says = refusal(user, NAMESPACE, self.kind, self.verb, self.name(), self.subresource);
        assert_eq!((answer.code, answer.json()["message"].as_str()), (403, Some(&*says)));
    }

    /// Makes the role, in the namespace where the kind lives in one, and gives it to the user.
    async fn grant(self, admin: &Client) {
        let rbac = "rbac.authorization.k8s.io";
        let (path, cluster) = match self.kind.namespaced {
            true => (format!("/apis/{rbac}/v1/namespaces/{NAMESPACE}"), ""),
            false => (format!("/apis/{rbac}/v1"), "cluster"),
        };
        let name = self.user();
        let rule = json!({"apiGroups": [self.kind.group], "resources": [self.resource()], "verbs": [self.verb]});
        let role = json!({"metadata": {"name": name}, "rules": [rule]});
        let kind = if cluster.is_empty() { "Role" } else { "ClusterRole" };
        let binding = json!({"metadata": {"name": name}, "subjects": [{"kind": "User", "apiGroup": rbac, "name": name}],
            "roleRef": {"apiGroup": rbac, "kind": kind, "name": name}});
        for (resource, object) in [("roles", role), ("rolebindings", binding)] {
            let answer = admin.ask("POST", &format!("{path}/{cluster}{resource}"), &[], object.to_string()).await;
            assert_eq!(answer.code, 201, "{}", answer.text);
        }
    }

    /// Waits until the role applies: it is followed by a watch.
    async fn applies(self, admin: &Client) {
        let namespace = if self.kind.namespaced { NAMESPACE } else { "" };
        let asked = json!({"group": self.kind.group, "resource": self.kind.resource, "subresource": self.subresource,
            "verb": self.verb, "namespace": namespace});
        let review = json!({"spec": {"user": self.user(), "resourceAttributes": asked}}).to_string();
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        while admin.ask("POST", path, &[], review.clone()).await.json()["status"]["allowed"] != json!(true) {}
    }
}

#[tokio::test]
async fn a_role_gives_its_verb_of_its_resource_and_nothing_else() {
    let cluster = world().await;
    let admin = Client::admin(&cluster).await;
    let namespace = json!({"metadata": {"name": NAMESPACE}}).to_string();
    assert_eq!(admin.ask("POST", "/api/v1/namespaces", &[], namespace).await.code, 201);
    // Pods run as it; a controller makes it.
    let account = json!({"metadata": {"name": "default"}}).to_string();
    let path = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts");
    assert_eq!(admin.ask("POST", &path, &[], account).await.code, 201);
    let all = Right::all();
    for right in &all {
        right.grant(&admin).await;
    }
    for namespaced in [true, false] {
        all.iter().rfind(|right| right.kind.namespaced == namespaced).expect("some").applies(&admin).await;
    }
    for (index, right) in all.iter().enumerate() {
        let user = right.user();
        let answer = right.ask(&admin, &user).await;
        match right.needs_more() {
            Some(other) => other.refuses(&user, &answer),
            None => assert!(!matches!(answer.code, 401 | 403), "{user}: {}", answer.text),
        }
        let others = all[index + 1..].iter().chain(&all[..index]);
        let is_same = |other: &&Right| other.kind.group == right.kind.group && other.resource() == right.resource();
        // Another verb of it, and the verb of another.
        let verb = others.clone().find(|other| is_same(other) && other.verb != right.verb);
        let resource = others.clone().find(|other| !is_same(other) && other.verb == right.verb);
        let door = others.clone().find(|other| {
            other.kind == right.kind
                && other.verb == right.verb
                && other.subresource.is_empty() != right.subresource.is_empty()
        });
        for other in [verb, resource, door].into_iter().flatten() {
            other.is_refused(&admin, &user).await;
        }
    }
}
