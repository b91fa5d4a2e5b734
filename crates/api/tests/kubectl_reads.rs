//! kubectl reads the discovery and OpenAPI documents: both are served from a thread here, nothing else is.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use gantry_api::discovery::{self, AGGREGATED_CONTENT_TYPE, Root};
use gantry_api::{canon, openapi};

/// Which form of discovery is offered.
#[derive(Clone, Copy)]
enum Form {
    Aggregated,
    Legacy,
}

fn answer(path: &str, form: Form) -> Option<(&'static str, Vec<u8>)> {
    const JSON: &str = "application/json";
    let path = path.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let encoded = |value| Some((JSON, canon::encode(&value)));
    match (parts.as_slice(), form) {
        (["api"], Form::Aggregated) => {
            Some((AGGREGATED_CONTENT_TYPE, canon::encode(&discovery::aggregated(Root::Api))))
        }
        (["apis"], Form::Aggregated) => {
            Some((AGGREGATED_CONTENT_TYPE, canon::encode(&discovery::aggregated(Root::Apis))))
        }
        (["api"], Form::Legacy) => encoded(discovery::api_versions("127.0.0.1:0")),
        (["apis"], Form::Legacy) => encoded(discovery::group_list()),
        (["api", version], _) => encoded(discovery::resource_list("", version)?),
        (["apis", group], _) => encoded(discovery::group(group)?),
        (["apis", group, version], _) => encoded(discovery::resource_list(group, version)?),
        (["openapi", "v3"], _) => encoded(openapi::index()),
        (["openapi", "v3", rest @ ..], _) => Some((JSON, openapi::v3(&rest.join("/"))?.bytes.clone())),
        _ => None,
    }
}

fn serve(stream: &TcpStream, form: Form) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (status, (content_type, body)) = match answer(path, form) {
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

/// Runs kubectl against the documents; `None` when it is not installed.
fn kubectl(form: Form, arguments: &[&str]) -> Option<String> {
    if Command::new("kubectl").args(["version", "--client"]).output().is_err() {
        eprintln!("skipped: kubectl is not installed");
        return None;
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = serve(&stream, form);
        }
    });
    let cache = tempfile::tempdir().expect("a folder");
    let output = Command::new("kubectl")
        .arg(format!("--server=http://{address}"))
        .arg(format!("--cache-dir={}", cache.path().display()))
        .args(arguments)
        .env("KUBECONFIG", "/dev/null")
        .output()
        .expect("kubectl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    Some(text)
}

#[test]
fn explain_prints_fields() {
    let Some(text) = kubectl(Form::Aggregated, &["explain", "deployment.spec"]) else { return };
    for part in [
        "KIND:       Deployment",
        "FIELD: spec <DeploymentSpec>",
        "replicas\t<integer>",
        "selector\t<LabelSelector> -required-",
        "template\t<PodTemplateSpec> -required-",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let text = kubectl(Form::Aggregated, &["explain", "pod.spec.containers.resources.limits", "--recursive"])
        .unwrap_or_default();
    assert!(text.contains("FIELD: limits <map[string]Quantity>"), "{text}");
}

#[test]
fn both_discovery_forms_list_the_same_resources() {
    let Some(new) = kubectl(Form::Aggregated, &["api-resources", "-o", "wide"]) else { return };
    let old = kubectl(Form::Legacy, &["api-resources", "-o", "wide"]).unwrap_or_default();
    assert_eq!(new, old);
    let line = new.lines().find(|l| l.starts_with("deployments ")).expect("deployments are listed");
    let cells: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(
        cells,
        [
            "deployments",
            "deploy",
            "apps/v1",
            "true",
            "Deployment",
            "create,delete,deletecollection,get,list,patch,update,watch",
            "all"
        ]
    );
}
