//! kubectl and custom kinds, in a new release and in Debian's old one.

use std::path::PathBuf;

use super::*;
use crate::kubectl_documents::{Kubectl, old};

const DEFINITION: &str = r#"apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
    additionalPrinterColumns:
    - {name: Spec, type: string, jsonPath: .spec.cronSpec}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    schema:
      openAPIV3Schema:
        type: object
        description: A table of things to do.
        properties:
          spec:
            type: object
            description: What to do when.
            x-kubernetes-validations:
            - {rule: "!has(self.replicas) || self.replicas < 5", message: too many replicas}
            properties:
              cronSpec: {type: string, description: The schedule.}
              replicas: {type: integer}
"#;

const OBJECT: &str = "apiVersion: stable.example.com/v1
kind: CronTab
metadata: {name: mine, namespace: default}
spec: {cronSpec: '5 0 * * *', replicas: 2}
";

/// What both releases do.
async fn lives(kubectl: &Kubectl) {
    let definition = kubectl.file("definition.yaml", DEFINITION);
    let object = kubectl.file("object.yaml", OBJECT);
    let changed = kubectl.file("changed.yaml", &OBJECT.replace("replicas: 2", "replicas: 3"));
    let wrong = kubectl.file("wrong.yaml", &OBJECT.replace("replicas: 2", "replicas: 9"));
    kubectl.prints(&format!("apply -f {definition}"), 0, &["crontabs.stable.example.com created"]).await;
    let established = "wait --for=condition=Established crd/crontabs.stable.example.com --timeout=30s";
    kubectl.prints(established, 0, &["condition met"]).await;
    kubectl.prints("explain crontabs.spec", 0, &["What to do when.", "cronSpec\t<string>", "The schedule."]).await;
    kubectl.prints(&format!("apply -f {object}"), 0, &["crontab.stable.example.com/mine created"]).await;
    kubectl.prints(&format!("apply -f {object}"), 0, &["unchanged"]).await;
    kubectl.prints(&format!("apply -f {changed}"), 0, &["configured"]).await;
    kubectl.prints(&format!("apply -f {wrong}"), 1, &["spec: Invalid value: \"object\": too many replicas"]).await;
    kubectl.prints("get ct", 0, &["NAME", "SPEC", "REPLICAS", "mine", "5 0 * * *", "3"]).await;
    kubectl.prints("get all", 0, &["crontab.stable.example.com/mine"]).await;
    kubectl.prints("scale crontab/mine --replicas=4", 0, &["scaled"]).await;
    kubectl.prints("get crontab mine -o jsonpath={.spec.replicas}", 0, &["4"]).await;
    kubectl.prints("describe crontab mine", 0, &["Cron Spec:", "5 0 * * *"]).await;
    kubectl.prints(&format!("delete --timeout=30s -f {definition}"), 0, &["deleted"]).await;
    // It may still know the kind from before.
    kubectl.prints("get crontab mine", 1, &["the server"]).await;
}

#[tokio::test]
async fn kubectl_handles_custom_kinds() {
    let cluster = Cluster::start().await;
    let Some(kubectl) = Kubectl::new(&cluster, PathBuf::from("kubectl")).await else { return };
    lives(&kubectl).await;
}

#[tokio::test]
async fn an_old_kubectl_handles_custom_kinds() {
    let cluster = Cluster::start().await;
    let Some(kubectl) = Kubectl::new(&cluster, old()).await else { return };
    lives(&kubectl).await;
}
