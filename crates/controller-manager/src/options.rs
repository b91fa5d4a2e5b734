//! The flags, named as kube-controller-manager's.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use gantry_common::daemon::duration;
use ipnet::IpNet;

use crate::signing_options::SigningOptions;

/// The controller manager's configuration.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// File with the CA of the API server's certificate, published to every namespace as ConfigMap kube-root-ca.crt.
    #[arg(long, value_name = "FILE")]
    pub root_ca_file: Option<PathBuf>,
    /// File with the private key that signs tokens in Secrets; without it none is filled. The API server must know its public half.
    #[arg(long, value_name = "FILE")]
    pub service_account_private_key_file: Option<PathBuf>,
    /// What signs certificates.
    #[command(flatten)]
    pub signing: SigningOptions,
    /// How long a token in a Secret that was made for its account may be unused before it is marked invalid, and how long it
    /// then stays so before it is deleted.
    #[arg(long, default_value = "8760h", value_parser = duration, value_name = "DURATION")]
    pub legacy_service_account_token_clean_up_period: Duration,
    /// Address range of pods; each node gets a part of it. Without it nodes get none.
    #[arg(long, value_name = "CIDR")]
    pub cluster_cidr: Option<IpNet>,
    /// Prefix length of a node's part of the cluster CIDR.
    #[arg(long, default_value_t = 24, value_name = "BITS")]
    pub node_cidr_mask_size: u8,
    /// Address range of services; nodes get no part of it.
    #[arg(long, value_name = "CIDR")]
    pub service_cluster_ip_range: Option<IpNet>,
    /// Which controllers run: '*' all but bootstrap-signer-controller and token-cleaner-controller, 'name' this one, '-name' not
    /// this one.
    #[arg(long, default_value = "*", value_delimiter = ',', value_name = "NAMES", allow_hyphen_values = true)]
    pub controllers: Vec<String>,
    /// Lead before acting, so that several instances may run.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub leader_elect: bool,
    /// Name of the Lease in kube-system.
    #[arg(long, default_value = "kube-controller-manager", value_name = "NAME")]
    pub leader_elect_resource_name: String,
    /// How long other instances wait for a leader that does not renew.
    #[arg(long, default_value = "15s", value_parser = duration, value_name = "DURATION")]
    pub leader_elect_lease_duration: Duration,
    /// How long a leader tries to renew before it stops.
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub leader_elect_renew_deadline: Duration,
    /// Time between attempts to become leader or to renew.
    #[arg(long, default_value = "2s", value_parser = duration, value_name = "DURATION")]
    pub leader_elect_retry_period: Duration,
    /// Deployments that are worked on at once.
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub concurrent_deployment_syncs: usize,
    /// Replica sets that are worked on at once.
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub concurrent_replicaset_syncs: usize,
    /// Replication controllers that are worked on at once.
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub concurrent_rc_syncs: usize,
    /// Services whose Endpoints are worked on at once.
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub concurrent_endpoint_syncs: usize,
    /// Endpoints that are mirrored to slices at once.
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub mirroring_concurrent_service_endpoint_syncs: usize,
    /// Addresses of a subset of Endpoints that are mirrored to a slice, at most.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub mirroring_max_endpoints_per_subset: usize,
    /// Services whose endpoint slices are worked on at once.
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub concurrent_service_endpoint_syncs: usize,
    /// Endpoints per EndpointSlice at most.
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub max_endpoints_per_slice: usize,
    /// Namespaces that are emptied at once.
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub concurrent_namespace_syncs: usize,
    /// Service accounts, their tokens and root CA config maps that are worked on at once.
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub concurrent_serviceaccount_token_syncs: usize,
    /// Objects that the garbage collector looks at at once.
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub concurrent_gc_syncs: usize,
    /// Resource quotas that are counted at once.
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub concurrent_resource_quota_syncs: usize,
    /// How often each resource quota is counted even if nothing changed.
    #[arg(long, default_value = "5m", value_parser = duration, value_name = "DURATION")]
    pub resource_quota_sync_period: Duration,
    /// How long a node may be silent before it counts as unreachable.
    #[arg(long, default_value = "50s", value_parser = duration, value_name = "DURATION")]
    pub node_monitor_grace_period: Duration,
    /// How long a new node may take to post its first status.
    #[arg(long, default_value = "1m", value_parser = duration, value_name = "DURATION")]
    pub node_startup_grace_period: Duration,
    /// Nodes per second and zone whose pods are evicted because the node is not ready.
    #[arg(long, default_value_t = 0.1, value_name = "RATE")]
    pub node_eviction_rate: f64,
    /// The same while too much of a large zone is down; a small zone is not evicted at all then.
    #[arg(long, default_value_t = 0.01, value_name = "RATE")]
    pub secondary_node_eviction_rate: f64,
    /// Share of a zone's nodes (more than two) that counts as too much.
    #[arg(long, default_value_t = 0.55, value_name = "SHARE")]
    pub unhealthy_zone_threshold: f64,
    /// A zone with more nodes is large.
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub large_cluster_size_threshold: usize,
    /// Ended pods beyond this number are deleted, oldest first; 0 keeps all.
    #[arg(long, default_value_t = 12_500, value_name = "N")]
    pub terminated_pod_gc_threshold: usize,
}

impl Options {
    /// What the flags contradict.
    ///
    /// # Errors
    /// A message that names the flag.
    pub fn check(&self) -> Result<(), String> {
        if self.leader_elect_renew_deadline >= self.leader_elect_lease_duration {
            return Err("--leader-elect-renew-deadline must be shorter than --leader-elect-lease-duration".to_owned());
        }
        if self.leader_elect_retry_period >= self.leader_elect_renew_deadline {
            return Err("--leader-elect-retry-period must be shorter than --leader-elect-renew-deadline".to_owned());
        }
        if self.max_endpoints_per_slice == 0 || self.max_endpoints_per_slice > 1000 {
            return Err("--max-endpoints-per-slice must be between 1 and 1000".to_owned());
        }
        if self.legacy_service_account_token_clean_up_period.is_zero() {
            return Err("--legacy-service-account-token-clean-up-period must be longer than nothing".to_owned());
        }
        self.signing.check()?;
        let Some(cidr) = &self.cluster_cidr else { return Ok(()) };
        if self.node_cidr_mask_size < cidr.prefix_len() || self.node_cidr_mask_size > cidr.max_prefix_len() {
            return Err(format!(
                "--node-cidr-mask-size {} does not fit --cluster-cidr {cidr}: use {} to {}",
                self.node_cidr_mask_size,
                cidr.prefix_len(),
                cidr.max_prefix_len()
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    fn parse(flags: &[&str]) -> Result<Options, clap::Error> {
        Command::try_parse_from([&["manager"], flags].concat()).map(|c| c.options)
    }

    #[test]
    fn upstreams_command_lines_are_understood() {
        let options = parse(&[
            "--controllers=*,-namespace-controller",
            "--leader-elect=false",
            "--cluster-cidr=10.244.0.0/16",
            "--node-monitor-grace-period=1m30s",
        ])
        .expect("valid");
        assert_eq!(options.controllers, ["*", "-namespace-controller"]);
        assert!(!options.leader_elect);
        assert_eq!(options.node_monitor_grace_period, Duration::from_secs(90));
        options.check().expect("consistent");
        assert!(parse(&["--leader-elect"]).expect("valid").leader_elect);
        assert!(parse(&["--node-monitor-grace-period=fast"]).is_err());
    }

    #[test]
    fn contradictions_are_named() {
        let check = |flags: &[&str], flag: &str| {
            let message = parse(flags).expect("valid").check().expect_err("contradiction");
            assert!(message.contains(flag), "{message}");
        };
        check(&["--cluster-cidr=10.0.0.0/16", "--node-cidr-mask-size=8"], "--node-cidr-mask-size");
        check(&["--leader-elect-renew-deadline=15s"], "--leader-elect-renew-deadline");
        check(&["--leader-elect-retry-period=10s"], "--leader-elect-retry-period");
        let period = "--legacy-service-account-token-clean-up-period";
        check(&[&format!("{period}=0s")], period);
        check(&["--max-endpoints-per-slice=0"], "--max-endpoints-per-slice");
    }
}
