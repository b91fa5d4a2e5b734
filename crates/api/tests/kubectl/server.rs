//! A server of documents on a thread: discovery, OpenAPI, and an ear for what kubectl posts.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use gantry_api::discovery::{self, AGGREGATED_CONTENT_TYPE, Root};
use gantry_api::kinds::Kinds;
use gantry_api::openapi::{self, Generator};
use gantry_api::{canon, decode};

const V2: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Which form of discovery is offered; the older one comes without OpenAPI version 3.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    Aggregated,
    Legacy,
}

/// A request with a body.
#[derive(Debug)]
pub(crate) struct Posted {
    pub(crate) path: String,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
}

/// The server; it ends with the process.
pub(crate) struct Server {
    address: SocketAddr,
    posted: Arc<Mutex<Vec<Posted>>>,
}

impl Server {
    pub(crate) fn start(form: Form) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let posted = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&posted);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = serve(&stream, form, &heard);
            }
        });
        Self { address, posted }
    }

    /// Runs kubectl against the server.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let cache = tempfile::tempdir().expect("a folder");
        Command::new("kubectl")
            .arg(format!("--server=http://{}", self.address))
            .arg(format!("--cache-dir={}", cache.path().display()))
            .args(arguments)
            .env("KUBECONFIG", "/dev/null")
            .output()
            .expect("kubectl runs")
    }

    /// Runs kubectl, which must succeed, and returns what it prints.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// What was posted since the last call.
    pub(crate) fn posted(&self) -> Vec<Posted> {
        std::mem::take(&mut *self.posted.lock().expect("no test panics with the lock"))
    }
}

fn document(path: &str, form: Form) -> Option<(&'static str, Vec<u8>)> {
    const JSON: &str = "application/json";
    let path = path.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let encoded = |value| Some((JSON, canon::encode(&value)));
    match (parts.as_slice(), form) {
        (["api"], Form::Aggregated) => {
            Some((AGGREGATED_CONTENT_TYPE, canon::encode(&discovery::aggregated(&Kinds::builtin(), Root::Api))))
        }
        (["apis"], Form::Aggregated) => {
            Some((AGGREGATED_CONTENT_TYPE, canon::encode(&discovery::aggregated(&Kinds::builtin(), Root::Apis))))
        }
        (["api"], Form::Legacy) => encoded(discovery::api_versions("127.0.0.1:0")),
        (["apis"], Form::Legacy) => encoded(discovery::group_list(&Kinds::builtin())),
        (["api", version], _) => encoded(discovery::resource_list(&Kinds::builtin(), "", version)?),
        (["apis", group], _) => encoded(discovery::group(&Kinds::builtin(), group)?),
        (["apis", group, version], _) => encoded(discovery::resource_list(&Kinds::builtin(), group, version)?),
        (["openapi", "v3"], Form::Aggregated) => {
            let hashes = openapi::v3_paths(&Kinds::builtin()).into_iter().map(|path| (path, "1".to_owned())).collect();
            encoded(openapi::index(&hashes))
        }
        (["openapi", "v3", rest @ ..], Form::Aggregated) => {
            Some((JSON, Generator::new(Arc::default()).v3(&rest.join("/"), openapi::Form::Json)?))
        }
        (["openapi", "v2"], _) => Some((V2, Generator::new(Arc::default()).v2(openapi::Form::Protobuf))),
        _ => None,
    }
}

fn serve(stream: &TcpStream, form: Form, posted: &Mutex<Vec<Posted>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let (mut content_type, mut length) = (String::new(), 0u64);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-type" => value.clone_into(&mut content_type),
            "content-length" => length = value.parse().unwrap_or_default(),
            _ => {}
        }
    }
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let answer = if method == "POST" {
        // The object itself is answer enough.
        let object = decode::protobuf(&body).map(|v| ("application/json", canon::encode(&v))).ok();
        posted.lock().expect("no test panics with the lock").push(Posted { path: path.to_owned(), content_type, body });
        object
    } else {
        document(path, form)
    };
    let (status, (content_type, body)) = match answer {
        Some(found) => ("200 OK", found),
        None => ("404 Not Found", ("text/plain", b"404 page not found".to_vec())),
    };
    let mut out = stream;
    write!(
        out,
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    out.write_all(&body)
}
