//! kubectl reads the discovery and OpenAPI documents.

use crate::present;
use crate::server::{Form, Server};

/// What `kubectl explain` must print, spaces and line breaks aside.
fn explains(text: &str, parts: &[&str]) {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let printed = words(text);
    for part in parts {
        assert!(printed.contains(&words(part)), "{part} is not in\n{text}");
    }
}

#[test]
fn explain_prints_fields_and_what_they_mean() {
    if !present() {
        return;
    }
    let server = Server::start(Form::Aggregated);
    explains(
        &server.kubectl(&["explain", "deployment.spec"]),
        &[
            "KIND:       Deployment",
            "FIELD: spec <DeploymentSpec>",
            "DESCRIPTION: Specification of the desired behavior of the Deployment. DeploymentSpec is",
            "replicas\t<integer> Number of desired pods.",
            "selector\t<LabelSelector> -required-",
            "template\t<PodTemplateSpec> -required- Template describes the pods",
        ],
    );
    let limits = server.kubectl(&["explain", "pod.spec.containers.resources.limits"]);
    explains(&limits, &["FIELD: limits <map[string]Quantity>", "Limits describes the maximum amount of compute"]);
    explains(
        &server.kubectl(&["explain", "pod", "--recursive"]),
        &["metadata\t<ObjectMeta>", "containers\t<[]Container> -required-", "tcpSocket\t<TCPSocketAction>"],
    );
    explains(
        &server.kubectl(&["explain", "pod.spec.restartPolicy"]),
        &[
            "FIELD: restartPolicy <string>",
            "ENUM: Always Never OnFailure DESCRIPTION: Restart policy for all containers",
        ],
    );
    explains(&server.kubectl(&["explain", "pod.spec"]), &["restartPolicy\t<string>", "enum: Always, Never, OnFailure"]);
    assert!(!server.run(&["explain", "pod.spec.nothing"]).status.success());
}

#[test]
fn explain_reads_version_2_as_well() {
    if !present() {
        return;
    }
    let server = Server::start(Form::Legacy);
    explains(
        &server.kubectl(&["explain", "deployment.spec.strategy", "--output=plaintext-openapiv2"]),
        &[
            "RESOURCE: strategy <Object>",
            "The deployment strategy to use to replace existing pods with new ones.",
            "rollingUpdate\t<Object> Rolling update config params.",
            "type\t<string>",
        ],
    );
}

#[test]
fn both_discovery_forms_list_the_same_resources() {
    if !present() {
        return;
    }
    let new = Server::start(Form::Aggregated).kubectl(&["api-resources", "-o", "wide"]);
    let old = Server::start(Form::Legacy).kubectl(&["api-resources", "-o", "wide"]);
    assert_eq!(new, old);
    let line = new.lines().find(|l| l.starts_with("deployments ")).expect("deployments are listed");
    let cells: Vec<&str> = line.split_whitespace().collect();
    let verbs = "create,delete,deletecollection,get,list,patch,update,watch";
    assert_eq!(cells, ["deployments", "deploy", "apps/v1", "true", "Deployment", verbs, "all"]);
}
