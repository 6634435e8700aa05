//! What is refused before a handler or a body is looked at.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, HOST, ORIGIN};
use http::{HeaderMap, Method};

use super::Error;
use crate::parts::App;
use crate::routes::{MODEL_FILE_PATH, UPLOAD_PART_PATH, UPLOAD_PATH, WEIGHTS_FILE_PATH};

/// What takes more than the usual body.
const UPLOADS: [&str; 4] = [
    UPLOAD_PATH,
    UPLOAD_PART_PATH,
    MODEL_FILE_PATH,
    WEIGHTS_FILE_PATH,
];

/// Refuses requests for another host's name, bodies that announce more than the limit, and writes that another
/// site's page sends.
///
/// Uploads have a limit of their own, the size that was announced.
pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    if let Some(host) = foreign_host(request.headers(), &app.settings.hosts) {
        return Error::Forbidden {
            code: "unknown_host",
            message: format!(
                "`{}` is no name of this server, ask by its address",
                cellmill_core::ids::shown(&host)
            ),
        }
        .into_response();
    }
    let is_upload = request
        .extensions()
        .get::<MatchedPath>()
        .is_some_and(|it| UPLOADS.contains(&it.as_str()));
    let limit = app.settings.max_body_bytes;
    if !is_upload && announced(request.headers()) > limit {
        return Error::TooLarge { limit }.into_response();
    }
    let is_read = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if !is_read && is_from_elsewhere(request.headers()) {
        return Error::Forbidden {
            code: "cross_origin",
            message: "a page of another site may not change anything here".to_owned(),
        }
        .into_response();
    }
    next.run(request).await
}

/// The name in `Host`, when it is none of ours.
///
/// A page of another site can have its own name lead to this machine (DNS rebinding): for the browser it is then
/// the same site, and it would read everything. It can't do that with an address, so addresses, `localhost` and
/// the names that somebody listed are answered, and nothing else is.
fn foreign_host(headers: &HeaderMap, known: &[String]) -> Option<String> {
    let host = headers.get(HOST)?;
    let host = String::from_utf8_lossy(host.as_bytes());
    let name = without_port(&host);
    let is_address = name.parse::<Ipv4Addr>().is_ok()
        || name
            .strip_prefix('[')
            .and_then(|it| it.strip_suffix(']'))
            .is_some_and(|it| it.parse::<Ipv6Addr>().is_ok());
    let is_ours = is_address
        || name.eq_ignore_ascii_case("localhost")
        || known.iter().any(|it| it.eq_ignore_ascii_case(name));
    (!is_ours).then(|| name.to_owned())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|it| it.is_ascii_digit()) => name,
        _ => host,
    }
}

fn announced(headers: &HeaderMap) -> u64 {
    let text = headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok());
    text.and_then(|it| it.parse().ok()).unwrap_or(0)
}

/// Browsers name the page's site in `Origin` with every write; other programs send none.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        return false;
    };
    let site = origin
        .to_str()
        .ok()
        .and_then(|it| it.split_once("://"))
        .map(|(_, site)| site);
    let host = headers.get(HOST).and_then(|it| it.to_str().ok());
    site.is_none() || site != host
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn addresses_and_listed_names_are_ours_and_other_names_are_not() {
        let foreign = |host: &'static str| {
            let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
            foreign_host(&headers, &["mill.lab".to_owned()]).is_some()
        };
        for ours in [
            "127.0.0.1:8750",
            "127.0.0.1",
            "[::1]:8750",
            "[::1]",
            "192.168.1.7:80",
            "localhost:8750",
            "LOCALHOST",
            "mill.lab:8750",
        ] {
            assert!(!foreign(ours), "{ours}");
        }
        for theirs in [
            "evil.example:8750",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "",
            "::1",
            "127.0.0.1:x",
        ] {
            assert!(foreign(theirs), "{theirs}");
        }
        assert!(foreign_host(&HeaderMap::new(), &[]).is_none());
    }
}
