//! What a conversation with tool calls must be like to be trained on.

use crate::ReasoningCheck;
use crate::dropped::{Dropped, Reason};
use serde_json::Value;

/// Checks a record's messages: the order of roles, tool calls on every assistant message but the last, and how
/// much reasoning there is.
///
/// # Errors
/// The first rule that is broken, with the message's number from 1.
pub(crate) fn check(messages: &[Value], reasoning: ReasoningCheck) -> Result<(), Dropped> {
    let body: Vec<(usize, &Value)> = messages
        .iter()
        .enumerate()
        .filter(|(_, m)| m["role"] != "system")
        .map(|(at, m)| (at + 1, m))
        .collect();
    let mut previous = "system";
    for (number, message) in &body {
        let role = message["role"].as_str().unwrap_or_default();
        let allowed: &[&str] = match previous {
            "system" => &["user"],
            "user" => &["assistant"],
            "assistant" => &["tool", "user"],
            _ => &["tool", "assistant"],
        };
        if !allowed.contains(&role) {
            return Err(Dropped::new(
                Reason::BadRoleOrder,
                format!("message {number} is '{role}' after {previous}; expected {}", allowed.join(" or ")),
            ));
        }
        previous = role;
    }
    if previous != "assistant" {
        return Err(Dropped::new(Reason::BadRoleOrder, "the last message is no assistant's"));
    }
    let assistants: Vec<&(usize, &Value)> = body.iter().filter(|(_, m)| m["role"] == "assistant").collect();
    if let Some((_, others)) = assistants.split_last()
        && let Some((number, _)) =
            others.iter().find(|(_, m)| m["tool_calls"].as_array().is_none_or(Vec::is_empty))
    {
        return Err(Dropped::new(
            Reason::MissingToolCalls,
            format!("message {number} is an assistant's without tool calls, and not the last"),
        ));
    }
    let with = assistants.iter().filter(|(_, m)| has_reasoning(m)).count();
    let enough = match reasoning {
        ReasoningCheck::Strict => with == assistants.len(),
        ReasoningCheck::Adaptive { ratio } => with as f64 / assistants.len() as f64 >= ratio,
    };
    if with > 0 && !enough {
        return Err(Dropped::new(
            Reason::TooLittleReasoning,
            format!("{with} of {} assistant messages have reasoning", assistants.len()),
        ));
    }
    Ok(())
}

fn has_reasoning(message: &Value) -> bool {
    message["reasoning_content"].as_str().is_some_and(|r| !r.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(roles: &str) -> Vec<Value> {
        roles
            .chars()
            .map(|c| match c {
                's' => json!({"role": "system", "content": ""}),
                'u' => json!({"role": "user", "content": "x"}),
                't' => json!({"role": "tool", "content": "x"}),
                'r' => json!({"role": "assistant", "reasoning_content": "r", "tool_calls": [{}]}),
                'c' => json!({"role": "assistant", "reasoning_content": "", "tool_calls": [{}]}),
                _ => json!({"role": "assistant", "reasoning_content": ""}),
            })
            .collect()
    }

    fn reason(roles: &str, reasoning: ReasoningCheck) -> Option<Reason> {
        check(&of(roles), reasoning).err().map(|d| d.reason)
    }

    #[test]
    fn roles_follow_the_rules() {
        let check = |roles| reason(roles, ReasoningCheck::default());
        for good in ["ua", "sua", "uctta", "uctcta", "ucucta"] {
            assert_eq!(check(good), None, "{good}");
        }
        for bad in ["", "s", "a", "uua", "uct", "ucca", "uctua", "sta", "ucuu"] {
            assert_eq!(check(bad), Some(Reason::BadRoleOrder), "{bad}");
        }
        assert_eq!(check("uaucta"), Some(Reason::MissingToolCalls));
        assert_eq!(check("uctaua"), Some(Reason::MissingToolCalls));
    }

    #[test]
    fn reasoning_is_asked_for_only_where_there_is_some() {
        let adaptive = |roles| reason(roles, ReasoningCheck::Adaptive { ratio: 0.5 });
        assert_eq!(adaptive("ucta"), None);
        assert_eq!(adaptive("urta"), None);
        assert_eq!(adaptive("urtcta"), Some(Reason::TooLittleReasoning));
        assert_eq!(reason("urtrtr", ReasoningCheck::Strict), None);
        assert_eq!(reason("urtrta", ReasoningCheck::Strict), Some(Reason::TooLittleReasoning));
        assert_eq!(reason("ucta", ReasoningCheck::Strict), None);
    }
}
