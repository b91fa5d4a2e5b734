//! OpenAPI documents, made from the type table and the registry of kinds.
//!
//! They carry what clients compute with: types, required fields, list types, patch strategies and merge keys, and which operations take
//! `fieldValidation`. Descriptions are left out.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::OnceLock;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::kinds::{self, KindInfo, type_name};
use crate::{Object, Value, canon};

mod connect;
mod paths;
mod protobuf;
mod schema;

use schema::Style;

/// The version that the documents state.
const VERSION: &str = "v1.36.2";

/// An encoded document.
#[derive(Debug)]
pub struct Document {
    /// The path below `/openapi/v3/`: `api/v1`, `apis/apps/v1`; empty for version 2.
    pub path: String,
    /// JSON, or protobuf for [`v2_protobuf`].
    pub bytes: Vec<u8>,
    /// Changes when the content does.
    pub hash: String,
}

impl Document {
    fn new(path: String, value: &Value) -> Self {
        Self::of_bytes(path, canon::encode(value))
    }

    fn of_bytes(path: String, bytes: Vec<u8>) -> Self {
        let mut hash = String::new();
        for byte in Sha256::digest(&bytes) {
            let _ = write!(hash, "{byte:02X}");
        }
        Self { path, bytes, hash }
    }
}

fn documents() -> &'static [Document] {
    static DOCUMENTS: OnceLock<Vec<Document>> = OnceLock::new();
    DOCUMENTS.get_or_init(|| {
        let document = |(group, version)| Document::new(paths::root(group, version), &value(group, version));
        kinds::group_versions().into_iter().map(document).collect()
    })
}

/// The OpenAPI v3 document of a group and version, by its path (`api/v1`, `apis/apps/v1`).
#[must_use]
pub fn v3(path: &str) -> Option<&'static Document> {
    documents().iter().find(|d| d.path == path)
}

/// The answer to `/openapi/v3`: where the documents are.
#[must_use]
pub fn index() -> Value {
    let entry = |d: &Document| {
        (d.path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{}?hash={}", d.path, d.hash)}))
    };
    json!({"paths": documents().iter().map(entry).collect::<Object>()})
}

/// The OpenAPI v2 document of everything, as JSON.
#[must_use]
pub fn v2() -> &'static Document {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(|| Document::new(String::new(), &v2_value()))
}

/// The same as a protobuf message, `openapi.v2.Document`.
#[must_use]
pub fn v2_protobuf() -> &'static Document {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(|| Document::of_bytes(String::new(), protobuf::document(&v2_value())))
}

fn v2_value() -> Value {
    let mut all_paths = Object::new();
    for kind in kinds::all() {
        paths::add(&mut all_paths, kind, Style::V2);
    }
    let roots = kinds::all().iter().flat_map(root_types);
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": VERSION},
        "paths": all_paths,
        "definitions": schema::closure(roots, &gvks(kinds::all().iter()), Style::V2),
    })
}

fn value(group: &str, version: &str) -> Value {
    let of_this = || kinds::all().iter().filter(|k| k.group == group && k.version == version);
    let mut all_paths = Object::new();
    for kind in of_this() {
        paths::add(&mut all_paths, kind, Style::V3);
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION},
        "paths": all_paths,
        "components": {"schemas": schema::closure(of_this().flat_map(root_types), &gvks(of_this()), Style::V3)},
    })
}

/// The types that the operations of a kind name.
fn root_types(kind: &KindInfo) -> Vec<String> {
    let mut found = vec![kind.type_name.clone(), "meta/v1.DeleteOptions".to_owned(), "meta/v1.Status".to_owned()];
    if kind.supports("list") {
        found.push(format!("{}List", kind.type_name));
    }
    let of_objects = kind.subresources.iter().filter(|s| !s.connects());
    found.extend(of_objects.map(|s| type_name(s.group, s.version, s.kind)));
    found
}

/// `(type, group, version, kind)` of what has a `kind` of its own.
type Gvk = (String, String, String, String);

fn gvks<'k>(all: impl Iterator<Item = &'k KindInfo>) -> BTreeSet<Gvk> {
    let mut found = BTreeSet::new();
    let mut add = |ty: String, group: &str, version: &str, kind: &str| {
        found.insert((ty, group.to_owned(), version.to_owned(), kind.to_owned()));
    };
    for kind in all {
        add(kind.type_name.clone(), kind.group, kind.version, kind.kind);
        add(format!("{}List", kind.type_name), kind.group, kind.version, &kind.list_kind());
        add("meta/v1.DeleteOptions".to_owned(), kind.group, kind.version, "DeleteOptions");
        for sub in kind.subresources.iter().filter(|s| !s.connects()) {
            add(type_name(sub.group, sub.version, sub.kind), sub.group, sub.version, sub.kind);
        }
    }
    add("meta/v1.DeleteOptions".to_owned(), "", "v1", "DeleteOptions");
    add("meta/v1.Status".to_owned(), "", "v1", "Status");
    found
}

#[cfg(test)]
mod tests;
