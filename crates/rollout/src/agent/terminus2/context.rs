//! A conversation that outgrows the model: summaries, and what is done when they fail.

use super::conversation::{Trace, estimate};
use super::model::{CallError, Message, Reply};
use super::prompt;
use super::record::Delegated;
use super::screen::{MAX_SHOWN, last_chars, limit};
use super::turns::{Prompt, Run};
use crate::agent::AgentFailure;
use crate::environment::EnvironmentError;
use trajgen_contract::outcome::ErrorType;

/// Tokens that must be free before a conversation that was too long is summarised.
const FREE_FOR_SUMMARY: u64 = 4_000;
/// How much of the screen stands in for a summary that could not be made, characters.
const SCREEN_TAIL: usize = 1_000;

impl Run<'_> {
    /// Replaces the conversation by a summary when little of the model's context is left. A summary
    /// that fails is logged and the conversation stays as it is.
    pub(super) async fn summarise_early(&mut self, prompt: Prompt) -> Result<Prompt, AgentFailure> {
        let threshold = self.options.proactive_summarization_threshold;
        if !self.options.enable_summarize || threshold == 0 || self.conversation.is_empty() {
            return Ok(prompt);
        }
        let used = self.conversation.tokens() + estimate(&prompt.text);
        if self.limit.saturating_sub(used) >= threshold {
            return Ok(prompt);
        }
        match self.summarise().await {
            Ok(hand_over) => Ok(hand_over),
            Err(error) if error.may_pass() => {
                self.log_failed("an early summary failed, the conversation goes on as it is", error);
                Ok(prompt)
            }
            Err(error) => Err(error.into_failure()),
        }
    }

    /// Asks the model. When the conversation does not fit it, makes it shorter and asks then; the
    /// prompt that was really answered is given back with the answer.
    pub(super) async fn ask(&mut self, prompt: Prompt) -> Result<(Prompt, Reply), AgentFailure> {
        match self.put(&prompt).await {
            Ok(reply) => return Ok((prompt, reply)),
            Err(CallError::ContextLength(said)) if self.options.enable_summarize => {
                tracing::info!(
                    trial = self.context.trial_name,
                    said,
                    "the conversation does not fit the model"
                );
            }
            Err(error) => return Err(error.into_failure()),
        }
        // The model's word on its size beats what was configured, but only here: the size is an
        // estimate, and early summaries must not follow from it.
        let fits = self.limit.min(self.conversation.tokens() + estimate(&prompt.text));
        self.conversation.drop_latest(fits, FREE_FOR_SUMMARY);
        let shorter = self.shorter().await?;
        match self.put(&shorter).await {
            Ok(reply) => return Ok((shorter, reply)),
            Err(CallError::ContextLength(_)) if !self.conversation.is_empty() => {}
            Err(error) => return Err(error.into_failure()),
        }
        self.conversation.keep_first();
        let shortest = self.without_summary().await?;
        let reply = self.put(&shortest).await.map_err(CallError::into_failure)?;
        Ok((shortest, reply))
    }

    async fn put(&mut self, prompt: &Prompt) -> Result<Reply, CallError> {
        let messages = self.conversation.with(&[Message::user(prompt.text.as_str())]);
        self.call(&messages).await
    }

    /// What the conversation, cut short already, goes on with: a full summary, else a short one, else
    /// the task and the end of the screen.
    async fn shorter(&mut self) -> Result<Prompt, AgentFailure> {
        if self.conversation.is_empty() {
            return self.opening_again().await;
        }
        match self.summarise().await {
            Ok(hand_over) => return Ok(hand_over),
            Err(error) if error.may_pass() => self.log_failed("the full summary failed", error),
            Err(error) => return Err(error.into_failure()),
        }
        match self.short_summary().await {
            Ok(text) => Ok(self.tell(text).await?),
            Err(error) if error.may_pass() => {
                self.log_failed("the short summary failed", error);
                self.without_summary().await
            }
            Err(error) => Err(error.into_failure()),
        }
    }

    /// The three calls, after which the conversation is its first message and the questions. Gives the
    /// hand-over.
    async fn summarise(&mut self) -> Result<Prompt, CallError> {
        self.summaries += 1;
        let number = self.summaries;
        let task = self.context.instruction.clone();
        let copied = self.record.copied(&self.conversation);

        let summary_prompt = prompt::summary_request(&task);
        let asked = Message::user(summary_prompt.as_str());
        let summary = self.call_for_text(&self.conversation.with(std::slice::from_ref(&asked))).await?;
        let part = Delegated {
            number,
            part: "summary",
            given: copied.clone(),
            prompt: &summary_prompt,
            reply: &summary,
        };
        let mut parts = vec![self.record.delegate(part).await.map_err(CallError::Failed)?];

        let screen = self.terminal.screen().await.map_err(lost)?;
        let question_prompt = prompt::question_request(&task, &summary.text, &limit(&screen, MAX_SHOWN));
        let questions = self.call_for_text(&[Message::user(question_prompt.as_str())]).await?;
        let part = Delegated {
            number,
            part: "questions",
            given: Vec::new(),
            prompt: &question_prompt,
            reply: &questions,
        };
        parts.push(self.record.delegate(part).await.map_err(CallError::Failed)?);

        let answer_prompt = prompt::answer_request(&questions.text);
        let told = [asked, Message::assistant(summary.text.as_str()), Message::user(answer_prompt.as_str())];
        let answers = self.call_for_text(&self.conversation.with(&told)).await?;
        let mut given = copied;
        given.push(self.record.copied_message("user", &summary_prompt, None));
        given.push(self.record.copied_message("assistant", &summary.text, summary.reasoning.as_deref()));
        let part = Delegated { number, part: "answers", given, prompt: &answer_prompt, reply: &answers };
        parts.push(self.record.delegate(part).await.map_err(CallError::Failed)?);

        self.conversation.replace_by(&question_prompt, &questions.text);
        self.record.summarised(parts);
        self.tell(prompt::hand_over(&answers.text)).await.map_err(CallError::Failed)
    }

    /// Two or three sentences, from a conversation that sees only the task and the screen.
    async fn short_summary(&mut self) -> Result<String, CallError> {
        let task = &self.context.instruction;
        let screen = self.terminal.screen().await.map_err(lost)?;
        let asked = prompt::short_summary_request(task, last_chars(&screen, SCREEN_TAIL));
        let summary = self.call_for_text(&[Message::user(asked)]).await?;
        Ok(prompt::after_short_summary(task, &summary.text))
    }

    async fn without_summary(&mut self) -> Result<Prompt, AgentFailure> {
        let screen = self.terminal.screen().await?;
        let screen = last_chars(&screen, SCREEN_TAIL);
        let text = prompt::after_no_summary(&self.context.instruction, screen);
        self.tell(text).await
    }

    /// The very first prompt did not fit: the same with less of the screen.
    async fn opening_again(&mut self) -> Result<Prompt, AgentFailure> {
        let screen = self.terminal.screen().await?;
        let text = prompt::opening(&self.context.instruction, last_chars(&screen, SCREEN_TAIL));
        self.tell(text).await
    }

    /// Records what the model is told in place of an observation.
    async fn tell(&mut self, text: String) -> Result<Prompt, AgentFailure> {
        let trace = Trace::Step(self.record.say(&text));
        self.record.save().await?;
        Ok(Prompt { text, trace })
    }

    /// A call whose answer is of no use without text.
    async fn call_for_text(&mut self, messages: &[Message]) -> Result<Reply, CallError> {
        let reply = self.call(messages).await?;
        if reply.text.trim().is_empty() {
            let said = "the model answered a summary's question with an empty text";
            return Err(CallError::Failed(AgentFailure::new(ErrorType::AgentError, said)));
        }
        Ok(reply)
    }

    fn log_failed(&self, what: &str, error: CallError) {
        let error = error.into_failure();
        tracing::warn!(trial = self.context.trial_name, %error, "{what}");
    }
}

fn lost(error: EnvironmentError) -> CallError {
    CallError::Failed(error.into())
}
