//! Certificates that are asked for: approved, signed, refused.

use std::time::Duration;

use gantry_client::{Client, Key, Reader};
use k8s_openapi::{
    ByteString,
    api::{
        certificates::v1::{
            CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestSpec,
        },
        rbac::v1::{ClusterRole, ClusterRoleBinding},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use rcgen::{CertificateParams, DnType, IsCa, KeyPair};
use serde_json::json;
use x509_parser::pem::parse_x509_pem;

use crate::support::{Manager, World, until};

const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const KUBELET: &str = "kubernetes.io/kube-apiserver-client-kubelet";

impl World {
    /// A controller manager with an authority of its own, and that authority's certificate.
    fn signing_manager(&self) -> (Manager, String) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        let files = ["signer.crt", "signer.key"].map(|file| self.folder.path().join(file));
        std::fs::write(&files[0], &certificate).expect("written");
        std::fs::write(&files[1], key.serialize_pem()).expect("written");
        let flags = [
            format!("--cluster-signing-cert-file={}", files[0].display()),
            format!("--cluster-signing-key-file={}", files[1].display()),
        ];
        (self.manager(&flags.each_ref().map(String::as_str)), certificate)
    }

    async fn ask(&self, name: &str, signer: &str, usages: &[&str], organization: &str, common_name: &str) {
        let object = request(name, signer, usages, organization, common_name);
        self.client.api().create(&object).await.expect("the request is made");
    }

    async fn approve(&self, name: &str) {
        let api = self.client.api::<CertificateSigningRequest>();
        let mut found = api.get(name).await.expect("it is there");
        let condition = json!({"type": "Approved", "status": "True", "reason": "ByHand"});
        let condition: CertificateSigningRequestCondition = serde_json::from_value(condition).expect("a condition");
        found.status.get_or_insert_default().conditions.get_or_insert_default().push(condition);
        api.update_subresource(&found, "approval").await.expect("it is approved");
    }
}

fn request(
    name: &str,
    signer: &str,
    usages: &[&str],
    organization: &str,
    common_name: &str,
) -> CertificateSigningRequest {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.distinguished_name.push(DnType::CommonName, common_name);
    let key = KeyPair::generate().expect("a key");
    let request = params.serialize_request(&key).and_then(|request| request.pem()).expect("a request");
    CertificateSigningRequest {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        spec: CertificateSigningRequestSpec {
            request: ByteString(request.into_bytes()),
            signer_name: signer.to_owned(),
            usages: Some(usages.iter().map(|usage| (*usage).to_owned()).collect()),
            expiration_seconds: Some(3_600),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    }
}

fn certificate(requests: &Reader<CertificateSigningRequest>, name: &str) -> Option<String> {
    let bytes = requests.get(&Key::cluster(name))?.status.clone()?.certificate?;
    (!bytes.0.is_empty()).then(|| String::from_utf8(bytes.0).expect("PEM"))
}

fn condition(requests: &Reader<CertificateSigningRequest>, name: &str, kind: &str) -> Option<String> {
    let conditions = requests.get(&Key::cluster(name))?.status.clone()?.conditions?;
    conditions.into_iter().find(|condition| condition.type_ == kind)?.message
}

#[tokio::test(flavor = "multi_thread")]
async fn approved_requests_are_signed_by_the_authority() {
    let world = World::start().await;
    let requests = world.reader::<CertificateSigningRequest>();
    let (manager, authority) = world.signing_manager();
    world.ask("dev", CLIENT, &["client auth", "digital signature"], "devs", "anna").await;
    world.ask("server", CLIENT, &["server auth"], "devs", "anna").await;
    world.ask("other", "example.com/signer", &["client auth"], "devs", "anna").await;
    for name in ["dev", "server", "other"] {
        world.approve(name).await;
    }
    until(&requests, "the request is signed", |_| certificate(&requests, "dev").is_some()).await;
    let (_, authority) = parse_x509_pem(authority.as_bytes()).expect("PEM");
    let authority = authority.parse_x509().expect("a certificate");
    let pem = certificate(&requests, "dev").expect("signed");
    let (_, block) = parse_x509_pem(pem.as_bytes()).expect("PEM");
    let signed = block.parse_x509().expect("a certificate");
    signed.verify_signature(Some(authority.public_key())).expect("the authority has signed it");
    assert_eq!(signed.subject().to_string(), "O=devs, CN=anna");
    let validity = signed.validity();
    assert_eq!(validity.not_after.timestamp() - validity.not_before.timestamp(), 3_600 + 300);

    let failed = "invalid usage for client certificate: server auth";
    until(&requests, "what may not be is refused", |_| {
        condition(&requests, "server", "Failed").as_deref() == Some(failed)
    })
    .await;
    assert_eq!((certificate(&requests, "server"), certificate(&requests, "other")), (None, None));
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubelets_get_certificates_if_their_requesters_may() {
    let world = World::start().await;
    let requests = world.reader::<CertificateSigningRequest>();
    let (manager, _) = world.signing_manager();
    // The administrator may whatever it asks for.
    world.ask("node", KUBELET, &["client auth", "digital signature"], "system:nodes", "system:node:a").await;
    until(&requests, "the kubelet has its certificate", |_| certificate(&requests, "node").is_some()).await;
    let how = condition(&requests, "node", "Approved").unwrap_or_default();
    assert_eq!(how, "Auto approving kubelet client certificate after SubjectAccessReview.");

    // This one may ask, and no more, until it is bound to upstream's role for it.
    let role = json!({"metadata": {"name": "askers"}, "rules": [
        {"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"], "verbs": ["create", "get"]},
    ]});
    let role: ClusterRole = serde_json::from_value(role).expect("a role");
    world.client.api().create(&role).await.expect("the role is made");
    let bind = async |role: &str| {
        let binding = json!({
            "metadata": {"name": role.replace(':', "-")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:node:b"}],
        });
        let binding: ClusterRoleBinding = serde_json::from_value(binding).expect("a binding");
        world.client.api().create(&binding).await.expect("the binding is made");
    };
    bind("askers").await;
    let kubeconfig = world.server.kubeconfig("system:node:b", &[]);
    let asker = Client::from_kubeconfig(&kubeconfig, "asker/test").expect("a client");
    let own = request("own", KUBELET, &["client auth", "digital signature"], "system:nodes", "system:node:b");
    let asked = async {
        // Until the API server has heard of the binding.
        while let Err(error) = asker.api().create(&own).await {
            assert!(error.status().is_some_and(|status| status.code == 403), "{error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asked).await.expect("the request is made");
    world.ask("after", KUBELET, &["client auth", "digital signature"], "system:nodes", "system:node:c").await;
    until(&requests, "a later request is signed", |_| certificate(&requests, "after").is_some()).await;
    assert_eq!(condition(&requests, "own", "Approved"), None, "nobody has given the right");
    bind("system:certificates.k8s.io:certificatesigningrequests:selfnodeclient").await;
    until(&requests, "it is signed once the right is there", |_| certificate(&requests, "own").is_some()).await;
    let how = condition(&requests, "own", "Approved").unwrap_or_default();
    assert_eq!(how, "Auto approving self kubelet client certificate after SubjectAccessReview.");
    manager.stop().await;
}
