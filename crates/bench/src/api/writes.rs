//! Creates per second, beside etcd's own transactions of the same size.

use bytes::Bytes;
use hyper::Method;
use serde_json::json;

use super::Bench;
use crate::http::Connection;
use crate::load::{self, Client};
use crate::objects::Kind;
use crate::report::Report;
use crate::store;

/// Where the pods of LIST live; creates go elsewhere.
pub(super) const LISTED: &str = "listed";
const CREATED: &str = "created";

/// A client that creates objects named `prefix-number`.
struct Creator {
    connection: Connection,
    kind: Kind,
    path: String,
    prefix: String,
}

impl Client for Creator {
    async fn request(&mut self, number: usize) -> anyhow::Result<()> {
        let object = self.kind.object(&format!("{}-{number:06}", self.prefix));
        self.connection.call(Method::POST, &self.path, object).await.map(drop)
    }
}

impl Bench<'_> {
    /// Makes the namespaces; a namespace's controller would make the service account.
    pub(super) async fn prepare(&self) -> anyhow::Result<()> {
        let mut connection = self.server.target.connect().await?;
        for namespace in [LISTED, CREATED, "watched"] {
            let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            connection.call(Method::POST, "/api/v1/namespaces", Bytes::from(object.to_string())).await?;
            let object = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
            let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
            connection.call(Method::POST, &path, Bytes::from(object.to_string())).await?;
        }
        Ok(())
    }

    async fn creators(&self, kind: Kind, namespace: &str, prefix: &str, count: usize) -> anyhow::Result<Vec<Creator>> {
        let connections = self.server.target.connections(count).await?;
        let path = format!("/api/v1/namespaces/{namespace}/{}", kind.resource());
        let creator = |connection| Creator { connection, kind, path: path.clone(), prefix: prefix.to_owned() };
        Ok(connections.into_iter().map(creator).collect())
    }

    /// Creates the pods that are listed later.
    pub(super) async fn fill(&self, report: &mut Report) -> anyhow::Result<()> {
        let creators = self.creators(Kind::Pod, LISTED, "pod", 64).await?;
        let outcome = load::run(creators, self.args.pods).await?;
        report.add(format!("create {} pods, 64 clients", self.args.pods), "/s", outcome.rate);
        Ok(())
    }

    /// One run over all levels, raw etcd just before the API server.
    pub(super) async fn creates(&mut self, run: usize, kind: Kind, report: &mut Report) -> anyhow::Result<()> {
        let resource = kind.resource();
        let sample = format!("sample-{run}");
        let mut connection = self.server.target.connect().await?;
        let path = format!("/api/v1/namespaces/{CREATED}/{resource}");
        connection.call(Method::POST, &path, kind.object(&sample)).await?;
        let size = self.server.stored_size(&format!("/registry/{resource}/{CREATED}/{sample}")).await?;
        for level in self.args.clients.clone() {
            let count = if level == 1 { self.args.count / 4 } else { self.args.count };
            let prefix = format!("/bench/{resource}/{run}/{level}/");
            let raw = store::transactions(&self.raw.tls, &format!("{prefix}tls/"), level, count, size).await?;
            let by_socket =
                store::transactions(&self.raw.socket, &format!("{prefix}socket/"), level, count, size).await?;
            let creators = self.creators(kind, CREATED, &format!("r{run}-{level}"), level).await?;
            let before = (self.server.apiserver_cpu()?, self.server.etcd_cpu()?);
            let outcome = load::run(creators, count).await?;
            let name = format!("create {resource}, {level} clients");
            outcome.report(report, &name);
            for (raw, by) in [(raw, "TLS"), (by_socket, "socket")] {
                report.add(format!("{name}: raw etcd txn of {size} B by {by}"), "/s", raw.rate);
                report.add(format!("{name}: share of raw etcd by {by}"), "%", 100.0 * outcome.rate / raw.rate);
            }
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            let each = 1e6 / count as f64;
            report.add(format!("{name}: API server CPU"), "us each", (self.server.apiserver_cpu()? - before.0) * each);
            report.add(format!("{name}: etcd CPU"), "us each", (self.server.etcd_cpu()? - before.1) * each);
        }
        Ok(())
    }
}
