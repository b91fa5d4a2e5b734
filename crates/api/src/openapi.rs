//! OpenAPI documents, made from the type table, the registry of kinds and the descriptions of the fields.
//!
//! A document is written piece by piece, so that its tree never stands in memory as a whole. Nothing is kept here: whoever serves
//! documents keeps them as he likes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::kinds::{KindInfo, Kinds};
use crate::{Object, Value};

mod custom;
mod descriptions;
mod enums;
mod gvk;
mod merge;
mod operation;
mod parameters;
mod paths;
mod plain;
mod protobuf;
mod schema;
mod shared;
mod text;
mod zeros;

pub use merge::{Foreign, merged};

use descriptions::Descriptions;
use enums::Enums;
use gvk::Gvks;
use operation::{Content, Item, Writer};
use schema::{Schemas, Style};
use shared::Shared;
use zeros::Zeros;

/// The version that the documents state.
const VERSION: &str = "v1.36.2";

/// How a document is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// JSON.
    Json,
    /// The messages of gnostic, `openapi.v2.Document` and `openapi.v3.Document`.
    Protobuf,
}

/// Makes documents.
pub struct Generator {
    kinds: Arc<Kinds>,
    descriptions: Descriptions,
    enums: Enums,
    zeros: Zeros,
}

/// What the API says of fields, each given as a type of the table and a field of it; nothing of those that it does not explain.
#[must_use]
pub fn described(fields: &[(&'static str, &'static str)]) -> BTreeMap<(&'static str, &'static str), String> {
    let all = Descriptions::unpack();
    let text = |ty: &str, field: &str| all.of(&schema::schema_name(ty)).field(field).map(str::to_owned);
    fields.iter().filter_map(|(ty, field)| Some(((*ty, *field), text(ty, field)?))).collect()
}

impl Generator {
    /// Unpacks the descriptions: a megabyte, to be dropped once the documents are made.
    #[must_use]
    pub fn new(kinds: Arc<Kinds>) -> Self {
        Self { kinds, descriptions: Descriptions::unpack(), enums: Enums::read(), zeros: Zeros::read() }
    }

    /// The version 3 document of one of [`v3_paths`].
    #[must_use]
    pub fn v3(&self, path: &str, form: Form) -> Option<Vec<u8>> {
        let served = self.kinds.group_versions().into_iter().find(|(g, v)| paths::root(g, v) == path);
        let (items, kinds): (Vec<Item>, Vec<&KindInfo>) = match served {
            Some((group, version)) => {
                let kinds: Vec<_> = self.kinds.of(group, version).collect();
                let own = kinds.iter().flat_map(|kind| paths::of_kind(kind));
                (own.chain([plain::resources(group, version)]).collect(), kinds)
            }
            None => (vec![plain::documents(&self.kinds).into_iter().find(|(name, _)| name == path)?.1], Vec::new()),
        };
        let gvks = Gvks::new(kinds.iter().copied());
        Some(self.document(Style::V3, form, items, &kinds, &gvks))
    }

    /// The version 2 document of everything.
    #[must_use]
    pub fn v2(&self, form: Form) -> Vec<u8> {
        let kinds: Vec<&KindInfo> = self.kinds.all().collect();
        let own = kinds.iter().flat_map(|kind| paths::of_kind(kind));
        let listed = self.kinds.group_versions().into_iter().map(|(group, version)| plain::resources(group, version));
        let items = own.chain(listed).chain(plain::documents(&self.kinds).into_iter().map(|(_, item)| item)).collect();
        let gvks = Gvks::new(kinds.iter().copied());
        self.document(Style::V2, form, items, &kinds, &gvks)
    }

    fn document(&self, style: Style, form: Form, mut items: Vec<Item>, kinds: &[&KindInfo], gvks: &Gvks) -> Vec<u8> {
        items.sort_by(|a, b| a.path.cmp(&b.path));
        let named = items.iter().flat_map(types_of).chain(kinds.iter().flat_map(|kind| types_of_kind(kind)));
        let types = schema::closure(&self.kinds, named);
        let Self { kinds, descriptions, enums, zeros } = self;
        let schemas = Schemas { style, kinds, descriptions, enums, zeros, gvks };
        let shared = Shared::default();
        let writer = Writer { style, descriptions, shared: &shared };
        let mut paths = items.iter().map(|item| (item.path.as_str(), item.value(&writer)));
        let mut types = types.iter().map(|(name, ty)| (name.as_str(), schemas.of(ty)));
        let parts = Parts { paths: &mut paths, schemas: &mut types, shared: &shared };
        match (form, style) {
            (Form::Json, Style::V2) => text::v2(parts),
            (Form::Json, Style::V3) => text::v3(parts),
            (Form::Protobuf, Style::V2) => protobuf::v2::document(parts),
            (Form::Protobuf, Style::V3) => protobuf::v3::document(parts),
        }
    }
}

/// What a document is written from, in the order of names.
struct Parts<'a> {
    paths: &'a mut dyn Iterator<Item = (&'a str, Value)>,
    schemas: &'a mut dyn Iterator<Item = (&'a str, Value)>,
    /// The parameters that paths refer to, of version 2: all there once the paths are written.
    shared: &'a Shared,
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": VERSION})
}

/// How clients without a certificate say who they are; `definition` by the name that `security` refers to. Version 3 states the
/// definition only, as upstream's does.
fn security() -> (Value, Object) {
    let definition = json!({"description": "Bearer Token authentication", "type": "apiKey", "name": "authorization", "in": "header"});
    (json!([{"BearerToken": []}]), Object::from_iter([("BearerToken".to_owned(), definition)]))
}

/// The types that the operations of a path name.
fn types_of(item: &Item) -> impl Iterator<Item = String> + '_ {
    let contents = item.operations.iter().flat_map(|o| o.answers.iter().map(|(_, c)| c).chain([&o.body]));
    contents.filter_map(|content| match content {
        Content::Of(ty) => Some(ty.clone()),
        Content::Text | Content::Nothing => None,
    })
}

/// The types of a kind, whatever its operations are.
fn types_of_kind(kind: &KindInfo) -> Vec<String> {
    let subs = kind.subresources.iter().map(|s| s.type_name(kind));
    subs.chain([kind.type_name.clone(), "meta/v1.Status".to_owned()]).collect()
}

/// The paths of the version 3 documents, below `/openapi/v3/`: `api/v1`, `apis/apps/v1`, `version`.
#[must_use]
pub fn v3_paths(kinds: &Kinds) -> Vec<String> {
    let mut found: Vec<String> = kinds.group_versions().into_iter().map(|(g, v)| paths::root(g, v)).collect();
    found.extend(plain::documents(kinds).into_iter().map(|(name, _)| name));
    found.sort();
    found
}

/// The hash of a document, which links name.
#[must_use]
pub fn hash(document: &[u8]) -> String {
    let mut hash = String::new();
    for byte in Sha256::digest(document) {
        let _ = write!(hash, "{byte:02X}");
    }
    hash
}

/// The answer to `/openapi/v3`: where the documents are, by path and hash.
#[must_use]
pub fn index(hashes: &BTreeMap<String, String>) -> Value {
    let entry = |(path, hash): (&String, &String)| {
        (path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")}))
    };
    json!({"paths": hashes.iter().map(entry).collect::<Object>()})
}

#[cfg(test)]
mod tests;
