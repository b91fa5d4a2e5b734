//! Makes a sandbox, makes a container: the steps in order, the errors with upstream's reasons.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Container as Spec, Pod};

use super::{Deps, build, hooks};
use crate::{
    images::Missing,
    pod::{self, env},
    runtime::{Error, Image},
};

/// A start hook may take as long as it likes upstream; an end there must be.
const POST_START_LIMIT: Duration = Duration::from_secs(600);

fn failed(reason: &'static str) -> impl Fn(&Error) -> Missing {
    move |error| Missing { reason, message: gantry_common::error_chain(error) }
}

/// Makes and starts the pod's sandbox.
pub(super) async fn sandbox(deps: &Deps, pod: &Pod, attempt: u32) -> Result<(), Missing> {
    let failed = failed("FailedCreatePodSandBox");
    let name = crate::pause::image_name();
    if deps.runtime.image(&name).await.map_err(|e| failed(&e))?.is_none() {
        let archive = crate::pause::image_archive().map_err(|error| Missing {
            reason: "FailedCreatePodSandBox",
            message: format!("cannot build the pause image: {error}"),
        })?;
        deps.runtime.load(archive).await.map_err(|e| failed(&e))?;
    }
    let spec = build::sandbox(deps, pod, attempt);
    let id = create(deps, &spec).await.map_err(|e| failed(&e))?;
    let started = deps.runtime.start(&id).await;
    refresh(deps, &id).await;
    started.map_err(|e| failed(&e))
}

/// Creates a container; one of this name that a lost answer or an earlier kubelet left behind makes room.
async fn create(deps: &Deps, spec: &crate::runtime::ContainerSpec) -> Result<String, Error> {
    match deps.runtime.create(spec).await {
        Err(error) if error.is_conflict() => {
            for old in deps.runtime.list().await? {
                let same = old.pod == spec.pod && old.name == spec.name && old.attempt == spec.attempt;
                if same && !old.running() {
                    deps.runtime.remove(&old.id).await?;
                    deps.observed.drop_container(&old.id).await;
                }
            }
            deps.runtime.create(spec).await
        }
        other => other,
    }
}

/// The runtime's events would say it too; asking saves the wait.
async fn refresh(deps: &Deps, id: &str) {
    if let Err(error) = deps.observed.refresh(id).await {
        tracing::debug!(container = id, error = gantry_common::error_chain(&error), "container could not be looked at");
    }
}

/// Gets the image, resolves the environment, creates and starts the container, runs its start hook.
pub(super) async fn container(deps: &Arc<Deps>, pod: &Pod, spec: &Spec, place: &build::Place) -> Result<(), Missing> {
    let image = deps.images.ensure(pod, spec, &deps.events).await?;
    check_user(pod, spec, &image)?;
    let environment = environment(deps, pod, spec, place).await?;
    let wanted = build::container(deps, pod, spec, place, &image, &environment).map_err(config_error)?;
    let id = create(deps, &wanted).await.map_err(|e| failed("CreateContainerError")(&e))?;
    deps.events.normal(pod, spec, "Created", "Container created");
    let started = deps.runtime.start(&id).await;
    refresh(deps, &id).await;
    started.map_err(|e| failed("RunContainerError")(&e))?;
    deps.events.normal(pod, spec, "Started", "Container started");
    let Some(hook) = spec.lifecycle.as_ref().and_then(|l| l.post_start.as_ref()) else { return Ok(()) };
    let Err(error) = hooks::run(deps, spec, &id, place.ip, hook, POST_START_LIMIT).await else { return Ok(()) };
    let message = format!("PostStartHook failed: {error}");
    deps.events.warning(pod, spec, "FailedPostStartHook", &message);
    deps.events.normal(pod, spec, "Killing", "FailedPostStartHook");
    if let Err(error) = deps.runtime.signal(&id, Some("KILL")).await {
        tracing::warn!(container = id, error = gantry_common::error_chain(&error), "container could not be killed");
    }
    refresh(deps, &id).await;
    Err(Missing { reason: "PostStartHookError", message })
}

fn config_error(error: crate::volumes::Error) -> Missing {
    Missing { reason: "CreateContainerConfigError", message: gantry_common::error_chain(&error) }
}

/// The container's environment, from the objects that it refers to.
async fn environment(
    deps: &Deps,
    pod: &Pod,
    spec: &Spec,
    place: &build::Place,
) -> Result<BTreeMap<String, String>, Missing> {
    let mut sources = deps.facts(pod, place.ip);
    let namespace = pod::reference(pod).namespace;
    let (maps, secrets) = env::references(spec);
    for name in maps {
        if let Some(found) = deps.objects.config_map(&namespace, &name).await.map_err(config_error)? {
            sources.config_maps.insert(name, (*found).clone());
        }
    }
    for name in secrets {
        if let Some(found) = deps.objects.secret(&namespace, &name).await.map_err(config_error)? {
            sources.secrets.insert(name, (*found).clone());
        }
    }
    env::resolve(pod, spec, &sources)
        .map_err(|error| Missing { reason: "CreateContainerConfigError", message: error.to_string() })
}

/// A container that must not run as root must not be made from an image that would.
fn check_user(pod: &Pod, spec: &Spec, image: &Image) -> Result<(), Missing> {
    let own = spec.security_context.as_ref();
    let whole = pod::spec(pod).security_context.as_ref();
    let demanded = own.and_then(|c| c.run_as_non_root).or_else(|| whole.and_then(|c| c.run_as_non_root));
    if demanded != Some(true) {
        return Ok(());
    }
    let user = own.and_then(|c| c.run_as_user).or_else(|| whole.and_then(|c| c.run_as_user));
    let place = format!("(pod: \"{}\", container: {})", pod::full_name(pod), spec.name);
    let image_user = image.user.split(':').next().unwrap_or_default();
    let message = match (user, image_user) {
        (Some(0), _) => format!("container's runAsUser breaks non-root policy {place}"),
        (Some(_), _) => return Ok(()),
        (None, "" | "0" | "root") => format!("container has runAsNonRoot and image will run as root {place}"),
        (None, name) if name.parse::<u32>().is_err() => {
            format!(
                "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root {place}"
            )
        }
        (None, _) => return Ok(()),
    };
    Err(Missing { reason: "CreateContainerConfigError", message })
}

/// A file that must exist with some text.
pub(super) fn write_file(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    if std::fs::read_to_string(path).ok().as_deref() != Some(text) {
        // Written in place: running containers have this very file bound.
        std::fs::write(path, text)?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}
