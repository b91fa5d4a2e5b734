//! `gantryctl logs`: the logs of one container, or of several at once.

use std::{io::IsTerminal, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use gantry_api::value::{Value, str_at};
use gantry_client::{Client, ListParams, View};
use gantry_proto::v1::LogRequest;
use tokio::task::JoinSet;

use crate::{
    output,
    pods::{self, Named},
    session::Session,
};

mod lines;

use lines::{Style, Writer};

/// Lines of each container that are shown when pods are selected by labels and no number is given.
const SELECTED_TAIL: i64 = 10;

/// Flags of `logs`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  gantryctl logs web-1\n  gantryctl logs -f deployment/web --all-pods\n  gantryctl logs -l app=web --all-containers --prefix\n  gantryctl logs web-1 -c nginx --previous --tail=20\n\nOn a terminal colours of logs are kept, other control characters are shown instead of obeyed; elsewhere every byte is as it was written."
)]
pub struct Args {
    /// POD or TYPE/NAME, and perhaps the container
    #[arg(num_args = 0..=2, value_name = "POD")]
    words: Vec<String>,
    /// The container
    #[arg(short, long)]
    container: Option<String>,
    /// All containers of the pods
    #[arg(long)]
    all_containers: bool,
    /// All pods of TYPE/NAME, not only one; with --prefix
    #[arg(long)]
    all_pods: bool,
    /// Pods with these labels: `app=web,tier!=db`
    #[arg(short = 'l', long, default_value = "", hide_default_value = true)]
    selector: String,
    /// The pod and container before each line
    #[arg(long)]
    prefix: bool,
    /// Go on and print what comes
    #[arg(short, long)]
    follow: bool,
    /// How many logs may be followed at once
    #[arg(long, default_value_t = 5)]
    max_log_requests: usize,
    /// Go on with the other logs when one fails
    #[arg(long)]
    ignore_errors: bool,
    /// The log of the container before its last restart
    #[arg(short, long)]
    previous: bool,
    /// Only the last N lines; -1 = all [default: -1, or 10 with a selector]
    #[arg(long, allow_negative_numbers = true)]
    tail: Option<i64>,
    /// Only what is newer than this: 30s, 5m, 2h
    #[arg(long)]
    since: Option<String>,
    /// Only what is newer than this time (RFC 3339)
    #[arg(long)]
    since_time: Option<String>,
    /// At most this many bytes of each log
    #[arg(long)]
    limit_bytes: Option<i64>,
    /// A time before each line
    #[arg(long)]
    timestamps: bool,
    /// How long to wait for a pod of TYPE/NAME, such as 30s or 1m
    #[arg(long, default_value = "20s", value_parser = gantry_common::daemon::duration)]
    pod_running_timeout: Duration,
}

fn seconds(text: &str) -> Result<i64> {
    let span: jiff::SignedDuration =
        text.parse().with_context(|| format!("--since={text} is not a duration such as 30s, 5m or 2h"))?;
    Ok(span.as_secs().max(1))
}

/// One log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    namespace: String,
    pod: String,
    container: String,
}

impl Source {
    fn label(&self) -> String {
        format!("[pod/{}/{}] ", self.pod, self.container)
    }
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        self.check()?;
        let sources = self.sources(session).await?;
        if self.follow && sources.len() > self.max_log_requests {
            bail!(
                "you are attempting to follow {} log streams, but maximum allowed concurrency is {}, use \
                 --max-log-requests to increase the limit",
                sources.len(),
                self.max_log_requests
            );
        }
        let terminal = std::io::stdout().is_terminal();
        let style = Style { terminal, several: sources.len() > 1 };
        let sink = Arc::new(tokio::sync::Mutex::new(()));
        let coloured = terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let mut jobs = Vec::new();
        for (n, source) in sources.into_iter().enumerate() {
            let label = if self.prefix || self.all_pods { source.label() } else { String::new() };
            let label = if coloured { lines::paint(&label, n) } else { label };
            let writer = Writer::new(Arc::clone(&sink), label, style);
            jobs.push((self.request(&source)?, writer, source));
        }
        if self.follow && jobs.len() > 1 {
            self.together(session, jobs).await
        } else {
            self.in_turn(session, jobs).await
        }
    }

    fn check(&self) -> Result<()> {
        let container_named = self.container.is_some() || self.words.len() == 2;
        match (self.words.is_empty(), self.selector.is_empty()) {
            (true, true) => bail!("expected POD or TYPE/NAME, or a selector with -l"),
            (false, false) => bail!("only a selector (-l) or a POD name is allowed, not both"),
            _ => {}
        }
        if self.container.is_some() && self.words.len() == 2 {
            bail!("only one of -c or an inline [CONTAINER] arg is allowed");
        }
        if self.all_containers && container_named {
            bail!("--all-containers=true should not be specified with container name");
        }
        if self.since.is_some() && self.since_time.is_some() {
            bail!("at most one of --since and --since-time may be specified");
        }
        if self.follow && self.previous {
            bail!(
                "only one of --follow and --previous is allowed: the log of a container that has ended does not go on"
            );
        }
        Ok(())
    }

    fn request(&self, source: &Source) -> Result<LogRequest> {
        let by_default = if self.selector.is_empty() { -1 } else { SELECTED_TAIL };
        let tail = self.tail.unwrap_or(by_default);
        Ok(LogRequest {
            namespace: source.namespace.clone(),
            pod: source.pod.clone(),
            container: source.container.clone(),
            follow: self.follow,
            previous: self.previous,
            since_seconds: self.since.as_deref().map(seconds).transpose()?,
            since_time: self.since_time.clone().unwrap_or_default(),
            timestamps: self.timestamps,
            tail_lines: (tail >= 0).then_some(tail),
            limit_bytes: self.limit_bytes,
            ..LogRequest::default()
        })
    }

    /// The logs that are asked for.
    async fn sources(&self, session: &Session) -> Result<Vec<Source>> {
        let mut sources = Vec::new();
        for pod in self.pods(session).await? {
            for container in self.containers(&pod)? {
                sources.push(Source {
                    namespace: str_at(&pod, "metadata.namespace").unwrap_or(&session.namespace).to_owned(),
                    pod: pods::name(&pod).to_owned(),
                    container,
                });
            }
        }
        Ok(sources)
    }

    async fn pods(&self, session: &Session) -> Result<Vec<Value>> {
        let api = session.api_of("", "pods");
        let Some(word) = self.words.first() else {
            let found = api.list(&ListParams::labels(self.selector.clone()), View::Full).await?.items;
            if found.is_empty() {
                output::note(&format!("No resources found in {} namespace.", session.namespace));
            }
            return Ok(found);
        };
        match pods::named(session, word).await? {
            Named::Pod(pod) => Ok(vec![pod]),
            Named::Owner { selector, .. } => {
                let first = pods::first_of(session, word, &selector, self.pod_running_timeout).await?;
                let all = api.list(&ListParams::labels(selector), View::Full).await?.items;
                if self.all_pods {
                    return Ok(if all.is_empty() { vec![first] } else { all });
                }
                if all.len() > 1 {
                    output::note(&format!("Found {} pods, using pod/{}", all.len(), pods::name(&first)));
                }
                Ok(vec![first])
            }
        }
    }

    fn containers(&self, pod: &Value) -> Result<Vec<String>> {
        if self.all_containers {
            return Ok(pods::containers(pod).map(str::to_owned).collect());
        }
        let wanted = self.container.as_deref().or_else(|| self.words.get(1).map(String::as_str));
        Ok(vec![pods::container(pod, wanted, false)?])
    }

    /// One log after another.
    async fn in_turn(&self, session: &Session, jobs: Vec<(LogRequest, Writer, Source)>) -> Result<()> {
        for (request, writer, source) in jobs {
            let result = copy(session.client.clone(), request, writer).await;
            self.forgive(result, &source)?;
        }
        Ok(())
    }

    /// All logs at once.
    async fn together(&self, session: &Session, jobs: Vec<(LogRequest, Writer, Source)>) -> Result<()> {
        let mut running = JoinSet::new();
        for (request, writer, source) in jobs {
            let client = session.client.clone();
            running.spawn(async move { (copy(client, request, writer).await, source) });
        }
        while let Some(ended) = running.join_next().await {
            let (result, source) = ended.context("a log could not be followed")?;
            self.forgive(result, &source)?;
        }
        Ok(())
    }

    fn forgive(&self, result: Result<()>, source: &Source) -> Result<()> {
        match result {
            Err(error) if self.ignore_errors => {
                let why = gantry_common::error_chain(error.as_ref());
                output::note(&format!("error: the log of {}: {why}", source.label().trim_end()));
                Ok(())
            }
            other => other,
        }
    }
}

async fn copy(client: Client, request: LogRequest, mut writer: Writer) -> Result<()> {
    let mut log = client.log(request).await?;
    while let Some(chunk) = log.next().await? {
        writer.add(&chunk).await?;
    }
    writer.finish().await
}
