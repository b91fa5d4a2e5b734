//! Takes up changes of the file of `--authorization-config`, as upstream does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gantry_common::shutdown::Shutdown;
use tracing::{error, info};

use super::written::{self, Written};
use super::{Judge, Link};
use crate::app::App;
use crate::bootstrap::identity;

/// How often the file is looked at.
const EVERY: Duration = Duration::from_secs(5);

/// The file and what was read from it.
pub(crate) struct File {
    path: PathBuf,
    text: Vec<u8>,
    /// What is in force.
    written: Written,
    /// Who decided at start, webhooks apart: they must stay.
    kinds: Vec<&'static str>,
}

impl File {
    /// Reads the file, and the kubeconfigs that it names.
    ///
    /// # Errors
    /// What is wrong, in upstream's words where it has them.
    pub(super) fn load(path: &Path) -> Result<(Vec<Link>, Self), String> {
        let text = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let written = written::read(&text, path)?;
        let chain = written.chain()?;
        let kinds = kinds(&chain);
        Ok((chain, Self { path: path.to_owned(), text, written, kinds }))
    }

    /// Looks at the file now and then until shutdown. What cannot be used leaves in force what was before.
    pub(crate) async fn follow(mut self, app: Arc<App>, shutdown: Shutdown) {
        let server = if app.config.has_identity() { identity::own().unwrap_or_default() } else { String::new() };
        app.metrics.judges.started(&server, &self.text);
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.requested() => return,
            }
            match self.look().await {
                Ok(None) => {}
                Ok(Some(chain)) => {
                    app.authorizer.replace_chain(chain);
                    app.metrics.judges.reloaded(Some(&self.text), app.clock.now());
                    info!(path = %self.path.display(), "took up the changed authorization configuration");
                }
                Err(why) => {
                    app.metrics.judges.reloaded(None, app.clock.now());
                    error!(path = %self.path.display(), why, "the authorization configuration cannot be used, the old one stays");
                }
            }
        }
    }

    /// Those who decide from now on, if that has changed. A text that cannot be used is told of once.
    async fn look(&mut self) -> Result<Option<Vec<Link>>, String> {
        let text = tokio::fs::read(&self.path).await.map_err(|error| error.to_string())?;
        if text == self.text {
            return Ok(None);
        }
        self.text = text;
        let written = written::read(&self.text, &self.path)?;
        if written == self.written {
            return Ok(None);
        }
        let chain = written.chain()?;
        self.check(&chain)?;
        self.written = written;
        Ok(Some(chain))
    }

    /// Whether those who decided at start still do, and nobody else does but webhooks and who denies. Whether callers may stay
    /// nameless was decided at start, so nobody may allow everything later.
    fn check(&self, chain: &[Link]) -> Result<(), String> {
        let found = kinds(chain);
        let mut missing: Vec<&str> = self.kinds.iter().copied().filter(|kind| !found.contains(kind)).collect();
        missing.sort_unstable();
        if !missing.is_empty() {
            return Err(format!("missing required types: [{}]", missing.join(" ")));
        }
        match found.iter().find(|kind| **kind != "AlwaysDeny" && !self.kinds.contains(kind)) {
            Some(new) => {
                Err(format!("authorizer type {new} is not allowed if it was not enabled at initial server startup"))
            }
            None => Ok(()),
        }
    }
}

fn kinds(chain: &[Link]) -> Vec<&'static str> {
    chain.iter().filter(|link| !matches!(link.judge, Judge::Webhook(_))).map(Link::kind).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn changes_are_taken_up_where_they_can_be() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config");
        let write = |kinds: &[&str], comment: &str| {
            let all: Vec<_> = kinds.iter().map(|kind| json!({"type": kind, "name": kind.to_lowercase()})).collect();
            let (version, kind) = ("apiserver.config.k8s.io/v1", "AuthorizationConfiguration");
            let text = json!({"apiVersion": version, "kind": kind, "authorizers": all});
            std::fs::write(&path, format!("{text}{comment}")).expect("written");
        };
        write(&["Node", "RBAC"], "");
        let (_, mut file) = File::load(&path).expect("good");
        let mut check = async |kinds: &[&str], comment: &str, expected: Result<Option<&[&str]>, &str>| {
            write(kinds, comment);
            let found = file.look().await;
            let found = found.map(|chain| chain.map(|chain| chain.iter().map(Link::kind).collect::<Vec<_>>()));
            let expected = expected.map(|chain| chain.map(<[&str]>::to_vec)).map_err(str::to_owned);
            assert_eq!(found, expected, "{kinds:?}{comment}");
        };
        check(&["Node", "RBAC"], "", Ok(None)).await;
        check(&["Node", "RBAC"], "\n# the same", Ok(None)).await;
        check(&["RBAC", "Node", "AlwaysDeny"], "", Ok(Some(&["RBAC", "Node", "AlwaysDeny"]))).await;
        check(&["RBAC"], "", Err("missing required types: [Node]")).await;
        check(&["RBAC"], "", Ok(None)).await;
        let new = "authorizer type AlwaysAllow is not allowed if it was not enabled at initial server startup";
        check(&["Node", "RBAC", "AlwaysAllow"], "", Err(new)).await;
        check(&[], "", Err("authorizers: Required value: at least one authorization mode must be defined")).await;
        check(&["RBAC", "Node", "AlwaysDeny"], "", Ok(None)).await;
        check(&["Node", "RBAC"], "", Ok(Some(&["Node", "RBAC"]))).await;
        std::fs::remove_file(&path).expect("removed");
        assert!(file.look().await.is_err(), "a file that is gone changes nothing");
    }
}
