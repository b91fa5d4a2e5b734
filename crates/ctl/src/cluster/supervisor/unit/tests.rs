use super::*;

/// A service that says it is ready, through a shell and a file, then waits.
fn spec(name: &str, script: &str) -> Spec {
    Spec {
        name: name.to_owned(),
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.to_owned()],
        env: Vec::new(),
        folder: None,
        socket: None,
        netns: None,
        ready: Ready::Notify,
        stop_seconds: 10,
        restart_on: Vec::new(),
    }
}

struct Place {
    _folder: tempfile::TempDir,
    layout: Layout,
}

fn place() -> Place {
    let folder = tempfile::tempdir().expect("a folder");
    let layout = Layout::with_run(folder.path().join("state"), folder.path().join("run"));
    for path in [layout.logs(), layout.records(), layout.run().to_owned()] {
        fs::create_dir_all(path).expect("a folder");
    }
    Place { _folder: folder, layout }
}

async fn until(handle: &Handle, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
    let mut status = handle.status.clone();
    let found = tokio::time::timeout(Duration::from_secs(20), status.wait_for(|s| wanted(s))).await;
    found.unwrap_or_else(|_| panic!("never {what}: {:?}", handle.status())).expect("the task runs").clone()
}

#[tokio::test]
async fn a_service_that_is_killed_runs_again() {
    let place = place();
    let handle = start(place.layout.clone(), spec("s", "exec sleep 1000")).expect("it starts");
    let first = until(&handle, "started", |s| s.pid.is_some()).await.pid.expect("it runs");
    process::Ident::of(first).expect("it runs").signal(Signal::SIGKILL);
    let again = until(&handle, "started again", |s| s.pid.is_some_and(|p| p != first)).await;
    assert_eq!((again.restarts, again.last_exit.as_deref()), (1, Some("signal 9")));
    handle.send(Command::Stop { kill: true }).await.expect("it listens");
    until(&handle, "stopped", |s| s.state == State::Stopped).await;
}

#[tokio::test]
async fn what_a_killed_service_leaves_of_its_socket_is_not_in_its_way() {
    let place = place();
    let run = place.layout.run().to_owned();
    let script = "[ -e a.sock ] && exit 7; touch a.sock ran-$$; exec sleep 1000";
    let spec = Spec { folder: Some(run.clone()), socket: Some(run.join("a.sock")), ..spec("s", script) };
    let handle = start(place.layout.clone(), spec).expect("it starts");
    let first = until(&handle, "started", |s| s.pid.is_some()).await.pid.expect("it runs");
    let ran = async |times: usize| {
        let has_run = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("ran-");
        while fs::read_dir(&run).expect("a folder").flatten().filter(has_run).count() < times {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    ran(1).await;
    process::Ident::of(first).expect("it runs").signal(Signal::SIGKILL);
    tokio::time::timeout(Duration::from_secs(20), ran(2)).await.expect("it runs again");
    handle.send(Command::Stop { kill: true }).await.expect("it listens");
    until(&handle, "stopped", |s| s.state == State::Stopped).await;
}

#[tokio::test]
async fn a_new_supervisor_adopts_what_runs_even_without_a_record() {
    let place = place();
    for lose_record in [false, true] {
        let handle = start(place.layout.clone(), spec("s", "sleep 1000 & wait")).expect("it starts");
        let pid = until(&handle, "started", |s| s.pid.is_some()).await.pid;
        // The task ends as if the supervisor had been killed; the process goes on.
        drop(handle);
        if lose_record {
            fs::remove_file(record_path(&place.layout, "s")).expect("there was a record");
        }
        let next = start(place.layout.clone(), spec("s", "sleep 1000 & wait")).expect("it starts");
        assert_eq!(next.status().pid, pid, "lose_record={lose_record}");
        next.send(Command::Stop { kill: true }).await.expect("it listens");
        until(&next, "stopped", |s| s.state == State::Stopped).await;
        next.send(Command::Start).await.expect("it listens");
        until(&next, "running", |s| s.pid.is_some()).await;
        next.send(Command::Stop { kill: true }).await.expect("it listens");
        until(&next, "stopped", |s| s.state == State::Stopped).await;
        fs::remove_file(record_path(&place.layout, "s")).expect("there was a record");
    }
}

#[tokio::test]
async fn ready_is_what_the_service_says() {
    let place = place();
    let handle = start(place.layout.clone(), spec("s", "exec sleep 1000")).expect("it starts");
    until(&handle, "starting", |s| s.state == State::Starting).await;
    let client = UnixDatagram::unbound().expect("a socket");
    client.send_to(b"STATUS=x\nREADY=1", place.layout.notify_socket("s")).await.expect("it is sent");
    until(&handle, "ready", |s| s.state == State::Ready).await;
    handle.send(Command::Stop { kill: false }).await.expect("it listens");
    let end = until(&handle, "stopped", |s| s.state == State::Stopped).await;
    assert_eq!(end.last_exit.as_deref(), Some("signal 15"));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_reported_and_tried_again() {
    let place = place();
    let missing = Spec { program: "/no/such/program".into(), ..spec("s", "") };
    let handle = start(place.layout.clone(), missing).expect("it starts");
    let status = until(&handle, "failed", |s| s.last_exit.is_some()).await;
    assert_eq!(status.state, State::Waiting);
    assert!(status.last_exit.expect("a reason").contains("/no/such/program"));
}

#[tokio::test]
async fn a_changed_description_is_outdated_until_started_again() {
    let place = place();
    let handle = start(place.layout.clone(), spec("s", "exec sleep 1000")).expect("it starts");
    let first = until(&handle, "started", |s| s.pid.is_some()).await.pid;
    handle.send(Command::Describe(Box::new(spec("s", "exec sleep 2000")))).await.expect("it listens");
    until(&handle, "outdated", |s| s.outdated).await;
    handle.send(Command::Start).await.expect("it listens");
    until(&handle, "replaced", |s| !s.outdated && s.pid.is_some() && s.pid != first).await;
    handle.send(Command::Stop { kill: true }).await.expect("it listens");
    until(&handle, "stopped", |s| s.state == State::Stopped).await;
}
