//! A model on a real port, which answers what the test says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a call is answered with.
pub enum Answer {
    /// A status and a body.
    Status(u16, String),
    /// Nothing, ever.
    Silence,
}

/// The server; it ends with the test's process.
pub struct Model {
    /// For `llm_api.api_base_url`.
    pub url: String,
    n_calls: Arc<AtomicUsize>,
}

impl Model {
    /// Starts it on a free port; `answer` is asked with a call's number from 0 and its body. Its list of models is
    /// always there.
    pub fn answering(answer: impl Fn(usize, &str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let n_calls = Arc::new(AtomicUsize::new(0));
        let (answer, counter) = (Arc::new(answer), n_calls.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, counter) = (answer.clone(), counter.clone());
                std::thread::spawn(move || serve(&stream, &*answer, &counter));
            }
        });
        Self { url, n_calls }
    }

    /// How many completions were asked for.
    pub fn n_calls(&self) -> usize {
        self.n_calls.load(Ordering::SeqCst)
    }

    /// A completion that says `text`.
    pub fn says(text: &str) -> Answer {
        let body = serde_json::json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "served",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
        });
        Answer::Status(200, body.to_string())
    }

    /// An error of the protocol's shape.
    pub fn fails(status: u16, code: &str) -> Answer {
        let body =
            serde_json::json!({"error": {"message": format!("said {code}"), "type": code, "code": code}});
        Answer::Status(status, body.to_string())
    }
}

fn serve(stream: &TcpStream, answer: &dyn Fn(usize, &str) -> Answer, counter: &AtomicUsize) {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    if reader.read_line(&mut first).unwrap_or(0) == 0 {
        return;
    }
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).unwrap_or(0) <= 2 {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    let _ = reader.read_exact(&mut body);
    let answer = if first.contains("/chat/completions") {
        answer(counter.fetch_add(1, Ordering::SeqCst), &String::from_utf8_lossy(&body))
    } else {
        Answer::Status(200, r#"{"object": "list", "data": []}"#.to_owned())
    };
    let Answer::Status(status, body) = answer else {
        loop {
            std::thread::park();
        }
    };
    let mut stream = stream;
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
}
