//! The forms in which objects are shown: as they are, their metadata alone, or rows of a Table.

use bytes::{BufMut, Bytes};
use gantry_api::kinds::KindInfo;
use gantry_api::{Value, convert};
use gantry_store::encoded::Encoded;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::custom::form;
use crate::registry;

mod scale;

/// The version of the group `meta.k8s.io` in which a client wants its answer. They differ in nothing but their name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum MetaVersion {
    V1,
    V1Beta1,
}

impl MetaVersion {
    /// The version that a client names.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "v1" => Some(Self::V1),
            "v1beta1" => Some(Self::V1Beta1),
            _ => None,
        }
    }

    fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// What the client wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum View {
    Full,
    Metadata(MetaVersion),
    Table(MetaVersion),
}

impl View {
    /// Whether objects are rows.
    pub(crate) fn is_table(self) -> bool {
        matches!(self, Self::Table(_))
    }
}

/// What each row of a Table carries beside its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Include {
    None,
    Metadata,
    Object,
}

/// How to show objects.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) view: View,
    pub(crate) include: Include,
    pub(crate) now: Timestamp,
}

/// The metadata of a list.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListMeta {
    pub(crate) revision: u64,
    pub(crate) continue_token: String,
    pub(crate) remaining: Option<usize>,
}

impl ListMeta {
    fn json(&self) -> Value {
        let mut meta = json!({});
        // What was computed has no version.
        if self.revision > 0 {
            meta["resourceVersion"] = self.revision.to_string().into();
        }
        if !self.continue_token.is_empty() {
            meta["continue"] = self.continue_token.as_str().into();
        }
        if let Some(remaining) = self.remaining {
            meta["remainingItemCount"] = remaining.into();
        }
        meta
    }
}

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
}

/// `PartialObjectMetadata` of an object.
fn partial(version: MetaVersion, object: &Encoded, revision: u64, out: &mut Vec<u8>) {
    let whole = object.to_bytes(revision);
    // A stored object always has metadata: `Encoded` was made of it.
    let metadata = serde_json::from_slice::<Outer<'_>>(&whole).map_or("{}", |o| o.metadata.get());
    out.put_slice(b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"");
    out.put_slice(version.api_version().as_bytes());
    out.put_slice(b"\",\"metadata\":");
    out.put_slice(metadata.as_bytes());
    out.put_slice(b"}");
}

/// The same of metadata that is a value.
fn partial_value(version: MetaVersion, metadata: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": version.api_version(), "metadata": metadata})
}

/// The object as a client of this kind knows it.
fn full(kind: &KindInfo, object: &Encoded, revision: u64, out: &mut Vec<u8>) {
    let other_version = form::differs(kind, object);
    if !kind.is_converted() && !other_version {
        object.write(revision, out);
        return;
    }
    // The cache holds objects that were decoded once already.
    let mut value: Value = serde_json::from_slice(&object.to_bytes(revision)).unwrap_or_default();
    if other_version {
        form::relabel(kind, &mut value);
    }
    convert::from_hub(kind, &mut value);
    out.put_slice(value.to_string().as_bytes());
}

impl Shape {
    /// One object, as a GET answers it.
    pub(crate) fn one(&self, kind: &KindInfo, object: &Encoded, revision: u64) -> Bytes {
        match self.view {
            View::Table(version) => {
                let meta = ListMeta { revision, ..ListMeta::default() };
                let mut out = table_head(version, registry::strategy(kind).headers(), &meta);
                self.item(kind, object, revision, &mut out);
                out.put_slice(b"]}");
                Bytes::from(out)
            }
            View::Full if kind.is_converted() || form::differs(kind, object) => {
                let mut out = Vec::with_capacity(1024);
                full(kind, object, revision, &mut out);
                Bytes::from(out)
            }
            View::Full => object.to_bytes(revision),
            View::Metadata(version) => {
                let mut out = Vec::with_capacity(1024);
                partial(version, object, revision, &mut out);
                Bytes::from(out)
            }
        }
    }

    /// The object of a watch event. In a Table only the first event has columns.
    pub(crate) fn event(&self, kind: &KindInfo, object: &Encoded, revision: u64, first: bool, out: &mut Vec<u8>) {
        match self.view {
            View::Full => full(kind, object, revision, out),
            View::Metadata(version) => partial(version, object, revision, out),
            View::Table(version) => {
                let columns = if first { registry::strategy(kind).headers() } else { Vec::new() };
                out.extend(table_head(version, columns, &ListMeta { revision, ..ListMeta::default() }));
                self.item(kind, object, revision, out);
                out.put_slice(b"]}");
            }
        }
    }

    /// The object of a BOOKMARK.
    pub(crate) fn bookmark(&self, kind: &KindInfo, revision: u64, initial_end: bool) -> Value {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        match self.view {
            View::Full => json!({"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}),
            View::Metadata(version) => partial_value(version, &metadata),
            View::Table(version) => {
                let object = partial_value(version, &metadata);
                let cells = vec![Value::Null; registry::strategy(kind).headers().len()];
                json!({
                    "kind": "Table", "apiVersion": version.api_version(), "metadata": {"resourceVersion": revision.to_string()},
                    "columnDefinitions": [], "rows": [{"cells": cells, "object": object}],
                })
            }
        }
    }

    /// A list up to its first item.
    pub(crate) fn list_head(&self, kind: &KindInfo, meta: &ListMeta) -> Vec<u8> {
        match self.view {
            View::Table(version) => table_head(version, registry::strategy(kind).headers(), meta),
            View::Full => list_head(&kind.list_kind(), &kind.api_version, meta),
            View::Metadata(version) => list_head("PartialObjectMetadataList", version.api_version(), meta),
        }
    }

    /// One item of a list.
    pub(crate) fn item(&self, kind: &KindInfo, object: &Encoded, revision: u64, out: &mut Vec<u8>) {
        match self.view {
            View::Full => full(kind, object, revision, out),
            View::Metadata(version) => partial(version, object, revision, out),
            View::Table(version) => self.row(version, kind, object, revision, out),
        }
    }

    fn row(&self, version: MetaVersion, kind: &KindInfo, object: &Encoded, revision: u64, out: &mut Vec<u8>) {
        let value: Value = serde_json::from_slice(object.json()).unwrap_or_default();
        let row = registry::strategy(kind).row(&value, self.now);
        out.put_slice(b"{\"cells\":");
        out.put_slice(Value::from(row.cells).to_string().as_bytes());
        if !row.conditions.is_empty() {
            out.put_slice(b",\"conditions\":");
            out.put_slice(Value::from(row.conditions).to_string().as_bytes());
        }
        match self.include {
            Include::None => {}
            Include::Metadata => {
                out.put_slice(b",\"object\":");
                partial(version, object, revision, out);
            }
            Include::Object => {
                out.put_slice(b",\"object\":");
                full(kind, object, revision, out);
            }
        }
        out.put_slice(b"}");
    }
}

fn table_head(version: MetaVersion, columns: Vec<Value>, meta: &ListMeta) -> Vec<u8> {
    format!(
        "{{\"kind\":\"Table\",\"apiVersion\":{:?},\"metadata\":{},\"columnDefinitions\":{},\"rows\":[",
        version.api_version(),
        meta.json(),
        Value::from(columns)
    )
    .into_bytes()
}

fn list_head(kind: &str, api_version: &str, meta: &ListMeta) -> Vec<u8> {
    format!("{{\"kind\":{kind:?},\"apiVersion\":{api_version:?},\"metadata\":{},\"items\":[", meta.json()).into_bytes()
}

#[cfg(test)]
mod tests {
    use gantry_api::kinds;

    use super::*;

    fn shape(view: View) -> Shape {
        Shape { view, include: Include::Metadata, now: Timestamp::UNIX_EPOCH }
    }

    fn encoded() -> Encoded {
        let bytes =
            br#"{"apiVersion":"v1","data":{"a":"b"},"kind":"ConfigMap","metadata":{"name":"c","namespace":"n"}}"#;
        Encoded::from_json(bytes, 5).expect("valid")
    }

    #[test]
    fn one_object_in_each_form() {
        let kind = kinds::by_resource("", "v1", "configmaps").expect("served");
        let parse = |view| serde_json::from_slice::<Value>(&shape(view).one(kind, &encoded(), 7)).expect("JSON");
        assert_eq!(parse(View::Full)["metadata"]["resourceVersion"], "7");
        assert_eq!(parse(View::Metadata(MetaVersion::V1))["kind"], "PartialObjectMetadata");
        assert!(parse(View::Metadata(MetaVersion::V1)).get("data").is_none());
        let table = parse(View::Table(MetaVersion::V1));
        assert_eq!(table["rows"][0]["object"]["metadata"]["name"], "c");
        assert_eq!(table["columnDefinitions"][0]["name"], "Name");
        assert_eq!(table["rows"][0]["cells"][0], "c");
    }

    #[test]
    fn lists_are_concatenations() {
        let kind = kinds::by_resource("", "v1", "configmaps").expect("served");
        let shape = shape(View::Full);
        let meta = ListMeta { revision: 9, continue_token: "t".to_owned(), remaining: Some(3) };
        let mut out = shape.list_head(kind, &meta);
        shape.item(kind, &encoded(), 5, &mut out);
        out.extend(b"]}");
        let list: Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(list["kind"], "ConfigMapList");
        assert_eq!(list["metadata"], json!({"resourceVersion": "9", "continue": "t", "remainingItemCount": 3}));
        assert_eq!(list["items"][0]["metadata"]["resourceVersion"], "5");
    }
}
