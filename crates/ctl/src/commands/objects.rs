//! The verbs that talk to a cluster's API server, and what they share on the command line.

use anyhow::Result;
use clap::{Subcommand, ValueEnum};

use super::{apply, create, delete, describe, expose, get, logs, rollout, run, scale, top, version};
use crate::{Global, session::Session};

/// A verb that talks to a cluster.
#[derive(Debug, Subcommand)]
pub enum ObjectCommand {
    /// Show objects
    Get(get::Args),
    /// Show an object in detail, with its events
    Describe(describe::Args),
    /// Make objects as a file declares them
    Apply(apply::Args),
    /// Create objects from a file or from flags
    Create(create::Args),
    /// Delete objects
    Delete(delete::Args),
    /// Print the logs of containers
    Logs(logs::Args),
    /// Set the number of replicas
    Scale(scale::Args),
    /// Manage the rollout of a deployment
    #[command(subcommand)]
    Rollout(rollout::Command),
    /// Run an image in a pod
    Run(run::Args),
    /// Make a service for a deployment, replica set, pod or service
    Expose(expose::Args),
    /// Show what nodes and pods use
    #[command(subcommand)]
    Top(top::Command),
    /// Print the versions of gantryctl and of the cluster
    Version(version::Args),
}

impl ObjectCommand {
    /// Runs the verb.
    ///
    /// # Errors
    /// What went wrong, for the user.
    pub async fn run(self, flags: &Global) -> Result<()> {
        match self {
            // These need no cluster.
            Self::Version(args) => args.run(flags).await,
            Self::Create(args) if args.is_local() => args.run_local(flags),
            Self::Run(args) if args.is_local() => args.run_local(flags),
            with_cluster => with_cluster.run_in(&Session::open(flags).await?).await,
        }
    }

    async fn run_in(self, session: &Session) -> Result<()> {
        match self {
            Self::Get(args) => args.run(session).await,
            Self::Describe(args) => args.run(session).await,
            Self::Apply(args) => args.run(session).await,
            Self::Create(args) => args.run(session).await,
            Self::Delete(args) => args.run(session).await,
            Self::Logs(args) => args.run(session).await,
            Self::Scale(args) => args.run(session).await,
            Self::Rollout(command) => command.run(session).await,
            Self::Run(args) => args.run(session).await,
            Self::Expose(args) => args.run(session).await,
            Self::Top(command) => command.run(session).await,
            Self::Version(_) => Ok(()),
        }
    }
}

/// `--dry-run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum DryRun {
    /// Do it.
    #[default]
    None,
    /// Only print what would be sent.
    Client,
    /// Send it; the server does everything but store it.
    Server,
}

impl DryRun {
    /// What follows the result in messages.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Client => " (dry run)",
            Self::Server => " (server dry run)",
        }
    }
}

/// Splits `TYPE NAME...`, `TYPE/NAME...` and `TYPE,TYPE` into (type words, names).
pub(crate) fn targets(words: &[String]) -> Result<Vec<(String, Option<String>)>> {
    let Some(first) = words.first() else {
        anyhow::bail!("you must name a resource, for example `pods`, `pod web-1` or `deployment/web`")
    };
    if first.contains('/') {
        return words
            .iter()
            .map(|w| match w.split_once('/') {
                Some((kind, name)) if !kind.is_empty() && !name.is_empty() => {
                    Ok((kind.to_owned(), Some(name.to_owned())))
                }
                _ => anyhow::bail!("{w:?} is not TYPE/NAME; do not mix `TYPE NAME` and `TYPE/NAME`"),
            })
            .collect();
    }
    if words.len() == 1 {
        return Ok(vec![(first.clone(), None)]);
    }
    Ok(words[1..].iter().map(|n| (first.clone(), Some(n.clone()))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &[&str], expected: &[(&str, Option<&str>)]) {
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        let found = targets(&words).expect("they split");
        let found: Vec<_> = found.iter().map(|(t, n)| (t.as_str(), n.as_deref())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn words_split_into_types_and_names() {
        check(&["pods"], &[("pods", None)]);
        check(&["pod", "a", "b"], &[("pod", Some("a")), ("pod", Some("b"))]);
        check(&["pod/a", "svc/b"], &[("pod", Some("a")), ("svc", Some("b"))]);
        assert!(targets(&["pod/a".to_owned(), "b".to_owned()]).is_err());
        assert!(targets(&[]).is_err());
    }
}
