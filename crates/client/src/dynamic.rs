//! Untyped access: any resource that the server knows, as JSON values.

use gantry_proto::v1;
use serde_json::Value;

use crate::{
    Client, DeleteParams, Error, ListParams, Patch, ResourceId, Result, WriteParams, api::ListHead, raw::RawApi,
    watch::WatchStream,
};

/// In which form objects are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum View {
    /// Whole objects.
    #[default]
    Full,
    /// `PartialObjectMetadata`.
    Metadata,
    /// A `Table`, rows with the objects' metadata.
    Table,
    /// A `Table`, rows with whole objects.
    TableWithObject,
}

impl View {
    pub(crate) fn to_proto(self) -> v1::View {
        match self {
            Self::Full => v1::View::Full,
            Self::Metadata => v1::View::Metadata,
            Self::Table => v1::View::Table,
            Self::TableWithObject => v1::View::TableWithObject,
        }
    }
}

/// A list of untyped objects.
#[derive(Debug, Clone, Default)]
pub struct DynList {
    /// The list without items, or the whole Table.
    pub list: Value,
    /// The items, empty for a Table.
    pub items: Vec<Value>,
    /// Where a watch can go on.
    pub resource_version: String,
    /// Token of the next page, or empty.
    pub continue_token: String,
}

/// An answer and the server's warnings.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The object, or a Status.
    pub object: Value,
    /// Warnings for the user.
    pub warnings: Vec<String>,
    /// Whether the call made a new object.
    pub created: bool,
}

/// Calls on one resource in one scope.
#[derive(Clone)]
pub struct DynApi {
    pub(crate) raw: RawApi,
}

fn decode(what: &str, bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|source| Error::Decode { what: what.to_owned(), source })
}

impl DynApi {
    pub(crate) fn new(client: Client, resource: ResourceId, namespace: &str) -> Self {
        Self { raw: RawApi { client, resource, namespace: namespace.to_owned() } }
    }

    /// The resource.
    #[must_use]
    pub fn resource(&self) -> &ResourceId {
        &self.raw.resource
    }

    fn reply(&self, reply: &v1::ObjectReply) -> Result<Reply> {
        Ok(Reply {
            object: decode(&self.raw.resource.resource, &reply.object)?,
            warnings: reply.warnings.clone(),
            created: reply.created,
        })
    }

    /// Reads an object (or with `subresource` that part of it).
    ///
    /// # Errors
    /// All that can befall a call.
    pub async fn get(&self, name: &str, subresource: &str, view: View) -> Result<Value> {
        decode(&self.raw.resource.resource, &self.raw.get(name, subresource, view).await?)
    }

    /// Lists objects.
    ///
    /// # Errors
    /// All that can befall a call.
    pub async fn list(&self, params: &ListParams, view: View) -> Result<DynList> {
        let raw = self.raw.list(params, view).await?;
        let list = decode("the head of a list", &raw.list)?;
        let head: ListHead = serde_json::from_slice(&raw.list)
            .map_err(|source| Error::Decode { what: "the head of a list".to_owned(), source })?;
        let items = raw.items.iter().map(|b| decode("an item of a list", b)).collect::<Result<_>>()?;
        Ok(DynList {
            list,
            items,
            resource_version: head.metadata.resource_version,
            continue_token: head.metadata.continue_token,
        })
    }

    /// Watches from `params.resource_version`, or from the present objects when `initial` is set.
    ///
    /// # Errors
    /// All that can befall a call.
    pub async fn watch(&self, params: &ListParams, initial: bool, view: View) -> Result<WatchStream> {
        self.raw.watch(params, initial, view).await
    }

    /// Creates an object; `name` and `subresource` only for subresources.
    ///
    /// # Errors
    /// All that can befall a call.
    pub async fn create(&self, name: &str, subresource: &str, object: &Value, params: &WriteParams) -> Result<Reply> {
        self.reply(&self.raw.create(name, subresource, object.to_string().into_bytes(), params).await?)
    }

    /// Replaces an object.
    ///
    /// # Errors
    /// All that can befall a call.
    pub async fn update(&self, name: &str, subresource: &str, object: &Value, params: &WriteParams) -> Result<Reply> {
        self.reply(&self.raw.update(name, subresource, object.to_string().into_bytes(), params).await?)
    }

    /// Patches an object.
    ///
    /// # Errors
    /// All that can befall a call.
    pub async fn patch(&self, name: &str, subresource: &str, patch: &Patch, params: &WriteParams) -> Result<Reply> {
        self.reply(&self.raw.patch(name, subresource, patch, params).await?)
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// All that can befall a call.
    pub async fn delete(&self, name: &str, params: &DeleteParams) -> Result<Reply> {
        self.reply(&self.raw.delete(name, params).await?)
    }

    /// Deletes all that `list` selects; returns the deleted objects.
    ///
    /// # Errors
    /// All that can befall a call.
    pub async fn delete_collection(&self, list: &ListParams, params: &DeleteParams) -> Result<Vec<Value>> {
        let raw = self.raw.delete_collection(list, params).await?;
        raw.items.iter().map(|b| decode("a deleted object", b)).collect()
    }
}
