//! Tokens and money.

use serde_json::Value;
use trajgen_contract::record::Usage;

/// What tokens cost, USD each.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Prices {
    /// An input token.
    pub input: Option<f64>,
    /// An output token.
    pub output: Option<f64>,
    /// An input token from the prompt cache; none: as any input token.
    pub cached: Option<f64>,
}

impl Prices {
    /// What a call cost, USD; none unless both the input and the output price are known.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> Option<f64> {
        let (input, output) = (self.input?, self.output?);
        let cached = usage.cached_tokens().min(usage.prompt_tokens);
        let fresh = usage.prompt_tokens - cached;
        Some(
            fresh as f64 * input
                + cached as f64 * self.cached.unwrap_or(input)
                + usage.completion_tokens as f64 * output,
        )
    }
}

/// Reads an OpenAI `usage` object. Its cost is what the upstream says it was, if it does.
#[must_use]
pub fn read_usage(value: &Value) -> Option<Usage> {
    let fields = value.as_object()?;
    let count = |key: &str| fields.get(key).and_then(Value::as_u64);
    let (input, output) = (count("prompt_tokens"), count("completion_tokens"));
    if input.is_none() && output.is_none() {
        return None;
    }
    let details = |key: &str| fields.get(key).and_then(Value::as_object).cloned();
    let (prompt_tokens, completion_tokens) = (input.unwrap_or(0), output.unwrap_or(0));
    Some(Usage {
        prompt_tokens,
        completion_tokens,
        total_tokens: count("total_tokens").unwrap_or(prompt_tokens.saturating_add(completion_tokens)),
        prompt_tokens_details: details("prompt_tokens_details"),
        completion_tokens_details: details("completion_tokens_details"),
        cost: fields.get("cost").and_then(Value::as_f64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cached_tokens_have_their_own_price() {
        let usage = read_usage(&json!({"prompt_tokens": 10, "completion_tokens": 2,
            "prompt_tokens_details": {"cached_tokens": 4}}))
        .unwrap();
        assert_eq!(usage.total_tokens, 12);
        let prices = Prices { input: Some(1.0), output: Some(10.0), cached: Some(0.5) };
        assert_eq!(prices.cost(&usage), Some(6.0 + 2.0 + 20.0));
        assert_eq!(Prices { cached: None, ..prices }.cost(&usage), Some(30.0));
        assert_eq!(Prices { output: None, ..prices }.cost(&usage), None);
    }

    #[test]
    fn an_object_without_counts_is_no_usage() {
        assert_eq!(read_usage(&json!(null)), None);
        assert_eq!(read_usage(&json!({"prompt_tokens": null})), None);
    }
}
