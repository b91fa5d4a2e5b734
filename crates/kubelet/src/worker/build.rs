//! From a pod's spec to what the runtime is told.

use std::{collections::BTreeMap, net::Ipv4Addr, path::Path};

use k8s_openapi::api::core::v1::{Container as Spec, Pod, VolumeMount};

use super::{Deps, Settings, probes::termination_file, start::write_file};
use crate::{
    pod::{self, env, files, resources},
    runtime::{BindMount, ContainerSpec, Image, Namespaces, Resources, Role, Security},
    volumes::Error,
};

/// Where a container goes.
pub(super) struct Place {
    pub(super) sandbox: String,
    pub(super) attempt: u32,
    pub(super) ip: Option<Ipv4Addr>,
    /// The container whose processes it sees, where it is made for looking into that one.
    pub(super) debugged: Option<String>,
}

fn namespaces(pod: &Pod) -> Namespaces {
    let spec = pod::spec(pod);
    Namespaces {
        host_network: pod::host_network(pod),
        host_pid: spec.host_pid == Some(true),
        host_ipc: spec.host_ipc == Some(true),
        shared_pid: spec.share_process_namespace == Some(true),
        pid_of: None,
        hostname: String::new(),
        sysctls: Vec::new(),
    }
}

fn cgroup_parent(deps: &Deps, pod: &Pod) -> String {
    resources::cgroup_parent(&deps.settings.cgroup_root, pod, deps.settings.systemd_cgroups)
}

/// The pause container.
pub(super) fn sandbox(deps: &Deps, pod: &Pod, attempt: u32) -> ContainerSpec {
    let sysctls = pod::spec(pod).security_context.iter().flat_map(|c| c.sysctls.iter().flatten());
    let sysctls = sysctls.map(|s| (s.name.clone(), s.value.clone())).collect();
    let image = crate::pause::image_name();
    ContainerSpec {
        role: Role::Sandbox,
        pod: pod::reference(pod),
        name: String::new(),
        attempt,
        hash: String::new(),
        sandbox: String::new(),
        image: image.clone(),
        image_name: image,
        command: None,
        args: None,
        env: Vec::new(),
        working_dir: None,
        mounts: Vec::new(),
        namespaces: Namespaces { hostname: files::hostname(pod), sysctls, ..namespaces(pod) },
        resources: Resources {
            cgroup_parent: cgroup_parent(deps, pod),
            cpu_shares: 2,
            oom_score_adj: resources::SANDBOX_SCORE,
            ..Resources::default()
        },
        security: Security { no_new_privileges: true, read_only_root: true, ..Security::default() },
        stdin: false,
        stdin_once: false,
        tty: false,
        stop_signal: None,
        grace_seconds: pod::grace_seconds(pod),
    }
}

/// A container of the pod. Writes the files that it is bound to.
pub(super) fn container(
    deps: &Deps,
    pod: &Pod,
    spec: &Spec,
    place: &Place,
    image: &Image,
    environment: &BTreeMap<String, String>,
) -> Result<ContainerSpec, Error> {
    let mut mounts = own_files(deps, pod, spec, place)?;
    for (index, mount) in spec.volume_mounts.iter().flatten().enumerate() {
        mounts.retain(|m| m.target != mount.mount_path);
        mounts.push(volume(deps, pod, spec, mount, index, environment)?);
    }
    let limits = resources::limits(pod, spec, cgroup_parent(deps, pod), deps.settings.memory_bytes);
    Ok(ContainerSpec {
        role: Role::Container,
        pod: pod::reference(pod),
        name: spec.name.clone(),
        attempt: place.attempt,
        hash: pod::container_hash(spec),
        sandbox: place.sandbox.clone(),
        image: image.id.clone(),
        image_name: spec.image.clone().unwrap_or_default(),
        command: env::expand_all(spec.command.as_ref(), environment),
        args: env::expand_all(spec.args.as_ref(), environment),
        env: environment.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        working_dir: spec.working_dir.clone().filter(|dir| !dir.is_empty()),
        mounts,
        namespaces: Namespaces { pid_of: place.debugged.clone(), ..namespaces(pod) },
        resources: limits,
        security: security(pod, spec),
        stdin: spec.stdin == Some(true),
        stdin_once: spec.stdin_once == Some(true),
        tty: spec.tty == Some(true),
        stop_signal: spec.lifecycle.as_ref().and_then(|l| l.stop_signal.clone()),
        grace_seconds: pod::grace_seconds(pod),
    })
}

/// `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname` and the termination message: our files, bound into the container.
fn own_files(deps: &Deps, pod: &Pod, spec: &Spec, place: &Place) -> Result<Vec<BindMount>, Error> {
    let dir = deps.volumes.pod_dir(&pod::reference(pod).uid);
    let settings = &deps.settings;
    let ip = place.ip.map(|ip| ip.to_string());
    let hostname = if pod::host_network(pod) { settings.node.clone() } else { files::hostname(pod) };
    let files = [
        ("etc-hosts", "/etc/hosts", files::hosts(pod, ip.as_deref(), &settings.dns.domain, &settings.hosts)),
        ("resolv.conf", "/etc/resolv.conf", files::resolv_conf(pod, &settings.dns)),
        ("hostname", "/etc/hostname", format!("{hostname}\n")),
    ];
    let mut mounts = Vec::new();
    for (name, target, text) in files {
        let source = dir.join(name);
        write_file(&source, &text, 0o644).map_err(file_error(&source))?;
        mounts.push(bind(&source, target));
    }
    let target = spec.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
    if !target.is_empty() {
        let source = termination_file(&dir, &spec.name, place.attempt);
        write_file(&source, "", 0o666).map_err(file_error(&source))?;
        mounts.push(bind(&source, target));
    }
    Ok(mounts)
}

fn file_error(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.display().to_string();
    move |source| Error::Files { what: "write", path, source }
}

fn bind(source: &Path, target: &str) -> BindMount {
    BindMount { source: source.display().to_string(), target: target.to_owned(), read_only: false, propagation: "" }
}

fn volume(
    deps: &Deps,
    pod: &Pod,
    spec: &Spec,
    mount: &VolumeMount,
    index: usize,
    environment: &BTreeMap<String, String>,
) -> Result<BindMount, Error> {
    let found = pod::spec(pod).volumes.iter().flatten().find(|v| v.name == mount.name);
    let volume = found.ok_or_else(|| Error::NotFound { kind: "volume", name: mount.name.clone() })?;
    let sub_path = match (&mount.sub_path, &mount.sub_path_expr) {
        (Some(path), _) if !path.is_empty() => Some(path.clone()),
        (_, Some(text)) if !text.is_empty() => Some(env::expand(text, |name| environment.get(name).cloned())),
        _ => None,
    };
    let source = match sub_path {
        Some(path) => deps.volumes.sub_path(pod, volume, &spec.name, index, &path)?,
        None => deps.volumes.path(pod, volume),
    };
    // Content made from API objects is the kubelet's to change.
    let fixed = volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.projected.is_some()
        || volume.downward_api.is_some();
    let propagation = match mount.mount_propagation.as_deref() {
        Some("Bidirectional") => "rshared",
        Some("HostToContainer") => "rslave",
        _ => "",
    };
    let read_only = fixed || mount.read_only == Some(true);
    Ok(BindMount { read_only, propagation, ..bind(&source, &mount.mount_path) })
}

fn security(pod: &Pod, spec: &Spec) -> Security {
    let own = spec.security_context.clone().unwrap_or_default();
    let whole = pod::spec(pod).security_context.clone().unwrap_or_default();
    let user = own.run_as_user.or(whole.run_as_user);
    let group = own.run_as_group.or(whole.run_as_group);
    let user = match (user, group) {
        (Some(user), Some(group)) => Some(format!("{user}:{group}")),
        (Some(user), None) => Some(user.to_string()),
        (None, Some(group)) => Some(format!("0:{group}")),
        (None, None) => None,
    };
    let mut groups = whole.supplemental_groups.clone().unwrap_or_default();
    groups.extend(whole.fs_group);
    let profile = own.seccomp_profile.as_ref().or(whole.seccomp_profile.as_ref());
    let capabilities = own.capabilities.clone().unwrap_or_default();
    Security {
        user,
        groups,
        privileged: own.privileged == Some(true),
        read_only_root: own.read_only_root_filesystem == Some(true),
        no_new_privileges: own.allow_privilege_escalation == Some(false),
        unconfined: profile.is_some_and(|p| p.type_ == "Unconfined"),
        add_capabilities: capabilities.add.unwrap_or_default(),
        drop_capabilities: capabilities.drop.unwrap_or_default(),
    }
}

/// Removes the pod's empty control groups, which Docker leaves behind. One that is in use stays.
pub(super) fn remove_control_groups(settings: &Settings, uid: &str) {
    for parent in resources::cgroup_parents(&settings.cgroup_root, uid, settings.systemd_cgroups) {
        let relative = parent.trim_start_matches('/');
        for controller in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            drop(std::fs::remove_dir(controller.path().join(relative)));
        }
        drop(std::fs::remove_dir(Path::new("/sys/fs/cgroup").join(relative)));
    }
}
