//! A pod's volumes: folders on the node that are bound into its containers.
//!
//! A type of volume is one entry in [`Volumes::set_up`]. Setting up is idempotent, so the same code mounts a volume,
//! finds it again after a restart and brings a changed ConfigMap, Secret or token into a running container.

mod atomic;
mod host_path;
mod mount;
mod payload;
mod subpath;
mod tokens;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Volume};

pub(crate) use payload::Payload;
pub(crate) use tokens::Tokens;

use crate::{
    objects::Objects,
    pod::{self, env::Sources},
};

/// Why a volume is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A ConfigMap or Secret is missing, in upstream's words.
    #[error("{kind} \"{name}\" not found")]
    NotFound {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A key is missing.
    #[error("references non-existent {kind} key: {key}")]
    NoKey {
        /// `config` or `secret`.
        kind: &'static str,
        /// The key.
        key: String,
    },
    /// The objects could not be read in time.
    #[error("failed to sync {kind} cache: timed out waiting for the condition")]
    NotSynced {
        /// `configmap` or `secret`.
        kind: &'static str,
    },
    /// A path that leads out of its volume.
    #[error("the path {0:?} is not a clean relative path")]
    Path(String),
    /// The thing on the node is not what the pod expects.
    #[error("hostPath type check failed: {path} is not a {expected}")]
    HostPath {
        /// The path.
        path: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The downward API cannot tell.
    #[error(transparent)]
    Field(#[from] pod::env::Error),
    /// The API server gave no token.
    #[error("failed to fetch token: {0}")]
    Token(String),
    /// This kubelet does not know the type.
    #[error("this kubelet has no volumes of the type {0}")]
    Unsupported(String),
    /// The node's file system refused.
    #[error("cannot {what} {path}: {source}")]
    Files {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    fn files(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::Files { what, path, source }
    }
}

/// A volume that could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume \"{volume}\" : {source}")]
pub(crate) struct Failed {
    /// The volume's name.
    pub(crate) volume: String,
    /// Why.
    pub(crate) source: Error,
}

/// Sets volumes up below one folder.
pub(crate) struct Volumes {
    root: PathBuf,
    objects: Arc<Objects>,
    tokens: Tokens,
}

impl Volumes {
    /// Volumes below `root`.
    pub(crate) fn new(root: &Path, objects: Arc<Objects>, tokens: Tokens) -> Self {
        Self { root: root.to_owned(), objects, tokens }
    }

    /// The folder of everything that belongs to a pod.
    pub(crate) fn pod_dir(&self, uid: &str) -> PathBuf {
        self.root.join("pods").join(uid)
    }

    /// The UIDs that have a folder.
    pub(crate) fn known_pods(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.join("pods")).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// Where a volume lies on the node; the path of a `hostPath` volume itself.
    pub(crate) fn path(&self, pod: &Pod, volume: &Volume) -> PathBuf {
        if let Some(host) = &volume.host_path {
            return PathBuf::from(&host.path);
        }
        let plugin = plugin(volume);
        self.pod_dir(&pod::reference(pod).uid)
            .join("volumes")
            .join(format!("kubernetes.io~{plugin}"))
            .join(&volume.name)
    }

    /// Sets up all volumes of a pod; when some of their content must be renewed by itself, says when.
    pub(crate) async fn prepare(&self, pod: &Pod, facts: &Sources) -> Result<Option<Timestamp>, Failed> {
        let mut renew: Option<Timestamp> = None;
        for volume in pod::spec(pod).volumes.iter().flatten() {
            let done = self.set_up(pod, volume, facts).await;
            let until = done.map_err(|source| Failed { volume: volume.name.clone(), source })?;
            renew = [renew, until].into_iter().flatten().min();
        }
        Ok(renew)
    }

    async fn set_up(&self, pod: &Pod, volume: &Volume, facts: &Sources) -> Result<Option<Timestamp>, Error> {
        let path = self.path(pod, volume);
        let group = pod::spec(pod).security_context.as_ref().and_then(|c| c.fs_group);
        if let Some(host) = &volume.host_path {
            host_path::check(host)?;
            return Ok(None);
        }
        if let Some(empty) = &volume.empty_dir {
            let memory = empty.medium.as_deref() == Some("Memory");
            let limit = empty.size_limit.as_ref().and_then(|q| gantry_api::quantity::Quantity::parse(&q.0).ok());
            mount::empty_dir(&path, memory, limit.map(|q| q.value()), group)?;
            return Ok(None);
        }
        let mut renew = None;
        let content = self.content(pod, volume, facts, &mut renew).await?;
        // What is secret never touches a disk.
        mount::empty_dir(&path, volume.config_map.is_none(), None, None)?;
        let write = move || atomic::write(&path, &content, group);
        match tokio::task::spawn_blocking(write).await {
            Ok(result) => result.map(|()| renew),
            Err(error) => Err(Error::Unsupported(format!("(writing it panicked: {error})"))),
        }
    }

    async fn content(
        &self,
        pod: &Pod,
        volume: &Volume,
        facts: &Sources,
        renew: &mut Option<Timestamp>,
    ) -> Result<Payload, Error> {
        let namespace = pod::reference(pod).namespace;
        if let Some(source) = &volume.config_map {
            let found = self.objects.config_map(&namespace, &source.name).await?;
            return payload::config_map(source, found.as_deref());
        }
        if let Some(source) = &volume.secret {
            let found = self.objects.secret(&namespace, source.secret_name.as_deref().unwrap_or_default()).await?;
            return payload::secret(source, found.as_deref());
        }
        if let Some(source) = &volume.downward_api {
            return payload::downward(pod, source.items.as_deref().unwrap_or_default(), source.default_mode, facts);
        }
        let Some(projected) = &volume.projected else {
            return Err(Error::Unsupported(type_name(volume)));
        };
        let mut all = Payload::new();
        for source in projected.sources.iter().flatten() {
            let mode = projected.default_mode;
            if let Some(source) = &source.config_map {
                let found = self.objects.config_map(&namespace, &source.name).await?;
                all.extend(payload::projected_config_map(source, mode, found.as_deref())?);
            }
            if let Some(source) = &source.secret {
                let found = self.objects.secret(&namespace, &source.name).await?;
                all.extend(payload::projected_secret(source, mode, found.as_deref())?);
            }
            if let Some(source) = &source.downward_api {
                all.extend(payload::downward(pod, source.items.as_deref().unwrap_or_default(), mode, facts)?);
            }
            if let Some(source) = &source.service_account_token {
                let token = self.tokens.get(pod, source).await.map_err(Error::Token)?;
                *renew = [*renew, Some(token.renew_at)].into_iter().flatten().min();
                all.extend(payload::file(&source.path, token.token.into_bytes(), mode)?);
            }
        }
        Ok(all)
    }

    /// Where a `subPath` of a volume is bound from: resolved so that no link in the volume can lead out of it.
    pub(crate) fn sub_path(
        &self,
        pod: &Pod,
        volume: &Volume,
        container: &str,
        index: usize,
        sub_path: &str,
    ) -> Result<PathBuf, Error> {
        let place = self.pod_dir(&pod::reference(pod).uid).join("volume-subpaths");
        let place = place.join(&volume.name).join(container).join(index.to_string());
        subpath::bind(&self.path(pod, volume), sub_path, &place)?;
        Ok(place)
    }

    /// Unmounts and removes everything of a pod.
    pub(crate) async fn tear_down(&self, uid: &str) -> Result<(), Error> {
        self.tokens.forget(uid);
        let dir = self.pod_dir(uid);
        match tokio::task::spawn_blocking(move || mount::remove_tree(&dir)).await {
            Ok(result) => result,
            Err(error) => Err(Error::Unsupported(format!("(removing it panicked: {error})"))),
        }
    }
}

fn plugin(volume: &Volume) -> &'static str {
    match volume {
        Volume { config_map: Some(_), .. } => "configmap",
        Volume { secret: Some(_), .. } => "secret",
        Volume { downward_api: Some(_), .. } => "downward-api",
        Volume { projected: Some(_), .. } => "projected",
        _ => "empty-dir",
    }
}

/// The field that names an unknown volume's type.
fn type_name(volume: &Volume) -> String {
    let value = serde_json::to_value(volume).unwrap_or_default();
    let fields = value.as_object().into_iter().flatten();
    fields.map(|(name, _)| name.clone()).find(|name| name != "name").unwrap_or_else(|| "unknown".to_owned())
}
