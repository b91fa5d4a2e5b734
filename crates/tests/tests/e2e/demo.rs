//! The demo, driven with kubectl as found on the machine.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    time::Duration,
};

use gantry_tests::{
    cluster::{Cluster, SOON, cluster},
    wait::{ensure, eventually},
};

#[test]
fn e2e_page_counts_and_pods_take_turns() {
    let Some(c) = cluster() else { return };
    c.demo();
    let mut pods = BTreeSet::new();
    let (_, mut last) = c.page(1).expect("the page is there");
    for n in 0..60 {
        let (pod, count) = c.page(1 + n % 2).expect("the page is there");
        assert!(count > last, "the counter went from {last} to {count}");
        last = count;
        pods.insert(pod);
    }
    assert_eq!(pods.len(), 3, "60 requests reach each of 3 pods, but for one chance in 10 billion: {pods:?}");
}

/// Writes that the API server has answered, without those of leases.
fn writes(c: &Cluster) -> u64 {
    let metrics = c.ok("kubectl get --raw /metrics");
    let is_write = |line: &&str| {
        ["POST", "PUT", "PATCH", "DELETE", "APPLY"].iter().any(|verb| line.contains(&format!("verb=\"{verb}\"")))
            && !line.contains("group=\"coordination.k8s.io\"")
    };
    let counts = metrics.lines().filter(|line| line.starts_with("apiserver_request_total")).filter(is_write);
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[test]
fn e2e_a_cluster_at_rest_writes_next_to_nothing() {
    const REST: Duration = Duration::from_secs(3);
    let Some(c) = cluster() else { return };
    c.demo();
    // Heartbeats and what an earlier test has left to do; whoever writes the same again and again does it thousands of times.
    eventually("the cluster comes to rest", SOON, || {
        let before = writes(&c);
        ensure(before > 0, || "no write is counted".to_owned())?;
        std::thread::sleep(REST);
        let more = writes(&c) - before;
        ensure(more < 10, || format!("{more} writes in {} s", REST.as_secs()))
    });
}

#[test]
fn e2e_get_and_describe_show_the_demo() {
    let Some(c) = cluster() else { return };
    c.demo();
    let check = |what: &str, header: &[&str]| {
        let shown = c.ok(&format!("kubectl get {what}"));
        let first: Vec<&str> =
            shown.lines().next().unwrap_or_default().split("  ").map(str::trim).filter(|w| !w.is_empty()).collect();
        assert_eq!(first, header, "{shown}");
    };
    check("deployments", &["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]);
    check("pods", &["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
    check("services", &["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]);
    check("replicasets", &["NAME", "DESIRED", "CURRENT", "READY", "AGE"]);
    check("nodes", &["NAME", "STATUS", "ROLES", "AGE", "VERSION"]);
    check("endpointslices", &["NAME", "ADDRESSTYPE", "PORTS", "ENDPOINTS", "AGE"]);
    let pod = c.ready_pods("default", "app=web").expect("pods are listed").remove(0);
    let described = c.ok(&format!("kubectl describe pod {pod}"));
    for part in
        ["Node:", "Status:", "Running", "Container ID:", "docker://", "REDIS_HOST:", "Events:", "Scheduled", "Started"]
    {
        assert!(described.contains(part), "{part} is not in:\n{described}");
    }
    let described = c.ok("kubectl describe service web");
    assert!(described.contains("NodePort:") && described.contains("30080/TCP"), "{described}");
}

#[test]
fn e2e_logs_follow() {
    let Some(c) = cluster() else { return };
    c.demo();
    for tool in ["kubectl", "gantryctl"] {
        let pod = c.ready_pods("default", "app=web").expect("pods are listed").remove(0);
        let logs = c.ok(&format!("{tool} logs {pod}"));
        assert!(logs.contains("serving on port 8080"), "{tool}: {logs}");
        let mut child = c.follow(&format!("{tool} logs -f --tail=1 {pod}"));
        let lines = BufReader::new(child.stdout.take().expect("its output was asked for")).lines();
        let (sender, seen) = std::sync::mpsc::sync_channel(64);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        seen.recv_timeout(SOON).expect("the last line is there at once");
        eventually("a new line shows up", SOON, || {
            c.page(1)?;
            let line = seen.recv_timeout(Duration::from_secs(1)).map_err(|e| e.to_string())?;
            ensure(line.contains("GET / "), || line.clone())
        });
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        drop(seen);
        reader.join().expect("it ends");
    }
}

#[test]
fn e2e_scale_up_and_down() {
    let Some(c) = cluster() else { return };
    c.demo();
    c.ok("kubectl scale deployment web --replicas=5");
    c.ok("kubectl rollout status deployment/web --timeout=90s");
    c.wait_ready("default", "app=web", 5, SOON);
    wait_endpoints(&c, 5);
    c.ok("kubectl scale deployment web --replicas=3");
    c.wait_ready("default", "app=web", 3, SOON);
    wait_endpoints(&c, 3);
}

fn wait_endpoints(c: &Cluster, count: usize) {
    eventually(&format!("{count} endpoints"), SOON, || {
        let slices = c.get("endpointslices --selector=kubernetes.io/service-name=web")?;
        let slices = slices["items"].as_array().ok_or("no items")?;
        let ready: usize = slices
            .iter()
            .flat_map(|s| s["endpoints"].as_array().cloned().unwrap_or_default())
            .filter(|e| e["conditions"]["ready"] == true)
            .count();
        ensure(ready == count, || format!("{ready} endpoints"))
    });
}

fn image(c: &Cluster) -> String {
    c.ok("kubectl get deployment web --output=jsonpath={.spec.template.spec.containers[0].image}")
}

#[test]
fn e2e_rollout_and_undo() {
    let Some(c) = cluster() else { return };
    c.demo();
    let before = image(&c);
    c.ok("kubectl set image deployment/web web=gantry-demo-web:1.1");
    c.ok("kubectl rollout status deployment/web --timeout=120s");
    c.page(1).expect("the page is there after the rollout");
    assert_eq!(image(&c), "gantry-demo-web:1.1");
    let history = c.ok("kubectl rollout history deployment/web");
    assert!(history.lines().filter(|l| l.starts_with(|c: char| c.is_ascii_digit())).count() >= 2, "{history}");
    c.ok("kubectl rollout undo deployment/web");
    c.ok("kubectl rollout status deployment/web --timeout=120s");
    assert_eq!(image(&c), before);
    c.ok("gantryctl rollout restart deployment/web");
    c.ok("gantryctl rollout status deployment/web");
    c.wait_ready("default", "app=web", 3, SOON);
    c.page(1).expect("the page is there after the restart");
}

/// Debian's kubectl speaks legacy discovery, validates by OpenAPI v2 and knows nothing of newer fields.
#[test]
fn e2e_old_kubectl_drives_the_demo() {
    let Some(c) = cluster() else { return };
    c.demo();
    let [_, old] = c.kubectls();
    let run = |args: &str| c.ok(&format!("{old} {args}"));
    let applied = run("apply --filename deploy/demo");
    assert!(applied.lines().all(|l| l.ends_with("unchanged") || l.ends_with("configured")), "{applied}");
    let shown = run("get deployments,replicasets,pods,services,endpointslices,nodes --output=wide");
    for part in ["deployment.apps/web", "service/web", "30080", "pod/redis-", "node/node-2"] {
        assert!(shown.contains(part), "{part} is not in:\n{shown}");
    }
    let pod = c.ready_pods("default", "app=web").expect("pods are listed").remove(0);
    assert!(run(&format!("describe pod {pod}")).contains("Scheduled"));
    assert!(run("explain deployment.spec.replicas").contains("<integer>"));
    let mut follow = c.follow(&format!("{old} logs -f {pod}"));
    let mut lines = BufReader::new(follow.stdout.take().expect("its output was asked for")).lines();
    assert!(lines.next().is_some_and(|l| l.is_ok_and(|l| l.contains("serving on port 8080"))));
    follow.kill().expect("it runs");
    follow.wait().expect("it ends");
    run("scale deployment web --replicas=4");
    run("rollout status deployment/web --timeout=90s");
    c.wait_ready("default", "app=web", 4, SOON);
    run("scale deployment web --replicas=3");
    let before = image(&c);
    run("set image deployment/web web=gantry-demo-web:1.1");
    run("rollout status deployment/web --timeout=120s");
    assert_eq!(image(&c), "gantry-demo-web:1.1");
    run("rollout undo deployment/web");
    run("rollout status deployment/web --timeout=120s");
    assert_eq!(image(&c), before);
    c.page(1).expect("the page is there");
    run("delete --filename deploy/demo --timeout=60s");
    run("apply --filename deploy/demo");
    run("rollout status deployment/web --timeout=120s");
}

#[test]
fn e2e_delete_the_demo_and_its_pods_go() {
    let Some(c) = cluster() else { return };
    c.demo();
    c.ok("kubectl delete --filename deploy/demo --timeout=60s");
    eventually("no pods are left", SOON, || {
        let pods = c.get("pods --selector=app")?;
        ensure(pods["items"].as_array().is_some_and(Vec::is_empty), || pods["items"].to_string())
    });
    eventually("the node port is closed", SOON, || ensure(c.page(1).is_err(), || "it answers".to_owned()));
}
