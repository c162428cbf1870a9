//! As much of HTTP/1 as it takes to be asked for one page.

use std::io::{self, Read};

use super::exposition::CONTENT_TYPE;

/// The most bytes of a request that are read: its line and its headers.
pub(super) const MOST_BYTES: usize = 8 << 10;

/// Reads a request up to the blank line behind its headers; `None` when it is longer than [`MOST_BYTES`].
///
/// # Errors
/// When it ends before that, or does not come in time.
pub(super) fn read_head(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    loop {
        let count = match from.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend(&piece[..count]);
        // Lines may end without a carriage return (RFC 9112, 2.2).
        let is_end = |ending: &[u8]| head.windows(ending.len()).any(|found| found == ending);
        if is_end(b"\r\n\r\n") || is_end(b"\n\n") {
            return Ok(Some(head));
        }
        if head.len() >= MOST_BYTES {
            return Ok(None);
        }
    }
}

/// The whole answer to a request, whose headers do not matter. `page` makes the page.
pub(super) fn answer(head: Option<&[u8]>, page: impl FnOnce() -> String) -> Vec<u8> {
    let Some(head) = head else {
        return refusal("431 Request Header Fields Too Large", "", true);
    };
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return refusal("400 Bad Request", "", true);
    };
    let is_method = !method.is_empty() && method.iter().all(u8::is_ascii_alphabetic);
    if !is_method || target.is_empty() {
        return refusal("400 Bad Request", "", true);
    }
    let has_body = method != b"HEAD";
    match version {
        b"HTTP/1.0" | b"HTTP/1.1" => {}
        _ if version.starts_with(b"HTTP/") => {
            return refusal("505 HTTP Version Not Supported", "", has_body);
        }
        _ => return refusal("400 Bad Request", "", true),
    }
    if !matches!(method, b"GET" | b"HEAD") {
        return refusal("405 Method Not Allowed", "Allow: GET, HEAD\r\n", true);
    }
    match path(target) {
        b"/metrics" => response("200 OK", CONTENT_TYPE, "", &page(), has_body),
        _ => refusal("404 Not Found", "", has_body),
    }
}

/// The path of a target, which may have a query, and a scheme and a host before it (RFC 9112, 3.2.2).
fn path(target: &[u8]) -> &[u8] {
    let target = target.split(|byte| *byte == b'?').next();
    let target = target.unwrap_or_default();
    let Some(rest) = target.strip_prefix(b"http://") else {
        return target;
    };
    let at = rest.iter().position(|byte| *byte == b'/');
    at.map_or(b"/", |at| &rest[at..])
}

/// An answer that says in a line what is wrong, and where the figures are.
fn refusal(status: &str, header: &str, has_body: bool) -> Vec<u8> {
    let body = format!("{status}; the figures are at /metrics\n");
    response(status, "text/plain; charset=utf-8", header, &body, has_body)
}

fn response(status: &str, kind: &str, header: &str, body: &str, has_body: bool) -> Vec<u8> {
    let length = body.len();
    let mut response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n{header}\r\n"
    );
    if has_body {
        response.push_str(body);
    }
    response.into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answered(request: &str) -> String {
        let head = read_head(&mut request.as_bytes()).unwrap();
        let answer = answer(head.as_deref(), || "loss 1\n".to_owned());
        String::from_utf8(answer).unwrap()
    }

    fn status(request: &str) -> String {
        let answer = answered(request);
        let status = answer.lines().next().unwrap();
        status.strip_prefix("HTTP/1.1 ").unwrap()[..3].to_owned()
    }

    #[test]
    fn the_page_and_its_headers() {
        assert_eq!(
            answered("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
             Content-Length: 7\r\nConnection: close\r\n\r\nloss 1\n"
        );
        // The same headers, and nothing behind them.
        assert_eq!(
            answered("HEAD /metrics HTTP/1.0\n\n"),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
             Content-Length: 7\r\nConnection: close\r\n\r\n"
        );
        let refused = answered("POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\n");
        assert!(refused.contains("\r\nAllow: GET, HEAD\r\n"), "{refused}");
        assert!(
            refused.ends_with("\r\n\r\n405 Method Not Allowed; the figures are at /metrics\n"),
            "{refused}"
        );
    }

    #[test]
    fn every_request_has_its_status() {
        for (line, expected) in [
            ("GET /metrics HTTP/1.0", "200"),
            ("GET /metrics?name[]=loss HTTP/1.1", "200"),
            ("GET http://a:9100/metrics HTTP/1.1", "200"),
            ("GET / HTTP/1.1", "404"),
            ("GET /metrics/ HTTP/1.1", "404"),
            ("GET http://a HTTP/1.1", "404"),
            ("HEAD /other HTTP/1.1", "404"),
            ("PUT /metrics HTTP/1.1", "405"),
            ("OPTIONS * HTTP/1.1", "405"),
            ("GET /metrics HTTP/2", "505"),
            ("GET /metrics", "400"),
            ("GET  /metrics HTTP/1.1", "400"),
            ("GET /metrics FTP/1.1", "400"),
            ("G\u{e9}T /metrics HTTP/1.1", "400"),
            (" /metrics HTTP/1.1", "400"),
            ("", "400"),
        ] {
            assert_eq!(status(&format!("{line}\r\n\r\n")), expected, "{line}");
        }
    }

    #[test]
    fn a_head_has_a_limit_and_an_end() {
        let long = format!("GET /metrics HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(9000));
        assert_eq!(status(&long), "431");
        let endless = &mut io::repeat(b'a');
        assert!(read_head(endless).unwrap().is_none());
        let cut = read_head(&mut &b"GET /metrics HTTP/1.1\r\n"[..]);
        assert_eq!(cut.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    proptest! {
        /// Whatever comes, the answer is one of HTTP, and has the page only where it was asked for.
        #[test]
        fn garbage_is_answered(head in proptest::collection::vec(any::<u8>(), 0..200)) {
            let answer = answer(Some(&head), || "loss 1\n".to_owned());
            let text = String::from_utf8(answer).unwrap();
            prop_assert!(text.starts_with("HTTP/1.1 "));
            prop_assert!(text.contains("\r\n\r\n"));
            prop_assert!(head.starts_with(b"GET ") || !text.contains("loss 1"));
        }
    }
}
