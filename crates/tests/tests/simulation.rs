//! The control plane under random actions and faults, from seeds. Everything runs in this process.
//!
//! `GANTRY_SIM_SEEDS=100..200` (or a single number) runs other seeds than the usual few; each prints its number first.
//! `GANTRY_SIM_ACTIONS` sets the length of each.

use std::ops::Range;
use std::time::Duration;

use gantry_store::{Store, Txn};
use gantry_testkit::cluster::{Builder, Cluster, Role};
use gantry_testkit::driver::{Driver, plan};
use gantry_testkit::history::World;
use gantry_testkit::node::Capacity;
use gantry_testkit::object;
use serde_json::{Value, json};

/// Actions per seed, unless `GANTRY_SIM_ACTIONS` says otherwise.
const ACTIONS: usize = 24;
const NODES: usize = 3;
/// What a single wait may take.
const LIMIT: Duration = Duration::from_secs(30);

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("GANTRY_SIM_SEEDS") else { return 61..64 };
    let number = |text: &str| text.trim().parse::<u64>().expect("GANTRY_SIM_SEEDS is a number or from..to");
    match text.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => number(&text)..number(&text) + 1,
    }
}

async fn run(seed: u64) -> anyhow::Result<()> {
    // Not much more room than the pods need, so that rollouts meet full nodes.
    let capacity = Capacity { cpu: "1200m".to_owned(), ..Capacity::default() };
    let cluster = Builder::default().nodes(NODES).capacity(capacity).instances(2).seed(seed).start().await?;
    let mut driver = Driver::new(cluster);
    let actions =
        std::env::var("GANTRY_SIM_ACTIONS").map_or(ACTIONS, |n| n.parse().expect("GANTRY_SIM_ACTIONS is a number"));
    for (number, action) in plan(seed, actions, NODES).iter().enumerate() {
        eprintln!("  {number}: {action:?}");
        driver.act(action).await?;
        driver.pace((seed * 31 + number as u64 * 17) % 40).await;
    }
    driver.clear().await
}

#[test]
fn random_actions_and_faults_break_no_invariant() {
    for seed in seeds() {
        eprintln!("seed {seed} (again: GANTRY_SIM_SEEDS={seed})");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let result = runtime.expect("a runtime").block_on(run(seed));
        if let Err(error) = result {
            panic!("seed {seed}: {error:#}");
        }
    }
}

/// Waits until `look` finds something in the stored objects.
async fn until<T>(cluster: &Cluster, what: &str, look: impl Fn(&World) -> Option<T>) -> T {
    let found = tokio::time::timeout(LIMIT, cluster.recorder().until(look)).await;
    found.unwrap_or_else(|_| panic!("not within {LIMIT:?}: {what}"))
}

fn pod(name: &str, cpu: &str) -> Value {
    let container = json!({"name": "main", "image": "app:0", "resources": {"requests": {"cpu": cpu}}});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": {"containers": [container]}})
}

async fn create(cluster: &Cluster, object: &Value) {
    let resource = gantry_client::ResourceId::new("", "v1", "pods");
    let api = cluster.admin("user").dynamic(resource, "default");
    until(cluster, "the default service account", |world| world.find("ServiceAccount", "default", "default").map(drop))
        .await;
    let deadline = tokio::time::Instant::now() + LIMIT;
    // The API server's own cache may not have the service account yet.
    while let Err(error) = api.create("", "", object, &gantry_client::WriteParams::default()).await {
        assert!(tokio::time::Instant::now() < deadline && error.is_forbidden(), "{error}");
    }
}

/// How often the scheduler said that it found no node for the pod.
fn refusals(world: &World, pod: &str) -> i64 {
    let about = world.all("Event").filter(|e| object::text(e, "involvedObject.name") == pod);
    let refused = about.filter(|e| object::text(e, "reason") == "FailedScheduling");
    refused.map(|e| object::number(e, "count").max(1)).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unschedulable_pod_is_tried_again_only_when_a_node_is_added() {
    let mut cluster = Builder::default().nodes(1).start().await.expect("it starts");
    create(&cluster, &pod("big", "16")).await;
    until(&cluster, "the scheduler says why", |world| (refusals(world, "big") > 0).then_some(())).await;
    // Signs of life pass, and a pod that fits comes and runs: nothing that helps the big one.
    create(&cluster, &pod("small", "1")).await;
    until(&cluster, "the small pod runs", |world| {
        world.find("Pod", "default", "small").filter(|p| object::is_ready(p)).map(drop)
    })
    .await;
    let renewals = |world: &gantry_testkit::history::World| {
        world.find("Lease", "kube-node-lease", "n0").map(|l| object::text(l, "spec.renewTime").to_owned())
    };
    let before = cluster.recorder().with(renewals);
    until(&cluster, "the node renews its lease", |world| (renewals(world) != before).then_some(())).await;
    assert_eq!(cluster.recorder().with(|world| refusals(world, "big")), 1, "attempts while nothing changed");

    cluster.add_node("large", Capacity { cpu: "32".to_owned(), ..Capacity::default() });
    let node = until(&cluster, "the big pod is bound", |world| {
        let pod = world.find("Pod", "default", "big")?;
        let node = object::text(pod, "spec.nodeName");
        (!node.is_empty()).then(|| node.to_owned())
    })
    .await;
    assert_eq!(node, "large");
    assert_eq!(cluster.recorder().with(|world| refusals(world, "big")), 1, "the one attempt after it succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_frozen_is_fenced_off() {
    for role in Role::ALL {
        let mut cluster = Builder::default().nodes(1).instances(2).start().await.expect("it starts");
        let old = loop {
            let led = cluster.leader(role);
            match led {
                Some(_) => break cluster.pause_leader(role).expect("the leader runs"),
                None => cluster.recorder().revisions(1).await,
            }
        };
        until(&cluster, "another one leads", |world| {
            let lease = world.find("Lease", "kube-system", role.name())?;
            (object::number(lease, "spec.leaseTransitions") > 0).then_some(())
        })
        .await;
        cluster.resume();
        let ends = async {
            while cluster.is_running(&old) {
                cluster.recorder().revisions(1).await;
            }
        };
        tokio::time::timeout(LIMIT, ends).await.expect("the old leader ends");
        assert_eq!(cluster.recorder().violations(), [], "{old} wrote after it lost the lease");
    }
}

/// The invariants see a real cluster: what a wrong hand does to it is found.
#[tokio::test(flavor = "multi_thread")]
async fn planted_bugs_are_found_in_a_running_cluster() {
    let cluster = Builder::default().nodes(2).start().await.expect("it starts");
    let hand = WrongHand::new(&cluster).await;
    assert_eq!(cluster.recorder().violations(), [], "nothing is wrong yet");
    hand.delete_a_pod().await;
    hand.found("rolling updates keep their bounds").await;
    hand.add_a_pod().await;
    hand.found("a replica set makes no pod too many").await;
    hand.write_as_an_old_leader().await;
    hand.found("only the leader writes").await;
    hand.bind_without_room().await;
    hand.found("no pod is bound to a node without room").await;
    hand.rewrite("first", |pod| pod["metadata"]["uid"] = "another".into()).await;
    hand.found("no object is resurrected").await;
    hand.rewrite("first", |pod| pod["spec"]["nodeName"] = "elsewhere".into()).await;
    hand.found("a pod is bound at most once").await;
    hand.share_an_address().await;
    hand.found("no two pods share an address").await;
    hand.lose_an_address().await;
    hand.found("cluster IPs and node ports are unique and do not leak").await;
    hand.remove("/registry/namespaces/default").await;
    hand.found("a namespace that is gone is empty").await;
}

/// Does what no component may do.
struct WrongHand<'a> {
    cluster: &'a Cluster,
    pods: gantry_client::DynApi,
}

impl<'a> WrongHand<'a> {
    /// Sets the scene: a complete deployment, and two pods of which one finds no room.
    async fn new(cluster: &'a Cluster) -> Self {
        create(cluster, &pod("first", "1500m")).await;
        let api = |group: &str, resource: &str| {
            cluster.admin("user").dynamic(gantry_client::ResourceId::new(group, "v1", resource), "default")
        };
        let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
        let labels = json!({"app": "web"});
        let template =
            json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "app:0"}]}});
        let spec =
            json!({"replicas": 2, "strategy": rolling, "selector": {"matchLabels": labels}, "template": template});
        let deployment =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec});
        let params = gantry_client::WriteParams::default();
        api("apps", "deployments").create("", "", &deployment, &params).await.expect("created");
        let settled = |world: &World| gantry_testkit::invariants::settled::faults(world).is_empty().then_some(());
        until(cluster, "the deployment is complete", |world| {
            world
                .find("Deployment", "default", "web")
                .filter(|d| object::number(d, "status.availableReplicas") == 2)?;
            settled(world)
        })
        .await;
        Self { cluster, pods: api("", "pods") }
    }

    async fn found(&self, name: &str) {
        let seen = async {
            while self.cluster.recorder().violations().iter().all(|v| v.invariant != name) {
                self.cluster.recorder().revisions(1).await;
            }
        };
        tokio::time::timeout(LIMIT, seen).await.unwrap_or_else(|_| panic!("not found: {name}"));
    }

    /// A ready pod of the deployment.
    fn victim(&self) -> object::Object {
        let ours = |p: &&object::Object| object::is_ready(p) && object::labels(p).get("app") == Some(&"web");
        self.cluster.recorder().with(|world| world.all("Pod").find(ours).cloned()).expect("the deployment has one")
    }

    async fn delete_a_pod(&self) {
        let victim = self.victim();
        let params = gantry_client::DeleteParams::default();
        self.pods.delete(object::text(&victim, "metadata.name"), &params).await.expect("deleted");
    }

    async fn add_a_pod(&self) {
        let mut extra = pod("extra", "0");
        let victim = self.victim();
        extra["metadata"]["ownerReferences"] = victim["metadata"]["ownerReferences"].clone();
        extra["metadata"]["labels"] = victim["metadata"]["labels"].clone();
        let full = |world: &World| {
            let set = object::controller(&victim);
            (world.controlled("Pod", set).filter(|p| object::is_active(p)).count() == 2).then_some(())
        };
        until(self.cluster, "the deleted pod is replaced", full).await;
        create(self.cluster, &extra).await;
    }

    async fn write_as_an_old_leader(&self) {
        let labels = gantry_client::Patch::Merge(json!({"metadata": {"labels": {"touched": "true"}}}));
        let nodes = gantry_client::ResourceId::new("", "v1", "nodes");
        let old = self.cluster.admin("kube-scheduler-99").dynamic(nodes, "");
        old.patch("n0", "", &labels, &gantry_client::WriteParams::default()).await.expect("it sends no fence");
    }

    async fn bind_without_room(&self) {
        let node = until(self.cluster, "the first pod is bound", |world| {
            let node = object::text(world.find("Pod", "default", "first")?, "spec.nodeName");
            (!node.is_empty()).then(|| node.to_owned())
        })
        .await;
        create(self.cluster, &pod("huge", "5")).await;
        let target = json!({"kind": "Node", "name": node});
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "huge"}, "target": target});
        let params = gantry_client::WriteParams::default();
        self.pods.create("huge", "binding", &binding, &params).await.expect("the API server does not count");
    }

    /// Two pods that no node takes, so that nothing else touches them.
    async fn share_an_address(&self) {
        for name in ["owner", "thief"] {
            create(self.cluster, &pod(name, "100")).await;
            self.rewrite(name, |pod| pod["status"]["podIP"] = "10.9.9.9".into()).await;
        }
    }

    async fn lose_an_address(&self) {
        let address = self
            .cluster
            .recorder()
            .with(|world| world.objects.keys().find(|key| key.starts_with("/registry/ipaddresses/")).cloned());
        self.remove(&address.expect("default/kubernetes has one")).await;
    }

    /// Writes a pod past the API server.
    async fn rewrite(&self, name: &str, change: impl Fn(&mut Value)) {
        let stored = self.cluster.recorder().with(|world| world.find("Pod", "default", name).cloned());
        let mut pod = Value::clone(&stored.expect("it is stored"));
        change(&mut pod);
        let txn = Txn::new().put(format!("/registry/pods/default/{name}"), pod.to_string().into());
        self.cluster.store().txn(txn).await.expect("the store works");
    }

    async fn remove(&self, key: &str) {
        self.cluster.store().txn(Txn::new().delete(key)).await.expect("the store works");
    }
}
