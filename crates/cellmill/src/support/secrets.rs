//! Taking out of a text what opens doors: passwords, tokens, keys, signed addresses.

use cellmill_service::redact;

/// Words that a secret stands behind, in lower case.
const BEFORE_SECRETS: [&str; 10] = [
    "password",
    "passwd",
    "secret",
    "token",
    "api_key",
    "apikey",
    "access_key",
    "private_key",
    "credential",
    "authorization",
];

const HIDDEN: &str = "***";

/// Is a field of this name a secret, whatever it holds?
pub(super) fn is_secret(field: &str) -> bool {
    let field = field.to_lowercase().replace('-', "_");
    BEFORE_SECRETS.iter().any(|it| field.contains(it))
}

/// The text without secrets: signed addresses lose the values of their parameters, and what stands behind `password=`
/// and its like is hidden. A line keeps its number.
pub(super) fn without_secrets(text: &str) -> String {
    let lines = text.split('\n').map(|line| {
        let line: Vec<String> = line.split(' ').map(word).collect();
        behind_words(&line.join(" "))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// One word: an address, or the id of an AWS key.
fn word(word: &str) -> String {
    let is_key_id = |it: &&str| {
        it.len() >= 16
            && (it.starts_with("AKIA") || it.starts_with("ASIA"))
            && it
                .bytes()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
    };
    let inner = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    if is_key_id(&inner) {
        return word.replace(inner, HIDDEN);
    }
    let word = match word.split_once("/uploads/") {
        // The name of an upload is its token.
        Some((before, _)) => format!("{before}/uploads/{HIDDEN}"),
        None => word.to_owned(),
    };
    if word.contains("://") || (word.contains('?') && word.contains('=')) {
        redact::url(&word)
    } else {
        word
    }
}

/// Hides what follows `token=`, `"secret": "` and the like, to the end of the line where it is `authorization`.
fn behind_words(line: &str) -> String {
    // Cut in ASCII places only: those of the lower-case text are those of the text.
    let lower = line.to_ascii_lowercase();
    let mut out = String::with_capacity(line.len());
    let mut done = 0;
    while let Some((at, word)) = next_word(&lower, done) {
        let behind = at + word.len();
        let rest = &line[behind..];
        // The rest of the name (`_id`), its quote, the sign, a blank and a quote.
        let name = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-')
                .len();
        let sign = rest[name..].trim_start_matches(['"', '\'', ' ', '\\']);
        let Some(value) = sign.strip_prefix(['=', ':']) else {
            out.push_str(&line[done..behind]);
            done = behind;
            continue;
        };
        let value = value.trim_start_matches([' ', '"', '\'', '\\']);
        let begin = line.len() - value.len();
        let length = if word == "authorization" {
            value.len()
        } else {
            value
                .find([' ', '"', '\'', ',', ';', '&', '\\', '}'])
                .unwrap_or(value.len())
        };
        out.push_str(&line[done..begin]);
        if length > 0 {
            out.push_str(HIDDEN);
        }
        done = begin + length;
    }
    out.push_str(&line[done..]);
    out
}

fn next_word(lower: &str, from: usize) -> Option<(usize, &'static str)> {
    let found = BEFORE_SECRETS
        .iter()
        .filter_map(|it| Some((from + lower[from..].find(it)?, *it)));
    found.min_by_key(|(at, _)| *at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_the_rest_stays() {
        for (given, shown) in [
            ("login password=s3cret ok", "login password=*** ok"),
            (
                r#"{"Secret_Key": "s3cret", "n": 1}"#,
                r#"{"Secret_Key": "***", "n": 1}"#,
            ),
            ("Authorization: Bearer s3cret now", "Authorization: ***"),
            (
                "PUT http://h/uploads/s3cret?x=1 200",
                "PUT http://h/uploads/*** 200",
            ),
            (
                "GET http://u:s3cret@h/p?sig=s3cret done",
                "GET http://h/p?sig=*** done",
            ),
            ("key (AKIAS3CRETS3CRETAA)", "key (***)"),
            ("the token is old", "the token is old"),
            ("tokens: s3cret\nnext", "tokens: ***\nnext"),
            ("病例 token=s3cret 病", "病例 token=*** 病"),
            ("12 of 20 units", "12 of 20 units"),
        ] {
            assert_eq!(without_secrets(given), shown);
        }
        assert!(is_secret("aws-secret-access-key") && !is_secret("owner"));
    }
}
