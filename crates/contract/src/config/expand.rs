//! `${VAR}` and `${VAR:-default}` in a text.

/// A variable that is not set and has no default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missing(pub(super) String);

/// Whether there is anything to expand.
pub(super) fn has_reference(text: &str) -> bool {
    text.split("${").skip(1).any(|rest| reference(rest).is_some())
}

/// Replaces every reference. A default counts when the variable is not set, and may hold references
/// itself. What only looks like a reference (`${1}`, `${A`) stays as it is. With `unset_is_empty` nothing is missing.
pub(super) fn expand(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    unset_is_empty: bool,
) -> Result<String, Missing> {
    let mut done = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        done.push_str(before);
        let Some(Reference { name, default, length }) = reference(after) else {
            done.push_str("${");
            rest = after;
            continue;
        };
        match (env(name), default) {
            (Some(value), _) => done.push_str(&value),
            (None, Some(default)) => done.push_str(&expand(default, env, unset_is_empty)?),
            (None, None) if unset_is_empty => {}
            (None, None) => return Err(Missing(name.to_owned())),
        }
        rest = after.get(length..).unwrap_or_default();
    }
    done.push_str(rest);
    Ok(done)
}

struct Reference<'a> {
    name: &'a str,
    default: Option<&'a str>,
    /// Bytes after `${`, the closing brace included.
    length: usize,
}

/// Reads what comes after `${`.
fn reference(text: &str) -> Option<Reference<'_>> {
    let name_end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    let (name, rest) = text.split_at(name_end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if rest.starts_with('}') {
        return Some(Reference { name, default: None, length: name_end + 1 });
    }
    let default = rest.strip_prefix(":-")?;
    let end = closing_brace(default)?;
    Some(Reference { name, default: default.get(..end), length: name_end + 2 + end + 1 })
}

/// Where the brace is that closes a reference, those inside skipped.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' if text.get(..at)?.ends_with('$') => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_expand(text: &str) -> Result<String, Missing> {
        let known = [("A", "1"), ("B_2", "two"), ("EMPTY", "")];
        expand(text, &|name| known.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()), false)
    }

    #[test]
    fn references_anywhere_in_a_text_are_replaced() {
        for (text, expanded) in [
            ("${A}", "1"),
            ("x${A}y${B_2}z", "x1ytwoz"),
            ("${NO:-d}", "d"),
            ("${NO:-}", ""),
            ("${A:-d}", "1"),
            ("${EMPTY:-d}", ""),
            ("${NO:-${A}-${NO:-b}}!", "1-b!"),
            ("${NO:-https://h/${A}}", "https://h/1"),
            ("no $A $ {A} reference", "no $A $ {A} reference"),
            ("${1} ${} ${A ${B-2}", "${1} ${} ${A ${B-2}"),
            ("ü${A}ü", "ü1ü"),
        ] {
            assert_eq!(try_expand(text).as_deref(), Ok(expanded), "{text}");
        }
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        assert_eq!(try_expand("a ${NOPE} b"), Err(Missing("NOPE".to_owned())));
        assert_eq!(try_expand("${NO:-${NEITHER}}"), Err(Missing("NEITHER".to_owned())));
        let expanded = expand("a ${NOPE} ${NO:-b${NEITHER}}", &|_| None, true);
        assert_eq!(expanded.as_deref(), Ok("a  b"));
    }

    #[test]
    fn values_are_not_expanded_again() {
        let env = |name: &str| (name == "A").then(|| "${A}".to_owned());
        assert_eq!(expand("${A}", &env, false).as_deref(), Ok("${A}"));
    }
}
