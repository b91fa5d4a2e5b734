//! Each plugin that can be switched off: what it does, and that with it off nobody does it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_api::kinds;
use serde_json::json;

use super::*;
use crate::auth::{NODES, User};
use crate::bootstrap::ensure;
use crate::testing::{Builder, TestServer};

/// What a plugin does about a request.
enum Does {
    /// Refuses it, in words with these.
    Refuses(&'static str),
    /// Fills in what is there.
    Sets(&'static str),
}
use Does::{Refuses, Sets};

struct Case {
    plugin: &'static str,
    operation: Operation,
    /// Group, resource and subresource.
    kind: (&'static str, &'static str, &'static str),
    /// Namespace and name.
    at: (&'static str, &'static str),
    old: Option<Value>,
    object: Value,
    does: Does,
    user: User,
}

impl Case {
    fn new(plugin: &'static str, resource: &'static str, at: (&'static str, &'static str), does: Does) -> Self {
        let (group, resource) = resource.rsplit_once('/').unwrap_or(("", resource));
        let user = User::new("alice", &[]);
        let (kind, object) = ((group, resource, ""), json!({}));
        Self { plugin, operation: Operation::Create, kind, at, old: None, object, does, user }
    }

    /// With a spec.
    fn spec(mut self, spec: Value) -> Self {
        self.object["spec"] = spec;
        self
    }

    /// An update from this spec.
    fn from(mut self, spec: Value, subresource: &'static str) -> Self {
        self.operation = Operation::Update;
        self.kind.2 = subresource;
        self.old = Some(json!({"spec": spec}));
        self
    }

    fn of(mut self, user: &str, group: &str) -> Self {
        self.user = User::new(user, &[group]);
        self
    }

    /// What becomes of the request.
    async fn pass(&self, app: &App, chain: &Chain) -> Result<Value, String> {
        let (group, resource, subresource) = self.kind;
        let kind = kinds::by_resource(group, "v1", resource).expect("served");
        let target = Target { subresource, ..Target::new(kind, self.at.0, self.at.1) };
        let named = |object: &Value| {
            let mut object = object.clone();
            object["metadata"] = json!({"namespace": self.at.0, "name": self.at.1});
            object
        };
        let (mut object, old) = (named(&self.object), self.old.as_ref().map(named));
        let caller = Caller::new(self.user.clone(), "test", None);
        let request = Request { old: old.as_ref(), ..Request::new(app, &caller, &target, self.operation) };
        let words = |status: Status| status.message;
        chain.mutate(&request, Which::All, &mut object).await.map_err(words)?;
        chain.validate(&request, Which::All, &object).await.map_err(words)?;
        let effects = chain.effects(&request, &object).await.map_err(words);
        chain.abandon(app, &request.reserved).await;
        effects.map(|_| object)
    }

    async fn check(&self, app: &App) {
        let (plugin, asked) = (self.plugin, [self.plugin.to_owned()]);
        let chain = |enabled: &[String], disabled: &[String]| Chain::new(enabled, disabled, Settings::default());
        let is_off = OFF.contains(&plugin);
        let on = self.pass(app, &chain(if is_off { &asked } else { &[] }, &[])).await;
        let off = self.pass(app, &chain(&[], if is_off { &[] } else { &asked })).await;
        let off = off.unwrap_or_else(|why| panic!("{plugin} is off: {why}"));
        match self.does {
            Refuses(words) => assert!(on.as_ref().is_err_and(|why| why.contains(words)), "{plugin}: {on:?}"),
            Sets(path) => {
                let on = on.unwrap_or_else(|why| panic!("{plugin}: {why}"));
                let (with, without) = (value_at(&on, path), value_at(&off, path));
                assert!(with.is_some() && with != without, "{plugin}: {on}, without it {off}");
            }
        }
    }
}

fn value_at<'a>(object: &'a Value, pointer: &str) -> Option<&'a Value> {
    object.pointer(pointer).filter(|found| !found.is_null())
}

fn pod(extra: Value) -> Value {
    let mut spec = json!({"containers": [{"name": "c", "image": "i"}]});
    spec.as_object_mut().expect("a map").extend(extra.as_object().expect("a map").clone());
    spec
}

/// An object; `at` is `namespace/name` or a name. Labels and annotations of `rest` are its metadata's.
fn made(version: &str, kind: &str, at: &str, rest: Value) -> Value {
    let (namespace, name) = at.rsplit_once('/').unwrap_or(("", at));
    let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}});
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = namespace.into();
    }
    for (key, value) in rest.as_object().into_iter().flatten() {
        match key.as_str() {
            "labels" | "annotations" => object["metadata"][key] = value.clone(),
            key => object[key] = value.clone(),
        }
    }
    object
}

/// What plugins of the server's own look at.
fn surroundings() -> Vec<Value> {
    let limit = json!({"spec": {"limits": [{"type": "Container", "default": {"cpu": "1"}}]}});
    let usual = json!({"spec": {"controller": "x.example.com/y"},
        "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}});
    let fixed = json!({"provisioner": "x.example.com",
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}});
    let mut all = vec![
        made("v1", "Namespace", "a", json!({})),
        made("v1", "Namespace", "strict", json!({"labels": {"pod-security.kubernetes.io/enforce": "restricted"}})),
        made("v1", "Namespace", "limited", json!({})),
        made("v1", "Namespace", "bounded", json!({})),
        made("v1", "Namespace", "empty", json!({})),
        made("v1", "LimitRange", "limited/l", limit),
        made("v1", "ResourceQuota", "bounded/q", json!({"spec": {"hard": {"configmaps": "0"}}})),
        made("storage.k8s.io/v1", "StorageClass", "fixed", fixed),
        made("networking.k8s.io/v1", "IngressClass", "usual", usual),
    ];
    let accounts = ["a", "strict", "limited", "bounded"];
    all.extend(accounts.map(|namespace| made("v1", "ServiceAccount", &format!("{namespace}/default"), json!({}))));
    all
}

/// Webhooks and policies: the former answer nothing, and each sort is about a kind of its own.
fn registered() -> Vec<Value> {
    let version = "admissionregistration.k8s.io/v1";
    let rules = |group: &str, resource: &str| json!([{"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE"], "resources": [resource]}]);
    let hook = |resource: &str| {
        json!({"webhooks": [{
            "name": "h.example.com", "clientConfig": {"url": "https://127.0.0.1:1/x"}, "rules": rules("", resource),
            "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Fail",
        }]})
    };
    let matches = json!({"resourceRules": rules("coordination.k8s.io", "leases")});
    let never = json!({"spec": {
        "matchConstraints": matches, "validations": [{"expression": "false", "message": "never that"}],
        "matchConditions": [{"name": "n", "expression": "object.metadata.name == 'refused'"}],
    }});
    let marks = json!({"spec": {
        "matchConstraints": matches, "failurePolicy": "Fail", "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {
            "expression": "Object{spec: Object.spec{holderIdentity: 'marked'}}"}}],
    }});
    let denies = json!({"spec": {"policyName": "never", "validationActions": ["Deny"]}});
    vec![
        made(version, "ValidatingWebhookConfiguration", "v", hook("podtemplates")),
        made(version, "MutatingWebhookConfiguration", "m", hook("secrets")),
        made(version, "ValidatingAdmissionPolicy", "never", never),
        made(version, "ValidatingAdmissionPolicyBinding", "never", denies),
        made(version, "MutatingAdmissionPolicy", "marks", marks),
        made(version, "MutatingAdmissionPolicyBinding", "marks", json!({"spec": {"policyName": "marks"}})),
    ]
}

/// A server with what the plugins look at.
async fn prepared() -> (TestServer, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Builder::default().start(folder.path()).await.expect("started");
    for object in surroundings().into_iter().chain(registered()) {
        let shown = object["metadata"].to_string();
        ensure(server.app(), object).await.unwrap_or_else(|status| panic!("{shown}: {}", status.message));
    }
    server.app().cache.consistent().await.expect("the cache follows");
    (server, folder)
}

/// A request for a certificate that would make its holder mighty.
fn mighty_certificate() -> Value {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::OrganizationName, crate::auth::MASTERS);
    params.distinguished_name.push(rcgen::DnType::CommonName, "x");
    let key = rcgen::KeyPair::generate().expect("a key");
    let pem = params.serialize_request(&key).and_then(|request| request.pem()).expect("a request");
    json!({"signerName": "kubernetes.io/kube-apiserver-client", "request": STANDARD.encode(pem)})
}

fn cases() -> Vec<Case> {
    let (pods, claims) = ("pods", "persistentvolumeclaims");
    let request = "certificates.k8s.io/certificatesigningrequests";
    let signer = json!({"signerName": "example.com/x"});
    let claim = |storage: &str| json!({"storageClassName": "fixed", "resources": {"requests": {"storage": storage}}});
    let apart = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "zone", "labelSelector": {}}]}}});
    vec![
        Case::new("NamespaceLifecycle", "configmaps", ("gone", "x"), Refuses("namespaces \"gone\" not found")),
        Case::new("LimitRanger", pods, ("limited", "p"), Sets("/spec/containers/0/resources/limits"))
            .spec(pod(json!({}))),
        Case::new("ServiceAccount", pods, ("empty", "p"), Refuses("error looking up service account empty/default"))
            .spec(pod(json!({}))),
        Case::new("NodeRestriction", "nodes", ("", "n2"), Refuses("is not allowed to modify node"))
            .of("system:node:n1", NODES),
        Case::new("TaintNodesByCondition", "nodes", ("", "n3"), Sets("/spec/taints")).spec(json!({})),
        Case::new("PodSecurity", pods, ("strict", "p"), Refuses("violates PodSecurity \"restricted"))
            .spec(pod(json!({}))),
        Case::new("Priority", pods, ("a", "p"), Refuses("no PriorityClass with name nope was found"))
            .spec(pod(json!({"priorityClassName": "nope"}))),
        Case::new("DefaultTolerationSeconds", pods, ("a", "p"), Sets("/spec/tolerations")).spec(pod(json!({}))),
        Case::new("DefaultStorageClass", claims, ("a", "c"), Sets("/spec/storageClassName")).spec(json!({})),
        Case::new("StorageObjectInUseProtection", claims, ("a", "c"), Sets("/metadata/finalizers")).spec(claim("1Gi")),
        Case::new("PersistentVolumeClaimResize", claims, ("a", "c"), Refuses("Only bound persistent volume claims"))
            .spec(claim("2Gi"))
            .from(claim("1Gi"), ""),
        Case::new("RuntimeClass", pods, ("a", "p"), Refuses("RuntimeClass \"nope\" not found"))
            .spec(pod(json!({"runtimeClassName": "nope"}))),
        Case::new("CertificateApproval", request, ("", "r"), Refuses("not permitted to approve"))
            .spec(signer.clone())
            .from(signer.clone(), "approval"),
        Case::new("CertificateSubjectRestriction", request, ("", "r"), Refuses("system:masters group is not allowed"))
            .spec(mighty_certificate()),
        Case::new("DefaultIngressClass", "networking.k8s.io/ingresses", ("a", "i"), Sets("/spec/ingressClassName"))
            .spec(json!({})),
        Case::new("ValidatingAdmissionWebhook", "podtemplates", ("a", "t"), Refuses("failed calling webhook")),
        Case::new("MutatingAdmissionWebhook", "secrets", ("a", "s"), Refuses("failed calling webhook")),
        Case::new("ValidatingAdmissionPolicy", "coordination.k8s.io/leases", ("a", "refused"), Refuses("never that")),
        Case::new("MutatingAdmissionPolicy", "coordination.k8s.io/leases", ("a", "l"), Sets("/spec/holderIdentity"))
            .spec(json!({})),
        Case::new("ResourceQuota", "configmaps", ("bounded", "x"), Refuses("exceeded quota: q")),
        Case::new("AlwaysPullImages", pods, ("a", "p"), Sets("/spec/containers/0/imagePullPolicy"))
            .spec(pod(json!({}))),
        Case::new("AlwaysDeny", "configmaps", ("a", "x"), Refuses("admission control is denying all modifications")),
        Case::new("DenyServiceExternalIPs", "services", ("a", "s"), Refuses("Use of external IPs is denied"))
            .spec(json!({"externalIPs": ["192.0.2.1"]})),
        Case::new("LimitPodHardAntiAffinityTopology", pods, ("a", "p"), Refuses("has TopologyKey zone but only key"))
            .spec(pod(apart)),
    ]
}

#[tokio::test]
async fn a_plugin_that_is_off_does_nothing() {
    let (server, _folder) = prepared().await;
    for case in cases() {
        case.check(server.app()).await;
    }
    server.stop().await;
}

/// Of those that can be switched off: who is not in the table above, and is seen to in `tests/it`, by what they do alone.
#[test]
fn every_plugin_that_can_be_switched_off_is_tried() {
    const ELSEWHERE: &[&str] = &[
        // Off unless asked for; `plugins.rs` and `image_policy.rs` ask, and everybody else sees that they are off.
        "EventRateLimit",
        "ExtendedResourceToleration",
        "ImagePolicyWebhook",
        "NamespaceAutoProvision",
        "OwnerReferencesPermissionEnforcement",
        "PodNodeSelector",
        "PodTolerationRestriction",
        // On: `certificates.rs`, `plugins.rs`, `resize.rs`.
        "CertificateSigning",
        "PodResizeValidator",
        "PodTopologyLabels",
    ];
    let tried: Vec<&str> = cases().iter().map(|case| case.plugin).collect();
    let all = all(Settings::default());
    let missing: Vec<&str> = all
        .iter()
        .map(|plugin| plugin.name())
        .filter(|name| !tried.contains(name) && !ELSEWHERE.contains(name) && !names::OWN.contains(name))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}
