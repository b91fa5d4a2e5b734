//! `/statusz` and `/flagz` (KEP-4827, KEP-4828): what a server is and how it was started, for people, or in a versioned form for
//! whoever asks for exactly that.

use std::collections::BTreeMap;

use clap::{ArgMatches, Command};
use gantry_api::Value;
use gantry_api::status::Status;
use gantry_common::version::{GIT_VERSION, KUBERNETES_MINOR};
use serde_json::json;

use super::answer::{self, Style};
use super::handler::Incoming;
use super::negotiate;
use crate::app::App;
use crate::pipeline::metadata::time;
use crate::server::Response;

const COMPONENT: &str = "kube-apiserver";
const GROUP: &str = "config.k8s.io";
/// The versions of the form that is not for people.
const VERSIONS: &[&str] = &["v1beta1", "v1alpha1"];
const WARNING: &str = "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility \
    guarantees and is for debugging purposes only.";
/// Where else to look.
const PATHS: &[&str] = &["/flagz", "/healthz", "/livez", "/metrics", "/readyz", "/statusz", "/version"];

/// The flags of a command by their names, as they were given or as their defaults say. The API server's flags name files with
/// secrets, but hold none.
#[must_use]
pub fn flags(command: &Command, given: &ArgMatches) -> BTreeMap<String, String> {
    let flags = command.get_arguments().filter_map(|flag| {
        let name = flag.get_long().filter(|name| !matches!(*name, "help" | "version"))?;
        let values = given.try_get_raw(flag.get_id().as_str()).ok().flatten().into_iter().flatten();
        let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
        Some((name.to_owned(), values.join(",")))
    });
    flags.collect()
}

/// `/statusz`.
///
/// # Errors
/// 406 for a form that it does not come in.
pub(crate) fn statusz(app: &App, request: &Incoming) -> Result<Response, Status> {
    let (born, now) = (app.born, app.clock.now());
    let up = now.as_second().saturating_sub(born.as_second());
    let (binary, emulated) = (GIT_VERSION.trim_start_matches('v'), format!("1.{KUBERNETES_MINOR}"));
    let Some(version) = version(request, "Statusz")? else {
        let (hours, minutes, seconds) = (up / 3600, up / 60 % 60, up % 60);
        let lines = [
            format!("Started: {}", born.strftime("%a %b %e %H:%M:%S UTC %Y")),
            format!("Up: {hours} hr {minutes:02} min {seconds:02} sec"),
            format!("Binary version: {binary}"),
            format!("Emulation version: {emulated}"),
            format!("Paths: {}", PATHS.join(" ")),
        ];
        return Ok(answer::text(200, format!("\n{COMPONENT} statusz\n{WARNING}\n\n{}\n", lines.join("\n"))));
    };
    let mut page = page("Statusz", version);
    page["startTime"] = time(born).into();
    page["uptimeSeconds"] = up.into();
    page["binaryVersion"] = binary.into();
    page["emulationVersion"] = emulated.into();
    page["paths"] = json!(PATHS);
    Ok(answer::value(200, &page, Style::default()))
}

/// `/flagz`.
///
/// # Errors
/// 406 for a form that it does not come in.
pub(crate) fn flagz(app: &App, request: &Incoming) -> Result<Response, Status> {
    let flags = &app.config.flags;
    let Some(version) = version(request, "Flagz")? else {
        let lines: String = flags.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        return Ok(answer::text(200, format!("\n{COMPONENT} flags\n{WARNING}\n\n{lines}")));
    };
    let mut page = page("Flagz", version);
    page["flags"] = json!(flags);
    Ok(answer::value(200, &page, Style::default()))
}

fn page(kind: &str, version: &str) -> Value {
    json!({"kind": kind, "apiVersion": format!("{GROUP}/{version}"), "metadata": {"name": COMPONENT}})
}

/// The version that the client wants the page in; nothing: as text.
fn version(request: &Incoming, kind: &str) -> Result<Option<&'static str>, Status> {
    let accept = request.headers.get(http::header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    negotiate::page(accept, GROUP, VERSIONS, kind)
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn flags_are_told_with_their_defaults() {
        let flag = |name: &'static str| Arg::new(name).long(name);
        let command = Command::new("x").args([
            flag("a").value_delimiter(',').num_args(1..),
            flag("b").default_value("c"),
            flag("d"),
            flag("e").action(clap::ArgAction::SetTrue),
        ]);
        let given = command.clone().get_matches_from(["x", "--a=1,2", "--e"]);
        let told: Vec<_> = flags(&command, &given).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(told, ["a=1,2", "b=c", "d=", "e=true"]);
    }
}
