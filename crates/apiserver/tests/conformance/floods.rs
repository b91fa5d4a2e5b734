//! Lists as long as a body may be: the answer comes, whatever it is, because nothing that looks at them takes more than a time in
//! proportion to their length. What looks at each pair of items takes hours.

use gantry_api::kinds;

use crate::client::Client;
use crate::manifest;
use crate::subject::{Subject, world};

/// Below the bound on bodies.
const BYTES: usize = 2 * 1024 * 1024;

/// Lists whose items are compared with each other, or are wrong in each item.
const LISTS: &[(&str, &str, &str, &str)] = &[
    ("", "ConfigMap", "meta/v1.ObjectMeta", "finalizers"),
    ("", "LimitRange", "core/v1.LimitRangeSpec", "limits"),
    ("", "Node", "core/v1.NodeSpec", "taints"),
    ("", "Pod", "core/v1.PodSpec", "containers"),
    ("", "Pod", "core/v1.Container", "env"),
    ("", "Pod", "core/v1.PodSpec", "volumes"),
    ("", "Service", "core/v1.ServiceSpec", "ports"),
    ("rbac.authorization.k8s.io", "ClusterRole", "rbac/v1.ClusterRole", "rules"),
];

#[tokio::test]
async fn attack_long_lists_are_answered_in_proportion() {
    let cluster = world().await;
    let client = Client::admin(&cluster).await;
    for (group, kind, ty, field) in LISTS {
        let kind = kinds::by_kind(group, "v1", kind).expect("served");
        let ways = manifest::lists(kind);
        let way = ways.iter().find(|way| way.last() == Some(&(*ty, *field))).expect("a list of the kind");
        let mut object = manifest::flooded(kind, way, BYTES).expect("a manifest has it");
        object["metadata"]["name"] = "flood".into();
        let subject = Subject::new(kind, &client);
        let answer = subject.ask("POST", "?dryRun=All", &[], object.to_string()).await;
        assert!(matches!(answer.code, 201 | 413 | 422), "{} {field}: {}", subject.says(), answer.code);
    }
}
