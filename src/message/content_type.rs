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
