//! The document of OpenAPI version 2 with what other servers serve: clients before kubectl 1.27 know no other.

use std::cmp::Reverse;
use std::sync::Arc;

use gantry_api::Value;
use gantry_api::openapi::{self, Foreign, Form};
use gantry_api::status::Status;

use super::Aggregator;
use crate::rest::documents::{Document, Documents, Which};

/// What a remote group version says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Swagger {
    /// The tag of the whole document, as its server gave it.
    pub(super) etag: String,
    foreign: Foreign,
    hash: String,
}

impl Swagger {
    /// Takes what is said below `root`.
    pub(super) fn read(document: &Value, root: &str, etag: String) -> Option<Self> {
        let foreign = Foreign::read(document, root)?;
        let hash = openapi::hash(document.to_string().as_bytes());
        Some(Self { etag, foreign, hash })
    }
}

/// The merged document, in both forms, and of what it was made.
#[derive(Debug)]
struct Merged {
    /// The hashes of the parts, ours first.
    of: Vec<String>,
    json: Arc<Document>,
    protobuf: Arc<Document>,
}

impl Merged {
    fn form(&self, form: Form) -> Arc<Document> {
        if form == Form::Json { self.json.clone() } else { self.protobuf.clone() }
    }
}

/// The last one that was made. Held while one is made, so that requests that arrive together make it once.
#[derive(Default)]
pub(super) struct Last(tokio::sync::Mutex<Option<Merged>>);

impl Aggregator {
    /// The document with everything; ours where nobody else has one.
    ///
    /// # Errors
    /// 500 when it could not be made.
    pub(crate) async fn swagger(&self, ours: &Documents, form: Form) -> Result<Option<Arc<Document>>, Status> {
        let mut remotes = self.remotes();
        remotes.sort_by_key(|r| {
            (Reverse(r.group_priority), r.group.clone(), Reverse(r.version_priority), r.version.clone())
        });
        let said = |name: &str| self.said(name).and_then(|lists| lists.swagger.clone());
        let others: Vec<Arc<Swagger>> = remotes.iter().filter_map(|remote| said(&remote.name)).collect();
        if others.is_empty() {
            return ours.get(Which::V2, form).await;
        }
        let Some(local) = ours.get(Which::V2, Form::Json).await? else { return Ok(None) };
        let of: Vec<String> = std::iter::once(&local.hash).chain(others.iter().map(|o| &o.hash)).cloned().collect();
        let mut last = self.merged.0.lock().await;
        if let Some(merged) = last.as_ref().filter(|merged| merged.of == of) {
            return Ok(Some(merged.form(form)));
        }
        let made = tokio::task::spawn_blocking(move || make(&local, &others, of)).await;
        let failed = || Status::internal("merging OpenAPI documents failed");
        let made = made.ok().flatten().ok_or_else(failed)?;
        Ok(Some(last.insert(made).form(form)))
    }
}

fn make(local: &Document, others: &[Arc<Swagger>], of: Vec<String>) -> Option<Merged> {
    let whole: Vec<u8> = local.unpacked().flatten().collect();
    let parts: Vec<&Foreign> = others.iter().map(|other| &other.foreign).collect();
    let one = |form| openapi::merged(&whole, &parts, form).map(|bytes| Arc::new(Document::new(&bytes)));
    Some(Merged { of, json: one(Form::Json)?, protobuf: one(Form::Protobuf)? })
}
