//! protobuf over the wire, from an encoder that is not ours: what crate k8s-pb writes means what the same object means in JSON.

// The API crate compares its table of fields with the same kinds.
#[path = "../../../api/src/decode/tests/k8s_pb/known.rs"]
mod known;
// So is how it reads what the crate shows.
#[path = "../../../api/src/decode/tests/k8s_pb/shown.rs"]
mod shown;

use std::collections::BTreeMap;

use bytes::Bytes;
use gantry_api::{decode, encode};
use k8s_pb::api::apps::v1 as apps;
use k8s_pb::api::core::v1 as core;
use k8s_pb::apimachinery::pkg::api::resource::Quantity;
use k8s_pb::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_pb::apimachinery::pkg::util::intstr::IntOrString;
use prost::Message;
use serde_json::{Value, json};

use self::known::table;
use crate::client::Client;
use crate::subject::{Subject, stored, world};
use crate::whole::timeless;

const PROTOBUF: (&str, &str) = ("content-type", "application/vnd.kubernetes.protobuf");
/// Fields of 1.36 that the crate's definitions, of an earlier release, do not have.
const NEWER: &[&str] = &[];
const MAGIC: &[u8] = b"k8s\0";

/// The envelope of an object: who it is, and its message.
#[derive(Clone, PartialEq, Message)]
struct Envelope {
    #[prost(message, optional, tag = "1")]
    about: Option<About>,
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct About {
    #[prost(string, tag = "1")]
    api_version: String,
    #[prost(string, tag = "2")]
    kind: String,
}

/// An object as the other encoder writes it, and as it shows it.
type Again = fn(&[u8]) -> (Bytes, Value);

fn again<T: Message + Default + std::fmt::Debug>(body: &[u8]) -> (Bytes, Value) {
    let envelope = Envelope::decode(body.strip_prefix(MAGIC).expect("an envelope")).expect("prost reads the envelope");
    let message = T::decode(envelope.raw.as_slice()).expect("k8s-pb reads it");
    let written = Envelope { raw: message.encode_to_vec(), ..envelope };
    ([MAGIC, &written.encode_to_vec()].concat().into(), shown::parse(&format!("{message:?}")))
}

/// The object without the fields that the crate, of an earlier release, does not know, once it shows everything else of it
/// under its own names: what it writes then means this, whoever filled its message.
fn understood(says: &str, object: &Value, shown: &Value) -> Value {
    let mut meant = object.clone();
    let (api_version, kind) = (meant["apiVersion"].take(), meant["kind"].take());
    let mut wrong = Vec::new();
    shown::differences(&meant, shown, "", &mut wrong);
    for what in wrong {
        let lost = what.strip_suffix(" is lost").filter(|path| NEWER.iter().any(|newer| path.ends_with(newer)));
        let pointer = lost.unwrap_or_else(|| panic!("{says}{what}")).replace(['.', '['], "/").replace(']', "");
        let (holder, name) = pointer.rsplit_once('/').expect("a path");
        meant.pointer_mut(holder).and_then(Value::as_object_mut).map(|holder| holder.remove(name));
    }
    (meant["apiVersion"], meant["kind"]) = (api_version, kind);
    meant
}

async fn check(subject: &Subject<'_>, again: Again) {
    let says = subject.says();
    let sent = nameless(subject.free(0));
    let (request, shown) = again(&encode::protobuf(&sent).expect("a message for every kind"));
    let meant = understood(&says, &sent, &shown);
    let expected = subject.expect(201, "POST", "?dryRun=All&fieldValidation=Strict", &meant).await;
    let made = subject.ask("POST", "?fieldValidation=Strict", &[PROTOBUF], request).await;
    assert_eq!(made.code, 201, "{says}: {}", made.text);
    assert_eq!(timeless(made.json()), timeless(expected), "{says}");
    let path = format!("/{}", subject.name(0));
    let read = subject.expect(200, "GET", &path, &Value::Null).await;
    if !subject.is_acted_upon() {
        assert_eq!(read, made.json(), "{says}");
    }
    let sent = subject.ask("GET", &path, &[("accept", PROTOBUF.1)], "").await;
    assert_eq!(sent.headers["content-type"], PROTOBUF.1, "{says}");
    let (theirs, shown) = again(&sent.bytes);
    let theirs = decode::protobuf(&theirs).expect("readable");
    if !subject.is_acted_upon() {
        let read = nameless(read);
        understood(&says, &read, &shown);
        assert_eq!(decode::protobuf(&sent.bytes).expect("readable"), read, "{says}");
        assert_eq!(theirs, read, "{says}: as the other encoder reads it");
    }
}

/// Without what messages do not have: the kind of claims within a StatefulSet.
fn nameless(mut object: Value) -> Value {
    let claims = object.pointer_mut("/spec/volumeClaimTemplates").and_then(Value::as_array_mut);
    for claim in claims.into_iter().flatten().filter_map(Value::as_object_mut) {
        claim.remove("kind");
        claim.remove("apiVersion");
    }
    object
}

#[tokio::test]
async fn what_another_encoder_writes_is_stored() {
    let cluster = world().await;
    let client = Client::admin(&cluster).await;
    let table = table();
    for kind in stored() {
        let subject = Subject::new(kind, &client);
        let again = table.get(&(kind.group, kind.version, kind.kind));
        check(&subject, *again.unwrap_or_else(|| panic!("{} is not compared", subject.says()))).await;
    }
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn labels() -> BTreeMap<String, String> {
    [("a".to_owned(), "b".to_owned())].into()
}

fn metadata() -> Option<ObjectMeta> {
    Some(ObjectMeta { name: text("by-hand"), labels: labels(), ..Default::default() })
}

fn service() -> core::Service {
    let port = core::ServicePort {
        name: text("web"),
        port: Some(80),
        target_port: Some(IntOrString { r#type: Some(1), str_val: text("http"), ..Default::default() }),
        ..Default::default()
    };
    let spec = core::ServiceSpec { ports: vec![port], selector: labels(), ..Default::default() };
    core::Service { metadata: metadata(), spec: Some(spec), ..Default::default() }
}

fn deployment() -> apps::Deployment {
    let limits = [("memory".to_owned(), Quantity { string: text("64Mi") })].into();
    let container = core::Container {
        name: text("c"),
        image: text("nginx:1"),
        resources: Some(core::ResourceRequirements { limits, ..Default::default() }),
        ports: vec![core::ContainerPort { name: text("http"), container_port: Some(8080), ..Default::default() }],
        ..Default::default()
    };
    let template = core::PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: labels(), ..Default::default() }),
        spec: Some(core::PodSpec { containers: vec![container], ..Default::default() }),
    };
    let spec = apps::DeploymentSpec {
        replicas: Some(3),
        selector: Some(LabelSelector { match_labels: labels(), ..Default::default() }),
        template: Some(template),
        ..Default::default()
    };
    apps::Deployment { metadata: metadata(), spec: Some(spec), ..Default::default() }
}

/// Objects that are filled in by hand, and so have never been through our encoder.
#[tokio::test]
async fn what_another_encoder_made_from_nothing_is_stored() {
    let cluster = world().await;
    let client = Client::admin(&cluster).await;
    let post = async |path: &str, api_version: &str, kind: &str, raw: Vec<u8>| {
        let about = Some(About { api_version: api_version.to_owned(), kind: kind.to_owned() });
        let body = [MAGIC, &Envelope { about, raw }.encode_to_vec()].concat();
        let made = client.ask("POST", path, &[PROTOBUF], body).await;
        assert_eq!(made.code, 201, "{}", made.text);
        client.get(&format!("{path}/by-hand")).await.json()
    };
    let path = "/api/v1/namespaces/default/services";
    let service = post(path, "v1", "Service", service().encode_to_vec()).await;
    assert_eq!(service["metadata"]["labels"], json!({"a": "b"}));
    assert_eq!(service["spec"]["ports"], json!([{"name": "web", "port": 80, "protocol": "TCP", "targetPort": "http"}]));
    assert_eq!(service["spec"]["selector"], json!({"a": "b"}));
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let deployment = post(path, "apps/v1", "Deployment", deployment().encode_to_vec()).await;
    assert_eq!(deployment["spec"]["replicas"], 3);
    assert_eq!(deployment["spec"]["selector"], json!({"matchLabels": {"a": "b"}}));
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!((&container["name"], &container["image"]), (&json!("c"), &json!("nginx:1")));
    assert_eq!(container["resources"], json!({"limits": {"memory": "64Mi"}}));
    assert_eq!(container["ports"], json!([{"name": "http", "containerPort": 8080, "protocol": "TCP"}]));
}
