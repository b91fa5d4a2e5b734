//! Puts the kubelet together.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use anyhow::Context as _;
use gantry_client::{Client, Informer, Reader, events::Recorder};
use gantry_common::{
    daemon::Context,
    task::{Group, OnExit},
};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::{
    Config, api,
    dispatcher::{Dispatcher, Feeds},
    events::Events,
    exec::Commands,
    images::Images,
    network::{PodNetwork, Routed},
    node::{self, Agent, Machine},
    objects::Objects,
    observe::{Health, Observed},
    pod::{files::Dns, status::Host},
    probe,
    runtime::{Docker, Info, Runtime},
    session::{self, Control, Sessions},
    stats::Meter,
    volumes::{Tokens, Volumes},
    worker::{Deps, Settings},
};

/// Notices of changed containers and objects that may wait for the dispatcher.
const QUEUE: usize = 1024;
/// How long sessions may take to end when the kubelet does.
const SESSIONS_END: Duration = Duration::from_secs(5);

/// Runs the kubelet until shutdown. Containers and their network stay.
///
/// # Errors
/// When the configuration cannot work: no kubeconfig, a folder that cannot be written, no right to change the network.
pub async fn run(config: Config, context: Context) -> anyhow::Result<()> {
    let name = node_name(&config)?;
    let address = node_address(&config)?;
    prepare_root(&config)?;
    let agent = gantry_common::version::user_agent("gantry-kubelet");
    let client = Client::from_kubeconfig(config.common.required_kubeconfig()?, &agent)?;
    let group = Group::new(context.shutdown.clone());
    let runtime: Arc<dyn Runtime> = Arc::new(Docker::new(&config.docker_endpoint));
    let network = open_network(&config, address)?;
    let (containers_in, containers) = mpsc::channel(QUEUE);
    let (objects_in, objects_changed) = mpsc::channel(QUEUE);
    let observed = Observed::new(Arc::clone(&runtime), containers_in);
    let health = observed.health();
    let objects = Objects::new(client.clone(), context.shutdown.clone(), objects_in);
    group.spawn("runtime", OnExit::ShutDown, Arc::clone(&observed).run());

    let machine = Machine::read(&config);
    let pods = Informer::builder(client.api::<Pod>()).fields(&format!("spec.nodeName={name}")).start(&group);
    let services = Informer::builder(client.api::<Service>()).start(&group);
    let own_node = Informer::builder(client.api::<Node>()).fields(&format!("metadata.name={name}")).start(&group);
    let network_changed = Arc::new(Notify::new());
    if config.pod_cidr.is_none() {
        let range = node::follow(own_node.clone(), name.clone(), Arc::clone(&network), Arc::clone(&network_changed));
        group.spawn("range", OnExit::ShutDown, range);
    }
    let speaker = Agent {
        client: client.clone(),
        own_node,
        runtime: Arc::clone(&runtime),
        network: Arc::clone(&network),
        health: health.clone(),
        network_changed,
        clock: Arc::clone(&context.clock),
        machine: machine.clone(),
        name: name.clone(),
        address: address.to_string(),
        labels: config.node_labels.clone(),
        register: config.register_node,
    };
    group.spawn("node", OnExit::ShutDown, speaker.run());

    let shared = Shared { client, runtime, network, observed, objects, services, machine, name, address };
    let start = async move {
        // Pods need to know how the runtime names control groups; without a runtime there are no pods anyway.
        let info = runtime_info(&shared).await;
        let deps = shared.deps(&config, &context, &info);
        deps.commands.clean_up();
        let sessions = shared.sessions(&config, &context, &deps, &pods);
        let control = Control::new(shared.client.clone(), shared.name.clone(), Arc::clone(&sessions));
        (Dispatcher::new(deps, pods), sessions, control)
    };
    let tasks = group.clone();
    let (sessions_in, sessions) = oneshot::channel();
    group.spawn("dispatcher", OnExit::ShutDown, async move {
        let (dispatcher, sessions, control) = start.await;
        // The end of the kubelet waits for them.
        drop(sessions_in.send(sessions));
        control.start(&tasks);
        dispatcher.run(Feeds { containers, objects: objects_changed }).await;
    });
    let shutdown = group.shutdown().clone();
    context_ready(&shutdown, health).await;
    shutdown.requested().await;
    if let Ok(sessions) = sessions.await {
        // What they started must not outlive them; what hangs is ended by the next kubelet.
        drop(tokio::time::timeout(SESSIONS_END, sessions.settle()).await);
    }
    group.join().await;
    Ok(())
}

fn open_network(config: &Config, address: Ipv4Addr) -> anyhow::Result<Arc<dyn PodNetwork>> {
    let network = Routed::open(&config.root_dir, address)
        .context("cannot prepare the pod network: the kubelet must run as root, with /proc/sys writable")?;
    if let Some(range) = config.pod_cidr {
        network.set_range(range);
    }
    Ok(Arc::new(network))
}

/// The service manager is told once the first look at the runtime is over, whatever it showed: a node without Docker
/// reports that itself.
async fn context_ready(shutdown: &gantry_common::shutdown::Shutdown, mut health: tokio::sync::watch::Receiver<Health>) {
    tokio::select! {
        _ = health.wait_for(|h| *h != Health::Unknown) => {}
        () = shutdown.requested() => return,
    }
    Context { shutdown: shutdown.clone(), clock: gantry_common::clock::system() }.ready();
}

async fn runtime_info(shared: &Shared) -> Info {
    let mut health = shared.observed.health();
    loop {
        drop(health.wait_for(|h| *h == Health::Up).await);
        match shared.runtime.info().await {
            Ok(info) => return info,
            Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
}

fn node_name(config: &Config) -> anyhow::Result<String> {
    match &config.hostname_override {
        Some(name) => Ok(name.to_lowercase()),
        None => {
            let name = nix::unistd::gethostname().context("cannot read the machine's host name")?;
            Ok(name.to_string_lossy().to_lowercase())
        }
    }
}

/// The address that packets to the outside would have; no packet is sent.
fn node_address(config: &Config) -> anyhow::Result<Ipv4Addr> {
    if let Some(address) = config.node_ip {
        return Ok(address);
    }
    let find = || {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    };
    match find() {
        Ok(std::net::SocketAddr::V4(address)) => Ok(*address.ip()),
        _ => anyhow::bail!("cannot find the node's address because there is no default route: give --node-ip"),
    }
}

fn prepare_root(config: &Config) -> anyhow::Result<()> {
    let root = &config.root_dir;
    let probe = root.join(".writable");
    let pods = root.join("pods");
    // Volumes are writable for all users of their containers; nobody else on the machine gets as far as them.
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o750);
    std::fs::create_dir_all(&pods)
        .and_then(|()| std::fs::set_permissions(&pods, closed))
        .and_then(|()| std::fs::write(&probe, ""))
        .and_then(|()| std::fs::remove_file(&probe))
        .with_context(|| {
            format!("cannot write to the folder {} (--root-dir): it holds the pods' volumes", root.display())
        })
}

struct Shared {
    client: Client,
    runtime: Arc<dyn Runtime>,
    network: Arc<dyn PodNetwork>,
    observed: Arc<Observed>,
    objects: Arc<Objects>,
    services: Reader<Service>,
    machine: Machine,
    name: String,
    address: Ipv4Addr,
}

impl Shared {
    fn sessions(&self, config: &Config, context: &Context, deps: &Arc<Deps>, pods: &Reader<Pod>) -> Arc<Sessions> {
        let shared = session::Context {
            deps: Arc::clone(deps),
            pods: Arc::new(pods.clone()),
            meter: Meter::new(),
            config: config.shown(),
            shutdown: context.shutdown.clone(),
        };
        Sessions::new(shared, usize::try_from(config.max_sessions).unwrap_or(usize::MAX))
    }

    fn deps(&self, config: &Config, context: &Context, info: &Info) -> Arc<Deps> {
        let clock = Arc::clone(&context.clock);
        let recorder = Recorder::new(self.client.clone(), Arc::clone(&clock), "kubelet", &self.name);
        let events = Arc::new(Events::recorded(recorder));
        let tokens = Tokens::new(self.client.clone(), Arc::clone(&clock));
        let commands = Commands::new(Arc::clone(&self.runtime), &config.root_dir);
        let settings = Settings {
            node: self.name.clone(),
            host: Host { ip: self.address.to_string() },
            dns: Dns {
                servers: config.cluster_dns.clone(),
                domain: config.cluster_domain.clone(),
                host: std::fs::read_to_string(&config.resolv_conf).unwrap_or_default(),
            },
            hosts: std::fs::read_to_string("/etc/hosts").unwrap_or_default(),
            cgroup_root: config.cgroup_root.clone(),
            systemd_cgroups: info.systemd_cgroups,
            cpu_milli: self.machine.cpu_milli(),
            memory_bytes: self.machine.memory_bytes(),
        };
        Arc::new(Deps {
            grants: crate::worker::Grants::default(),
            runtime: Arc::clone(&self.runtime),
            commands: Arc::clone(&commands),
            network: Arc::clone(&self.network),
            volumes: Volumes::new(&config.root_dir, Arc::clone(&self.objects), tokens),
            objects: Arc::clone(&self.objects),
            observed: Arc::clone(&self.observed),
            images: Images::new(Arc::clone(&self.runtime), Arc::clone(&self.objects)),
            probes: Arc::new(probe::Context {
                commands,
                events: Arc::clone(&events),
                clock: Arc::clone(&clock),
                figures: probe::Figures::default(),
            }),
            events,
            api: Box::new(api::Pods::new(&self.client)),
            services: Some(self.services.clone()),
            clock,
            settings,
        })
    }
}
