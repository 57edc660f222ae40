//! The loop: prompt, reply, keystrokes, what is new on the terminal, prompt.

use super::conversation::{Conversation, Trace};
use super::model::{CallError, Client, Message, Reply, Sampling};
use super::options::Options;
use super::parser::{self, Parsed};
use super::prompt;
use super::record::Record;
use super::screen::Follower;
use crate::agent::{AgentContext, AgentFailure, AgentReport};
use crate::environment::{EnvironmentError, Terminal};
use serde_json::{Map, json};
use std::time::Duration;
use trajgen_contract::atif::Agent;
use trajgen_contract::outcome::ErrorType;

/// The context of a model whose size is unknown, tokens.
const UNKNOWN_CONTEXT: u64 = 1_000_000;

/// What the model is told next.
#[derive(Debug, Clone)]
pub(super) struct Prompt {
    pub(super) text: String,
    pub(super) trace: Trace,
}

/// How a turn leaves the run.
enum Next {
    Prompt(Prompt),
    End(&'static str),
}

/// One run of the agent.
pub(super) struct Run<'a> {
    pub(super) context: &'a AgentContext,
    pub(super) options: &'a Options,
    pub(super) terminal: &'a dyn Terminal,
    follower: &'a mut Follower,
    client: Client,
    pub(super) conversation: Conversation,
    pub(super) record: Record,
    /// What fits the model, tokens.
    pub(super) limit: u64,
    max_output: Option<u64>,
    /// Summaries begun so far.
    pub(super) summaries: u64,
    /// The model has called the task complete and was asked whether it is sure.
    asked_if_sure: bool,
    turns: u64,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        context: &'a AgentContext,
        options: &'a Options,
        version: String,
        terminal: &'a dyn Terminal,
        follower: &'a mut Follower,
    ) -> Result<Self, AgentFailure> {
        let Some(endpoint) = context.model.clone() else {
            return Err(AgentFailure::new(
                ErrorType::AgentSetupError,
                format!("trial {}: terminus-2 needs a model and was given none", context.trial_name),
            ));
        };
        let sampling = Sampling {
            temperature: options.temperature,
            top_p: options.top_p,
            rollout_details: options.collect_rollout_details,
        };
        let limit = options.max_input_tokens.or(endpoint.max_input_tokens).unwrap_or(UNKNOWN_CONTEXT);
        if options.enable_summarize && limit <= options.proactive_summarization_threshold.saturating_mul(2) {
            tracing::warn!(
                trial = context.trial_name,
                limit,
                threshold = options.proactive_summarization_threshold,
                "most of the model's context lies below the threshold, so the conversation will be summarised again and \
                 again; a smaller agent.kwargs.proactive_summarization_threshold avoids that"
            );
        }
        let max_output = options.max_output_tokens.or(endpoint.max_output_tokens);
        let agent = Agent {
            name: "terminus-2".to_owned(),
            version,
            model_name: Some(endpoint.model.clone()),
            tool_definitions: None,
            extra: Some(said_options(options)),
        };
        let record = Record::new(context.logs_dir.clone(), format!("{}__agent", context.trial_name), agent);
        Ok(Self {
            context,
            options,
            terminal,
            follower,
            client: Client::new(endpoint, sampling)?,
            conversation: Conversation::default(),
            record,
            limit,
            max_output,
            summaries: 0,
            asked_if_sure: false,
            turns: 0,
        })
    }

    /// Turn after turn, until one ends the run.
    pub(super) async fn work(&mut self) -> Result<AgentReport, AgentFailure> {
        let screen = self.follower.look(self.terminal).await?;
        let text = prompt::opening(&self.context.instruction, &screen);
        let trace = Trace::Step(self.record.say(&text));
        self.record.save().await?;
        let mut next = Prompt { text, trace };
        loop {
            if self.options.max_turns == Some(self.turns) {
                return Ok(self.report("max_turns"));
            }
            if !self.terminal.is_alive().await? {
                return Ok(self.report("session_gone"));
            }
            let turn = self.turns;
            self.turns += 1;
            next = match Box::pin(self.turn(turn, next)).await? {
                Next::Prompt(prompt) => prompt,
                Next::End(reason) => return Ok(self.report(reason)),
            };
        }
    }

    async fn turn(&mut self, turn: u64, prompt: Prompt) -> Result<Next, AgentFailure> {
        let prompt = self.summarise_early(prompt).await?;
        let (prompt, reply) = self.ask(prompt).await?;
        match self.read(&reply) {
            Ok(parsed) => self.act(turn, &prompt, &reply, parsed).await,
            Err(answer) => {
                let step = self.record.unusable_turn(&reply, &answer);
                self.remember(&prompt, &reply, step);
                self.record.save().await?;
                Ok(Next::Prompt(Prompt { text: answer, trace: Trace::Observation }))
            }
        }
    }

    /// What a reply asks for, or what the model is told when it cannot be used.
    fn read(&self, reply: &Reply) -> Result<Parsed, String> {
        if !reply.cut {
            return parser::parse(&reply.text).map_err(|error| prompt::unreadable(&error));
        }
        match parser::salvage(&reply.text) {
            Some(mut parsed) => {
                parsed.warnings.insert(0, prompt::SALVAGED.to_owned());
                Ok(parsed)
            }
            None => Err(prompt::too_long(self.max_output)),
        }
    }

    /// Types what a reply asks for and shows the model what came of it.
    async fn act(
        &mut self,
        turn: u64,
        prompt: &Prompt,
        reply: &Reply,
        parsed: Parsed,
    ) -> Result<Next, AgentFailure> {
        let step = self.record.turn(turn, reply, &parsed);
        self.remember(prompt, reply, step);
        if !parsed.commands.is_empty() {
            // The run may end while a command is waited for; what was typed is on record then.
            self.record.save().await?;
        }
        let shown = match self.type_all(&parsed).await {
            Ok(()) => self.follower.look(self.terminal).await,
            Err(error) => Err(error),
        };
        let (shown, gone) = match shown {
            Ok(shown) => (shown, false),
            Err(error) if self.terminal.is_alive().await? => return Err(error.into()),
            Err(_) => (prompt::SESSION_GONE.to_owned(), true),
        };
        let sure = parsed.task_complete && self.asked_if_sure;
        let asks = parsed.task_complete && !sure;
        self.asked_if_sure = parsed.task_complete;
        let text = if asks { prompt::confirm_completion(&shown) } else { shown };
        let text = prompt::with_warnings(&parsed.warnings, text);
        self.record.observe(step, &parsed, &text);
        self.record.save().await?;
        if sure {
            return Ok(Next::End("task_complete"));
        }
        if gone {
            return Ok(Next::End("session_gone"));
        }
        Ok(Next::Prompt(Prompt { text, trace: Trace::Observation }))
    }

    async fn type_all(&self, parsed: &Parsed) -> Result<(), EnvironmentError> {
        for command in &parsed.commands {
            if !command.keystrokes.is_empty() {
                self.terminal.send_keys(&command.keystrokes).await?;
            }
            tokio::time::sleep(Duration::from_secs_f64(command.duration)).await;
        }
        Ok(())
    }

    /// Calls the model and counts what it cost.
    pub(super) async fn call(&mut self, messages: &[Message]) -> Result<Reply, CallError> {
        let reply = self.client.ask(messages).await?;
        self.record.count(&reply);
        Ok(reply)
    }

    fn remember(&mut self, prompt: &Prompt, reply: &Reply, step: usize) {
        self.conversation.exchange(
            (&prompt.text, prompt.trace),
            (&reply.text, Trace::Step(step)),
            reply.usage,
        );
    }

    fn report(&self, reason: &str) -> AgentReport {
        let metadata = Map::from_iter([
            ("n_episodes".to_owned(), self.turns.into()),
            ("summarization_count".to_owned(), self.summaries.into()),
        ]);
        AgentReport { exit_reason: reason.to_owned(), metadata }
    }
}

/// The options that shape a rollout, for its record.
fn said_options(options: &Options) -> Map<String, serde_json::Value> {
    let mut said = Map::from_iter([("parser".to_owned(), json!("json"))]);
    if let Some(temperature) = options.temperature {
        said.insert("temperature".to_owned(), temperature.into());
    }
    if let Some(top_p) = options.top_p {
        said.insert("top_p".to_owned(), top_p.into());
    }
    said
}
