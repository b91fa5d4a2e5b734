//! kubectl against the whole server: what it does with the OpenAPI documents, in a new release and in Debian's old one.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::support::{Cluster, skip};

/// A kubectl and the kubeconfig of an administrator.
pub(crate) struct Kubectl {
    program: PathBuf,
    config: PathBuf,
    cache: tempfile::TempDir,
}

impl Kubectl {
    /// Says so when the program is not there.
    pub(crate) async fn new(cluster: &Cluster, program: PathBuf) -> Option<Self> {
        let version = Command::new(&program).args(["version", "--client"]).output().await;
        if !version.is_ok_and(|output| output.status.success()) {
            skip(&format!("{} is not installed", program.display()));
            return None;
        }
        let config = cluster.server.kubeconfig("admin", &["system:masters"]);
        Some(Self { program, config, cache: tempfile::tempdir().expect("a folder") })
    }

    /// Runs a command; the words of the line are its arguments. Returns exit code and all that it prints.
    async fn run(&self, line: &str) -> (Option<i32>, String) {
        let output = Command::new(&self.program)
            .arg(format!("--kubeconfig={}", self.config.display()))
            .arg(format!("--cache-dir={}", self.cache.path().display()))
            .args(line.split(' '))
            .output()
            .await
            .expect("kubectl runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }

    pub(crate) async fn prints(&self, line: &str, code: i32, parts: &[&str]) {
        let (got, text) = self.run(line).await;
        assert_eq!(got, Some(code), "{line}: {text}");
        for part in parts {
            assert!(text.contains(part), "{line}: {part} is not in\n{text}");
        }
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.cache.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    }
}

/// Debian's old one, where `cargo xtask test` has fetched it.
pub(crate) fn old() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("tmp is in the target folder");
    target.join("tools/kubectl-1.20/usr/bin/kubectl")
}

const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: nginx, ports: [{containerPort: 80}]}]}
";

async fn applies_and_compares(kubectl: &Kubectl) {
    let good = kubectl.file("good.yaml", DEPLOYMENT);
    let changed = kubectl.file("changed.yaml", &DEPLOYMENT.replace("replicas: 1", "replicas: 3"));
    kubectl.prints(&format!("create --dry-run=server -f {good}"), 0, &["web created (server dry run)"]).await;
    kubectl.prints(&format!("get -f {good}"), 1, &["NotFound"]).await;
    kubectl.prints(&format!("apply -f {good}"), 0, &["web created"]).await;
    kubectl.prints(&format!("diff -f {good}"), 0, &[]).await;
    kubectl.prints(&format!("diff -f {changed}"), 1, &["-  replicas: 1", "+  replicas: 3"]).await;
    kubectl.prints(&format!("apply -f {changed}"), 0, &["web configured"]).await;
    kubectl.prints(&format!("apply -f {changed}"), 0, &["web unchanged"]).await;
}

#[tokio::test]
async fn kubectl_explains_validates_and_compares() {
    let cluster = Cluster::start().await;
    let Some(kubectl) = Kubectl::new(&cluster, PathBuf::from("kubectl")).await else { return };
    let explained = ["GROUP:      apps", "replicas\t<integer>", "Number of desired pods.", "-required-"];
    kubectl.prints("explain deployments.spec", 0, &explained).await;
    kubectl.prints("explain pods.spec.containers.ports --recursive", 0, &["hostPort\t<integer>"]).await;
    let older = ["KIND:     Pod", "RESOURCE: containers <[]Object>", "List of containers belonging to the pod."];
    kubectl.prints("explain pods.spec.containers --output=plaintext-openapiv2", 0, &older).await;
    kubectl.prints("explain scale.spec --api-version=autoscaling/v1", 1, &[]).await;
    let wrong = kubectl.file("wrong.yaml", &DEPLOYMENT.replace("replicas: 1", "replica: 1"));
    let refused = ["strict decoding error: unknown field \"spec.replica\""];
    kubectl.prints(&format!("create --dry-run=server -f {wrong}"), 1, &refused).await;
    kubectl
        .prints(&format!("apply --validate=warn -f {wrong}"), 0, &["unknown field \"spec.replica\"", "created"])
        .await;
    kubectl.prints(&format!("delete --wait=false -f {wrong}"), 0, &["deleted"]).await;
    applies_and_compares(&kubectl).await;
}

/// It knows no version 3: it validates by itself, with version 2.
#[tokio::test]
async fn an_old_kubectl_explains_validates_and_compares() {
    let cluster = Cluster::start().await;
    let Some(kubectl) = Kubectl::new(&cluster, old()).await else { return };
    let explained = ["KIND:     Deployment", "VERSION:  apps/v1", "replicas\t<integer>", "Number of desired pods."];
    kubectl.prints("explain deployments.spec", 0, &explained).await;
    kubectl.prints("explain pods.spec.containers --recursive", 0, &["hostPort\t<integer>"]).await;
    let wrong = kubectl.file("wrong.yaml", &DEPLOYMENT.replace("replicas: 1", "replica: 1"));
    let refused = ["unknown field \"replica\" in io.k8s.api.apps.v1.DeploymentSpec"];
    kubectl.prints(&format!("apply -f {wrong}"), 1, &refused).await;
    let mistyped = kubectl.file("mistyped.yaml", &DEPLOYMENT.replace("replicas: 1", "replicas: many"));
    let refused = ["invalid type for io.k8s.api.apps.v1.DeploymentSpec.replicas: got \"string\", expected \"integer\""];
    kubectl.prints(&format!("create -f {mistyped}"), 1, &refused).await;
    applies_and_compares(&kubectl).await;
}
