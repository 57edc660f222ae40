//! What the model has been told and has said, and how much of its context that takes.

use super::model::{Message, Usage};

/// Where a message stands in the main document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trace {
    /// The step at this index.
    Step(usize),
    /// The observation of the step before it.
    Observation,
    /// Nowhere: it belongs to a summary.
    Summary,
}

#[derive(Debug, Clone)]
struct Entry {
    message: Message,
    trace: Trace,
    /// Tokens of the conversation up to and with this message, where a call reported them.
    tokens: Option<u64>,
}

/// A conversation. Its first message, which holds the rules and the task, is never dropped.
#[derive(Debug, Clone, Default)]
pub(super) struct Conversation {
    entries: Vec<Entry>,
}

impl Conversation {
    /// True before the first answer.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a prompt and its answer.
    pub(super) fn exchange(&mut self, prompt: (&str, Trace), answer: (&str, Trace), usage: Option<Usage>) {
        self.entries.push(Entry { message: Message::user(prompt.0), trace: prompt.1, tokens: None });
        self.entries.push(Entry {
            message: Message::assistant(answer.0),
            trace: answer.1,
            tokens: usage.map(|usage| usage.prompt + usage.completion).filter(|&tokens| tokens > 0),
        });
    }

    /// Its messages, and `prompts` after them.
    pub(super) fn with(&self, prompts: &[Message]) -> Vec<Message> {
        self.entries.iter().map(|entry| &entry.message).chain(prompts).cloned().collect()
    }

    /// Its messages and where each stands in the main document.
    pub(super) fn traced(&self) -> impl Iterator<Item = (&Message, Trace)> {
        self.entries.iter().map(|entry| (&entry.message, entry.trace))
    }

    /// Its tokens: what the last answered call reported, and a quarter of the bytes added since.
    pub(super) fn tokens(&self) -> u64 {
        let reported = self.entries.iter().rposition(|entry| entry.tokens.is_some());
        let (base, since) = match reported {
            Some(at) => (self.entries[at].tokens.unwrap_or(0), at + 1),
            None => (0, 0),
        };
        base + self.entries[since..].iter().map(|entry| estimate(&entry.message.content)).sum::<u64>()
    }

    /// Drops the latest exchanges until `free` tokens of `limit` are free or only the first message
    /// is left.
    pub(super) fn drop_latest(&mut self, limit: u64, free: u64) {
        while self.entries.len() > 1 && limit.saturating_sub(self.tokens()) < free {
            let keep = self.entries.len().saturating_sub(2).max(1);
            self.entries.truncate(keep);
        }
    }

    /// Becomes its first message, then the exchange `questions`.
    pub(super) fn replace_by(&mut self, question_prompt: &str, questions: &str) {
        self.entries.truncate(1);
        self.exchange((question_prompt, Trace::Summary), (questions, Trace::Summary), None);
    }

    /// Becomes its first message.
    pub(super) fn keep_first(&mut self) {
        self.entries.truncate(1);
    }
}

/// Tokens of a text nobody has counted: a quarter of its bytes.
pub(super) fn estimate(text: &str) -> u64 {
    text.len() as u64 / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(prompt: u64, completion: u64) -> Option<Usage> {
        Some(Usage { prompt, completion, ..Usage::default() })
    }

    fn grown(turns: usize) -> Conversation {
        let mut conversation = Conversation::default();
        for turn in 0..turns {
            let trace = if turn == 0 { Trace::Step(0) } else { Trace::Observation };
            let tokens = 1_000 * (turn as u64 + 1);
            conversation.exchange(
                (&"p".repeat(400), trace),
                ("r", Trace::Step(turn + 1)),
                usage(tokens - 100, 100),
            );
        }
        conversation
    }

    #[test]
    fn tokens_are_the_reported_ones_and_a_quarter_of_what_came_after() {
        assert_eq!(Conversation::default().tokens(), 0);
        let mut conversation = grown(3);
        assert_eq!(conversation.tokens(), 3_000);
        conversation.exchange(
            (&"x".repeat(400), Trace::Observation),
            (&"y".repeat(40), Trace::Step(4)),
            None,
        );
        assert_eq!(conversation.tokens(), 3_110);
    }

    #[test]
    fn without_any_report_all_bytes_count() {
        let mut conversation = Conversation::default();
        conversation.exchange(
            (&"x".repeat(400), Trace::Step(0)),
            (&"y".repeat(40), Trace::Step(1)),
            usage(0, 0),
        );
        assert_eq!(conversation.tokens(), 110);
    }

    #[test]
    fn the_latest_exchanges_go_first() {
        let mut conversation = grown(5);
        conversation.drop_latest(6_500, 4_000);
        assert_eq!(conversation.tokens(), 2_000);
        assert_eq!(conversation.traced().last().unwrap().1, Trace::Step(2));
    }

    #[test]
    fn nothing_goes_when_enough_is_free() {
        let mut conversation = grown(5);
        conversation.drop_latest(9_000, 4_000);
        assert_eq!(conversation.tokens(), 5_000);
    }

    #[test]
    fn the_first_message_stays() {
        let mut conversation = grown(2);
        conversation.drop_latest(10, 4_000);
        let left: Vec<_> = conversation.traced().map(|(message, _)| message.role).collect();
        assert_eq!(left, ["user"]);
        assert_eq!(conversation.tokens(), 100);
    }

    #[test]
    fn a_summary_leaves_the_first_message_and_the_questions() {
        let mut conversation = grown(4);
        conversation.replace_by("the question prompt", "the questions");
        let messages = conversation.with(&[Message::user("the answers")]);
        let contents: Vec<_> = messages.iter().map(|message| message.content.as_str()).collect();
        assert_eq!(contents[1..], ["the question prompt", "the questions", "the answers"]);
        assert_eq!(contents.len(), 4);
    }
}
