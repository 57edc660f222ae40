//! What conversion asks of `agent/litellm-trajectory.jsonl`, read line by line.

use crate::dropped::{Dropped, Reason};
use crate::text;
use crate::trial_files::TrialFiles;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::io::{BufRead, BufReader};

/// One line, its bodies unparsed.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default)]
    success: Value,
    #[serde(default)]
    request_time: Value,
    #[serde(default)]
    timestamp: Value,
    #[serde(default)]
    usage: Value,
    #[serde(borrow, default)]
    request_body: Option<&'a RawValue>,
    #[serde(borrow, default)]
    response_body: Option<&'a RawValue>,
}

/// What the calls of a trial say about all its records.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct CallSummary {
    /// The model the last call asked.
    pub(crate) model: Option<String>,
    /// `{model, max_tokens, top_p, temperature}` of the last call, null where it set none.
    pub(crate) gen_params: Map<String, Value>,
    /// The last call's usage, null when the upstream reported none.
    pub(crate) usage: Value,
    /// The dates (`YYYY-MM-DD`) of the first call and the last.
    pub(crate) dates: Option<(String, String)>,
    /// Lines that are no records.
    pub(crate) bad_lines: usize,
}

/// Reads the calls that did not fail; no log is no calls.
pub(crate) fn summary(files: &TrialFiles) -> Result<CallSummary, Dropped> {
    let mut summary = CallSummary::default();
    let mut last: Option<(f64, Vec<u8>)> = None;
    let mut first: Option<(f64, String)> = None;
    summary.bad_lines = for_each_call(files, |bytes, line| {
        let at = time(line);
        if last.as_ref().is_none_or(|(t, _)| at >= *t) {
            let mut kept = last.take().map(|(_, kept)| kept).unwrap_or_default();
            kept.clear();
            kept.extend_from_slice(bytes);
            last = Some((at, kept));
        }
        if first.as_ref().is_none_or(|(t, _)| at < *t)
            && let Some(date) = date(line)
        {
            first = Some((at, date));
        }
    })?;
    if let Some((_, bytes)) = last
        && let Ok(line) = serde_json::from_slice::<Line<'_>>(&bytes)
    {
        let request: Map<String, Value> =
            line.request_body.and_then(|r| serde_json::from_str(r.get()).ok()).unwrap_or_default();
        summary.model = request.get("model").and_then(Value::as_str).map(str::to_owned);
        for key in ["model", "max_tokens", "top_p", "temperature"] {
            summary.gen_params.insert(key.to_owned(), request.get(key).cloned().unwrap_or_default());
        }
        let in_response = || {
            let body: Map<String, Value> = serde_json::from_str(line.response_body?.get()).ok()?;
            body.get("usage").cloned()
        };
        summary.usage = match &line.usage {
            Value::Null => in_response().unwrap_or_default(),
            usage => usage.clone(),
        };
        let last_date = date(&line);
        let first_date = first.map(|(_, date)| date);
        summary.dates = first_date.clone().or(last_date.clone()).zip(last_date.or(first_date));
    }
    Ok(summary)
}

/// The request messages of the first call whose last message is `ending`, if any.
pub(crate) fn messages_ending_with(files: &TrialFiles, ending: &str) -> Result<Option<Vec<Value>>, Dropped> {
    let mut found: Option<(f64, Vec<Value>)> = None;
    for_each_call(files, |_, line| {
        let at = time(line);
        if found.as_ref().is_some_and(|(t, _)| *t <= at) {
            return;
        }
        #[derive(Deserialize)]
        struct Request {
            messages: Vec<Value>,
        }
        let messages = line.request_body.and_then(|r| serde_json::from_str::<Request>(r.get()).ok());
        if let Some(Request { messages }) = messages
            && messages.last().is_some_and(|m| text::of(m.get("content")).trim() == ending.trim())
        {
            found = Some((at, messages));
        }
    })?;
    Ok(found.map(|(_, messages)| messages))
}

/// Calls `each` with every line of a call that did not fail, in file order, and counts the lines that are no
/// records: torn, no UTF-8, no object.
fn for_each_call(files: &TrialFiles, mut each: impl FnMut(&[u8], &Line<'_>)) -> Result<usize, Dropped> {
    let path = files.dir().trajectory_log();
    let Some(file) = files.file(&path)? else { return Ok(0) };
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let (mut bytes, mut bad, mut number) = (Vec::new(), 0, 0usize);
    loop {
        bytes.clear();
        number += 1;
        let n = reader
            .read_until(b'\n', &mut bytes)
            .map_err(|e| Dropped::new(Reason::Unreadable, format!("{}: {e}", path.display())))?;
        if n == 0 {
            return Ok(bad);
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice::<Line<'_>>(&bytes) {
            Ok(line) if line.success == json!(false) => {}
            Ok(line) => each(&bytes, &line),
            Err(e) => {
                bad += 1;
                tracing::warn!(path = %path.display(), line = number, error = %e, "line skipped: no record");
            }
        }
    }
}

/// When a call ended, for sorting; missing is 0.
fn time(line: &Line<'_>) -> f64 {
    line.request_time.as_f64().unwrap_or(0.0)
}

/// The day of a call: its timestamp's, else its completion's in UTC.
fn date(line: &Line<'_>) -> Option<String> {
    let is_date = |text: &&str| text.parse::<jiff::civil::Date>().is_ok();
    if let Some(day) = line.timestamp.as_str().and_then(|t| t.get(..10)).filter(is_date) {
        return Some(day.to_owned());
    }
    let milliseconds = line.request_time.as_f64().filter(|t| *t > 0.0)?;
    let instant = jiff::Timestamp::from_millisecond(milliseconds as i64).ok()?;
    Some(jiff::tz::TimeZone::UTC.to_datetime(instant).date().to_string())
}
