//! Typed access to one resource.

use std::marker::PhantomData;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    Client, DeleteParams, Error, Key, ListParams, Patch, ResourceId, Result, View, WriteParams, raw::RawApi,
    watch::WatchStream,
};

/// A Kubernetes kind as a Rust type.
pub trait Object:
    k8s_openapi::Resource
    + k8s_openapi::Metadata<Ty = ObjectMeta>
    + Serialize
    + DeserializeOwned
    + Clone
    + std::fmt::Debug
    + Send
    + Sync
    + 'static
{
    /// The object's key.
    fn key(&self) -> Key {
        Key::of(self.metadata())
    }

    /// The object's uid, or "".
    fn uid(&self) -> &str {
        self.metadata().uid.as_deref().unwrap_or("")
    }

    /// The object's resource version as a number, 0 where it has none.
    fn revision(&self) -> u64 {
        self.metadata().resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0)
    }
}

impl<T> Object for T where
    T: k8s_openapi::Resource
        + k8s_openapi::Metadata<Ty = ObjectMeta>
        + Serialize
        + DeserializeOwned
        + Clone
        + std::fmt::Debug
        + Send
        + Sync
        + 'static
{
}

/// The resource that a type stands for.
#[must_use]
pub fn resource_of<K: Object>() -> ResourceId {
    ResourceId::new(K::GROUP, K::VERSION, K::URL_PATH_SEGMENT)
}

/// A list of objects.
#[derive(Debug, Clone)]
pub struct List<K> {
    /// In key order.
    pub items: Vec<K>,
    /// Where a watch can go on.
    pub resource_version: String,
    /// Token of the next page, or empty.
    pub continue_token: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ListHead {
    pub(crate) metadata: ListHeadMeta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ListHeadMeta {
    pub(crate) resource_version: String,
    #[serde(rename = "continue")]
    pub(crate) continue_token: String,
}

/// Calls on the objects of one kind in one scope.
pub struct Api<K> {
    pub(crate) raw: RawApi,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Api<K> {
    fn clone(&self) -> Self {
        Self { raw: self.raw.clone(), kind: PhantomData }
    }
}

fn decode<K: Object>(bytes: &[u8]) -> Result<K> {
    serde_json::from_slice(bytes).map_err(|source| Error::Decode { what: format!("a {}", K::KIND), source })
}

fn encode<K: Object>(object: &K) -> Result<Vec<u8>> {
    serde_json::to_vec(object)
        .map_err(|source| Error::Encode { what: format!("the {} {}", K::KIND, object.key()), source })
}

fn name_of<K: Object>(object: &K) -> &str {
    object.metadata().name.as_deref().unwrap_or("")
}

impl<K: Object> Api<K> {
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        let raw = RawApi { client, resource: resource_of::<K>(), namespace: namespace.to_owned() };
        Self { raw, kind: PhantomData }
    }

    /// The same calls in another namespace.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Self {
        Self { raw: RawApi { namespace: namespace.to_owned(), ..self.raw.clone() }, kind: PhantomData }
    }

    /// Reads an object.
    ///
    /// # Errors
    /// `NotFound` and all that can befall a call.
    pub async fn get(&self, name: &str) -> Result<K> {
        decode(&self.raw.get(name, "", View::Full).await?)
    }

    /// Reads an object that may not be there.
    ///
    /// # Errors
    /// All but `NotFound`.
    pub async fn get_opt(&self, name: &str) -> Result<Option<K>> {
        match self.get(name).await {
            Ok(object) => Ok(Some(object)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Lists objects.
    ///
    /// # Errors
    /// All that can befall a call.
    pub async fn list(&self, params: &ListParams) -> Result<List<K>> {
        into_list(self.raw.list(params, View::Full).await?)
    }

    /// Watches from `params.resource_version`, or from the present objects when `initial` is set.
    ///
    /// # Errors
    /// All that can befall a call; `Expired` when the version is too old.
    pub async fn watch(&self, params: &ListParams, initial: bool) -> Result<WatchStream> {
        self.raw.watch(params, initial, View::Full).await
    }

    /// Creates an object in its own namespace, or in this scope's where it names none.
    ///
    /// # Errors
    /// `AlreadyExists`, `Invalid`, `Forbidden`, ...
    pub async fn create(&self, object: &K) -> Result<K> {
        self.create_with(object, &WriteParams::default()).await
    }

    /// As [`Api::create`], with options.
    ///
    /// # Errors
    /// As [`Api::create`].
    pub async fn create_with(&self, object: &K, params: &WriteParams) -> Result<K> {
        let reply = self.scope_of(object).create("", "", encode(object)?, params).await?;
        decode(&reply.object)
    }

    /// Replaces an object.
    ///
    /// # Errors
    /// `Conflict` when it changed in between, ...
    pub async fn update(&self, object: &K) -> Result<K> {
        self.update_subresource(object, "").await
    }

    /// Replaces an object's status.
    ///
    /// # Errors
    /// As [`Api::update`].
    pub async fn update_status(&self, object: &K) -> Result<K> {
        self.update_subresource(object, "status").await
    }

    /// Replaces by way of a subresource (`finalize`, ...).
    ///
    /// # Errors
    /// As [`Api::update`].
    pub async fn update_subresource(&self, object: &K, subresource: &str) -> Result<K> {
        let raw = self.scope_of(object);
        let reply = raw.update(name_of(object), subresource, encode(object)?, &WriteParams::default()).await?;
        decode(&reply.object)
    }

    /// Patches an object or, with `subresource` ("status", "scale"), that part of it.
    ///
    /// # Errors
    /// As [`Api::update`].
    pub async fn patch(&self, name: &str, patch: &Patch, subresource: Option<&str>) -> Result<K> {
        let reply = self.raw.patch(name, subresource.unwrap_or(""), patch, &WriteParams::default()).await?;
        decode(&reply.object)
    }

    /// Posts to a subresource (`binding`, `token`, `eviction`) and returns the answer.
    ///
    /// # Errors
    /// All that can befall a call.
    pub async fn create_subresource(&self, name: &str, subresource: &str, body: &Value) -> Result<Value> {
        let body = body.to_string().into_bytes();
        let reply = self.raw.create(name, subresource, body, &WriteParams::default()).await?;
        serde_json::from_slice(&reply.object)
            .map_err(|source| Error::Decode { what: format!("the answer of {name}/{subresource}"), source })
    }

    /// Deletes an object, or asks for its deletion where it ends gracefully.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` (precondition), ...
    pub async fn delete(&self, name: &str, params: &DeleteParams) -> Result<()> {
        self.raw.delete(name, params).await.map(drop)
    }

    /// Deletes all objects that `list` selects.
    ///
    /// # Errors
    /// All that can befall a call.
    pub async fn delete_collection(&self, list: &ListParams, params: &DeleteParams) -> Result<()> {
        self.raw.delete_collection(list, params).await.map(drop)
    }

    fn scope_of(&self, object: &K) -> RawApi {
        let mut raw = self.raw.clone();
        if let Some(ns) = object.metadata().namespace.as_deref().filter(|ns| !ns.is_empty()) {
            ns.clone_into(&mut raw.namespace);
        }
        raw
    }
}

fn into_list<K: Object>(raw: crate::raw::RawList) -> Result<List<K>> {
    let head: ListHead = serde_json::from_slice(&raw.list)
        .map_err(|source| Error::Decode { what: format!("the head of a list of {}", K::URL_PATH_SEGMENT), source })?;
    Ok(List {
        items: raw.items.iter().map(|b| decode(b)).collect::<Result<_>>()?,
        resource_version: head.metadata.resource_version,
        continue_token: head.metadata.continue_token,
    })
}
