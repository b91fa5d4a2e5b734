//! A runtime without containers, for tests: state in memory, time from the injected clock, failures on demand.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use gantry_common::clock::SharedClock;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use super::{
    Applied, AttachSpec, Chunk, Container, ContainerSpec, Credentials, Error, Event, ExecSpec, ExecState, Executed,
    Exit, Image, Info, LogOptions, Output, Role, Runtime, Size, State, Streams,
};

/// Events that a slow listener may fall behind before it is told to look for itself.
const EVENTS: usize = 1024;

/// A process number that the kernel gives to nobody.
const NOBODY: u32 = 2_000_000_000;

/// A piece of an endless log.
static LOG_LINE: [u8; 16 * 1024] = [b'x'; 16 * 1024];

/// An in-memory runtime.
#[derive(Clone)]
pub struct Fake {
    clock: SharedClock,
    inner: Arc<Mutex<Inner>>,
    events: broadcast::Sender<Event>,
}

#[derive(Default)]
struct Inner {
    next: u64,
    down: bool,
    containers: BTreeMap<String, (Container, ContainerSpec)>,
    images: BTreeMap<String, Image>,
    pullable: BTreeMap<String, Image>,
    calls: Vec<String>,
    ignores_term: bool,
    exec: BTreeMap<String, Executed>,
    /// What runs or ran, by identifier: the command line.
    started: BTreeMap<String, String>,
    endless_logs: bool,
    log_bytes: usize,
    hangs: bool,
}

impl Fake {
    /// A runtime without containers and images.
    #[must_use]
    pub fn new(clock: SharedClock) -> Self {
        Self { clock, inner: Arc::default(), events: broadcast::channel(EVENTS).0 }
    }

    /// Puts an image into the registry.
    pub fn publish(&self, name: &str, user: &str) {
        let image =
            Image { id: format!("sha256:{name}"), tags: vec![name.into()], user: user.into(), ..Image::default() };
        self.inner.lock().pullable.insert(name.to_owned(), image);
    }

    /// Whether requests fail as if the daemon were gone.
    pub fn set_down(&self, down: bool) {
        self.inner.lock().down = down;
    }

    /// Whether containers survive everything but SIGKILL.
    pub fn set_ignores_term(&self, ignores: bool) {
        self.inner.lock().ignores_term = ignores;
    }

    /// What a command answers in any container.
    pub fn set_exec(&self, command: &str, code: i64, output: &str) {
        self.inner.lock().exec.insert(command.to_owned(), Executed { code, output: output.to_owned() });
    }

    /// Whether containers' logs have no end.
    pub fn set_endless_logs(&self, endless: bool) {
        self.inner.lock().endless_logs = endless;
    }

    /// Whether streams are asked for in vain, as while Docker hangs.
    pub fn set_hangs(&self, hangs: bool) {
        self.inner.lock().hangs = hangs;
    }

    /// How much of endless logs was taken.
    #[must_use]
    pub fn log_bytes(&self) -> usize {
        self.inner.lock().log_bytes
    }

    /// What was asked, oldest first, as `verb name`.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.inner.lock().calls.clone()
    }

    /// The specs of the containers that exist.
    #[must_use]
    pub fn specs(&self) -> Vec<ContainerSpec> {
        self.inner.lock().containers.values().map(|(_, spec)| spec.clone()).collect()
    }

    /// Ends the running container `name` ("" = the sandbox) by itself.
    pub fn exit(&self, name: &str, code: i32) {
        let id = self
            .inner
            .lock()
            .containers
            .values()
            .find(|(c, _)| c.name == name && c.running())
            .map(|(c, _)| c.id.clone());
        if let Some(id) = id {
            self.end(&id, code);
        }
    }

    fn end(&self, id: &str, code: i32) {
        let now = self.clock.now();
        let mut inner = self.inner.lock();
        if let Some((container, _)) = inner.containers.get_mut(id) {
            let started = match &container.state {
                State::Running { started } => *started,
                _ => return,
            };
            container.pid = 0;
            container.state =
                State::Exited(Exit { code, started, finished: now, oom_killed: false, error: String::new() });
        }
        drop(inner);
        self.tell(id, false);
    }

    /// Nobody may be listening.
    fn tell(&self, id: &str, removed: bool) {
        drop(self.events.send(Event { id: id.to_owned(), removed }));
    }

    fn up(&self, call: String) -> Result<parking_lot::MutexGuard<'_, Inner>, Error> {
        let mut inner = self.inner.lock();
        if inner.down {
            let source = std::io::Error::other("connection refused");
            return Err(Error::Unreachable { endpoint: "fake".into(), source: Box::new(source) });
        }
        inner.calls.push(call);
        Ok(inner)
    }
}

fn refused(code: u16, message: String) -> Error {
    Error::Refused { code, message }
}

#[async_trait::async_trait]
impl Runtime for Fake {
    async fn info(&self) -> Result<Info, Error> {
        drop(self.up("info".into())?);
        Ok(Info { version: "fake://1".into(), ..Info::default() })
    }

    async fn list(&self) -> Result<Vec<Container>, Error> {
        Ok(self.up("list".into())?.containers.values().map(|(c, _)| c.clone()).collect())
    }

    async fn inspect(&self, id: &str) -> Result<Option<Container>, Error> {
        Ok(self.up(format!("inspect {id}"))?.containers.get(id).map(|(c, _)| c.clone()))
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<String, Error> {
        let created = self.clock.now();
        let mut inner = self.up(format!("create {}#{}", spec.name, spec.attempt))?;
        inner.next += 1;
        let id = format!("c{}", inner.next);
        let container = Container {
            id: id.clone(),
            role: spec.role,
            pod: spec.pod.clone(),
            name: if spec.role == Role::Sandbox { String::new() } else { spec.name.clone() },
            attempt: spec.attempt,
            sandbox: spec.sandbox.clone(),
            hash: spec.hash.clone(),
            image: spec.image_name.clone(),
            image_id: format!("docker://{}", spec.image),
            state: State::Created,
            pid: 0,
            created,
            applied: Applied {
                cpu_shares: spec.resources.cpu_shares,
                cpu_quota: spec.resources.cpu_quota,
                memory_bytes: spec.resources.memory_bytes,
            },
            grace_seconds: spec.grace_seconds,
        };
        inner.containers.insert(id.clone(), (container, spec.clone()));
        drop(inner);
        self.tell(&id, false);
        Ok(id)
    }

    async fn start(&self, id: &str) -> Result<(), Error> {
        let started = self.clock.now();
        let mut inner = self.up(format!("start {id}"))?;
        let (container, _) =
            inner.containers.get_mut(id).ok_or_else(|| refused(404, format!("No such container: {id}")))?;
        container.state = State::Running { started };
        container.pid = 4_000_000;
        drop(inner);
        self.tell(id, false);
        Ok(())
    }

    async fn update(&self, id: &str, applied: Applied) -> Result<(), Error> {
        let mut inner = self.up(format!("update {id}"))?;
        let (container, _) =
            inner.containers.get_mut(id).ok_or_else(|| refused(404, format!("No such container: {id}")))?;
        container.applied = applied;
        drop(inner);
        self.tell(id, false);
        Ok(())
    }

    async fn signal(&self, id: &str, signal: Option<&str>) -> Result<(), Error> {
        let ignores = {
            let mut inner = self.up(String::new())?;
            let name = inner.containers.get(id).map(|(c, _)| c.name.clone()).unwrap_or_default();
            inner.calls.pop();
            inner.calls.push(format!("signal {name} {}", signal.unwrap_or("TERM")));
            inner.ignores_term && signal != Some("KILL")
        };
        if !ignores {
            self.end(id, if signal == Some("KILL") { 137 } else { 143 });
        }
        Ok(())
    }

    async fn remove(&self, id: &str) -> Result<(), Error> {
        self.up(format!("remove {id}"))?.containers.remove(id);
        self.tell(id, true);
        Ok(())
    }

    async fn exec_create(&self, _id: &str, spec: &ExecSpec) -> Result<String, Error> {
        let line = spec.command.join(" ");
        let mut inner = self.up(format!("exec {line}"))?;
        inner.next += 1;
        let exec = format!("e{}", inner.next);
        inner.started.insert(exec.clone(), line);
        Ok(exec)
    }

    /// A command without an answer never ends.
    async fn exec_start(&self, exec: &str, _spec: &ExecSpec) -> Result<Streams, Error> {
        let inner = self.up(format!("exec-start {exec}"))?;
        let answer = inner.started.get(exec).and_then(|line| inner.exec.get(line));
        let output: Output = match answer {
            Some(done) => stream::iter([Ok(Chunk::Out(Bytes::from(done.output.clone())))]).boxed(),
            None => stream::pending().boxed(),
        };
        Ok(Streams { output, input: Box::new(tokio::io::sink()) })
    }

    async fn exec_state(&self, exec: &str) -> Result<Option<ExecState>, Error> {
        let inner = self.inner.lock();
        let Some(line) = inner.started.get(exec) else { return Ok(None) };
        let code = inner.exec.get(line).map(|done| done.code);
        Ok(Some(ExecState { running: code.is_none(), pid: Some(NOBODY), code }))
    }

    async fn exec_resize(&self, exec: &str, size: Size) -> Result<(), Error> {
        self.up(format!("exec-resize {exec} {}x{}", size.width, size.height)).map(drop)
    }

    async fn attach(&self, id: &str, _spec: &AttachSpec) -> Result<Streams, Error> {
        let hangs = self.up(format!("attach {id}"))?.hangs;
        if hangs {
            std::future::pending::<()>().await;
        }
        Ok(Streams { output: stream::pending().boxed(), input: Box::new(tokio::io::sink()) })
    }

    async fn resize(&self, id: &str, size: Size) -> Result<(), Error> {
        self.up(format!("resize {id} {}x{}", size.width, size.height)).map(drop)
    }

    async fn logs(&self, id: &str, _options: &LogOptions) -> Result<Output, Error> {
        if self.up(format!("logs {id}"))?.endless_logs {
            let inner = Arc::clone(&self.inner);
            return Ok(stream::repeat_with(move || {
                inner.lock().log_bytes += LOG_LINE.len();
                Ok(Chunk::Out(Bytes::from_static(&LOG_LINE)))
            })
            .boxed());
        }
        Ok(stream::iter([Ok(Chunk::Out(Bytes::from_static(b"hello\n")))]).boxed())
    }

    async fn image(&self, name: &str) -> Result<Option<Image>, Error> {
        Ok(self.up(format!("image {name}"))?.images.get(name).cloned())
    }

    async fn images(&self) -> Result<Vec<Image>, Error> {
        Ok(self.up("images".into())?.images.values().cloned().collect())
    }

    async fn pull(&self, name: &str, _credentials: Option<&Credentials>) -> Result<(), Error> {
        let mut inner = self.up(format!("pull {name}"))?;
        let image = inner.pullable.get(name).cloned();
        let image = image.ok_or_else(|| refused(404, format!("manifest for {name} not found: manifest unknown")))?;
        inner.images.insert(name.to_owned(), image);
        Ok(())
    }

    async fn load(&self, _archive: Vec<u8>) -> Result<(), Error> {
        let mut inner = self.up("load".into())?;
        let name = crate::pause::image_name();
        inner.images.insert(name.clone(), Image { id: "sha256:pause".into(), tags: vec![name], ..Image::default() });
        Ok(())
    }

    async fn remove_image(&self, id: &str) -> Result<(), Error> {
        self.up(format!("remove-image {id}"))?.images.retain(|_, image| image.id != id);
        Ok(())
    }

    async fn events(&self) -> Result<BoxStream<'static, Result<Event, Error>>, Error> {
        drop(self.up("events".into())?);
        let listener = self.events.subscribe();
        let stream = stream::unfold(listener, |mut listener| async move {
            // A listener that fell behind sees the stream end, and lists anew.
            listener.recv().await.ok().map(|event| (Ok(event), listener))
        });
        Ok(stream.boxed())
    }
}
