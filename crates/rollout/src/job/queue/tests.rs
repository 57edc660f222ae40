use super::*;
use crate::trial::{record_lost, testing};
use async_trait::async_trait;
use std::path::Path;
use std::time::Duration;
use trajgen_contract::outcome::ErrorType;
use trajgen_contract::result::read_trial;

/// Fails as a program does, on every trial of task `bad`.
struct Panicking;

#[async_trait]
impl Placement for Panicking {
    async fn submit(&self, spec: &TrialSpec, _n_try: u32, _cancelled: CancellationToken) -> TryEnd {
        assert!(spec.task_id != "bad", "no such index");
        let mut end = record_lost(spec, "", Duration::ZERO);
        end.error = None;
        end
    }
}

#[derive(Default)]
struct Ends(Vec<(String, Option<ErrorType>)>);

impl Book for Ends {
    fn starting(&mut self, _spec: &TrialSpec) -> Result<(), String> {
        Ok(())
    }
    fn ended(&mut self, spec: &TrialSpec, end: &TryEnd) -> Result<(), String> {
        self.0.push((spec.task_id.clone(), end.error.as_ref().map(|e| e.kind)));
        Ok(())
    }
}

fn queued(folder: &Path, id: &str) -> Queued {
    let spec = testing::spec(folder, id);
    std::fs::create_dir_all(&spec.trial_dir).unwrap();
    Queued { spec: Arc::new(spec), next_try: 1, n_counted: 0 }
}

#[tokio::test]
async fn a_trial_that_trajgen_fails_on_ends_in_an_error_of_the_host() {
    let dir = tempfile::tempdir().unwrap();
    let options = QueueOptions {
        n_concurrent: 2,
        retry: RetryPolicy {
            max_retries: 1,
            min_wait: Duration::ZERO,
            wait_multiplier: 1.0,
            max_wait: Duration::ZERO,
            include: Vec::new(),
            exclude: Vec::new(),
        },
    };
    let (events, stream) = EventSink::new();
    let mut ends = Ends::default();
    let waiting = vec![queued(dir.path(), "bad"), queued(dir.path(), "good")];
    let left = run(waiting, &options, Arc::new(Panicking), &mut ends, &events, &Stop::default()).await;
    assert!(left.is_empty());
    ends.0.sort();
    let lost = Some(ErrorType::EnvironmentLostError);
    assert_eq!(ends.0, [("bad".to_owned(), lost), ("good".to_owned(), None)]);

    let result = read_trial(&dir.path().join("bad/result.json")).unwrap();
    assert!(result.finished_at.is_some());
    let info = result.exception_info.unwrap();
    assert_eq!(info.exception_type, "EnvironmentLostError");
    assert_eq!(
        info.exception_message,
        "trajgen itself failed while it ran this trial, which is a bug of it: no such index"
    );
    // It was tried again, and both tries are kept.
    assert!(dir.path().join("bad/tries/1/exception.txt").exists());
    drop(events);
    let ended = stream.iter().filter(|(_, e)| matches!(e, Event::TrialEnded { .. })).count();
    assert_eq!(ended, 2);
}
