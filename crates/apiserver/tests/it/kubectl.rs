//! kubectl's server-side apply against the server: conflicts, force, the move from its own apply, differences.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;
use tokio::process::Command;

use crate::support::Cluster;

/// kubectl as an administrator of one cluster.
struct Kubectl {
    cluster: Cluster,
    config: PathBuf,
    folder: tempfile::TempDir,
}

impl Kubectl {
    /// `None`, noted as a skip, where kubectl is not installed.
    async fn start() -> Option<Self> {
        let version = Command::new("kubectl").args(["version", "--client"]).output().await;
        if !version.is_ok_and(|o| o.status.success()) {
            skipped("kubectl is not installed");
            return None;
        }
        let cluster = Cluster::start().await;
        let config = cluster.server.kubeconfig("admin", &["system:masters"]);
        Some(Self { cluster, config, folder: tempfile::tempdir().expect("a folder") })
    }

    /// Runs a command; `{file}` stands for a file with `manifest`.
    async fn run(&self, command: &str, manifest: &str) -> Output {
        let file = self.folder.path().join("manifest.yaml");
        std::fs::write(&file, manifest).expect("the folder can be written");
        let path = file.display().to_string();
        Command::new("kubectl")
            .arg(format!("--kubeconfig={}", self.config.display()))
            .arg(format!("--cache-dir={}", self.folder.path().join("cache").display()))
            .args(command.split(' ').map(|word| if word == "{file}" { path.as_str() } else { word }))
            .kill_on_drop(true)
            .output()
            .await
            .expect("kubectl runs")
    }

    /// As [`Kubectl::run`], for a command that succeeds.
    async fn ok(&self, command: &str, manifest: &str) -> String {
        let output = self.run(command, manifest).await;
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    async fn object(&self) -> Value {
        self.cluster.rest("GET", "/apis/apps/v1/namespaces/default/deployments/web", &[], "").await.json()
    }
}

fn skipped(why: &str) {
    let line = format!("{}: {why}", std::thread::current().name().unwrap_or("a test of kubectl"));
    eprintln!("skipped: {line}");
    if let Some(path) = std::env::var_os("GANTRY_SKIPS") {
        let mut file = File::options().append(true).open(path).expect("the file of skips is there");
        writeln!(file, "{line}").expect("it can be written");
    }
}

fn web(replicas: u32, image: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: default
spec:
  replicas: {replicas}
  selector:
    matchLabels: {{app: web}}
  template:
    metadata:
      labels: {{app: web}}
    spec:
      containers:
      - name: web
        image: {image}
        ports:
        - containerPort: 80
"
    )
}

fn managers(object: &Value) -> Vec<(&str, &str)> {
    let text = |e: &'_ Value, field: &str| -> &'static str {
        Box::leak(e[field].as_str().unwrap_or_default().to_owned().into_boxed_str())
    };
    let entries = object["metadata"]["managedFields"].as_array();
    entries.into_iter().flatten().map(|e| (text(e, "manager"), text(e, "operation"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_applies_on_the_server() {
    let Some(kubectl) = Kubectl::start().await else { return };
    let apply = "apply --server-side -f {file}";
    assert_eq!(kubectl.ok(apply, &web(1, "nginx:1")).await, "deployment.apps/web serverside-applied\n");
    let first = kubectl.object().await;
    assert_eq!(managers(&first), [("kubectl", "Apply")]);
    kubectl.ok(apply, &web(1, "nginx:1")).await;
    assert_eq!(kubectl.object().await, first, "the same again changes nothing");

    kubectl.ok("scale deployment web --replicas=4 -n default", "").await;
    let refused = kubectl.run(apply, &web(2, "nginx:1")).await;
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success()
            && text.contains("conflict with \"kubectl\" with subresource \"scale\" using apps/v1: .spec.replicas"),
        "{text}"
    );
    assert!(text.contains("--force-conflicts"), "kubectl knows what kind of error it is: {text}");
    kubectl.ok("apply --server-side --force-conflicts -f {file}", &web(2, "nginx:1")).await;
    let forced = kubectl.object().await;
    assert_eq!((&forced["spec"]["replicas"], managers(&forced)), (&Value::from(2), vec![("kubectl", "Apply")]));

    let other = kubectl.run("apply --server-side --field-manager=other -f {file}", &web(2, "nginx:2")).await;
    let text = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(text.contains("conflict with \"kubectl\": .spec.template.spec.containers[name=\"web\"].image"), "{text}");
    let unknown = kubectl.run(apply, &web(2, "nginx:1").replace("replicas:", "replica:")).await;
    let text = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(!unknown.status.success() && text.contains(".spec.replica: field not declared in schema"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_moves_from_its_own_apply_to_the_servers() {
    let Some(kubectl) = Kubectl::start().await else { return };
    kubectl.ok("apply -f {file}", &web(1, "nginx:1")).await;
    assert_eq!(managers(&kubectl.object().await), [("kubectl-client-side-apply", "Update")]);
    kubectl.ok("apply --server-side -f {file}", &web(3, "nginx:2")).await;
    let moved = kubectl.object().await;
    let image = &moved["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!((&moved["spec"]["replicas"], image), (&Value::from(3), &Value::from("nginx:2")));
    let mut names: Vec<&str> = managers(&moved).into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    assert!(!names.contains(&"kubectl-client-side-apply"), "{names:?}");
    assert!(names.contains(&"kubectl"), "{names:?}");
    // The annotation follows, so that the client's own apply may come back.
    let annotation = &moved["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"];
    assert!(annotation.as_str().is_some_and(|text| text.contains("nginx:2")), "{annotation}");
    kubectl.ok("apply --server-side -f {file}", &web(3, "nginx:2").replace("  replicas: 3\n", "")).await;
    assert_eq!(kubectl.object().await["spec"]["replicas"], 1, "what is not said any more goes, and defaults come back");
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_shows_what_an_apply_would_change() {
    let Some(kubectl) = Kubectl::start().await else { return };
    let diff = "diff --server-side -f {file}";
    let new = kubectl.run(diff, &web(1, "nginx:1")).await;
    assert_eq!(new.status.code(), Some(1), "{}", String::from_utf8_lossy(&new.stderr));
    kubectl.ok("apply --server-side -f {file}", &web(1, "nginx:1")).await;
    let before = kubectl.object().await;
    assert_eq!(kubectl.run(diff, &web(1, "nginx:1")).await.status.code(), Some(0), "no difference");
    let changed = kubectl.run(diff, &web(2, "nginx:1")).await;
    let text = String::from_utf8_lossy(&changed.stdout).into_owned();
    assert!(
        changed.status.code() == Some(1) && text.contains("-  replicas: 1") && text.contains("+  replicas: 2"),
        "{text}"
    );
    assert_eq!(kubectl.object().await, before, "a dry run stores nothing");
}

const ADMISSION: &str = r"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: replicas}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}
  validations:
  - {expression: object.spec.replicas <= 5, message: five are enough}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: replicas}
spec: {policyName: replicas, validationActions: [Deny]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: nobody}
webhooks:
- name: nobody.example.com
  clientConfig: {url: 'https://example.com/x'}
  rules:
  - {apiGroups: [example.com], apiVersions: [v1], operations: ['*'], resources: [things]}
  sideEffects: None
  admissionReviewVersions: [v1]
";

#[tokio::test]
async fn policies_and_webhooks_are_created_and_shown() {
    let Some(kubectl) = Kubectl::start().await else { return };
    let created = kubectl.ok("create -f {file}", ADMISSION).await;
    assert!(created.contains("validatingadmissionpolicy.admissionregistration.k8s.io/replicas created"), "{created}");
    let shown = kubectl.ok("get validatingadmissionpolicies", "").await;
    let columns: Vec<&str> = shown.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(columns, ["NAME", "VALIDATIONS", "PARAMKIND", "AGE"]);
    let shown = kubectl.ok("get mutatingwebhookconfigurations nobody", "").await;
    assert!(shown.lines().nth(1).is_some_and(|row| row.starts_with("nobody   1")), "{shown}");
    let refused = kubectl.run("create deployment web --image=nginx --replicas=6", "").await;
    let text = String::from_utf8_lossy(&refused.stderr);
    let expected = "ValidatingAdmissionPolicy 'replicas' with binding 'replicas' denied request: five are enough";
    assert!(!refused.status.success() && text.contains(expected), "{text}");
    kubectl.ok("create deployment web --image=nginx --replicas=5", "").await;
}
