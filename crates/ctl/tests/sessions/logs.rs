//! `logs` of several containers.

use serde_json::json;

use super::{World, pod, text};

async fn three_logs() -> World {
    let world = World::start().await;
    let state = &world.fake.state;
    state.add("pods", pod("a", json!({"tier": "t"}), &["one", "two"]));
    state.add("pods", pod("b", json!({"tier": "t"}), &["one"]));
    state.add_log("a", "one", &["a1 be", "gin\na1 sec", "ond\n"]);
    state.add_log("a", "two", &["a2 only"]);
    state.add_log("b", "one", &["b1 x", "\nb1", " y\n"]);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_of_selected_pods_come_one_after_another() {
    let world = three_logs().await;
    let all = world.ok(&["logs", "-l", "tier=t", "--all-containers", "--prefix"]);
    assert_eq!(
        all,
        "[pod/a/one] a1 begin\n[pod/a/one] a1 second\n[pod/a/two] a2 only\n[pod/b/one] b1 x\n[pod/b/one] b1 y\n"
    );
    // Without a container the first of each pod, and the user is told.
    let output = world.run(&["logs", "-l", "tier=t"]);
    assert_eq!(text(&output.stdout), "a1 begin\na1 second\nb1 x\nb1 y\n");
    assert_eq!(text(&output.stderr), "Defaulted container \"one\" out of: one, two\n");
    // One log alone stays as it is.
    assert_eq!(world.ok(&["logs", "a", "two"]), "a2 only");
}

#[tokio::test(flavor = "multi_thread")]
async fn followed_logs_are_never_mixed_within_a_line() {
    let world = three_logs().await;
    // Lines in many pieces, of two logs at once.
    let pieces: Vec<String> = (0..200).flat_map(|n| [format!("{n} "), "mid ".to_owned(), "end\n".to_owned()]).collect();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    world.fake.state.add_log("a", "one", &pieces);
    world.fake.state.add_log("b", "one", &pieces);
    let all = world.ok(&["logs", "-f", "-l", "tier=t", "--prefix", "-c", "one"]);
    let mut seen = [0, 0];
    for line in all.lines() {
        let (label, rest) = line.split_once("] ").unwrap_or_else(|| panic!("{line:?}"));
        let which = usize::from(label == "[pod/b/one");
        assert_eq!(rest, format!("{} mid end", seen[which]), "{line:?}");
        seen[which] += 1;
    }
    assert_eq!(seen, [200, 200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_errors_of_logs() {
    let world = three_logs().await;
    let check = |args: &[&str], part: &str| {
        let said = world.fails(1, args);
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    };
    let follow = ["logs", "-f", "-l", "tier=t", "--all-containers"];
    check(
        &[&follow[..], &["--max-log-requests=2"]].concat(),
        "you are attempting to follow 3 log streams, but maximum",
    );
    assert_eq!(world.ok(&[&follow[..], &["--max-log-requests=3"]].concat()).lines().count(), 5);
    check(&["logs"], "expected POD or TYPE/NAME");
    check(&["logs", "a", "-l", "x=y"], "not both");
    check(&["logs", "a", "one", "--all-containers"], "should not be specified with container name");
    check(&["logs", "web"], "is waiting to start");
    world.fake.state.add("pods", pod("c", json!({"tier": "t"}), &["one"]));
    check(&["logs", "-l", "tier=t", "-c", "one"], "in pod \"c\" is waiting to start");
    let output = world.run(&["logs", "-l", "tier=t", "-c", "one", "--ignore-errors"]);
    assert!(output.status.success());
    assert!(text(&output.stderr).contains("the log of [pod/c/one]: "), "{}", text(&output.stderr));
    assert!(text(&output.stdout).ends_with("b1 y\n"));
    let said = text(&world.run(&["logs", "-l", "tier=none"]).stderr);
    assert_eq!(said, "No resources found in default namespace.\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_pods_of_a_deployment_or_one_of_them() {
    let world = three_logs().await;
    world.fake.state.add(
        "deployments",
        json!({"metadata": {"name": "d", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"tier": "t"}}}}),
    );
    let output = world.run(&["logs", "deploy/d", "-c", "one"]);
    assert_eq!(text(&output.stdout), "a1 begin\na1 second\n");
    assert!(text(&output.stderr).contains("Found 2 pods, using pod/a"), "{}", text(&output.stderr));
    let all = world.ok(&["logs", "deploy/d", "-c", "one", "--all-pods"]);
    assert!(all.starts_with("[pod/a/one] a1 begin\n") && all.ends_with("[pod/b/one] b1 y\n"), "{all}");
}
