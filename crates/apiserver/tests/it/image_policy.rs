//! `ImagePolicyWebhook`: what the judge of images is asked, and what its answers do.

use std::sync::Arc;

use gantry_apiserver::testing::{Builder, Pki};
use serde_json::{Value, json};

use crate::hooks::{Hook, Raw, kubeconfig};
use crate::support::{Answer, Cluster, pod};

const PODS: &str = "/api/v1/namespaces/default/pods";
const VERSION: &str = "imagepolicy.k8s.io/v1alpha1";

/// A judge, and a cluster that asks it as `caller`; `more` is further configuration.
async fn judged(more: &str, respond: impl Fn(&Value) -> Raw + Clone + Send + 'static) -> (Cluster, Hook) {
    let pki = Arc::new(Pki::new());
    let hook = Hook::of(pki.serving_for("judge", &["127.0.0.1"]), &pki.ca_pem(), respond).await;
    let cluster = asking(&pki, &format!("https://{}/images", hook.address), more).await;
    (cluster, hook)
}

async fn asking(pki: &Arc<Pki>, server: &str, more: &str) -> Cluster {
    let (own, server, more) = (pki.clone(), server.to_owned(), more.to_owned());
    let builder = Builder::default().pki(pki.clone()).configure(move |config| {
        let folder = config.client_ca_file.as_ref().expect("a file").parent().expect("a folder").to_owned();
        let kubeconfig = kubeconfig(&folder, &own, &server);
        let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n";
        let told = format!("kubeConfigFile: {}{more}", kubeconfig.display());
        let entry = format!("- name: ImagePolicyWebhook\n  configuration: {{imagePolicy: {{{told}}}}}\n");
        std::fs::write(folder.join("admission.yaml"), format!("{head}{entry}")).expect("written");
        config.admission_control_config_file = Some(folder.join("admission.yaml"));
        config.enable_admission_plugins = vec!["ImagePolicyWebhook".to_owned()];
        config.audit_log_path = Some(folder.join("audit.log"));
    });
    let cluster = Cluster::with(builder).await;
    cluster.default_account().await;
    cluster
}

fn status(status: &Value) -> Raw {
    (200, json!({"apiVersion": VERSION, "kind": "ImageReview", "status": status}).to_string())
}

async fn make(cluster: &Cluster, name: &str, image: &str) -> Answer {
    let mut made = pod(name);
    made["spec"]["containers"][0]["image"] = image.into();
    cluster.rest("POST", PODS, &[], &made.to_string()).await
}

fn message(answer: &Answer) -> (u16, String) {
    (answer.code, answer.json()["message"].as_str().unwrap_or_default().to_owned())
}

/// An audit annotation of the creations of pods, counted from 0.
fn noted(cluster: &Cluster, index: usize, key: &str) -> Value {
    let text = std::fs::read_to_string(cluster.folder().join("audit.log")).expect("written");
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let event = events.filter(|event| event["requestURI"] == PODS).nth(index).expect("noted");
    event["annotations"][format!("imagepolicywebhook.image-policy.k8s.io/{key}")].clone()
}

#[tokio::test]
async fn cve_2023_2727_a_judge_of_images_sees_every_sort_of_container() {
    let (cluster, hook) =
        judged("", |review| match review["spec"]["containers"][0]["image"].as_str().unwrap_or_default() {
            "bad" => status(&json!({"allowed": false, "reason": "no good", "auditAnnotations": {"why": "old"}})),
            "worse" => status(&json!({"allowed": false})),
            _ => status(&json!({"allowed": true, "auditAnnotations": {"seen": "yes"}})),
        })
        .await;
    let mut asked = pod("good");
    asked["spec"]["initContainers"] = json!([{"name": "i", "image": "first"}]);
    asked["spec"]["containers"][0]["image"] = "fine".into();
    asked["metadata"]["annotations"] = json!({"mine.image-policy.k8s.io/ticket": "7", "other": "x"});
    let made = cluster.rest("POST", PODS, &[], &asked.to_string()).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let question = hook.asked().pop().expect("asked");
    assert_eq!(question.uri, "/images?timeout=30s");
    assert!(question.peer.contains("caller"), "the user's certificate is shown");
    let spec = json!({
        "containers": [{"image": "fine"}, {"image": "first"}], "namespace": "default",
        "annotations": {"mine.image-policy.k8s.io/ticket": "7"},
    });
    assert_eq!(
        question.review,
        json!({"kind": "ImageReview", "apiVersion": VERSION, "metadata": {}, "spec": spec, "status": {"allowed": false}})
    );
    let refused = "is forbidden: image policy webhook backend denied one or more images: no good";
    assert_eq!(message(&make(&cluster, "b", "bad").await), (403, format!("pods \"b\" {refused}")));
    let plain = "pods \"w\" is forbidden: one or more images rejected by webhook backend";
    assert_eq!(message(&make(&cluster, "w", "worse").await), (403, plain.to_owned()));
    assert_eq!(noted(&cluster, 0, "seen"), "yes");
    assert_eq!(noted(&cluster, 1, "why"), "old");
    let before = hook.asked().len();
    assert_eq!(make(&cluster, "b2", "bad").await.code, 403);
    assert_eq!(hook.asked().len(), before, "what was answered is not asked again");
    assert_eq!(noted(&cluster, 3, "why"), "old");
    let label = r#"{"metadata":{"labels":{"a":"b"}}}"#;
    let merge = ("content-type", "application/merge-patch+json");
    assert_eq!(cluster.rest("PATCH", &format!("{PODS}/good"), &[merge], label).await.code, 200);
    assert_eq!(cluster.rest("PATCH", &format!("{PODS}/good/status"), &[merge], label).await.code, 200);
    assert_eq!(hook.asked().len(), before);
    let debug = r#"{"spec":{"ephemeralContainers":[{"name":"d","image":"bad"}]}}"#;
    let strategic = ("content-type", "application/strategic-merge-patch+json");
    let refused = cluster.rest("PATCH", &format!("{PODS}/good/ephemeralcontainers"), &[strategic], debug).await;
    assert_eq!(refused.code, 403, "{}", refused.text);
    assert_eq!(hook.asked().pop().expect("asked").review["spec"]["containers"], json!([{"image": "bad"}]));
    let map = json!({"metadata": {"name": "m"}}).to_string();
    assert_eq!(cluster.rest("POST", "/api/v1/namespaces/default/configmaps", &[], &map).await.code, 201);
}

#[tokio::test]
async fn a_judge_that_stumbles_is_asked_again_and_answers_are_not_kept_for_ever() {
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = asked.clone();
    let more = ", retryBackoff: 1, allowTTL: -1, denyTTL: -1";
    let (cluster, hook) = judged(more, move |_| match count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0..3 => (500, "oops".to_owned()),
        _ => status(&json!({"allowed": true})),
    })
    .await;
    assert_eq!(make(&cluster, "a", "x").await.code, 201);
    assert_eq!(hook.asked().len(), 4);
    assert_eq!(make(&cluster, "b", "x").await.code, 201);
    assert_eq!(hook.asked().len(), 5, "nothing is kept");
}

#[tokio::test]
async fn a_judge_that_cannot_be_asked_refuses_or_not_as_the_operator_says() {
    let more = ", retryBackoff: 1";
    let (cluster, hook) =
        judged(more, |review| match review["spec"]["containers"][0]["image"].as_str().unwrap_or_default() {
            "down" => (500, "oops".to_owned()),
            "gone" => (404, String::new()),
            "odd" => (200, json!({"apiVersion": "v1", "kind": "Pod"}).to_string()),
            _ => (200, "no JSON".to_owned()),
        })
        .await;
    for (name, image, tries, why) in [
        ("a", "down", 5, "an error on the server (\"oops\") has prevented the request from succeeding"),
        ("b", "gone", 1, "the server could not find the requested resource"),
        ("c", "odd", 1, "no kind \"Pod\" is registered for version \"v1\""),
        ("d", "noise", 1, "couldn't get version/kind; json parse error"),
    ] {
        let before = hook.asked().len();
        let (code, text) = message(&make(&cluster, name, image).await);
        assert!(text.starts_with(&format!("pods \"{name}\" is forbidden: ")) && text.contains(why), "{text}");
        assert_eq!((code, hook.asked().len() - before), (403, tries), "{image}");
    }
    let open = asking(&Arc::new(Pki::new()), "https://127.0.0.1:1/x", ", defaultAllow: true").await;
    let made = make(&open, "p", "x").await;
    assert_eq!(made.code, 201, "{}", made.text);
    assert_eq!(noted(&open, 0, "failed-open"), "true");
}
