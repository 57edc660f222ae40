//! `agent.kwargs` of terminus-2: Harbor's names, and `terminal` and `top_p` beside them.

use crate::agent::registry::{CreateError, nearest};
use serde_json::{Map, Value};

/// Who brings the terminal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TerminalKind {
    /// The guest helper: nothing is needed in the image.
    #[default]
    Builtin,
    /// tmux, which the image must bring.
    Tmux,
}

/// What can be said about terminus-2.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The run ends after so many turns; no limit when absent.
    pub max_turns: Option<u64>,
    /// Sampling; whatever the model does by itself when absent.
    pub temperature: Option<f64>,
    /// Sampling; whatever the model does by itself when absent.
    pub top_p: Option<f64>,
    /// Whether a conversation that is too long is summarised.
    pub enable_summarize: bool,
    /// A summary is made when fewer tokens than this are free; never early when 0.
    pub proactive_summarization_threshold: u64,
    /// Ask for token ids and log probabilities.
    pub collect_rollout_details: bool,
    /// The model's context, tokens; wins over what the endpoint says.
    pub max_input_tokens: Option<u64>,
    /// The longest answer, tokens; wins over what the endpoint says.
    pub max_output_tokens: Option<u64>,
    /// Who brings the terminal.
    pub terminal: TerminalKind,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_turns: None,
            temperature: None,
            top_p: None,
            enable_summarize: true,
            proactive_summarization_threshold: 8_000,
            collect_rollout_details: false,
            max_input_tokens: None,
            max_output_tokens: None,
            terminal: TerminalKind::Builtin,
        }
    }
}

const KEYS: [&str; 9] = [
    "max_turns",
    "temperature",
    "top_p",
    "enable_summarize",
    "proactive_summarization_threshold",
    "parser_name",
    "collect_rollout_details",
    "model_info",
    "terminal",
];
const MODEL_KEYS: [&str; 2] = ["max_input_tokens", "max_output_tokens"];

impl Options {
    /// Reads `agent.kwargs`.
    ///
    /// # Errors
    /// For an unknown key, a wrong type, or a value that is not supported.
    pub fn from_kwargs(kwargs: &Map<String, Value>) -> Result<Self, CreateError> {
        let mut options = Self::default();
        for (key, value) in kwargs {
            let place = format!("agent.kwargs.{key}");
            match key.as_str() {
                "max_turns" => options.max_turns = optional(value, || positive(&place, value))?,
                "temperature" => options.temperature = optional(value, || number(&place, value, 2.0))?,
                "top_p" => options.top_p = optional(value, || number(&place, value, 1.0))?,
                "enable_summarize" => options.enable_summarize = flag(&place, value)?,
                "proactive_summarization_threshold" => {
                    options.proactive_summarization_threshold = value
                        .as_u64()
                        .ok_or_else(|| wrong(&place, value, "a whole number of tokens, 0 for never"))?;
                }
                "collect_rollout_details" => options.collect_rollout_details = flag(&place, value)?,
                "parser_name" => only(&place, value, "json")?,
                "terminal" => options.terminal = terminal(&place, value)?,
                "model_info" => options.read_model_info(value)?,
                _ => return Err(unknown("terminus-2", &place, key, &KEYS)),
            }
        }
        Ok(options)
    }

    fn read_model_info(&mut self, value: &Value) -> Result<(), CreateError> {
        let info = match value {
            Value::Null => return Ok(()),
            Value::Object(info) => info,
            _ => return Err(wrong("agent.kwargs.model_info", value, "a table")),
        };
        for (key, value) in info {
            let place = format!("agent.kwargs.model_info.{key}");
            match key.as_str() {
                "max_input_tokens" => self.max_input_tokens = optional(value, || positive(&place, value))?,
                "max_output_tokens" => self.max_output_tokens = optional(value, || positive(&place, value))?,
                _ => return Err(unknown("terminus-2", &place, key, &MODEL_KEYS)),
            }
        }
        Ok(())
    }
}

/// `null` is the same as leaving the key out.
fn optional<T>(
    value: &Value,
    read: impl FnOnce() -> Result<T, CreateError>,
) -> Result<Option<T>, CreateError> {
    if value.is_null() { Ok(None) } else { read().map(Some) }
}

fn positive(place: &str, value: &Value) -> Result<u64, CreateError> {
    value.as_u64().filter(|&n| n > 0).ok_or_else(|| wrong(place, value, "a whole number above 0"))
}

fn number(place: &str, value: &Value, max: f64) -> Result<f64, CreateError> {
    value
        .as_f64()
        .filter(|n| (0.0..=max).contains(n))
        .ok_or_else(|| wrong(place, value, &format!("a number from 0 to {max}")))
}

fn flag(place: &str, value: &Value) -> Result<bool, CreateError> {
    value.as_bool().ok_or_else(|| wrong(place, value, "true or false"))
}

fn only(place: &str, value: &Value, supported: &str) -> Result<(), CreateError> {
    if value.is_null() || value.as_str() == Some(supported) {
        return Ok(());
    }
    Err(wrong(place, value, &format!("{supported:?}, the only one that is supported")))
}

fn terminal(place: &str, value: &Value) -> Result<TerminalKind, CreateError> {
    match value {
        Value::Null => Ok(TerminalKind::Builtin),
        Value::String(name) if name == "builtin" => Ok(TerminalKind::Builtin),
        Value::String(name) if name == "tmux" => Ok(TerminalKind::Tmux),
        _ => Err(wrong(place, value, "\"builtin\" or \"tmux\"")),
    }
}

fn wrong(place: &str, found: &Value, expected: &str) -> CreateError {
    CreateError::WrongValue { key: place.to_owned(), found: found.to_string(), expected: expected.to_owned() }
}

pub(crate) fn unknown(agent: &str, place: &str, key: &str, known: &[&str]) -> CreateError {
    CreateError::UnknownOption {
        agent: agent.to_owned(),
        key: place.to_owned(),
        hint: nearest(key, known),
        known: known.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(kwargs: &Value) -> Result<Options, String> {
        Options::from_kwargs(kwargs.as_object().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn every_option_is_read() {
        let options = read(&json!({
            "max_turns": 80, "temperature": 0.7, "top_p": 0.9, "enable_summarize": false,
            "proactive_summarization_threshold": 0, "parser_name": "json", "collect_rollout_details": true,
            "model_info": {"max_input_tokens": 32768, "max_output_tokens": 4096}, "terminal": "tmux"
        }))
        .unwrap();
        let expected = Options {
            max_turns: Some(80),
            temperature: Some(0.7),
            top_p: Some(0.9),
            enable_summarize: false,
            proactive_summarization_threshold: 0,
            collect_rollout_details: true,
            max_input_tokens: Some(32768),
            max_output_tokens: Some(4096),
            terminal: TerminalKind::Tmux,
        };
        assert_eq!(options, expected);
    }

    #[test]
    fn nothing_said_and_null_are_the_same() {
        let nulls = json!({"max_turns": null, "temperature": null, "top_p": null, "parser_name": null,
            "model_info": {"max_input_tokens": null}, "terminal": null});
        assert_eq!(read(&nulls).unwrap(), Options::default());
        assert_eq!(read(&json!({})).unwrap(), Options::default());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_key() {
        let cases = [
            (
                json!({"max_turn": 3}),
                "agent.kwargs.max_turn: unknown option of terminus-2; did you mean max_turns?",
            ),
            (json!({"max_turns": 0}), "agent.kwargs.max_turns: found 0, expected a whole number above 0"),
            (json!({"max_turns": "8"}), "agent.kwargs.max_turns: found \"8\""),
            (json!({"temperature": -1}), "agent.kwargs.temperature: found -1, expected a number from 0 to 2"),
            (json!({"top_p": 1.5}), "expected a number from 0 to 1"),
            (json!({"parser_name": "xml"}), "expected \"json\""),
            (json!({"terminal": "screen"}), "expected \"builtin\" or \"tmux\""),
            (json!({"enable_summarize": 1}), "expected true or false"),
            (json!({"model_info": 1}), "agent.kwargs.model_info: found 1, expected a table"),
            (json!({"model_info": {"max_inputs": 1}}), "agent.kwargs.model_info.max_inputs: unknown option"),
        ];
        for (kwargs, expected) in cases {
            let message = read(&kwargs).unwrap_err();
            assert!(message.contains(expected), "{message}\ndoes not hold\n{expected}");
        }
    }
}
