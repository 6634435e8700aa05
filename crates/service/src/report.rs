//! Errors as text, once, at the edge of a program.

use std::error::Error;

const HINT: &str = "hint: ";

/// The error and its sources on one line, joined by `: `, then the hints that any of them gives, a line each.
///
/// An error gives a hint as a line of its own that starts with `hint: `.
///
/// ```
/// let cause = std::io::Error::other("no space left on device");
/// assert_eq!(cellmill_service::report(&cause), "no space left on device");
/// ```
pub fn report(error: &(dyn Error + 'static)) -> String {
    let mut parts = Vec::new();
    let mut hints = Vec::new();
    for error in std::iter::successors(Some(error), |&it| it.source()) {
        let text = error.to_string();
        let (hint, part): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|it| it.starts_with(HINT));
        parts.push(part.join("\n"));
        hints.extend(hint.into_iter().map(str::to_owned));
    }
    let mut lines = vec![parts.join(": ")];
    lines.append(&mut hints);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("queue file `q` is damaged\nhint: move it away")]
    struct Damaged(#[source] Malformed);

    #[derive(Debug, thiserror::Error)]
    #[error("page 3 is malformed")]
    struct Malformed(#[source] std::io::Error);

    #[test]
    fn the_chain_is_one_line_and_hints_follow_it() {
        let error = Damaged(Malformed(std::io::Error::other("bad checksum")));
        assert_eq!(
            report(&error),
            "queue file `q` is damaged: page 3 is malformed: bad checksum\nhint: move it away"
        );
    }
}
