//! Pages in pieces of every size.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderValue;

use super::*;

const P: &str = "/api/v1/namespaces/a/pods/p/proxy";

fn rewriter(encoding: &str) -> Option<Rewriter> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(5));
    if !encoding.is_empty() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_str(encoding).expect("valid"));
    }
    let links = Links::new(P, ["10.244.0.7:80", "localhost"]);
    let made = Rewriter::for_answer(&Method::GET, StatusCode::OK, &mut headers, &links);
    assert_eq!(made.is_some(), !headers.contains_key(header::CONTENT_LENGTH));
    made
}

fn run(page: &[u8], encoding: &str, piece: usize) -> String {
    let mut rewriter = rewriter(encoding).expect("a page");
    let mut out = Vec::new();
    for piece in page.chunks(piece) {
        out.extend(rewriter.push(piece).expect("readable"));
    }
    out.extend(rewriter.finish().expect("readable"));
    String::from_utf8(out).expect("text")
}

fn check(page: &str, expected: &str) {
    let expected = expected.replace("{P}", P);
    for piece in [1, 2, 3, 7, page.len().max(1)] {
        assert_eq!(run(page.as_bytes(), "", piece), expected, "in pieces of {piece}");
    }
}

#[test]
fn links_are_rewritten_and_nothing_else() {
    check(r#"<a href="/x">x</a>"#, r#"<a href="{P}/x">x</a>"#);
    check("<A HREF = '/x' class=c>", "<A HREF = '{P}/x' class=c>");
    check("<img src=/i.png alt=/i.png>", "<img src={P}/i.png alt=/i.png>");
    check(
        r#"<link rel=icon href="/i"/><script src="/s.js"></script>"#,
        r#"<link rel=icon href="{P}/i"/><script src="{P}/s.js"></script>"#,
    );
    check(r#"<form action="http://10.244.0.7/post?a=1&amp;b=2">"#, r#"<form action="{P}/post?a=1&amp;b=2">"#);
    check(r#"<video poster="/p" src="/v"></video>"#, r#"<video poster="{P}/p" src="{P}/v"></video>"#);
    for same in [
        "",
        "no tags, 1 < 2 and a <",
        r#"<a href="x">"#,
        r#"<a href="http://example.com/x" title="it's > that">"#,
        r#"<div href="/x">"#,
        r#"<!-- <a href="/x"> --><p>"#,
        "<!-->",
        r#"<script>if (a < b) { x = '<a href="/x">'; }</script>"#,
        r#"<style>a { background: url(/x) }</style><title><a href="/x"></title>"#,
        r#"<!DOCTYPE html><p title='<a href="/x">'>"#,
        r#"<a href="/never closed"#,
    ] {
        check(same, same);
    }
    check("<!--><a href=/x>", "<!--><a href={P}/x>");
    check("<script>1</ScRiPt ><a href=/x>", "<script>1</ScRiPt ><a href={P}/x>");
    check("<a title=it's href=/x>", "<a title=it's href={P}/x>");
}

#[test]
fn packed_pages_are_unpacked() {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(b"<a href='/x'>").expect("to memory");
    let packed = packer.finish().expect("to memory");
    for piece in [1, 5, packed.len()] {
        assert_eq!(run(&packed, "gzip", piece), format!("<a href='{P}/x'>"));
    }
    assert!(rewriter("br").is_none(), "what cannot be read passes as it is");
    let mut broken = rewriter("gzip").expect("a page");
    assert!(broken.push(b"this is not gzip").is_err() || broken.finish().is_err());
}

#[test]
fn a_tag_without_end_is_not_held_for_ever() {
    let mut rewriter = rewriter("").expect("a page");
    let mut passed = rewriter.push(b"<a title=\"").expect("readable").len();
    for _ in 0..40 {
        passed += rewriter.push(&[b'x'; 4096]).expect("readable").len();
    }
    assert!(passed > 4096 * 20, "{passed}");
    let whole = passed + rewriter.finish().expect("readable").len();
    assert_eq!(whole, 10 + 40 * 4096);
}

#[test]
fn other_answers_are_left_alone() {
    let links = Links::new(P, ["10.244.0.7:80", "localhost"]);
    let check = |method: Method, status: StatusCode, media: &'static str| {
        let mut headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(media))]);
        Rewriter::for_answer(&method, status, &mut headers, &links).is_some()
    };
    assert!(check(Method::POST, StatusCode::NOT_FOUND, "Text/HTML"));
    assert!(!check(Method::HEAD, StatusCode::OK, "text/html"));
    assert!(!check(Method::GET, StatusCode::PARTIAL_CONTENT, "text/html"));
    assert!(!check(Method::GET, StatusCode::OK, "text/html2"));
}
