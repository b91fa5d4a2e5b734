//! `cargo xtask up` and `down`: the README's first command.

use std::path::PathBuf;

use anyhow::Context;

use crate::{demo, images, packages, sh};

/// What was asked for: our own flags, and those that gantryctl gets.
struct Options {
    demo: bool,
    dev: bool,
    passed_on: Vec<String>,
}

fn options(args: &[String]) -> Options {
    let ours = ["--no-demo", "--dev", "--"];
    Options {
        demo: !args.iter().any(|a| a == "--no-demo"),
        dev: args.iter().any(|a| a == "--dev"),
        passed_on: args.iter().filter(|a| !ours.contains(&a.as_str())).cloned().collect(),
    }
}

impl Options {
    fn gantryctl(&self) -> PathBuf {
        sh::target().join(if self.dev { "debug" } else { "release" }).join("gantryctl")
    }

    /// The flags that name the cluster, for the other verbs of gantryctl.
    fn cluster(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut args = self.passed_on.iter();
        while let Some(arg) = args.next() {
            if arg == "--name" || arg == "--data-dir" {
                found.push(arg.clone());
                found.extend(args.next().cloned());
            } else if arg.starts_with("--name=") || arg.starts_with("--data-dir=") {
                found.push(arg.clone());
            }
        }
        found
    }
}

pub(crate) fn up(args: &[String]) -> anyhow::Result<()> {
    let options = options(args);
    let timer = sh::Timer::start();
    println!("[1/5] What this machine needs");
    packages::install_for_running()?;
    build(options.dev)?;
    println!("[3/5] Cluster");
    let gantryctl = options.gantryctl();
    let program = gantryctl.to_string_lossy();
    let passed_on: Vec<&str> = options.passed_on.iter().map(String::as_str).collect();
    sh::run(&mut sh::as_root(&program, &[&["up"], passed_on.as_slice()].concat()))?;
    let cluster = options.cluster();
    let which: Vec<&str> = cluster.iter().map(String::as_str).collect();
    let kubeconfig = sh::output(&mut sh::as_root(&program, &[&["kubeconfig", "--path"], which.as_slice()].concat()))?;
    let kubeconfig = kubeconfig.trim();
    let mut url = None;
    if options.demo {
        println!("[4/5] Demo images, made from Debian packages and pushed to the cluster's registry");
        let registry = images::registry_of(kubeconfig)?;
        images::push(&images::make()?, &registry)?;
        println!("[5/5] Demo");
        url = Some(demo::deploy(kubeconfig)?);
    } else {
        println!("[4/5] and [5/5] left out: --no-demo");
    }
    println!("\nDone in {:.0} s.\n", timer.seconds());
    tell(&program, kubeconfig, url.as_deref(), options.cluster().is_empty());
    Ok(())
}

fn build(dev: bool) -> anyhow::Result<()> {
    let how_long = if dev { "about 4 minutes" } else { "about 7 minutes" };
    println!("[2/5] Building Gantry (the first time {how_long} on 2 cores, later seconds)");
    let timer = sh::Timer::start();
    let profile: &[&str] = if dev { &[] } else { &["--release"] };
    sh::run(&mut sh::cargo(&[&["build"], profile].concat())).context("Gantry does not build")?;
    println!("  ok  built ({:.0} s)", timer.seconds());
    Ok(())
}

/// How to go on.
fn tell(gantryctl: &str, kubeconfig: &str, url: Option<&str>, is_default: bool) {
    if let Some(url) = url {
        println!("The demo: {url}");
        println!("  curl {url}                    (again and again: the pods take turns, the counter grows)");
    }
    println!("kubectl:");
    println!("  export KUBECONFIG={kubeconfig}");
    println!("  kubectl get nodes,pods,services -o wide");
    println!("  kubectl scale deployment web --replicas=5 && kubectl rollout status deployment web");
    println!("  kubectl delete pod -l app=web     (they come back)");
    println!("gantryctl:");
    println!(
        "  export PATH={}:$PATH",
        std::path::Path::new(gantryctl).parent().unwrap_or_else(|| ".".as_ref()).display()
    );
    println!("  gantryctl get pods -A -o wide; gantryctl logs -f deployment/web; gantryctl status");
    println!("To remove all of it:");
    println!("  cargo xtask down{}", if is_default { "" } else { " with the same --name and --data-dir" });
}

pub(crate) fn down(args: &[String]) -> anyhow::Result<()> {
    let mut options = options(args);
    if !options.gantryctl().exists() {
        options.dev = true;
    }
    if !options.gantryctl().exists() {
        // Removing needs the knowledge that is in gantryctl; without it nothing was brought up from here, or it was cleaned.
        options.dev = false;
        packages::install_for_running()?;
        build(false)?;
    }
    let gantryctl = options.gantryctl();
    let passed_on: Vec<&str> = options.passed_on.iter().map(String::as_str).collect();
    sh::run(&mut sh::as_root(&gantryctl.to_string_lossy(), &[&["down"], passed_on.as_slice()].concat()))
}
