//! Between Docker's words and ours; pure.

use bollard::models;
use jiff::Timestamp;

use crate::runtime::{
    Applied, BindMount, Container, ContainerSpec, Error, Event, Exit, Image, Info, PodRef, Role, State, label_map,
    labels,
};

/// The period of CPU limits in microseconds, upstream's.
const CPU_PERIOD: i64 = 100_000;
/// Logs are rotated at this size, and so many files are kept: upstream's `containerLogMaxSize` and `-Files`.
const LOG_OPTIONS: [(&str, &str); 2] = [("max-size", "10m"), ("max-file", "5")];

/// `k8s_<container>_<pod>_<namespace>_<uid>_<attempt>`: unique, and telling in `docker ps`.
pub(super) fn container_name(spec: &ContainerSpec) -> String {
    let name = if spec.role == Role::Sandbox { labels::SANDBOX } else { &spec.name };
    let pod = &spec.pod;
    format!("k8s_{name}_{}_{}_{}_{}", pod.name, pod.namespace, pod.uid, spec.attempt)
}

/// The body of a create request.
pub(super) fn create_body(spec: &ContainerSpec) -> models::ContainerCreateBody {
    models::ContainerCreateBody {
        hostname: (!spec.namespaces.hostname.is_empty() && !spec.namespaces.host_network)
            .then(|| spec.namespaces.hostname.clone()),
        user: spec.security.user.clone(),
        tty: Some(spec.tty),
        open_stdin: Some(spec.stdin),
        stdin_once: Some(spec.stdin_once),
        env: Some(spec.env.clone()),
        cmd: spec.args.clone(),
        entrypoint: spec.command.clone(),
        // The kubelet's probes decide; an image's own health check would only cost processes.
        healthcheck: Some(models::HealthConfig { test: Some(vec!["NONE".to_owned()]), ..Default::default() }),
        image: Some(spec.image.clone()),
        working_dir: spec.working_dir.clone(),
        labels: Some(label_map(spec).into_iter().chain([(IMAGE_LABEL.to_owned(), spec.image_name.clone())]).collect()),
        stop_signal: spec.stop_signal.clone(),
        // The kubelet makes the pod's network. Docker's own code for `none` would run dockerd anew twice for each sandbox
        // (130 ms); without it runc makes the empty network namespace all the same.
        network_disabled: (spec.role == Role::Sandbox && !spec.namespaces.host_network).then_some(true),
        host_config: Some(host_config(spec)),
        ..Default::default()
    }
}

/// The image as written in the pod's spec; Docker itself is given the content's identifier.
const IMAGE_LABEL: &str = "dev.gantry.image-name";

fn host_config(spec: &ContainerSpec) -> models::HostConfig {
    let (resources, security) = (&spec.resources, &spec.security);
    models::HostConfig {
        cgroup_parent: (!resources.cgroup_parent.is_empty()).then(|| resources.cgroup_parent.clone()),
        cpu_shares: Some(resources.cpu_shares),
        cpu_period: (resources.cpu_quota > 0).then_some(CPU_PERIOD),
        cpu_quota: (resources.cpu_quota > 0).then_some(resources.cpu_quota),
        memory: Some(resources.memory_bytes),
        // Equal to the limit: no swap on top of it.
        memory_swap: Some(resources.memory_bytes),
        oom_score_adj: Some(resources.oom_score_adj),
        mounts: Some(spec.mounts.iter().map(mount).collect()),
        log_config: Some(models::HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(LOG_OPTIONS.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()),
        }),
        restart_policy: Some(models::RestartPolicy {
            name: Some(models::RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        cap_add: Some(security.add_capabilities.clone()),
        cap_drop: Some(security.drop_capabilities.clone()),
        group_add: Some(security.groups.iter().map(ToString::to_string).collect()),
        privileged: Some(security.privileged),
        readonly_rootfs: Some(security.read_only_root),
        security_opt: Some(security_options(spec)),
        ..namespaces(spec)
    }
}

fn namespaces(spec: &ContainerSpec) -> models::HostConfig {
    let wanted = &spec.namespaces;
    let joined = |host: bool| if host { "host".to_owned() } else { format!("container:{}", spec.sandbox) };
    if spec.role == Role::Sandbox {
        return models::HostConfig {
            network_mode: Some(if wanted.host_network { "host" } else { "none" }.to_owned()),
            ipc_mode: Some(if wanted.host_ipc { "host" } else { "shareable" }.to_owned()),
            pid_mode: wanted.host_pid.then(|| "host".to_owned()),
            sysctls: Some(wanted.sysctls.iter().cloned().collect()),
            ..Default::default()
        };
    }
    models::HostConfig {
        network_mode: Some(joined(wanted.host_network)),
        ipc_mode: Some(joined(wanted.host_ipc)),
        pid_mode: match &wanted.pid_of {
            _ if wanted.host_pid || wanted.shared_pid => Some(joined(wanted.host_pid)),
            Some(target) => Some(format!("container:{target}")),
            None => None,
        },
        uts_mode: wanted.host_network.then(|| "host".to_owned()),
        ..Default::default()
    }
}

fn security_options(spec: &ContainerSpec) -> Vec<String> {
    let mut options = Vec::new();
    if spec.security.no_new_privileges {
        options.push("no-new-privileges".to_owned());
    }
    if spec.security.unconfined {
        options.push("seccomp=unconfined".to_owned());
    }
    options
}

fn mount(bind: &BindMount) -> models::Mount {
    use models::MountBindOptionsPropagationEnum as Propagation;
    let propagation = match bind.propagation {
        "rshared" => Some(Propagation::RSHARED),
        "rslave" => Some(Propagation::RSLAVE),
        _ => None,
    };
    models::Mount {
        typ: Some(models::MountType::BIND),
        source: Some(bind.source.clone()),
        target: Some(bind.target.clone()),
        read_only: Some(bind.read_only),
        bind_options: propagation
            .map(|propagation| models::MountBindOptions { propagation: Some(propagation), ..Default::default() }),
        ..Default::default()
    }
}

/// A container from Docker's description of it; `None` when the kubelet did not make it.
pub(super) fn container(answer: models::ContainerInspectResponse) -> Result<Option<Container>, Error> {
    let missing = |field| Error::Incomplete { what: "inspect", field };
    let labels_found = answer.config.and_then(|config| config.labels).unwrap_or_default();
    let label = |key: &str| labels_found.get(key).cloned().unwrap_or_default();
    let pod =
        PodRef { namespace: label(labels::POD_NAMESPACE), name: label(labels::POD_NAME), uid: label(labels::POD_UID) };
    if pod.uid.is_empty() {
        return Ok(None);
    }
    let created = answer.created.as_deref().and_then(time).ok_or_else(|| missing("Created"))?;
    let reported = answer.state.ok_or_else(|| missing("State"))?;
    let pid = reported.pid.and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
    let name = label(labels::CONTAINER_NAME);
    let sandbox = name == labels::SANDBOX;
    Ok(Some(Container {
        id: answer.id.ok_or_else(|| missing("Id"))?,
        role: if sandbox { Role::Sandbox } else { Role::Container },
        pod,
        name: if sandbox { String::new() } else { name },
        attempt: label(labels::ATTEMPT).parse().unwrap_or(0),
        sandbox: label(labels::SANDBOX_ID),
        hash: label(labels::HASH),
        image: label(IMAGE_LABEL),
        image_id: String::new(),
        state: state(&reported, created),
        pid,
        created,
        applied: applied(answer.host_config.unwrap_or_default()),
        grace_seconds: label(labels::GRACE).parse().unwrap_or(30),
    }))
}

fn applied(found: models::HostConfig) -> Applied {
    Applied {
        cpu_shares: found.cpu_shares.unwrap_or(0),
        cpu_quota: found.cpu_quota.unwrap_or(0).max(0),
        memory_bytes: found.memory.unwrap_or(0),
    }
}

/// The body of a request that changes what a container may use. What has no limit is left as it is: a limit never goes.
pub(super) fn update_body(applied: Applied) -> models::ContainerUpdateBody {
    let limited = |amount: i64| (amount > 0).then_some(amount);
    models::ContainerUpdateBody {
        cpu_shares: limited(applied.cpu_shares),
        cpu_period: limited(applied.cpu_quota).map(|_| CPU_PERIOD),
        cpu_quota: limited(applied.cpu_quota),
        memory: limited(applied.memory_bytes),
        // Equal to the limit: no swap on top of it.
        memory_swap: limited(applied.memory_bytes),
        ..Default::default()
    }
}

fn state(reported: &models::ContainerState, created: Timestamp) -> State {
    use models::ContainerStateStatusEnum as Status;
    let at = |text: &Option<String>| text.as_deref().and_then(time);
    let started = at(&reported.started_at);
    let failed = reported.exit_code.unwrap_or(0) != 0 || reported.error.as_ref().is_some_and(|e| !e.is_empty());
    match reported.status {
        Some(Status::RUNNING | Status::PAUSED | Status::RESTARTING) => {
            State::Running { started: started.unwrap_or(created) }
        }
        // A container that could not be started stays "created" with an exit code: it has ended all the same.
        Some(Status::CREATED) if !failed => State::Created,
        _ => State::Exited(Exit {
            code: reported.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or(0),
            started: started.unwrap_or(created),
            finished: at(&reported.finished_at).or(started).unwrap_or(created),
            oom_killed: reported.oom_killed.unwrap_or(false),
            error: reported.error.clone().unwrap_or_default(),
        }),
    }
}

/// Docker writes the year 1 for "never".
fn time(text: &str) -> Option<Timestamp> {
    text.parse::<Timestamp>().ok().filter(|t| t.as_second() > 0)
}

/// An image from its description.
pub(super) fn image(found: models::ImageInspect) -> Image {
    Image {
        id: found.id.unwrap_or_default(),
        tags: found.repo_tags.unwrap_or_default(),
        digests: found.repo_digests.unwrap_or_default(),
        size_bytes: found.size.unwrap_or(0),
        user: found.config.and_then(|config| config.user).unwrap_or_default(),
    }
}

/// An image from a list.
pub(super) fn image_summary(found: models::ImageSummary) -> Image {
    let named = |names: Vec<String>| names.into_iter().filter(|n| !n.contains("<none>")).collect();
    Image {
        id: found.id,
        tags: named(found.repo_tags),
        digests: named(found.repo_digests),
        size_bytes: found.size,
        user: String::new(),
    }
}

/// What the pod's status says about an image: the digest under which anybody can pull it, else the local identifier.
pub(super) fn image_identity(image: &Image) -> String {
    match image.digests.first() {
        Some(digest) => format!("docker-pullable://{digest}"),
        None => format!("docker://{}", image.id),
    }
}

/// An event that may have changed a container's state.
pub(super) fn event(message: models::EventMessage) -> Option<Event> {
    let action = message.action?;
    let id = message.actor?.id?;
    match action.as_str() {
        // Not `create`: whoever creates starts, and looks himself; a look in between would wait for the start.
        "start" | "die" | "oom" | "update" => Some(Event { id, removed: false }),
        "destroy" => Some(Event { id, removed: true }),
        _ => None,
    }
}

/// What Docker says of itself.
pub(super) fn info(info: models::SystemInfo) -> Info {
    Info {
        version: format!("docker://{}", info.server_version.unwrap_or_default()),
        os_image: info.operating_system.unwrap_or_default(),
        kernel: info.kernel_version.unwrap_or_default(),
        systemd_cgroups: info.cgroup_driver == Some(models::SystemInfoCgroupDriverEnum::SYSTEMD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(status: models::ContainerStateStatusEnum, exit_code: i64, error: &str) -> models::ContainerState {
        models::ContainerState {
            status: Some(status),
            exit_code: Some(exit_code),
            error: Some(error.to_owned()),
            started_at: Some("0001-01-01T00:00:00Z".to_owned()),
            finished_at: Some("0001-01-01T00:00:00Z".to_owned()),
            ..Default::default()
        }
    }

    #[test]
    fn a_container_that_never_started_has_ended() {
        use models::ContainerStateStatusEnum as Status;
        let created: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(state(&reported(Status::CREATED, 0, ""), created), State::Created);
        let State::Exited(exit) = state(&reported(Status::CREATED, 127, "no such file"), created) else {
            panic!("expected an end")
        };
        assert_eq!((exit.code, exit.started, exit.finished), (127, created, created));
        assert!(
            matches!(state(&reported(Status::RUNNING, 0, ""), created), State::Running { started } if started == created)
        );
    }

    #[test]
    fn an_image_is_known_by_its_digest_where_it_has_one() {
        let mut image = Image { id: "sha256:aa".into(), ..Default::default() };
        assert_eq!(image_identity(&image), "docker://sha256:aa");
        image.digests = vec!["nginx@sha256:bb".into()];
        assert_eq!(image_identity(&image), "docker-pullable://nginx@sha256:bb");
    }

    #[test]
    fn only_state_changes_are_events() {
        let check = |action: &str, expected: Option<bool>| {
            let message = models::EventMessage {
                action: Some(action.to_owned()),
                actor: Some(models::EventActor { id: Some("c".into()), attributes: None }),
                ..Default::default()
            };
            assert_eq!(event(message).map(|e| e.removed), expected, "{action}");
        };
        check("die", Some(false));
        check("start", Some(false));
        check("destroy", Some(true));
        check("create", None);
        check("exec_create: sh -c true", None);
        check("top", None);
    }
}
