//! Every kind behaves alike: one object of each goes through reads, selectors, forms, patches, dry runs, strict decoding,
//! protobuf, status, watch and deletion.

use std::collections::BTreeSet;

use bytes::Bytes;
use gantry_api::kinds::{self, Generation, KindInfo};
use gantry_apiserver::testing::Builder;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::samples::{Sample, samples};
use crate::support::{self, Answer, Cluster};

/// A sample's requests.
struct Life<'a> {
    connection: Mutex<SendRequest<Full<Bytes>>>,
    sample: &'a Sample,
    list: String,
}

impl<'a> Life<'a> {
    async fn new(cluster: &'a Cluster, sample: &'a Sample) -> Self {
        let kind = sample.kind;
        let group = if kind.group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{}", kind.api_version) };
        let namespace = if kind.namespaced { "/namespaces/default" } else { "" };
        Self {
            connection: Mutex::new(cluster.connection().await),
            sample,
            list: format!("{group}{namespace}/{}", kind.resource),
        }
    }

    fn body(&self) -> Value {
        let mut body = self.sample.body.clone();
        body["metadata"]["name"] = self.sample.name.into();
        body
    }

    fn says(&self) -> &str {
        self.sample.kind.kind
    }

    async fn ask(&self, method: &str, rest: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let rest = rest.replace("{name}", self.sample.name);
        let mut connection = self.connection.lock().await;
        let path = format!("{}{rest}", self.list);
        support::answer(support::send_on(&mut connection, method, &path, headers, body).await).await
    }

    async fn object(&self) -> Value {
        self.ask("GET", "/{name}", &[], "").await.json()
    }

    async fn create(&self) {
        let unknown = {
            let mut body = self.body();
            body["nonsense"] = 1.into();
            self.ask("POST", "?fieldValidation=Strict", &[], &body.to_string()).await
        };
        assert_eq!(unknown.code, 400, "{}: {}", self.says(), unknown.text);
        assert!(unknown.text.contains("unknown field \\\"nonsense\\\""), "{}: {}", self.says(), unknown.text);
        let body = self.body().to_string();
        let dry = self.ask("POST", "?dryRun=All", &[], &body).await;
        assert_eq!(dry.code, 201, "{}: {}", self.says(), dry.text);
        assert_eq!(self.ask("GET", "/{name}", &[], "").await.code, 404, "{}: a dry run is not stored", self.says());
        let made = self.ask("POST", "", &[("user-agent", "maker/1")], &body).await;
        assert_eq!(made.code, 201, "{}: {}", self.says(), made.text);
        let made = made.json();
        assert_eq!(made["kind"], self.says());
        assert!(made["metadata"]["uid"].is_string() && made["metadata"]["creationTimestamp"].is_string());
        assert_eq!(made["metadata"]["managedFields"][0]["manager"], "maker", "{}", self.says());
        if self.sample.kind.kind == "APIService" {
            self.judged().await;
        } else {
            assert_eq!(self.object().await, made, "{}: what was answered is what is stored", self.says());
        }
        let twice = self.ask("POST", "", &[], &body).await;
        assert_eq!((twice.code, twice.json()["reason"].as_str()), (409, Some("AlreadyExists")), "{}", self.says());
    }

    /// Waits until the server has said of an APIService whether it is available: its own write must not come between others.
    async fn judged(&self) {
        let said = async {
            while self.object().await["status"]["conditions"].is_null() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), said).await.expect("a condition");
    }

    async fn read(&self) {
        let count = async |query: &str| {
            let list = self.ask("GET", query, &[], "").await.json();
            assert_eq!(list["kind"], format!("{}List", self.says()));
            list["items"].as_array().map_or(0, Vec::len)
        };
        assert_eq!(count("?fieldSelector=metadata.name%3D{name}").await, 1, "{}", self.says());
        assert_eq!(count("?fieldSelector=metadata.name%3D{name}&labelSelector=a%3Db").await, 1, "{}", self.says());
        assert_eq!(count("?fieldSelector=metadata.name%3D{name}&labelSelector=a%3Dc").await, 0, "{}", self.says());
        assert_eq!(count("?limit=1").await, 1, "{}", self.says());
        let form = async |form: &str| {
            let accept = format!("application/json;as={form};g=meta.k8s.io;v=v1");
            self.ask("GET", "/{name}", &[("accept", &accept)], "").await.json()
        };
        let table = form("Table").await;
        let columns = table["columnDefinitions"].as_array().map_or(0, Vec::len);
        assert!(columns > 1, "{}", self.says());
        assert_eq!(table["rows"][0]["cells"].as_array().map(Vec::len), Some(columns), "{}", self.says());
        let partial = form("PartialObjectMetadata").await;
        assert_eq!((partial["kind"].as_str(), partial.get("spec")), (Some("PartialObjectMetadata"), None));
        assert_eq!(partial["metadata"], self.object().await["metadata"], "{}", self.says());
        let initial = "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1&fieldSelector=metadata.name%3D{name}";
        let events: Vec<Value> = self.ask("GET", initial, &[], "").await.text.lines().map(parsed).collect();
        let types: Vec<&str> = events.iter().filter_map(|e| e["type"].as_str()).collect();
        assert_eq!(types, ["ADDED", "BOOKMARK"], "{}", self.says());
        assert_eq!(events[0]["object"], self.object().await, "{}", self.says());
    }

    /// Writing back what was read changes nothing.
    async fn write_back(&self) {
        let before = self.object().await;
        let put = self.ask("PUT", "/{name}?fieldManager=other&fieldValidation=Strict", &[], &before.to_string()).await;
        assert_eq!(put.code, 200, "{}: {}", self.says(), put.text);
        assert_eq!(put.json(), before, "{}", self.says());
    }

    async fn patch(&self) {
        let before = self.object().await;
        let patch = async |form: &str, query: &str, body: Value| {
            let content = format!("application/{form}");
            let answer =
                self.ask("PATCH", &format!("/{{name}}{query}"), &[("content-type", &content)], &body.to_string()).await;
            assert_eq!(answer.code, 200, "{} {form}: {}", self.says(), answer.text);
        };
        patch("merge-patch+json", "", json!({"metadata": {"labels": {"merge": "1"}}})).await;
        patch("strategic-merge-patch+json", "", json!({"metadata": {"labels": {"strategic": "1"}}})).await;
        patch("json-patch+json", "", json!([{"op": "add", "path": "/metadata/labels/json", "value": "1"}])).await;
        patch("merge-patch+json", "?dryRun=All", json!({"metadata": {"labels": {"dry": "1"}}})).await;
        let after = self.object().await;
        let labels = &after["metadata"]["labels"];
        assert_eq!([&labels["merge"], &labels["strategic"], &labels["json"]], ["1", "1", "1"], "{}", self.says());
        assert_eq!(labels.get("dry"), None, "{}", self.says());
        if self.sample.kind.generation != Generation::ContentAndLabels {
            assert_eq!(after["metadata"]["generation"], before["metadata"]["generation"], "{}", self.says());
        }
        let stale = self.ask("PUT", "/{name}", &[], &before.to_string()).await;
        assert_eq!((stale.code, stale.json()["reason"].as_str()), (409, Some("Conflict")), "{}", self.says());
    }

    async fn status(&self) {
        assert_eq!(self.sample.kind.has_status, self.sample.status.is_object(), "{}", self.says());
        if !self.sample.kind.has_status {
            return;
        }
        let merge = ("content-type", "application/merge-patch+json");
        let body = json!({"status": self.sample.status}).to_string();
        let over = |object: &Value| {
            let wanted = self.sample.status.as_object().into_iter().flatten();
            wanted.map(|(key, _)| object["status"][key].clone()).collect::<Vec<_>>()
        };
        let before = self.object().await;
        let ignored = self.ask("PATCH", "/{name}", &[merge], &body).await.json();
        assert_eq!(over(&ignored), over(&before), "{}: the status is not written with the rest", self.says());
        let written = self.ask("PATCH", "/{name}/status", &[merge], &body).await;
        assert_eq!(written.code, 200, "{}: {}", self.says(), written.text);
        let stored = self.object().await;
        assert_ne!(over(&stored), over(&before), "{}", self.says());
        assert_eq!(stored["metadata"]["generation"], before["metadata"]["generation"], "{}", self.says());
    }

    async fn protobuf(&self) {
        let kind = self.sample.kind;
        let body = protobuf(&kind.api_version, kind.kind);
        let content = ("content-type", "application/vnd.kubernetes.protobuf");
        let answer = self.ask("POST", "?dryRun=All", &[content], &body).await;
        let json = answer.json();
        let name = match answer.code {
            201 => &json["metadata"]["name"],
            // Read, and found to lack what this kind requires.
            422 => &json["details"]["name"],
            _ => panic!("{}: {}", self.says(), answer.text),
        };
        assert_eq!(name, "proto", "{}: {}", self.says(), answer.text);
    }

    async fn delete(&self) {
        let gone = self.ask("DELETE", "/{name}", &[], "").await;
        assert_eq!(gone.code, 200, "{}: {}", self.says(), gone.text);
        if self.says() == "Namespace" {
            assert_eq!(self.object().await["status"]["phase"], "Terminating");
        } else {
            assert_eq!(self.ask("GET", "/{name}", &[], "").await.code, 404, "{}", self.says());
        }
    }

    async fn live(&self) {
        self.create().await;
        self.read().await;
        self.write_back().await;
        self.patch().await;
        self.status().await;
        self.protobuf().await;
        self.delete().await;
    }
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).expect("a line of JSON")
}

/// An object of which only the name is given, as `k8s\0` and an `Unknown` message. All lengths are below 128, so that it is text.
fn protobuf(api_version: &str, kind: &str) -> String {
    let field = |number: u8, content: &str| {
        let length = u8::try_from(content.len()).ok().filter(|l| *l < 128).expect("a short field");
        format!("{}{}{content}", char::from(number << 3 | 2), char::from(length))
    };
    let type_meta = field(1, api_version) + &field(2, kind);
    let object = field(1, &field(1, "proto"));
    format!("k8s\0{}{}", field(1, &type_meta), field(2, &object))
}

#[tokio::test]
async fn every_kind_lives_alike() {
    let samples = samples();
    let name = |k: &KindInfo| format!("{}.{}", k.kind, k.api_version);
    let covered: BTreeSet<String> = samples.iter().map(|s| name(s.kind)).collect();
    // The server itself writes to definitions as soon as they are there; `custom` tells of their lives.
    let served = kinds::all().iter().filter(|k| k.stored() && k.kind != "CustomResourceDefinition");
    assert_eq!(covered, served.map(name).collect(), "a sample of every kind that is stored");
    // What is written here is left alone: no policy is in force, so none is checked, and what goes is not held.
    let quiet = Builder::default().configure(|config| {
        let off = ["ValidatingAdmissionPolicy", "StorageObjectInUseProtection"];
        config.disable_admission_plugins = off.map(str::to_owned).into();
    });
    let cluster = Cluster::with(quiet).await;
    cluster.default_account().await;
    let lives: Vec<Life<'_>> = futures::future::join_all(samples.iter().map(|s| Life::new(&cluster, s))).await;
    futures::future::join_all(lives.iter().map(Life::live)).await;
}
