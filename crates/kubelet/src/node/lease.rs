//! The node's Lease: the sign of life that the node lifecycle controller looks at.

use gantry_client::{Client, Error};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::Node,
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference},
};

const NAMESPACE: &str = "kube-node-lease";
/// How long a node counts as alive after its last sign, in seconds; upstream's.
const DURATION_SECONDS: i32 = 40;

/// The lease of one node.
pub(super) struct Renewal {
    client: Client,
    last: Option<Lease>,
}

impl Renewal {
    pub(super) fn new(client: Client) -> Self {
        Self { client, last: None }
    }

    /// Renews the lease; makes it when there is none.
    pub(super) async fn renew(&mut self, node: &Node, now: Timestamp) -> Result<(), Error> {
        let leases = self.client.namespaced::<Lease>(NAMESPACE);
        let name = node.metadata.name.clone().unwrap_or_default();
        if self.last.is_none() {
            self.last = leases.get_opt(&name).await?;
        }
        let renewed = match &self.last {
            Some(last) => leases.update(&lease(last.clone(), node, now)).await,
            None => leases.create(&lease(Lease::default(), node, now)).await,
        };
        match renewed {
            Ok(lease) => {
                self.last = Some(lease);
                Ok(())
            }
            // Somebody else wrote or deleted it: read it anew next time.
            Err(error) => {
                self.last = None;
                Err(error)
            }
        }
    }
}

fn lease(before: Lease, node: &Node, now: Timestamp) -> Lease {
    let name = node.metadata.name.clone().unwrap_or_default();
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: name.clone(),
        uid: node.metadata.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    };
    Lease {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(NAMESPACE.to_owned()),
            owner_references: Some(vec![owner]),
            ..before.metadata
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(name),
            lease_duration_seconds: Some(DURATION_SECONDS),
            renew_time: Some(MicroTime(now)),
            ..before.spec.unwrap_or_default()
        }),
    }
}
