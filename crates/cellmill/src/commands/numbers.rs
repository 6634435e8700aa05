//! Numbers on the command line.

/// A number that JSON can say: one that it can't would arrive as nothing, and a default would take its place.
pub(crate) fn finite(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        Ok(_) => Err("it is no finite number".to_owned()),
        Err(_) => Err("it is no number".to_owned()),
    }
}
