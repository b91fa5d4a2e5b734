//! Start and stop hooks.

use std::{net::Ipv4Addr, time::Duration};

use k8s_openapi::api::core::v1::{Container as Spec, LifecycleHandler};

use super::Deps;
use crate::probe::{Target, http_get};

/// Runs a hook; it is given up after `limit`.
pub(super) async fn run(
    deps: &Deps,
    spec: &Spec,
    id: &str,
    ip: Option<Ipv4Addr>,
    hook: &LifecycleHandler,
    limit: Duration,
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let command = exec.command.clone().unwrap_or_default();
        let done = deps.commands.run(id, &command, limit).await;
        let done = done.map_err(|error| gantry_common::error_chain(&error))?;
        let text = || format!("command '{}' exited with {}: {}", command.join(" "), done.code, done.output.trim_end());
        return if done.code == 0 { Ok(()) } else { Err(text()) };
    }
    if let Some(get) = &hook.http_get {
        let target = Target { commands: &deps.commands, id, spec, ip };
        let status = http_get(&target, get, limit, "kube-lifecycle/1.36").await?;
        return if status < 400 { Ok(()) } else { Err(format!("HTTP hook answered with statuscode: {status}")) };
    }
    if let Some(sleep) = &hook.sleep {
        let wanted = Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0));
        tokio::time::sleep(wanted.min(limit)).await;
    }
    Ok(())
}
