//! Deploying the demo with kubectl, as a user would.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, bail};

use crate::sh;

/// How long the demo may take until its page is there, in seconds.
const LIMIT_SECONDS: f64 = 180.0;

/// Applies the demo, waits for it, and gives its URL.
pub(crate) fn deploy(kubeconfig: &str) -> anyhow::Result<String> {
    let timer = sh::Timer::start();
    let folder = sh::root().join("deploy/demo");
    let folder = folder.to_string_lossy();
    let mut apply = kubectl(kubeconfig, &["apply", "--filename", &folder]);
    if is_old()? {
        // kubectl before 1.25 validates against an OpenAPI document that the server no longer has.
        apply.arg("--validate=false");
    }
    sh::run(&mut apply).context("the demo's objects are refused")?;
    for deployment in ["deployment/redis", "deployment/web"] {
        let limit = format!("--timeout={LIMIT_SECONDS}s");
        sh::run_quietly(deployment, &mut kubectl(kubeconfig, &["rollout", "status", deployment, &limit]))?;
    }
    let get = |what: &str, path: &str| {
        sh::output(&mut kubectl(kubeconfig, &["get", what, "--output", &format!("jsonpath={path}")]))
    };
    let address = get("nodes", "{.items[0].status.addresses[?(@.type==\"InternalIP\")].address}")?;
    let port = get("service/web", "{.spec.ports[0].nodePort}")?;
    let at: SocketAddr = format!("{address}:{port}").parse().context("the demo has no address")?;
    let page = loop {
        match page(at) {
            Ok(page) => break page,
            Err(error) if timer.seconds() > LIMIT_SECONDS => return Err(error).context("the demo does not answer"),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    };
    println!("  ok  the demo answers ({:.0} s): {page}", timer.seconds());
    Ok(format!("http://{at}/"))
}

fn kubectl(kubeconfig: &str, args: &[&str]) -> std::process::Command {
    sh::as_root("kubectl", &[&["--kubeconfig", kubeconfig], args].concat())
}

fn is_old() -> anyhow::Result<bool> {
    let version = sh::output(&mut sh::command("kubectl", &["version", "--client", "--output=json"]))?;
    let minor: String =
        version.split("\"minor\": \"").nth(1).unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
    Ok(minor.parse().is_ok_and(|minor: u32| minor < 25))
}

/// What the page says, in one line.
fn page(at: SocketAddr) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect_timeout(&at, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(format!("GET / HTTP/1.0\r\nHost: {at}\r\n\r\n").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let Some((head, body)) = text.split_once("\r\n\r\n") else { bail!("the answer is no HTTP") };
    if !head.contains(" 200 ") {
        bail!("{}", body.trim());
    }
    let plain: String = body.split('<').filter_map(|p| p.split_once('>')).map(|(_, text)| text).collect();
    Ok(plain.split_whitespace().skip_while(|w| *w != "Answered").collect::<Vec<_>>().join(" "))
}
