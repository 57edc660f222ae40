//! Words of an instruction: quotes, escapes, variables.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// Variables that instructions may name.
pub(in super::super) type Vars = BTreeMap<String, String>;

/// Whether this can be a variable's name.
pub(super) fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Splits at white space outside quotes; quotes and escapes stay for [`expand`].
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                word.push(c);
                word.extend(chars.next());
                continue;
            }
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (c, None) if c.is_ascii_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    if let Some(open) = quote {
        return Err(format!("a quote {open} is not closed: {text}"));
    }
    if !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

/// `NAME=value …`, or the older `NAME value with blanks`.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let wrong = || format!("ENV takes NAME=value pairs, found: {text}");
    let words = split(text)?;
    if words.first().is_some_and(|first| !first.contains('=')) {
        let (name, value) = text.split_once(|c: char| c.is_ascii_whitespace()).ok_or_else(wrong)?;
        return if name.is_empty() {
            Err(wrong())
        } else {
            Ok(vec![(name.to_owned(), value.trim().to_owned())])
        };
    }
    words
        .iter()
        .map(|word| {
            let (name, value) = word.split_once('=').ok_or_else(wrong)?;
            if name.is_empty() { Err(wrong()) } else { Ok((name.to_owned(), value.to_owned())) }
        })
        .collect()
}

/// Takes quotes and escapes away and fills in variables: `$X`, `${X}`, `${X:-word}`, `${X:+word}`, also without
/// the colon. A variable that is not set is empty.
pub(in super::super) fn expand(text: &str, vars: &Vars) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    let mut double = false;
    while let Some(c) = chars.next() {
        match c {
            '\'' if !double => loop {
                match chars.next() {
                    Some('\'') => break,
                    Some(c) => out.push(c),
                    None => return Err(format!("a quote ' is not closed: {text}")),
                }
            },
            '"' => double = !double,
            '\\' => match chars.next() {
                // Within double quotes only these lose their meaning.
                Some(c) if double && !matches!(c, '"' | '$' | '\\') => out.extend(['\\', c]),
                Some(c) => out.push(c),
                None => out.push('\\'),
            },
            '$' => out.push_str(&variable(&mut chars, vars, text)?),
            c => out.push(c),
        }
    }
    if double { Err(format!("a quote \" is not closed: {text}")) } else { Ok(out) }
}

fn variable(chars: &mut Peekable<Chars<'_>>, vars: &Vars, text: &str) -> Result<String, String> {
    let name = |chars: &mut Peekable<Chars<'_>>| {
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(c);
        }
        name
    };
    if chars.next_if_eq(&'{').is_none() {
        let name = name(chars);
        return Ok(if name.is_empty() {
            "$".to_owned()
        } else {
            vars.get(&name).cloned().unwrap_or_default()
        });
    }
    let name = name(chars);
    let mut rest = String::new();
    let mut depth = 1;
    for c in chars.by_ref() {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        if depth == 0 {
            break;
        }
        rest.push(c);
    }
    let wrong = || format!("${{{name}{rest}}} cannot be filled in by the sandbox: {text}");
    if depth != 0 || !is_name(&name) {
        return Err(wrong());
    }
    let (colon, operator) = match rest.strip_prefix(':') {
        Some(rest) => (true, rest),
        None => (false, rest.as_str()),
    };
    let value = vars.get(&name).filter(|value| !(colon && value.is_empty()));
    match (operator.chars().next(), operator.get(1..)) {
        (None, _) if !colon => Ok(value.cloned().unwrap_or_default()),
        (Some('-'), Some(word)) => value.cloned().map_or_else(|| expand(word, vars), Ok),
        (Some('+'), Some(word)) => value.map_or_else(|| Ok(String::new()), |_| expand(word, vars)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in() {
        let vars = Vars::from([("A".into(), "1".into()), ("E".into(), String::new())]);
        for (text, expected) in [
            ("$A", "1"),
            ("${A}b", "1b"),
            ("x$NONE.y", "x.y"),
            ("${NONE:-d$A}", "d1"),
            ("${E:-d}", "d"),
            ("${E-d}", ""),
            ("${A:+set}", "set"),
            ("${NONE:+set}", ""),
            ("'$A'", "$A"),
            ("\"$A b\"", "1 b"),
            ("\\$A", "$A"),
            ("a\\ b", "a b"),
            ("5$", "5$"),
            ("\"a\\nb\"", "a\\nb"),
        ] {
            assert_eq!(expand(text, &vars).unwrap(), expected, "{text}");
        }
        assert!(expand("${A:?x}", &vars).unwrap_err().contains("${A:?x}"));
        assert!(expand("${A", &vars).is_err());
        assert!(expand("\"x", &vars).is_err());
    }

    #[test]
    fn words_keep_what_is_quoted() {
        assert_eq!(split(r#"a "b c" d\ e 'f g'"#).unwrap(), ["a", "\"b c\"", "d\\ e", "'f g'"]);
        assert!(split("a 'b").is_err());
        assert_eq!(pairs("A B=c").unwrap(), [("A".to_owned(), "B=c".to_owned())]);
    }
}
