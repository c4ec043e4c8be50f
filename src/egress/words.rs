//! What a service says of itself, made fit to be shown.

/// So begins the reason of what its destination can't route. It stands in dead letters on disks, where an
/// alternate goes by it: it is never changed.
pub const UNROUTABLE: &str = "unroutable: ";

/// One line of text with no control characters, and not too long.
pub fn printable(text: &str, max_chars: usize) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    match line.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
