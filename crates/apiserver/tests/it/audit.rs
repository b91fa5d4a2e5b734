//! The audit log: who did what, and who was refused.

use gantry_apiserver::testing::Builder;
use serde_json::{Value, json};

use crate::support::{Cluster, configmap};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn writes_and_refusals_are_written_down_with_who_really_was_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("audit.log");
    let path = log.clone();
    let cluster = Cluster::with(Builder::default().configure(move |config| config.audit_log_path = Some(path))).await;
    let masters = [("impersonate-user", "alice"), ("impersonate-group", "system:masters")];
    let map = configmap("m", "x").to_string();
    let made = cluster.rest("POST", MAPS, &masters, &map).await;
    let refused = cluster.rest("GET", MAPS, &[("impersonate-user", "alice"), ("audit-id", "mine")], "").await;
    let unknown = cluster.bare("DELETE", MAPS, &[("authorization", "Bearer junk")], "").await;
    assert_eq!((made.code, refused.code, unknown.code), (201, 403, 401));
    let text = std::fs::read_to_string(&log).expect("written");
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |answer: &crate::support::Answer| {
        let id = answer.headers["audit-id"].to_str().expect("text").to_owned();
        let found: Vec<&Value> = events.iter().filter(|event| event["auditID"] == json!(id)).collect();
        assert_eq!(found.len(), 1, "{id}: {text}");
        found[0].clone()
    };
    let event = of(&made);
    let users = (&event["user"]["username"], &event["impersonatedUser"]["username"]);
    assert_eq!(users, (&json!("admin"), &json!("alice")), "{event}");
    assert_eq!((&event["verb"], &event["sourceIPs"]), (&json!("create"), &json!(["127.0.0.1"])));
    assert_eq!(event["annotations"]["authorization.k8s.io/decision"], "allow");
    let event = of(&refused);
    assert_eq!(
        (&event["auditID"], &event["verb"], &event["user"]["username"]),
        (&json!("mine"), &json!("list"), &json!("admin"))
    );
    assert_eq!(event["responseStatus"]["code"], 403);
    assert_eq!(event["annotations"]["authorization.k8s.io/decision"], "forbid");
    let event = of(&unknown);
    assert_eq!((&event["verb"], &event["responseStatus"]["code"]), (&json!("delete"), &json!(401)), "{event}");
}
