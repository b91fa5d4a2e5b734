//! The calls, over bytes: what [`crate::Api`] and [`crate::DynApi`] share, compiled once.

use bytes::Bytes;
use gantry_proto::v1;

use crate::{
    Client, DeleteParams, Error, ListParams, Patch, ResourceId, Result, View, WriteParams, watch::WatchStream,
};

/// Calls on one resource in one scope.
#[derive(Clone)]
pub(crate) struct RawApi {
    pub(crate) client: Client,
    pub(crate) resource: ResourceId,
    pub(crate) namespace: String,
}

/// A list as it arrived.
pub(crate) struct RawList {
    pub(crate) list: Bytes,
    pub(crate) items: Vec<Bytes>,
}

impl RawApi {
    fn proto(&self) -> Option<v1::Resource> {
        Some(self.resource.to_proto())
    }

    pub(crate) async fn get(&self, name: &str, subresource: &str, view: View) -> Result<Bytes> {
        let request = v1::GetRequest {
            resource: self.proto(),
            namespace: self.namespace.clone(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
            resource_version: String::new(),
            view: view.to_proto().into(),
        };
        let reply = self.client.objects().get(request).await.map_err(|s| Error::from_grpc("Objects.Get", s))?;
        Ok(reply.into_inner().object)
    }

    pub(crate) async fn list(&self, params: &ListParams, view: View) -> Result<RawList> {
        let request = v1::ListRequest {
            resource: self.proto(),
            namespace: self.namespace.clone(),
            label_selector: params.label_selector.clone(),
            field_selector: params.field_selector.clone(),
            limit: params.limit,
            r#continue: params.continue_token.clone(),
            resource_version: params.resource_version.clone(),
            resource_version_match: params.resource_version_match.clone(),
            view: view.to_proto().into(),
        };
        let stream = self.client.objects().list(request).await.map_err(|s| Error::from_grpc("Objects.List", s))?;
        collect(stream.into_inner(), "Objects.List").await
    }

    pub(crate) async fn watch(&self, params: &ListParams, initial: bool, view: View) -> Result<WatchStream> {
        let request = v1::WatchRequest {
            resource: self.proto(),
            namespace: self.namespace.clone(),
            label_selector: params.label_selector.clone(),
            field_selector: params.field_selector.clone(),
            resource_version: params.resource_version.clone(),
            send_initial_events: initial,
            allow_bookmarks: true,
            view: view.to_proto().into(),
        };
        let stream = self.client.objects().watch(request).await.map_err(|s| Error::from_grpc("Objects.Watch", s))?;
        Ok(WatchStream::new(stream.into_inner()))
    }

    pub(crate) fn create_request(
        &self,
        name: &str,
        subresource: &str,
        object: Vec<u8>,
        p: &WriteParams,
    ) -> v1::CreateRequest {
        v1::CreateRequest {
            resource: self.proto(),
            namespace: self.namespace.clone(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
            object: object.into(),
            options: Some(p.to_proto()),
        }
    }

    pub(crate) fn update_request(
        &self,
        name: &str,
        subresource: &str,
        object: Vec<u8>,
        p: &WriteParams,
    ) -> v1::UpdateRequest {
        v1::UpdateRequest {
            resource: self.proto(),
            namespace: self.namespace.clone(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
            object: object.into(),
            options: Some(p.to_proto()),
        }
    }

    pub(crate) fn patch_request(
        &self,
        name: &str,
        subresource: &str,
        patch: &Patch,
        p: &WriteParams,
    ) -> v1::PatchRequest {
        let (kind, value, force) = patch.parts();
        v1::PatchRequest {
            resource: self.proto(),
            namespace: self.namespace.clone(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
            r#type: kind.into(),
            patch: value.to_string().into_bytes().into(),
            force,
            options: Some(p.to_proto()),
        }
    }

    pub(crate) fn delete_request(&self, name: &str, params: &DeleteParams) -> v1::DeleteRequest {
        v1::DeleteRequest {
            resource: self.proto(),
            namespace: self.namespace.clone(),
            name: name.to_owned(),
            delete_options: params.to_json().into(),
            options: Some(WriteParams { dry_run: params.dry_run, ..WriteParams::default() }.to_proto()),
        }
    }

    pub(crate) async fn create(
        &self,
        name: &str,
        subresource: &str,
        object: Vec<u8>,
        p: &WriteParams,
    ) -> Result<v1::ObjectReply> {
        let request = self.create_request(name, subresource, object, p);
        let reply = self.client.objects().create(request).await.map_err(|s| Error::from_grpc("Objects.Create", s))?;
        Ok(reply.into_inner())
    }

    pub(crate) async fn update(
        &self,
        name: &str,
        subresource: &str,
        object: Vec<u8>,
        p: &WriteParams,
    ) -> Result<v1::ObjectReply> {
        let request = self.update_request(name, subresource, object, p);
        let reply = self.client.objects().update(request).await.map_err(|s| Error::from_grpc("Objects.Update", s))?;
        Ok(reply.into_inner())
    }

    pub(crate) async fn patch(
        &self,
        name: &str,
        subresource: &str,
        patch: &Patch,
        p: &WriteParams,
    ) -> Result<v1::ObjectReply> {
        let request = self.patch_request(name, subresource, patch, p);
        let reply = self.client.objects().patch(request).await.map_err(|s| Error::from_grpc("Objects.Patch", s))?;
        Ok(reply.into_inner())
    }

    pub(crate) async fn delete(&self, name: &str, params: &DeleteParams) -> Result<v1::ObjectReply> {
        let request = self.delete_request(name, params);
        let reply = self.client.objects().delete(request).await.map_err(|s| Error::from_grpc("Objects.Delete", s))?;
        Ok(reply.into_inner())
    }

    pub(crate) async fn delete_collection(&self, list: &ListParams, params: &DeleteParams) -> Result<RawList> {
        let request = v1::DeleteCollectionRequest {
            resource: self.proto(),
            namespace: self.namespace.clone(),
            label_selector: list.label_selector.clone(),
            field_selector: list.field_selector.clone(),
            delete_options: params.to_json().into(),
            options: Some(WriteParams { dry_run: params.dry_run, ..WriteParams::default() }.to_proto()),
        };
        let call = "Objects.DeleteCollection";
        let stream = self.client.objects().delete_collection(request).await.map_err(|s| Error::from_grpc(call, s))?;
        collect(stream.into_inner(), call).await
    }
}

async fn collect(mut stream: tonic::Streaming<v1::ListChunk>, call: &'static str) -> Result<RawList> {
    let mut out = RawList { list: Bytes::new(), items: Vec::new() };
    while let Some(chunk) = stream.message().await.map_err(|s| Error::from_grpc(call, s))? {
        if !chunk.list.is_empty() {
            out.list = chunk.list;
        }
        out.items.extend(chunk.items);
    }
    Ok(out)
}
