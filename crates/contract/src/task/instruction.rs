//! What of an instruction file is shown to the agent.

/// `text` without its leading comment lines that hold a canary (a marker against training on
/// benchmarks), and without the blank lines after them. Line ends become `\n`.
///
/// As in Harbor, leading blank lines go even when there is no canary.
#[must_use]
pub fn strip_canary(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut rest = text.as_str();
    while let Some((line, after)) = rest.split_once('\n').or((!rest.is_empty()).then_some((rest, ""))) {
        if !is_canary(line.trim()) {
            break;
        }
        rest = after;
    }
    while let Some((line, after)) = rest.split_once('\n') {
        if !line.trim().is_empty() {
            break;
        }
        rest = after;
    }
    if rest.trim().is_empty() { String::new() } else { rest.to_owned() }
}

fn is_canary(line: &str) -> bool {
    let comment =
        line.starts_with('#') || (line.starts_with("<!--") && line.ends_with("-->") && line.len() >= 7);
    comment && line.to_lowercase().contains("canary")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_canaries_go_and_later_ones_stay() {
        for (text, shown) in [
            ("# a CANARY here\n<!-- canary GUID x -->\n\n  \nDo it.\n# canary\n", "Do it.\n# canary\n"),
            ("Do it.\n# canary\n", "Do it.\n# canary\n"),
            ("# Title\n\nDo it.", "# Title\n\nDo it."),
            ("  # canary\r\n\r\nDo it.\r\n", "Do it.\n"),
            ("\n\nDo it.", "Do it."),
            ("<!-- canary\n-->\nDo it.", "<!-- canary\n-->\nDo it."),
            ("# canary", ""),
            ("", ""),
        ] {
            assert_eq!(strip_canary(text), shown, "{text:?}");
        }
    }
}
