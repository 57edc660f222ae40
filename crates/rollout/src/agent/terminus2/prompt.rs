//! Every text the agent says to the model.

use super::parser::ParseError;

/// The rules of the game, the task and the terminal: the first message.
pub(super) fn opening(instruction: &str, terminal: &str) -> String {
    format!(
        r#"You operate a Linux terminal and have to solve the task below with it. Each of your replies holds a batch of keystrokes; they are typed into the terminal one after the other, and you are then shown what is new on it.

A reply is a single JSON object and nothing else:

{{
  "analysis": "what the terminal shows, what has been achieved, what is still missing",
  "plan": "what you do next and why, and what you expect to see",
  "commands": [
    {{"keystrokes": "cd /srv && ls\n", "duration": 0.1}},
    {{"keystrokes": "make\n", "duration": 30.0}}
  ],
  "task_complete": false
}}

- "analysis" and "plan" are required strings.
- "commands" is a required list and may be empty. Each command has
  - "keystrokes" (required): a string that is typed exactly as it is, including spaces. A shell command only runs when its keystrokes end with a newline (\n). When the whole string is the name of a key as tmux writes it, that key is pressed instead: C-c for Ctrl+C, C-d for Ctrl+D, Enter, Escape, Up.
  - "duration": for how many seconds to wait before going on, 1.0 when left out, 60 at most. Use 0.1 for what is done at once (cd, ls, cat), about 1 for a compiler or a search, and more for builds, tests and downloads. Rather wait too short than too long: to go on waiting, send {{"keystrokes": "", "duration": 10.0}}.
- "task_complete" may be left out; set it to true when the task is solved. You are asked once more before the work is handed in.

The object must be valid JSON: escape quotes, backslashes and newlines inside strings.

Task:
{instruction}

The terminal at the start:
{terminal}"#
    )
}

/// After a reply that could not be read.
pub(super) fn unreadable(error: &ParseError) -> String {
    let mut text =
        format!("Your last reply could not be used, and nothing was typed.\nERROR: {}", error.message);
    if !error.warnings.is_empty() {
        text.push_str("\nWARNINGS:\n");
        text.push_str(&bullets(&error.warnings));
    }
    text.push_str(
        "\n\nSend a corrected reply: one valid JSON object with \"analysis\", \"plan\" and \"commands\".",
    );
    text
}

/// What the terminal shows, after what was put right in the reply.
pub(super) fn with_warnings(warnings: &[String], text: String) -> String {
    if warnings.is_empty() {
        return text;
    }
    format!("Your last reply was accepted, with WARNINGS:\n{}\n\n{text}", bullets(warnings))
}

/// The question whether the task is done.
pub(super) fn confirm_completion(terminal: &str) -> String {
    format!(
        "You marked the task as complete. The terminal now:\n{terminal}\n\n\
         Are you sure? Once confirmed, your work is graded as it is and you cannot change anything. \
         To confirm, send \"task_complete\": true again in a JSON reply; otherwise go on working."
    )
}

/// After a reply that the output limit cut.
pub(super) fn too_long(limit: Option<u64>) -> String {
    let limit = limit.map_or_else(
        || "the limit on the length of a reply".to_owned(),
        |tokens| format!("the limit of {tokens} tokens for a reply"),
    );
    format!(
        "ERROR: your last reply ran into {limit} and was cut off. Nothing of it was typed. \
         Send a shorter reply: split the work into several replies, each well below the limit."
    )
}

/// What is told when a cut reply held a whole object.
pub(super) const SALVAGED: &str =
    "Your reply was cut off by the limit on its length; the complete JSON object in it was used. Be shorter.";

/// What is seen of a terminal whose shell has ended and that cannot be read any more.
pub(super) const SESSION_GONE: &str = "The terminal session has ended.";

/// Summary, first call: to the conversation so far.
pub(super) fn summary_request(instruction: &str) -> String {
    format!(
        "Your conversation is about to become too long, and a colleague will take over from you. \
         Write down everything they need in order to go on; they see neither this conversation nor its terminal output.\n\n\
         The task:\n{instruction}\n\n\
         Cover, in detail:\n\
         1. What was done: each command that mattered and what came of it.\n\
         2. What was found out: files and places, settings, versions, error messages, the state of the system.\n\
         3. Problems met, and how they were solved or why they were not.\n\
         4. Where things stand now, and what remains to be done."
    )
}

/// Summary, second call: to a fresh conversation that will ask.
pub(super) fn question_request(instruction: &str, summary: &str, screen: &str) -> String {
    format!(
        "You take over a task from a colleague.\n\n\
         The task:\n{instruction}\n\n\
         What your colleague wrote down:\n{summary}\n\n\
         The terminal now:\n{screen}\n\n\
         Before they leave you may ask them about whatever their notes do not say. \
         Ask at least five questions, all in this one message; there will be no second chance."
    )
}

/// Summary, third call: to the conversation so far, which answers.
pub(super) fn answer_request(questions: &str) -> String {
    format!(
        "Your colleague has read your notes and asks the following. Answer every question in detail.\n\n{questions}"
    )
}

/// The hand-over: what the shortened conversation goes on with.
pub(super) fn hand_over(answers: &str) -> String {
    format!(
        "Your colleague's answers:\n\n{answers}\n\n\
         From here on you work alone: no more questions. Go on with the task where your colleague left it, \
         and reply with the JSON object described at the beginning."
    )
}

/// The short summary, when the full one failed.
pub(super) fn short_summary_request(instruction: &str, screen: &str) -> String {
    format!(
        "A task in a terminal has to be gone on with.\n\nThe task:\n{instruction}\n\n\
         The end of the terminal's screen:\n{screen}\n\n\
         Say in two or three sentences where it stands and what to do next."
    )
}

/// What the conversation goes on with after a short summary.
pub(super) fn after_short_summary(instruction: &str, summary: &str) -> String {
    format!("The task:\n{instruction}\n\nWhere it stands:\n{summary}\n\n{GO_ON}")
}

/// What the conversation goes on with when there is no summary at all.
pub(super) fn after_no_summary(instruction: &str, screen: &str) -> String {
    format!("The task:\n{instruction}\n\nThe end of the terminal's screen:\n{screen}\n\n{GO_ON}")
}

const GO_ON: &str = "The conversation before this was too long and has been left out. Go on with the task, replying with the JSON object described at the beginning.";

fn bullets(lines: &[String]) -> String {
    lines.iter().map(|line| format!("- {line}")).collect::<Vec<_>>().join("\n")
}
