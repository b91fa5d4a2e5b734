//! `gantryctl cp`: copies files and folders between this machine and a container, by `tar` in the container.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use gantry_api::{status::Status, value::str_at};
use gantry_client::{
    View,
    session::{self, Event, Input, Output},
};
use gantry_common::task;
use gantry_proto::v1::{ExecRequest, open_session::Kind};

use crate::{output, pods, session::Session};

mod extract;
mod pack;
mod pipe;
mod place;
mod tally;
mod tree;

use place::{Place, Remote, folder_and_name};
use tally::Tally;

/// What is kept of what `tar` says, in bytes.
const SAID_BYTES_MAX: usize = 8 << 10;

/// Flags of `cp`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  gantryctl cp web-1:/etc/nginx ./nginx\n  gantryctl cp ./site shop/web-1:/usr/share/html -c nginx\n  gantryctl cp web-1:/var/log/app.log .\n\nThe container needs a `tar` program. A name of a local file that has a colon is written ./NAME."
)]
pub struct Args {
    /// [[NAMESPACE/]POD:]PATH to copy
    source: String,
    /// [[NAMESPACE/]POD:]PATH to copy to
    destination: String,
    /// The container [default: the pod's default or first one]
    #[arg(short, long)]
    container: Option<String>,
    /// Let files in the container belong to its user, with its default permissions
    #[arg(long)]
    no_preserve: bool,
    /// Print nothing but warnings and errors
    #[arg(short, long)]
    quiet: bool,
}

/// A container to copy from or to.
struct Container<'s> {
    session: &'s Session,
    namespace: String,
    pod: String,
    name: String,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        match (Place::parse(&self.source)?, Place::parse(&self.destination)?) {
            (Place::Remote(from), Place::Local(to)) => {
                let container = self.container(session, &from).await?;
                self.download(&container, &from.path, &to).await
            }
            (Place::Local(from), Place::Remote(to)) => {
                if from.symlink_metadata().is_err() {
                    bail!("{} doesn't exist in local filesystem", from.display());
                }
                let container = self.container(session, &to).await?;
                self.upload(&container, &from, &to.path).await
            }
            _ => bail!(
                "one of {:?} and {:?} must be in a pod (POD:PATH) and the other one on this machine",
                self.source,
                self.destination
            ),
        }
    }

    async fn container<'s>(&self, session: &'s Session, remote: &Remote) -> Result<Container<'s>> {
        let namespace = remote.namespace.clone().unwrap_or_else(|| session.namespace.clone());
        let pods = session.api_in(session.resource("pods")?, &namespace);
        let pod = pods.get(&remote.pod, "", View::Full).await?;
        pods::check_not_completed(&pod, "copy from or to")?;
        let name = pods::container(&pod, self.container.as_deref(), self.quiet)?;
        let namespace = str_at(&pod, "metadata.namespace").unwrap_or(&namespace).to_owned();
        Ok(Container { session, namespace, pod: remote.pod.clone(), name })
    }

    async fn download(&self, container: &Container<'_>, path: &str, to: &Path) -> Result<()> {
        let (folder, name) = folder_and_name(path);
        // With ./ in front a name is never taken for an option.
        let command = ["tar", "cf", "-", "-C", folder, &format!("./{name}")].map(str::to_owned);
        let (_input, mut output) = container.exec(command.to_vec(), false).await?;
        let (pieces, archive) = pipe::reader();
        let wanted = extract::Wanted {
            name: name.to_owned(),
            destination: to.to_owned(),
            is_folder: to.as_os_str().as_encoded_bytes().ends_with(b"/"),
        };
        let mut tally = Tally::new(self.quiet);
        let unpacking = tokio::task::spawn_blocking(move || {
            let result = extract::run(archive, &wanted, &mut tally);
            (result, tally)
        });
        let mut said = Said::default();
        let ended = loop {
            match output.next().await {
                // An unpacker that has given up says why itself; the session ends with this function.
                Ok(Event::Data(bytes)) if pieces.send(bytes.clone()).await.is_err() => break None,
                Ok(Event::Data(_) | Event::End) => {}
                Ok(Event::Stderr(bytes)) => said.add(&bytes),
                Ok(Event::Done(status)) => break Some(Ok(status)),
                Err(error) => break Some(Err(error)),
            }
        };
        drop(pieces);
        let (unpacked, tally) = unpacking.await.context("the unpacking failed")?;
        match ended {
            Some(Err(error)) => Err(error).context("the copy is not complete"),
            Some(Ok(status)) => said.check(&status).and(unpacked),
            None => unpacked,
        }?;
        finish(&tally)
    }

    async fn upload(&self, container: &Container<'_>, from: &Path, path: &str) -> Result<()> {
        let own = own_name(from)?;
        let (folder, name) = match container.is_folder(path).await? {
            true => (path.to_owned(), own),
            false if path.ends_with('/') => bail!("{path} is no folder in pod {}", container.pod),
            false => {
                let (folder, name) = folder_and_name(path);
                (folder.to_owned(), OsString::from(name))
            }
        };
        let mut command = vec!["tar".to_owned()];
        if self.no_preserve {
            command.extend(["--no-same-permissions", "--no-same-owner"].map(str::to_owned));
        }
        command.extend(["-xmf", "-", "-C", &folder].map(str::to_owned));
        let (input, mut output) = container.exec(command, true).await?;
        let (archive, pieces) = pipe::writer();
        let (from, mut tally) = (from.to_owned(), Tally::new(self.quiet));
        let packing = tokio::task::spawn_blocking(move || {
            let result = pack::run(archive, &from, &name, &mut tally);
            (result, tally)
        });
        let sending = task::spawn("archive", send(pieces, input));
        let mut said = Said::default();
        let ended = loop {
            match output.next().await {
                Ok(Event::Data(_) | Event::End) => {}
                Ok(Event::Stderr(bytes)) => said.add(&bytes),
                Ok(Event::Done(status)) => break Ok(status),
                Err(error) => break Err(error),
            }
        };
        // Where `tar` ended before it had read everything, the packer now writes to nobody.
        sending.abort();
        drop(output);
        let (packed, tally) = packing.await.context("the packing failed")?;
        said.check(&ended.context("the copy is not complete")?)?;
        packed?;
        finish(&tally)
    }
}

/// The name that a local path has in its folder.
fn own_name(path: &Path) -> Result<OsString> {
    let named = |p: &Path| p.file_name().map(OsString::from);
    // `.` and `..` have a name too.
    let absolute = || -> Result<PathBuf> { Ok(path.canonicalize()?) };
    match named(path) {
        Some(name) => Ok(name),
        None => named(&absolute()?).with_context(|| format!("{} has no name: name what is in it", path.display())),
    }
}

async fn send(mut pieces: tokio::sync::mpsc::Receiver<bytes::Bytes>, input: Input) {
    while let Some(piece) = pieces.recv().await {
        if input.data(piece).await.is_err() {
            return;
        }
    }
    // Where the session has ended, its output says so.
    drop(input.end().await);
}

fn finish(tally: &Tally) -> Result<()> {
    tally.finish();
    match tally.failed {
        0 => Ok(()),
        1 => bail!("one entry was not copied"),
        n => bail!("{n} entries were not copied"),
    }
}

impl Container<'_> {
    async fn exec(&self, command: Vec<String>, stdin: bool) -> Result<(Input, Output)> {
        let program = command.first().cloned().unwrap_or_default();
        let request = ExecRequest {
            namespace: self.namespace.clone(),
            pod: self.pod.clone(),
            pod_uid: String::new(),
            container: self.name.clone(),
            command,
            stdin,
            stdout: true,
            stderr: true,
            tty: false,
        };
        let opened = self.session.client.open_session(Kind::Exec(request)).await;
        opened.with_context(|| format!("cannot run {program} in container {} of pod {}", self.name, self.pod))
    }

    /// Whether a path is a folder in the container.
    async fn is_folder(&self, path: &str) -> Result<bool> {
        let (_input, mut output) = self.exec(["test", "-d", path].map(str::to_owned).to_vec(), false).await?;
        let mut said = Said::default();
        loop {
            match output.next().await.context("cannot look at the destination")? {
                Event::Data(_) | Event::End => {}
                Event::Stderr(bytes) => said.add(&bytes),
                Event::Done(status) if session::exit_code(&status) == Some(1) => return Ok(false),
                Event::Done(status) => return said.check(&status).map(|()| true),
            }
        }
    }
}

/// What a program in the container says on standard error.
#[derive(Debug, Default)]
struct Said(Vec<u8>);

impl Said {
    fn add(&mut self, bytes: &[u8]) {
        let room = SAID_BYTES_MAX.saturating_sub(self.0.len());
        self.0.extend_from_slice(&bytes[..room.min(bytes.len())]);
    }

    /// Fails with what was said where the program failed, else passes it on.
    fn check(&self, status: &Status) -> Result<()> {
        let text = String::from_utf8_lossy(&self.0);
        let text = text.trim_end();
        match session::exit_code(status) {
            Some(0) => {
                if !text.is_empty() {
                    output::note(text);
                }
                Ok(())
            }
            Some(code) if text.is_empty() => Err(anyhow!("the program in the container ended with exit code {code}")),
            Some(code) => Err(anyhow!("the program in the container ended with exit code {code}: {text}")),
            None => Err(anyhow!("{} (cp needs the programs `tar` and `test` in the container)", status.message)),
        }
    }
}
