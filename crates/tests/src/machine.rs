//! What is on this machine: programs, links, rules, mounts, connections.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};

/// What a program printed and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// Whether it succeeded.
    pub ok: bool,
    /// Its exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Standard output of a program that succeeded.
    ///
    /// # Panics
    /// When it failed.
    #[must_use]
    pub fn expect_ok(self, what: &str) -> String {
        assert!(self.ok, "{what} failed:\n{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// What a program that failed said on standard error.
    ///
    /// # Panics
    /// When it succeeded.
    #[must_use]
    pub fn expect_failure(self, what: &str) -> String {
        assert!(!self.ok, "{what} should have failed, but printed:\n{}", self.stdout);
        self.stderr
    }
}

/// Runs a command with text on its standard input.
///
/// # Panics
/// When it cannot be started.
pub fn run(command: &mut Command, input: impl AsRef<[u8]> + Sync) -> Output {
    let input = input.as_ref();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    let mut stdin = child.stdin.take().expect("standard input was asked for");
    let output = std::thread::scope(|scope| {
        // A program that does not read all of it closes the pipe; one that answers while it reads must be read meanwhile.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().expect("the program can be waited for")
    });
    Output {
        ok: output.status.success(),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs a program with arguments.
pub fn sh(program: &str, args: &[&str]) -> Output {
    run(Command::new(program).args(args), "")
}

/// Status and body of an HTTP answer, asked for over a new connection.
///
/// # Errors
/// When nothing answers within two seconds.
pub fn http_get(at: SocketAddr, path: &str) -> Result<(u16, String), String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&at, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(4)))?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {at}\r\n\r\n").as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let text = ask().map_err(|e| format!("http://{at}{path}: {e}"))?;
    let status = text.split_whitespace().nth(1).and_then(|s| s.parse().ok());
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    status.zip(body).ok_or_else(|| format!("http://{at}{path}: no HTTP: {text:?}"))
}

/// What `up` might leave on a machine, as lines that can be compared.
#[must_use]
pub fn traces() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut add = |kind: &str, text: &str| found.extend(text.lines().map(|l| format!("{kind}: {}", l.trim())));
    let links = sh("ip", &["-brief", "link", "show"]).stdout;
    let names: Vec<&str> = links.lines().filter_map(|l| l.split_whitespace().next()).collect();
    add("link", &names.join("\n"));
    add("nft table", &sh("nft", &["list", "tables"]).stdout);
    add(
        "iptables",
        &sh("iptables-save", &[]).stdout.lines().filter(|l| l.starts_with("-A")).collect::<Vec<_>>().join("\n"),
    );
    add("route", &sh("ip", &["-4", "route"]).stdout);
    add("forwarding", &fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap_or_default());
    for folder in ["/run/netns", "/run/gantry", "/sys/fs/cgroup/memory", "/sys/fs/cgroup"] {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        add(folder, &names.join("\n"));
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    add("mount", &mounts.lines().filter_map(|l| l.split(' ').nth(4)).collect::<Vec<_>>().join("\n"));
    found
}

/// The names of the processes that have an open TCP connection to a port of this machine.
#[must_use]
pub fn connected_to(port: u16) -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let inodes: BTreeSet<String> = table
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (_, to) = fields.get(2)?.rsplit_once(':')?;
            let open = *fields.get(3)? == "01" && u16::from_str_radix(to, 16).ok()? == port;
            open.then(|| format!("socket:[{}]", fields[9]))
        })
        .collect();
    let mut found = BTreeSet::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let descriptors = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        let holds = descriptors
            .filter_map(|d| fs::read_link(d.path()).ok())
            .any(|target| inodes.contains(target.to_string_lossy().as_ref()));
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            found.insert(name.trim().to_owned());
        }
    }
    found
}

/// The names of the processes that are connected to a unix socket that was bound to `name`.
///
/// # Panics
/// When `ss` (iproute2) cannot be run.
#[must_use]
pub fn connected_to_socket(name: &str) -> BTreeSet<String> {
    let table = run(Command::new("ss").args(["-x", "-p", "-H", "-n"]), "").expect_ok("ss");
    peers_of(&table, name)
}

/// Each line: kind, state, two queues, the own name and number, the peer's name and number, and whose the socket is.
fn peers_of(table: &str, name: &str) -> BTreeSet<String> {
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let of = |row: &&Vec<&str>| row.get(4).is_some_and(|own| *own == name) && row.get(1) == Some(&"ESTAB");
    let peers: BTreeSet<&str> = rows.iter().filter(of).filter_map(|row| row.get(7).copied()).collect();
    let ends = rows.iter().filter(|row| row.get(5).is_some_and(|number| peers.contains(number)));
    // users:(("name",pid=1,fd=2))
    ends.filter_map(|row| row.get(8)?.split('"').nth(1)).map(str::to_owned).collect()
}

/// The processes of this machine whose command line (words ended by NUL) contains `text`.
#[must_use]
pub fn processes(text: &str) -> BTreeSet<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let has = |e: &fs::DirEntry| {
        let line = fs::read(e.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    };
    entries.filter(has).filter_map(|e| e.file_name().to_string_lossy().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_other_ends_of_a_socket_are_found() {
        let table = "u_str ESTAB 0 0 etcd.sock:0 31 * 32 users:((\"etcd\",pid=5,fd=9))\n\
                     u_str ESTAB 0 0 * 32 * 31 users:((\"gantry-apiserve\",pid=6,fd=10))\n\
                     u_str ESTAB 0 0 /other 33 * 34 users:((\"etcd\",pid=5,fd=11))\n\
                     u_str ESTAB 0 0 * 34 * 33 users:((\"stranger\",pid=7,fd=3))\n";
        assert_eq!(peers_of(table, "etcd.sock:0").into_iter().collect::<Vec<_>>(), ["gantry-apiserve"]);
    }

    #[test]
    fn a_connection_shows_its_process() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        assert!(connected_to(address.port()).is_empty());
        let _open = TcpStream::connect(address).expect("it connects");
        assert!(!connected_to(address.port()).is_empty());
    }

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = [0; 64];
            let n = stream.read(&mut request).expect("a request");
            stream.write_all(b"HTTP/1.0 418 x\r\nA: b\r\n\r\nshort").expect("it is sent");
            String::from_utf8_lossy(&request[..n]).into_owned()
        });
        assert_eq!(http_get(address, "/x"), Ok((418, "short".to_owned())));
        assert!(server.join().expect("it ends").starts_with("GET /x HTTP/1.0\r\n"));
    }
}
