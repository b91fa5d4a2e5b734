//! `gantryctl version`.

use anyhow::Result;
use gantry_api::value::str_at;
use gantry_common::version::GIT_VERSION;
use serde_json::json;

use crate::{
    Global,
    output::{self, Format},
    session::Session,
};

/// Flags of `version`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only gantryctl's own version
    #[arg(long)]
    client: bool,
    /// Print as
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

impl Args {
    pub(crate) async fn run(self, flags: &Global) -> Result<()> {
        if self.client {
            return self.print(None);
        }
        // The client's version is worth having even where there is no cluster.
        match Session::open(flags).await {
            Ok(session) => self.print(Some(&session.client.version().await?)),
            Err(error) => {
                self.print(None)?;
                Err(error)
            }
        }
    }

    fn print(&self, server: Option<&serde_json::Value>) -> Result<()> {
        if let Some(format @ (Format::Yaml | Format::Json)) = self.output {
            let mut both = json!({"clientVersion": {"gitVersion": GIT_VERSION}});
            if let Some(server) = server {
                both["serverVersion"] = server.clone();
            }
            return output::data(&output::render(&both, format, None)?);
        }
        output::line(&format!("Client Version: {GIT_VERSION}"))?;
        match server.and_then(|v| str_at(v, "gitVersion")) {
            Some(version) => output::line(&format!("Server Version: {version}")),
            None => Ok(()),
        }
    }
}
