//! Request paths: nothing that they name can leave its place in a key, and a path that is written from what was read means the same.

use std::fmt::Write as _;

// Alone: the API server is large, and this is all of it that reads paths.
#[path = "../../../apiserver/src/route.rs"]
mod route;

use route::{ResourcePath, Route, parse};

pub(crate) fn run(data: &[u8]) {
    let Ok(path) = std::str::from_utf8(data) else { return };
    match parse(path) {
        Route::Plain(kept) => assert_eq!(kept, path),
        Route::Malformed => {}
        Route::Resource(found) => {
            let ResourcePath { group, version, namespace, resource, name, subresource, rest, .. } = &found;
            for part in [group, version, namespace, resource, name, subresource] {
                assert!(part != "." && part != ".." && !part.contains(['/', '\0']), "{path:?}: {part:?}");
            }
            if found.hollow {
                // It is asked for as it stands, and answered 404.
                return;
            }
            assert!(!version.is_empty() && !resource.is_empty(), "{path:?}");
            assert!(path.ends_with(rest.as_str()) && (rest.is_empty() || rest.starts_with('/')), "{path:?}: {rest:?}");
            assert!(rest.is_empty() || !subresource.is_empty(), "{path:?}");
            assert_eq!(parse(&written(&found)), Route::Resource(found), "{path:?}");
        }
    }
}

fn written(found: &ResourcePath) -> String {
    let root = if found.group.is_empty() { "/api" } else { "/apis" };
    let watch = if found.watch { "watch" } else { "" };
    let namespaces = if found.namespace.is_empty() { "" } else { "namespaces" };
    let parts: [&str; 8] = [
        &found.group,
        &found.version,
        watch,
        namespaces,
        &found.namespace,
        &found.resource,
        &found.name,
        &found.subresource,
    ];
    let mut path = root.to_owned();
    for part in parts.into_iter().filter(|part| !part.is_empty()) {
        path.push('/');
        for byte in part.bytes() {
            if byte.is_ascii_alphanumeric() {
                path.push(char::from(byte));
            } else {
                write!(path, "%{byte:02X}").expect("a String takes all");
            }
        }
    }
    path + &found.rest
}
