//! A request body: read as far as needed, changed where it must be, otherwise passed on as it came.

use bytes::Bytes;
use indexmap::IndexMap;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use trajgen_upstream::UpstreamInfo;

/// A body's fields: their values as they came.
type Fields<'a> = IndexMap<String, Cow<'a, RawValue>>;

/// What is set when the agent sets nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Defaults {
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
}

/// A body that is ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// What the upstream is sent.
    pub(crate) body: Bytes,
    /// Whether a stream was asked for.
    pub(crate) stream: bool,
    /// Usage was asked for by us alone: the agent is not shown its chunk.
    pub(crate) hide_usage: bool,
    /// The model the agent asked for, when it is not the one that answers.
    pub(crate) requested_model: Option<String>,
    /// What was dropped.
    pub(crate) notes: Vec<String>,
    /// `metadata.trajectory_output_path`.
    pub(crate) output_path: Option<String>,
}

/// How a body is to be changed.
pub(crate) struct Changes<'a> {
    pub(crate) upstream: &'a UpstreamInfo,
    pub(crate) defaults: Defaults,
    /// `x-harbor-temperature`: stands above what the body says.
    pub(crate) temperature: Option<f64>,
    /// Whether `metadata.trajectory_output_path` is an instruction to us.
    pub(crate) takes_output_path: bool,
}

/// Reads and changes a Chat Completions body.
///
/// # Errors
/// What is wrong with it, for the agent.
pub(crate) fn prepare(body: &Bytes, changes: &Changes<'_>) -> Result<Prepared, String> {
    let mut fields: Fields<'_> = read_fields(body)?;
    let mut notes = Vec::new();
    // Something was taken out, which no field that is left tells.
    let mut is_cut = false;
    let text = |raw: &RawValue| serde_json::from_str::<String>(raw.get()).ok();
    let is_given = |fields: &Fields<'_>, key: &str| fields.get(key).is_some_and(|raw| raw.get() != "null");

    let upstream = changes.upstream;
    let asked = fields.get("model").and_then(|raw| text(raw));
    let requested_model = asked.filter(|asked| *asked != upstream.model);
    if requested_model.is_some() || !fields.contains_key("model") {
        set(&mut fields, "model", &json!(upstream.model));
    }

    let mut output_path = None;
    if changes.takes_output_path
        && let Some(mut metadata) = object(fields.get("metadata"))
        && let Some(path) = metadata.remove("trajectory_output_path")
    {
        output_path = path.as_str().map(str::to_owned);
        is_cut = true;
        if metadata.is_empty() {
            fields.shift_remove("metadata");
        } else {
            set(&mut fields, "metadata", &Value::Object(metadata));
        }
    }

    if let Some(temperature) = changes.temperature {
        set(&mut fields, "temperature", &json!(temperature));
    }
    let mut defaulted = Vec::new();
    for (key, default) in [("temperature", changes.defaults.temperature), ("top_p", changes.defaults.top_p)] {
        if let Some(default) = default
            && !is_given(&fields, key)
        {
            set(&mut fields, key, &json!(default));
            defaulted.push(key);
        }
    }
    for key in &upstream.drop_params {
        let Some(dropped) = fields.shift_remove(key) else { continue };
        is_cut = true;
        // What nobody asked for is not missed.
        if dropped.get() != "null" && !defaulted.contains(&key.as_str()) {
            notes.push(format!("dropped {key}, which the upstream does not take"));
        }
    }

    let stream = fields.get("stream").is_some_and(|raw| raw.get() == "true");
    let mut hide_usage = false;
    if stream && upstream.takes("stream_options") {
        let mut options = object(fields.get("stream_options")).unwrap_or_default();
        if options.get("include_usage") != Some(&Value::Bool(true)) {
            hide_usage = true;
            options.insert("include_usage".to_owned(), Value::Bool(true));
            set(&mut fields, "stream_options", &Value::Object(options));
        }
    }

    let is_changed = is_cut || fields.values().any(|raw| matches!(raw, Cow::Owned(_)));
    let body = if is_changed {
        Bytes::from(serde_json::to_vec(&fields).map_err(|error| error.to_string())?)
    } else {
        body.clone()
    };
    Ok(Prepared { body, stream, hide_usage, requested_model, notes, output_path })
}

/// The fields of a JSON object.
pub(crate) fn read_fields(body: &[u8]) -> Result<Fields<'_>, String> {
    let fields: IndexMap<String, &RawValue> = serde_json::from_slice(body)
        .map_err(|error| format!("the request body is not a JSON object: {error}"))?;
    Ok(fields.into_iter().map(|(key, raw)| (key, Cow::Borrowed(raw))).collect())
}

fn set(fields: &mut Fields<'_>, key: &str, value: &Value) {
    // A value that came from JSON, or is made of numbers and texts, can be written as JSON.
    if let Ok(raw) = serde_json::value::to_raw_value(value) {
        fields.insert(key.to_owned(), Cow::Owned(raw));
    }
}

fn object(raw: Option<&Cow<'_, RawValue>>) -> Option<Map<String, Value>> {
    serde_json::from_str(raw?.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use trajgen_contract::record::WireProtocol;
    use trajgen_upstream::Prices;

    fn upstream(drop_params: &[&str]) -> UpstreamInfo {
        UpstreamInfo {
            model: "m".to_owned(),
            api_base: String::new(),
            protocol: WireProtocol::OpenAi,
            prices: Prices::default(),
            drop_params: drop_params.iter().map(|p| (*p).to_owned()).collect(),
        }
    }

    fn prepared(body: &str, defaults: Defaults, drop_params: &[&str]) -> (Prepared, String) {
        let upstream = upstream(drop_params);
        let changes = Changes { upstream: &upstream, defaults, temperature: None, takes_output_path: true };
        let prepared = prepare(&Bytes::from(body.to_owned()), &changes).unwrap();
        let sent = String::from_utf8(prepared.body.to_vec()).unwrap();
        (prepared, sent)
    }

    #[test]
    fn nothing_to_change_is_nothing_changed() {
        let body = "{ \"model\":\"m\",\n \"messages\" : [ ], \"temperature\":0.30}";
        let (prepared, sent) = prepared(body, Defaults { temperature: Some(1.0), top_p: None }, &["seed"]);
        assert_eq!(sent, body);
        assert_eq!((prepared.stream, prepared.requested_model), (false, None));
    }

    #[test]
    fn only_what_must_change_is_spliced_in() {
        let (prepared, sent) = prepared(
            "{\"model\":\"gpt\",\"messages\":[ {\"a\":1.0e3} ],\"temperature\":null,\"seed\":1}",
            Defaults { temperature: Some(0.7), top_p: None },
            &["seed"],
        );
        assert_eq!(sent, "{\"model\":\"m\",\"messages\":[ {\"a\":1.0e3} ],\"temperature\":0.7}");
        assert_eq!(prepared.requested_model.as_deref(), Some("gpt"));
        assert_eq!(prepared.notes, ["dropped seed, which the upstream does not take"]);
    }

    #[test]
    fn usage_is_asked_for_and_hidden_unless_the_agent_asked() {
        let (asked_by_us, sent) = prepared(
            "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"x\":1}}",
            Defaults::default(),
            &[],
        );
        assert!(asked_by_us.hide_usage);
        assert_eq!(
            sent,
            "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"x\":1,\"include_usage\":true}}"
        );
        let body = "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}";
        let (asked, sent) = prepared(body, Defaults::default(), &[]);
        assert_eq!((asked.hide_usage, sent.as_str()), (false, body));
        let (_, sent) =
            prepared("{\"model\":\"m\",\"stream\":true}", Defaults::default(), &["stream_options"]);
        assert_eq!(sent, "{\"model\":\"m\",\"stream\":true}");
    }

    #[test]
    fn a_default_that_the_model_does_not_take_is_not_sent() {
        let defaults = Defaults { temperature: Some(0.7), top_p: Some(0.9) };
        let (prepared, sent) = prepared("{\"model\":\"m\"}", defaults, &["temperature"]);
        assert_eq!(sent, "{\"model\":\"m\",\"top_p\":0.9}");
        assert_eq!(prepared.notes, [""; 0]);
    }

    #[test]
    fn what_an_agent_sends_and_the_model_does_not_take_is_dropped_with_a_note() {
        let defaults = Defaults { temperature: Some(0.7), top_p: Some(0.9) };
        let note = |key: &str| format!("dropped {key}, which the upstream does not take");
        let dropped = ["temperature", "top_p", "logprobs"];
        let cases = [
            // As terminus-2 sends it: the configured temperature, in its own body.
            (r#"{"model":"m","messages":[],"temperature":0.7}"#, vec![note("temperature")]),
            (
                r#"{"model":"m","messages":[],"temperature":0.7,"top_p":0.9}"#,
                vec![note("temperature"), note("top_p")],
            ),
            (r#"{"model":"m","messages":[],"logprobs":true}"#, vec![note("logprobs")]),
            (r#"{"model":"m","messages":[],"temperature":null,"logprobs":null}"#, vec![]),
            (r#"{"model":"m","messages":[]}"#, vec![]),
        ];
        for defaults in [defaults, Defaults::default()] {
            for (body, notes) in &cases {
                let (prepared, sent) = prepared(body, defaults, &dropped);
                assert_eq!((sent.as_str(), &prepared.notes), (r#"{"model":"m","messages":[]}"#, notes));
            }
        }
    }

    #[test]
    fn a_null_that_is_dropped_is_not_sent() {
        let (prepared, sent) = prepared(r#"{"model":"m","seed":null}"#, Defaults::default(), &["seed"]);
        assert_eq!((sent.as_str(), prepared.notes.len()), (r#"{"model":"m"}"#, 0));
    }

    #[test]
    fn the_output_path_is_for_us_alone() {
        let (prepared, sent) = prepared(
            "{\"model\":\"m\",\"metadata\":{\"trajectory_output_path\":\"j/t\"}}",
            Defaults::default(),
            &[],
        );
        assert_eq!((prepared.output_path.as_deref(), sent.as_str()), (Some("j/t"), "{\"model\":\"m\"}"));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for body in ["", "[]", "{\"a\":", "null", "{\"a\":1} x"] {
            let upstream = upstream(&[]);
            let changes = Changes {
                upstream: &upstream,
                defaults: Defaults::default(),
                temperature: None,
                takes_output_path: false,
            };
            prepare(&Bytes::from(body), &changes).unwrap_err();
        }
    }
}
