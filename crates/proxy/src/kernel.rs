//! The kernel behind an interface: what it holds, and transactions on it.

use std::process::Stdio;

use async_trait::async_trait;
use ipnet::Ipv4Net;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::element::Elements;
use crate::listing;
use crate::rules::{self, TABLE};

/// Why the kernel could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// nft could not be run at all.
    #[error("cannot run {program}: is the Debian package that holds it installed?")]
    Run {
        /// Which program.
        program: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// nft refused.
    #[error("nft refused to {doing}: {message}")]
    Refused {
        /// What was asked of it.
        doing: &'static str,
        /// What it said.
        message: String,
    },
    /// nft's listing cannot be understood.
    #[error("cannot read the listing of table {TABLE}")]
    Listing(#[from] listing::Error),
}

/// What is in the kernel.
#[derive(Debug, PartialEq, Eq)]
pub enum Present {
    /// No table, or one that another version or another hand made.
    Foreign,
    /// Our table, with these elements.
    Ours(Elements),
}

/// Reads and writes the proxy's table.
#[async_trait]
pub trait Kernel: Send + Sync {
    /// Lists the table.
    async fn inspect(&self, cluster_cidr: Option<Ipv4Net>) -> Result<Present, Error>;
    /// Carries out a script as one transaction.
    async fn apply(&self, script: String) -> Result<(), Error>;
}

/// The network namespace of this process, through the `nft` program.
#[derive(Debug, Default)]
pub struct Nft;

#[async_trait]
impl Kernel for Nft {
    async fn inspect(&self, cluster_cidr: Option<Ipv4Net>) -> Result<Present, Error> {
        let Some(text) = list(&["-t", "list", "table", "ip", TABLE]).await? else { return Ok(Present::Foreign) };
        if !rules::intact(&text, cluster_cidr) {
            return Ok(Present::Foreign);
        }
        let Some(json) = list(&["-j", "list", "table", "ip", TABLE]).await? else { return Ok(Present::Foreign) };
        Ok(Present::Ours(listing::elements(&json)?))
    }

    async fn apply(&self, script: String) -> Result<(), Error> {
        let output = nft(&["-f", "-"], script).await?;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::Refused { doing: "change the rules", message: first_lines(&output.stderr) })
    }
}

/// The listing, or `None` where there is no such table.
pub(crate) async fn list(args: &[&str]) -> Result<Option<String>, Error> {
    let output = nft(args, String::new()).await?;
    if output.status.success() {
        return Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    let message = first_lines(&output.stderr);
    if message.contains("No such file or directory") {
        return Ok(None);
    }
    Err(Error::Refused { doing: "list the table", message })
}

async fn nft(args: &[&str], input: String) -> Result<std::process::Output, Error> {
    run("nft", args, input).await
}

/// Runs a program with `input` on its standard input.
pub(crate) async fn run(program: &'static str, args: &[&str], input: String) -> Result<std::process::Output, Error> {
    let failed = |source| Error::Run { program, source };
    let mut child = Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let mut stdin = child.stdin.take().expect("standard input was asked for");
    // Both ends move at once: a child that talks before it has read everything must not block on a full pipe.
    let feed = async move {
        // A child that ends early closes the pipe; its exit status tells why.
        drop(stdin.write_all(input.as_bytes()).await);
        drop(stdin.shutdown().await);
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    output.map_err(failed)
}

fn first_lines(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<String> =
        text.lines().map(str::trim).filter(|l| !l.is_empty()).take(3).map(|l| l.chars().take(300).collect()).collect();
    lines.join("; ")
}
