//! Containers' logs, from Docker's own files.

use bollard::query_parameters::InspectContainerOptions;
use futures::TryStreamExt;
use http_body_util::BodyExt;
use tokio_util::io::StreamReader;

use super::{
    Docker, Error,
    frames::{Times, output},
    wire,
};
use crate::runtime::{Chunk, LogOptions, Output};

/// The request; pure. Docker takes the time of the first line as seconds with a fraction.
fn path(id: &str, options: &LogOptions) -> String {
    let flag = |on: bool| u8::from(on);
    let since = options.since.map_or_else(
        || "0".to_owned(),
        |time| {
            let (second, nano) = (time.as_second(), time.subsec_nanosecond());
            if second < 0 { "0".to_owned() } else { format!("{second}.{nano:09}") }
        },
    );
    format!(
        "/containers/{id}/logs?follow={}&stdout={}&stderr={}&timestamps={}&since={since}&tail={}",
        flag(options.follow),
        flag(!options.no_stdout),
        flag(!options.no_stderr),
        flag(options.timestamps),
        options.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string()),
    )
}

pub(super) async fn read(docker: &Docker, id: &str, options: &LogOptions) -> Result<Output, Error> {
    let found = docker.client()?.inspect_container(id, None::<InspectContainerOptions>).await;
    let tty = found.map_err(|e| docker.error(e))?.config.and_then(|config| config.tty) == Some(true);
    let body = wire::read(&docker.endpoint, &path(id, options)).await?;
    let reader = StreamReader::new(body.into_data_stream().map_err(std::io::Error::other));
    let times = options.timestamps.then(Times::default);
    let stream = output(reader, bytes::Bytes::new(), tty, times);
    Ok(Box::pin(stream.try_filter(|chunk| {
        let (Chunk::Out(bytes) | Chunk::Err(bytes)) = chunk;
        std::future::ready(!bytes.is_empty())
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_reaches_docker() {
        let check = |options: LogOptions, expected: &str| assert_eq!(path("c", &options), expected);
        check(LogOptions::default(), "/containers/c/logs?follow=0&stdout=1&stderr=1&timestamps=0&since=0&tail=all");
        let since = |text: &str| Some(text.parse().unwrap());
        check(
            LogOptions {
                follow: true,
                timestamps: true,
                tail: Some(0),
                since: since("2026-01-02T03:04:05.006000007Z"),
                no_stdout: true,
                no_stderr: false,
            },
            "/containers/c/logs?follow=1&stdout=0&stderr=1&timestamps=1&since=1767323045.006000007&tail=0",
        );
        check(
            LogOptions { since: since("1969-12-31T00:00:00Z"), no_stderr: true, ..LogOptions::default() },
            "/containers/c/logs?follow=0&stdout=1&stderr=0&timestamps=0&since=0&tail=all",
        );
    }
}
