//! The control plane under random actions and faults, from seeds. Everything runs in this process.
//!
//! `GANTRY_SIM_SEEDS=100..200` (or a single number) runs other seeds than the usual few; each prints its number first.

use std::ops::Range;
use std::time::Duration;

use gantry_testkit::cluster::{Builder, Cluster, Role};
use gantry_testkit::driver::{Driver, plan};
use gantry_testkit::node::Capacity;
use gantry_testkit::object;
use serde_json::{Value, json};

/// Actions per seed.
const ACTIONS: usize = 30;
const NODES: usize = 3;
/// What a single wait may take.
const LIMIT: Duration = Duration::from_secs(30);

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("GANTRY_SIM_SEEDS") else { return 1..4 };
    let number = |text: &str| text.trim().parse::<u64>().expect("GANTRY_SIM_SEEDS is a number or from..to");
    match text.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => number(&text)..number(&text) + 1,
    }
}

async fn run(seed: u64) -> anyhow::Result<()> {
    let cluster = Builder::default().nodes(NODES).instances(2).seed(seed).start().await?;
    let mut driver = Driver::new(cluster);
    for (number, action) in plan(seed, ACTIONS, NODES).iter().enumerate() {
        println!("  {number}: {action:?}");
        driver.act(action).await?;
        driver.pace((seed * 31 + number as u64 * 17) % 40).await;
    }
    driver.clear().await
}

#[test]
fn random_actions_and_faults_break_no_invariant() {
    for seed in seeds() {
        println!("seed {seed} (again: GANTRY_SIM_SEEDS={seed})");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let result = runtime.expect("a runtime").block_on(run(seed));
        if let Err(error) = result {
            panic!("seed {seed}: {error:#}");
        }
    }
}

/// Waits until `look` finds something in the stored objects.
async fn until<T>(cluster: &Cluster, what: &str, look: impl Fn(&gantry_testkit::history::World) -> Option<T>) -> T {
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
fn refusals(world: &gantry_testkit::history::World, pod: &str) -> i64 {
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
    use gantry_store::{Store, Txn};

    let cluster = Builder::default().nodes(1).start().await.expect("it starts");
    let store = cluster.store();
    let found = async |name: &str| {
        let seen = async {
            while cluster.recorder().violations().iter().all(|v| v.invariant != name) {
                cluster.recorder().revisions(1).await;
            }
        };
        tokio::time::timeout(LIMIT, seen).await.unwrap_or_else(|_| panic!("not found: {name}"));
    };
    create(&cluster, &pod("first", "1500m")).await;
    create(&cluster, &pod("second", "1500m")).await;
    until(&cluster, "one pod waits", |world| (refusals(world, "first") + refusals(world, "second") > 0).then_some(()))
        .await;
    let waiting = cluster.recorder().with(|world| {
        let waits = |p: &&object::Object| object::text(p, "spec.nodeName").is_empty();
        world.all("Pod").find(waits).map(|p| object::text(p, "metadata.name").to_owned()).expect("one waits")
    });
    let pods = cluster.admin("user").dynamic(gantry_client::ResourceId::new("", "v1", "pods"), "default");
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": waiting}, "target": {"kind": "Node", "name": "n0"}});
    let params = gantry_client::WriteParams::default();
    pods.create(&waiting, "binding", &binding, &params).await.expect("the API server does not count");
    found("no pod is bound to a node without room").await;

    let address = cluster.recorder().with(|world| {
        world
            .objects
            .keys()
            .find(|k| k.starts_with("/registry/ipaddresses/"))
            .cloned()
            .expect("default/kubernetes has one")
    });
    store.txn(Txn::new().delete(address)).await.expect("the store works");
    // The checker looks at addresses when a service or an address changes; the deletion is such a change.
    found("cluster IPs and node ports are unique and do not leak").await;
    store.txn(Txn::new().delete("/registry/namespaces/default")).await.expect("the store works");
    found("a namespace that is gone is empty").await;
}
