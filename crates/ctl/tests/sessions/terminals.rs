//! What a terminal goes through: gantryctl in a pseudo-terminal of its own.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::{AsFd, OwnedFd},
    process::{Child, Command, Stdio},
};

use nix::{
    pty::{Winsize, openpty},
    sys::{
        signal::{Signal, kill},
        termios::{LocalFlags, Termios, tcgetattr},
    },
    unistd::Pid,
};

use super::World;

struct Terminal {
    master: File,
    slave: OwnedFd,
    child: Child,
    seen: String,
}

impl Terminal {
    fn start(world: &World, args: &[&str]) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&size, None).expect("a pseudo-terminal");
        let end = || Stdio::from(pair.slave.try_clone().expect("open"));
        let own = world.command(args);
        // In a session of its own, whose terminal this is.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg("--wait").arg(own.get_program()).args(own.get_args());
        command.env("KUBECONFIG", &world.kubeconfig).stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().expect("setsid is there");
        Self { master: pair.master.into(), slave: pair.slave, child, seen: String::new() }
    }

    fn settings(&self) -> Termios {
        tcgetattr(self.slave.as_fd()).expect("a terminal")
    }

    fn is_raw(&self) -> bool {
        !self.settings().local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG)
    }

    /// Reads until the text is there.
    fn wait_for(&mut self, text: &str) {
        let mut buffer = [0; 1024];
        while !self.seen.contains(text) {
            let length = self.master.read(&mut buffer).unwrap_or(0);
            assert!(length > 0, "{text:?} never came: {:?}", self.seen);
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        self.seen = self.seen.split_once(text).expect("it is there").1.to_owned();
    }

    fn resize(&self, columns: &str, rows: &str) {
        let stdin = Stdio::from(self.slave.try_clone().expect("open"));
        let done = Command::new("stty").args(["cols", columns, "rows", rows]).stdin(stdin).status();
        assert!(done.expect("stty is there").success());
    }

    fn ends(&mut self) -> Option<i32> {
        self.child.wait().expect("it ends").code()
    }

    /// gantryctl's own process: the child of setsid, or setsid's once it has become it.
    fn process(&self) -> Pid {
        let own = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        let pid = children.split_whitespace().next().map_or_else(|| own.to_string(), str::to_owned);
        Pid::from_raw(pid.parse().expect("a number"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_raw_while_it_is_the_containers() {
    let world = World::start().await;
    let mut terminal = Terminal::start(&world, &["exec", "-it", "web", "--", "size"]);
    let before = terminal.settings();
    terminal.wait_for("80x24");
    assert!(terminal.is_raw());
    // What would interrupt gantryctl goes to the container instead.
    terminal.master.write_all(b"\x03").expect("open");
    terminal.wait_for("\\x03");
    terminal.resize("100", "40");
    terminal.wait_for("100x40");
    terminal.master.write_all(b"q").expect("open");
    assert_eq!(terminal.ends(), Some(3));
    assert_eq!(terminal.settings(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_given_back_when_a_signal_ends_gantryctl() {
    let world = World::start().await;
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        let mut terminal = Terminal::start(&world, &["exec", "-it", "web", "--", "size"]);
        let before = terminal.settings();
        terminal.wait_for("80x24");
        assert!(terminal.is_raw());
        kill(terminal.process(), signal).expect("it runs");
        assert_eq!(terminal.ends(), Some(128 + signal as i32), "{signal}");
        assert_eq!(terminal.settings(), before, "{signal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_on_a_terminal_keep_colours_and_nothing_else() {
    let world = World::start().await;
    world.fake.state.add_log("web", "nginx", &["\u{1b}[31mred\u{1b}[0m \u{1b}]0;title\u{7}\n"]);
    let mut terminal = Terminal::start(&world, &["logs", "web", "--prefix"]);
    terminal.wait_for("\u{1b}[32m[pod/web/nginx] \u{1b}[0m\u{1b}[31mred\u{1b}[0m \u{fffd}]0;title\u{fffd}\r\n");
    assert_eq!(terminal.ends(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_on_a_terminal_are_harmless() {
    let world = World::start().await;
    let evil = "line\n\u{9b}2J\n";
    world.fake.state.add(
        "configmaps",
        serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "default"}, "data": {"k": evil}}),
    );
    let mut terminal = Terminal::start(&world, &["get", "configmap", "c", "-o", "yaml"]);
    terminal.wait_for("kind: ConfigMap");
    assert!(!terminal.seen.contains('\u{9b}'), "{:?}", terminal.seen);
    drop(terminal.slave);
    let mut rest = Vec::new();
    // A terminal whose other end is closed is an error to read on Linux.
    drop(terminal.master.read_to_end(&mut rest));
    assert!(!String::from_utf8_lossy(&rest).contains('\u{9b}'));
}
