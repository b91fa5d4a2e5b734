//! Raw etcd through the same client as the API server: compare "absent", put.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use gantry_store::testing::{Etcd, Options};
use gantry_store::{EtcdConfig, EtcdStore, Store, Txn, TxnOutcome};

use crate::load::{self, Client};
use crate::pki::Pki;
use crate::report::Report;

/// How etcd is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum By {
    /// Mutual TLS, as from another machine.
    Tls,
    /// Its unix socket, as a cluster's API servers do.
    Socket,
}

/// Flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Size of the value in bytes.
    #[arg(long, default_value_t = 2_000)]
    size: usize,
    /// Transactions under way at a time.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    in_flight: Vec<usize>,
    /// Transactions per run and level.
    #[arg(long, default_value_t = 3_000)]
    count: usize,
}

pub(crate) async fn run(args: &Args, runs: usize, disk: &Path, report: &mut Report) -> anyhow::Result<()> {
    let pki = Pki::new()?;
    let etcd = start_etcd(&pki, disk)?;
    for (by, name) in [(By::Tls, "TLS"), (By::Socket, "socket")] {
        let store = connect(&etcd, &pki, by).await?;
        for run in 0..runs {
            for level in &args.in_flight {
                let prefix = format!("/bench/{name}/{run}/{level}/");
                let outcome = transactions(&store, &prefix, *level, args.count, args.size).await?;
                outcome.report(report, &format!("etcd txn of {} B by {name}, {level} in flight", args.size));
            }
            compact(&store).await?;
        }
    }
    Ok(())
}

/// An etcd with mutual TLS and a socket, as in a cluster.
pub(crate) fn start_etcd(pki: &Pki, disk: &Path) -> anyhow::Result<Etcd> {
    let options = Options { tls: Some(pki.etcd_server()), parent: Some(disk.to_owned()), ..Options::default() };
    Etcd::start_with(options).context("starting etcd (apt-get install etcd-server)")
}

pub(crate) async fn connect(etcd: &Etcd, pki: &Pki, by: By) -> anyhow::Result<Arc<dyn Store>> {
    let config = match by {
        By::Tls => EtcdConfig::new(vec![etcd.url()]).with_tls(pki.etcd_client()),
        By::Socket => EtcdConfig::new(vec![etcd.socket_url()]),
    };
    Ok(Arc::new(EtcdStore::connect(&config).await?))
}

/// Old revisions make etcd 3.4 slow: each run begins without them.
pub(crate) async fn compact(store: &Arc<dyn Store>) -> anyhow::Result<()> {
    Ok(store.compact(store.revision().await?).await?)
}

/// Creates `count` keys of `size` bytes with `level` transactions under way.
pub(crate) async fn transactions(
    store: &Arc<dyn Store>,
    prefix: &str,
    level: usize,
    count: usize,
    size: usize,
) -> anyhow::Result<load::Outcome> {
    let value = Bytes::from(vec![b'x'; size]);
    let client = |_| Writer { store: store.clone(), prefix: prefix.to_owned(), value: value.clone() };
    load::run((0..level).map(client).collect(), count).await
}

struct Writer {
    store: Arc<dyn Store>,
    prefix: String,
    value: Bytes,
}

impl Client for Writer {
    async fn request(&mut self, number: usize) -> anyhow::Result<()> {
        let txn = Txn::create(format!("{}{number}", self.prefix), self.value.clone());
        match self.store.txn(txn).await? {
            TxnOutcome::Committed { .. } => Ok(()),
            TxnOutcome::Conflict { .. } => anyhow::bail!("key {number} exists already"),
        }
    }
}
