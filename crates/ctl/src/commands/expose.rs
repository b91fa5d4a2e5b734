//! `gantryctl expose`: a service in front of what exists.

use anyhow::{Result, bail};
use gantry_api::value::{Value, i64_at, list_at, map_at, str_at};
use gantry_client::View;
use serde_json::{Map, json};

use super::create::How;
use crate::{manifests::Manifest, resources::Resource, session::Session, submit};

/// Flags of `expose`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  gantryctl expose deployment nginx --port=80\n  gantryctl expose pod web --port=80 --target-port=8080 --name=front --type=NodePort"
)]
pub struct Args {
    /// TYPE NAME or TYPE/NAME: a deployment, replica set, pod or service
    #[arg(required = true, num_args = 1..=2, value_name = "TYPE")]
    words: Vec<String>,
    /// Port of the service; default: the ports of the containers
    #[arg(long)]
    port: Option<u16>,
    /// Port of the pods, a number or a name
    #[arg(long)]
    target_port: Option<String>,
    /// TCP, UDP or SCTP
    #[arg(long, default_value = "TCP", value_parser = ["TCP", "UDP", "SCTP"])]
    protocol: String,
    /// Name of the service; default: the object's
    #[arg(long)]
    name: Option<String>,
    /// ClusterIP, NodePort, LoadBalancer or ExternalName
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// The service's cluster IP; `None` for a headless service
    #[arg(long)]
    cluster_ip: Option<String>,
    /// KEY=VALUE[,KEY=VALUE]; default: the object's selector
    #[arg(long)]
    selector: Option<String>,
    /// None or ClientIP
    #[arg(long)]
    session_affinity: Option<String>,
    #[command(flatten)]
    how: How,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let targets = super::targets(&self.words)?;
        let [(kind, Some(name))] = targets.as_slice() else {
            bail!("you must name one object, for example `expose deployment web --port=80`")
        };
        let resource = session.resource(kind)?;
        let object = session.api(resource).get(name, "", View::Full).await?;
        let service = self.service(resource, &object)?;
        let manifest = Manifest { object: service, source: "flags".to_owned() };
        submit::create_saying("exposed", session, &manifest, &self.how, "gantryctl-expose").await
    }

    fn service(&self, resource: &Resource, object: &Value) -> Result<Value> {
        let name = self.name.as_deref().or_else(|| str_at(object, "metadata.name")).unwrap_or("");
        let mut spec = json!({"selector": self.selector_of(resource, object)?, "ports": self.ports(resource, object)?});
        for (field, value) in
            [("type", &self.kind), ("clusterIP", &self.cluster_ip), ("sessionAffinity", &self.session_affinity)]
        {
            if let Some(value) = value {
                spec[field] = json!(value);
            }
        }
        let mut metadata = json!({"name": name});
        if let Some(labels) = map_at(object, "metadata.labels") {
            metadata["labels"] = Value::Object(labels.clone());
        }
        Ok(json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}))
    }

    fn selector_of(&self, resource: &Resource, object: &Value) -> Result<Value> {
        if let Some(text) = &self.selector {
            let mut labels = Map::new();
            for pair in text.split(',') {
                let Some((key, value)) = pair.split_once('=') else {
                    bail!("unexpected selector {pair:?}: expected KEY=VALUE")
                };
                labels.insert(key.to_owned(), json!(value));
            }
            return Ok(Value::Object(labels));
        }
        let path = match resource.kind.as_str() {
            "Pod" => "metadata.labels",
            "Service" => "spec.selector",
            "Deployment" | "ReplicaSet" => {
                if !list_at(object, "spec.selector.matchExpressions").is_empty() {
                    bail!("couldn't convert expressions of the selector into labels: give --selector");
                }
                "spec.selector.matchLabels"
            }
            other => bail!("cannot expose a {other}: name a deployment, replica set, pod or service"),
        };
        match map_at(object, path) {
            Some(labels) if !labels.is_empty() => Ok(Value::Object(labels.clone())),
            _ => bail!("the {} has no labels that a service could select: give --selector", resource.singular),
        }
    }

    fn ports(&self, resource: &Resource, object: &Value) -> Result<Value> {
        let target = |port: u64| match &self.target_port {
            Some(text) => text.parse::<u16>().map_or_else(|_| json!(text), |n| json!(n)),
            None => json!(port),
        };
        if let Some(port) = self.port {
            return Ok(json!([{"port": port, "protocol": self.protocol, "targetPort": target(port.into())}]));
        }
        let containers = if resource.kind == "Pod" { "spec.containers" } else { "spec.template.spec.containers" };
        let mut ports: Vec<(u64, String)> = list_at(object, containers)
            .iter()
            .flat_map(|c| list_at(c, "ports"))
            .filter_map(|p| {
                let number = u64::try_from(i64_at(p, "containerPort")?).ok()?;
                Some((number, str_at(p, "protocol").unwrap_or("TCP").to_owned()))
            })
            .collect();
        if resource.kind == "Service" {
            ports = list_at(object, "spec.ports")
                .iter()
                .filter_map(|p| {
                    Some((u64::try_from(i64_at(p, "port")?).ok()?, str_at(p, "protocol").unwrap_or("TCP").to_owned()))
                })
                .collect();
        }
        if ports.is_empty() {
            bail!("couldn't find port via --port flag or introspection: give --port");
        }
        let several = ports.len() > 1;
        let ports = ports.iter().enumerate().map(|(i, (port, protocol))| {
            let mut p = json!({"port": port, "protocol": protocol, "targetPort": target(*port)});
            if several {
                p["name"] = json!(format!("port-{}", i + 1));
            }
            p
        });
        Ok(Value::Array(ports.collect()))
    }
}
