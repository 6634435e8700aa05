//! Showing things in logs without what is secret in them.

/// A URL without its secrets: no user, no password, no fragment, and no value of a query parameter.
///
/// The names of the parameters stay, so a log still tells a signed URL from another. A path or any other text
/// comes back as it is, but for what follows a `?` or `#`.
///
/// ```
/// use cellmill_service::redact::url;
/// assert_eq!(
///     url("http://me:pw@host:8750/uploads/01J/a.jpg?expires=9&token=k3y#top"),
///     "http://host:8750/uploads/01J/a.jpg?expires=***&token=***",
/// );
/// assert_eq!(url("file:///data/cells"), "file:///data/cells");
/// ```
pub fn url(url: &str) -> String {
    let url = url.split('#').next().unwrap_or_default();
    let (address, query) = match url.split_once('?') {
        Some((address, query)) => (address, Some(query)),
        None => (url, None),
    };
    let address = without_user(address);
    match query {
        Some(query) => format!("{address}?{}", without_values(query)),
        None => address,
    }
}

fn without_user(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else {
        return address.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

fn without_values(query: &str) -> String {
    let hidden: Vec<String> = query
        .split('&')
        .map(|parameter| match parameter.split_once('=') {
            Some((name, _)) => format!("{name}=***"),
            // A parameter without a name could be the secret itself.
            None => "***".to_owned(),
        })
        .collect();
    hidden.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_of_a_url_is_shown() {
        for (given, shown) in [
            (
                "/api/uploads/01J?token=s3cret",
                "/api/uploads/01J?token=***",
            ),
            ("http://h/p?s3cret", "http://h/p?***"),
            (
                "http://h/p?a=s3cret=s3cret&b=&c",
                "http://h/p?a=***&b=***&***",
            ),
            ("s3://s3cret@bucket/img/@a.jpg", "s3://bucket/img/@a.jpg"),
            ("http://u:s3@cret@h", "http://h"),
            ("http://h/p#s3cret?x", "http://h/p"),
            ("plain text", "plain text"),
            ("", ""),
        ] {
            assert_eq!(url(given), shown);
        }
    }
}
