//! Measures Gantry: what docs/benchmarks.md describes, p50 and max of several runs, as a table and as JSON.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod api;
mod cache;
mod http;
mod idle;
mod load;
mod machine;
mod objects;
mod pki;
mod pods;
mod process;
mod report;
mod sessions;
mod store;
mod tls_pair;
mod up;

use report::Report;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Benchmarks of Gantry.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    what: What,
    /// Also write the figures as JSON to this file; `-` prints them after the table.
    #[arg(long, global = true)]
    json: Option<PathBuf>,
    /// Runs per figure.
    #[arg(long, global = true, default_value_t = 5)]
    runs: usize,
    /// A folder on the disk to measure, for etcd's data.
    #[arg(long, global = true, default_value = "/var/tmp")]
    disk: PathBuf,
}

#[derive(Subcommand)]
enum What {
    /// Compare-and-put transactions on a real etcd.
    Store(store::Args),
    /// The watch cache by itself: insert, list, fan-out.
    Cache(cache::Args),
    /// An API server of its own on an etcd of its own: creates, GET, LIST, memory, start.
    Api(api::Args),
    /// Memory and CPU of the daemons of a running cluster.
    Idle(idle::Args),
    /// Pods of a running cluster: create to Running, beside `docker run`.
    Pods(pods::Args),
    /// exec, port-forward and logs of a running cluster, beside Docker's own exec and a plain TLS copy.
    Sessions(sessions::Args),
    /// `gantryctl up` until it says Ready. Takes the cluster down first, again and again.
    Up(up::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    gantry_common::tls::install_provider();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let result = runtime.block_on(run(&cli));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gantry-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &Cli) -> anyhow::Result<()> {
    let mut report = Report::new(machine::describe(&cli.disk));
    match &cli.what {
        What::Store(args) => store::run(args, cli.runs, &cli.disk, &mut report).await?,
        What::Cache(args) => cache::run(args, cli.runs, &mut report).await?,
        What::Api(args) => api::run(args, cli.runs, &cli.disk, &mut report).await?,
        What::Idle(args) => idle::run(args, &mut report).await?,
        What::Pods(args) => pods::run(args, cli.runs, &mut report).await?,
        What::Sessions(args) => sessions::run(args, cli.runs, &mut report).await?,
        What::Up(args) => up::run(args, cli.runs, &mut report).await?,
    }
    report.print(cli.json.as_deref())
}
