//! Docker as the runtime, through its own HTTP API on a Unix socket.
//!
//! The restart policy in Docker is always `no` and there is never a Docker network: both are the kubelet's business.

mod convert;
mod exec;
mod frames;
mod logs;
mod oom;
mod wire;

use std::collections::HashMap;

use bollard::{
    auth::DockerCredentials,
    models,
    query_parameters::{
        CreateContainerOptions, CreateImageOptions, EventsOptions, ImportImageOptions, InspectContainerOptions,
        KillContainerOptions, ListContainersOptions, ListImagesOptions, RemoveContainerOptions, RemoveImageOptions,
        StartContainerOptions,
    },
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use parking_lot::Mutex;

use super::{
    Applied, AttachSpec, Container, ContainerSpec, Credentials, Error, Event, ExecSpec, ExecState, Image, Info,
    LogOptions, Output, Runtime, Size, Streams, labels,
};

/// Seconds until a request without an answer is given up. Docker creates slowly under load; nothing takes this long.
const REQUEST_TIMEOUT_SECONDS: u64 = 240;
/// How many containers are inspected at once when all are listed.
const INSPECT_CONCURRENCY: usize = 8;

/// A Docker daemon.
pub struct Docker {
    endpoint: String,
    client: Mutex<Option<bollard::Docker>>,
}

impl Docker {
    /// The daemon at a socket (`unix:///var/run/docker.sock`). It need not run yet.
    #[must_use]
    pub fn new(endpoint: &str) -> Self {
        Self { endpoint: endpoint.to_owned(), client: Mutex::new(None) }
    }

    /// The client, made when the socket first exists. Connections are made per request, so a daemon that restarts is
    /// found again by the same client.
    fn client(&self) -> Result<bollard::Docker, Error> {
        let mut slot = self.client.lock();
        if let Some(client) = &*slot {
            return Ok(client.clone());
        }
        let client =
            bollard::Docker::connect_with_unix(&self.endpoint, REQUEST_TIMEOUT_SECONDS, bollard::API_DEFAULT_VERSION)
                .map_err(|source| Error::Unreachable { endpoint: self.endpoint.clone(), source: Box::new(source) })?;
        *slot = Some(client.clone());
        Ok(client)
    }

    fn error(&self, error: bollard::errors::Error) -> Error {
        use bollard::errors::Error as E;
        match error {
            E::DockerResponseServerError { status_code, message } => Error::Refused { code: status_code, message },
            E::DockerStreamError { error } => Error::Refused { code: 500, message: error },
            other => Error::Unreachable { endpoint: self.endpoint.clone(), source: Box::new(other) },
        }
    }
}

/// "Nothing to do" answers of an idempotent request.
fn tolerate(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        other => other,
    }
}

#[async_trait::async_trait]
impl Runtime for Docker {
    async fn info(&self) -> Result<Info, Error> {
        let info = self.client()?.info().await.map_err(|e| self.error(e))?;
        Ok(convert::info(info))
    }

    async fn list(&self) -> Result<Vec<Container>, Error> {
        let filters = HashMap::from([("label".to_owned(), vec![labels::POD_UID.to_owned()])]);
        let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
        let summaries = self.client()?.list_containers(Some(options)).await.map_err(|e| self.error(e))?;
        let ids: Vec<String> = summaries.into_iter().filter_map(|summary| summary.id).collect();
        let found: Vec<Option<Container>> = futures::stream::iter(ids)
            .map(|id| async move { self.inspect(&id).await })
            .buffer_unordered(INSPECT_CONCURRENCY)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn inspect(&self, id: &str) -> Result<Option<Container>, Error> {
        let answer = self.client()?.inspect_container(id, None::<InspectContainerOptions>).await;
        let answer = match answer.map_err(|e| self.error(e)) {
            Ok(answer) => answer,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let image = answer.image.clone().unwrap_or_default();
        let Some(mut container) = convert::container(answer)? else { return Ok(None) };
        container.image_id = match self.image(&image).await? {
            Some(found) => convert::image_identity(&found),
            None => format!("docker://{image}"),
        };
        Ok(Some(container))
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<String, Error> {
        let options = CreateContainerOptions { name: Some(convert::container_name(spec)), ..Default::default() };
        let mut body = convert::create_body(spec);
        if let Some(score) = body.host_config.as_mut().and_then(|host| host.oom_score_adj.as_mut()) {
            *score = (*score).max(oom::lowest());
        }
        let made = self.client()?.create_container(Some(options), body).await.map_err(|e| self.error(e))?;
        Ok(made.id)
    }

    async fn start(&self, id: &str) -> Result<(), Error> {
        let result = self.client()?.start_container(id, None::<StartContainerOptions>).await;
        match result.map_err(|e| self.error(e)) {
            // 304: it runs already.
            Err(Error::Refused { code: 304, .. }) => Ok(()),
            other => other,
        }
    }

    async fn update(&self, id: &str, applied: Applied) -> Result<(), Error> {
        let body = convert::update_body(applied);
        self.client()?.update_container(id, body).await.map_err(|e| self.error(e))
    }

    async fn signal(&self, id: &str, signal: Option<&str>) -> Result<(), Error> {
        let signal = match signal {
            Some(signal) => format!("SIG{signal}"),
            None => self.stop_signal(id).await?,
        };
        let options = KillContainerOptions { signal };
        tolerate(self.client()?.kill_container(id, Some(options)).await.map_err(|e| self.error(e)))
    }

    async fn remove(&self, id: &str) -> Result<(), Error> {
        let options = RemoveContainerOptions { force: true, v: true, link: false };
        tolerate(self.client()?.remove_container(id, Some(options)).await.map_err(|e| self.error(e)))
    }

    async fn exec_create(&self, id: &str, spec: &ExecSpec) -> Result<String, Error> {
        exec::create(self, id, spec).await
    }

    async fn exec_start(&self, exec: &str, spec: &ExecSpec) -> Result<Streams, Error> {
        exec::start(self, exec, spec).await
    }

    async fn exec_state(&self, exec: &str) -> Result<Option<ExecState>, Error> {
        exec::state(self, exec).await
    }

    async fn exec_resize(&self, exec: &str, size: Size) -> Result<(), Error> {
        exec::resize(self, exec, size).await
    }

    async fn attach(&self, id: &str, spec: &AttachSpec) -> Result<Streams, Error> {
        exec::attach(self, id, spec).await
    }

    async fn resize(&self, id: &str, size: Size) -> Result<(), Error> {
        exec::resize_container(self, id, size).await
    }

    async fn logs(&self, id: &str, options: &LogOptions) -> Result<Output, Error> {
        logs::read(self, id, options).await
    }

    async fn image(&self, name: &str) -> Result<Option<Image>, Error> {
        match self.client()?.inspect_image(name).await.map_err(|e| self.error(e)) {
            Ok(found) => Ok(Some(convert::image(found))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn images(&self) -> Result<Vec<Image>, Error> {
        let options = ListImagesOptions { digests: true, ..Default::default() };
        let found = self.client()?.list_images(Some(options)).await.map_err(|e| self.error(e))?;
        Ok(found.into_iter().map(convert::image_summary).collect())
    }

    async fn pull(&self, name: &str, credentials: Option<&Credentials>) -> Result<(), Error> {
        let options = CreateImageOptions { from_image: Some(name.to_owned()), ..Default::default() };
        let credentials = credentials.map(|c| DockerCredentials {
            username: Some(c.username.clone()),
            password: Some(c.password.clone()),
            serveraddress: Some(c.server.clone()),
            ..Default::default()
        });
        let mut progress = self.client()?.create_image(Some(options), None, credentials).boxed();
        while let Some(step) = progress.next().await {
            step.map_err(|e| self.error(e))?;
        }
        Ok(())
    }

    async fn load(&self, archive: Vec<u8>) -> Result<(), Error> {
        let options = ImportImageOptions { quiet: true, ..Default::default() };
        let body = bollard::body_full(Bytes::from(archive));
        let mut progress = self.client()?.import_image(options, body, None).boxed();
        while let Some(step) = progress.next().await {
            step.map_err(|e| self.error(e))?;
        }
        Ok(())
    }

    async fn remove_image(&self, id: &str) -> Result<(), Error> {
        let removed = self.client()?.remove_image(id, None::<RemoveImageOptions>, None).await;
        tolerate(removed.map(drop).map_err(|e| self.error(e)))
    }

    async fn events(&self) -> Result<BoxStream<'static, Result<Event, Error>>, Error> {
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("label".to_owned(), vec![labels::POD_UID.to_owned()]),
        ]);
        let client = self.client()?;
        // The stream itself only fails once it is read: make sure that somebody listens.
        client.ping().await.map_err(|e| self.error(e))?;
        let endpoint = self.endpoint.clone();
        let options = EventsOptions { filters: Some(filters), ..Default::default() };
        let stream = client.events(Some(options)).filter_map(move |item| {
            let event = match item {
                Ok(message) => convert::event(message).map(Ok),
                Err(error) => Some(Err(Error::Unreachable { endpoint: endpoint.clone(), source: Box::new(error) })),
            };
            std::future::ready(event)
        });
        Ok(stream.boxed())
    }
}

impl Docker {
    /// The signal that asks this container to stop: its own, its image's or SIGTERM.
    async fn stop_signal(&self, id: &str) -> Result<String, Error> {
        let answer = self.client()?.inspect_container(id, None::<InspectContainerOptions>).await;
        match answer.map_err(|e| self.error(e)) {
            Ok(models::ContainerInspectResponse { config: Some(config), .. }) => {
                Ok(config.stop_signal.filter(|s| !s.is_empty()).unwrap_or_else(|| "SIGTERM".to_owned()))
            }
            Ok(_) => Ok("SIGTERM".to_owned()),
            Err(error) if error.is_not_found() => Ok("SIGTERM".to_owned()),
            Err(error) => Err(error),
        }
    }
}
