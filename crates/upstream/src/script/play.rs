//! Answering calls from a script.

use super::file::{Fail, Script, ScriptError, Scripts, Track, Turn, WhenExhausted};
use crate::call::{AnswerBody, Call, Event, EventStream};
use crate::chat::{Choice, Completion, Function, Message, ToolCall, pieces};
use crate::client::Transport;
use crate::failure::{Failure, FailureKind};
use crate::http::{done, event_from, understood};
use async_trait::async_trait;
use futures::StreamExt;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What an answer that is cut off says when its turn has nothing to say.
const CUT_OFF: &str = "This answer is cut off before its end.";

/// Plays scripts.
pub(super) struct Player {
    scripts: Scripts,
    trials: Mutex<HashMap<String, Arc<Mutex<Playing>>>>,
    n_answers: AtomicU64,
}

/// How far a trial has come.
struct Playing {
    script: Arc<Script>,
    /// One for each track.
    places: Vec<Place>,
}

#[derive(Default, Clone)]
struct Place {
    /// The next turn.
    turn: usize,
    /// How many calls its failure has answered.
    n_failed: u32,
}

/// What a call is answered with.
struct Taken {
    turn: Turn,
    fail: Option<Fail>,
    /// Makes the ids of tool calls differ from turn to turn.
    number: u64,
}

/// What matchers look at.
struct Asked<'a> {
    body: &'a Map<String, Value>,
    model: &'a str,
}

impl Player {
    pub(super) fn new(scripts: Scripts) -> Self {
        Self { scripts, trials: Mutex::default(), n_answers: AtomicU64::new(0) }
    }

    fn trials(&self) -> MutexGuard<'_, HashMap<String, Arc<Mutex<Playing>>>> {
        self.trials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the call's trial stands; calls outside of trials share one.
    fn playing(&self, call: &Call) -> Result<Arc<Mutex<Playing>>, Failure> {
        let trial = call.trial.as_deref().unwrap_or("");
        if let Some(playing) = self.trials().get(trial) {
            return Ok(Arc::clone(playing));
        }
        self.begin_trial(call.task_id.as_deref().unwrap_or(""), trial)
            .map_err(|error| Failure::new(FailureKind::Request, error.to_string()))?;
        self.trials()
            .get(trial)
            .cloned()
            .ok_or_else(|| Failure::new(FailureKind::Request, format!("the trial `{trial}` is over")))
    }
}

#[async_trait]
impl Transport for Player {
    fn begin_trial(&self, task_id: &str, trial: &str) -> Result<(), ScriptError> {
        let script = self.scripts.of(task_id)?;
        let places = vec![Place::default(); script.tracks.len()];
        self.trials().insert(trial.to_owned(), Arc::new(Mutex::new(Playing { script, places })));
        Ok(())
    }

    fn end_trial(&self, trial: &str) {
        self.trials().remove(trial);
    }

    async fn attempt(&self, call: &Call) -> Result<AnswerBody, Failure> {
        let body: Map<String, Value> = serde_json::from_slice(&call.body).map_err(|error| {
            Failure::new(FailureKind::Request, format!("the request is no JSON object: {error}"))
        })?;
        let given = body.get("model").and_then(Value::as_str).unwrap_or("");
        let asked = Asked { body: &body, model: call.requested_model.as_deref().unwrap_or(given) };
        let playing = self.playing(call)?;
        let taken = playing.lock().unwrap_or_else(PoisonError::into_inner).take(&asked)?;
        tokio::time::sleep(taken.turn.delay_ms).await;

        let number = self.n_answers.fetch_add(1, Ordering::Relaxed);
        match taken.fail {
            Some(Fail::TooMany) => return Err(refused(429, "rate_limit_error")),
            Some(Fail::Broken) => return Err(refused(500, "server_error")),
            Some(Fail::Timeout) => {
                return Err(Failure::new(FailureKind::Timeout, "the script lets this call time out"));
            }
            Some(Fail::Garbage) => {
                understood(b"<!doctype html><title>It works!</title>")?;
            }
            Some(Fail::DropMidStream) if !call.stream => return Err(dropped()),
            Some(Fail::DropMidStream) | None => {}
        }
        let completion = completion(&taken, &asked, &self.scripts.model, number);
        if !call.stream {
            let bytes = serde_json::to_vec(&completion)
                .map_err(|error| Failure::new(FailureKind::Request, error.to_string()))?;
            return Ok(AnswerBody::Whole(bytes.into(), Box::new(completion)));
        }
        let is_cut = taken.fail == Some(Fail::DropMidStream);
        Ok(AnswerBody::Events(stream(&completion, &asked, taken.turn.chunk_ms, is_cut)))
    }

    async fn check(&self) -> Result<(), Failure> {
        Ok(())
    }
}

impl Playing {
    /// Finds the turn that answers, and moves on.
    fn take(&mut self, asked: &Asked<'_>) -> Result<Taken, Failure> {
        let script = Arc::clone(&self.script);
        let Some(at) = script.tracks.iter().position(|track| track.takes(asked)) else {
            return default_answer(&script, || "no track of the script takes this call".to_owned());
        };
        let (track, place) = (&script.tracks[at], &mut self.places[at]);
        let number = |turn: usize| (at as u64) * 1_000_000 + turn as u64;
        loop {
            let Some(turn) = track.turns.get(place.turn) else {
                return track.exhausted(&script).map(|turn| Taken {
                    turn,
                    fail: None,
                    number: number(place.turn),
                });
            };
            if let Some(fail) = turn.fail.filter(|_| place.n_failed < turn.times.unwrap_or(1)) {
                place.n_failed += 1;
                return Ok(Taken { turn: turn.clone(), fail: Some(fail), number: number(place.turn) });
            }
            let taken = place.turn;
            *place = Place { turn: taken + 1, n_failed: 0 };
            if turn.says_something() {
                return Ok(Taken { turn: turn.clone(), fail: None, number: number(taken) });
            }
        }
    }
}

impl Track {
    fn takes(&self, asked: &Asked<'_>) -> bool {
        let matcher = &self.matcher;
        matcher.tools.is_none_or(|tools| tools == asked.declares_tools())
            && matcher.system.as_ref().is_none_or(|pattern| pattern.is_match(&asked.system()))
            && matcher.last.as_ref().is_none_or(|pattern| pattern.is_match(&asked.last()))
            && matcher.model.as_ref().is_none_or(|pattern| pattern.is_match(asked.model))
    }

    /// What follows the last turn.
    fn exhausted(&self, script: &Script) -> Result<Turn, Failure> {
        let exhausted = || format!("all {} turns of the track `{}` are used up", self.turns.len(), self.name);
        match script.when_exhausted {
            WhenExhausted::Error => Err(Failure::new(FailureKind::Request, exhausted())),
            WhenExhausted::RepeatLast => self
                .turns
                .iter()
                .rev()
                .find(|turn| turn.says_something())
                .cloned()
                .ok_or_else(|| Failure::new(FailureKind::Request, exhausted())),
            WhenExhausted::Default => default_answer(script, exhausted).map(|taken| taken.turn),
        }
    }
}

fn default_answer(script: &Script, why: impl Fn() -> String) -> Result<Taken, Failure> {
    match &script.default {
        Some(text) => {
            let turn = Turn { text: Some(text.clone()), ..Turn::default() };
            Ok(Taken { turn, fail: None, number: 999_999_999 })
        }
        None => Err(Failure::new(FailureKind::Request, format!("{}, and it has no default", why()))),
    }
}

impl Asked<'_> {
    fn messages(&self) -> &[Value] {
        self.body.get("messages").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn declares_tools(&self) -> bool {
        self.body.get("tools").and_then(Value::as_array).is_some_and(|tools| !tools.is_empty())
    }

    fn system(&self) -> String {
        let is_system = |message: &&Value| {
            matches!(message.get("role").and_then(Value::as_str), Some("system" | "developer"))
        };
        let texts: Vec<String> = self.messages().iter().filter(is_system).map(text_of).collect();
        texts.join("\n")
    }

    fn last(&self) -> String {
        self.messages().last().map(text_of).unwrap_or_default()
    }

    /// The bytes of what the model reads.
    fn length(&self) -> usize {
        ["messages", "tools"].iter().filter_map(|key| self.body.get(*key)).map(|v| v.to_string().len()).sum()
    }

    fn wants_usage(&self) -> bool {
        self.body.get("stream_options").and_then(|options| options.get("include_usage")) == Some(&json!(true))
    }
}

/// A message's text, its text parts joined.
fn text_of(message: &Value) -> String {
    match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| part.get("text")?.as_str()).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

fn refused(status: u16, kind: &str) -> Failure {
    let message = format!("the script fails this call with {status}");
    let body = json!({"message": message, "type": kind, "param": null, "code": null});
    Failure { body: Some(Box::new(body)), ..Failure::new(FailureKind::Status(status), message) }
}

fn dropped() -> Failure {
    Failure::new(FailureKind::Dropped, "the script drops the connection in the middle of the answer")
}

fn completion(taken: &Taken, asked: &Asked<'_>, model: &str, number: u64) -> Completion {
    let Taken { turn, .. } = taken;
    let tool_calls: Vec<ToolCall> = turn
        .tool_calls
        .iter()
        .enumerate()
        .map(|(n, call)| ToolCall {
            id: format!("call_{}_{n}", taken.number),
            kind: "function".to_owned(),
            function: Function {
                name: call.name.clone(),
                arguments: match &call.arguments {
                    Value::Null => "{}".to_owned(),
                    Value::String(text) => text.clone(),
                    arguments => arguments.to_string(),
                },
            },
        })
        .collect();
    let nothing = (!turn.says_something()).then(|| CUT_OFF.to_owned());
    let content = turn.raw.clone().or_else(|| turn.text.clone()).or(nothing);
    let default_reason = if tool_calls.is_empty() { "stop" } else { "tool_calls" };
    let length: usize = [&content, &turn.reasoning].into_iter().flatten().map(String::len).sum::<usize>()
        + tool_calls.iter().map(|c| c.function.name.len() + c.function.arguments.len()).sum::<usize>();
    let content = match content {
        None if tool_calls.is_empty() => Some(String::new()),
        content => content.filter(|text| tool_calls.is_empty() || !text.is_empty()),
    };
    Completion {
        id: format!("chatcmpl-script-{number}"),
        object: "chat.completion".to_owned(),
        created: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)),
        model: model.to_owned(),
        choices: vec![Choice {
            index: 0,
            finish_reason: Some(turn.finish_reason.clone().unwrap_or_else(|| default_reason.to_owned())),
            message: Message {
                role: "assistant".to_owned(),
                content,
                reasoning_content: turn.reasoning.clone(),
                tool_calls: (!tool_calls.is_empty()).then_some(tool_calls),
                ..Message::default()
            },
            logprobs: None,
        }],
        usage: Some(usage(turn, asked.length(), length)),
    }
}

/// The usage a turn gives, else a quarter of the bytes.
fn usage(turn: &Turn, n_asked: usize, n_said: usize) -> Value {
    let mut usage = turn.usage.clone().unwrap_or_default();
    let mut count = |key: &str, otherwise: u64| {
        usage.entry(key).or_insert_with(|| json!(otherwise)).as_u64().unwrap_or(otherwise)
    };
    let asked = count("prompt_tokens", n_asked.div_ceil(4) as u64);
    let said = count("completion_tokens", n_said.div_ceil(4) as u64);
    count("total_tokens", asked.saturating_add(said));
    Value::Object(usage)
}

/// The answer in pieces, `between` apart; cut off in the middle when it is to be dropped.
fn stream(completion: &Completion, asked: &Asked<'_>, between: Duration, is_cut: bool) -> EventStream {
    let mut pieces = pieces(completion, asked.wants_usage());
    if is_cut {
        let n_content = pieces.iter().filter(|piece| piece.is_content).count();
        let n_framing = pieces.iter().take_while(|piece| !piece.is_content).count();
        pieces.truncate(n_framing + n_content.div_ceil(2));
    }
    let end = if is_cut { Err(dropped()) } else { Ok(done()) };
    let events = pieces.into_iter().map(move |piece| {
        let wait = if piece.is_content { between } else { Duration::ZERO };
        (wait, event_from(&piece.chunk))
    });
    let events: Vec<(Duration, Result<Event, Failure>)> = events.chain([(Duration::ZERO, end)]).collect();
    futures::stream::iter(events)
        .then(|(wait, event)| async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            event
        })
        .boxed()
}

#[cfg(test)]
#[path = "play_tests.rs"]
mod tests;
