//! Commands in containers: started, followed and, whatever happens, ended.
//!
//! A command is written down before it starts. Whoever holds a [`Command`] owns its process: when the holder goes before
//! the process has ended, the process and all that it started are ended behind it.

mod record;

use std::{collections::BTreeSet, ops::RangeInclusive, path::Path, sync::Arc, time::Duration};

use futures::StreamExt;
use gantry_common::{backoff::Backoff, task};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use self::record::Records;
use crate::{
    process::{self, Identity},
    runtime::{Error, ExecSpec, ExecState, Executed, Output, Runtime, Size, Streams},
};

/// Between SIGHUP and SIGKILL.
pub(crate) const GRACE: Duration = Duration::from_secs(2);
/// Bytes of output that are kept; upstream's limit for probe output, and enough for a refusal's words.
const OUTPUT_BYTES: usize = 10 * 1024;
/// How long the runtime may take to say what became of a command whose process is gone.
const VERDICT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a command that nobody waits for any more may take to have a process.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_MIN: Duration = Duration::from_millis(2);
const POLL_MAX: Duration = Duration::from_millis(200);
/// A process that has closed its outputs is waited for by its end; that the runtime is still there is asked this often.
const RUNTIME_CHECK: Duration = Duration::from_secs(2);

/// Starts commands.
pub(crate) struct Commands {
    runtime: Arc<dyn Runtime>,
    records: Records,
    ending: TaskTracker,
}

/// How a start went.
pub(crate) enum Started {
    /// It runs (or has ended already).
    Running(Streams),
    /// It could not be started.
    Refused {
        /// 127 where the program does not exist, 126 where it cannot be run, as shells have it.
        code: i64,
        /// The runtime's words.
        message: String,
    },
}

impl Commands {
    /// Commands whose records lie in `root`.
    pub(crate) fn new(runtime: Arc<dyn Runtime>, root: &Path) -> Arc<Self> {
        Arc::new(Self { runtime, records: Records::in_root(root), ending: TaskTracker::new() })
    }

    /// Prepares a command in a running container; the runtime knows nothing of it before it starts. Its end, should it be
    /// ended, is gentle for `grace`.
    pub(crate) fn prepare(self: &Arc<Self>, container: &str, spec: ExecSpec, grace: Duration) -> Command {
        let plan = Plan { commands: Arc::clone(self), container: container.to_owned(), spec, grace };
        Command { plan, running: None }
    }

    /// Runs a command to its end; it is killed when `timeout` has passed.
    pub(crate) async fn run(
        self: &Arc<Self>,
        container: &str,
        command: &[String],
        timeout: Duration,
    ) -> Result<Executed, Error> {
        let spec = ExecSpec { command: command.to_vec(), stdout: true, stderr: true, ..ExecSpec::default() };
        let mut prepared = self.prepare(container, spec, Duration::ZERO);
        let run = async {
            let Streams { mut output, input: _input } = match prepared.start().await? {
                Started::Running(streams) => streams,
                Started::Refused { code, message } => return Ok(Executed { code, output: message }),
            };
            let output = collect(&mut output).await?;
            Ok(Executed { code: prepared.code().await?, output })
        };
        let timed_out = |_| Error::TimedOut { command: command.join(" "), seconds: timeout.as_secs() };
        tokio::time::timeout(timeout, run).await.map_err(timed_out)?
    }

    /// Ends what an earlier kubelet left behind. Only records say what that is.
    pub(crate) fn clean_up(self: &Arc<Self>) {
        for record in self.records.left_behind() {
            tracing::info!(exec = record.exec, container = record.container, "ending a command that was left behind");
            self.end_later(record.exec, record.container, record.process, None, Duration::ZERO);
        }
    }

    /// Waits until everything that is to be ended has ended; for the end of the kubelet.
    pub(crate) async fn settle(&self) {
        self.ending.close();
        self.ending.wait().await;
        self.ending.reopen();
    }

    fn end_later(
        self: &Arc<Self>,
        exec: String,
        container: String,
        process: Option<Identity>,
        begun: Option<u64>,
        grace: Duration,
    ) {
        let commands = Arc::clone(self);
        // What begins later is not of this command.
        let within = begun.zip(process::now_in_ticks()).map(|(from, to)| from..=to);
        task::spawn(
            "exec-end",
            self.ending.track_future(async move { commands.end(&exec, &container, process, within, grace).await }),
        );
    }

    async fn end(
        &self,
        exec: &str,
        container: &str,
        process: Option<Identity>,
        within: Option<RangeInclusive<u64>>,
        grace: Duration,
    ) {
        let processes = match process {
            Some(process) => BTreeSet::from([process]),
            None => {
                let looking = self.processes_of(exec, container, within);
                tokio::time::timeout(START_TIMEOUT, looking).await.unwrap_or_default()
            }
        };
        for process in processes {
            if !process::end(process, container, grace).await {
                tracing::warn!(exec, container, pid = process.pid, "a command's processes could not be ended");
            }
        }
        self.records.remove(exec);
    }

    /// The process of a command that may still be starting; of one that the runtime has forgotten before it had said which it
    /// is, those that were begun in the container within the time that it was being started. (A runtime that forgets one
    /// command forgets all, so the others among them have lost their users, too.)
    async fn processes_of(
        &self,
        exec: &str,
        container: &str,
        within: Option<RangeInclusive<u64>>,
    ) -> BTreeSet<Identity> {
        let mut backoff = Backoff::new(POLL_MIN, POLL_MAX);
        loop {
            match self.runtime.exec_state(exec).await {
                Ok(Some(ExecState { pid: Some(pid), .. })) => {
                    // The number may be another process's by now: only one in that container counts.
                    let found = process::identify(pid).filter(|id| process::is_in_container(id.pid, container));
                    return found.into_iter().collect();
                }
                Ok(Some(ExecState { code: Some(_), .. })) => return BTreeSet::new(),
                Ok(None) => {
                    return match within {
                        Some(within) => process::entered(container, within).await,
                        None => BTreeSet::new(),
                    };
                }
                // It is being started, or the order to start it is still on its way to Docker.
                Ok(Some(_)) => {}
                // Docker is away. When it comes back it has forgotten its commands.
                Err(_) => {}
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }
}

/// The first kilobytes of an output; all of it is taken.
async fn collect(output: &mut Output) -> Result<String, Error> {
    let mut text = Vec::new();
    while let Some(chunk) = output.next().await {
        let chunk = chunk?.into_bytes();
        let room = OUTPUT_BYTES.saturating_sub(text.len());
        text.extend_from_slice(chunk.get(..room.min(chunk.len())).unwrap_or(&chunk));
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// What is to be run, and where.
#[derive(Clone)]
struct Plan {
    commands: Arc<Commands>,
    container: String,
    spec: ExecSpec,
    grace: Duration,
}

impl Plan {
    /// Makes the command known to the runtime and to the records, and starts it. The runtime forgets only a command that has
    /// run: one that was made is started, whatever has become of whoever wanted it, and ended if need be.
    async fn carry_out(self) -> Result<(Running, Streams), Error> {
        let exec = self.commands.runtime.exec_create(&self.container, &self.spec).await?;
        let running = Running { plan: self, exec, process: None, begun: process::now_in_ticks(), over: false };
        running.write_down()?;
        let streams = running.runtime().exec_start(&running.exec, &running.plan.spec).await?;
        Ok((running, streams))
    }
}

/// One command.
pub(crate) struct Command {
    plan: Plan,
    running: Option<Running>,
}

/// A command that was started, or is about to be. When this goes before its end is known, it is ended.
struct Running {
    plan: Plan,
    exec: String,
    process: Option<Identity>,
    /// When the order to start it was given, in ticks since the machine's start.
    begun: Option<u64>,
    over: bool,
}

impl Command {
    /// Starts it, and waits until it has a process.
    pub(crate) async fn start(&mut self) -> Result<Started, Error> {
        let (running, streams) = self.order().await?;
        self.running.insert(running).until_started(streams).await
    }

    /// Gives the order to start. It is carried through even if nobody waits for it any more: a command of which nobody
    /// knows whether it will start could not be ended either.
    async fn order(&self) -> Result<(Running, Streams), Error> {
        let plan = self.plan.clone();
        let (sender, receiver) = oneshot::channel();
        let ending = &self.plan.commands.ending;
        // Whoever waited may be gone; then the command goes here, and is ended.
        let carried = async move { drop(sender.send(plan.carry_out().await)) };
        task::spawn("exec-start", ending.track_future(carried));
        // The task ends only after its answer.
        receiver.await.unwrap_or_else(|_| Err(forgotten("")))
    }

    /// Its exit code; to be asked when its output has ended.
    pub(crate) async fn code(&mut self) -> Result<i64, Error> {
        match &mut self.running {
            Some(running) => running.code().await,
            None => Err(forgotten("")),
        }
    }

    /// Its terminal, once it is started.
    pub(crate) fn terminal(&self) -> Option<Terminal> {
        let running = self.running.as_ref()?;
        Some(Terminal { commands: Arc::clone(&running.plan.commands), exec: running.exec.clone() })
    }
}

impl Running {
    fn runtime(&self) -> &dyn Runtime {
        self.plan.commands.runtime.as_ref()
    }

    fn write_down(&self) -> Result<(), Error> {
        let written = self.plan.commands.records.put(&self.exec, &self.plan.container, self.process);
        written.map_err(|source| Error::Record { exec: self.exec.clone(), source })
    }

    /// Waits until it has a process, or could not be started.
    async fn until_started(&mut self, Streams { output, input }: Streams) -> Result<Started, Error> {
        let mut output = output.peekable();
        let mut backoff = Backoff::new(POLL_MIN, POLL_MAX);
        let mut spoken = false;
        loop {
            match self.runtime().exec_state(&self.exec).await? {
                Some(ExecState { pid: Some(pid), running, .. }) => {
                    // One that has ended may have left its number to another process.
                    let found = process::identify(pid).filter(|_| running);
                    self.process = found.filter(|id| process::is_in_container(id.pid, &self.plan.container));
                    self.write_down()?;
                    return Ok(Started::Running(Streams { output: output.boxed(), input }));
                }
                Some(ExecState { running: true, .. }) => {}
                Some(ExecState { code: Some(_), .. }) => break,
                Some(_) => {}
                None => return Err(forgotten(&self.exec)),
            }
            // What has said something, or has closed its output, has started.
            tokio::select! {
                () = tokio::time::sleep(backoff.next()) => {}
                _ = std::pin::Pin::new(&mut output).peek(), if !spoken => {
                    spoken = true;
                    backoff.reset();
                }
            }
        }
        let mut output = output.boxed();
        // Docker writes why it could not be started where the output would be.
        let message = collect(&mut output).await?.trim().to_owned();
        self.over();
        Ok(Started::Refused { code: refusal_code(&message), message })
    }

    async fn code(&mut self) -> Result<i64, Error> {
        self.process_ended().await?;
        let mut backoff = Backoff::new(POLL_MIN, POLL_MAX);
        let asking = async {
            loop {
                match self.runtime().exec_state(&self.exec).await? {
                    Some(ExecState { running: false, code: Some(code), .. }) => return Ok(code),
                    Some(_) => {}
                    None => return Err(forgotten(&self.exec)),
                }
                tokio::time::sleep(backoff.next()).await;
            }
        };
        // Without a known process the runtime's word is all there is, however long it takes.
        let code = match self.process {
            None => asking.await,
            Some(_) => match tokio::time::timeout(VERDICT_TIMEOUT, asking).await {
                Ok(answer) => answer,
                Err(_) => Err(Error::Incomplete { what: "the state of an exec", field: "exit code" }),
            },
        }?;
        self.over();
        Ok(code)
    }

    /// A process may close its outputs long before it ends.
    async fn process_ended(&self) -> Result<(), Error> {
        let Some(process) = self.process else { return Ok(()) };
        let mut checks = tokio::time::interval(RUNTIME_CHECK);
        loop {
            tokio::select! {
                () = process::ended(process) => return Ok(()),
                _ = checks.tick() => match self.runtime().exec_state(&self.exec).await? {
                    Some(state) if state.running => {}
                    Some(_) => return Ok(()),
                    None => return Err(forgotten(&self.exec)),
                }
            }
        }
    }

    /// Nothing of it is left to be ended.
    fn over(&mut self) {
        self.over = true;
        self.plan.commands.records.remove(&self.exec);
    }
}

fn forgotten(exec: &str) -> Error {
    let message = format!("the container runtime has forgotten the command {exec}: it was restarted");
    Error::Refused { code: 404, message }
}

/// The terminal of a command.
pub(crate) struct Terminal {
    commands: Arc<Commands>,
    exec: String,
}

impl Terminal {
    /// Sets its size.
    pub(crate) async fn resize(&self, size: Size) -> Result<(), Error> {
        self.commands.runtime.exec_resize(&self.exec, size).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.over {
            let (exec, container) = (self.exec.clone(), self.plan.container.clone());
            self.plan.commands.end_later(exec, container, self.process, self.begun, self.plan.grace);
        }
    }
}

/// The exit code that a shell would give for what the runtime says of a program that it cannot start.
fn refusal_code(message: &str) -> i64 {
    let missing = ["executable file not found", "no such file or directory"];
    if missing.iter().any(|words| message.contains(words)) { 127 } else { 126 }
}

#[cfg(test)]
mod tests {
    use gantry_common::clock;

    use super::*;
    use crate::runtime::Fake;

    fn commands(fake: &Fake) -> (Arc<Commands>, tempfile::TempDir) {
        let root = tempfile::tempdir().unwrap();
        (Commands::new(Arc::new(fake.clone()), root.path()), root)
    }

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_is_forgotten_when_it_has_ended() {
        let fake = Fake::new(clock::system());
        fake.set_exec("date -u", 3, "today");
        let (commands, root) = commands(&fake);
        let done = commands.run("c1", &words("date -u"), Duration::from_secs(1)).await.unwrap();
        assert_eq!((done.code, done.output.as_str()), (3, "today"));
        assert_eq!(std::fs::read_dir(root.path().join("sessions")).unwrap().count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_hangs_times_out() {
        let (commands, root) = commands(&Fake::new(clock::system()));
        let hung = commands.run("c1", &words("sleep 9"), Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(hung.to_string(), "command \"sleep 9\" timed out after 1s");
        commands.settle().await;
        assert_eq!(std::fs::read_dir(root.path().join("sessions")).unwrap().count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_made_is_started_and_what_is_not_started_is_not_made() {
        let fake = Fake::new(clock::system());
        let (commands, root) = commands(&fake);
        let spec = ExecSpec { command: words("sleep 9"), ..ExecSpec::default() };
        drop(commands.prepare("c1", spec.clone(), GRACE));
        assert!(fake.calls().is_empty(), "{:?}", fake.calls());
        // Given up as soon as the order is on its way.
        let mut command = commands.prepare("c1", spec, GRACE);
        assert!(futures::poll!(std::pin::pin!(command.start())).is_pending());
        drop(command);
        commands.settle().await;
        assert_eq!(fake.calls(), ["exec sleep 9", "exec-start e1"]);
        assert_eq!(std::fs::read_dir(root.path().join("sessions")).unwrap().count(), 0);
    }

    #[test]
    fn shells_codes_for_what_cannot_be_started() {
        let check = |message: &str, expected| assert_eq!(refusal_code(message), expected, "{message}");
        let oci = "OCI runtime exec failed: exec failed: unable to start container process: exec: ";
        check(&format!("{oci}\"nosuch\": executable file not found in $PATH: unknown"), 127);
        check(&format!("{oci}\"/x\": stat /x: no such file or directory: unknown"), 127);
        check(&format!("{oci}\"/etc/passwd\": permission denied: unknown"), 126);
        check("something else", 126);
    }
}
