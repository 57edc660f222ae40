//! From text to instructions: comments, continued lines, here-documents.

/// One instruction's text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Where it starts, from 1.
    pub(super) number: usize,
    /// Joined to one line.
    pub(super) text: String,
    /// The body of a here-document that is all its instruction says.
    pub(super) heredoc: Option<String>,
}

/// Splits a Dockerfile; an error has the number of its line.
pub(super) fn split(text: &str) -> Result<Vec<Line>, (usize, String)> {
    let mut found = Vec::new();
    let mut lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate();
    let mut directives = true;
    while let Some((index, raw)) = lines.next() {
        let number = index + 1;
        let start = raw.trim();
        if let Some(comment) = start.strip_prefix('#') {
            directives = directives && directive(comment).map_err(|problem| (number, problem))?;
            continue;
        }
        directives = false;
        if start.is_empty() {
            continue;
        }
        let (mut text, mut goes_on) = cut(start);
        while goes_on {
            let Some((_, raw)) = lines.next() else { break };
            let next = raw.trim();
            if next.is_empty() || next.starts_with('#') {
                continue;
            }
            let (piece, more) = cut(raw.trim_end());
            text.push_str(&piece);
            goes_on = more;
        }
        let text = text.trim().to_owned();
        let heredoc = match marker(&text).map_err(|problem| (number, problem))? {
            None => None,
            Some(marker) => Some(body(&mut lines, &marker).ok_or_else(|| {
                (number, format!("the here-document has no end: expected a line {}", marker.word))
            })?),
        };
        found.push(Line { number, text, heredoc });
    }
    Ok(found)
}

/// Reads a parser directive; false when this is a plain comment, after which there are no directives.
fn directive(comment: &str) -> Result<bool, String> {
    let Some((name, value)) = comment.split_once('=') else { return Ok(false) };
    match name.trim().to_ascii_lowercase().as_str() {
        "escape" if value.trim() != "\\" => {
            Err(format!("the escape character {} is not one the sandbox knows: use Docker", value.trim()))
        }
        "syntax" | "escape" | "check" => Ok(true),
        _ => Ok(false),
    }
}

/// A line without its final backslash, and whether it had one.
fn cut(line: &str) -> (String, bool) {
    let line = line.trim_end();
    line.strip_suffix('\\').map_or_else(|| (line.to_owned(), false), |line| (line.to_owned(), true))
}

struct Marker {
    word: String,
    /// Leading tabs are taken away.
    tabs: bool,
}

/// The here-document an instruction announces, if it does.
fn marker(text: &str) -> Result<Option<Marker>, String> {
    let (keyword, rest) = text.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((text, ""));
    let takes = ["RUN", "COPY", "ADD"].iter().any(|name| keyword.eq_ignore_ascii_case(name));
    // As Docker has it: a word that is a redirection from a named document. `<<<` is a here-string.
    let starts = |rest: &str| {
        rest.split_ascii_whitespace().any(|word| {
            let word = word.trim_start_matches(|c: char| c.is_ascii_digit());
            let name = word.strip_prefix("<<").map(|word| word.strip_prefix('-').unwrap_or(word));
            name.is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic() || "_\"'".contains(c)))
        })
    };
    if !takes || !starts(rest) {
        return Ok(None);
    }
    let rest = rest.trim();
    let plain = rest.strip_prefix("<<").filter(|word| !word.contains(|c: char| c.is_ascii_whitespace()));
    let Some(word) = plain.filter(|_| keyword.eq_ignore_ascii_case("RUN")) else {
        if keyword.eq_ignore_ascii_case("RUN") {
            return Err(
                "only a here-document that is the whole RUN can be done by the sandbox: use Docker".into()
            );
        }
        return Err(format!(
            "{} with a here-document (<<) cannot be done by the sandbox: use Docker",
            keyword.to_ascii_uppercase()
        ));
    };
    let tabs = word.starts_with('-');
    let word = word.trim_start_matches('-').trim_matches(['"', '\'']).to_owned();
    Ok(Some(Marker { word, tabs }))
}

fn body<'a>(lines: &mut impl Iterator<Item = (usize, &'a str)>, marker: &Marker) -> Option<String> {
    let mut body = String::new();
    for (_, line) in lines {
        let line = if marker.tabs { line.trim_start_matches('\t') } else { line };
        if line == marker.word {
            return Some(body);
        }
        body.push_str(line);
        body.push('\n');
    }
    None
}
