//! `gantryctl logs`.

use anyhow::{Context, Result, bail};
use gantry_api::value::{list_at, map_at, str_at};
use gantry_client::{ListParams, View};
use gantry_proto::v1::LogRequest;
use std::io::Write;

use crate::session::Session;

/// Flags of `logs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// POD or TYPE/NAME, and perhaps the container
    #[arg(required = true, num_args = 1..=2, value_name = "POD")]
    words: Vec<String>,
    /// The container
    #[arg(short, long)]
    container: Option<String>,
    /// Go on and print what comes
    #[arg(short, long)]
    follow: bool,
    /// The log of the container before its last restart
    #[arg(short, long)]
    previous: bool,
    /// Only the last N lines; -1 = all
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    tail: i64,
    /// Only what is newer than this: 30s, 5m, 2h
    #[arg(long)]
    since: Option<String>,
    /// Only what is newer than this time (RFC 3339)
    #[arg(long)]
    since_time: Option<String>,
    /// At most this many bytes
    #[arg(long)]
    limit_bytes: Option<i64>,
    /// A time before each line
    #[arg(long)]
    timestamps: bool,
}

fn seconds(text: &str) -> Result<i64> {
    let span: jiff::SignedDuration =
        text.parse().with_context(|| format!("--since={text} is not a duration such as 30s, 5m or 2h"))?;
    Ok(span.as_secs().max(1))
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let pod = self.pod(session).await?;
        let request = LogRequest {
            namespace: session.namespace.clone(),
            pod,
            container: self.container.clone().or_else(|| self.words.get(1).cloned()).unwrap_or_default(),
            follow: self.follow,
            previous: self.previous,
            since_seconds: self.since.as_deref().map(seconds).transpose()?,
            since_time: self.since_time.clone().unwrap_or_default(),
            timestamps: self.timestamps,
            tail_lines: (self.tail >= 0).then_some(self.tail),
            limit_bytes: self.limit_bytes,
            ..LogRequest::default()
        };
        let mut sessions = session.client.sessions();
        let mut stream = sessions.log(request).await.map_err(plain)?.into_inner();
        while let Some(chunk) = stream.message().await.map_err(plain)? {
            let mut out = std::io::stdout().lock();
            if let Err(e) = out.write_all(&chunk.data).and_then(|()| out.flush()) {
                if e.kind() == std::io::ErrorKind::BrokenPipe {
                    return Ok(());
                }
                return Err(e).context("cannot write to standard output");
            }
        }
        Ok(())
    }

    /// The pod that is named, or the first one behind a deployment, replica set or service.
    async fn pod(&self, session: &Session) -> Result<String> {
        let word = &self.words[0];
        let Some((kind, name)) = word.split_once('/') else { return Ok(word.clone()) };
        let resource = session.resource(kind)?;
        if resource.kind == "Pod" {
            return Ok(name.to_owned());
        }
        let object = session.api(resource).get(name, "", View::Full).await?;
        let labels = map_at(&object, "spec.selector.matchLabels").or_else(|| map_at(&object, "spec.selector"));
        let Some(labels) = labels.filter(|l| l.values().all(|v| v.is_string()) && !l.is_empty()) else {
            bail!("{word} has no selector, so it has no pods: name a pod")
        };
        let selector: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or(""))).collect();
        let pods = session.api_of("", "pods").list(&ListParams::labels(selector.join(",")), View::Full).await?.items;
        let ready = |p: &&serde_json::Value| {
            list_at(p, "status.conditions")
                .iter()
                .any(|c| str_at(c, "type") == Some("Ready") && str_at(c, "status") == Some("True"))
        };
        let pod = pods.iter().find(ready).or_else(|| pods.first());
        let Some(pod) = pod.and_then(|p| str_at(p, "metadata.name")) else { bail!("{word} has no pods yet") };
        if pods.len() > 1 {
            eprintln!("Found {} pods, using pod/{pod}", pods.len());
        }
        Ok(pod.to_owned())
    }
}

/// The server's message, without the transport around it.
fn plain(status: tonic::Status) -> anyhow::Error {
    let details = gantry_proto::failure::unpack(status.details());
    match details.and_then(|json| serde_json::from_slice::<gantry_api::status::Status>(&json).ok()) {
        Some(s) if !s.message.is_empty() => anyhow::anyhow!(s.message),
        _ => anyhow::anyhow!("the log stream broke: {}", status.message()),
    }
}
