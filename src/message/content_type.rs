//! What a content type says of a payload.

/// What JSON without a content type of its own is sent as.
pub const JSON: &str = "application/json";

/// `application/json`, `text/json` and whatever ends in `+json`; parameters don't matter.
#[must_use]
pub fn is_json(content_type: &str) -> bool {
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    matches!(essence.as_str(), "application/json" | "text/json") || essence.ends_with("+json")
}

/// What a payload looks like that nobody named: a JSON object or list, other text, or bytes.
#[must_use]
pub fn guess_content_type(payload: &[u8]) -> &'static str {
    match serde_json::from_slice::<serde_json::Value>(payload) {
        Ok(serde_json::Value::Object(_) | serde_json::Value::Array(_)) => "application/json",
        _ if std::str::from_utf8(payload).is_ok() => "text/plain",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_is_guessed_from_the_data() {
        for (body, guessed) in [
            (&b"{\"a\": [1]}"[..], "application/json"),
            (b"[1]", "application/json"),
            (b"12", "text/plain"),
            (b"", "text/plain"),
            (b"{not json}", "text/plain"),
            (b"\xff\x00", "application/octet-stream"),
        ] {
            assert_eq!(guess_content_type(body), guessed, "{body:?}");
        }
    }
}
