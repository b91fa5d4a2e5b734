//! The flags by which a command names a cluster on this machine.

use std::path::PathBuf;

use crate::cluster::{config::Config, layout::DEFAULT_DATA_DIR};

/// Which cluster.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Which {
    /// The cluster's name
    #[arg(long, global = true, default_value = "default", env = "GANTRY_CLUSTER")]
    pub(super) name: String,
    /// The folder that state folders are in
    #[arg(long, global = true, default_value = DEFAULT_DATA_DIR, env = "GANTRY_DATA_DIR")]
    pub(super) data_dir: PathBuf,
}

impl Which {
    /// The cluster.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn config(&self) -> anyhow::Result<Config> {
        Config::require(&self.data_dir, &self.name)
    }
}
