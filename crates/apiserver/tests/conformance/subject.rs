//! One kind, and what a test does with its objects.

use bytes::Bytes;
use gantry_api::kinds::{self, KindInfo};
use gantry_apiserver::testing::Builder;
use serde_json::{Value, json};

use crate::client::{Client, collection};
use crate::manifest;
use crate::support::{self, Answer, Cluster};

/// A namespace with this label may use devices that others use.
const ADMIN: &str = "resource.kubernetes.io/admin-access";

/// Kinds whose objects the server acts upon: it writes their status, and holds a definition until its kind is gone.
const ACTED_UPON: &[&str] = &["CustomResourceDefinition", "APIService", "ValidatingAdmissionPolicy"];

/// How often is asked again for what comes by itself.
const AGAIN: std::time::Duration = std::time::Duration::from_millis(10);

/// Every kind whose objects are stored.
pub(crate) fn stored() -> impl Iterator<Item = &'static KindInfo> {
    kinds::all().iter().filter(|k| k.stored())
}

/// Whether the server has said what it says of an object that it acts upon.
fn is_settled(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let is = |name: &str, reasons: &[&str]| {
        conditions.iter().any(|c| c["type"] == name && reasons.iter().any(|reason| c["reason"] == *reason))
    };
    match object["kind"].as_str() {
        Some("CustomResourceDefinition") => {
            is("NamesAccepted", &["NoConflicts"]) && is("Established", &["InitialNamesAccepted"])
        }
        Some("APIService") => is("Available", &["ServiceNotFound"]),
        _ => object["status"]["observedGeneration"] == object["metadata"]["generation"],
    }
}

/// A server with what manifests refer to: a service account, namespaces, and classes of priority and runtime.
pub(crate) async fn world() -> Cluster {
    world_of(support::usual()).await
}

/// The same on a server that is made otherwise.
pub(crate) async fn world_of(builder: Builder) -> Cluster {
    let cluster = Cluster::with(builder).await;
    cluster.default_account().await;
    let client = Client::admin(&cluster).await;
    let objects = [
        ("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "serviceaccountname"}})),
        ("/api/v1/namespaces", json!({"metadata": {"name": "limits"}})),
        ("/api/v1/namespaces", json!({"metadata": {"name": "admin", "labels": {ADMIN: "true"}}})),
        (
            "/apis/scheduling.k8s.io/v1/priorityclasses",
            json!({"metadata": {"name": "priorityclassname"}, "value": 7, "preemptionPolicy": "PreemptLowerPriority"}),
        ),
        (
            "/apis/node.k8s.io/v1/runtimeclasses",
            json!({"metadata": {"name": "runtimeclassname"}, "handler": "h", "overhead": {"podFixed": {"cpu": "1"}}}),
        ),
    ];
    for (path, object) in objects {
        let answer = client.ask("POST", path, &[], object.to_string()).await;
        assert_eq!(answer.code, 201, "{}", answer.text);
    }
    cluster
}

/// Where objects of a kind are made: what limits those of a namespace has one of its own.
pub(crate) fn namespace(kind: &KindInfo) -> &'static str {
    match kind.kind {
        "LimitRange" | "ResourceQuota" => "limits",
        "ResourceClaim" | "ResourceClaimTemplate" => "admin",
        _ => "default",
    }
}

/// A kind under test.
pub(crate) struct Subject<'a> {
    pub(crate) kind: &'static KindInfo,
    pub(crate) client: &'a Client,
    /// The path of its collection.
    pub(crate) path: String,
}

impl<'a> Subject<'a> {
    pub(crate) fn new(kind: &'static KindInfo, client: &'a Client) -> Self {
        Self { kind, client, path: collection(kind, namespace(kind)) }
    }

    /// For messages.
    pub(crate) fn says(&self) -> String {
        format!("{} {}", self.kind.api_version, self.kind.kind)
    }

    /// The name of the kind's n-th object; that of an address is its name.
    pub(crate) fn name(&self, turn: usize) -> String {
        match self.kind.kind {
            "IPAddress" => format!("10.250.0.{}", turn + 1),
            "CustomResourceDefinition" => format!("things{turn}.conformance.example.com"),
            "APIService" => format!("v{turn}.conformance.example.com"),
            _ => format!("{}{}-{turn}", self.kind.group, self.kind.version),
        }
    }

    /// The kind's n-th manifest, with its name.
    pub(crate) fn manifest(&self, turn: usize) -> Value {
        let mut object = manifest::manifest(self.kind, turn);
        object["metadata"]["name"] = self.name(turn).into();
        if self.kind.has_status {
            object.as_object_mut().map(|o| o.remove("status"));
        }
        object
    }

    /// The kind's smallest manifest, with the name of its n-th.
    pub(crate) fn minimal(&self, turn: usize) -> Value {
        let mut object = manifest::minimal(self.kind);
        object["metadata"] = json!({"name": self.name(turn)});
        object
    }

    /// The n-th manifest without what holds an object or lets others write to it.
    pub(crate) fn free(&self, turn: usize) -> Value {
        let mut object = self.manifest(turn);
        // Admission adds to these lists, which are applied as a whole.
        let list = match self.kind.kind {
            "Node" => "taints",
            "Pod" => "tolerations",
            _ => "",
        };
        object.get_mut("spec").and_then(Value::as_object_mut).map(|spec| spec.remove(list));
        if self.kind.kind == "Pod" {
            object["spec"]["automountServiceAccountToken"] = false.into();
        }
        object.as_object_mut().map(|o| o.remove("aggregationRule"));
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("finalizers");
            metadata.remove("ownerReferences");
        }
        object
    }

    /// Asks about the collection, or about one object of it: `rest` follows its path.
    pub(crate) async fn ask(
        &self,
        method: &str,
        rest: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        self.client.ask(method, &format!("{}{rest}", self.path), headers, body).await
    }

    /// As [`Subject::ask`], and the answer has this code.
    pub(crate) async fn expect(&self, code: u16, method: &str, rest: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.ask(method, rest, &[("content-type", "application/json")], body).await;
        assert_eq!(answer.code, code, "{} {method} {rest}: {}", self.says(), answer.text);
        answer.json()
    }

    /// Creates the n-th object.
    pub(crate) async fn create(&self, turn: usize) -> Value {
        let made = self.expect(201, "POST", "", &self.free(turn)).await;
        self.settled(turn, made).await
    }

    /// Whether the server acts upon the kind's objects.
    pub(crate) fn is_acted_upon(&self) -> bool {
        ACTED_UPON.contains(&self.kind.kind)
    }

    /// The n-th object, which was just made, once the server has written what it says of it.
    pub(crate) async fn settled(&self, turn: usize, made: Value) -> Value {
        let mut object = made;
        while self.is_acted_upon() && !is_settled(&object) {
            tokio::time::sleep(AGAIN).await;
            object = self.expect(200, "GET", &format!("/{}", self.name(turn)), &Value::Null).await;
        }
        object
    }

    /// Waits until the n-th object is gone: at once, but where the server still has to let go of it.
    pub(crate) async fn gone(&self, turn: usize) {
        let path = format!("/{}", self.name(turn));
        while self.is_acted_upon() && self.ask("GET", &path, &[], "").await.code == 200 {
            tokio::time::sleep(AGAIN).await;
        }
        self.expect(404, "GET", &path, &Value::Null).await;
    }

    /// A merge patch of the n-th object.
    pub(crate) async fn merge(&self, turn: usize, query: &str, patch: &Value) -> Value {
        let rest = format!("/{}{query}", self.name(turn));
        let content = ("content-type", "application/merge-patch+json");
        let answer = self.ask("PATCH", &rest, &[content], patch.to_string()).await;
        assert_eq!(answer.code, 200, "{} {rest}: {}", self.says(), answer.text);
        answer.json()
    }

    /// The revision of the collection.
    pub(crate) async fn revision(&self) -> String {
        let list = self.expect(200, "GET", "?limit=1", &Value::Null).await;
        list["metadata"]["resourceVersion"].as_str().expect("a revision").to_owned()
    }
}
