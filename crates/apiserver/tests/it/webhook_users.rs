//! Who the API server is to webhooks: the users of the kubeconfig that the admission configuration names.

use gantry_apiserver::testing::{Builder, Pki};
use serde_json::json;
use std::sync::Arc;

use crate::hooks::{Hook, MUTATING, VALIDATING, answer, register};
use crate::support::{Cluster, configmap};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn the_host_of_a_webhook_decides_whom_it_sees() {
    let pki = Arc::new(Pki::new());
    let caller = pki.client("caller", &[]);
    let builder = Builder::default().pki(pki.clone()).configure(move |config| {
        config.webhook_allowed_cidrs = vec!["127.0.0.0/8".parse().expect("a network")];
        let folder = config.client_ca_file.as_ref().expect("a file").parent().expect("a folder").to_owned();
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("written");
        write("caller.pem", &caller.cert_pem);
        write("caller.key", &caller.key_pem);
        let users = |any: serde_json::Value| {
            json!({"apiVersion": "v1", "kind": "Config", "users": [
            {"name": "elsewhere.example.com", "user": {"token": "wrong"}}, {"name": "*", "user": any}]})
        };
        let certificate = json!({"client-certificate": "caller.pem", "client-key": "caller.key"});
        write("judges.yaml", &users(certificate).to_string());
        write("changers.yaml", &users(json!({"token": "sesame"})).to_string());
        let entry = |plugin: &str, file: &str| {
            format!(
                "- name: {plugin}\n  configuration: {{apiVersion: apiserver.config.k8s.io/v1, \
                 kind: WebhookAdmissionConfiguration, kubeConfigFile: {}}}\n",
                folder.join(file).display()
            )
        };
        let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n";
        let (one, two) =
            (entry("MutatingAdmissionWebhook", "changers.yaml"), entry("ValidatingAdmissionWebhook", "judges.yaml"));
        write("admission.yaml", &format!("{head}{one}{two}"));
        config.admission_control_config_file = Some(folder.join("admission.yaml"));
    });
    let cluster = Cluster::with(builder).await;
    let hook = Hook::raw(&cluster, &["127.0.0.1"], |review| answer(review, json!({"allowed": true}))).await;
    register(&cluster, MUTATING, "m", &[hook.config(&cluster, "change", json!({}))]).await;
    register(&cluster, VALIDATING, "v", &[hook.config(&cluster, "judge", json!({}))]).await;
    let made = cluster.rest("POST", MAPS, &[], &configmap("m", "x").to_string()).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let seen: Vec<(String, String, bool)> =
        hook.asked().into_iter().map(|a| (a.uri, a.authorization, a.peer.contains("caller"))).collect();
    assert_eq!(
        seen,
        [
            ("/change?timeout=10s".to_owned(), "Bearer sesame".to_owned(), false),
            ("/judge?timeout=10s".to_owned(), String::new(), true),
        ]
    );
    assert_eq!(hook.connections(), 2, "connections are not shared between users");
}
