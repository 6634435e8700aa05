//! CSV, read naively: whole texts, quotes, nothing else.

use std::collections::HashMap;

/// The records of a CSV as named fields. Blank lines are skipped.
pub fn rows(text: &str) -> Vec<HashMap<String, String>> {
    let mut records = records(text).into_iter();
    let header = records.next().unwrap_or_default();
    let named = |record: Vec<String>| header.iter().cloned().zip(record).collect();
    records.map(named).collect()
}

/// The records of a CSV as they stand.
pub fn records(text: &str) -> Vec<Vec<String>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut records = Vec::new();
    let mut record = vec![String::new()];
    let mut is_quoted = false;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let field = record.last_mut().expect("a record has a field");
        match c {
            '"' if is_quoted && rest.peek() == Some(&'"') => {
                field.push('"');
                rest.next();
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => record.push(String::new()),
            '\r' | '\n' if !is_quoted => {
                records.push(std::mem::replace(&mut record, vec![String::new()]));
            }
            c => field.push(c),
        }
    }
    records.push(record);
    records.retain(|it| it.iter().any(|field| !field.trim().is_empty()));
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_commas_line_ends_and_quotes() {
        let text = "\u{feff}a,b\r\n\"1,\"\"x\"\"\n2\",3\r\n\r\n4,5";
        assert_eq!(
            records(text),
            [vec!["a", "b"], vec!["1,\"x\"\n2", "3"], vec!["4", "5"]]
        );
        assert_eq!(rows(text)[1]["b"], "5");
    }
}
