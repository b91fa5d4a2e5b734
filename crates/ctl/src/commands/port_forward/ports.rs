//! What `[LOCAL:]REMOTE` means for a pod, and for a service in front of it. Pure.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use gantry_api::value::{Value, get, i64_at, list_at, str_at};

use super::LOCALHOST;
use crate::pods;

/// A local port (0 = any) and the pod's port that it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) local: u16,
    pub(super) remote: u16,
}

/// The addresses of `--address`, and whether each must be had.
pub(super) fn host(text: &str) -> Result<Vec<(IpAddr, bool)>> {
    if text == "localhost" {
        return Ok(LOCALHOST.to_vec());
    }
    let address = text.parse().with_context(|| format!("--address={text} is neither localhost nor an IP address"))?;
    Ok(vec![(address, true)])
}

/// Local part, if there is one, and remote part.
fn split(text: &str) -> Result<(Option<&str>, &str)> {
    let (local, remote) = match text.split_once(':') {
        Some((local, remote)) => (Some(local), remote),
        None => (None, text),
    };
    if remote.is_empty() || remote.contains(':') {
        bail!("invalid port format {text:?}: write [LOCAL:]REMOTE, for example 8080:80, :80 or 80");
    }
    Ok((local, remote))
}

fn number(text: &str, of: &str) -> Result<u16> {
    match text.parse() {
        Ok(0) | Err(_) => bail!("{of} {text:?} is no port number between 1 and 65535"),
        Ok(number) => Ok(number),
    }
}

fn local(part: Option<&str>, otherwise: u16) -> Result<u16> {
    match part {
        Some("" | "0") => Ok(0),
        Some(text) => number(text, "the local port"),
        None => Ok(otherwise),
    }
}

fn is_name(text: &str) -> bool {
    !text.bytes().all(|b| b.is_ascii_digit())
}

/// A port of a pod, by number or by the name that a container gives it.
pub(super) fn of_pod(text: &str, pod: &Value) -> Result<Pair> {
    let (local_part, remote) = split(text)?;
    let remote = if is_name(remote) { named(pod, remote)? } else { number(remote, "the remote port")? };
    Ok(Pair { local: local(local_part, remote)?, remote })
}

fn named(pod: &Value, wanted: &str) -> Result<u16> {
    let ports = || list_at(pod, "spec.containers").iter().flat_map(|c| list_at(c, "ports"));
    match ports().find(|p| str_at(p, "name") == Some(wanted)) {
        Some(port) => tcp(port, i64_at(port, "containerPort"), wanted),
        None => {
            let names: Vec<&str> = ports().filter_map(|p| str_at(p, "name")).collect();
            let known = if names.is_empty() { "it names no ports".to_owned() } else { names.join(", ") };
            bail!("Pod '{}' does not have a named port '{wanted}' ({known})", pods::name(pod))
        }
    }
}

fn tcp(port: &Value, number: Option<i64>, called: &str) -> Result<u16> {
    let protocol = str_at(port, "protocol").unwrap_or("TCP");
    if protocol != "TCP" {
        bail!("{protocol} protocol is not supported for {called}: only TCP ports can be forwarded");
    }
    number.and_then(|n| u16::try_from(n).ok()).with_context(|| format!("the port {called} has no number"))
}

/// A port of a service, by number or name, and the port of `pod` that it stands for.
pub(super) fn of_service(text: &str, service: &Value, pod: &Value) -> Result<Pair> {
    let (local_part, wanted) = split(text)?;
    let name = pods::name(service);
    let found = list_at(service, "spec.ports").iter().find(|p| {
        if is_name(wanted) {
            str_at(p, "name") == Some(wanted)
        } else {
            i64_at(p, "port").is_some_and(|n| n.to_string() == wanted)
        }
    });
    let Some(port) = found else {
        let all = list_at(service, "spec.ports").iter().filter_map(|p| i64_at(p, "port")).map(|n| n.to_string());
        let what = if is_name(wanted) { format!("named port '{wanted}'") } else { format!("service port {wanted}") };
        bail!("Service '{name}' does not have a {what} (it has: {})", all.collect::<Vec<_>>().join(", "))
    };
    let service_port = tcp(port, i64_at(port, "port"), wanted)?;
    let is_headless = str_at(service, "spec.clusterIP") == Some("None");
    let remote = match get(port, "targetPort") {
        Some(Value::String(target)) if is_name(target) => named(pod, target)?,
        Some(Value::String(target)) => number(target, "the target port")?,
        Some(Value::Number(target)) if !is_headless && target.as_i64() != Some(0) => {
            tcp(port, target.as_i64(), wanted)?
        }
        _ => service_port,
    };
    Ok(Pair { local: local(local_part, service_port)?, remote })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Value {
        json!({"metadata": {"name": "p"}, "spec": {"containers": [
            {"name": "a", "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]},
            {"name": "b", "ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"}]}]}})
    }

    fn service(cluster_ip: &str) -> Value {
        json!({"metadata": {"name": "s"}, "spec": {"clusterIP": cluster_ip, "ports": [
            {"name": "web", "port": 80, "targetPort": "http", "protocol": "TCP"},
            {"name": "raw", "port": 81, "targetPort": 9090},
            {"name": "same", "port": 82},
            {"name": "dns", "port": 53, "targetPort": 53, "protocol": "UDP"}]}})
    }

    #[test]
    fn ports_of_a_pod() {
        let check = |text: &str, local: u16, remote: u16| {
            assert_eq!(of_pod(text, &pod()).expect(text), Pair { local, remote }, "{text}");
        };
        check("80", 80, 80);
        check("8888:80", 8888, 80);
        check(":80", 0, 80);
        check("0:80", 0, 80);
        check("http", 8080, 8080);
        check("80:http", 80, 8080);
        check(":http", 0, 8080);
    }

    #[test]
    fn ports_of_a_service_are_those_of_its_pod() {
        let check = |text: &str, local: u16, remote: u16| {
            assert_eq!(of_service(text, &service("10.0.0.1"), &pod()).expect(text), Pair { local, remote }, "{text}");
        };
        check("80", 80, 8080);
        check("web", 80, 8080);
        check("1234:web", 1234, 8080);
        check(":81", 0, 9090);
        check("82", 82, 82);
        let headless = of_service("81", &service("None"), &pod()).expect("a headless service");
        assert_eq!(headless, Pair { local: 81, remote: 81 });
    }

    #[test]
    fn what_cannot_be_forwarded_is_explained() {
        let check = |result: Result<Pair>, part: &str| {
            let error = result.expect_err(part).to_string();
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        };
        check(of_pod("ftp", &pod()), "Pod 'p' does not have a named port 'ftp' (http, dns)");
        check(of_pod("dns", &pod()), "UDP protocol is not supported for dns");
        check(of_pod("", &pod()), "write [LOCAL:]REMOTE");
        check(of_pod("80:", &pod()), "write [LOCAL:]REMOTE");
        check(of_pod("1:2:3", &pod()), "write [LOCAL:]REMOTE");
        check(of_pod("x:80", &pod()), "the local port \"x\"");
        check(of_pod("70000", &pod()), "the remote port \"70000\"");
        check(of_pod("0", &pod()), "the remote port \"0\"");
        check(of_service("99", &service("10.0.0.1"), &pod()), "Service 's' does not have a service port 99");
        check(of_service("ftp", &service("10.0.0.1"), &pod()), "Service 's' does not have a named port 'ftp'");
        check(of_service("53", &service("10.0.0.1"), &pod()), "UDP protocol is not supported for 53");
    }

    #[test]
    fn addresses_to_listen_on() {
        assert_eq!(host("localhost").expect("both").len(), 2);
        assert_eq!(host("0.0.0.0").expect("one"), [("0.0.0.0".parse().expect("an address"), true)]);
        assert!(host("example.org").is_err());
    }
}
