//! kubectl reads the discovery and OpenAPI documents.

use crate::present;
use crate::server::{Form, Server};

#[test]
fn explain_prints_fields() {
    if !present() {
        return;
    }
    let server = Server::start(Form::Aggregated);
    let text = server.kubectl(&["explain", "deployment.spec"]);
    for part in [
        "KIND:       Deployment",
        "FIELD: spec <DeploymentSpec>",
        "replicas\t<integer>",
        "selector\t<LabelSelector> -required-",
        "template\t<PodTemplateSpec> -required-",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let text = server.kubectl(&["explain", "pod.spec.containers.resources.limits", "--recursive"]);
    assert!(text.contains("FIELD: limits <map[string]Quantity>"), "{text}");
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
