//! Query parameters, and the log requests that are made of them; pure.

use gantry_api::status::Status;
use gantry_proto::v1::LogRequest;
use percent_encoding::percent_decode_str;

/// Decoded parameters, in order.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

pub(super) fn decode(text: &str) -> Result<String, Status> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| Status::bad_request(format!("{text:?} is not UTF-8")))
}

impl Query {
    pub(super) fn parse(text: &str) -> Result<Self, Status> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(&name.replace('+', " "))?, decode(&value.replace('+', " "))?))
        });
        pairs.collect::<Result<_, Status>>().map(Self)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn flag(&self, name: &str) -> Result<bool, Status> {
        match self.get(name) {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(other) => Err(Status::bad_request(format!("{name}={other:?} is neither true nor false"))),
        }
    }

    fn number(&self, name: &str) -> Result<Option<i64>, Status> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number = text.parse::<i64>().ok().filter(|number| *number >= 0);
        number.map(Some).ok_or_else(|| Status::bad_request(format!("{name}={text:?} is not a number from 0 on")))
    }
}

/// The log that `<namespace>/<pod>/<container>` and the parameters ask for.
pub(super) fn log_request(path: &str, query: &Query) -> Result<LogRequest, Status> {
    let [namespace, pod, container] = path.split('/').collect::<Vec<_>>()[..] else {
        return Err(Status::bad_request("the path is /containerLogs/<namespace>/<pod>/<container>"));
    };
    Ok(LogRequest {
        namespace: decode(namespace)?,
        pod: decode(pod)?,
        container: decode(container)?,
        follow: query.flag("follow")?,
        previous: query.flag("previous")?,
        timestamps: query.flag("timestamps")?,
        since_seconds: query.number("sinceSeconds")?,
        since_time: query.get("sinceTime").unwrap_or_default().to_owned(),
        // Upstream's older clients say "all".
        tail_lines: if query.get("tailLines") == Some("all") { None } else { query.number("tailLines")? },
        limit_bytes: query.number("limitBytes")?,
        stream: query.get("stream").unwrap_or_default().to_owned(),
        pod_uid: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_become_a_request() {
        let parse = |path: &str, query: &str| log_request(path, &Query::parse(query)?);
        let text = "follow=true&tailLines=0&sinceTime=2026-01-02T03%3A04%3A05Z&limitBytes=7&stream=Stdout&previous";
        let found = parse("ns/p/c", text).unwrap();
        assert_eq!((found.namespace.as_str(), found.pod.as_str(), found.container.as_str()), ("ns", "p", "c"));
        assert!(found.follow && found.previous && !found.timestamps);
        assert_eq!((found.tail_lines, found.limit_bytes), (Some(0), Some(7)));
        assert_eq!((found.since_time.as_str(), found.stream.as_str()), ("2026-01-02T03:04:05Z", "Stdout"));
        for (path, query) in
            [("ns/p", ""), ("ns/p/c/d", ""), ("ns/p/c", "follow=x"), ("ns/p/c", "tailLines=-1"), ("ns/%ff/c", "")]
        {
            assert_eq!(parse(path, query).unwrap_err().code, 400, "{path}?{query}");
        }
    }
}
