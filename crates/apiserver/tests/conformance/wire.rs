//! protobuf over the wire, from an encoder that is not ours: what crate k8s-pb writes means what the same object means in JSON.

// The API crate compares its table of fields with the same kinds.
#[path = "../../../api/src/decode/tests/k8s_pb/known.rs"]
mod known;

use bytes::Bytes;
use gantry_api::{decode, encode};
use prost::Message;
use serde_json::Value;

use self::known::{ABSENT, table};
use crate::client::Client;
use crate::subject::{Subject, stored, world};
use crate::whole::timeless;

const PROTOBUF: (&str, &str) = ("content-type", "application/vnd.kubernetes.protobuf");
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

/// An object as the other encoder writes it.
type Again = fn(&[u8]) -> Bytes;

fn again<T: Message + Default>(body: &[u8]) -> Bytes {
    let envelope = Envelope::decode(body.strip_prefix(MAGIC).expect("an envelope")).expect("prost reads the envelope");
    let message = T::decode(envelope.raw.as_slice()).expect("k8s-pb reads it");
    let written = Envelope { raw: message.encode_to_vec(), ..envelope };
    [MAGIC, &written.encode_to_vec()].concat().into()
}

async fn check(subject: &Subject<'_>, again: Again) {
    let says = subject.says();
    let ours = encode::protobuf(&subject.free(0)).expect("a message for every kind");
    let request = again(&ours);
    // The crate is of an earlier release: what it does not know is not in its bytes.
    let meant = decode::protobuf(&request).expect("readable");
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
    let theirs = decode::protobuf(&again(&sent.bytes)).expect("readable");
    if !subject.is_acted_upon() {
        let read = nameless(read);
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
        match table.get(&(kind.group, kind.version, kind.kind)) {
            Some(again) => check(&subject, *again).await,
            None => assert!(ABSENT.contains(&kind.kind), "{} is not compared", subject.says()),
        }
    }
}
