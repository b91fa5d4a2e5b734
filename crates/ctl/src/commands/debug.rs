//! `gantryctl debug`: a container with tools beside those of a pod that runs, or a pod on a node with the node's files.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::ValueEnum;
use gantry_api::value::Value;
use gantry_client::{Patch, View};
use rand::seq::IndexedRandom;
use serde_json::json;

use super::{DryRun, create, live};
use crate::{output, pods, session::Session, submit};

const MANAGER: &str = "gantryctl-debug";
/// Letters of generated names, without those that make words.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// What the container may do beyond what every container may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// Look into other processes (SYS_PTRACE)
    General,
    /// Everything (privileged)
    Sysadmin,
}

/// Flags of `debug`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  gantryctl debug -it web-1 --image=busybox --target=nginx\n  gantryctl debug web-1 --image=tools -- tcpdump -i any\n  gantryctl debug -it node/node-1 --image=busybox -- chroot /host"
)]
pub struct Args {
    /// POD or node/NAME
    target_object: String,
    /// The container's image
    #[arg(long)]
    image: String,
    /// The container's name [default: debugger-…, or debugger on a node]
    #[arg(short, long)]
    container: Option<String>,
    /// See the processes of this container of the pod
    #[arg(long = "target", value_name = "CONTAINER")]
    processes_of: Option<String>,
    /// KEY=VALUE for the container's environment
    #[arg(long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// Always, IfNotPresent or Never
    #[arg(long, value_parser = ["Always", "IfNotPresent", "Never"])]
    image_pull_policy: Option<String>,
    /// What the container may do
    #[arg(long, value_enum, default_value = "general")]
    profile: Profile,
    /// Send standard input to the container
    #[arg(short = 'i', long)]
    stdin: bool,
    /// This terminal is the container's
    #[arg(short, long)]
    tty: bool,
    /// Join the container [default: with -i]
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    attach: Option<bool>,
    /// Print only what the container prints
    #[arg(short, long)]
    quiet: bool,
    /// How long the container may take until it runs
    #[arg(long, default_value = "5m", value_parser = gantry_common::daemon::duration)]
    pod_running_timeout: Duration,
    /// The command and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Five letters, different each time.
fn suffix() -> String {
    let mut random = rand::rng();
    (0..5).map(|_| char::from(*LETTERS.choose(&mut random).expect("there are letters"))).collect()
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        match self.target_object.split_once('/') {
            None => self.in_pod(session, &self.target_object).await,
            Some((kind, name)) => match session.resource(kind)?.kind.as_str() {
                "Pod" => self.in_pod(session, name).await,
                "Node" => self.on_node(session, name).await,
                other => bail!("a {other} cannot be debugged: name a pod (POD or pod/NAME) or a node (node/NAME)"),
            },
        }
    }

    async fn join(&self, session: &Session, pod: &str, container: &str) -> Result<()> {
        if !self.attach.unwrap_or(self.stdin) {
            return Ok(());
        }
        let wanted = live::Wanted {
            pod,
            container,
            stdin: self.stdin,
            tty: self.tty,
            quiet: self.quiet,
            patience: self.pod_running_timeout,
        };
        live::join(session, wanted).await
    }

    async fn in_pod(&self, session: &Session, name: &str) -> Result<()> {
        let api = session.api_of("", "pods");
        let pod = api.get(name, "", View::Full).await?;
        pods::check_not_completed(&pod, "debug")?;
        if let Some(wanted) = &self.processes_of
            && !pods::containers(&pod).any(|c| c == wanted)
        {
            let all: Vec<&str> = pods::containers(&pod).collect();
            bail!("--target={wanted}: pod {name} has no such container; it has: {}", all.join(", "));
        }
        let container = match &self.container {
            Some(taken) if pods::containers(&pod).any(|c| c == taken) => {
                bail!("pod {name} has a container {taken} already: choose another name with -c")
            }
            Some(wanted) => wanted.clone(),
            None => {
                let made = format!("debugger-{}", suffix());
                if !self.quiet {
                    output::note(&format!("Defaulting debug container name to {made}."));
                }
                made
            }
        };
        let patch = json!({"spec": {"ephemeralContainers": [self.ephemeral(&container)?]}});
        let params = submit::params(DryRun::None, MANAGER);
        let reply = api.patch(name, "ephemeralcontainers", &Patch::Strategic(patch), &params).await?;
        submit::warn(&reply.warnings);
        self.join(session, name, &container).await
    }

    /// The fields that both kinds of container have.
    fn common(&self, name: &str) -> Result<Value> {
        let mut container = json!({"name": name, "image": self.image, "terminationMessagePolicy": "File",
            "stdin": self.stdin, "tty": self.tty});
        if let Some(policy) = &self.image_pull_policy {
            container["imagePullPolicy"] = json!(policy);
        }
        if !self.command.is_empty() {
            container["command"] = json!(self.command);
        }
        let env = create::environment(&self.env)?;
        if !env.is_empty() {
            container["env"] = Value::Array(env);
        }
        if self.profile == Profile::Sysadmin {
            container["securityContext"] = json!({"privileged": true});
        }
        Ok(container)
    }

    fn ephemeral(&self, name: &str) -> Result<Value> {
        let mut container = self.common(name)?;
        if self.profile == Profile::General {
            container["securityContext"] = json!({"capabilities": {"add": ["SYS_PTRACE"]}});
        }
        if let Some(target) = &self.processes_of {
            container["targetContainerName"] = json!(target);
        }
        Ok(container)
    }

    async fn on_node(&self, session: &Session, node: &str) -> Result<()> {
        if self.processes_of.is_some() {
            bail!("--target names a container of a pod: a node has all processes in sight");
        }
        let nodes = session.client.dynamic(gantry_client::ResourceId::new("", "v1", "nodes"), "");
        nodes.get(node, "", View::Metadata).await?;
        let container = self.container.clone().unwrap_or_else(|| "debugger".to_owned());
        let pod = self.node_pod(node, &format!("node-debugger-{}-{}", shorten(node), suffix()), &container)?;
        let name = pods::name(&pod).to_owned();
        if !self.quiet {
            output::note(&format!("Creating debugging pod {name} with container {container} on node {node}."));
        }
        let params = submit::params(DryRun::None, MANAGER);
        let reply = session.api_of("", "pods").create("", "", &pod, &params).await?;
        submit::warn(&reply.warnings);
        self.join(session, &name, &container).await
    }

    fn node_pod(&self, node: &str, name: &str, container: &str) -> Result<Value> {
        let mut container = self.common(container)?;
        container["volumeMounts"] = json!([{"name": "host-root", "mountPath": "/host"}]);
        Ok(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "gantryctl-debug"}},
            "spec": {"nodeName": node, "hostPID": true, "hostNetwork": true, "hostIPC": true, "restartPolicy": "Never",
                "tolerations": [{"operator": "Exists"}], "containers": [container],
                "volumes": [{"name": "host-root", "hostPath": {"path": "/"}}]}}))
    }
}

/// A name that still leaves room in the name of a pod.
fn shorten(node: &str) -> &str {
    let end = node.char_indices().map(|(i, _)| i).nth(200).unwrap_or(node.len());
    node[..end].trim_end_matches(['-', '.'])
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(line: &str) -> Args {
        Line::try_parse_from(std::iter::once("debug").chain(line.split_whitespace())).expect(line).args
    }

    #[test]
    fn an_ephemeral_container_is_made_of_flags() {
        let made =
            args("-it p --image=busybox --target=c --env=A=b -- sh -c ls").ephemeral("d").expect("it can be made");
        assert_eq!(
            made,
            json!({"name": "d", "image": "busybox", "terminationMessagePolicy": "File", "stdin": true, "tty": true,
                "command": ["sh", "-c", "ls"], "env": [{"name": "A", "value": "b"}], "targetContainerName": "c",
                "securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}}})
        );
        let made = args("p --image=i --profile=sysadmin").ephemeral("d").expect("it can be made");
        assert_eq!((&made["securityContext"], &made["stdin"]), (&json!({"privileged": true}), &json!(false)));
    }

    #[test]
    fn a_pod_on_a_node_sees_the_node() {
        let pod = args("-it node/n1 --image=i -- sh").node_pod("n1", "x", "debugger").expect("it can be made");
        let spec = &pod["spec"];
        for field in ["hostPID", "hostNetwork", "hostIPC"] {
            assert_eq!(spec[field], true, "{field}");
        }
        assert_eq!((&spec["nodeName"], &spec["restartPolicy"]), (&json!("n1"), &json!("Never")));
        assert_eq!(spec["volumes"][0]["hostPath"]["path"], "/");
        assert_eq!(spec["containers"][0]["volumeMounts"][0]["mountPath"], "/host");
    }

    #[test]
    fn generated_names_are_labels() {
        let name = format!("debugger-{}", suffix());
        assert!(gantry_api::names::dns_label(&name).is_empty(), "{name}");
        assert_eq!(shorten("node-1"), "node-1");
        assert_eq!(shorten(&"a".repeat(250)).len(), 200);
    }
}
